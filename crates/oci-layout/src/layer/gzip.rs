//! One gzip member, compressed in blocks side by side.
//!
//! Blocks have a fixed size, know the 32 KiB before them and end at a byte boundary, so that
//! their outputs joined are one deflate stream: the same for any number of threads. The header
//! holds neither time nor name.

use std::collections::VecDeque;
use std::io::{self, Write};

use crossbeam_channel::Receiver;
use flate2::{Compress, Compression, Crc, FlushCompress};

use super::pool::{Permit, Pool};

/// How far back deflate can refer.
pub(super) const WINDOW: usize = 32 * 1024;
/// Input bytes of one block. Part of the format: another size gives other bytes.
pub(super) const BLOCK: usize = 1024 * 1024;

/// Magic, deflate, no flags, no time, no extra flags, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// An empty last block with fixed codes.
const LAST: [u8; 2] = [3, 0];

/// The state of a thread that compresses.
pub(super) struct Encoder;

impl Encoder {
    /// Appends `data` to `out` as deflate blocks that end at a byte boundary.
    fn deflate(&mut self, dictionary: &[u8], data: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let mut state = Compress::new(Compression::new(6), false);
        if !dictionary.is_empty() {
            state.set_dictionary(dictionary).map_err(io::Error::other)?;
        }
        out.reserve(data.len() + data.len() / 1000 + 64);
        state.compress_vec(data, out, FlushCompress::Sync).map_err(io::Error::other)?;
        if state.total_in() != data.len() as u64 || out.len() == out.capacity() {
            return Err(io::Error::other("the compressor stopped early"));
        }
        Ok(())
    }
}

struct Done {
    input: Vec<u8>,
    output: Vec<u8>,
    crc: Crc,
    outcome: io::Result<()>,
    _permit: Permit,
}

/// Takes blocks, gives them to a pool and writes the results in order.
pub(super) struct GzipWriter<'a, W> {
    pool: &'a Pool,
    inner: W,
    waiting: VecDeque<Receiver<Done>>,
    spare: Vec<(Vec<u8>, Vec<u8>)>,
    window: Vec<u8>,
    crc: Crc,
}

impl<'a, W: Write> GzipWriter<'a, W> {
    pub(super) fn new(mut inner: W, pool: &'a Pool) -> io::Result<Self> {
        inner.write_all(&HEADER)?;
        Ok(Self { pool, inner, waiting: VecDeque::new(), spare: Vec::new(), window: Vec::new(), crc: Crc::new() })
    }

    /// Adds a block: [`BLOCK`] bytes, fewer only for the last one.
    pub(super) fn block(&mut self, data: &[u8]) -> io::Result<()> {
        let permit = loop {
            match self.pool.try_permit() {
                Some(permit) => break permit,
                None if self.waiting.is_empty() => break self.pool.permit(),
                None => self.write_oldest()?,
            }
        };
        let (mut input, mut output) = self.spare.pop().unwrap_or_default();
        input.clear();
        input.extend_from_slice(&self.window);
        input.extend_from_slice(data);
        output.clear();
        let start = self.window.len();
        self.window.clear();
        self.window.extend_from_slice(&data[data.len().saturating_sub(WINDOW)..]);
        self.waiting.push_back(self.pool.run(move |encoder| {
            let (dictionary, data) = input.split_at(start);
            let mut crc = Crc::new();
            crc.update(data);
            let outcome = encoder.deflate(dictionary, data, &mut output);
            Done { input, output, crc, outcome, _permit: permit }
        }));
        while self.waiting.front().is_some_and(|oldest| !oldest.is_empty()) {
            self.write_oldest()?;
        }
        Ok(())
    }

    fn write_oldest(&mut self) -> io::Result<()> {
        let Some(oldest) = self.waiting.pop_front() else { return Ok(()) };
        let done = oldest.recv().map_err(|_| io::Error::other("a compressing thread has died"))?;
        done.outcome?;
        self.inner.write_all(&done.output)?;
        self.crc.combine(&done.crc);
        self.spare.push((done.input, done.output));
        Ok(())
    }

    /// Writes what is left and the trailer.
    pub(super) fn finish(mut self) -> io::Result<W> {
        while !self.waiting.is_empty() {
            self.write_oldest()?;
        }
        self.inner.write_all(&LAST)?;
        self.inner.write_all(&self.crc.sum().to_le_bytes())?;
        self.inner.write_all(&self.crc.amount().to_le_bytes())?;
        Ok(self.inner)
    }
}
