//! What the system offers, and no library that this program uses has a safe way to.
//!
//! Owns the only unsafe code of this program.

use std::{io, mem::MaybeUninit, ptr};

/// Gives the system the free memory that the allocator holds. The GNU C library keeps for ever what lies
/// between pieces that are in use: more than a keyring takes, once it was copied. Takes 15 ms for 120 MB.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "there is no safe way")]
pub(crate) fn give_back_free_memory() {
    // SAFETY: any thread may call this at any time. It touches no memory that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators give free memory back themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_back_free_memory() {}

/// Whether the calling thread, and each that it starts later, is to take these signals.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Signals {
    /// It takes them.
    Taken,
    /// It does not.
    Blocked,
}

impl Signals {
    /// Sets this for the signals with these numbers.
    #[expect(unsafe_code, reason = "there is no safe way")]
    pub(crate) fn set(self, numbers: &[i32]) -> io::Result<()> {
        let how = match self {
            Self::Taken => libc::SIG_UNBLOCK,
            Self::Blocked => libc::SIG_BLOCK,
        };
        let mut signals = MaybeUninit::uninit();
        // SAFETY: the first call makes the set, the next ones change it, and the last one only reads it. Each is
        // given a pointer to it that is valid.
        let error = unsafe {
            libc::sigemptyset(signals.as_mut_ptr());
            for number in numbers {
                libc::sigaddset(signals.as_mut_ptr(), *number);
            }
            libc::pthread_sigmask(how, signals.as_ptr(), ptr::null_mut())
        };
        match error {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }
}
