//! Numbers of the system calls that a sandbox refuses or answers itself, for each kind of program that can run natively
//! on the systems that mab runs on. Numbers are for ever: each is the kernel's own.

/// A way to make system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "a system runs two of them; tests look at all")]
pub(super) enum Abi {
    /// Programs for amd64.
    X86_64,
    /// Programs for 386, which amd64's kernels run too.
    I386,
    /// Programs for arm64.
    Aarch64,
    /// Programs for arm, which some arm64 systems run too.
    Arm,
}

impl Abi {
    /// Those that this system may run.
    #[cfg(target_arch = "x86_64")]
    pub(super) const NATIVE: &[Self] = &[Self::X86_64, Self::I386];
    /// Those that this system may run.
    #[cfg(target_arch = "aarch64")]
    pub(super) const NATIVE: &[Self] = &[Self::Aarch64, Self::Arm];

    /// As the kernel's audit calls it: the ELF machine, with marks for 64 bits and little-endian.
    pub(super) fn audit(self) -> u32 {
        const LITTLE_ENDIAN: u32 = 0x4000_0000;
        const BITS_64: u32 = 0x8000_0000;
        match self {
            Self::X86_64 => 62 | BITS_64 | LITTLE_ENDIAN,
            Self::I386 => 3 | LITTLE_ENDIAN,
            Self::Aarch64 => 183 | BITS_64 | LITTLE_ENDIAN,
            Self::Arm => 40 | LITTLE_ENDIAN,
        }
    }

    fn column(self) -> usize {
        self as usize
    }

    /// The number of a call in the table.
    pub(super) fn number(self, call: &Call) -> Option<u32> {
        Some(call.1[self.column()]).filter(|number| *number != NONE)
    }
}

/// A system call that is not there.
pub(super) const NONE: u32 = u32::MAX;

/// A system call: its name and its number for amd64, 386, arm64 and arm.
pub(super) struct Call(
    #[allow(dead_code, reason = "for those who read the table, and for tests")] pub(super) &'static str,
    pub(super) [u32; 4],
);

pub(super) const CLONE: Call = Call("clone", [56, 120, 220, 120]);
pub(super) const CLONE3: Call = Call("clone3", [435, 435, 435, 435]);
pub(super) const UNSHARE: Call = Call("unshare", [272, 310, 97, 337]);
pub(super) const IOCTL: Call = Call("ioctl", [16, 54, 29, 54]);
pub(super) const SOCKET: Call = Call("socket", [41, 359, 198, 281]);

/// What is refused whatever its arguments are: what changes mounts, namespaces, the kernel or the
/// clock, what reads or writes other processes, and what is known as a way out of sandboxes.
pub(super) const REFUSED: &[Call] = &[
    Call("_sysctl", [156, 149, NONE, 149]),
    Call("acct", [163, 51, 89, 51]),
    Call("add_key", [248, 286, 217, 309]),
    Call("adjtimex", [159, 124, 171, 124]),
    Call("bpf", [321, 357, 280, 386]),
    Call("clock_adjtime", [305, 343, 266, 372]),
    Call("clock_settime", [227, 264, 112, 262]),
    Call("clock_settime64", [NONE, 404, NONE, 404]),
    Call("create_module", [174, 127, NONE, NONE]),
    Call("delete_module", [176, 129, 106, 129]),
    Call("fanotify_init", [300, 338, 262, 367]),
    Call("finit_module", [313, 350, 273, 379]),
    Call("fsconfig", [431, 431, 431, 431]),
    Call("fsmount", [432, 432, 432, 432]),
    Call("fsopen", [430, 430, 430, 430]),
    Call("fspick", [433, 433, 433, 433]),
    Call("get_kernel_syms", [177, 130, NONE, NONE]),
    Call("init_module", [175, 128, 105, 128]),
    Call("io_uring_enter", [426, 426, 426, 426]),
    Call("io_uring_register", [427, 427, 427, 427]),
    Call("io_uring_setup", [425, 425, 425, 425]),
    Call("ioperm", [173, 101, NONE, NONE]),
    Call("iopl", [172, 110, NONE, NONE]),
    Call("kcmp", [312, 349, 272, 378]),
    Call("kexec_file_load", [320, NONE, 294, 401]),
    Call("kexec_load", [246, 283, 104, 347]),
    Call("keyctl", [250, 288, 219, 311]),
    Call("lookup_dcookie", [212, 253, 18, 249]),
    Call("mount", [165, 21, 40, 21]),
    Call("mount_setattr", [442, 442, 442, 442]),
    Call("move_mount", [429, 429, 429, 429]),
    Call("nfsservctl", [180, 169, 42, 169]),
    Call("open_by_handle_at", [304, 342, 265, 371]),
    Call("open_tree", [428, 428, 428, 428]),
    Call("open_tree_attr", [467, 467, 467, 467]),
    Call("perf_event_open", [298, 336, 241, 364]),
    Call("pidfd_getfd", [438, 438, 438, 438]),
    Call("pivot_root", [155, 217, 41, 218]),
    Call("process_madvise", [440, 440, 440, 440]),
    Call("process_vm_readv", [310, 347, 270, 376]),
    Call("process_vm_writev", [311, 348, 271, 377]),
    Call("ptrace", [101, 26, 117, 26]),
    Call("query_module", [178, 167, NONE, NONE]),
    Call("quotactl", [179, 131, 60, 131]),
    Call("quotactl_fd", [443, 443, 443, 443]),
    Call("reboot", [169, 88, 142, 88]),
    Call("request_key", [249, 287, 218, 310]),
    Call("setns", [308, 346, 268, 375]),
    Call("settimeofday", [164, 79, 170, 79]),
    Call("stime", [NONE, 25, NONE, 25]),
    Call("swapoff", [168, 115, 225, 115]),
    Call("swapon", [167, 87, 224, 87]),
    Call("syslog", [103, 103, 116, 103]),
    Call("umount", [NONE, 22, NONE, 22]),
    Call("umount2", [166, 52, 39, 52]),
    Call("uselib", [134, 86, NONE, 86]),
    Call("userfaultfd", [323, 374, 282, 388]),
    Call("vhangup", [153, 111, 58, 111]),
];

