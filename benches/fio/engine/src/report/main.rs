//! Makes a table and a plot of what `benches/fio/matrix` has measured: `fio-report FOLDER`.
//!
//! The folder holds `about`, the lines that say where and how it was measured, and one file of fio's JSON for each run:
//! `ROUND/ENGINE,RW,BS,DEPTH.json`. It gets `table.md` and `plot.svg`.

mod plot;
mod runs;
mod table;
#[cfg(test)]
mod tests;

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use runs::Runs;

fn main() -> ExitCode {
    let Some(folder) = env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: fio-report FOLDER");
        return ExitCode::from(2);
    };
    match report(&folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fio-report: {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

fn report(folder: &std::path::Path) -> Result<(), Box<dyn Error>> {
    let about = fs::read_to_string(folder.join("about"))?;
    let runs = Runs::read(folder)?;
    fs::write(folder.join("table.md"), table::table(&about, &runs))?;
    fs::write(folder.join("plot.svg"), plot::plot(&runs)?)?;
    println!("{}", folder.join("table.md").display());
    println!("{}", folder.join("plot.svg").display());
    Ok(())
}
