//! Threads that compress, shared by all layers that are being written.
//!
//! Layers queue blocks and take the results in order. The number of blocks in flight is bounded
//! over all layers together, so that memory does not grow with layers written side by side.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::deflate::Deflater;

type Job = Box<dyn FnOnce(&mut Deflater) + Send>;

/// A fixed set of threads that compress.
pub struct Pool {
    jobs: Option<Sender<Job>>,
    workers: Vec<JoinHandle<()>>,
    budget: Arc<Budget>,
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
        let budget = Arc::new(Budget { free: Mutex::new(2 * threads + 2), changed: Condvar::new() });
        Ok(Self { jobs: Some(sender), workers, budget })
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.workers.len()
    }

    /// Leave for one more block in flight, or `None` when too many are.
    pub(super) fn try_permit(&self) -> Option<Permit> {
        let mut free = self.budget.free.lock().unwrap_or_else(PoisonError::into_inner);
        *free = free.checked_sub(1)?;
        Some(Permit(Arc::clone(&self.budget)))
    }

    /// Waits for that leave. Only for who holds none itself.
    pub(super) fn permit(&self) -> Permit {
        let free = self.budget.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.budget.changed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Permit(Arc::clone(&self.budget))
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

/// Leave to have one block in flight.
pub(super) struct Permit(Arc<Budget>);

impl Drop for Permit {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.changed.notify_one();
    }
}
