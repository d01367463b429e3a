//! A polled driver of NVMe controllers, from user space: admin queue, I/O queue pairs, namespaces. Makes no system call
//! and takes no lock on the I/O path; knows nothing of PCI, of VFIO or of block devices above it.
//!
//! What it drives is a [`Device`]: registers, memory that the device may reach, an interrupt.

mod device;

pub use device::{Device, Iova, MapError, ResetError};
