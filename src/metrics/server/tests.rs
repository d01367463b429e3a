//! Visits without a socket of their own: what is answered. Sockets, time and hostile visitors are tried on a whole process.

use super::*;

struct Fixed(bool);

impl Source for Fixed {
    fn data(&mut self) -> Option<Data> {
        self.0.then(Data::default)
    }

    fn events(&mut self) -> Vec<Events> {
        Vec::new()
    }
}

fn answered(wanted: Result<Wanted, Refusal>, is_up: bool) -> String {
    String::from_utf8(answer(wanted, &mut Fixed(is_up))).unwrap()
}

#[test]
fn answers_say_how_long_they_are() {
    let rows = [
        (Ok(Wanted::Metrics), true, "HTTP/1.1 200 OK\r\n"),
        (Ok(Wanted::Metrics), false, "HTTP/1.1 503 Service Unavailable\r\n"),
        (Ok(Wanted::Events), true, "HTTP/1.1 200 OK\r\n"),
        (Err(Refusal::NotFound), true, "HTTP/1.1 404 Not Found\r\n"),
        (Err(Refusal::Method), true, "HTTP/1.1 405 Method Not Allowed\r\n"),
        (Err(Refusal::Malformed), true, "HTTP/1.1 400 Bad Request\r\n"),
        (Err(Refusal::TooLong), true, "HTTP/1.1 431 "),
    ];
    for (wanted, is_up, start) in rows {
        let text = answered(wanted, is_up);
        assert!(text.starts_with(start), "{text}");
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{text}");
        assert_eq!(head.contains("\r\nAllow: GET\r\n"), wanted == Err(Refusal::Method));
    }
}
