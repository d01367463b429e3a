//! What survives power loss: the state directory, its lock and its records.
