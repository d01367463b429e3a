//! Plots.

use super::fake::{Misdeed, plan, run};
use crate::perf::{Plan, plot};

#[test]
fn plots_are_svg_with_axes_and_curves() {
    let deep = |depth| run(&Plan { depth, verify: false, ..plan() }, &[]).0;
    let reports = [deep(1), deep(4), deep(16)];
    let latencies = plot::latencies(&reports[0]).unwrap();
    let load = plot::load(&reports).unwrap();
    for (picture, words) in [(&latencies, "share of commands"), (&load, "thousand commands per second")] {
        assert!(picture.starts_with("<svg "), "{picture}");
        assert!(picture.trim_end().ends_with("</svg>"));
        for part in [words, "latency (us)", "<polyline"] {
            assert!(picture.contains(part), "{part}: {picture}");
        }
    }
    assert!(latencies.contains("99.9 %"), "{latencies}");
    assert!(load.contains("p99"));
}

#[test]
fn without_a_command_there_is_nothing_to_draw() {
    let (report, _) = run(&plan(), &[(0, Misdeed::End)]);
    let error = plot::latencies(&report).unwrap_err();
    assert_eq!(error.to_string(), "cannot draw the plot: no command succeeded");
    assert!(plot::load(&[report]).is_err());
    assert!(plot::load(&[]).is_err());
}
