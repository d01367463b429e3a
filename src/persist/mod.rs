//! What survives power loss: the state directory, its lock and its marker. Knows nothing of what is kept in
//! it.

pub use directory::{Environment, Failure, Owner, StateDirectory, StateError, default_path};

mod directory;
