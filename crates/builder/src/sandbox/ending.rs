//! How programs end, in words, and what could be done about it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Execution;

/// How a program has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// By itself, with this exit code.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
    /// With this exit code (128 and the signal, where by a signal), other than 0, after the kernel had killed
    /// something for want of memory.
    OutOfMemory(i32),
    /// It was ended because its time was up.
    TimedOut,
}

/// Those that say that a program is broken, or the processor that it runs on.
const OF_CRASHES: [i32; 6] = [libc::SIGILL, libc::SIGTRAP, libc::SIGABRT, libc::SIGBUS, libc::SIGFPE, libc::SIGSEGV];

impl Ending {
    /// What the program did, for an error: `ended with exit code 3`. It had `limit` to run.
    pub fn told(self, limit: Duration) -> String {
        match self {
            Self::Exited(code) => format!("ended with exit code {code}"),
            Self::Signaled(signal) => match name(signal) {
                Some(name) => format!("was killed by signal {signal} ({name})"),
                None => format!("was killed by signal {signal}"),
            },
            Self::OutOfMemory(code) => {
                format!("ended with exit code {code} after the kernel had killed a program for want of memory")
            }
            Self::TimedOut => format!("took more than {} s", limit.as_secs_f64()),
        }
    }

    /// What could be done about it.
    pub fn hints(self, execution: &Execution) -> Vec<String> {
        let crashed = match self {
            Self::Signaled(signal) => OF_CRASHES.contains(&signal),
            // What a shell says of what it has started.
            Self::Exited(code) => OF_CRASHES.contains(&(code - 128)),
            Self::OutOfMemory(_) => {
                let hint = "give this machine or container more memory, or let less run at once (`--jobs`)";
                return vec![hint.to_owned()];
            }
            Self::TimedOut => false,
        };
        match execution {
            Execution::Emulated(emulator) if crashed => {
                vec![format!("it ran under {}: a newer QEMU may do what this one cannot", emulator.path().display())]
            }
            Execution::Host { interpreter } if crashed => {
                vec![format!("it ran under {interpreter}: a newer QEMU may do what this one cannot")]
            }
            _ => Vec::new(),
        }
    }
}

fn name(signal: i32) -> Option<&'static str> {
    let known = [
        (libc::SIGHUP, "SIGHUP"),
        (libc::SIGINT, "SIGINT"),
        (libc::SIGQUIT, "SIGQUIT"),
        (libc::SIGILL, "SIGILL"),
        (libc::SIGTRAP, "SIGTRAP"),
        (libc::SIGABRT, "SIGABRT"),
        (libc::SIGBUS, "SIGBUS"),
        (libc::SIGFPE, "SIGFPE"),
        (libc::SIGKILL, "SIGKILL"),
        (libc::SIGUSR1, "SIGUSR1"),
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGUSR2, "SIGUSR2"),
        (libc::SIGPIPE, "SIGPIPE"),
        (libc::SIGALRM, "SIGALRM"),
        (libc::SIGTERM, "SIGTERM"),
        (libc::SIGXCPU, "SIGXCPU"),
        (libc::SIGXFSZ, "SIGXFSZ"),
        (libc::SIGSYS, "SIGSYS"),
    ];
    known.iter().find(|(number, _)| *number == signal).map(|(_, name)| *name)
}

/// How many processes the kernel has killed for want of memory since it began: system-wide, and in control groups.
/// None where it does not say.
pub(super) fn killed_for_memory() -> Option<u64> {
    counted(&fs_err::read_to_string("/proc/vmstat").ok()?)
}

fn counted(vmstat: &str) -> Option<u64> {
    vmstat.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_is_told_with_the_signals_name() {
        let told = |ending: Ending| ending.told(Duration::from_millis(1500));
        assert_eq!(told(Ending::Exited(3)), "ended with exit code 3");
        assert_eq!(told(Ending::Signaled(11)), "was killed by signal 11 (SIGSEGV)");
        assert_eq!(told(Ending::Signaled(60)), "was killed by signal 60");
        assert_eq!(told(Ending::TimedOut), "took more than 1.5 s");
        assert_eq!(
            told(Ending::OutOfMemory(137)),
            "ended with exit code 137 after the kernel had killed a program for want of memory"
        );
    }

    #[test]
    fn only_crashes_under_an_emulator_are_laid_at_its_door() {
        let host = Execution::Host { interpreter: "/usr/bin/qemu-s390x-static".to_owned() };
        let hint = "it ran under /usr/bin/qemu-s390x-static: a newer QEMU may do what this one cannot";
        for crash in [Ending::Signaled(11), Ending::Exited(139), Ending::Signaled(4), Ending::Exited(134)] {
            assert_eq!(crash.hints(&host), [hint]);
            assert_eq!(crash.hints(&Execution::Native), [""; 0]);
        }
        for other in [Ending::Signaled(15), Ending::Exited(1), Ending::Exited(143), Ending::TimedOut] {
            assert_eq!(other.hints(&host), [""; 0]);
        }
        assert!(Ending::OutOfMemory(1).hints(&host)[0].contains("memory"));
    }

    #[test]
    fn the_kernels_count_is_found_among_the_others() {
        assert_eq!(counted("drop_slab 0\noom_kill 12\nnuma_hit 5\n"), Some(12));
        assert_eq!(counted("oom_kill_disable 0\n"), None);
        assert!(killed_for_memory().is_some());
    }
}
