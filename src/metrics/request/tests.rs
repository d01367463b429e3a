//! Requests that are served, and those that are not.

use proptest::prelude::*;

use super::*;

#[test]
fn every_request_is_judged() {
    let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(65));
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(REQUEST_BYTES_MAX));
    let last = format!("GET /metrics HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(REQUEST_BYTES_MAX - 30));
    let rows: [(&str, Option<Result<Wanted, Refusal>>); 20] = [
        ("", None),
        ("GET", None),
        ("GET /metrics HTTP/1.1\r\n", None),
        ("GET /metrics HTTP/1.1\r\nHost: a\r\n", None),
        ("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", Some(Ok(Wanted::Metrics))),
        ("GET /metrics HTTP/1.0\r\n\r\n", Some(Ok(Wanted::Metrics))),
        ("GET /metrics?name=a HTTP/1.1\r\n\r\n", Some(Ok(Wanted::Metrics))),
        ("GET /metrics HTTP/1.1\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n", Some(Ok(Wanted::Metrics))),
        ("GET /events HTTP/1.1\r\n\r\n", Some(Ok(Wanted::Events))),
        ("GET / HTTP/1.1\r\n\r\n", Some(Err(Refusal::NotFound))),
        ("GET /metrics/ HTTP/1.1\r\n\r\n", Some(Err(Refusal::NotFound))),
        ("HEAD /metrics HTTP/1.1\r\n\r\n", Some(Err(Refusal::Method))),
        ("POST /metrics HTTP/1.1\r\nContent-Length: 9\r\n\r\n", Some(Err(Refusal::Method))),
        ("DELETE /events HTTP/1.1\r\n\r\n", Some(Err(Refusal::Method))),
        ("\u{1}\u{2}\u{3}\u{4}", Some(Err(Refusal::Malformed))),
        ("GET /metrics HTTP/2.0\r\n\r\n", Some(Err(Refusal::Malformed))),
        ("GET /metrics HTTP/1.1\r\n broken\r\n\r\n", Some(Err(Refusal::Malformed))),
        (&many, Some(Err(Refusal::TooLong))),
        (&long, Some(Err(Refusal::TooLong))),
        (&last, Some(Ok(Wanted::Metrics))),
    ];
    for (bytes, expected) in rows {
        assert_eq!(judge(bytes.as_bytes()), expected, "{bytes:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_one_by_one_are_judged_as_all_at_once(text in "(GET|PUT) /(metrics|events|a) HTTP/1[.]1\r\n(a: b\r\n){0,3}\r\n") {
        let bytes = text.as_bytes();
        for end in 0..bytes.len() {
            prop_assert_eq!(judge(&bytes[..end]), None);
        }
        prop_assert!(judge(bytes).is_some());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = judge(&bytes);
    }
}
