//! docs/hostile-peers.md names tests that exist, for each class in both ways, and leaves none of these out.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const PAGE: &str = "docs/hostile-peers.md";
/// Rows that there are at least: a page without tables would hold.
const ROWS_MIN: usize = 40;

/// The paths of all tests: the modules that their files are, and their names.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry of a folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let module = path.strip_prefix(root).expect("below the root").with_extension("");
                let module = module.to_str().expect("a path in UTF-8").replace('/', "::");
                let module = module.strip_suffix("::mod").unwrap_or(&module);
                found.extend(names(&path).into_iter().map(|name| format!("{module}::{name}")));
            }
        }
    }
    found
}

/// The names of the tests of a file: of functions right behind `#[test]`.
fn names(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("a source");
    let behind = text.split("#[test]\n").skip(1);
    let name = |rest: &str| {
        let rest = rest.trim_start().strip_prefix("fn ")?;
        Some(rest.split('(').next()?.to_owned())
    };
    behind.filter_map(name).collect()
}

/// What stands in backquotes and looks like the path of a test.
fn named(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).filter(|word| word.contains("::")).collect()
}

#[test]
fn the_page_names_tests_that_exist_and_leaves_none_out() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = fs::read_to_string(page).expect("the page");
    let tests = tests();
    for name in named(&page) {
        let suffix = format!("::{name}");
        let count = tests.iter().filter(|test| test.ends_with(&suffix)).count();
        assert_eq!(count, 1, "{PAGE} names {name}");
    }
    let mut rows = 0;
    for row in page.lines().filter(|line| line.starts_with("| ") && line.contains("::")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [_, _, without, over] = cells[..] else { panic!("four cells: {row}") };
        let (without, over) = (named(without), named(over));
        assert!(!without.is_empty() && !over.is_empty(), "a test of each kind: {row}");
        rows += 1;
    }
    assert!(rows >= ROWS_MIN, "{rows} rows");
    let here = tests.iter().filter_map(|test| test.strip_prefix("tests::process::"));
    for test in here.filter(|test| test.starts_with("hostile::") && !test.contains("::page::")) {
        assert!(page.contains(&format!("`{test}`")), "{PAGE} does not name {test}");
    }
}
