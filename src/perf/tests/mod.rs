//! The load in virtual time, on a port that is made up and lies when it is told to; and what it is made of.

mod fake;
mod loads;
mod parts;
mod pictures;
