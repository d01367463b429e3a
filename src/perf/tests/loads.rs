//! Whole loads: what is measured, found and counted.

use std::time::Duration;

use super::fake::{Disk, Misdeed, SPACE, plan, run, run_on};
use crate::perf::{Meaning, Pattern, Plan};
use crate::spec::status::Status;

#[test]
fn an_honest_disk_verifies_and_is_measured() {
    for (mix, pattern) in
        [(0, Pattern::Random), (50, Pattern::Sequential), (50, Pattern::Random), (100, Pattern::Random)]
    {
        let plan = Plan { reads_percent: mix, pattern, ..plan() };
        let (report, disk) = run(&plan, &[]);
        assert!(report.is_clean(), "{report:?}");
        let verified = report.verified.as_ref().unwrap();
        assert_eq!((verified.wrong, verified.unread), (0, 0));
        assert_eq!(verified.read_back * 2, disk.blocks.len() as u64, "all that was written is read back");
        assert_eq!(report.latency.count(), report.reads + report.writes);
        assert!(report.writes > 0);
        assert_eq!(disk.most, 16, "every slot of both lanes is used");
        let expected = report.latency.count() as f64 / report.measured.as_secs_f64();
        assert!((report.iops - expected).abs() < 1.0);
        assert_eq!(report.measured, plan.duration);
        assert!(disk.left);
    }
}

#[test]
fn the_mix_is_what_was_asked_for() {
    for mix in [0, 30, 100] {
        let (report, _) = run(&Plan { reads_percent: mix, verify: false, ..plan() }, &[]);
        let share = report.reads as f64 / (report.reads + report.writes) as f64;
        assert!((share - f64::from(mix) / 100.0).abs() < 0.03, "{mix} %: {share}");
    }
}

#[test]
fn the_rate_is_kept() {
    for rate in [1_000, 20_000] {
        let plan = Plan { rate: Some(rate), duration: Duration::from_millis(500), verify: false, ..plan() };
        let (report, _) = run(&plan, &[]);
        let off = (report.iops - rate as f64).abs() / rate as f64;
        assert!(off < 0.02, "{rate}: {}", report.iops);
    }
}

#[test]
fn a_flipped_bit_is_found_where_it_is() {
    for byte in [0, 20, 29, 31, 32, 300, 511] {
        let plan = Plan { reads_percent: 100, ..plan() };
        // Behind the first writes of all units, of which there are 2,048.
        let (report, _) = run(&plan, &[(20_000, Misdeed::FlipBit(byte))]);
        let verified = report.verified.as_ref().unwrap();
        assert_eq!(verified.wrong, 2, "both blocks of the command");
        let wrong = verified.first[0];
        assert_eq!((wrong.nsid, wrong.offset as usize, wrong.wrong_bytes), (SPACE.nsid, byte, 1));
        assert_eq!(wrong.expected ^ wrong.got, 0x10);
        assert_eq!(wrong.meaning, Meaning::Flipped { bits: 1 });
        assert!(!report.is_clean());
        assert_eq!(report.error_count(), 0, "it is no error of a command");
    }
}

#[test]
fn forgotten_and_misplaced_blocks_are_named() {
    // A few units, so that each is read before it is written again.
    let few = Plan { depth: 1, connections: 1, reads_percent: 50, ..plan() };
    let (report, _) = run(&few, &(4_000..4_200).map(|at| (at, Misdeed::ForgetWrite)).collect::<Vec<_>>());
    let verified = report.verified.unwrap();
    assert!(verified.wrong > 0);
    for wrong in verified.first {
        // The first write of a block that is forgotten leaves zeros.
        assert!(matches!(wrong.meaning, Meaning::Stale { .. } | Meaning::Foreign), "{wrong}");
    }
    let plan = Plan { reads_percent: 100, ..plan() };
    let (report, _) = run(&plan, &[(20_000, Misdeed::WrongPlace)]);
    let first = report.verified.unwrap().first;
    assert_eq!(first[0].meaning, Meaning::Misplaced { lba: first[0].lba + 1 });
}

