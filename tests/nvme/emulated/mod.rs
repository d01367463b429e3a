//! The driver on the emulated controller: the suite on every kind of controller, and what must hold while things go
//! wrong.

mod faults;
mod kinds;
mod moments;
mod notices;
mod rivals;
mod starting;
mod world;
