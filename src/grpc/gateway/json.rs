//! The text that a JSON pointer finds in a document.
//!
//! Promises that no other reader of the document finds another text there: a name that comes twice on the
//! pointer's way is refused, also if only its case differs, because some readers take the last of such names.
//! Must never keep the document, nor look into an array: whoever wants one element of it may overlook another.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use std::{borrow::Cow, fmt};

/// A JSON pointer (RFC 6901) with one name at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pointer<'a>(&'a str);

/// The text is no such pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InvalidPointer;

/// How many names a pointer may have. This bounds the depth of the search.
const MAX_NAMES: usize = 16;

impl<'a> Pointer<'a> {
    /// Parses `/name/name`, where `~1` stands for a slash and `~0` for a tilde.
    pub(super) fn parse(text: &'a str) -> Result<Self, InvalidPointer> {
        let escapes = text.split('~').skip(1);
        let are_escapes_valid = escapes.into_iter().all(|rest| rest.starts_with(['0', '1']));
        let names = text.matches('/').count();
        if text.starts_with('/') && names <= MAX_NAMES && are_escapes_valid {
            Ok(Self(text))
        } else {
            Err(InvalidPointer)
        }
    }

    /// The first name, and the pointer behind it.
    fn split_first(self) -> (Cow<'a, str>, Option<Self>) {
        let names = &self.0[1..];
        let end = names.find('/').unwrap_or(names.len());
        let (name, rest) = names.split_at(end);
        let name = if name.contains('~') {
            Cow::Owned(name.replace("~1", "/").replace("~0", "~"))
        } else {
            Cow::Borrowed(name)
        };
        (name, (!rest.is_empty()).then_some(Self(rest)))
    }
}

/// Why a document has no text at a pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoText {
    /// It is no JSON.
    NoJson,
    /// Nothing is there.
    Missing,
    /// A name on the way comes twice.
    Duplicate,
    /// Something else than a text is there, or something else than an object is on the way.
    OtherType,
}

/// Finds the text at a pointer of a document.
pub(super) fn find<'d>(document: &'d [u8], pointer: Pointer<'_>) -> Result<Cow<'d, str>, NoText> {
    let mut reader = serde_json::Deserializer::from_slice(document);
    let mut why = NoText::NoJson;
    let seed = Seek {
        pointer: Some(pointer),
        why: &mut why,
    };
    let found = seed.deserialize(&mut reader);
    match found.and_then(|text| reader.end().map(|()| text)) {
        Ok(text) => text.ok_or(NoText::Missing),
        Err(_) => Err(why),
    }
}

/// Reads a value, and gives the text in it to which the pointer leads. Without a pointer it is the text itself.
struct Seek<'p, 'w> {
    pointer: Option<Pointer<'p>>,
    why: &'w mut NoText,
}

impl Seek<'_, '_> {
    fn fail<E: Error>(self, why: NoText) -> E {
        *self.why = why;
        E::custom("there is no such text")
    }

    fn text<E: Error>(self, text: Cow<'_, str>) -> Result<Option<Cow<'_, str>>, E> {
        match self.pointer {
            None => Ok(Some(text)),
            Some(_) => Err(self.fail(NoText::OtherType)),
        }
    }
}

impl<'d> DeserializeSeed<'d> for Seek<'_, '_> {
    type Value = Option<Cow<'d, str>>;

    fn deserialize<D: Deserializer<'d>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'d> Visitor<'d> for Seek<'_, '_> {
    type Value = Option<Cow<'d, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_map<A: MapAccess<'d>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Some(pointer) = self.pointer else {
            return Err(self.fail(NoText::OtherType));
        };
        let (name, rest) = pointer.split_first();
        let (mut is_there, mut found) = (false, None);
        while let Some(key) = map.next_key_seed(KeyLike(&name))? {
            match key {
                Likeness::None => _ = map.next_value::<IgnoredAny>()?,
                Likeness::Same if !is_there => {
                    is_there = true;
                    found = map.next_value_seed(Seek {
                        pointer: rest,
                        why: &mut *self.why,
                    })?;
                }
                Likeness::Same | Likeness::ButForCase => {
                    return Err(self.fail(NoText::Duplicate));
                }
            }
        }
        Ok(found)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'d str) -> Result<Self::Value, E> {
        self.text(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        self.text(Cow::Owned(text.to_owned()))
    }

    fn visit_seq<A>(self, _: A) -> Result<Self::Value, A::Error>
    where
        A: serde::de::SeqAccess<'d>,
    {
        Err(self.fail(NoText::OtherType))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Err(self.fail(NoText::OtherType))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Err(self.fail(NoText::OtherType))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Err(self.fail(NoText::OtherType))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Err(self.fail(NoText::OtherType))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Err(self.fail(NoText::OtherType))
    }
}

/// Reads a key, and says how like it is to this name.
struct KeyLike<'n>(&'n str);

enum Likeness {
    Same,
    ButForCase,
    None,
}

impl<'d> DeserializeSeed<'d> for KeyLike<'_> {
    type Value = Likeness;

    fn deserialize<D: Deserializer<'d>>(self, reader: D) -> Result<Likeness, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyLike<'_> {
    type Value = Likeness;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Likeness, E> {
        Ok(if key == self.0 {
            Likeness::Same
        } else if folded(key).eq(folded(self.0)) {
            Likeness::ButForCase
        } else {
            Likeness::None
        })
    }
}

