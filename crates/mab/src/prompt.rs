//! Questions on the terminal.

use std::io::{self, Read as _, Write as _};

use registry_client::Secret;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

/// What came of a question.
pub(crate) enum Asked<T> {
    /// An answer.
    Answer(T),
    /// The user has had enough.
    Interrupted,
}

/// Asks for a line, which shows while it is typed.
pub(crate) fn line(question: &str) -> io::Result<Asked<String>> {
    write!(io::stderr(), "{question}")?;
    let mut answer = String::new();
    if io::stdin().read_line(&mut answer)? == 0 {
        return Ok(Asked::Interrupted);
    }
    Ok(Asked::Answer(answer.trim().to_owned()))
}

/// Asks for something that does not show.
pub(crate) fn secret(question: &str) -> io::Result<Asked<Secret>> {
    write!(io::stderr(), "{question}")?;
    let quiet = Quiet::begin()?;
    let mut typed = Vec::new();
    let outcome = loop {
        let mut byte = [0];
        // Byte by byte and past the buffer: nothing is left in it that somebody else could find.
        if io::stdin().lock().read(&mut byte)? == 0 {
            break Asked::Interrupted;
        }
        match step(&mut typed, byte[0]) {
            Step::More => {}
            Step::Done => {
                let text = String::from_utf8(std::mem::take(&mut typed));
                let text = text.map_err(|_| io::Error::other("the password is not UTF-8"))?;
                break Asked::Answer(Secret::from(text));
            }
            Step::Interrupt => break Asked::Interrupted,
        }
    };
    drop(quiet);
    writeln!(io::stderr())?;
    Ok(outcome)
}

enum Step {
    More,
    Done,
    Interrupt,
}

/// Takes a key. The terminal makes no signals and edits no lines meanwhile.
fn step(typed: &mut Vec<u8>, key: u8) -> Step {
    match key {
        b'\n' | b'\r' => Step::Done,
        // ^C and ^\; ^D on an empty line.
        3 | 28 => Step::Interrupt,
        4 if typed.is_empty() => Step::Interrupt,
        // Backspace and ^H take a character, which may be several bytes; ^U takes all.
        8 | 127 => {
            while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            Step::More
        }
        21 => {
            typed.clear();
            Step::More
        }
        other => {
            if typed.len() < 64 * 1024 {
                typed.push(other);
            }
            Step::More
        }
    }
}

/// The terminal without echo; as it was before when this is dropped.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG | LocalModes::ICANON);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_a_password() {
        let typed = |keys: &[u8]| {
            let mut typed = Vec::new();
            let ends = keys.iter().map(|key| step(&mut typed, *key)).filter(|step| !matches!(step, Step::More)).count();
            (String::from_utf8(typed).unwrap(), ends)
        };
        assert_eq!(typed("pä\u{7f}w".as_bytes()), ("pw".to_owned(), 0));
        assert_eq!(typed(b"old\x15new\r"), ("new".to_owned(), 1));
        assert_eq!(typed(b"\x7fx\x03"), ("x".to_owned(), 1));
        assert_eq!(typed(b"\x04").1, 1);
    }
}
