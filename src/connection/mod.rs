//! One NVMe/TCP queue pair without I/O: bytes and time in, events and bytes out.
