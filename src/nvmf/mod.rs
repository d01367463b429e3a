//! The NVM subsystem of the target: no sockets, no PDUs.

pub mod io;
