//! Memory that devices and sockets may touch: extents, pools and the kernels that copy and check it.
