//! The corelane binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    corelane::cli::run()
}
