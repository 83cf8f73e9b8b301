//! Finding matches.
//!
//! Recent positions with the same four bytes share a bucket, the last position with the same
//! three bytes is kept besides. What is slow about finding matches is not the work but branches
//! that nobody can predict: so all candidates of a bucket are compared without one, and only
//! the few matches of seven bytes or more are looked at again. And since the branches that remain
//! are guessed wrong often, looking and deciding are apart ([`Look`]): while the one is decided, the
//! next is being looked at already.
//!
//! Positions are kept as their low sixteen bits. An entry that is older than the window, or was
//! never set, can look like a recent one; since the bytes themselves are compared, that costs a
//! comparison and nothing else.

use super::WINDOW;
use super::tables::MAX_MATCH;

/// Bytes that can be looked at: a window and a block. A power of two, so that masking an index
/// is all the checking it needs.
pub(super) const SPAN: usize = 1 << 20;
const MASK: usize = SPAN - 1;
/// The bytes before and in a block, and some more that may be read.
pub(super) type Bytes = [u8; SPAN + 8];

const BUCKETS_BITS: u32 = 15;
const HEADS3_BITS: u32 = 13;
/// Positions in a bucket.
const LANES: u32 = 2;
/// A match this long is taken without looking for a longer one.
const NICE: u32 = 64;
/// Three bytes from farther away cost more than three literals.
const MAX_DISTANCE3: u32 = 4_096;

/// A match; of length 0 where there is none.
#[derive(Clone, Copy, Default)]
pub(super) struct Found {
    pub(super) length: u16,
    pub(super) distance: u16,
}

impl Found {
    /// Whether it is so much better than `other`, found one byte earlier, that a literal pays.
    #[inline(always)]
    pub(super) fn beats(&self, other: &Self) -> bool {
        let cost = |distance: u16| 16 - distance.leading_zeros() as i32;
        self.length >= other.length
            && 4 * (i32::from(self.length) - i32::from(other.length)) + cost(other.distance) - cost(self.distance) > 2
    }
}

pub(super) struct Matcher {
    /// Positions with one hash, the last one in the lowest sixteen bits.
    buckets: Box<[u32; 1 << BUCKETS_BITS]>,
    heads3: Box<[u16; 1 << HEADS3_BITS]>,
}

#[inline(always)]
fn load8(bytes: &Bytes, at: usize) -> u64 {
    let at = at & MASK;
    match bytes[at..at + 8] {
        [a, b, c, d, e, f, g, h] => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => 0,
    }
}

#[inline(always)]
fn hash4(eight: u64) -> usize {
    ((eight as u32).wrapping_mul(0x9e37_79b1) >> (32 - BUCKETS_BITS)) as usize
}

#[inline(always)]
fn hash3(eight: u64) -> usize {
    ((eight as u32) << 8).wrapping_mul(0x9e37_79b1) as usize >> (32 - HEADS3_BITS)
}

impl Matcher {
    pub(super) fn new() -> Self {
        Self { buckets: Box::new([0; 1 << BUCKETS_BITS]), heads3: Box::new([0; 1 << HEADS3_BITS]) }
    }

    /// Forgets everything, so that the result does not depend on what was compressed before.
    pub(super) fn reset(&mut self) {
        self.buckets.fill(0);
        self.heads3.fill(0);
    }

    /// Makes positions known.
    #[inline(always)]
    pub(super) fn insert(&mut self, bytes: &Bytes, from: usize, to: usize) {
        for position in from..to {
            let eight = load8(bytes, position);
            self.heads3[hash3(eight)] = position as u16;
            let bucket = &mut self.buckets[hash4(eight)];
            *bucket = *bucket << 16 | u32::from(position as u16);
        }
    }

    /// Makes `position` known, and says what is known of the same bytes before it. Eight bytes must follow it.
    #[inline(always)]
    pub(super) fn look(&mut self, bytes: &Bytes, position: usize) -> Look {
        let here = load8(bytes, position);
        let short = position as u16;
        let candidate3 = std::mem::replace(&mut self.heads3[hash3(here)], short);
        let bucket = &mut self.buckets[hash4(here)];
        let candidates = *bucket;
        *bucket = candidates << 16 | u32::from(short);

        let mut best = 0;
        for lane in 0..LANES {
            let distance = distance(short, (candidates >> (16 * lane)) as u16);
            let differ = load8(bytes, position.wrapping_sub(distance as usize)) ^ here;
            // Eight equal bytes count as seven here; zero is kept out because the instruction is
            // not defined for it everywhere.
            let equal = (differ | 1 << 63).trailing_zeros() & 0x38;
            best = best.max((equal << 13) + WINDOW as u32 - distance);
        }
        let distance3 = distance(short, candidate3);
        let differ = load8(bytes, position.wrapping_sub(distance3 as usize)) ^ here;
        let fits = (differ << 40 == 0) & (distance3 <= MAX_DISTANCE3);
        best = best.max(u32::from(fits) * ((3 << 16) + WINDOW as u32 - distance3));

        Look { best, candidates }
    }
}

/// What was seen at a position.
#[derive(Clone, Copy, Default)]
pub(super) struct Look {
    /// The key of the best match: its length up to 7, and below that its distance subtracted, so that the
    /// greater key is the better match.
    best: u32,
    /// The bucket, for matches that may be longer.
    candidates: u32,
}

impl Look {
    /// The best match at `position`, which this was seen at. Bytes from `first` to `end` may be part of it.
    #[inline(always)]
    pub(super) fn found(self, bytes: &Bytes, position: usize, first: usize, end: usize) -> Found {
        let (length, distance) = (self.best >> 16, WINDOW as u32 - (self.best & 0xffff));
        match length {
            7 => extend(self.candidates, bytes, position, first, end),
            4..7 if distance as usize <= position - first => Found { length: length as u16, distance: distance as u16 },
            3 if distance <= MAX_DISTANCE3 && distance as usize <= position - first => {
                Found { length: 3, distance: distance as u16 }
            }
            _ => Found::default(),
        }
    }
}

/// The distance of an entry, which is at least 1 and at most the window, whatever the entry is.
#[inline(always)]
fn distance(here: u16, entry: u16) -> u32 {
    u32::from(here.wrapping_sub(entry).wrapping_sub(1) & 0x7fff) + 1
}

/// The longest match among candidates of which at least one has seven equal bytes.
#[inline(never)]
fn extend(candidates: u32, bytes: &Bytes, position: usize, first: usize, end: usize) -> Found {
    let max = (end - position).min(MAX_MATCH) as u32;
    let mut best = Found { length: 6, distance: 0 };
    for lane in 0..LANES {
        let distance = distance(position as u16, (candidates >> (16 * lane)) as u16);
        if distance as usize > position - first {
            continue;
        }
        let at = position - distance as usize;
        let last = usize::from(best.length) - 6;
        if (load8(bytes, at + last) ^ load8(bytes, position + last)) << 8 != 0 {
            continue;
        }
        let length = common(bytes, at, position, max);
        if length > u32::from(best.length) {
            best = Found { length: length as u16, distance: distance as u16 };
            if length >= NICE.min(max) {
                break;
            }
        }
    }
    if best.distance == 0 { Found::default() } else { best }
}

/// How many bytes are equal at two places, at most `max`.
#[inline(always)]
fn common(bytes: &Bytes, a: usize, b: usize, max: u32) -> u32 {
    let mut length = 0;
    while length < max {
        let differ = load8(bytes, a + length as usize) ^ load8(bytes, b + length as usize);
        if differ != 0 {
            return max.min(length + (differ.trailing_zeros() >> 3));
        }
        length += 8;
    }
    max
}
