//! NVMe qualified names.
