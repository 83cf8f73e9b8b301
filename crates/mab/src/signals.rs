//! SIGINT and SIGTERM: the first ends children and the build, the second ends mab at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use builder::process::Children;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{exit, text};

/// How long children may take to end by themselves.
const GRACE: Duration = Duration::from_secs(3);

/// Between two looks.
const STEP: Duration = Duration::from_millis(50);

/// The exit code of the signal that came, 0 before.
#[derive(Clone, Default)]
pub(crate) struct Interrupted(Arc<AtomicU8>);

impl Interrupted {
    pub(crate) fn code(&self) -> Option<u8> {
        Some(self.0.load(Ordering::SeqCst)).filter(|code| *code != 0)
    }

    /// The exit code of `work`, or of the signal that came before: `work` is then dropped.
    pub(crate) async fn or(&self, work: impl Future<Output = u8>) -> u8 {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                code = &mut work => return self.code().unwrap_or(code),
                () = tokio::time::sleep(STEP) => {
                    if let Some(code) = self.code() {
                        return code;
                    }
                }
            }
        }
    }
}

/// Listens until the runtime ends.
pub(crate) fn listen(children: Arc<Children>) -> std::io::Result<Interrupted> {
    let interrupted = Interrupted::default();
    let (int, term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    for (stream, code) in [(int, exit::SIGINT), (term, exit::SIGTERM)] {
        tokio::spawn(wait(stream, code, interrupted.clone(), Arc::clone(&children)));
    }
    Ok(interrupted)
}

async fn wait(mut stream: Signal, code: u8, interrupted: Interrupted, children: Arc<Children>) {
    while stream.recv().await.is_some() {
        if interrupted.0.compare_exchange(0, code, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            // Compilers that do not listen to SIGTERM would outlive mab.
            children.kill();
            std::process::exit(i32::from(code));
        }
        text::error_line("interrupted: ending what runs; once more to end at once");
        let children = Arc::clone(&children);
        tokio::task::spawn_blocking(move || children.interrupt(GRACE));
    }
}
