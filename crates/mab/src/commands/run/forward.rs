//! Signals of mab's go to the program. Its terminal follows the size of this one.

use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use builder::sandbox::Control;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::console;

/// Those that people and supervisors send.
const FORWARDED: [SignalKind; 6] = [
    SignalKind::hangup(),
    SignalKind::interrupt(),
    SignalKind::quit(),
    SignalKind::terminate(),
    SignalKind::user_defined1(),
    SignalKind::user_defined2(),
];

/// Signals that arrive, kept until somebody looks at them: none is lost from the moment that this is made.
pub(super) struct Signals(Receiver<SignalKind>);

/// Where signals go. While nothing runs, they end mab, and with it what is being started.
#[derive(Clone, Default)]
pub(super) struct Follower(Arc<Mutex<Option<Followed>>>);

struct Followed {
    control: Control,
    /// The program's terminal.
    terminal: Option<OwnedFd>,
}

impl Signals {
    /// Listens for as long as mab lives.
    pub(super) fn listen() -> Self {
        let (sender, receiver) = channel();
        let (ready, is_ready) = channel();
        std::thread::spawn(move || {
            if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() {
                runtime.block_on(listen(sender, ready));
            }
        });
        // An error where there is no runtime: signals then do what they do to every program.
        let _ = is_ready.recv();
        Self(receiver)
    }

    /// Acts on signals from now on.
    pub(super) fn follow(self) -> Follower {
        let follower = Follower::default();
        let followed = follower.clone();
        std::thread::spawn(move || {
            let mut ends = 0;
            for kind in self.0 {
                if [SignalKind::interrupt(), SignalKind::terminate()].contains(&kind) {
                    ends += 1;
                }
                followed.take(kind, ends);
            }
        });
        follower
    }
}

impl Follower {
    /// The program runs: it gets the signals.
    pub(super) fn attach(&self, control: Control, terminal: Option<OwnedFd>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Followed { control, terminal });
    }

    /// The second signal that asks for an end is not asking any more.
    fn take(&self, kind: SignalKind, ends: u32) {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(followed) if kind == SignalKind::window_change() => followed.terminal.iter().for_each(console::resize),
            Some(followed) if ends > 1 => followed.control.kill(),
            Some(followed) => followed.control.signal(u8::try_from(kind.as_raw_value()).unwrap_or_default()),
            None if kind == SignalKind::window_change() => {}
            None => std::process::exit(128 + kind.as_raw_value()),
        }
    }
}

async fn listen(to: Sender<SignalKind>, ready: Sender<()>) {
    let mut listening = Vec::new();
    for kind in FORWARDED.into_iter().chain([SignalKind::window_change()]) {
        if let Ok(stream) = signal(kind) {
            listening.push(tokio::spawn(pass(stream, kind, to.clone())));
        }
    }
    drop((to, ready));
    for task in listening {
        let _ = task.await;
    }
}

async fn pass(mut stream: Signal, kind: SignalKind, to: Sender<SignalKind>) {
    while stream.recv().await.is_some() {
        if to.send(kind).is_err() {
            return;
        }
    }
}
