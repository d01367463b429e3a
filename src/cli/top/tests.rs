//! Answers of targets and of others, taken apart, compared and shown; command lines.

use std::time::{Duration, Instant};

use super::fetch::{FetchError, body};
use super::interval;
use super::page::{Page, bytes, number, time};
use super::rates::{Rates, quantile};
use super::scrape::{ParseError, Scrape};
use super::terminal::drawn;
use super::url::Url;

/// What a target says that has run for as long, a quarter of it busy, and has read 4 KiB so many times, in 1 to 2 us each.
fn text(reads: u64, seconds: f64) -> String {
    let namespace = r#"subsystem="nqn.2026-11.io.corelane:a\"b\\c\n",nsid="1""#;
    let connection = r#"subsystem="s",host="h",cntlid="1",qid="1",peer="127.0.0.1:5",reactor="1""#;
    let mut text = format!(
        "# HELP corelane_reactor_turns Turns\n\
         corelane_reactor_turns_total{{reactor=\"0\"}} {reads}\n\
         corelane_reactor_core{{reactor=\"0\"}} 3\n\
         corelane_reactor_busy_seconds_total{{reactor=\"0\"}} {}\n\
         corelane_reactor_parked_seconds_total{{reactor=\"0\"}} {}\n\
         corelane_mailbox_depth{{reactor=\"0\",mailbox=\"a\"}} 2\n\
         corelane_mailbox_depth{{reactor=\"0\",mailbox=\"b\"}} 3\n\
         corelane_namespace_media_errors_total{{{namespace}}} 0\n\
         corelane_connection{{{connection}}} 1\n",
        seconds / 4.0,
        seconds * 3.0 / 4.0
    );
    for (of, labels) in [("namespace", namespace), ("connection", connection)] {
        text.push_str(&format!(
            "corelane_{of}_commands_total{{{labels},command=\"read\"}} {reads}\n\
             corelane_{of}_commands_total{{{labels},command=\"flush\"}} {}\n\
             corelane_{of}_errors_total{{{labels},command=\"flush\"}} 4\n\
             corelane_{of}_data_bytes_total{{{labels},command=\"read\"}} {}\n\
             corelane_{of}_latency_seconds_bucket{{le=\"1e-6\",{labels},class=\"read\"}} 0\n\
             corelane_{of}_latency_seconds_bucket{{le=\"2e-6\",{labels},class=\"read\"}} {reads}\n\
             corelane_{of}_latency_seconds_bucket{{le=\"+Inf\",{labels},class=\"read\"}} {reads}\n",
            reads / 10,
            reads * 4096
        ));
    }
    text + "# EOF\n"
}

fn rates() -> Rates {
    let start = Instant::now();
    let earlier = Scrape::parse(&text(100, 1.0), start).unwrap();
    let now = Scrape::parse(&text(2100, 3.0), start + Duration::from_secs(2)).unwrap();
    Rates::between(&earlier, &now)
}

#[test]
fn rates_are_differences_per_second() {
    let rates = rates();
    let [reactor] = &rates.reactors[..] else { panic!("{rates:?}") };
    assert_eq!((reactor.reactor.as_str(), reactor.core, reactor.mailbox_depth), ("0", 3.0, 5.0));
    assert_eq!((reactor.turns_per_second, reactor.busy), (1000.0, 0.25));
    let [namespace] = &rates.namespaces[..] else { panic!("{rates:?}") };
    assert_eq!(namespace.subsystem, "nqn.2026-11.io.corelane:a\"b\\c\n");
    let [connection] = &rates.connections[..] else { panic!("{rates:?}") };
    assert_eq!((connection.host.as_str(), connection.peer.as_str()), ("h", "127.0.0.1:5"));
    for flow in [&namespace.flow, &connection.flow] {
        assert_eq!(
            (flow.reads_per_second, flow.writes_per_second, flow.others_per_second),
            (1000.0, 0.0, 100.0)
        );
        assert_eq!(
            (flow.read_bytes_per_second, flow.errors, flow.errors_per_second),
            (4_096_000.0, 4.0, 0.0)
        );
        let p50 = flow.p50_seconds.unwrap();
        assert!((p50 - 1.5e-6).abs() < 1e-9, "{p50}");
    }
}

#[test]
fn a_target_that_began_anew_has_no_negative_rates() {
    let start = Instant::now();
    let earlier = Scrape::parse(&text(5000, 9.0), start).unwrap();
    let now = Scrape::parse(&text(100, 1.0), start + Duration::from_secs(1)).unwrap();
    assert_eq!(Rates::between(&earlier, &now).namespaces[0].flow.reads_per_second, 100.0);
}

#[test]
fn a_page_has_a_line_for_each() {
    let url = Url::parse("http://127.0.0.1:1").unwrap();
    let page = Page::of(&url, &rates()).to_string();
    let expected = "\
corelane top  http://127.0.0.1:1/metrics  2.0 s

REACTOR  CORE    BUSY  TURNS/S  PARKS/S  WAKES/S  MAILBOX  REFUSED/S
      0     3  25.0 %     1000        0        0        5          0

SUBSYSTEM                       NSID  READS/S  WRITES/S  OTHERS/S       READ  WRITTEN     P50     P99  ERRORS
nqn.2026-11.io.corelane:a\"b\\c?     1     1000         0       100  3.9 MiB/s    0 B/s  1.5 us  2.0 us       4

HOST  PEER         CNTLID  QID  REACTOR  READS/S  WRITES/S  OTHERS/S       READ  WRITTEN     P50     P99  ERRORS
h     127.0.0.1:5       1    1        1     1000         0       100  3.9 MiB/s    0 B/s  1.5 us  2.0 us       4
";
    assert_eq!(page, expected);
    let json = rates().to_json();
    assert_eq!(json["namespaces"][0]["reads_per_second"], 1000.0);
}

