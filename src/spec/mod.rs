//! Bytes that NVMe defines: commands, completions, registers, Identify pages, fabrics and TCP structures. No
//! behaviour.
//!
//! Every structure on the wire is declared here once, with its size and offsets asserted at compile time, and
//! made of unaligned little endian fields, so that any byte slice of the right length is one. Unknown values
//! are representable: open enumerations are new types with constants. Section numbers are those of the NVMe
//! base specification 2.1 and the NVM command set specification 1.0.

pub mod abort;
pub mod ana;
pub mod cause;
pub mod cqe;
pub mod discovery;
pub mod event;
pub mod fabrics;
pub mod feature;
pub mod host;
pub mod identify;
pub mod log_page;
pub mod nqn;
pub mod nvm;
pub mod opcode;
pub mod pci;
pub mod prp;
pub mod queue;
pub mod register;
pub mod reservation;
pub mod sgl;
pub mod sqe;
pub mod status;
pub mod tcp;
pub mod text;

/// NSID FFFFFFFFh: all namespaces (base 2.1, section 3.2.1).
pub const NSID_ALL: u32 = 0xffff_ffff;

#[cfg(test)]
mod tests;