#[test]
fn what_an_earlier_run_wrote_is_not_taken_for_what_this_one_did() {
    let (first, disk) = run(&plan(), &[]);
    assert!(first.is_clean());
    // Half of the blocks are still those of the first run, and that is no mistake.
    let short = Plan { duration: Duration::from_micros(100), warm_up: Duration::ZERO, ..plan() };
    let (second, after) = run_on(&short, 2, Disk::holding(disk.blocks.clone(), None));
    assert!(second.is_clean(), "{second:?}");
    let kept = after.blocks.iter().filter(|(lba, block)| disk.blocks.get(lba) == Some(block)).count();
    assert!(kept > disk.blocks.len() / 2 && kept < disk.blocks.len(), "{kept} of {}", disk.blocks.len());

    // The same seed, the same places, the same generations: and each write is acknowledged and forgotten.
    let forgetful = Disk::holding(disk.blocks, Some(Misdeed::ForgetWrite));
    let (third, _) = run_on(&plan(), 3, forgetful);
    let verified = third.verified.as_ref().unwrap();
    assert!(!third.is_clean() && verified.wrong > 0);
    assert_eq!(verified.wrong, verified.compared);
    assert!(verified.first.iter().all(|wrong| wrong.meaning == Meaning::OtherRun), "{verified:?}");
    let words = verified.first[0].to_string();
    assert!(words.contains("(an old block: another run wrote it; "), "{words}");
}

#[test]
fn verifying_survives_outages() {
    for seed in 1..20 {
        let plan = Plan { seed, ..plan() };
        let outages: Vec<_> = (1..6).map(|index| (index * 1_000 + seed, Misdeed::Outage)).collect();
        let (report, _) = run(&plan, &outages);
        assert!(report.is_clean(), "seed {seed}: {report:?}");
        assert_eq!(report.outages, 5, "seed {seed}");
        assert!(report.repeated > 0, "seed {seed}");
        assert_eq!(report.losses, [("I/O queue 1: the controller closed the connection".to_owned(), 5)]);
    }
}

#[test]
fn failed_commands_are_counted_under_their_status() {
    let out_of_range = Misdeed::Fail(Status::LBA_OUT_OF_RANGE.with_dnr());
    let other = Misdeed::Fail(Status::INTERNAL_ERROR);
    let (report, _) = run(&plan(), &[(900, out_of_range), (901, out_of_range), (1_200, other)]);
    let expected =
        [("LBA Out of Range (0h/80h DNR)".to_owned(), 2), ("Internal Error (0h/06h)".to_owned(), 1)];
    assert_eq!(report.errors, expected);
    assert!(!report.is_clean());
    assert_eq!(report.verified.unwrap().wrong, 0, "a write that failed may have been carried out or not");
}

#[test]
fn a_silent_target_is_an_error_and_goes_on() {
    let (report, _) = run(&plan(), &[(2_000, Misdeed::Silence)]);
    assert_eq!(report.errors, [("I/O queue 1: a command is not answered after 100ms".to_owned(), 1)]);
    assert_eq!(report.verified.unwrap().wrong, 0);
}

#[test]
fn a_target_that_minds_the_time_itself_is_waited_for() {
    // Three times what a command may take where nobody else minds it, and beyond the end of the run.
    let after = 3 * plan().timeout;
    let (report, disk) = run_on(&plan(), 1, Disk::slow(2_000, after));
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.outages, report.verified.unwrap().unread, disk.left), (0, 0, true));
    let (report, _) = run(&plan(), &[(2_000, Misdeed::Late(after))]);
    assert_eq!(report.errors, [("I/O queue 1: a command is not answered after 100ms".to_owned(), 1)]);
}

#[test]
fn a_target_that_is_given_up_ends_the_load() {
    // Behind the warm-up.
    let (report, _) = run(&plan(), &[(20_000, Misdeed::End)]);
    let words = "I/O queue 1: the controller closed the connection";
    assert_eq!(report.gave_up.as_deref(), Some(words));
    assert_eq!(report.errors.len(), 1);
    assert_eq!(report.errors[0].0, "lost, and not sent again");
    assert!(report.errors[0].1 <= 16);
    assert!(!report.is_clean());
    assert!(report.iops > 0.0, "what was measured before counts");
    assert!(report.measured < plan().duration);
}
