//! The load in virtual time, on a port that is made up and lies when it is told to; what it is made of; and the look at a far
//! target before it.

mod fake;
mod loads;
mod parts;
mod pictures;
mod surveys;
