//! The fields of a request: the token, the domain, the ids and the name of a key. And a caller's name.

use super::{BEARER_CANARY, CANARY, assert_hides_canary, assert_refused, text};
use keyservice::model::{
    account::AccountId,
    caller_name::CallerName,
    domain::Domain,
    key::{KeyId, KeyName, RequestId},
    sender::sending_domain,
    text::{ContainsSecret, refuse_secrets},
    token::{self, TOKEN_LEN, Token},
};

/// A token can be parsed again, and a typing error makes it invalid. An error does not repeat the
/// text.
pub fn token(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(token) = Token::parse(text) {
        assert_eq!(token.expose(), text);
        assert_eq!(text.len(), TOKEN_LEN);
        assert!(text.starts_with(token::PREFIX));
        assert_eq!(refuse_secrets(text), Err(ContainsSecret::Token));
        assert_eq!(refuse_secrets(token.preview().as_str()), Ok(()));
        for at in 0..TOKEN_LEN {
            let other = if text[at..].starts_with('0') {
                "1"
            } else {
                "0"
            };
            let mistyped = [&text[..at], other, &text[at + 1..]].concat();
            assert!(Token::parse(&mistyped).is_err(), "at {at}");
        }
    }
    // As much as any text that is kept may be.
    let around: String = text.chars().take(80).collect();
    for canary in [CANARY, BEARER_CANARY] {
        let hidden = format!("{around}{canary}{around}");
        assert!(refuse_secrets(&hidden).is_err());
    }
    if !text.is_empty() {
        assert_refused(Token::parse(&format!("{CANARY}{text}")));
    }
}

/// A parsed domain is in its only normal form, and within the limits of DNS.
pub fn domain(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let Ok(domain) = Domain::parse(text.to_owned()) else {
        if let Err(error) = Domain::parse(format!("{CANARY}@{text}")) {
            assert_hides_canary(&error.to_string());
        }
        return;
    };
    let normal = domain.as_str();
    assert_eq!(Domain::parse(normal.to_owned()), Ok(domain.clone()));
    for spelling in [normal.to_uppercase(), format!("{normal}.")] {
        assert_eq!(Domain::parse(spelling), Ok(domain.clone()));
    }
    assert!(normal.len() <= 253);
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    for label in normal.split('.') {
        assert!((1..=63).contains(&label.len()), "{normal}");
        assert!(label.bytes().all(is_plain), "{normal}");
        assert!(!label.starts_with('-') && !label.ends_with('-'), "{normal}");
    }
    let last = normal.rsplit('.').next();
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    assert!(!last.is_some_and(is_number), "{normal} is an address");
}

/// A sender's domain is a valid one, which an address at it has too. An error does not repeat the text.
pub fn sender(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(domain) = sending_domain(text) {
        assert!(!text.contains(['\r', '\n', '\0']));
        for spelling in [format!("a@{domain}"), format!("\"b, b\" <a@{domain}>")] {
            assert_eq!(sending_domain(&spelling), Ok(domain.clone()));
        }
        for two in [
            "a@a.example, ",
            "\"a@a.example\" ",
            "=?utf-8?q?a=40a.example=2C?= ",
        ] {
            let two = format!("{two}{text}");
            assert!(sending_domain(&two).is_err(), "{two}");
        }
    }
    if let Err(error) = sending_domain(&format!("{text} {CANARY}@")) {
        assert_hides_canary(&error.to_string());
    }
}

/// An account id, a request id, a key id, a key's name and a caller's name have only allowed characters,
/// and no secret.
pub fn names(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(account) = AccountId::parse(text.to_owned()) {
        assert_eq!(account.as_str(), text);
        assert!((1..=128).contains(&text.len()) && text.is_ascii());
        assert_eq!(refuse_secrets(text), Ok(()));
    }
    if let Ok(id) = RequestId::parse(text.to_owned()) {
        assert_eq!(id.as_str(), text);
        assert!(
            (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        );
        assert_eq!(refuse_secrets(text), Ok(()));
    }
    if let Ok(id) = KeyId::parse(text) {
        assert_eq!(id.to_string(), text);
        assert_eq!(KeyId::from_uuid(id.as_uuid()), id);
    }
    if let Ok(name) = KeyName::parse(text) {
        let kept = name.as_str();
        assert_eq!(KeyName::parse(kept), Ok(name.clone()));
        assert_eq!(kept, text.trim());
        assert!((1..=100).contains(&kept.chars().count()));
        assert!(!kept.contains(char::is_control));
        assert_eq!(refuse_secrets(kept), Ok(()));
    }
    if let Ok(name) = CallerName::parse(text) {
        assert_eq!(name.as_str(), text);
        assert!((1..=64).contains(&text.len()) && text.is_ascii());
        assert_eq!(refuse_secrets(text), Ok(()));
    }
    for canary in [CANARY, BEARER_CANARY] {
        let with_secret = format!("{text}{canary}");
        assert_refused(AccountId::parse(with_secret.clone()));
        assert_refused(RequestId::parse(with_secret.clone()));
        assert_refused(KeyId::parse(&with_secret));
        assert_refused(KeyName::parse(&with_secret));
        assert_refused(CallerName::parse(&with_secret));
        let joined = with_secret.replace('_', "\u{200d}_\u{fe0f}");
        assert_refused(KeyName::parse(&joined));
    }
}
