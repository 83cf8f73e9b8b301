//! Owners that an ordinary user cannot give, and users that it cannot become.
//!
//! In a sandbox there is one user and one group. A step may want more: `chown` to others, device nodes,
//! programs that give up being root. The filter for system calls has the kernel ask process 1 of the sandbox
//! about these calls ([`calls`]), and a thread there ([`supervisor`]) answers them: what is wanted is recorded
//! in notes on the files, which show when somebody looks at them, and in a table of the users that processes
//! have become ([`identity`]).
//!
//! The thread has more rights than the step. It never acts on a path that the step could bend: what it changes
//! it has opened before, below the root directory of the process that asks, without following the links of
//! `/proc` ([`place`]). Where it is in doubt, it leaves the call to the kernel. Nothing that the step does can
//! make it wait.

mod calls;
mod create;
pub(super) mod device;
mod identity;
mod memory;
mod place;
mod status;
mod supervisor;

pub(in crate::sandbox) use calls::{PRCTL, notified, opening};
pub(in crate::sandbox) use identity::Identity;
pub(super) use identity::UNCHANGED;
pub(in crate::sandbox) use supervisor::{Owners, Supervisor};
