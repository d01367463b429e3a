//! Lists of cores, as the kernel writes them: `0-3,8`. cpuset(7), "List format".

/// More cores than any kernel numbers.
const CORE_MAX: usize = 8191;

/// The numbers of a list, ascending; none of an empty one. `None` if it is no list.
pub(super) fn parse(text: &str) -> Option<Vec<usize>> {
    let mut cores = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last > CORE_MAX {
            return None;
        }
        cores.extend(first..=last);
    }
    cores.sort_unstable();
    cores.dedup();
    Some(cores)
}

/// The list of these numbers, which ascend; `none` of none.
pub(super) fn show(cores: &[usize]) -> String {
    if cores.is_empty() {
        return "none".to_owned();
    }
    let mut parts: Vec<String> = Vec::new();
    let mut rest = cores;
    while let [first, ..] = rest {
        let run =
            rest.iter().zip(*first..=usize::MAX).take_while(|(core, expected)| *core == expected).count();
        let last = first + (run - 1);
        parts.push(if run == 1 { first.to_string() } else { format!("{first}-{last}") });
        rest = &rest[run..];
    }
    parts.join(",")
}

/// `core 3`, or `cores 0-3`.
pub(super) fn named(cores: &[usize]) -> String {
    format!("{} {}", if cores.len() == 1 { "core" } else { "cores" }, show(cores))
}
