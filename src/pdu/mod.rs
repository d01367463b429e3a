//! The NVMe/TCP PDU codec. Pure functions over bytes.
