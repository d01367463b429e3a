//! Tests of both ends of a connection.
