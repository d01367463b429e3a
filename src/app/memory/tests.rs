//! How much memory reactors take, and of which kind.

use super::*;
use crate::app::assemble::settings;
use crate::config;

fn config(memory: &str, limits: &str) -> Config {
    let text = format!(
        r#"{{"reactors": {{"management": 0, "io": [0]}}, "memory": {memory}, "limits": {limits}, "bdevs": [], "subsystems": []}}"#
    );
    config::parse(&text, &[0]).unwrap().config
}

#[test]
fn memory_is_sized_and_taken_as_the_configuration_says() {
    const MIB: usize = 1 << 20;
    let rows = [
        //  memory, limits, MiB, backing, page size, populate, lock
        ("{}", "{}", 1024 * 3, ArenaBacking::Ordinary, PageSize::System, false, false),
        (
            "{}",
            r#"{"connections_max": 8, "queue_depth_max": 4096}"#,
            8 * 4,
            ArenaBacking::Ordinary,
            PageSize::System,
            false,
            false,
        ),
        (
            r#"{"bytes_per_reactor": "64MiB"}"#,
            "{}",
            64,
            ArenaBacking::Ordinary,
            PageSize::System,
            false,
            false,
        ),
        (
            r#"{"hugepages": "always", "page_size": "2MiB"}"#,
            "{}",
            256,
            ArenaBacking::Hugepages,
            PageSize::Mib2,
            true,
            false,
        ),
        (
            r#"{"populate": true, "page_size": "1GiB"}"#,
            "{}",
            256,
            ArenaBacking::Best,
            PageSize::Gib1,
            true,
            true,
        ),
        (
            r#"{"populate": true, "hugepages": "never"}"#,
            "{}",
            256,
            ArenaBacking::Ordinary,
            PageSize::System,
            true,
            true,
        ),
    ];
    for (memory, limits, mib, backing, page_size, populate, lock) in rows {
        let config = config(memory, limits);
        let expected = ArenaOptions { bytes: mib * MIB, backing, page_size, node: Some(1), populate, lock };
        assert_eq!(options(&config, &settings(&config), 1), expected, "{memory} {limits}");
    }
}

#[test]
fn the_least_memory_is_enough_for_the_deepest_queue() {
    let config = config(r#"{"bytes_per_reactor": "16MiB"}"#, r#"{"queue_depth_max": 4096}"#);
    let settings = settings(&config);
    assert_eq!(settings.queue_bytes(), 4 << 20);
    let memory = Memory::take(&config, &settings).unwrap();
    let extents = memory.extents();
    let lanes = memory.carve(&settings);
    let [(mapped, pool)] = &lanes[..] else { panic!("{lanes:?}") };
    assert!(mapped.iter().zip(&extents).all(|(one, other)| Arc::ptr_eq(one, other)));
    assert_eq!([4 << 10, 16 << 10, 128 << 10].map(|bytes| pool.count(bytes)), [4 * 256, 4 * 64, 4 * 16]);
    assert!(!mapped[0].is_populated());
}

#[test]
fn a_default_reactor_has_room_for_every_connection() {
    let config = config("{}", "{}");
    let settings = settings(&config);
    let lanes = Memory::take(&config, &settings).unwrap().carve(&settings);
    let pool = &lanes[0].1;
    assert_eq!(
        [4 << 10, 16 << 10, 128 << 10].map(|bytes| pool.count(bytes)),
        [1024 * 128, 1024 * 32, 1024 * 16]
    );
}
