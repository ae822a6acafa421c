//! Labels: names and values by which people organise keys, such as `environment=production`.
//!
//! Promises Kubernetes' rules for their text, and that no label holds a secret. Labels decide nothing: they
//! are in no keyring.

use crate::model::text::{ContainsSecret, refuse_secrets};
use std::collections::BTreeMap;

/// How many labels a key may have.
pub const MAX_LABELS: usize = 16;

/// The most characters of a value, and of a name behind its prefix.
const MAX_LEN: usize = 63;

/// The most characters of a prefix, which is a DNS name.
const MAX_PREFIX_LEN: usize = 253;

/// The labels of a key, or those that keys must have to be selected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<String, String>);

/// The text cannot be labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLabels {
    /// More than anybody needs to organise keys.
    #[error("has more than {MAX_LABELS} labels")]
    TooMany,
    /// The name of a label.
    #[error(
        "has a label whose name is not like `environment` or `example.com/environment`: 1 to 63 letters, \
         digits and `-_.`, with a letter or digit at both ends, and if need be a DNS name in lower case and \
         `/` before them"
    )]
    Name,
    /// The value of a label.
    #[error(
        "has a label whose value is not like `production`: up to 63 letters, digits and `-_.`, with a letter \
         or digit at both ends, or empty"
    )]
    Value,
    /// Somebody put a secret into a label.
    #[error(transparent)]
    Secret(#[from] ContainsSecret),
}

impl Labels {
    /// Parses labels, given as names and values.
    pub fn parse(
        labels: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, InvalidLabels> {
        let mut parsed = BTreeMap::new();
        for (name, value) in labels {
            if !is_name(&name) {
                return Err(refused(&name, InvalidLabels::Name));
            }
            if !is_value(&value) {
                return Err(refused(&value, InvalidLabels::Value));
            }
            refuse_secrets(&pair(&name, &value))?;
            parsed.insert(name, value);
            if parsed.len() > MAX_LABELS {
                return Err(InvalidLabels::TooMany);
            }
        }
        Ok(Self(parsed))
    }

    /// Takes back what [`Self::pairs`] gave to a store.
    pub(crate) fn from_stored(pairs: Vec<String>) -> Self {
        let split = |pair: String| match pair.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (pair, String::new()),
        };
        Self(pairs.into_iter().map(split).collect())
    }

    /// Each label as `NAME=VALUE`, in the order of their names. No character of them needs an escape in JSON.
    #[must_use]
    pub fn pairs(&self) -> Vec<String> {
        self.iter().map(|(name, value)| pair(name, value)).collect()
    }

    /// The names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let labels = self.0.iter();
        labels.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why a text is refused. That it contains a secret is said first. A text that is longer than any name is not
/// searched for secrets.
fn refused(text: &str, rule: InvalidLabels) -> InvalidLabels {
    if text.len() > MAX_PREFIX_LEN + "/".len() + MAX_LEN {
        return rule;
    }
    refuse_secrets(text).map_or_else(InvalidLabels::from, |()| rule)
}

fn pair(name: &str, value: &str) -> String {
    format!("{name}={value}")
}

/// Whether a text is a qualified name of Kubernetes': a name, with a prefix and `/` before it or not.
fn is_name(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_prefix(prefix) && is_value(name) && !name.is_empty(),
        None => is_value(text) && !text.is_empty(),
    }
}

fn is_prefix(text: &str) -> bool {
    let is_part = |part: &str| {
        is_bounded_by_alphanumerics(part)
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    text.len() <= MAX_PREFIX_LEN && text.split('.').all(is_part)
}

fn is_value(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.is_empty()
        || text.len() <= MAX_LEN
            && is_bounded_by_alphanumerics(text)
            && text.bytes().all(is_allowed)
}

fn is_bounded_by_alphanumerics(text: &str) -> bool {
    let is_alphanumeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    is_alphanumeric(bytes.first()) && is_alphanumeric(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(name: &str, value: &str) -> Result<Labels, InvalidLabels> {
        Labels::parse([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn names_and_values_follow_the_rules_of_kubernetes() {
        let (long, too_long) = ("x".repeat(63), "x".repeat(64));
        let domain = format!("{}x", "abc.".repeat(63));
        for name in [
            "a",
            "A",
            "7",
            "environment",
            "a.b_c-d",
            "example.com/team",
            "a-1.b/X",
            &long,
            &format!("{domain}/{long}"),
        ] {
            assert!(parse(name, "").is_ok(), "{name}");
        }
        for name in [
            "",
            "/",
            "/a",
            "a/",
            "a/b/c",
            "-a",
            "a-",
            ".a",
            "a_",
            "a b",
            "a=b",
            "ä",
            "Example.com/a",
            "a_b/c",
            "a..b/c",
            "-a/b",
            &too_long,
            &format!("{domain}x/a"),
        ] {
            assert_eq!(parse(name, ""), Err(InvalidLabels::Name), "{name}");
        }
        for value in ["", "production", "v1.2_3-x", "0", &long] {
            assert!(parse("a", value).is_ok(), "{value}");
        }
        for value in [" ", "-", "-a", "a.", "a/b", "a=b", "ü", "a\n", &too_long] {
            assert_eq!(parse("a", value), Err(InvalidLabels::Value), "{value}");
        }
    }

    #[test]
    fn a_key_has_at_most_sixteen_labels() {
        let labels = |count| (0..count).map(|number| (format!("n{number}"), String::new()));
        assert!(Labels::parse(labels(MAX_LABELS)).is_ok());
        let refused = Labels::parse(labels(MAX_LABELS + 1));
        assert_eq!(refused, Err(InvalidLabels::TooMany));
        // What comes after so many is not looked at.
        assert_eq!(Labels::parse(labels(1_000_000)), refused);
    }

    #[test]
    fn no_label_holds_a_secret_in_its_name_its_value_or_both() {
        let token = "tsend_KeyServiceExampleTokenDoNotUse0123456789abc0gXm9s";
        let bearer = "tsop_KeyServiceExampleSecretDoNotUse0123456789ab";
        let both = ("tsend", "KeyServiceExampleTokenDoNotUse0123456789abc0gXm9s");
        for secret in [token, bearer] {
            assert!(matches!(parse(secret, ""), Err(InvalidLabels::Secret(_))));
            assert!(matches!(parse("a", secret), Err(InvalidLabels::Secret(_))));
            let spoiled = format!("{secret} ");
            assert!(matches!(
                parse("a", &spoiled),
                Err(InvalidLabels::Secret(_))
            ));
        }
        assert!(matches!(
            parse(both.0, both.1),
            Err(InvalidLabels::Secret(_))
        ));
    }

    proptest! {
        #[test]
        fn labels_read_back_from_a_store(
            labels in prop::collection::btree_map("[a-z]{1,5}(/[A-Z]{1,5})?", "([a-z0-9]{1,5})?", 0..16)
        ) {
            let labels = Labels::parse(labels).expect("valid");
            prop_assert_eq!(&Labels::from_stored(labels.pairs()), &labels);
        }
    }
}
