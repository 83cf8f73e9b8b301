//! One deflate block: its statistics, its codes, its bits.

use super::bits::BitWriter;
use super::huffman::{self, Code};
use super::matches::Found;
use super::tables::{DISTANCE_BASES, DISTANCES, END_OF_BLOCK, LENGTH_CODES, LITLENS, distance_symbol};

/// Some literals and the match behind them.
#[derive(Clone, Copy)]
pub(super) struct Sequence {
    pub(super) literals: u32,
    pub(super) found: Found,
    /// The symbol of its distance.
    pub(super) distance: u8,
}

/// How often each symbol occurs in a block.
pub(super) struct Statistics {
    litlens: [u32; LITLENS],
    distances: [u32; DISTANCES],
}

impl Default for Statistics {
    fn default() -> Self {
        Self { litlens: [0; LITLENS], distances: [0; DISTANCES] }
    }
}

impl Statistics {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    #[inline(always)]
    pub(super) fn literal(&mut self, byte: u8) {
        self.litlens[usize::from(byte)] += 1;
    }

    /// Counts a match, and gives the symbol of its distance.
    #[inline(always)]
    pub(super) fn matched(&mut self, found: Found) -> u8 {
        let symbol = LENGTH_CODES[usize::from(found.length)].symbol;
        self.litlens[usize::from(symbol)] += 1;
        let distance = distance_symbol(found.distance);
        self.distances[distance] += 1;
        distance as u8
    }
}

/// Symbols of the code for code lengths, in the order in which they are sent.
const PRECODE_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Writes blocks; keeps its tables from block to block.
pub(super) struct BlockWriter {
    litlens: [Code; LITLENS],
    distances: [Code; DISTANCES],
    /// For each length: code and extra bits together, and their number.
    lengths: Box<[(u32, u8); 259]>,
}

impl Default for BlockWriter {
    fn default() -> Self {
        Self {
            litlens: [Code::default(); LITLENS],
            distances: [Code::default(); DISTANCES],
            lengths: Box::new([(0, 0); 259]),
        }
    }
}

impl BlockWriter {
    /// Writes `bytes`, which consist of `sequences` and literals behind them, the cheapest way.
    pub(super) fn write(
        &mut self,
        bytes: &[u8],
        sequences: &[Sequence],
        statistics: &mut Statistics,
        bits: &mut BitWriter<'_>,
    ) {
        statistics.litlens[END_OF_BLOCK] += 1;
        huffman::codes(&statistics.litlens, 14, &mut self.litlens);
        huffman::codes(&statistics.distances, 15, &mut self.distances);
        let header = Header::new(&self.litlens, &self.distances);
        let dynamic = 3 + header.size() + self.size(statistics);
        let (fixed_litlens, fixed_distances) = fixed();
        let fixed_size = 3 + size(statistics, &fixed_litlens[..], &fixed_distances);
        let stored = u64::from((bits.bits_to_boundary() + 5) & 7) + stored_size(bytes.len());

        if stored <= dynamic && stored <= fixed_size {
            return bits.stored(bytes);
        }
        bits.reserve(dynamic.min(fixed_size) as usize / 8 + 64);
        if fixed_size <= dynamic {
            self.litlens = fixed_litlens;
            self.distances = fixed_distances;
            bits.add(0b010, 3);
        } else {
            bits.add(0b100, 3);
            header.write(bits);
        }
        bits.flush();
        self.symbols(bytes, sequences, bits);
    }

    fn size(&self, statistics: &Statistics) -> u64 {
        size(statistics, &self.litlens, &self.distances)
    }

    #[inline(never)]
    fn symbols(&mut self, bytes: &[u8], sequences: &[Sequence], bits: &mut BitWriter<'_>) {
        for (entry, code) in self.lengths.iter_mut().zip(&LENGTH_CODES).skip(3) {
            let symbol = self.litlens[usize::from(code.symbol)];
            let value = u32::from(symbol.bits) | u32::from(code.extra) << symbol.length;
            *entry = (value, symbol.length + code.bits);
        }
        let mut rest = bytes;
        for sequence in sequences {
            let (literals, after) = rest.split_at(sequence.literals as usize);
            self.literals(literals, bits);
            let (value, count) = self.lengths[usize::from(sequence.found.length)];
            bits.add(u64::from(value), u32::from(count));
            let distance = sequence.found.distance;
            let symbol = usize::from(sequence.distance);
            let (base, extra) = DISTANCE_BASES[symbol];
            let code = self.distances[symbol];
            bits.add(u64::from(code.bits), u32::from(code.length));
            bits.add(u64::from(distance.wrapping_sub(base)), u32::from(extra));
            bits.flush();
            rest = &after[usize::from(sequence.found.length)..];
        }
        self.literals(rest, bits);
        let end = self.litlens[END_OF_BLOCK];
        bits.add(u64::from(end.bits), u32::from(end.length));
        bits.flush();
    }

    #[inline(always)]
    fn literals(&self, literals: &[u8], bits: &mut BitWriter<'_>) {
        for byte in literals {
            let code = self.litlens[usize::from(*byte)];
            bits.add(u64::from(code.bits), u32::from(code.length));
            bits.flush();
        }
    }
}

