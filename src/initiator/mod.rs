//! An NVMe/TCP host.