/// The characters without their case. To upper case first, because that is where `ſ` becomes an `S`.
fn folded(text: &str) -> impl Iterator<Item = char> {
    let upper = text.chars().flat_map(char::to_uppercase);
    upper.flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(document: &str, pointer: &str) -> Result<String, NoText> {
        let pointer = Pointer::parse(pointer).expect("a pointer");
        find(document.as_bytes(), pointer).map(Cow::into_owned)
    }

    #[test]
    fn a_text_is_found_by_the_names_on_its_way() {
        for (document, pointer) in [
            (r#"{"from": "it"}"#, "/from"),
            (
                r#" {"to": [1, {"from": 2}], "from": {"name": "", "email": "it"}} "#,
                "/from/email",
            ),
            (r#"{"from": "\u0069t"}"#, "/from"),
            (r#"{"\u0066rom": "it"}"#, "/from"),
            (r#"{"a/b": {"~": {"": "it"}}}"#, "/a~1b/~0/"),
            (r#"{"~1": "it"}"#, "/~01"),
            (r#"{"0": "it"}"#, "/0"),
            (r#"{"x": {"From": 1}, "from": "it"}"#, "/from"),
        ] {
            assert_eq!(found(document, pointer).as_deref(), Ok("it"), "{document}");
        }
    }

    #[test]
    fn a_name_that_comes_twice_on_the_way_is_refused_in_whatever_case() {
        for document in [
            r#"{"from": {"email": "a"}, "from": {"email": "b"}}"#,
            r#"{"from": {"email": "a"}, "from": 1}"#,
            r#"{"from": {"email": "a"}, "\u0066rom": {}}"#,
            r#"{"from": {"email": "a", "email": "a"}}"#,
            r#"{"From": 1, "from": {"email": "a"}}"#,
            r#"{"from": {"email": "a"}, "FROM": 1}"#,
            r#"{"From": {"email": "a"}}"#,
            r#"{"from": {"email": "a", "eMail": "b"}}"#,
        ] {
            assert_eq!(
                found(document, "/from/email"),
                Err(NoText::Duplicate),
                "{document}"
            );
        }
        let long_s = r#"{"sender": "a", "ſender": "b"}"#;
        assert_eq!(found(long_s, "/sender"), Err(NoText::Duplicate));
    }

    #[test]
    fn what_is_no_text_or_no_json_is_refused() {
        use NoText::{Missing, NoJson, OtherType};
        for (document, why) in [
            ("{}", Missing),
            (r#"{"from": {}}"#, Missing),
            (r#"{"to": {"email": "a"}}"#, Missing),
            (r#"{"from": "a"}"#, OtherType),
            (r#"{"from": {"email": ["a"]}}"#, OtherType),
            (r#"{"from": {"email": {"a": "b"}}}"#, OtherType),
            (r#"{"from": {"email": null}}"#, OtherType),
            (r#"{"from": {"email": 1}}"#, OtherType),
            (r#"{"from": {"email": -1}}"#, OtherType),
            (r#"{"from": {"email": 1.5}}"#, OtherType),
            (r#"{"from": {"email": true}}"#, OtherType),
            (r#"{"from": [{"email": "a"}]}"#, OtherType),
            (r#"[{"from": {"email": "a"}}]"#, OtherType),
            ("", NoJson),
            ("from=a", NoJson),
            (r#"{"from": {"email": "a"}"#, NoJson),
            (r#"{"from": {"email": "a"}} {}"#, NoJson),
            (r#"{"from": {"email": "a"}, }"#, NoJson),
            (r#"{"from": {"email": "a"}, "x": 01}"#, NoJson),
            (r#"{"from": {"email": "\ud800"}}"#, NoJson),
            (r#"{"from": {"email": 'a'}}"#, NoJson),
            ("\u{feff}{\"from\": {\"email\": \"a\"}}", NoJson),
        ] {
            assert_eq!(found(document, "/from/email"), Err(why), "{document}");
        }
        let no_text = b"{\"from\": \"\xff\"}";
        let pointer = Pointer::parse("/from").expect("a pointer");
        assert_eq!(find(no_text, pointer), Err(NoJson));
    }

    #[test]
    fn a_deep_document_is_read_within_its_bounds() {
        let deep = format!(
            "{{\"x\": {}{}, \"from\": \"it\"}}",
            "[".repeat(50_000),
            "]".repeat(50_000)
        );
        let _ = found(&deep, "/from");
        let pointer = "/a".repeat(MAX_NAMES);
        let document = format!(
            "{}\"it\"{}",
            "{\"a\":".repeat(MAX_NAMES),
            "}".repeat(MAX_NAMES)
        );
        assert_eq!(found(&document, &pointer).as_deref(), Ok("it"));
    }

    #[test]
    fn a_pointer_leads_somewhere() {
        for text in ["", "from", "#/from", "/a~", "/a~2", &"/a".repeat(17)] {
            assert_eq!(Pointer::parse(text), Err(InvalidPointer), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_text_is_found_where_serde_json_finds_it(
            document in r#"\{"(a|b)": (\{"(a|b)": "[a-z]{0,3}"(, "c": \[1, \{\}\])?\}|"x"|1)(, "d": null)?\}"#,
        ) {
            let value: serde_json::Value = serde_json::from_str(&document).expect("JSON");
            for pointer in ["/a", "/a/a", "/b/a"] {
                let expected = value.pointer(pointer).and_then(serde_json::Value::as_str);
                let found = found(&document, pointer).ok();
                prop_assert_eq!(found.as_deref(), expected);
            }
        }
    }
}
