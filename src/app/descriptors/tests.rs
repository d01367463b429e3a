//! How many connections find room, and what is said.

use super::*;

const ALLOWED: [usize; 2] = [0, 1];

fn config() -> Config {
    Config::embedded_default(&ALLOWED).unwrap()
}

#[test]
fn connections_get_what_the_target_does_not_need_itself() {
    let config = config();
    let own = config.own_descriptors();
    assert_eq!(config.descriptors(), own + 1024);
    let rows = [
        (None, Some(1024), "no limit"),
        (Some(own + 5000), Some(1024), "allowed"),
        (Some(own + 1024), Some(1024), "allowed"),
        (Some(own + 1023), Some(1023), "1023 connections are served; `ulimit -Hn"),
        (Some(own + 16), Some(16), "16 connections are served"),
        (Some(own + 15), None, "for itself and a few hosts; `ulimit -Hn"),
        (Some(0), None, "LimitNOFILE="),
    ];
    for (most, room, words) in rows {
        let descriptors = Descriptors::of(&config, most);
        assert_eq!(descriptors.connections().ok(), room, "{most:?}");
        assert_eq!(descriptors.is_enough(), room == Some(1024));
        assert!(descriptors.to_string().contains(words), "{descriptors}");
    }
}

#[test]
fn few_connections_need_few() {
    let mut config = config();
    config.limits.connections_max = 2;
    let own = config.own_descriptors();
    assert_eq!(Descriptors::of(&config, Some(own + 2)).connections(), Ok(2));
    assert!(Descriptors::of(&config, Some(own + 1)).connections().is_err());
}

#[test]
fn every_device_counts() {
    let more = |bdev: &str| {
        let text = format!(r#"{{"bdevs": [{bdev}], "subsystems": []}}"#);
        crate::config::parse(&text, &ALLOWED).unwrap().config.own_descriptors()
    };
    let none = more("");
    assert_eq!(more(r#"{"name": "a", "type": "malloc", "size": "1MiB"}"#), none);
    assert_eq!(more(r#"{"name": "a", "type": "file", "path": "/srv/a", "size": "1MiB"}"#), none + 2);
    assert!(more(r#"{"name": "a", "type": "nvme", "address": "0000:5e:00.0"}"#) > none + 2);
}
