//! Machines made of ordinary files, and what comes of looking at them and changing them.

use super::*;

mod binding;
pub(crate) mod fake;
mod pages;
mod refusals;
mod signatures;
mod states;
mod unbinding;