#[test]
fn numbers_are_short() {
    let rows = [(0.4, "0"), (9999.0, "9999"), (10_000.0, "10.0 k"), (1.25e6, "1.2 M"), (3e9, "3.0 G")];
    for (value, expected) in rows {
        assert_eq!(number(value), expected);
    }
    assert_eq!(
        [bytes(1023.0), bytes(2048.0), bytes(3.0 * 1024.0 * 1024.0)],
        ["1023 B/s", "2.0 KiB/s", "3.0 MiB/s"]
    );
    assert_eq!([time(5e-7), time(5e-6), time(0.25), time(2.0)], ["500.0 ns", "5.0 us", "250.0 ms", "2.0 s"]);
}

#[test]
fn quantiles_lie_within_their_buckets() {
    let buckets = [(1.0, 0.0), (2.0, 10.0), (4.0, 10.0), (f64::INFINITY, 20.0)];
    let rows = [(0.0, Some(1.0)), (0.25, Some(1.5)), (0.5, Some(2.0)), (0.99, Some(4.0))];
    for (share, expected) in rows {
        assert_eq!(quantile(&buckets, share), expected, "{share}");
    }
    assert_eq!(quantile(&[(1.0, 0.0), (f64::INFINITY, 0.0)], 0.5), None);
    assert_eq!(quantile(&[], 0.5), None);
}

#[test]
fn what_is_no_scrape_is_named() {
    let rows = [
        ("", ParseError::Stranger),
        ("up 1\n", ParseError::Stranger),
        ("# only\ncorelane_reactor_turns_total{reactor=\"0} 1\n", ParseError::Line(2)),
        ("corelane_reactor_turns_total{reactor} 1\n", ParseError::Line(1)),
        ("corelane_reactor_turns_total x\n", ParseError::Line(1)),
        ("{} 1\n", ParseError::Line(1)),
        ("name\n", ParseError::Line(1)),
    ];
    for (text, expected) in rows {
        assert_eq!(Scrape::parse(text, Instant::now()).err(), Some(expected), "{text:?}");
    }
}

#[test]
fn answers_that_are_none_are_named() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
    assert_eq!(body(format!("{ok}abc").as_bytes()).unwrap(), "abc");
    assert_eq!(body(b"HTTP/1.1 200 OK\r\n\r\nabc").unwrap(), "abc");
    type Is = fn(&FetchError) -> bool;
    let rows: [(String, Is); 6] = [
        (format!("{ok}ab"), |error| matches!(error, FetchError::Short)),
        ("HTTP/1.1 200".to_owned(), |error| matches!(error, FetchError::Short)),
        ("HTTP/1.1 404 Not Found\r\n\r\n".to_owned(), |error| matches!(error, FetchError::Status(404))),
        ("SSH-2.0-x\r\n".to_owned(), |error| matches!(error, FetchError::NotHttp)),
        (String::new(), |error| matches!(error, FetchError::NotHttp)),
        ("\u{1}\u{2}".to_owned(), |error| matches!(error, FetchError::NotHttp)),
    ];
    for (answer, is_expected) in rows {
        let error = body(answer.as_bytes()).unwrap_err();
        assert!(is_expected(&error), "{answer:?}: {error}");
    }
    let error = body(b"HTTP/1.1 200 OK\r\n\r\n\xff").unwrap_err();
    assert!(matches!(error, FetchError::NotText), "{error}");
}

#[test]
fn intervals_and_addresses_are_read() {
    let rows = [
        ("1s", Some(1000)),
        ("1", Some(1000)),
        ("250ms", Some(250)),
        ("3600s", Some(3_600_000)),
        ("99ms", None),
        ("3601s", None),
        ("", None),
        ("-1s", None),
        ("1.5s", None),
        ("99999999999999999999s", None),
    ];
    for (text, milliseconds) in rows {
        assert_eq!(interval(text).ok(), milliseconds.map(Duration::from_millis), "{text}");
    }
    let rows = [
        ("http://127.0.0.1", Some("127.0.0.1:9920")),
        ("http://127.0.0.1:1/", Some("127.0.0.1:1")),
        ("http://[::1]:2/metrics", Some("[::1]:2")),
        ("http://[::1]", Some("[::1]:9920")),
        ("https://127.0.0.1", None),
        ("127.0.0.1:9920", None),
        ("http://localhost:9920", None),
        ("http://a/b", None),
    ];
    for (text, address) in rows {
        assert_eq!(Url::parse(text).ok().map(|url| url.0.to_string()).as_deref(), address, "{text}");
    }
}

#[test]
fn what_does_not_fit_is_cut_off_and_what_was_there_is_wiped() {
    let page = "first line\nsecond\nthird\n";
    assert_eq!(drawn(page, 24, 80), "\x1b[Hfirst line\x1b[K\r\nsecond\x1b[K\r\nthird\x1b[K\r\n\x1b[J");
    assert_eq!(drawn(page, 3, 5), "\x1b[Hfirst\x1b[K\r\nsecon\x1b[K\r\n\x1b[J");
    assert_eq!(drawn(page, 1, 1), "\x1b[H\x1b[J");
}
