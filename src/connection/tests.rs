//! Tests of both ends of a connection.

mod capacity;
mod exchange;
mod pair;
mod wire;
