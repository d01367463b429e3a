//! Joins a connection to a socket of a poll group and to the NVM subsystem.
