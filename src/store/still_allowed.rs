//! Whether a caller may still make a write that has waited for others.

use std::{fmt, sync::Arc};

/// Asked when a write's turn has come: its caller may have lost its rights since it was asked for.
#[derive(Clone)]
pub struct StillAllowed(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl StillAllowed {
    /// As long as this says so.
    #[must_use]
    pub fn so_long_as(is_allowed: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(is_allowed)))
    }

    /// Whoever asks has no caller, or one that cannot lose its rights.
    #[must_use]
    pub fn always() -> Self {
        Self(None)
    }

    /// Whether it is.
    #[must_use]
    pub fn now(&self) -> bool {
        self.0.as_ref().is_none_or(|is_allowed| is_allowed())
    }
}

impl fmt::Debug for StillAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StillAllowed")
    }
}
