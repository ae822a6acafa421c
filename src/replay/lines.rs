//! The lines of a log, without what a collector has wrapped around them.
//!
//! Takes lines as they are, those of Kubernetes' container runtimes (`TIME STREAM F TEXT`), and those of Docker
//! (`{"log":"TEXT\n",…}`). Both cut long lines into parts, which are joined here.
//! Must never hold more of one line than [`MAX_LINE`].

use serde_json::Value;
use std::{
    collections::HashMap,
    io::{self, BufRead, Read},
};

/// The longest line of the service has some ten texts of 4 KiB.
const MAX_LINE: usize = 1 << 20;

/// What is wrong with a line.
pub(super) const TOO_LONG: &str = "is longer than any line of the service";
const CUT_OFF: &str = "is the beginning of a line whose end is missing";

/// Some editors and shells put it before the first line.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// How files begin that have lines in another form, and what to do with them.
const OTHER_FORMS: [(&[u8], &str); 7] = [
    (b"\x1f\x8b", "it is compressed: unpack it with gunzip first"),
    (
        b"\x28\xb5\x2f\xfd",
        "it is compressed: unpack it with unzstd first",
    ),
    (b"\xfd7zXZ\0", "it is compressed: unpack it with unxz first"),
    (b"BZh", "it is compressed: unpack it with bunzip2 first"),
    (
        b"PK\x03\x04",
        "it is compressed: unpack it with unzip first",
    ),
    (
        b"LPKSHHRH",
        "it is a journal: give what `journalctl --file FILE --output cat` prints",
    ),
    (b"\xff\xfe", "it is UTF-16 text: convert it to UTF-8 first"),
];

fn refuse_other_forms(begin: &[u8]) -> io::Result<()> {
    let form = OTHER_FORMS
        .iter()
        .find(|(magic, _)| begin.starts_with(magic));
    form.map_or(Ok(()), |(_, advice)| {
        Err(io::Error::new(io::ErrorKind::InvalidData, *advice))
    })
}

/// Hands each line to `apply`, with its number, or what is wrong with it.
pub(super) fn read(
    mut input: impl BufRead,
    mut apply: impl FnMut(u64, Result<&str, &'static str>) -> io::Result<()>,
) -> io::Result<()> {
    refuse_other_forms(input.fill_buf()?)?;
    let (mut number, mut parts) = (0, Parts::default());
    loop {
        let mut line = Vec::new();
        let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
        if input.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        number += 1;
        if line.len() == MAX_LINE && line.last() != Some(&b'\n') {
            input.skip_until(b'\n')?;
            apply(number, Err(TOO_LONG))?;
            continue;
        }
        let Ok(line) = std::str::from_utf8(&line) else {
            apply(number, Err("is no UTF-8 text"))?;
            continue;
        };
        let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        match parts.add(number, line.trim_end_matches(['\n', '\r'])) {
            Some(Ok(whole)) => apply(number, Ok(&whole))?,
            Some(Err(why)) => apply(number, Err(why))?,
            None => {}
        }
    }
    let mut rest: Vec<_> = parts.begun.into_values().collect();
    rest.sort_unstable();
    for (number, _) in rest {
        apply(number, Err(CUT_OFF))?;
    }
    Ok(())
}

/// The lines of which only the beginning was read, by the stream that they come from.
#[derive(Default)]
struct Parts {
    begun: HashMap<String, (u64, String)>,
}

impl Parts {
    fn add(&mut self, number: u64, line: &str) -> Option<Result<String, &'static str>> {
        let (stream, is_end, text) = if let Some(wrapped) = of_container_runtime(line) {
            wrapped
        } else if let Some(wrapped) = of_docker(line) {
            wrapped
        } else {
            return Some(Ok(line.to_owned()));
        };
        let (_, begun) = self
            .begun
            .entry(stream.clone())
            .or_insert_with(|| (number, String::new()));
        begun.push_str(&text);
        let is_too_long = begun.len() > MAX_LINE;
        if !is_end && !is_too_long {
            return None;
        }
        let (_, whole) = self.begun.remove(&stream)?;
        Some(if is_too_long {
            Err(TOO_LONG)
        } else {
            Ok(whole)
        })
    }
}

/// The stream, whether the line ends here, and the text.
type Wrapped = (String, bool, String);

fn of_container_runtime(line: &str) -> Option<Wrapped> {
    let mut words = line.splitn(4, ' ');
    let (time, stream, tags, text) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let is_time = time.len() >= 20 && time.as_bytes()[..4].iter().all(u8::is_ascii_digit);
    if !is_time || !["stdout", "stderr"].contains(&stream) {
        return None;
    }
    let is_end = match tags.split(':').next()? {
        "F" => true,
        "P" => false,
        _ => return None,
    };
    Some((stream.to_owned(), is_end, text.to_owned()))
}

fn of_docker(line: &str) -> Option<Wrapped> {
    if !line.starts_with('{') || !line.contains("\"log\"") {
        return None;
    }
    let fields: Value = serde_json::from_str(line).ok()?;
    let (text, stream) = (
        fields.get("log")?.as_str()?,
        fields.get("stream")?.as_str()?,
    );
    if !["stdout", "stderr"].contains(&stream) {
        return None;
    }
    let is_end = text.ends_with('\n');
    Some((
        stream.to_owned(),
        is_end,
        text.trim_end_matches(['\n', '\r']).to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(input: &str) -> Vec<(u64, Result<String, &'static str>)> {
        let mut lines = Vec::new();
        read(input.as_bytes(), |number, line| {
            lines.push((number, line.map(str::to_owned)));
            Ok(())
        })
        .expect("a slice");
        lines
    }

    #[test]
    fn a_line_is_unwrapped_and_its_parts_are_joined() {
        let lines = of("{\"a\":1}\n\
             2030-01-31T15:00:00.000000001Z stderr P {\"b\"\n\
             2030-01-31T15:00:00.000000001Z stdout F other\n\
             2030-01-31T15:00:00.000000002Z stderr F :2}\n\
             {\"log\":\"{\\\"c\\\"\",\"stream\":\"stderr\",\"time\":\"2030-01-31T15:00:00Z\"}\n\
             {\"log\":\":3}\\n\",\"stream\":\"stderr\",\"time\":\"2030-01-31T15:00:00Z\"}\n");
        let whole = |number, line: &str| (number, Ok(line.to_owned()));
        assert_eq!(
            lines,
            [
                whole(1, "{\"a\":1}"),
                whole(3, "other"),
                whole(4, "{\"b\":2}"),
                whole(6, "{\"c\":3}"),
            ]
        );
    }

    #[test]
    fn a_line_without_an_end_is_told_and_hides_no_other() {
        let long = "x".repeat(MAX_LINE + 10);
        let lines = of(&format!(
            "2030-01-31T15:00:00.000000001Z stderr P {{\"a\"\n{long}\n{{}}"
        ));
        assert_eq!(
            lines,
            [
                (2, Err(TOO_LONG)),
                (3, Ok("{}".to_owned())),
                (1, Err(CUT_OFF))
            ]
        );
    }
}
