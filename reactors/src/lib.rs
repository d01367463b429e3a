//! Corelane reactors.
