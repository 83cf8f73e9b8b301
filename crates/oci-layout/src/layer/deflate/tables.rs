//! Constants of RFC 1951, section 3.2.5, as tables.

/// Shortest and longest match.
pub(super) const MIN_MATCH: usize = 3;
pub(super) const MAX_MATCH: usize = 258;
/// Symbols of literals, end of block and lengths that are used.
pub(super) const LITLENS: usize = 286;
/// Symbols of distances that are used.
pub(super) const DISTANCES: usize = 30;
pub(super) const END_OF_BLOCK: usize = 256;

/// Base and number of extra bits of each length symbol, from 257 on.
const LENGTHS: [(u16, u8); 29] = {
    let mut table = [(0, 0); 29];
    let (mut symbol, mut base) = (0, MIN_MATCH as u16);
    while symbol < 28 {
        let extra = if symbol < 8 { 0 } else { (symbol / 4 - 1) as u8 };
        table[symbol] = (base, extra);
        base += 1 << extra;
        symbol += 1;
    }
    table[28] = (MAX_MATCH as u16, 0);
    table
};

/// Base and number of extra bits of each distance symbol.
pub(super) const DISTANCE_BASES: [(u16, u8); DISTANCES] = {
    let mut table = [(0, 0); DISTANCES];
    let (mut symbol, mut base) = (0, 1_u32);
    while symbol < DISTANCES {
        let extra = if symbol < 4 { 0 } else { (symbol / 2 - 1) as u8 };
        table[symbol] = (base as u16, extra);
        base += 1 << extra;
        symbol += 1;
    }
    table
};

/// What each length is written as: symbol, extra bits, their number.
#[derive(Clone, Copy)]
pub(super) struct LengthCode {
    pub(super) symbol: u16,
    pub(super) extra: u8,
    pub(super) bits: u8,
}

/// Indexed by length; the first three are not used.
pub(super) static LENGTH_CODES: [LengthCode; 259] = {
    let mut table = [LengthCode { symbol: 0, extra: 0, bits: 0 }; 259];
    let mut symbol = 0;
    while symbol < 29 {
        let (base, bits) = LENGTHS[symbol];
        let mut extra = 0;
        while extra < 1 << bits {
            // 258 has a symbol of its own, though 284 could be it too.
            table[base as usize + extra] = LengthCode { symbol: 257 + symbol as u16, extra: extra as u8, bits };
            extra += 1;
        }
        symbol += 1;
    }
    table
};

/// Symbol of a distance, at least 1 and at most 32,768.
#[inline(always)]
pub(super) fn distance_symbol(distance: u16) -> usize {
    // Two symbols for each power of two, told apart by the bit below the highest.
    let from_zero = u32::from(distance.wrapping_sub(1));
    if from_zero < 2 {
        return from_zero as usize;
    }
    let high = 31 - from_zero.leading_zeros();
    (2 * high + ((from_zero >> (high - 1)) & 1)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_those_of_the_rfc() {
        let code = |length: usize| (LENGTH_CODES[length].symbol, LENGTH_CODES[length].bits, LENGTH_CODES[length].extra);
        for (length, expect) in [
            (3, (257, 0, 0)),
            (10, (264, 0, 0)),
            (11, (265, 1, 0)),
            (12, (265, 1, 1)),
            (115, (280, 4, 0)),
            (131, (281, 5, 0)),
            (257, (284, 5, 30)),
            (258, (285, 0, 0)),
        ] {
            assert_eq!(code(length), expect, "{length}");
        }
        for (distance, expect) in
            [(1, 0), (4, 3), (5, 4), (7, 5), (8, 5), (9, 6), (24_576, 28), (24_577, 29), (32_768, 29)]
        {
            assert_eq!(distance_symbol(distance), expect, "{distance}");
        }
        assert_eq!(DISTANCE_BASES[29], (24_577, 13));
        for distance in 1..=32_768_u16 {
            let (base, bits) = DISTANCE_BASES[distance_symbol(distance)];
            assert!(base <= distance && u32::from(distance) < u32::from(base) + (1 << bits));
        }
    }
}
