//! Who a process has become, as far as it can tell.
//!
//! A process keeps its identity where its children and the programs that it becomes inherit it, and where it is
//! forgotten when it ends: in a resource limit that the kernel has no use for any more (`RLIMIT_LOCKS`). It
//! holds a number in a table. A step can change the limit, and so the owners that are recorded, which it may
//! anyway.

use std::collections::HashMap;

use rustix::io::Errno;

use super::calls::{Set, Whose};
use crate::sandbox::sys;
use crate::spec::accounts::Numbers;

/// Says "as it is" in the place of a user or group.
pub(in crate::sandbox::step) const UNCHANGED: u32 = u32::MAX;
/// Most groups of a process: the kernel's own limit.
pub(super) const MAX_GROUPS: usize = 65_536;
/// Most identities of a step.
const MAX_IDENTITIES: usize = 4096;
/// What the limit is where it has the table's first entry: no real limit is near.
const MARK: u64 = 0x6d61_6200_0000_0000;

/// Users and groups of a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::sandbox) struct Identity {
    pub(super) user: Ids,
    pub(super) group: Ids,
    /// Sorted.
    pub(super) groups: Vec<u32>,
    /// Whether it keeps root's rights when it becomes another user (`PR_SET_KEEPCAPS`), and the program, by its
    /// stack, that has kept them: the next one has them no more.
    pub(super) keeps: bool,
    pub(super) kept: Option<u64>,
}

/// A user or group, as processes have it four times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ids {
    pub(super) real: u32,
    pub(super) effective: u32,
    pub(super) saved: u32,
    pub(super) for_files: u32,
}

impl Ids {
    fn all(id: u32) -> Self {
        Self { real: id, effective: id, saved: id, for_files: id }
    }

    fn has(self, id: u32) -> bool {
        [self.real, self.effective, self.saved].contains(&id)
    }
}

impl Identity {
    pub(in crate::sandbox) fn new(Numbers { uid, gid }: Numbers) -> Self {
        Self { user: Ids::all(uid), group: Ids::all(gid), groups: Vec::new(), keeps: false, kept: None }
    }

    /// Whether it may become anybody and give files to anybody.
    pub(super) fn is_root(&self) -> bool {
        self.user.effective == 0 || self.kept.is_some()
    }

    /// The same after a change of users by a program that has this stack.
    pub(super) fn keep_rights(&mut self, was_root: bool, stack: Option<u64>) {
        self.kept = stack.filter(|_| was_root && self.keeps && self.user.effective != 0);
    }

    pub(super) fn has_group(&self, group: u32) -> bool {
        self.group.for_files == group || self.groups.binary_search(&group).is_ok()
    }

    pub(super) fn ids(&self, whose: Whose) -> Ids {
        match whose {
            Whose::User => self.user,
            Whose::Group => self.group,
        }
    }

    /// What becomes of it by a call with these arguments, as the kernel has it (`kernel/sys.c`), and what the
    /// call returns.
    pub(super) fn set(&mut self, set: Set, arguments: [u32; 3]) -> Result<u32, Errno> {
        let (Set::One(whose) | Set::Two(whose) | Set::Three(whose) | Set::ForFiles(whose)) = set;
        let root = self.is_root();
        let ids = match whose {
            Whose::User => &mut self.user,
            Whose::Group => &mut self.group,
        };
        let old = *ids;
        let [first, second, third] = arguments;
        let given = |id: u32| id != UNCHANGED;
        let allowed = |id: u32, allowed: bool| if !given(id) || allowed || root { Ok(()) } else { Err(Errno::PERM) };
        match set {
            Set::One(_) => {
                if !given(first) {
                    return Err(Errno::INVAL);
                }
                allowed(first, first == old.real || first == old.saved)?;
                if root {
                    *ids = Ids::all(first);
                } else {
                    ids.effective = first;
                }
                ids.for_files = first;
            }
            Set::Two(_) => {
                allowed(first, first == old.real || first == old.effective)?;
                allowed(second, old.has(second))?;
                if given(first) {
                    ids.real = first;
                }
                if given(second) {
                    ids.effective = second;
                }
                if given(first) || given(second) && second != old.real {
                    ids.saved = ids.effective;
                }
                ids.for_files = ids.effective;
            }
            Set::Three(_) => {
                for (id, place) in [(first, &mut ids.real), (second, &mut ids.effective), (third, &mut ids.saved)] {
                    allowed(id, old.has(id))?;
                    if given(id) {
                        *place = id;
                    }
                }
                ids.for_files = ids.effective;
            }
            Set::ForFiles(_) => {
                if given(first) && (root || old.has(first) || first == old.for_files) {
                    ids.for_files = first;
                }
                return Ok(old.for_files);
            }
        }
        Ok(0)
    }
}

