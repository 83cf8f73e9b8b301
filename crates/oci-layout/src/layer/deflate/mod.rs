//! A deflate encoder for big blocks, in safe Rust.
//!
//! Of its own because of what layers need together and no crate has: blocks that know the 32 KiB
//! before them (so that they can be compressed side by side and still be one stream), the same
//! bytes on every machine, and libdeflate's speed rather than zlib's. docs/performance.md has the
//! figures of the alternatives. RFC 1951 is the format.
//!
//! The whole block is in memory, so everything is an index into it: matches are found with hash
//! chains ([`matches`]), grouped into deflate blocks where the statistics change ([`split`]), and
//! written with the cheaper of dynamic, fixed or no codes ([`block`]). Nothing depends on the
//! machine's word size, byte order or CPU features.

mod bits;
mod block;
mod huffman;
mod matches;
mod split;
mod tables;

use bits::BitWriter;
use block::{BlockWriter, Sequence, Statistics};
use matches::{Bytes, Look, Matcher, SPAN};
use split::Splitter;

/// How far back a match can be.
pub(super) const WINDOW: usize = 32 * 1024;

/// Input bytes of one block. Part of the format: another size gives other bytes.
pub(super) const BLOCK: usize = SPAN - WINDOW;

/// Positions so close to the end that nothing is looked for.
const TAIL: usize = 9;
/// A match this long is taken without looking at the next position.
const LAZY: u16 = 8;

/// The state of one thread: tables that are made once and used for block after block.
pub(super) struct Deflater {
    bytes: Box<Bytes>,
    matcher: Matcher,
    /// What was seen at the position that the next block begins at.
    ahead: Look,
    sequences: Vec<Sequence>,
    statistics: Statistics,
    writer: BlockWriter,
    /// Room for the worst case.
    out: Vec<u8>,
}

impl Default for Deflater {
    fn default() -> Self {
        Self {
            bytes: Box::new([0; SPAN + 8]),
            matcher: Matcher::new(),
            ahead: Look::default(),
            sequences: Vec::new(),
            statistics: Statistics::default(),
            writer: BlockWriter::default(),
            out: Vec::new(),
        }
    }
}

impl Deflater {
    /// What [`Deflater::compress`] makes, in no more memory than that takes: it may wait for what comes before.
    pub(super) fn compressed(&mut self, before: &[u8], data: &[u8]) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        self.compress(before, data, &mut out);
        let compressed = out.as_slice().into();
        self.out = out;
        compressed
    }

    /// Appends `data`, at most [`BLOCK`] bytes, to `out` as deflate blocks that end at a byte
    /// boundary, none of them the last. `before`, at most [`WINDOW`] bytes, is what precedes the
    /// data in the stream; matches may point into it.
    pub(super) fn compress(&mut self, before: &[u8], data: &[u8], out: &mut Vec<u8>) {
        // The data always starts at the same place, so that no distance leaves the array.
        let (start, end) = (WINDOW, WINDOW + data.len());
        let first = start - before.len();
        self.bytes[first..start].copy_from_slice(before);
        self.bytes[..first].fill(0);
        self.bytes[start..end].copy_from_slice(data);
        let mut bits = BitWriter::new(out, data.len());
        let usable = end.saturating_sub(TAIL);
        self.matcher.reset();
        self.matcher.insert(&self.bytes, first, start.min(usable));
        let mut position = start;
        if position < usable {
            self.ahead = self.matcher.look(&self.bytes, position);
        }
        while position < end {
            position = self.block(position, first, usable, end, &mut bits);
        }
        bits.sync();
    }

    /// Compresses one deflate block from `begin` on, and returns where the next one begins.
    fn block(&mut self, begin: usize, first: usize, usable: usize, end: usize, bits: &mut BitWriter<'_>) -> usize {
        let Self { bytes, matcher, ahead, sequences, statistics, writer, out: _ } = self;
        let bytes: &Bytes = bytes;
        sequences.clear();
        statistics.clear();
        let mut splitter = Splitter::default();
        let mut position = begin;
        let mut literals = 0;
        let mut here = *ahead;
        while position < usable && !splitter.should_end(position - begin, end - position) {
            // Whatever comes of this position, the next one is looked at or belongs to a match.
            let mut next = matcher.look(bytes, position + 1);
            let mut found = here.found(bytes, position, first, end);
            let mut literal = |position: usize| {
                let byte = bytes[position % SPAN];
                statistics.literal(byte);
                splitter.literal(byte);
                literals += 1;
            };
            if found.length == 0 {
                literal(position);
                position += 1;
                here = next;
                continue;
            }
            // One position later there may be a better match.
            while found.length < LAZY && position + 1 < usable {
                let later = next.found(bytes, position + 1, first, end);
                if !later.beats(&found) {
                    break;
                }
                next = matcher.look(bytes, position + 2);
                literal(position);
                position += 1;
                found = later;
            }
            let distance = statistics.matched(found);
            splitter.matched(found.length);
            sequences.push(Sequence { literals, found, distance });
            literals = 0;
            let known = position + 2;
            position += usize::from(found.length);
            matcher.insert(bytes, known, position.min(usable));
            here = matcher.look(bytes, position);
        }
        *ahead = here;
        if position >= usable {
            for byte in &bytes[position..end] {
                statistics.literal(*byte);
            }
            position = end;
        }
        writer.write(&bytes[begin..position], sequences, statistics, bits);
        position
    }
}

#[cfg(test)]
mod tests;
