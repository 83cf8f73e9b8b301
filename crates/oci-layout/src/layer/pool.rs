//! Threads that compress, shared by all layers that are being written.
//!
//! Layers queue blocks and take the results in order. The number of blocks in flight is bounded
//! over all layers together, so that memory does not grow with layers written side by side.
//! Few layers have their turn at a time: as long as the threads are busy, one layer that is
//! finished early, and can be sent off, is worth more than all of them finished late.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::deflate::Deflater;

/// So many threads compress about as fast as one layer can be read and hashed.
const THREADS_PER_LAYER: usize = 8;

type Job = Box<dyn FnOnce(&mut Deflater) + Send>;

/// A fixed set of threads that compress.
pub struct Pool {
    jobs: Option<Sender<Job>>,
    workers: Vec<JoinHandle<()>>,
    budget: Arc<Budget>,
    turns: Arc<Budget>,
}

impl Pool {
    /// Starts `threads` threads, at least one. Fails where the system gives none.
    pub fn new(threads: usize) -> io::Result<Self> {
        let threads = threads.max(1);
        let (sender, receiver) = unbounded::<Job>();
        let workers = (0..threads)
            .map(|number| {
                let receiver = receiver.clone();
                thread::Builder::new().name(format!("compress-{number}")).spawn(move || {
                    let mut deflater = Deflater::default();
                    for job in receiver {
                        job(&mut deflater);
                    }
                })
            })
            .collect::<io::Result<_>>()?;
        Ok(Self {
            jobs: Some(sender),
            workers,
            budget: Budget::of(2 * threads + 2),
            turns: Budget::of(1 + threads / THREADS_PER_LAYER),
        })
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.workers.len()
    }

    /// Waits until a layer is to be written, for whoever has several of them. The layer is written
    /// while the turn is held.
    pub fn turn(&self) -> Turn {
        Turn(self.turns.take())
    }

    /// Leave for one more block in flight, or `None` when too many are.
    pub(super) fn try_permit(&self) -> Option<Permit> {
        Budget::try_take(&self.budget)
    }

    /// Waits for that leave. Only for who holds none itself.
    pub(super) fn permit(&self) -> Permit {
        self.budget.take()
    }

    /// Runs `work` on one of the threads; the result comes through the channel, which is empty
    /// and closed if the work panicked.
    pub(super) fn run<T: Send + 'static>(&self, work: impl FnOnce(&mut Deflater) -> T + Send + 'static) -> Receiver<T> {
        let (sender, receiver) = bounded(1);
        let job: Job = Box::new(move |deflater| {
            let _ = sender.send(work(deflater));
        });
        if let Some(jobs) = &self.jobs {
            // Fails only without workers; then the receiver reports a closed channel.
            let _ = jobs.send(job);
        }
        receiver
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

struct Budget {
    free: Mutex<usize>,
    changed: Condvar,
}

impl Budget {
    fn of(places: usize) -> Arc<Self> {
        Arc::new(Self { free: Mutex::new(places), changed: Condvar::new() })
    }

    fn try_take(self: &Arc<Self>) -> Option<Permit> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        *free = free.checked_sub(1)?;
        Some(Permit(Arc::clone(self)))
    }

    fn take(self: &Arc<Self>) -> Permit {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.changed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Permit(Arc::clone(self))
    }
}

/// A layer's turn, see [`Pool::turn`].
pub struct Turn(#[expect(dead_code, reason = "held, not read")] Permit);

/// Leave to have one block in flight.
pub(super) struct Permit(Arc<Budget>);

impl Drop for Permit {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.changed.notify_one();
    }
}
