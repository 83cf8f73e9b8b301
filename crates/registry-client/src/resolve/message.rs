//! DNS messages, as much as asking for addresses takes (RFC 1035, section 4).

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::net::IpAddr;

/// Most links of a chain of CNAMEs that are followed.
const MAX_CHAIN: usize = 16;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    A = 1,
    Aaaa = 28,
}

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Addresses(Vec<IpAddr>),
    NoSuchName,
    /// To be asked again over TCP.
    Truncated,
    /// Another response code.
    Failed(u8),
}

/// Whether `name` can be asked for: labels of 1 to 63 bytes, 253 in all.
pub(super) fn is_name(name: &str) -> bool {
    let valid = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| (1..=63).contains(&label.len()) && label.bytes().all(valid))
}

/// A question with its random ID. `name` satisfies [`is_name`].
pub(super) fn question(name: &str, kind: Kind) -> (u16, Vec<u8>) {
    // The standard library's hasher is keyed from the system's randomness.
    let id = RandomState::new().build_hasher().finish() as u16;
    let mut message = Vec::with_capacity(18 + name.len());
    message.extend_from_slice(&id.to_be_bytes());
    // Recursion desired; one question.
    message.extend_from_slice(&[0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, kind as u8, 0, 1]);
    (id, message)
}

/// Reads an answer to that question; `None` for what is none.
pub(super) fn reply(message: &[u8], id: u16, name: &str, kind: Kind) -> Option<Reply> {
    let word = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
    let is_response = message.get(2)? & 0x80 != 0;
    if word(0)? != id || !is_response || word(4)? != 1 {
        return None;
    }
    let (asked, mut at) = read_name(message, 12)?;
    if asked != name || word(at)? != kind as u16 {
        return None;
    }
    at += 4;
    if message.get(2)? & 0x02 != 0 {
        return Some(Reply::Truncated);
    }
    match message.get(3)? & 0x0f {
        0 => {}
        3 => return Some(Reply::NoSuchName),
        code => return Some(Reply::Failed(code)),
    }
    let mut aliases = Vec::new();
    let mut found = Vec::new();
    for _ in 0..word(6)? {
        let (owner, after) = read_name(message, at)?;
        let (record, length) = (word(after)?, usize::from(word(after + 8)?));
        let start = after + 10;
        let data = message.get(start..start + length)?;
        match record {
            1 if kind == Kind::A => found.push((owner, IpAddr::from(<[u8; 4]>::try_from(data).ok()?))),
            28 if kind == Kind::Aaaa => found.push((owner, IpAddr::from(<[u8; 16]>::try_from(data).ok()?))),
            5 => aliases.push((owner, read_name(message, start)?.0)),
            _ => {}
        }
        at = start + length;
    }
    // Only what belongs to the name counts, through its aliases.
    let mut current = name.to_owned();
    for _ in 0..MAX_CHAIN {
        match aliases.iter().find(|(owner, _)| *owner == current) {
            Some((_, target)) => current.clone_from(target),
            None => break,
        }
    }
    let addresses = found.into_iter().filter(|(owner, _)| *owner == current).map(|(_, address)| address);
    Some(Reply::Addresses(addresses.take(64).collect()))
}

/// A name at `at`, in lower case, and where it ends. Pointers lead backwards only, so that no
/// message can lead in a circle.
fn read_name(message: &[u8], at: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    let mut position = at;
    let mut end = None;
    loop {
        let length = usize::from(*message.get(position)?);
        match length {
            0 => return Some((name, end.unwrap_or(position + 1))),
            1..=63 => {
                let label = message.get(position + 1..position + 1 + length)?;
                if !name.is_empty() {
                    name.push('.');
                }
                name.extend(label.iter().map(|b| char::from(b.to_ascii_lowercase())));
                if name.len() > 512 {
                    return None;
                }
                position += 1 + length;
            }
            0xc0.. => {
                let target = (length & 0x3f) << 8 | usize::from(*message.get(position + 1)?);
                end.get_or_insert(position + 2);
                if target >= position {
                    return None;
                }
                position = target;
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer: the question's own bytes, then records with raw data.
    fn answer(question: &[u8], flags: [u8; 2], records: &[(&[u8], u16, &[u8])]) -> Vec<u8> {
        let mut message = question.to_vec();
        message[2..4].copy_from_slice(&flags);
        message[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
        for (owner, kind, data) in records {
            message.extend_from_slice(owner);
            message.extend_from_slice(&kind.to_be_bytes());
            message.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
            message.extend_from_slice(&(data.len() as u16).to_be_bytes());
            message.extend_from_slice(data);
        }
        message
    }

    const ASKED: &[u8] = &[0xc0, 12];

    #[test]
    fn addresses_are_found_through_aliases() {
        let (id, question) = question("r.example", Kind::A);
        let alias: &[u8] = b"\x01b\x07example\x00";
        let message = answer(
            &question,
            [0x81, 0x80],
            &[(ASKED, 5, alias), (alias, 1, &[10, 0, 0, 1]), (b"\x04evil\x00", 1, &[6, 6, 6, 6])],
        );
        let found = reply(&message, id, "r.example", Kind::A);
        assert_eq!(found, Some(Reply::Addresses(vec!["10.0.0.1".parse().unwrap()])));
        assert_eq!(reply(&message, id.wrapping_add(1), "r.example", Kind::A), None);
        assert_eq!(reply(&message, id, "other.example", Kind::A), None);
        assert_eq!(reply(&message, id, "r.example", Kind::Aaaa), None);
    }

    #[test]
    fn codes_and_truncation_are_seen() {
        let (id, question) = question("r.example", Kind::A);
        let read = |flags| reply(&answer(&question, flags, &[]), id, "r.example", Kind::A);
        assert_eq!(read([0x81, 0x83]), Some(Reply::NoSuchName));
        assert_eq!(read([0x81, 0x82]), Some(Reply::Failed(2)));
        assert_eq!(read([0x83, 0x80]), Some(Reply::Truncated));
        assert_eq!(read([0x81, 0x80]), Some(Reply::Addresses(Vec::new())));
        assert_eq!(read([0x01, 0x80]), None, "a question, not an answer");
    }

    #[test]
    fn loops_end() {
        let (id, question) = question("r.example", Kind::A);
        let own: &[u8] = &[0xc0, question.len() as u8];
        assert_eq!(reply(&answer(&question, [0x81, 0x80], &[(own, 1, &[1, 2, 3, 4])]), id, "r.example", Kind::A), None);
        let circle = answer(&question, [0x81, 0x80], &[(ASKED, 5, ASKED)]);
        assert_eq!(reply(&circle, id, "r.example", Kind::A), Some(Reply::Addresses(Vec::new())));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, tail: Vec<u8>) {
            let _ = reply(&bytes, 7, "r.example", Kind::A);
            let (id, question) = question("r.example", Kind::A);
            let mut message = answer(&question, [0x81, 0x80], &[]);
            message[7] = 3;
            message.extend_from_slice(&tail);
            let _ = reply(&message, id, "r.example", Kind::A);
        }
    }
}
