//! Structures of the NVMe/TCP transport specification.
