//! An email sender: it takes a message over HTTP, and asks whether the key in it may send for the domain in From.
//!
//! `cargo run --example sender`, then
//! `curl -H 'Authorization: Bearer tsend_…' -d '{"from": "Ann <ann@mail.example.com>"}' localhost:8080/v2/emails`

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};
use std::{error, time::Duration};
use tosend_keyservice::{Client, Code, Decision, Error, Options};

#[tokio::main]
async fn main() -> Result<(), Box<dyn error::Error>> {
    // A real one has `.secret_file(…)` or `.certificate_files(…)` instead of `.plaintext()`.
    let client = Client::open(Options::new(["127.0.0.1:50051"]).plaintext())?;
    client.wait_until_ready(Duration::from_secs(10)).await?;
    let app = Router::new()
        .route("/v2/emails", post(send))
        .with_state(client);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    Ok(axum::serve(listener, app).await?)
}

async fn send(State(client): State<Client>, headers: HeaderMap, body: Bytes) -> Response {
    let Some(token) = bearer(&headers) else {
        return refuse(StatusCode::UNAUTHORIZED, "give your key as a bearer token");
    };
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(domain) = message["from"].as_str().and_then(domain_of) else {
        return refuse(StatusCode::BAD_REQUEST, "\"from\" has no address");
    };
    match client.authorize(token, domain).await {
        Ok(Decision::Allowed(allowed)) => {
            // Here the message is put into the queue of its account.
            let accepted = json!({"accepted": true, "account": allowed.account_id});
            answer(StatusCode::ACCEPTED, &accepted)
        }
        Ok(Decision::Denied(denied)) => {
            let status = StatusCode::from_u16(denied.http_status()).expect("it is one");
            refuse(status, &denied.reason.to_string())
        }
        Err(Error::Misused(error)) if error.code() == Some(Code::InvalidArgument) => {
            refuse(StatusCode::BAD_REQUEST, "\"from\" has no domain name")
        }
        Err(error) => {
            // Unavailable, or this program may not ask.
            eprintln!("{error}");
            refuse(StatusCode::SERVICE_UNAVAILABLE, "try again in a moment")
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// The domain in `Name <a@mail.example.com>` or `a@mail.example.com`.
fn domain_of(from: &str) -> Option<&str> {
    let address = match from.trim().strip_suffix('>') {
        Some(named) => named.rsplit_once('<')?.1,
        None => from.trim(),
    };
    let (_, domain) = address.rsplit_once('@')?;
    Some(domain)
}

fn refuse(status: StatusCode, error: &str) -> Response {
    let mut response = answer(status, &json!({ "error": error }));
    if status == StatusCode::UNAUTHORIZED {
        let headers = response.headers_mut();
        headers.insert(
            header::WWW_AUTHENTICATE,
            header::HeaderValue::from_static("Bearer"),
        );
    }
    response
}

fn answer(status: StatusCode, body: &Value) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (status, json, body.to_string()).into_response()
}
