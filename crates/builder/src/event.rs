//! What a build tells while it runs. Libraries report; only a front end draws.

use std::time::Duration;

use crate::target::TargetPlatform;

/// The steps that a build goes through. They overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Finding the base of each platform, and the facts of its layers.
    Resolve,
    /// Running compilers.
    Compile,
    /// Running commands on images.
    Run,
    /// Checking programs against platform and base.
    Check,
    /// Writing layers and documents.
    Assemble,
    /// Starting the finished images.
    Smoke,
    /// Moving blobs and manifests to where they go.
    Deliver,
}

impl Phase {
    /// A word for people and for JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Compile => "compile",
            Self::Run => "run",
            Self::Check => "check",
            Self::Assemble => "assemble",
            Self::Smoke => "smoke",
            Self::Deliver => "deliver",
        }
    }
}

/// One thing that happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A piece of work begins.
    Started {
        /// Unique in this build.
        id: u64,
        /// Where it belongs.
        phase: Phase,
        /// The platform it is for, if for one.
        platform: Option<TargetPlatform>,
        /// What it is, in a few words.
        what: String,
        /// Bytes to go, where they are known.
        total: Option<u64>,
    },
    /// Bytes went by.
    Progress {
        /// Which piece of work.
        id: u64,
        /// Bytes so far.
        done: u64,
    },
    /// It is done.
    Finished {
        /// Which piece of work.
        id: u64,
        /// How it ended.
        outcome: Outcome,
        /// How long it took.
        elapsed: Duration,
        /// How long a processor worked for it, where it was measured.
        cpu: Option<Duration>,
    },
    /// A line that a compiler wrote, without its line end; may hold the compiler's own colours.
    Output {
        /// Which piece of work.
        id: u64,
        /// The line.
        line: String,
    },
    /// Something that the user should know.
    Warning {
        /// A sentence.
        message: String,
    },
    /// Something that a curious user may like to know (verbose output).
    Note {
        /// A sentence.
        message: String,
    },
}

/// How a piece of work ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done; the text says with what result, in a few words (may be empty).
    Done(String),
    /// Nothing had to be done: it was there already.
    Cached(String),
    /// It failed; the error comes as the build's result.
    Failed,
    /// It was ended, because another has failed or the user has had enough.
    Stopped,
}

/// Takes events. Called from many threads, in the order in which things happened to each piece
/// of work.
pub trait Reporter: Send + Sync {
    /// Takes one event. Must not block for long.
    fn report(&self, event: Event);
}

/// Drops everything.
pub struct Silent;

impl Reporter for Silent {
    fn report(&self, _: Event) {}
}

/// A number of bytes for people.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}
