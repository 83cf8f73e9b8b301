//! Waits for a program whose output is wanted.

use std::io::{self, Read as _};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::{Control, SandboxError};

/// How often is looked whether the program is still wanted.
const LOOK: Duration = Duration::from_millis(50);

/// Waits for the end of a program by `wait`, and gives `take` what it writes as it comes. The program is
/// killed once `unwanted` says so. `output` is the other end of the only pipe that its streams lead to.
pub fn attend<T, E: From<SandboxError>>(
    control: io::Result<Control>,
    mut output: io::PipeReader,
    unwanted: &(dyn Fn() -> bool + Sync),
    take: &mut (dyn FnMut(&[u8]) + Send),
    wait: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |source: io::Error| E::from(SandboxError::Setup { what, source })
    };
    let control = control.map_err(failed("reach the sandbox"))?;
    std::thread::scope(|scope| {
        let (end, ended) = channel::<()>();
        scope.spawn(move || {
            while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                if unwanted() {
                    control.kill();
                    break;
                }
            }
        });
        let reading = scope.spawn(move || {
            let mut bytes = vec![0; 64 << 10];
            loop {
                match output.read(&mut bytes) {
                    Ok(0) => return Ok(()),
                    Ok(count) => take(bytes.get(..count).unwrap_or_default()),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        });
        // With the sandbox goes whatever else may hold the pipe.
        let ended = wait();
        drop(end);
        match reading.join() {
            Ok(read) => read.map_err(failed("read what the program writes"))?,
            Err(_) => return Err(failed("read what the program writes")(io::Error::other("the reader has failed"))),
        }
        ended
    })
}
