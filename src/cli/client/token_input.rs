//! Reads tokens from a file or from standard input, never from an argument: every user of the machine sees
//! those. A terminal does not show those that are typed.

use super::{failure::Failure, mistaken_secret::refuse_bearer_secret};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr},
};
use signal_hook::{
    consts::{SIGINT, SIGQUIT, SIGTERM, SIGTSTP},
    flag,
    low_level::{emulate_default_handler, pipe},
};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, ErrorKind, IsTerminal, Read, Stdin, Write},
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

/// A token has 55 characters. What is longer is none, and is sent so that the service says so.
const LONGEST: usize = 1000;

/// No line of a terminal is longer, and the buffer of standard input is not either.
const LONGEST_LINE: usize = 8192;

/// How much may be typed: twice as many tokens as the service takes at once.
const MOST_TYPED: usize = 20_000 * 56;

/// Reads the token in a file of one line. `-` is standard input.
pub(super) fn read_token(file: &Path) -> Result<String, Failure> {
    let (read, source) = if file == Path::new("-") {
        (from_stdin(), "standard input".to_owned())
    } else {
        let read = File::open(file).and_then(|file| one_line(BufReader::new(file)));
        (read, file.display().to_string())
    };
    match read {
        Ok(Some(token)) => {
            refuse_bearer_secret(&token, &source)?;
            Ok(token)
        }
        Ok(None) => Err(Failure::Misused(format!(
            "{source} does not hold one token, and nothing else"
        ))),
        Err(error) => Err(Failure::Misused(format!(
            "{source} cannot be read: {error}"
        ))),
    }
}

fn from_stdin() -> io::Result<Option<String>> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return one_line(stdin.lock());
    }
    let line = ask("Token: ", |typed| {
        typed.ends_with(b"\n") || typed.len() > LONGEST
    });
    Ok(token(&line?))
}

/// The lines of standard input, of which each is a token.
pub(super) fn token_lines() -> io::Result<String> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return io::read_to_string(stdin);
    }
    let lines = ask("Tokens, one a line; end with Ctrl-D: ", |typed| {
        typed.len() > MOST_TYPED
    })?;
    if lines.len() > MOST_TYPED {
        return Err(io::Error::other("it is too long"));
    }
    Ok(lines)
}

/// Asks for what is not to be seen, until it is whole or Ctrl-D ends it.
fn ask(prompt: &str, is_whole: impl Fn(&[u8]) -> bool) -> io::Result<String> {
    let (stdin, signals) = (io::stdin(), Signals::catch()?);
    let mut text = Vec::new();
    while let Some(signal) = type_into(&mut text, prompt, &is_whole, &stdin, &signals)? {
        // It ends this process, or stops it until it is continued.
        emulate_default_handler(signal)?;
    }
    Ok(String::from_utf8(text).map_err(|_| ErrorKind::InvalidData)?)
}

/// Asks once, and returns the signal that came in between. When this returns, the terminal shows again what is typed,
/// if it did before.
fn type_into(
    text: &mut Vec<u8>,
    prompt: &str,
    is_whole: impl Fn(&[u8]) -> bool,
    stdin: &Stdin,
    signals: &Signals,
) -> io::Result<Option<i32>> {
    let _unseen = Unseen::begin(stdin);
    io::stderr().write_all(prompt.as_bytes()).ok();
    loop {
        let mut ready = [
            PollFd::new(stdin, PollFlags::IN),
            PollFd::new(&signals.wake, PollFlags::IN),
        ];
        match poll(&mut ready, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(signal) = signals.take() {
            return Ok(Some(signal));
        }
        let [terminal, _] = ready;
        if terminal.revents().is_empty() {
            continue;
        }
        // A terminal gives a line at a time, and none of it stays behind in a buffer, of which `poll` would not know.
        let mut piece = [0; LONGEST_LINE];
        let len = stdin.lock().read(&mut piece)?;
        text.extend(&piece[..len]);
        if len == 0 || is_whole(text) {
            return Ok(None);
        }
    }
}

/// The signals that a terminal or a plain `kill` sends, which would leave the terminal as it is. While this lives, they
/// are noted and do nothing else.
struct Signals {
    last: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    /// Has something to read after a signal.
    wake: UnixStream,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        let (wake, waker) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let (last, is_over) = (Arc::default(), Arc::default());
        for signal in [SIGINT, SIGQUIT, SIGTERM, SIGTSTP] {
            // What it does by default, as soon as it is not caught any more.
            flag::register_conditional_default(signal, Arc::clone(&is_over))?;
            let number = usize::try_from(signal).expect("a signal's number is positive");
            flag::register_usize(signal, Arc::clone(&last), number)?;
            pipe::register(signal, waker.try_clone()?)?;
        }
        Ok(Self {
            last,
            is_over,
            wake,
        })
    }

    /// The last signal since this was called before.
    fn take(&self) -> Option<i32> {
        let mut woken = [0; 64];
        while (&self.wake).read(&mut woken).is_ok_and(|len| len > 0) {}
        let signal = self.last.swap(0, SeqCst);
        i32::try_from(signal).ok().filter(|signal| *signal != 0)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
    }
}

/// The only line that is not empty.
fn one_line(read: impl BufRead) -> io::Result<Option<String>> {
    let mut text = String::new();
    read.take(LONGEST as u64 + 1).read_to_string(&mut text)?;
    Ok(token(&text))
}

fn token(text: &str) -> Option<String> {
    let token = text.trim();
    let is_one = !token.is_empty() && !token.contains(char::is_whitespace);
    is_one.then(|| token.to_owned())
}

/// While it lives, a terminal does not show what is typed.
struct Unseen<'a> {
    terminal: &'a Stdin,
    before: Option<Termios>,
}

impl<'a> Unseen<'a> {
    fn begin(terminal: &'a Stdin) -> Self {
        let before = tcgetattr(terminal).ok();
        if let Some(mut modes) = before.clone() {
            modes.local_modes.remove(LocalModes::ECHO);
            tcsetattr(terminal, OptionalActions::Now, &modes).ok();
        }
        Self { terminal, before }
    }
}

impl Drop for Unseen<'_> {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            tcsetattr(self.terminal, OptionalActions::Now, before).ok();
            io::stderr().write_all(b"\n").ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_one_token_and_nothing_else() {
        assert_eq!(token("\n tsend_abc \r\n"), Some("tsend_abc".to_owned()));
        for wrong in ["", "\n", "tsend_a\ntsend_b", "TOKEN tsend_a"] {
            assert_eq!(token(wrong), None, "{wrong:?}");
        }
    }
}