/// What waits until files are on the disk. A sandbox's files are kept as a whole after its program has ended
/// or not at all, so these succeed and do nothing: package managers make thousands of such calls, and `sync`
/// would wait for what everybody else on this machine has written.
pub(super) const FLUSHING: &[Call] = &[
    Call("fdatasync", [75, 148, 83, 148]),
    Call("fsync", [74, 118, 82, 118]),
    Call("sync", [162, 36, 81, 36]),
    Call("sync_file_range", [277, 314, 84, NONE]),
    Call("sync_file_range2", [NONE, NONE, NONE, 341]),
    Call("syncfs", [306, 344, 267, 373]),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the C library's own numbers are at hand, the table has the same.
    #[test]
    fn numbers_are_the_kernels() {
        let known = [
            ("add_key", libc::SYS_add_key),
            ("bpf", libc::SYS_bpf),
            ("keyctl", libc::SYS_keyctl),
            ("mount", libc::SYS_mount),
            ("open_by_handle_at", libc::SYS_open_by_handle_at),
            ("perf_event_open", libc::SYS_perf_event_open),
            ("pivot_root", libc::SYS_pivot_root),
            ("process_vm_writev", libc::SYS_process_vm_writev),
            ("ptrace", libc::SYS_ptrace),
            ("setns", libc::SYS_setns),
            ("umount2", libc::SYS_umount2),
            ("userfaultfd", libc::SYS_userfaultfd),
            ("fdatasync", libc::SYS_fdatasync),
            ("fsync", libc::SYS_fsync),
            ("sync", libc::SYS_sync),
            ("sync_file_range", libc::SYS_sync_file_range),
            ("syncfs", libc::SYS_syncfs),
            ("clone", libc::SYS_clone),
            ("clone3", libc::SYS_clone3),
            ("unshare", libc::SYS_unshare),
            ("ioctl", libc::SYS_ioctl),
            ("socket", libc::SYS_socket),
        ];
        let all = || REFUSED.iter().chain(FLUSHING).chain([&CLONE, &CLONE3, &UNSHARE, &IOCTL, &SOCKET]);
        for (name, number) in known {
            let call = all().find(|call| call.0 == name).unwrap();
            assert_eq!(Abi::NATIVE[0].number(call).map(libc::c_long::from), Some(number), "{name}");
        }
    }

    #[test]
    fn no_number_stands_twice() {
        for abi in [Abi::X86_64, Abi::I386, Abi::Aarch64, Abi::Arm] {
            let mut numbers: Vec<u32> = REFUSED.iter().chain(FLUSHING).filter_map(|call| abi.number(call)).collect();
            let count = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), count, "{abi:?}");
        }
    }
}
