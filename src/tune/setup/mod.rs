//! Giving NVMe devices and huge pages to programs in user space, and giving them back.
//!
//! [`Status::read`] says how things stand and changes nothing. [`hugepages::set`] asks for huge pages. [`bind::check`]
//! says whether a device may be taken from the kernel, and [`Ready::bind`] takes it; [`unbind::check`] and
//! [`Leaving::unbind`] give it back.
//!
//! Invariants:
//!
//! - everything that is read lies under the root of one [`Machine`], and every change goes through its [`Kernel`], so
//!   that all of it can be tried on a tree of ordinary files;
//! - nothing is changed before every device that was named has been looked at and found free;
//! - what cannot be read is an error or is reported as unknown, and never counts as "not there";
//! - nothing is remembered between calls: the kernel's files are the only state.

pub use crate::spec::pci::{PciAddress, PciAddressError};
pub use bind::{BindError, Bound, Ready};
pub use block::Block;
pub use device::Device;
pub use group::{Group, Member};
pub use hugepages::{HugepageError, Outcome, Pool};
pub use machine::{Kernel, Machine, System, Trouble};
pub use occupation::{Holding, Occupation, Use};
pub use refusal::Refusal;
pub use signature::Signature;
pub use status::{DeviceStatus, Iommu, Memlock, Node, Status, Vfio};
pub use unbind::{Leaving, Left, UnbindError};

mod advice;
pub mod bind;
mod block;
mod device;
mod driver;
mod group;
pub mod hugepages;
mod machine;
mod occupation;
mod openers;
mod refusal;
mod signature;
mod status;
#[cfg(test)]
pub(crate) mod tests;
pub mod unbind;
mod usage;
