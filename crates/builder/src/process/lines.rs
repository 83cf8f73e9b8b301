//! Cuts the bytes of a pipe into lines of bounded length.

/// Longest line that is handed on in one piece. Cargo's JSON messages stay far below it.
const LONGEST: usize = 1 << 20;

/// Collects bytes until a line is whole.
#[derive(Default)]
pub(super) struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    /// Takes bytes and hands on each line that ends in them, without its end. What is not UTF-8
    /// comes as replacement characters; what is longer than a megabyte comes in pieces.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut line: impl FnMut(String)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = bytes.split_at(end);
            self.fill(head, &mut line);
            line(self.take());
            bytes = &tail[1..];
        }
        self.fill(bytes, &mut line);
    }

    /// Hands on what stands behind the last line end.
    pub(super) fn finish(&mut self, mut line: impl FnMut(String)) {
        if !self.pending.is_empty() {
            line(self.take());
        }
    }

    fn fill(&mut self, mut bytes: &[u8], line: &mut impl FnMut(String)) {
        while self.pending.len() + bytes.len() > LONGEST {
            let (head, tail) = bytes.split_at(LONGEST - self.pending.len());
            self.pending.extend_from_slice(head);
            line(self.take());
            bytes = tail;
        }
        self.pending.extend_from_slice(bytes);
    }

    fn take(&mut self) -> String {
        let text = self.pending.strip_suffix(b"\r").unwrap_or(&self.pending);
        let text = String::from_utf8_lossy(text).into_owned();
        self.pending.clear();
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.push(piece, |line| found.push(line));
        }
        lines.finish(|line| found.push(line));
        found
    }

    #[test]
    fn lines_are_put_together_from_any_pieces() {
        assert_eq!(lines(&[b"a\nb", b"c\r\n", b"\n", b"end"]), ["a", "bc", "", "end"]);
        assert_eq!(lines(&[b"\xffx\n"]), ["\u{fffd}x"]);
        assert!(lines(&[]).is_empty());
    }

    #[test]
    fn endless_lines_come_in_pieces() {
        let flood = vec![b'x'; 3 * LONGEST / 2];
        let found = lines(&[&flood, &flood, b"\n"]);
        assert_eq!(found.iter().map(String::len).collect::<Vec<_>>(), [LONGEST, LONGEST, LONGEST]);
    }
}
