use std::io::Read as _;

use proptest::prelude::*;

use super::*;

/// Compresses block by block, as layers are, and checks that a decoder of others agrees.
fn round_trip(bytes: &[u8], block: usize) -> usize {
    let mut deflater = Deflater::default();
    let mut out = Vec::new();
    for start in (0..bytes.len()).step_by(block) {
        let before = &bytes[start.saturating_sub(WINDOW)..start];
        let end = bytes.len().min(start + block);
        deflater.compress(before, &bytes[start..end], &mut out);
    }
    let size = out.len();
    out.extend([3, 0]);
    let mut back = Vec::new();
    flate2::read::DeflateDecoder::new(&out[..]).read_to_end(&mut back).unwrap();
    assert!(back == bytes, "{} bytes in blocks of {block}", bytes.len());
    size
}

fn random(length: usize, mask: u8) -> Vec<u8> {
    let mut state = 7_u64;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8 & mask
        })
        .collect()
}

#[test]
fn all_kinds_of_content_come_back() {
    for length in [0, 1, 8, 9, 10, 100, 5_000, 65_535, 65_536, 300_001, BLOCK + 1] {
        round_trip(&vec![0; length], BLOCK);
        round_trip(&random(length, 0xff), BLOCK);
        round_trip(&random(length, 3), BLOCK);
        let text: Vec<u8> = (0..length).map(|at| b"the quick brown fox "[(at * at / 7) % 20]).collect();
        round_trip(&text, 4_097);
    }
}

#[test]
fn what_cannot_be_compressed_hardly_grows() {
    let size = round_trip(&random(BLOCK, 0xff), BLOCK);
    assert!(size < BLOCK + BLOCK / 4_000, "{size}");
    assert!(round_trip(&vec![0; BLOCK], BLOCK) < BLOCK / 900);
}

#[test]
fn matches_reach_into_the_block_before() {
    let piece = random(20_000, 0xff);
    let twice = [&piece[..], &piece].concat();
    assert!(round_trip(&twice, 20_000) < 20_700);
    // And to the very end of the window, not beyond.
    let piece = random(WINDOW, 0xff);
    assert!(round_trip(&[&piece[..], &piece].concat(), WINDOW) < WINDOW + 1_000);
    let far = [&piece[..], b"x", &piece].concat();
    assert!(round_trip(&far, BLOCK) > 2 * WINDOW);
}

#[test]
fn a_block_does_not_depend_on_those_before() {
    let mut deflater = Deflater::default();
    let data = random(50_000, 15);
    let (mut first, mut again) = (Vec::new(), Vec::new());
    deflater.compress(&[], &data, &mut first);
    deflater.compress(&random(WINDOW, 0xff), &random(BLOCK, 0x7f), &mut Vec::new());
    deflater.compress(&[], &data, &mut again);
    assert!(first == again);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn anything_comes_back(
        pieces in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 1..40), 1..300_usize), 0..40),
        block in 1..40_000_usize,
    ) {
        let bytes: Vec<u8> = pieces.into_iter().flat_map(|(piece, times)| piece.repeat(times)).collect();
        round_trip(&bytes, block);
    }
}
