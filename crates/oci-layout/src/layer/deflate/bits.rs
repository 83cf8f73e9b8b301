//! Bits into bytes, low bits first.

/// Appends bits to a vector.
pub(super) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Bytes of `out` that are written.
    at: usize,
    buffer: u64,
    /// Bits of `buffer` that are used; fewer than eight after each flush.
    used: u32,
}

/// Bytes beyond the written ones that a flush may touch.
const SLACK: usize = 16;

impl<'a> BitWriter<'a> {
    /// Appends to `out`, which makes room for the worst case of `size` input bytes.
    pub(super) fn new(out: &'a mut Vec<u8>, size: usize) -> Self {
        let at = out.len();
        out.resize(at + size + size / 256 + 256, 0);
        Self { out, at, buffer: 0, used: 0 }
    }

    /// Adds the low `count` bits of `bits`. At most 48 between two flushes, 56 in all.
    #[inline(always)]
    pub(super) fn add(&mut self, bits: u64, count: u32) {
        self.buffer |= bits << self.used;
        self.used += count;
    }

    /// Moves whole bytes out.
    #[inline(always)]
    pub(super) fn flush(&mut self) {
        if let Some(place) = self.out.get_mut(self.at..self.at + 8) {
            place.copy_from_slice(&self.buffer.to_le_bytes());
        }
        self.at += (self.used >> 3) as usize;
        self.buffer >>= self.used & !7;
        self.used &= 7;
    }

    /// Makes sure that `bytes` more can be written.
    pub(super) fn reserve(&mut self, bytes: usize) {
        if self.out.len() < self.at + bytes + SLACK {
            self.out.resize(self.at + bytes + SLACK, 0);
        }
    }

    /// Bits until the next byte boundary.
    pub(super) fn bits_to_boundary(&self) -> u32 {
        self.used.wrapping_neg() & 7
    }

    /// Fills the byte up with zero bits.
    fn align(&mut self) {
        self.used = self.used.next_multiple_of(8);
        self.flush();
    }

    /// Stored blocks with `bytes`, none of them the last.
    pub(super) fn stored(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(65_535) {
            self.reserve(piece.len() + 16);
            let length = piece.len() as u16;
            self.add(0, 3);
            self.align();
            self.add(u64::from(length) | u64::from(!length) << 16, 32);
            self.flush();
            self.out[self.at..self.at + piece.len()].copy_from_slice(piece);
            self.at += piece.len();
        }
    }

    /// Ends at a byte boundary: an empty stored block, and the vector cut to what was written.
    pub(super) fn sync(mut self) {
        self.reserve(16);
        self.add(0, 3);
        self.align();
        self.add(0xffff_0000, 32);
        self.flush();
        self.out.truncate(self.at);
    }
}
