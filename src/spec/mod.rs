//! Bytes that NVMe defines: commands, completions, registers, Identify pages, fabrics and TCP structures. No behaviour.

pub mod nqn;
pub mod tcp;
