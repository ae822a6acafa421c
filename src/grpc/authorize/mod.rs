//! The two ways to ask whether a token may be used for a domain: in a call of its own, and on a stream.
//!
//! Owns how a question is read and an answer is written. tonic's way costs more than the decision does.
//! Promises the bytes that prost would read and write.
//! Must never wait for the store.

mod answer;
mod call;
pub mod question;
mod stream;

pub(super) use answer::{field_size, no_lease, put_bytes, put_frame, put_prefix};
pub(super) use call::{Answer, AuthorizeCall, decide};
pub(super) use stream::AuthorizeStream;

use bytes::Bytes;
use http::{HeaderValue, Response, header::CONTENT_TYPE};
use http_body::Body as HttpBody;
use tonic::{Status, body::Body};

/// A response with this body.
fn response(body: impl HttpBody<Data = Bytes, Error = Status> + Send + 'static) -> Response<Body> {
    let mut response = Response::new(Body::new(body));
    let content_type = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
