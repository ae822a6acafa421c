//! The pages of a list, which a false service might give without end.

use super::failure::Failure;

/// How many pages in a row may be empty. One that has found nothing stands for thousands of keys that were searched.
const MOST_EMPTY: u32 = 100_000;

/// Follows the pages of one list. Fails if they come again in any circle, or are empty for ever.
#[derive(Default)]
pub(super) struct Pages {
    empty: u32,
    /// One token of an earlier page. It is replaced after 2, 4, 8 and so on pages, so that it is in every circle once
    /// (Brent's algorithm), and no other token needs to be kept.
    kept: String,
    kept_for: u32,
    /// How many more pages until `kept` is replaced.
    left: u32,
}

impl Pages {
    /// The token of the next page, by that in a page with so many entries. None after the last page.
    pub(super) fn next(
        &mut self,
        token: String,
        entries: usize,
    ) -> Result<Option<String>, Failure> {
        if token.is_empty() {
            return Ok(None);
        }
        self.empty = if entries == 0 { self.empty + 1 } else { 0 };
        if token == self.kept || self.empty > MOST_EMPTY {
            return Err(Failure::Refused(
                "the service gives page after page of this list without end: find out who answers at this address"
                    .to_owned(),
            ));
        }
        if self.left == 0 {
            self.kept.clone_from(&token);
            self.kept_for = self.kept_for.saturating_mul(2).max(1);
            self.left = self.kept_for;
        }
        self.left -= 1;
        Ok(Some(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many pages are followed whose tokens are numbered so.
    fn followed(number: impl Fn(u32) -> u32, entries: usize) -> Option<u32> {
        let mut pages = Pages::default();
        (0..200_000).find(|page| pages.next(number(*page).to_string(), entries).is_err())
    }

    #[test]
    fn pages_end_if_they_come_again_or_are_empty_for_ever() {
        for circle in [1, 2, 3, 100] {
            let begins_late = |page: u32| page.min(50) + page.saturating_sub(50) % circle;
            assert!(followed(begins_late, 1).is_some_and(|pages| pages < 1000));
        }
        assert_eq!(followed(|page| page, 1), None);
        assert_eq!(followed(|page| page, 0), Some(MOST_EMPTY));
        let last = Pages::default().next(String::new(), 0);
        assert_eq!(last.expect("the last page"), None);
    }
}
