//! Writing a configuration file: whole, or not at all.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes the text and a line's end to `path`. A file that is there is replaced with `force` only.
///
/// # Errors
/// What to say to the operator. Whatever was at `path` is still there then.
pub(super) fn write(path: &Path, text: &str, force: bool) -> Result<(), String> {
    let failed = |problem: io::Error| match problem.kind() {
        io::ErrorKind::AlreadyExists => {
            format!("{}: exists, and is left as it is; --force replaces it", path.display())
        }
        _ => format!("{}: cannot be written: {problem}", path.display()),
    };
    if !force {
        return create(path, text).map_err(failed);
    }
    // Beside it, so that it can take its place at once.
    let beside = beside(path);
    let result = create(&beside, text).and_then(|()| fs::rename(&beside, path));
    if let Err(problem) = result {
        if problem.kind() == io::ErrorKind::AlreadyExists {
            return Err(format!("{}: is left over from another run; remove it", beside.display()));
        }
        // Nobody needs half a file; that it cannot be removed either is no news.
        let _ = fs::remove_file(&beside);
        return Err(failed(problem));
    }
    Ok(())
}

fn create(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let written = writeln!(file, "{text}").and_then(|()| file.sync_all());
    if written.is_err() {
        // It was not there before.
        let _ = fs::remove_file(path);
    }
    written
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}
