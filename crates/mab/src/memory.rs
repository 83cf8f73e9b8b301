//! How the C library's allocator keeps memory that is not used any more.
//!
//! By itself glibc gives each thread an arena of its own and takes blocks of up to 32 MiB from it once one
//! of that size was freed: five base layers that are read side by side then keep five times the largest
//! file that was looked into, for good. Two arenas, and large blocks that go back to the system at once, halve
//! mab's peak and cost no time that could be measured (docs/performance.md).

/// Blocks of this many bytes are the system's own. Above what the writer of layers takes and gives back for
/// each of its blocks.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 2 << 20;

/// To be called before there are threads.
pub(crate) fn keep_little() {
    #[cfg(target_env = "gnu")]
    for (what, value) in [(libc::M_ARENA_MAX, 2), (libc::M_MMAP_THRESHOLD, LARGE)] {
        // SAFETY: two numbers; nothing else runs yet.
        #[allow(unsafe_code, reason = "the C library has no other way")]
        unsafe {
            libc::mallopt(what, value);
        }
    }
}
