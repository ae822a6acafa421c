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
    let document = std::str::from_utf8(document).map_err(|_| NoText::NoJson)?;
    if has_lone_surrogate(document) {
        return Err(NoText::NoJson);
    }
    let mut reader = serde_json::Deserializer::from_str(document);
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

/// Whether an escape of a document stands for half a character, which readers replace, keep or leave out. The
/// parser overlooks that in what it skips. JSON has backslashes in texts only.
fn has_lone_surrogate(document: &str) -> bool {
    let mut rest = document;
    while let Some((_, escape)) = rest.split_once('\\') {
        rest = match code_unit(escape) {
            Some((0xd800..=0xdbff, behind)) => {
                let low = behind.strip_prefix('\\').and_then(code_unit);
                let Some((0xdc00..=0xdfff, behind)) = low else {
                    return true;
                };
                behind
            }
            Some((0xdc00..=0xdfff, _)) => return true,
            Some((_, behind)) => behind,
            // The escaped character may be a backslash.
            None => escape.strip_prefix('\\').unwrap_or(escape),
        };
    }
    false
}

/// The number in `uXXXX`, and what stands behind it.
fn code_unit(escape: &str) -> Option<(u16, &str)> {
    let (digits, behind) = escape.strip_prefix('u')?.split_at_checked(4)?;
    Some((u16::from_str_radix(digits, 16).ok()?, behind))
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
                Likeness::Same | Likeness::Alike => {
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
    /// Some readers take it for the same.
    Alike,
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
        // In some readers a name ends at a zero.
        let until_zero = key.split('\0').next().unwrap_or_default();
        Ok(if key == self.0 {
            Likeness::Same
        } else if folded(until_zero).eq(folded(self.0)) {
            Likeness::Alike
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
    fn a_name_that_comes_twice_on_the_way_is_refused_also_if_only_some_readers_take_it_for_the_same()
     {
        for document in [
            r#"{"from": {"email": "a"}, "from": {"email": "b"}}"#,
            r#"{"from": {"email": "a"}, "from": 1}"#,
            r#"{"from": {"email": "a"}, "\u0066rom": {}}"#,
            r#"{"from": {"email": "a", "email": "a"}}"#,
            r#"{"From": 1, "from": {"email": "a"}}"#,
            r#"{"from": {"email": "a"}, "FROM": 1}"#,
            r#"{"From": {"email": "a"}}"#,
            r#"{"from": {"email": "a", "eMail": "b"}}"#,
            r#"{"from\u0000x": {"email": "b"}, "from": {"email": "a"}}"#,
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
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_wherever_they_stand() {
        let pointer = Pointer::parse("/from").expect("a pointer");
        for document in [
            &b"{\"from\": \"\xff\"}"[..],
            b"{\"from\": \"a\", \"x\": \"\xff\"}",
            b"{\"from\": \"a\", \"\xc0\xa2\": 1}",
            b"{\"from\": \"a\", \"x\": [{\"y\": \"\xed\xa0\x80\"}]}",
        ] {
            assert_eq!(find(document, pointer), Err(NoText::NoJson));
        }
    }

    #[test]
    fn half_a_character_is_refused_wherever_it_stands_and_a_whole_one_is_not() {
        for text in [
            r"\ud800",
            r"\uDFFF",
            r"\udc00\ud800",
            r"\ud800\u0061",
            r"\ud800x",
            r"\\\ud800",
        ] {
            for document in [
                format!(r#"{{"x": "{text}", "from": "it"}}"#),
                format!(r#"{{"from": "it", "x": [{{"{text}": 1}}]}}"#),
                format!(r#"{{"from{text}": 1, "from": "it"}}"#),
            ] {
                assert_eq!(found(&document, "/from"), Err(NoText::NoJson), "{document}");
            }
        }
        for text in [
            r"\ud83d\ude00",
            r#"\u00fc\n\"\/"#,
            r"\\ud800",
            r"\\\\udfff",
            "ü😀",
        ] {
            let document = format!(r#"{{"x": "{text}", "from": "it"}}"#);
            assert_eq!(found(&document, "/from").as_deref(), Ok("it"), "{document}");
        }
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
