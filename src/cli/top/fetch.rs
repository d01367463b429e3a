//! One HTTP request for the metrics. The other end may be anything: what is read of it is limited in size and time.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::url::Url;

/// For the whole exchange.
const TIME_MAX: Duration = Duration::from_secs(10);
/// For the connection alone.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// The longest answer: enough for some ten thousand connections.
const ANSWER_BYTES_MAX: usize = 256 << 20;
const HEADER_FIELDS_MAX: usize = 64;

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error("the connection failed: {0}")]
    Broken(#[source] io::Error),
    #[error("no answer within {} s", TIME_MAX.as_secs())]
    Slow,
    #[error("the answer has more than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    #[error("the answer is no HTTP")]
    NotHttp,
    #[error("the answer breaks off")]
    Short,
    #[error("it answers with status {0}")]
    Status(u16),
    #[error("the answer is not UTF-8")]
    NotText,
}

/// The body of `GET /metrics`.
pub(super) fn fetch(url: &Url) -> Result<String, FetchError> {
    let until = Instant::now() + TIME_MAX;
    let mut stream = TcpStream::connect_timeout(&url.0, CONNECT_MAX).map_err(FetchError::Connect)?;
    stream.set_write_timeout(Some(TIME_MAX)).map_err(FetchError::Broken)?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", url.0);
    stream.write_all(request.as_bytes()).map_err(FetchError::Broken)?;
    let mut answer = Vec::new();
    let mut bytes = vec![0; 64 << 10];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(FetchError::Slow);
        }
        stream.set_read_timeout(Some(left)).map_err(FetchError::Broken)?;
        match stream.read(&mut bytes) {
            Ok(0) => return body(&answer),
            Ok(count) => answer.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(FetchError::Slow);
            }
            Err(error) => return Err(FetchError::Broken(error)),
        }
        if answer.len() > ANSWER_BYTES_MAX {
            return Err(FetchError::TooLong);
        }
    }
}

/// The body of a whole answer.
pub(super) fn body(answer: &[u8]) -> Result<String, FetchError> {
    let mut fields = [httparse::EMPTY_HEADER; HEADER_FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let start = match response.parse(answer) {
        Ok(httparse::Status::Complete(start)) => start,
        Ok(httparse::Status::Partial) if answer.starts_with(b"HTTP/") => return Err(FetchError::Short),
        Ok(httparse::Status::Partial) | Err(_) => return Err(FetchError::NotHttp),
    };
    match response.code {
        Some(200) => {}
        Some(status) => return Err(FetchError::Status(status)),
        None => return Err(FetchError::NotHttp),
    }
    let length = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|field| std::str::from_utf8(field.value).ok()?.trim().parse::<usize>().ok());
    let body = &answer[start..];
    if length.is_some_and(|length| length != body.len()) {
        return Err(FetchError::Short);
    }
    String::from_utf8(body.to_vec()).map_err(|_| FetchError::NotText)
}
