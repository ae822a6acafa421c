//! Counts as people read them.

/// So many of something, whose name in the singular this is.
pub(crate) fn counted(count: impl Into<i128>, of: &str) -> String {
    match count.into() {
        1 => format!("1 {of}"),
        count => format!("{count} {of}s"),
    }
}
