//! Device nodes, which ordinary users cannot make: an empty file stands in the place of each, with a note.

use std::ffi::CStr;

/// The attribute: `b` or `c`, and two numbers.
pub(in crate::sandbox::step) const NOTE: &CStr = c"user.mab.device";

/// A device as it is noted.
pub(in crate::sandbox::step) fn note(block: bool, major: u32, minor: u32) -> String {
    format!("{} {major} {minor}", if block { 'b' } else { 'c' })
}

/// Whether a note means a device of blocks, and its numbers.
pub(in crate::sandbox::step) fn parse(note: &[u8]) -> Option<(bool, u32, u32)> {
    let mut words = std::str::from_utf8(note).ok()?.split(' ');
    let block = match words.next()? {
        "b" => true,
        "c" => false,
        _ => return None,
    };
    let (major, minor) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some((block, major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_of_devices_are_read_as_they_are_written() {
        assert_eq!(parse(note(false, 1, 3).as_bytes()), Some((false, 1, 3)));
        assert_eq!(parse(note(true, 259, 70_000).as_bytes()), Some((true, 259, 70_000)));
        for odd in ["", "c", "c 1", "d 1 2", "c 1 2 3", "c -1 2"] {
            assert_eq!(parse(odd.as_bytes()), None, "{odd:?}");
        }
    }
}
