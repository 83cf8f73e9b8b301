//! What `stat` and its kin say of a file, in the forms that programs of each kind expect.

use crate::sandbox::syscalls::Abi;

/// Bytes of the kernel's `struct statx`.
pub(super) const STATX: usize = 256;

/// What `statx` has said: the kernel's own form, which all others can be made of.
pub(super) struct Status([u8; STATX]);

// Offsets of `struct statx` (linux/stat.h).
const BLOCK_SIZE: usize = 4;
const LINKS: usize = 16;
const USER: usize = 20;
const GROUP: usize = 24;
const MODE: usize = 28;
const NUMBER: usize = 32;
const SIZE: usize = 40;
const BLOCKS: usize = 48;
const ACCESSED: usize = 64;
const CHANGED: usize = 96;
const MODIFIED: usize = 112;
const IS_DEVICE: usize = 128;
const ON_DEVICE: usize = 136;

impl Status {
    pub(super) fn new(statx: [u8; STATX]) -> Self {
        Self(statx)
    }

    fn u32(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.0[at..at + 4]);
        u32::from_ne_bytes(bytes)
    }

    fn u64(&self, at: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[at..at + 8]);
        u64::from_ne_bytes(bytes)
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(super) fn mode(&self) -> u32 {
        self.u32(MODE) & 0xffff
    }

    pub(super) fn set_mode(&mut self, mode: u32) {
        self.put(MODE, &(mode as u16).to_ne_bytes());
    }

    pub(super) fn set_owner(&mut self, user: u32, group: u32) {
        self.put(USER, &user.to_ne_bytes());
        self.put(GROUP, &group.to_ne_bytes());
    }

    pub(super) fn set_device(&mut self, major: u32, minor: u32) {
        self.put(IS_DEVICE, &major.to_ne_bytes());
        self.put(IS_DEVICE + 4, &minor.to_ne_bytes());
    }

    /// As `statx` gives it.
    pub(super) fn statx(&self) -> &[u8] {
        &self.0
    }

    /// As the other calls give it.
    pub(super) fn stat(&self, abi: Abi) -> Vec<u8> {
        let mut out = Form(Vec::new());
        let device = |at: usize| device(self.u32(at), self.u32(at + 4));
        match abi {
            Abi::X86_64 => {
                out.wide(device(ON_DEVICE)).wide(self.u64(NUMBER)).wide(self.u32(LINKS).into());
                out.short(self.mode()).short(self.u32(USER)).short(self.u32(GROUP)).short(0);
                out.wide(device(IS_DEVICE)).wide(self.u64(SIZE)).wide(self.u32(BLOCK_SIZE).into());
                out.wide(self.u64(BLOCKS));
                for time in [ACCESSED, MODIFIED, CHANGED] {
                    out.wide(self.u64(time)).wide(self.u32(time + 8).into());
                }
                out.wide(0).wide(0).wide(0);
            }
            Abi::Aarch64 => {
                out.wide(device(ON_DEVICE)).wide(self.u64(NUMBER)).short(self.mode()).short(self.u32(LINKS));
                out.short(self.u32(USER)).short(self.u32(GROUP)).wide(device(IS_DEVICE)).wide(0);
                out.wide(self.u64(SIZE)).short(self.u32(BLOCK_SIZE)).short(0).wide(self.u64(BLOCKS));
                for time in [ACCESSED, MODIFIED, CHANGED] {
                    out.wide(self.u64(time)).wide(self.u32(time + 8).into());
                }
                out.short(0).short(0);
            }
            // Both are `struct stat64`; arm aligns its wide numbers.
            Abi::I386 | Abi::Arm => {
                let number = self.u64(NUMBER);
                out.wide(device(ON_DEVICE)).short(0).short(number as u32).short(self.mode()).short(self.u32(LINKS));
                out.short(self.u32(USER)).short(self.u32(GROUP)).wide(device(IS_DEVICE)).short(0);
                if abi == Abi::Arm {
                    out.short(0);
                }
                out.wide(self.u64(SIZE)).short(self.u32(BLOCK_SIZE));
                if abi == Abi::Arm {
                    out.short(0);
                }
                out.wide(self.u64(BLOCKS));
                for time in [ACCESSED, MODIFIED, CHANGED] {
                    out.short(self.u64(time) as u32).short(self.u32(time + 8));
                }
                out.wide(number);
            }
        }
        out.0
    }
}

/// A device's number as one.
fn device(major: u32, minor: u32) -> u64 {
    let (major, minor) = (u64::from(major), u64::from(minor));
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12
}

/// Numbers in a row.
struct Form(Vec<u8>);

impl Form {
    fn wide(&mut self, number: u64) -> &mut Self {
        self.0.extend(number.to_ne_bytes());
        self
    }

    fn short(&mut self, number: u32) -> &mut Self {
        self.0.extend(number.to_ne_bytes());
        self
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::sandbox::sys;

    #[test]
    fn a_status_is_what_the_system_says_but_for_what_is_put_in_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "content").unwrap();
        let opened: std::os::fd::OwnedFd = std::fs::File::open(file.path()).unwrap().into();
        let mut status = Status::new(sys::status(&opened, 0, 0x7ff).unwrap());
        let metadata = file.path().metadata().unwrap();
        assert_eq!(status.mode(), metadata.mode());
        status.set_owner(7, 70_000);
        let native = status.stat(Abi::NATIVE[0]);
        let wide = |at: usize| u64::from_ne_bytes(native[at..at + 8].try_into().unwrap());
        let short = |at: usize| u32::from_ne_bytes(native[at..at + 4].try_into().unwrap());
        assert_eq!((wide(0), wide(8)), (metadata.dev(), metadata.ino()));
        assert_eq!((wide(48), native.len()), (7, size_of::<libc::stat>()));
        let (user, group) = if cfg!(target_arch = "x86_64") { (28, 32) } else { (24, 28) };
        assert_eq!((short(user), short(group)), (7, 70_000));
        assert_eq!(wide(88), metadata.mtime().cast_unsigned());
        assert_eq!([Abi::I386, Abi::Arm].map(|abi| status.stat(abi).len()), [96, 104]);
        let for_386 = status.stat(Abi::I386);
        assert_eq!(for_386[24..28], 7_u32.to_ne_bytes());
        assert_eq!(for_386[44..52], 7_u64.to_ne_bytes());
        assert_eq!(for_386[88..], metadata.ino().to_ne_bytes());
    }
}
