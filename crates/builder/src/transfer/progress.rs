//! How much of a transfer has gone by.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use oci_layout::Digest;

use crate::event::{Outcome, size};
use crate::work::Piece;

/// Events of one transfer come no closer than this.
const TICK: Duration = Duration::from_millis(50);

/// Adds up the bytes of many blobs.
pub(crate) struct Meter {
    piece: Piece,
    begun: Instant,
    state: Mutex<State>,
}

struct State {
    each: BTreeMap<Digest, u64>,
    sum: u64,
    told: Instant,
}

impl Meter {
    pub(crate) fn new(piece: Piece) -> Self {
        let now = Instant::now();
        Self { piece, begun: now, state: Mutex::new(State { each: BTreeMap::new(), sum: 0, told: now }) }
    }

    /// So many bytes of `digest` have gone by. After a new start it may be fewer than before.
    pub(crate) fn blob(&self, digest: &Digest, bytes: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.each.insert(*digest, bytes).unwrap_or(0);
        state.sum = state.sum.saturating_sub(before).saturating_add(bytes);
        if state.told.elapsed() >= TICK {
            state.told = Instant::now();
            self.piece.progress(state.sum);
        }
    }

    /// `size`, and how many of it went by in a second.
    pub(crate) fn rate(&self, bytes: u64) -> String {
        let seconds = self.begun.elapsed().as_secs_f64().max(0.001);
        format!("{} at {}/s", size(bytes), size((bytes as f64 / seconds) as u64))
    }

    pub(crate) fn end(self, outcome: Outcome) {
        self.piece.end(outcome);
    }
}
