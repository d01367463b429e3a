//! Tests of both ends of a connection.

mod alignment;
mod capacity;
mod exchange;
mod foresight;
mod fuzzing;
mod outbox;
mod pair;
mod recorded;
mod requests;
mod wire;
mod wrong_controller;
mod wrong_host;
