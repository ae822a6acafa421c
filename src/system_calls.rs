//! What the system offers, and no library that this program uses has a safe way to.
//!
//! Owns the only unsafe code of this program.

use std::{
    io,
    mem::MaybeUninit,
    ptr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

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

static STDOUT_WAS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Whether the process was started with standard output closed. Before `main`, Rust's runtime puts `/dev/null` in its
/// place, where what is written is lost without an error.
pub(crate) fn stdout_was_closed() -> bool {
    STDOUT_WAS_CLOSED.load(Relaxed)
}

extern "C" fn look_at_stdout() {
    let is_closed = rustix::io::fcntl_getfd(rustix::stdio::stdout()).is_err();
    STDOUT_WAS_CLOSED.store(is_closed, Relaxed);
}

/// The system calls what stands in this section before Rust's runtime begins.
///
/// The function needs nothing of that runtime: it makes one system call, and stores what came of it.
#[expect(unsafe_code, reason = "there is no safe way to be called so early")]
#[cfg_attr(
    target_vendor = "apple",
    unsafe(link_section = "__DATA,__mod_init_func")
)]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
#[used]
static BEFORE_MAIN: extern "C" fn() = look_at_stdout;