/// Identities by number.
pub(super) struct Identities {
    list: Vec<Identity>,
    numbers: HashMap<Identity, usize>,
}

impl Identities {
    /// With the one that all processes begin with.
    pub(super) fn new(first: Identity) -> Self {
        Self { list: vec![first.clone()], numbers: HashMap::from([(first, 0)]) }
    }

    /// That of a process.
    pub(super) fn of(&self, process: u32) -> &Identity {
        let limit = sys::spare_limit(process).map_or(u64::MAX, |(limit, _)| limit);
        let number = limit.checked_sub(MARK).and_then(|number| usize::try_from(number).ok());
        // There is always a first.
        number.and_then(|number| self.list.get(number)).unwrap_or(&self.list[0])
    }

    /// Gives a process another one.
    pub(super) fn give(&mut self, process: u32, identity: Identity) -> Result<(), Errno> {
        let number = match self.numbers.get(&identity) {
            Some(number) => *number,
            None if self.list.len() >= MAX_IDENTITIES => return Err(Errno::AGAIN),
            None => {
                self.list.push(identity.clone());
                self.numbers.insert(identity, self.list.len() - 1);
                self.list.len() - 1
            }
        };
        sys::set_spare_limit(process, MARK + number as u64).map_err(|_| Errno::AGAIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: Whose = Whose::User;

    fn identity(real: u32, effective: u32, saved: u32) -> Identity {
        let user = Ids { real, effective, saved, for_files: effective };
        Identity { user, ..Identity::new(Numbers { uid: 0, gid: 0 }) }
    }

    #[test]
    fn users_change_as_the_kernel_changes_them() {
        const N: u32 = UNCHANGED;
        let check = |from: (u32, u32, u32), set: Set, arguments: [u32; 3], expected: Result<(u32, u32, u32), Errno>| {
            let mut changed = identity(from.0, from.1, from.2);
            let outcome = changed.set(set, arguments).map(|_| {
                assert_eq!(changed.user.for_files, changed.user.effective);
                (changed.user.real, changed.user.effective, changed.user.saved)
            });
            assert_eq!(outcome, expected, "{from:?} {set:?} {arguments:?}");
        };
        let no = Err(Errno::PERM);
        check((0, 0, 0), Set::One(USER), [5, 0, 0], Ok((5, 5, 5)));
        check((5, 5, 5), Set::One(USER), [0, 0, 0], no);
        check((5, 6, 7), Set::One(USER), [7, 0, 0], Ok((5, 7, 7)));
        check((5, 6, 7), Set::One(USER), [6, 0, 0], no);
        check((0, 0, 0), Set::One(USER), [N, 0, 0], Err(Errno::INVAL));
        check((0, 0, 0), Set::Two(USER), [N, 5, 0], Ok((0, 5, 5)));
        check((0, 5, 5), Set::Two(USER), [5, 0, 0], Ok((5, 0, 0)));
        check((0, 5, 0), Set::Two(USER), [N, 0, 0], Ok((0, 0, 0)));
        check((5, 6, 7), Set::Two(USER), [7, N, 0], no);
        check((5, 6, 7), Set::Two(USER), [N, 5, 0], Ok((5, 5, 7)));
        check((0, 0, 0), Set::Three(USER), [N, 5, 0], Ok((0, 5, 0)));
        check((0, 5, 0), Set::Three(USER), [N, 0, N], Ok((0, 0, 0)));
        check((5, 5, 5), Set::Three(USER), [5, 5, 0], no);
        check((0, 0, 0), Set::Three(USER), [5, 5, 5], Ok((5, 5, 5)));
        let mut changed = identity(0, 0, 0);
        assert_eq!(changed.set(Set::ForFiles(USER), [5, 0, 0]), Ok(0));
        assert_eq!((changed.user.for_files, changed.user.effective), (5, 0));
        let mut changed = identity(5, 5, 5);
        assert_eq!(changed.set(Set::ForFiles(USER), [0, 0, 0]), Ok(5));
        assert_eq!(changed.user.for_files, 5);
    }

    #[test]
    fn groups_are_changed_by_root_alone() {
        let mut changed = identity(0, 0, 0);
        changed.set(Set::Three(Whose::Group), [5, 5, 5]).unwrap();
        changed.set(Set::One(USER), [7, 0, 0]).unwrap();
        assert_eq!(changed.set(Set::One(Whose::Group), [0, 0, 0]), Err(Errno::PERM));
        assert_eq!(changed.group, Ids::all(5));
    }
}
