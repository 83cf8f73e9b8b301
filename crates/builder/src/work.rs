//! Pieces of work, as events tell of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::event::{Event, Outcome, Phase, Reporter};
use crate::process::Children;
use crate::target::TargetPlatform;

/// Numbers pieces of work and tells of them.
pub(crate) struct Work {
    reporter: Arc<dyn Reporter>,
    children: Option<Arc<Children>>,
    next: AtomicU64,
}

/// A piece that has begun. Told as failed when it is dropped before its end, or as stopped where everything
/// is being ended then.
pub(crate) struct Piece {
    reporter: Arc<dyn Reporter>,
    children: Option<Arc<Children>>,
    pub(crate) id: u64,
    begun: Instant,
    /// What the thread that does all of it had used of its processor before, where one does.
    cpu_before: Option<Duration>,
    ended: bool,
}

impl Work {
    pub(crate) fn new(reporter: Arc<dyn Reporter>) -> Self {
        Self { reporter, children: None, next: AtomicU64::new(1) }
    }

    /// With `children` that are interrupted when a part has failed, or the user has had enough.
    pub(crate) fn with(self, children: Arc<Children>) -> Self {
        Self { children: Some(children), ..self }
    }

    pub(crate) fn start(
        &self,
        phase: Phase,
        platform: Option<TargetPlatform>,
        what: String,
        total: Option<u64>,
    ) -> Piece {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.reporter.report(Event::Started { id, phase, platform, what, total });
        let (reporter, children) = (Arc::clone(&self.reporter), self.children.clone());
        Piece { reporter, children, id, begun: Instant::now(), cpu_before: None, ended: false }
    }
}

impl Piece {
    /// The thread that calls this does all of it, to its end: its processor time is told as well.
    pub(crate) fn on_this_thread(self) -> Self {
        let mut piece = self;
        piece.cpu_before = Some(thread_cpu());
        piece
    }

    pub(crate) fn done(self, result: String) {
        self.end(Outcome::Done(result));
    }

    pub(crate) fn cached(self, result: String) {
        self.end(Outcome::Cached(result));
    }

    pub(crate) fn failed(self) {
        self.end(Outcome::Failed);
    }

    pub(crate) fn progress(&self, done: u64) {
        self.reporter.report(Event::Progress { id: self.id, done });
    }

    pub(crate) fn end(mut self, outcome: Outcome) {
        self.tell(outcome);
    }

    fn tell(&mut self, outcome: Outcome) {
        self.ended = true;
        let cpu = self.cpu_before.map(|before| thread_cpu().saturating_sub(before));
        self.reporter.report(Event::Finished { id: self.id, outcome, elapsed: self.begun.elapsed(), cpu });
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if !self.ended {
            let stopped = self.children.as_ref().is_some_and(|children| children.interrupted());
            self.tell(if stopped { Outcome::Stopped } else { Outcome::Failed });
        }
    }
}

/// What this thread has used of a processor so far.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
