//! Machines of ordinary files, and what is said of them.
