//! One gzip member, compressed in blocks side by side.
//!
//! Blocks have a fixed size, know the 32 KiB before them and end at a byte boundary, so that
//! their outputs joined are one deflate stream: the same for any number of threads. The header
//! holds neither time nor name.

use std::collections::VecDeque;
use std::io::{self, Write};

use crossbeam_channel::{Receiver, Sender, unbounded};
use flate2::Crc;

use super::deflate::WINDOW;
use super::pool::{Permit, Pool};

/// Magic, deflate, no flags, no time, no extra flags, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// An empty last block with fixed codes.
const LAST: [u8; 2] = [3, 0];

struct Done {
    output: Vec<u8>,
    crc: Crc,
    _permit: Permit,
}

/// Takes blocks, gives them to a pool and writes the results in order.
pub(super) struct GzipWriter<'a, W> {
    pool: &'a Pool,
    inner: W,
    waiting: VecDeque<Receiver<Done>>,
    /// Room for blocks, given back as soon as one is compressed.
    spare: (Sender<Vec<u8>>, Receiver<Vec<u8>>),
    window: Vec<u8>,
    crc: Crc,
}

impl<'a, W: Write> GzipWriter<'a, W> {
    pub(super) fn new(mut inner: W, pool: &'a Pool) -> io::Result<Self> {
        inner.write_all(&HEADER)?;
        Ok(Self { pool, inner, waiting: VecDeque::new(), spare: unbounded(), window: Vec::new(), crc: Crc::new() })
    }

    /// Adds a block: [`super::deflate::BLOCK`] bytes, fewer only for the last one.
    pub(super) fn block(&mut self, data: &[u8]) -> io::Result<()> {
        let permit = loop {
            match self.pool.try_permit() {
                Some(permit) => break permit,
                None if self.waiting.is_empty() => break self.pool.permit(),
                None => self.write_oldest()?,
            }
        };
        let mut input = self.spare.1.try_recv().unwrap_or_default();
        input.clear();
        input.extend_from_slice(&self.window);
        input.extend_from_slice(data);
        let start = self.window.len();
        self.window.clear();
        self.window.extend_from_slice(&data[data.len().saturating_sub(WINDOW)..]);
        let spare = self.spare.0.clone();
        self.waiting.push_back(self.pool.run(move |deflater| {
            let (before, data) = input.split_at(start);
            let mut crc = Crc::new();
            crc.update(data);
            let output = deflater.compressed(before, data);
            // Fails only where the writer is gone.
            let _ = spare.send(input);
            Done { output, crc, _permit: permit }
        }));
        while self.waiting.front().is_some_and(|oldest| !oldest.is_empty()) {
            self.write_oldest()?;
        }
        Ok(())
    }

    fn write_oldest(&mut self) -> io::Result<()> {
        let Some(oldest) = self.waiting.pop_front() else { return Ok(()) };
        let done = oldest.recv().map_err(|_| io::Error::other("a compressing thread has died"))?;
        self.inner.write_all(&done.output)?;
        self.crc.combine(&done.crc);
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
