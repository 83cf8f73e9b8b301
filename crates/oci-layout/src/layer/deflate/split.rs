//! Where one deflate block should end and the next begin.
//!
//! After libdeflate's idea: symbols are sorted into a few classes; when the mix of the last few
//! hundred differs enough from that of the block so far, new codes pay for themselves.

/// Classes: eight of literals by some of their bits, two of matches by length.
const CLASSES: usize = 10;
/// Symbols between two looks.
const CHECK: u32 = 512;
/// No block is shorter, and none is left over that is.
const MIN_BLOCK: usize = 5_000;
/// No block is longer.
const MAX_BLOCK: usize = 300_000;

#[derive(Default)]
pub(super) struct Splitter {
    new: [u32; CLASSES],
    old: [u32; CLASSES],
    new_count: u32,
    old_count: u32,
}

impl Splitter {
    #[inline(always)]
    pub(super) fn literal(&mut self, byte: u8) {
        self.new[usize::from((byte >> 5) & 6 | byte & 1)] += 1;
        self.new_count += 1;
    }

    #[inline(always)]
    pub(super) fn matched(&mut self, length: u16) {
        self.new[8 + usize::from(length >= 9)] += 1;
        self.new_count += 1;
    }

    /// Whether to end the block, which has `size` bytes; `left` more are to come.
    #[inline(always)]
    pub(super) fn should_end(&mut self, size: usize, left: usize) -> bool {
        if self.new_count < CHECK {
            return size >= MAX_BLOCK;
        }
        size >= MAX_BLOCK || (size >= MIN_BLOCK && left >= MIN_BLOCK && self.differs(size))
    }

    #[inline(never)]
    fn differs(&mut self, size: usize) -> bool {
        if self.old_count > 0 {
            let mut delta = 0_u64;
            for (new, old) in self.new.iter().zip(self.old) {
                let expected = u64::from(old) * u64::from(self.new_count);
                let actual = u64::from(*new) * u64::from(self.old_count);
                delta += expected.abs_diff(actual);
            }
            let items = self.old_count + self.new_count;
            // Out of 512: how much may differ. Less for long blocks, whose codes are paid for.
            let mut cutoff = u64::from(self.new_count) * 200 / 512 * u64::from(self.old_count);
            if size < 10_000 && items < 8_192 {
                cutoff += cutoff * u64::from(8_192 - items) / 8_192;
            }
            if delta + (size as u64 / 4_096) * u64::from(self.old_count) >= cutoff {
                return true;
            }
        }
        for (old, new) in self.old.iter_mut().zip(&mut self.new) {
            *old += std::mem::take(new);
        }
        self.old_count += std::mem::take(&mut self.new_count);
        false
    }
}
