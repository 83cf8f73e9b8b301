//! How compilers share the machine's cores.
//!
//! Cargo keeps all of them busy through a job server of its own, but not all the time: at its
//! end there is one crate and one linker. So a single `go build` goes along with it, on half of
//! them; when cargo has nothing left to do, Go's calls run side by side and divide them.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

/// The cores, and who is waiting for them.
#[derive(Debug)]
pub(super) struct Cores {
    all: NonZeroUsize,
    /// Calls of cargo that have not ended.
    cargo_calls: AtomicUsize,
    /// How many calls of go run side by side where they are alone.
    go_width: usize,
    cargo: Semaphore,
    go: Semaphore,
}

/// The right to run one compiler, with so many jobs.
pub(super) struct Turn<'a> {
    pub(super) jobs: NonZeroUsize,
    cores: &'a Cores,
    is_cargo: bool,
    _permit: Option<SemaphorePermit<'a>>,
}

impl Cores {
    pub(super) fn new(all: NonZeroUsize, cargo_calls: usize, go_calls: usize) -> Self {
        let go_width = go_calls.clamp(1, all.get());
        let go = if cargo_calls == 0 { go_width } else { 1 };
        Self {
            all,
            cargo_calls: AtomicUsize::new(cargo_calls),
            go_width,
            cargo: Semaphore::new(1),
            go: Semaphore::new(go),
        }
    }

    /// Waits for a turn.
    pub(super) async fn turn(&self, is_cargo: bool) -> Turn<'_> {
        let limit = if is_cargo { &self.cargo } else { &self.go };
        // It is never closed.
        let permit = limit.acquire().await.ok();
        let jobs = if is_cargo { self.all } else { self.go_jobs() };
        Turn { jobs, cores: self, is_cargo, _permit: permit }
    }

    fn go_jobs(&self) -> NonZeroUsize {
        let among = if self.cargo_calls.load(Ordering::SeqCst) > 0 { 2 } else { self.go_width };
        NonZeroUsize::new(self.all.get() / among).unwrap_or(NonZeroUsize::MIN)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.is_cargo && self.cores.cargo_calls.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.cores.go.add_permits(self.cores.go_width - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cores(all: usize, cargo: usize, go: usize) -> Cores {
        Cores::new(NonZeroUsize::new(all).unwrap(), cargo, go)
    }

    #[tokio::test]
    async fn alone_each_language_has_all_cores_and_gos_calls_divide_them() {
        assert_eq!(cores(8, 3, 0).turn(true).await.jobs.get(), 8);
        for (go, width, jobs) in [(1, 1, 8), (3, 3, 2), (20, 8, 1)] {
            let cores = cores(8, 0, go);
            let mut turns = Vec::new();
            for _ in 0..width {
                turns.push(cores.turn(false).await);
            }
            assert!(turns.iter().all(|turn| turn.jobs.get() == jobs), "{go}");
            assert_eq!(cores.go.available_permits(), 0);
        }
    }

    /// The jobs of a call of go that has come and gone, and how many could go side by side.
    async fn go(cores: &Cores) -> (usize, usize) {
        let jobs = cores.turn(false).await.jobs.get();
        (jobs, cores.go.available_permits())
    }

    #[tokio::test]
    async fn beside_cargo_one_call_of_go_has_half_until_the_last_cargo_ends() {
        let eight = cores(8, 2, 5);
        let first = eight.turn(true).await;
        assert_eq!(go(&eight).await, (4, 1));
        drop(first);
        assert_eq!(go(&eight).await, (4, 1), "another call of cargo waits");
        drop(eight.turn(true).await);
        assert_eq!(go(&eight).await, (1, 5));
        assert_eq!(go(&cores(1, 1, 2)).await, (1, 1));
    }
}
