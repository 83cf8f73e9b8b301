//! The build attributes of 32-bit ARM that matter here: how floating-point arguments are passed,
//! and the architecture that a file is compiled for.
//!
//! "Addenda to, and Errata in, the ABI for the Arm Architecture", 2.2 and 2.3: a version byte,
//! then sections (length, vendor name), in each sub-sections (tag, length), in each attributes
//! of a ULEB128 tag with a number or a text.

use crate::target::FloatAbi;

const TAG_FILE: u64 = 1;
const TAG_ABI_VFP_ARGS: u64 = 28;
const TAG_CPU_ARCH: u64 = 6;

/// What `.ARM.attributes` says; nothing where it does not, or cannot be understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArmAttributes {
    /// How floating-point arguments are passed.
    pub float: Option<FloatAbi>,
    /// `Tag_CPU_arch`.
    pub architecture: Option<u8>,
}

/// Reads the section. Whatever it holds, it ends.
pub fn read(attributes: &[u8], little_endian: bool) -> ArmAttributes {
    let mut found = ArmAttributes::default();
    let _ = sections(attributes, little_endian, &mut found);
    found
}

fn sections(attributes: &[u8], little_endian: bool, found: &mut ArmAttributes) -> Option<()> {
    let mut rest = attributes.strip_prefix(b"A")?;
    while !rest.is_empty() {
        let (section, behind) = rest.split_at_checked(length_at(rest, 0, little_endian)?)?;
        rest = behind;
        let Some(body) = section.get(4..).and_then(|section| section.strip_prefix(b"aeabi\0")) else { continue };
        in_public_section(body, little_endian, found)?;
    }
    Some(())
}

fn in_public_section(mut body: &[u8], little_endian: bool, found: &mut ArmAttributes) -> Option<()> {
    while !body.is_empty() {
        let mut cursor = body;
        let tag = uleb128(&mut cursor)?;
        let at = body.len() - cursor.len();
        let (section, behind) = body.split_at_checked(length_at(body, at, little_endian)?)?;
        body = behind;
        if tag == TAG_FILE {
            return in_file_section(section.get(at + 4..)?, found);
        }
    }
    Some(())
}

fn in_file_section(mut attributes: &[u8], found: &mut ArmAttributes) -> Option<()> {
    // The default is the base variant, but compilers write it out for what has floating point
    // at all; a file that says nothing proves nothing.
    while !attributes.is_empty() {
        let tag = uleb128(&mut attributes)?;
        match tag {
            // A number and a text.
            32 => {
                uleb128(&mut attributes)?;
                text(&mut attributes)?;
            }
            // CPU_raw_name, CPU_name, and odd tags above 32 are texts.
            4 | 5 => text(&mut attributes)?,
            tag if tag > 32 && tag % 2 == 1 => text(&mut attributes)?,
            TAG_ABI_VFP_ARGS => {
                found.float = match uleb128(&mut attributes)? {
                    0 => Some(FloatAbi::Soft),
                    1 => Some(FloatAbi::Hard),
                    _ => None,
                };
            }
            TAG_CPU_ARCH => found.architecture = u8::try_from(uleb128(&mut attributes)?).ok(),
            _ => {
                uleb128(&mut attributes)?;
            }
        }
    }
    Some(())
}

/// A length that counts itself and, with it, at least what stands before it.
fn length_at(bytes: &[u8], at: usize, little_endian: bool) -> Option<usize> {
    let field: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    let length = if little_endian { u32::from_le_bytes(field) } else { u32::from_be_bytes(field) } as usize;
    (length >= at + 4).then_some(length)
}

fn uleb128(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn text(bytes: &mut &[u8]) -> Option<()> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    *bytes = &bytes[end + 1..];
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As GCC writes it for armv7 hard float: `readelf -A` of its `crt1.o`.
    fn gcc(vfp_args: &[u8]) -> Vec<u8> {
        let mut attributes = vec![5];
        attributes.extend_from_slice(b"7-A\0");
        attributes.extend_from_slice(&[6, 10, 7, b'A', 8, 1, 9, 2, 10, 4]);
        attributes.extend_from_slice(vfp_args);
        attributes.extend_from_slice(&[30, 2, 34, 1]);
        let mut file = vec![1];
        file.extend_from_slice(&(attributes.len() as u32 + 5).to_le_bytes());
        file.extend_from_slice(&attributes);
        let mut section = b"A".to_vec();
        section.extend_from_slice(&(file.len() as u32 + 10).to_le_bytes());
        section.extend_from_slice(b"aeabi\0");
        section.extend_from_slice(&file);
        section
    }

    fn float_abi(attributes: &[u8], little_endian: bool) -> Option<FloatAbi> {
        read(attributes, little_endian).float
    }

    #[test]
    fn the_architecture_is_found() {
        assert_eq!(read(&gcc(&[28, 1]), true).architecture, Some(10));
        assert_eq!(read(&gcc(&[]), true).architecture, Some(10));
        assert_eq!(read(&gcc(&[28, 1])[..30], true).architecture, None);
    }

    #[test]
    fn the_argument_registers_are_found() {
        assert_eq!(float_abi(&gcc(&[28, 1]), true), Some(FloatAbi::Hard));
        assert_eq!(float_abi(&gcc(&[28, 0]), true), Some(FloatAbi::Soft));
        assert_eq!(float_abi(&gcc(&[28, 3]), true), None);
        assert_eq!(float_abi(&gcc(&[]), true), None);
        assert_eq!(float_abi(&gcc(&[28, 1]), false), None, "the wrong byte order makes no sense");
    }

    #[test]
    fn cut_or_bent_it_says_nothing_or_something_but_ends() {
        let whole = gcc(&[28, 1]);
        for length in 0..whole.len() {
            let _ = float_abi(&whole[..length], true);
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bent = whole.clone();
                bent[length] = value;
                let _ = float_abi(&bent, true);
            }
        }
    }
}
