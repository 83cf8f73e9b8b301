//! Length-limited Huffman codes.
//!
//! Lengths: the in-place algorithm of Moffat and Katajainen, "In-Place Calculation of
//! Minimum-Redundancy Codes" (1995); too long ones are shortened at the least cost in the
//! frequencies' order. Codes: RFC 1951, section 3.2.2, bits reversed, as they are sent.

/// A code: bits in sending order, and how many.
#[derive(Clone, Copy, Default)]
pub(super) struct Code {
    pub(super) bits: u16,
    pub(super) length: u8,
}

/// Makes the codes for `frequencies`, none longer than `limit`. Symbols that do not occur get
/// length 0. There are always two codes at least: some decoders reject a lone one.
pub(super) fn codes<const N: usize>(frequencies: &[u32; N], limit: u32, codes: &mut [Code; N]) {
    *codes = [Code::default(); N];
    let mut symbols: Vec<u64> = Vec::with_capacity(N);
    for (symbol, frequency) in frequencies.iter().enumerate() {
        if *frequency > 0 {
            symbols.push(u64::from(*frequency) << 16 | symbol as u64);
        }
    }
    let mut filler = 0;
    while symbols.len() < 2 {
        if frequencies[filler] == 0 {
            symbols.push(1 << 16 | filler as u64);
        }
        filler += 1;
    }
    symbols.sort_unstable();
    let weights: Vec<u32> = symbols.iter().map(|packed| (packed >> 16) as u32).collect();
    let mut counts = length_counts(weights);
    limit_lengths(&mut counts, limit as usize);

    // The rarest symbols come first and get the longest codes.
    let mut next = 0;
    for (length, count) in counts.iter().enumerate().rev() {
        for packed in &symbols[next..next + *count as usize] {
            codes[(packed & 0xffff) as usize].length = length as u8;
        }
        next += *count as usize;
    }
    assign(codes);
}

/// Gives symbols that have lengths their bits.
pub(super) fn assign(codes: &mut [Code]) {
    let mut counts = [0_u16; 16];
    for code in codes.iter() {
        counts[code.length as usize & 15] += 1;
    }
    counts[0] = 0;
    let mut first = [0_u16; 16];
    for length in 1..16 {
        first[length] = (first[length - 1] + counts[length - 1]) << 1;
    }
    for code in codes.iter_mut().filter(|code| code.length > 0) {
        let length = code.length as usize & 15;
        code.bits = first[length].reverse_bits() >> (16 - length);
        first[length] = first[length].wrapping_add(1);
    }
}

/// How many symbols get each length in an unlimited code; lengths over 32 count as 32.
/// `weights` are sorted, smallest first, and at least two.
fn length_counts(mut a: Vec<u32>) -> [u32; 33] {
    let n = a.len();
    // Inner nodes: weights first, then (once used) the index of their parent.
    let (mut leaf, mut root) = (0, 0);
    for next in 0..n - 1 {
        let mut sum = 0_u32;
        for _ in 0..2 {
            if leaf >= n || (root < next && a[root] < a[leaf]) {
                sum = sum.saturating_add(a[root]);
                a[root] = next as u32;
                root += 1;
            } else {
                sum = sum.saturating_add(a[leaf]);
                leaf += 1;
            }
        }
        a[next] = sum;
    }
    // From parents to depths.
    a[n - 2] = 0;
    for node in (0..n - 2).rev() {
        a[node] = a[a[node] as usize] + 1;
    }
    // From inner nodes' depths to leaves' depths.
    let mut counts = [0; 33];
    let (mut available, mut depth, mut node) = (1_u32, 0_usize, n as isize - 2);
    let mut left = n as u32;
    while available > 0 && left > 0 {
        let mut inner = 0;
        while node >= 0 && a[node as usize] as usize == depth {
            inner += 1;
            node -= 1;
        }
        let leaves = (available - inner).min(left);
        counts[depth.min(32)] += leaves;
        left -= leaves;
        available = 2 * inner;
        depth += 1;
    }
    counts
}

/// Moves lengths over `limit` down to it, and makes room for them higher up.
fn limit_lengths(counts: &mut [u32; 33], limit: usize) {
    for length in limit + 1..33 {
        counts[limit] += std::mem::take(&mut counts[length]);
    }
    let mut total: u64 = (1..=limit).map(|length| u64::from(counts[length]) << (limit - length)).sum();
    while total > 1 << limit {
        counts[limit] -= 1;
        if let Some(length) = (1..limit).rev().find(|length| counts[*length] > 0) {
            counts[length] -= 1;
            counts[length + 1] += 2;
        }
        total -= 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lengths<const N: usize>(frequencies: [u32; N], limit: u32) -> Vec<u8> {
        let mut made = [Code::default(); N];
        codes(&frequencies, limit, &mut made);
        made.iter().map(|code| code.length).collect()
    }

    #[test]
    fn small_codes() {
        assert_eq!(lengths([1, 1, 2, 4], 15), [3, 3, 2, 1]);
        assert_eq!(lengths([5, 0, 5, 0], 15), [1, 0, 1, 0]);
        // Too few symbols are filled up.
        assert_eq!(lengths([0, 0, 0], 15), [1, 1, 0]);
        assert_eq!(lengths([0, 9, 0], 15), [1, 1, 0]);
        assert_eq!(lengths([9, 0, 0], 15), [1, 1, 0]);
        // Fibonacci's numbers make the longest codes.
        assert_eq!(lengths([1, 1, 2, 3, 5, 8, 13, 21], 15), [7, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(lengths([1, 1, 2, 3, 5, 8, 13, 21], 4).iter().max(), Some(&4));
    }

    proptest! {
        #[test]
        fn codes_are_complete_and_within_the_limit(
            list in proptest::collection::vec(prop_oneof![Just(0), 1..50_u32, any::<u32>().prop_map(|x| x >> 8)], 286),
            limit in 9..=15_u32,
        ) {
            let mut frequencies = [0; 286];
            frequencies.copy_from_slice(&list);
            let lengths = lengths(frequencies, limit);
            let kraft: u64 = lengths.iter().filter(|l| **l > 0).map(|l| 1_u64 << (limit - u32::from(*l))).sum();
            prop_assert_eq!(kraft, 1 << limit);
            for (length, frequency) in lengths.iter().zip(list) {
                prop_assert!(frequency == 0 || *length > 0);
            }
        }
    }
}
