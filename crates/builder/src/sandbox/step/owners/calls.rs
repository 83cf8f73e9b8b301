//! The system calls that a step's sandbox answers itself.

use crate::sandbox::syscalls::{Abi, Call, NONE};

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Chown,
    Lchown,
    Fchown,
    Fchownat,
    Chmod,
    Fchmod,
    Fchmodat,
    Fchmodat2,
    Stat,
    Lstat,
    Fstat,
    Fstatat,
    Statx,
    Mknod,
    Mknodat,
    Open,
    Creat,
    Openat,
    Mkdir,
    Mkdirat,
    Symlink,
    Symlinkat,
    Rename,
    Renameat,
    KeepRights,
    Set(Set),
    SetGroups,
    Get(Whose, Which),
    GetAll(Whose),
    GetGroups,
}

/// How users or groups of a process are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Set {
    /// `setuid` and `setgid`.
    One(Whose),
    /// `setreuid` and `setregid`.
    Two(Whose),
    /// `setresuid` and `setresgid`.
    Three(Whose),
    /// `setfsuid` and `setfsgid`.
    ForFiles(Whose),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    User,
    Group,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Real,
    Effective,
}

use Action::{
    Chmod, Chown, Creat, Fchmod, Fchmodat, Fchmodat2, Fchown, Fchownat, Fstat, Fstatat, Get, GetAll, GetGroups, Lchown,
    Lstat, Mkdir, Mkdirat, Mknod, Mknodat, Open, Openat, Rename, Renameat, SetGroups, Stat, Statx, Symlink, Symlinkat,
};
use Which::{Effective, Real};
use Whose::{Group, User};

/// Those whose numbers of users have 32 bits.
const WIDE: &[(Call, Action)] = &[
    (Call("chown", [92, NONE, NONE, NONE]), Chown),
    (Call("chown32", [NONE, 212, NONE, 212]), Chown),
    (Call("lchown", [94, NONE, NONE, NONE]), Lchown),
    (Call("lchown32", [NONE, 198, NONE, 198]), Lchown),
    (Call("fchown", [93, NONE, 55, NONE]), Fchown),
    (Call("fchown32", [NONE, 207, NONE, 207]), Fchown),
    (Call("fchownat", [260, 298, 54, 325]), Fchownat),
    (Call("chmod", [90, 15, NONE, 15]), Chmod),
    (Call("fchmod", [91, 94, 52, 94]), Fchmod),
    (Call("fchmodat", [268, 306, 53, 333]), Fchmodat),
    (Call("fchmodat2", [452, 452, 452, 452]), Fchmodat2),
    (Call("stat", [4, 195, NONE, 195]), Stat),
    (Call("lstat", [6, 196, NONE, 196]), Lstat),
    (Call("fstat", [5, 197, 80, 197]), Fstat),
    (Call("newfstatat", [262, 300, 79, 327]), Fstatat),
    (Call("statx", [332, 383, 291, 397]), Statx),
    (Call("mknod", [133, 14, NONE, 14]), Mknod),
    (Call("mknodat", [259, 297, 33, 324]), Mknodat),
    (Call("creat", [85, 8, NONE, 8]), Creat),
    (Call("mkdir", [83, 39, NONE, 39]), Mkdir),
    (Call("mkdirat", [258, 296, 34, 323]), Mkdirat),
    (Call("symlink", [88, 83, NONE, 83]), Symlink),
    (Call("symlinkat", [266, 304, 36, 331]), Symlinkat),
    (Call("rename", [82, 38, NONE, 38]), Rename),
    (Call("renameat", [264, 302, 38, 329]), Renameat),
    (Call("renameat2", [316, 353, 276, 382]), Renameat),
    (Call("setuid", [105, 213, 146, 213]), Action::Set(Set::One(User))),
    (Call("setgid", [106, 214, 144, 214]), Action::Set(Set::One(Group))),
    (Call("setreuid", [113, 203, 145, 203]), Action::Set(Set::Two(User))),
    (Call("setregid", [114, 204, 143, 204]), Action::Set(Set::Two(Group))),
    (Call("setresuid", [117, 208, 147, 208]), Action::Set(Set::Three(User))),
    (Call("setresgid", [119, 210, 149, 210]), Action::Set(Set::Three(Group))),
    (Call("setfsuid", [122, 215, 151, 215]), Action::Set(Set::ForFiles(User))),
    (Call("setfsgid", [123, 216, 152, 216]), Action::Set(Set::ForFiles(Group))),
    (Call("setgroups", [116, 206, 159, 206]), SetGroups),
    (Call("getuid", [102, 199, 174, 199]), Get(User, Real)),
    (Call("geteuid", [107, 201, 175, 201]), Get(User, Effective)),
    (Call("getgid", [104, 200, 176, 200]), Get(Group, Real)),
    (Call("getegid", [108, 202, 177, 202]), Get(Group, Effective)),
    (Call("getresuid", [118, 209, 148, 209]), GetAll(User)),
    (Call("getresgid", [120, 211, 150, 211]), GetAll(Group)),
    (Call("getgroups", [115, 205, 158, 205]), GetGroups),
];

