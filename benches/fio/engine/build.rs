//! Compiles the shim against fio's headers, where `FIO_SRC` says where they are; without it the library has no entry.
//!
//! `FIO_SRC` is a source tree of the fio that is to open the library, configured: `benches/fio/build` makes one.

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;

/// Where fio's own build keeps its version, and what that build begins with.
const VERSION_FILES: [(&str, &str); 2] =
    [("FIO-VERSION-FILE", "FIO_VERSION = "), ("FIO-VERSION-GEN", "DEF_VER=")];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rustc-check-cfg=cfg(fio)");
    println!("cargo::rerun-if-env-changed=FIO_SRC");
    println!("cargo::rerun-if-changed=src/shim.c");
    // Threads of fio may still have values of ours when it closes the library.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    let Some(source) = env::var_os("FIO_SRC").filter(|source| !source.is_empty()) else { return Ok(()) };
    let source = Path::new(&source);
    let configuration = source.join("config-host.h");
    for file in [&configuration, &source.join("fio.h")] {
        println!("cargo::rerun-if-changed={}", file.display());
        if !file.is_file() {
            let missing = file.display();
            return Err(format!("FIO_SRC is no configured source of fio: {missing} is missing").into());
        }
    }
    let version = version(source)?;
    cc::Build::new()
        .file("src/shim.c")
        .std("gnu99")
        .define("_GNU_SOURCE", None)
        .define("CORELANE_FIO_VERSION", format!("\"{version}\"").as_str())
        .flag("-include")
        .flag(&configuration)
        // Its headers are not ours to warn about.
        .flag("-isystem")
        .flag(source)
        .extra_warnings(true)
        .compile("corelane_fio_shim");
    println!("cargo::rustc-cfg=fio");
    Ok(())
}

/// What that fio says when it is asked for its version, such as `fio-3.33`.
fn version(source: &Path) -> Result<String, Box<dyn Error>> {
    for (file, prefix) in VERSION_FILES {
        let path = source.join(file);
        println!("cargo::rerun-if-changed={}", path.display());
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let found = text.lines().find_map(|line| line.strip_prefix(prefix));
        if let Some(version) = found {
            return Ok(version.trim().to_owned());
        }
    }
    Err(format!("{}: no version of fio", source.display()).into())
}
