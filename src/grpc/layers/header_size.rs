//! The limits on a request's metadata: its size, and how many fields it has.
//!
//! Owns how its size is counted, which is HTTP/2's way.
//! Promises a status to a call that exceeds a limit, and that its connection goes on.
//! Must never allocate for a call within the limits.

use super::{message_limits::MessageLimits, refused::refused};
use crate::config::ClientLimits;
use crate::grpc::{call::Call, errors};
use futures::future::{BoxFuture, Either};
use http::{HeaderMap, Response, Uri};
use std::task::{Context, Poll};
use tonic::body::Body;
use tower::Service;

/// How many bytes each field counts besides its name and its value (RFC 9113, section 6.5.2).
const FIELD: usize = 32;

/// How many fields there may be. A field takes some 200 bytes of memory besides its name and value,
/// and HTTP/2 counts 32 of them. A client and its proxies send some twenty.
const MAX_FIELDS: usize = 64;

/// The names of the fields that stand for a request's first line in HTTP/2. They count like others.
const PSEUDO_NAMES: [&str; 4] = [":method", ":scheme", ":authority", ":path"];

/// Refuses calls whose metadata is over a limit.
#[derive(Debug, Clone)]
pub(in crate::grpc) struct HeaderSize<S> {
    /// In bytes.
    limit: u32,
    message_limits: MessageLimits,
    inner: S,
}

impl<S> HeaderSize<S> {
    pub(in crate::grpc) fn new(limits: &ClientLimits, inner: S) -> Self {
        Self {
            limit: limits.max_header_size,
            message_limits: MessageLimits::of(limits),
            inner,
        }
    }
}

impl<S> Service<Call> for HeaderSize<S>
where
    S: Service<Call, Response = Response<Body>>,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let request = &call.request;
        let fields = request.headers().len();
        if fields > MAX_FIELDS {
            let status = errors::too_many_fields(fields, MAX_FIELDS);
            return Either::Right(refused(call, self.message_limits, status));
        }
        let size = size(request.method().as_str(), request.uri(), request.headers());
        if size > self.limit as usize {
            let status = errors::too_much_metadata(size, self.limit);
            return Either::Right(refused(call, self.message_limits, status));
        }
        Either::Left(self.inner.call(call))
    }
}

fn size(method: &str, uri: &Uri, headers: &HeaderMap) -> usize {
    let pseudo_values = [
        method,
        uri.scheme_str().unwrap_or_default(),
        uri.authority().map_or("", |authority| authority.as_str()),
        uri.path_and_query().map_or("", |path| path.as_str()),
    ];
    let pseudo_fields = PSEUDO_NAMES.iter().zip(pseudo_values);
    let pseudo_sizes = pseudo_fields.map(|(name, value)| name.len() + value.len() + FIELD);
    let fields = headers.iter();
    let sizes = fields.map(|(name, value)| name.as_str().len() + value.len() + FIELD);
    pseudo_sizes.chain(sizes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counted by hand: of the first line 7 + 4, 7 + 4, 10 + 4 and 5 + 2, of the fields 2 + 8 and
    /// twice 3 + 1, and 32 for each of the seven.
    #[test]
    fn every_field_counts_its_name_its_value_and_32_bytes() {
        let mut headers = HeaderMap::new();
        headers.append("te", "trailers".parse().expect("ASCII"));
        headers.append("x-a", "1".parse().expect("ASCII"));
        headers.append("x-a", "2".parse().expect("ASCII"));
        let uri = Uri::from_static("http://host/a");
        assert_eq!(size("POST", &uri, &headers), 43 + 10 + 8 + 7 * 32);
    }
}