/// The older ones of 32-bit systems, whose numbers have 16 bits.
const NARROW: &[(Call, Action)] = &[
    (Call("chown16", [NONE, 182, NONE, 182]), Chown),
    (Call("lchown16", [NONE, 16, NONE, 16]), Lchown),
    (Call("fchown16", [NONE, 95, NONE, 95]), Fchown),
    (Call("setuid16", [NONE, 23, NONE, 23]), Action::Set(Set::One(User))),
    (Call("setgid16", [NONE, 46, NONE, 46]), Action::Set(Set::One(Group))),
    (Call("setreuid16", [NONE, 70, NONE, 70]), Action::Set(Set::Two(User))),
    (Call("setregid16", [NONE, 71, NONE, 71]), Action::Set(Set::Two(Group))),
    (Call("setresuid16", [NONE, 164, NONE, 164]), Action::Set(Set::Three(User))),
    (Call("setresgid16", [NONE, 170, NONE, 170]), Action::Set(Set::Three(Group))),
    (Call("setfsuid16", [NONE, 138, NONE, 138]), Action::Set(Set::ForFiles(User))),
    (Call("setfsgid16", [NONE, 139, NONE, 139]), Action::Set(Set::ForFiles(Group))),
    (Call("setgroups16", [NONE, 81, NONE, 81]), SetGroups),
    (Call("getuid16", [NONE, 24, NONE, 24]), Get(User, Real)),
    (Call("geteuid16", [NONE, 49, NONE, 49]), Get(User, Effective)),
    (Call("getgid16", [NONE, 47, NONE, 47]), Get(Group, Real)),
    (Call("getegid16", [NONE, 50, NONE, 50]), Get(Group, Effective)),
    (Call("getresuid16", [NONE, 165, NONE, 165]), GetAll(User)),
    (Call("getresgid16", [NONE, 171, NONE, 171]), GetAll(Group)),
    (Call("getgroups16", [NONE, 80, NONE, 80]), GetGroups),
];

/// Those of which only the ones that may make a file are asked about.
const OPENING: &[(Call, Action)] =
    &[(Call("open", [2, 5, NONE, 5]), Open), (Call("openat", [257, 295, 56, 322]), Openat)];

/// Of which only the one request is asked about.
pub(in crate::sandbox) const PRCTL: Call = Call("prctl", [157, 172, 167, 172]);

/// The numbers of the calls that open files, and which of their arguments has the flags.
pub(in crate::sandbox) fn opening(abi: Abi) -> impl Iterator<Item = (u32, u32)> {
    OPENING.iter().filter_map(move |(call, action)| Some((abi.number(call)?, if *action == Open { 1 } else { 2 })))
}

/// The numbers of all others.
pub(in crate::sandbox) fn notified(abi: Abi) -> impl Iterator<Item = u32> {
    WIDE.iter().chain(NARROW).filter_map(move |(call, _)| abi.number(call))
}

/// What a number means, and whether numbers of users have 32 bits in it.
pub(super) fn action(abi: Abi, number: u32) -> Option<(Action, bool)> {
    let find = |table: &[(Call, Action)]| {
        table.iter().find(|(call, _)| abi.number(call) == Some(number)).map(|(_, action)| *action)
    };
    if abi.number(&PRCTL) == Some(number) {
        return Some((Action::KeepRights, true));
    }
    find(WIDE)
        .or_else(|| find(OPENING))
        .map(|action| (action, true))
        .or_else(|| find(NARROW).map(|action| (action, false)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_kernels_and_none_stands_twice() {
        let known = [
            ("fchown", libc::SYS_fchown),
            ("fchownat", libc::SYS_fchownat),
            ("fchmod", libc::SYS_fchmod),
            ("fchmodat", libc::SYS_fchmodat),
            ("fstat", libc::SYS_fstat),
            ("newfstatat", libc::SYS_newfstatat),
            ("statx", libc::SYS_statx),
            ("mknodat", libc::SYS_mknodat),
            ("mkdirat", libc::SYS_mkdirat),
            ("symlinkat", libc::SYS_symlinkat),
            ("openat", libc::SYS_openat),
            ("renameat2", libc::SYS_renameat2),
            ("setuid", libc::SYS_setuid),
            ("setgid", libc::SYS_setgid),
            ("setreuid", libc::SYS_setreuid),
            ("setregid", libc::SYS_setregid),
            ("setresuid", libc::SYS_setresuid),
            ("setresgid", libc::SYS_setresgid),
            ("setfsuid", libc::SYS_setfsuid),
            ("setfsgid", libc::SYS_setfsgid),
            ("setgroups", libc::SYS_setgroups),
            ("getuid", libc::SYS_getuid),
            ("geteuid", libc::SYS_geteuid),
            ("getgid", libc::SYS_getgid),
            ("getegid", libc::SYS_getegid),
            ("getresuid", libc::SYS_getresuid),
            ("getresgid", libc::SYS_getresgid),
            ("getgroups", libc::SYS_getgroups),
        ];
        for (name, number) in known {
            let (call, _) = WIDE.iter().chain(OPENING).find(|(call, _)| call.0 == name).unwrap();
            assert_eq!(Abi::NATIVE[0].number(call).map(libc::c_long::from), Some(number), "{name}");
        }
        assert_eq!(Abi::NATIVE[0].number(&PRCTL).map(libc::c_long::from), Some(libc::SYS_prctl));
        for abi in [Abi::X86_64, Abi::I386, Abi::Aarch64, Abi::Arm] {
            let mut numbers: Vec<u32> = notified(abi).chain(opening(abi).map(|(number, _)| number)).collect();
            let count = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), count, "{abi:?}");
        }
        assert_eq!(action(Abi::I386, 182), Some((Chown, false)));
        assert_eq!(action(Abi::X86_64, 182), None);
    }
}
