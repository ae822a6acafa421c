//! PostgreSQL's binary form of COPY, as far as a load needs it. A load reads millions of rows, so each is
//! read where it was received, column by column.
//!
//! Promises an error, not a panic, for bytes of any other form.

use super::rows::unreadable_row;
use crate::{
    model::{time::Timestamp, token::TokenDigest},
    store::StoreError,
};
use uuid::Uuid;

/// What the first message begins with. Behind it are 32 flags, and the length of an extension.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// The flags that nobody may ignore who does not know them.
const CRITICAL_FLAGS: u32 = 0xffff_0000;

/// What stands in the place of a row's number of columns when there are no more rows.
const END: i16 = -1;

/// What stands in the place of a value's length if there is none.
const NULL: i32 = -1;

/// PostgreSQL counts microseconds from the beginning of 2000.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Reads the messages of one COPY. PostgreSQL puts each row into a message of its own.
pub(super) struct CopyReader {
    columns: i16,
    has_begun: bool,
    has_ended: bool,
}

impl CopyReader {
    pub(super) fn new(columns: i16) -> Self {
        Self {
            columns,
            has_begun: false,
            has_ended: false,
        }
    }

    /// Reads the next message. It has no row if there are no more.
    pub(super) fn row<'a>(
        &mut self,
        message: &'a [u8],
    ) -> Result<Option<CopiedRow<'a>>, StoreError> {
        let mut row = CopiedRow(message);
        if !self.has_begun {
            row.skip_header()?;
            self.has_begun = true;
        }
        match i16::from_be_bytes(row.take()?) {
            _ if self.has_ended => Err(unreadable_row("it comes after the last one")),
            END => {
                self.has_ended = true;
                row.end()?;
                Ok(None)
            }
            columns if columns == self.columns => Ok(Some(row)),
            _ => Err(unreadable_row("it has another number of columns")),
        }
    }

    /// Whether the last row has come.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }
}

/// The columns of a row that were not read yet.
pub(super) struct CopiedRow<'a>(&'a [u8]);

impl<'a> CopiedRow<'a> {
    fn skip_header(&mut self) -> Result<(), StoreError> {
        let rest = self.0.strip_prefix(SIGNATURE);
        self.0 = rest.ok_or_else(|| unreadable_row("it is not in the binary form of COPY"))?;
        if u32::from_be_bytes(self.take()?) & CRITICAL_FLAGS != 0 {
            return Err(unreadable_row("it is in an unknown form of COPY"));
        }
        let extension = u32::from_be_bytes(self.take()?);
        self.split_off(extension).map(drop)
    }

    fn take<const LEN: usize>(&mut self) -> Result<[u8; LEN], StoreError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(cut_short)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn split_off(&mut self, len: u32) -> Result<&'a [u8], StoreError> {
        let len = usize::try_from(len).map_err(|_| cut_short())?;
        let (taken, rest) = self.0.split_at_checked(len).ok_or_else(cut_short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn value(&mut self) -> Result<Option<&'a [u8]>, StoreError> {
        match i32::from_be_bytes(self.take()?) {
            NULL => Ok(None),
            len => {
                let len = u32::try_from(len).map_err(|_| cut_short())?;
                self.split_off(len).map(Some)
            }
        }
    }

    fn sized<const LEN: usize>(&mut self) -> Result<Option<[u8; LEN]>, StoreError> {
        let value = self.value()?;
        let value = value.map(|value| value.try_into().map_err(|_| of_another_length()));
        value.transpose()
    }

    pub(super) fn uuid(&mut self) -> Result<Uuid, StoreError> {
        let bytes = self.sized()?.ok_or_else(missing)?;
        Ok(Uuid::from_bytes(bytes))
    }

    pub(super) fn digest(&mut self) -> Result<TokenDigest, StoreError> {
        let bytes = self.sized()?.ok_or_else(missing)?;
        Ok(TokenDigest::from_bytes(bytes))
    }

    pub(super) fn text(&mut self) -> Result<&'a str, StoreError> {
        self.optional_text()?.ok_or_else(missing)
    }

    pub(super) fn optional_text(&mut self) -> Result<Option<&'a str>, StoreError> {
        let text = self.value()?.map(str::from_utf8).transpose();
        text.map_err(|_| unreadable_row("a text is not UTF-8"))
    }

    pub(super) fn time(&mut self) -> Result<Timestamp, StoreError> {
        self.optional_time()?.ok_or_else(missing)
    }

    /// A time outside the years that this service knows becomes the nearest one inside.
    pub(super) fn optional_time(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let time = self.sized()?.map(|bytes| {
            let micros = i64::from_be_bytes(bytes).saturating_add(EPOCH_MICROS);
            Timestamp::nearest_to_micros(micros)
        });
        Ok(time)
    }

    pub(super) fn is_true(&mut self) -> Result<bool, StoreError> {
        self.optional_is_true()?.ok_or_else(missing)
    }

    /// Whether it is true, and not null. A column that is rarely true costs PostgreSQL less if it is null
    /// where it is not.
    pub(super) fn is_true_and_not_null(&mut self) -> Result<bool, StoreError> {
        Ok(self.optional_is_true()?.unwrap_or(false))
    }

    fn optional_is_true(&mut self) -> Result<Option<bool>, StoreError> {
        Ok(self.sized()?.map(|[byte]| byte != 0))
    }

    /// Every column must have been read.
    pub(super) fn end(self) -> Result<(), StoreError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(unreadable_row("it goes on after its last column"))
        }
    }
}