/// Bits of the symbols with the given codes.
fn size(statistics: &Statistics, litlens: &[Code], distances: &[Code]) -> u64 {
    let mut bits = 0;
    for (frequency, code) in statistics.litlens.iter().zip(litlens) {
        bits += u64::from(*frequency) * u64::from(code.length);
    }
    for (symbol, frequency) in statistics.litlens[257..].iter().enumerate() {
        let extra = if (8..28).contains(&symbol) { symbol as u64 / 4 - 1 } else { 0 };
        bits += u64::from(*frequency) * extra;
    }
    for ((frequency, code), (_, extra)) in statistics.distances.iter().zip(distances).zip(DISTANCE_BASES) {
        bits += u64::from(*frequency) * (u64::from(code.length) + u64::from(extra));
    }
    bits
}

/// Bits of stored blocks from a byte boundary on, the first one's three bits left out.
fn stored_size(bytes: usize) -> u64 {
    let blocks = bytes.div_ceil(65_535).max(1) as u64;
    8 * (bytes as u64 + 5 * blocks)
}

/// The fixed codes of RFC 1951, section 3.2.6.
fn fixed() -> ([Code; LITLENS], [Code; DISTANCES]) {
    // Two symbols are never used but take part in the code.
    let mut litlens = [Code::default(); 288];
    for (symbol, code) in litlens.iter_mut().enumerate() {
        code.length = match symbol {
            0..144 => 8,
            144..256 => 9,
            256..280 => 7,
            _ => 8,
        };
    }
    huffman::assign(&mut litlens);
    let mut used = [Code::default(); LITLENS];
    used.copy_from_slice(&litlens[..LITLENS]);
    let mut distances = [Code { bits: 0, length: 5 }; 32];
    huffman::assign(&mut distances);
    let mut used_distances = [Code::default(); DISTANCES];
    used_distances.copy_from_slice(&distances[..DISTANCES]);
    (used, used_distances)
}

/// The header of a block with dynamic codes: the code lengths, themselves coded.
struct Header {
    litlens: usize,
    distances: usize,
    /// Symbol of the precode, and its extra bits.
    items: Vec<(u8, u8)>,
    precode: [Code; 19],
    precode_count: usize,
}

/// Extra bits behind a symbol of the precode.
fn precode_extra(symbol: u8) -> u32 {
    match symbol {
        16 => 2,
        17 => 3,
        18 => 7,
        _ => 0,
    }
}

impl Header {
    fn new(litlens: &[Code; LITLENS], distances: &[Code; DISTANCES]) -> Self {
        let used = |codes: &[Code], least: usize| {
            codes.iter().rposition(|code| code.length > 0).map_or(least, |last| (last + 1).max(least))
        };
        let (litlen_count, distance_count) = (used(litlens, 257), used(distances, 1));
        let lengths: Vec<u8> =
            litlens[..litlen_count].iter().chain(&distances[..distance_count]).map(|code| code.length).collect();
        let mut items = Vec::with_capacity(lengths.len());
        let mut at = 0;
        while at < lengths.len() {
            let length = lengths[at];
            let mut run = lengths[at..].iter().take_while(|other| **other == length).count();
            at += run;
            if length == 0 {
                while run >= 11 {
                    let now = run.min(138);
                    items.push((18, (now - 11) as u8));
                    run -= now;
                }
                if run >= 3 {
                    items.push((17, (run - 3) as u8));
                    run = 0;
                }
            } else if run >= 4 {
                items.push((length, 0));
                run -= 1;
                while run >= 3 {
                    let now = run.min(6);
                    items.push((16, (now - 3) as u8));
                    run -= now;
                }
            }
            items.extend(std::iter::repeat_n((length, 0), run));
        }
        let mut frequencies = [0; 19];
        for (symbol, _) in &items {
            frequencies[usize::from(*symbol)] += 1;
        }
        let mut precode = [Code::default(); 19];
        huffman::codes(&frequencies, 7, &mut precode);
        let last = PRECODE_ORDER.iter().rposition(|symbol| precode[*symbol].length > 0);
        let precode_count = last.map_or(4, |last| (last + 1).max(4));
        Self { litlens: litlen_count, distances: distance_count, items, precode, precode_count }
    }

    /// Its bits, without the three that every block begins with.
    fn size(&self) -> u64 {
        let items = self.items.iter().map(|(symbol, _)| {
            u64::from(self.precode[usize::from(*symbol)].length) + u64::from(precode_extra(*symbol))
        });
        5 + 5 + 4 + 3 * self.precode_count as u64 + items.sum::<u64>()
    }

    fn write(&self, bits: &mut BitWriter<'_>) {
        bits.add(self.litlens as u64 - 257, 5);
        bits.add(self.distances as u64 - 1, 5);
        bits.add(self.precode_count as u64 - 4, 4);
        bits.flush();
        for symbol in &PRECODE_ORDER[..self.precode_count] {
            bits.add(u64::from(self.precode[*symbol].length), 3);
            bits.flush();
        }
        for (symbol, extra) in &self.items {
            let code = self.precode[usize::from(*symbol)];
            bits.add(u64::from(code.bits), u32::from(code.length));
            bits.add(u64::from(*extra), precode_extra(*symbol));
            bits.flush();
        }
    }
}
