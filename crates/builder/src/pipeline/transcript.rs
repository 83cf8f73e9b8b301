//! What a program has written, as far as anybody looks at it.

/// Most bytes that are searched: the first ones.
const SEARCHED: usize = 1 << 20;
/// Bytes that the last lines are taken from.
const LAST: usize = 16 << 10;
/// Most lines that are shown.
const LINES: usize = 20;

/// The beginning and the end of what a program has written.
#[derive(Default)]
pub(super) struct Transcript {
    begin: Vec<u8>,
    end: Vec<u8>,
}

impl Transcript {
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let room = SEARCHED.saturating_sub(self.begin.len()).min(bytes.len());
        self.begin.extend_from_slice(bytes.get(..room).unwrap_or_default());
        self.end.extend_from_slice(bytes);
        if self.end.len() > 2 * LAST {
            self.end.drain(..self.end.len() - LAST);
        }
    }

    /// What can be searched; bytes that are no text are replaced.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.begin).into_owned()
    }

    /// The last lines with a heading; nothing where nothing was written.
    pub(super) fn last_lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.end);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        if lines.iter().all(|line| line.is_empty()) {
            return vec!["it wrote nothing".to_owned()];
        }
        let shown = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default();
        let heading = if shown.len() < lines.len() { "the last lines that it wrote:" } else { "it wrote:" };
        std::iter::once(heading.to_owned()).chain(shown.iter().map(|line| format!("  {line}"))).collect()
    }
}

/// Shorter secrets are words that stand in any output.
const SHORTEST_SECRET: usize = 4;
/// Longest line that is told as one.
const LONGEST: usize = 16 << 10;

/// Cuts what a program writes into lines for people: without control characters, and without secrets.
pub(super) struct Lines {
    pending: Vec<u8>,
    secrets: Vec<Vec<u8>>,
}

impl Lines {
    pub(super) fn new(secrets: &[Vec<u8>]) -> Self {
        // They are looked for in lines, and so line by line themselves.
        let lines = secrets.iter().flat_map(|secret| secret.split(|byte| *byte == b'\n')).map(<[u8]>::trim_ascii);
        let secrets = lines.filter(|line| line.len() >= SHORTEST_SECRET).map(<[u8]>::to_vec).collect();
        Self { pending: Vec::new(), secrets }
    }

    pub(super) fn take(&mut self, bytes: &[u8], line: &mut dyn FnMut(String)) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = rest.split_at(end);
            self.pending.extend_from_slice(head);
            self.end(line);
            rest = tail.get(1..).unwrap_or_default();
        }
        self.pending.extend_from_slice(rest);
        if self.pending.len() > LONGEST {
            self.end(line);
        }
    }

    /// What is left is a line too.
    pub(super) fn end(&mut self, line: &mut dyn FnMut(String)) {
        let mut bytes = std::mem::take(&mut self.pending);
        for secret in &self.secrets {
            while let Some(at) = memchr::memmem::find(&bytes, secret) {
                bytes.splice(at..at + secret.len(), *b"***");
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        // What was written over again on the same line is not shown.
        let last = text.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default();
        let shown: String = last.chars().filter(|c| !c.is_control() || *c == '\t').collect();
        if !shown.is_empty() {
            line(shown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_neither_secrets_nor_control_characters() {
        let mut told = Vec::new();
        let mut lines = Lines::new(&[b"canary\n".to_vec(), b"-----KEY\r\nMIIC\nab\n".to_vec()]);
        lines.take(b"-----KEY\nMIICfab\n", &mut |line| told.push(line));
        for piece in ["one\ntoken=can", "ary canary\r\n", "10%\r20%\r100%\n\n\u{1b}[31mred\u{7}", "\tend"] {
            lines.take(piece.as_bytes(), &mut |line| told.push(line));
        }
        lines.end(&mut |line| told.push(line));
        assert_eq!(told, ["***", "***fab", "one", "token=*** ***", "100%", "[31mred\tend"]);
        let mut count = 0;
        lines.take(&vec![b'x'; 100_000], &mut |_| count += 1);
        assert!(count >= 1 && lines.pending.is_empty());
    }

    #[test]
    fn the_beginning_is_searched_and_the_end_is_shown() {
        let mut transcript = Transcript::default();
        assert_eq!(transcript.last_lines(), ["it wrote nothing"]);
        transcript.take(b"\xffone\r\ntwo\n");
        assert_eq!(transcript.last_lines(), ["it wrote:", "  \u{fffd}one", "  two"]);
        for number in 0..200_000 {
            transcript.take(format!("line {number}\n").as_bytes());
        }
        let lines = transcript.last_lines();
        assert_eq!((lines.len(), lines[0].as_str()), (LINES + 1, "the last lines that it wrote:"));
        assert_eq!(lines[LINES], "  line 199999");
        let text = transcript.text();
        assert!(text.starts_with("\u{fffd}one") && text.len() <= SEARCHED + 2);
        assert!(transcript.end.len() <= 2 * LAST + 16);
    }
}