fn cut_short() -> StoreError {
    unreadable_row("it ends early")
}

fn missing() -> StoreError {
    unreadable_row("a value is missing")
}

fn of_another_length() -> StoreError {
    unreadable_row("a value has another length")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A message of a COPY, with the header before its row.
    fn message(columns: i16, values: &[Option<&[u8]>]) -> Vec<u8> {
        let mut message = [SIGNATURE, &[0; 8]].concat();
        message.extend(columns.to_be_bytes());
        for value in values {
            let len = value.map_or(NULL, |value| i32::try_from(value.len()).expect("short"));
            message.extend(len.to_be_bytes());
            message.extend(value.unwrap_or_default());
        }
        message
    }

    fn everything_of(message: &[u8]) -> Result<(), StoreError> {
        let mut reader = CopyReader::new(6);
        let Some(mut row) = reader.row(message)? else {
            return Ok(());
        };
        row.uuid()?;
        row.digest()?;
        row.text()?;
        row.optional_time()?;
        row.is_true()?;
        row.is_true_and_not_null()?;
        row.end()
    }

    const GOOD: [Option<&[u8]>; 6] = [
        Some(&[1; 16]),
        Some(&[2; 32]),
        Some("ü".as_bytes()),
        None,
        Some(&[1]),
        None,
    ];

    #[test]
    fn a_row_reads_as_it_was_written() {
        let message = message(6, &GOOD);
        let mut row = CopyReader::new(6).row(&message).expect("a row");
        let row = row.as_mut().expect("a row");
        assert_eq!(row.uuid().expect("a value"), Uuid::from_bytes([1; 16]));
        assert_eq!(row.digest().expect("a value").as_bytes(), &[2; 32]);
        assert_eq!(row.text().expect("a value"), "ü");
        assert_eq!(row.optional_time().expect("a value"), None);
        assert!(row.is_true().expect("a value"));
        assert!(!row.is_true_and_not_null().expect("a value"));
        assert!(everything_of(&message).is_ok());
    }

    #[test]
    fn a_time_that_is_out_of_range_becomes_the_nearest_one() {
        for (micros, expected) in [
            (0, EPOCH_MICROS),
            (i64::MIN, 0),
            (i64::MAX, Timestamp::MAX.as_micros()),
        ] {
            let message = message(1, &[Some(&micros.to_be_bytes())]);
            let row = CopyReader::new(1).row(&message).expect("a row");
            let time = row.expect("a row").time().expect("a time");
            assert_eq!(time.as_micros(), expected);
        }
    }

    #[test]
    fn a_row_of_another_form_is_an_error() {
        let with = |at: usize, value: Option<&'static [u8]>| {
            let mut values = GOOD;
            values[at] = value;
            message(6, &values)
        };
        let good = message(6, &GOOD);
        let longer = [&good[..], &[0]].concat();
        let mut critical = good.clone();
        critical[SIGNATURE.len() + 1] = 1;
        let mut too_long = good.clone();
        too_long[SIGNATURE.len() + 10..][..4].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff]);
        for bad in [
            with(0, None),
            with(0, Some(&[0; 15])),
            with(1, Some(&[0; 33])),
            with(2, Some(&[0xff])),
            with(3, Some(&[0; 4])),
            with(4, None),
            with(4, Some(&[])),
            message(5, &GOOD[..5]),
            message(-2, &[]),
            longer,
            critical,
            too_long,
        ] {
            let read = everything_of(&bad).map_err(|error| error.to_string());
            let error = read.expect_err("refused");
            assert!(error.contains("a stored row is unreadable"), "{error}");
        }
        for len in 0..good.len() {
            assert!(everything_of(&good[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn no_row_comes_after_the_end() {
        let mut reader = CopyReader::new(1);
        let end = message(END, &[]);
        assert!(reader.row(&end).expect("an end").is_none() && reader.has_ended());
        assert!(reader.row(&END.to_be_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_row_or_an_error(bytes: Vec<u8>, columns in 5..7_i16) {
            _ = everything_of(&bytes);
            let mut with_header = message(columns, &[]);
            with_header.extend(bytes);
            _ = everything_of(&with_header);
        }
    }
}
