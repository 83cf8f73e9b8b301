//! What a program is left with: done in its own process, just before it begins.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, remove_capability_from_bounding_set, set_capabilities,
};

use super::{first, seccomp, sys};
use crate::spec::accounts::Numbers;

/// What root has in containers, as engines have it by default. All of it is for the program's own user
/// namespace, and so for its own user alone.
const OF_ROOT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// Most processes and threads of a sandbox. The kernel does not hold root to it.
const PROCESSES: u64 = 4096;

/// What fails where somebody else does it already.
pub(super) const LISTEN: &str = "listen to the program's system calls";

/// What a process enters for good.
pub(super) struct Confinement {
    identity: Numbers,
    owners: seccomp::Owners,
    filter: Vec<libc::sock_filter>,
}

impl Confinement {
    pub(super) fn new(identity: Numbers, owners: seccomp::Owners) -> Self {
        Self { identity, owners, filter: seccomp::filter(owners) }
    }

    /// Enters it; what failed comes with the system's error. The process must have given up new
    /// privileges and have no other threads. What comes back has to be given to whoever listens.
    pub(super) fn enter(&self) -> Result<Option<OwnedFd>, (&'static str, io::Error)> {
        let failed = |what: &'static str| move |error: io::Error| (what, error);
        // So that it may write what is its own in /proc.
        set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(io::Error::from).map_err(failed("be its own"))?;
        let Numbers { uid, gid } = self.identity;
        first::enter_user_namespace(uid, gid).map_err(failed("enter a user namespace for the image's user"))?;
        capabilities(if uid == 0 { OF_ROOT } else { CapabilitySet::empty() })
            .map_err(failed("give up capabilities"))?;
        // Where memory runs out, this is what the kernel ends first, and not the user's own programs or mab.
        // What cannot be asked for is not wanted badly enough to fail.
        let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
        sys::join_new_keyring().map_err(failed("leave the keyrings"))?;
        limits().map_err(failed("set limits"))?;
        sys::close_on_exec().map_err(failed("close descriptors"))?;
        match self.owners {
            seccomp::Owners::Kernel => {
                sys::install_filter(&self.filter).map(|()| None).map_err(failed("filter system calls"))
            }
            seccomp::Owners::Listener => {
                sys::install_filter_to_listen_to(&self.filter).map(Some).map_err(failed(LISTEN))
            }
        }
    }
}

fn capabilities(kept: CapabilitySet) -> io::Result<()> {
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        // The kernel does not know numbers past its last one.
        if !kept.contains(capability) && capability_is_in_bounding_set(capability).unwrap_or(false) {
            remove_capability_from_bounding_set(capability)?;
        }
    }
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}

fn limits() -> io::Result<()> {
    let lower = |resource: Resource, most: u64| {
        let hard = getrlimit(resource).maximum.map_or(most, |maximum| maximum.min(most));
        setrlimit(resource, Rlimit { current: Some(hard), maximum: Some(hard) })
    };
    // Core dumps would be the host's: 1 is the limit at which a program of the host's is not given them.
    lower(Resource::Core, 1)?;
    Ok(lower(Resource::Nproc, PROCESSES)?)
}
