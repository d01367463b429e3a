//! What a visitor wants: one HTTP/1.1 request, judged as its bytes come in.

/// The longest request in bytes, up to the empty line that ends it.
pub(super) const REQUEST_BYTES_MAX: usize = 8192;
/// Header fields of one request at most.
const FIELDS_MAX: usize = 64;

/// What is there to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Metrics,
    Events,
}

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Malformed,
    NotFound,
    Method,
    TooLong,
    /// The target did not answer: it is starting, stopping or hung.
    Unavailable,
}

impl Refusal {
    /// Status and reason.
    pub(super) fn line(self) -> &'static str {
        match self {
            Self::Malformed => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::Method => "405 Method Not Allowed",
            Self::TooLong => "431 Request Header Fields Too Large",
            Self::Unavailable => "503 Service Unavailable",
        }
    }
}

/// Judges the bytes so far; `None` if there have to be more. What follows the request is of no interest: every connection
/// has one.
pub(super) fn judge(bytes: &[u8]) -> Option<Result<Wanted, Refusal>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let within = &bytes[..bytes.len().min(REQUEST_BYTES_MAX)];
    match request.parse(within) {
        Ok(httparse::Status::Partial) if within.len() < REQUEST_BYTES_MAX => None,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => Some(Err(Refusal::TooLong)),
        Err(_) => Some(Err(Refusal::Malformed)),
        Ok(httparse::Status::Complete(_)) => Some(target(&request)),
    }
}

fn target(request: &httparse::Request<'_, '_>) -> Result<Wanted, Refusal> {
    let path = request.path.unwrap_or_default();
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let wanted = match path {
        "/metrics" => Wanted::Metrics,
        "/events" => Wanted::Events,
        _ => return Err(Refusal::NotFound),
    };
    if request.method == Some("GET") { Ok(wanted) } else { Err(Refusal::Method) }
}

#[cfg(test)]
mod tests;
