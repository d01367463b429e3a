//! Tests of both ends of a connection.

mod exchange;
mod pair;
