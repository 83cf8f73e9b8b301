//! Finished programs: put aside, and searched for paths of this machine.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use oci_layout::Digest;
use oci_layout::digest::{Algorithm, Hasher};
use serde::{Deserialize, Serialize};

use crate::target::TargetPlatform;

/// A program that a compiler has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Which of the image's binaries.
    pub binary: usize,
    /// What it is for.
    pub platform: TargetPlatform,
    /// Where it was put aside: under a name of its content, which no other build replaces.
    pub path: PathBuf,
}

/// What a compiler's output is known by without reading it: equal marks mean equal bytes.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark(Option<String>);

impl Mark {
    /// The state of the file, for compilers that leave what is unchanged alone.
    pub(super) fn of_state(program: &Path) -> std::io::Result<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let m = fs_err::metadata(program)?;
        let times = (m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
        Ok(Self(Some(format!("{} {} {} {times:?}", m.dev(), m.ino(), m.size()))))
    }

    /// Go's own name for the content. Go gives even an unchanged program a new time.
    pub(super) fn of_go(program: &Path) -> std::io::Result<Self> {
        const LOOKED_AT: u64 = 64 << 10;
        let file = fs_err::File::open(program)?;
        let size = file.metadata()?.len();
        let mut start = Vec::new();
        file.take(LOOKED_AT).read_to_end(&mut start)?;
        Ok(Self(build_id(&start).map(|id| format!("{size} {id}"))))
    }
}

/// The ID in an ELF note of Go's (cmd/internal/buildid): hashes of inputs and of the program,
/// which a name that the user chose is not.
fn build_id(start: &[u8]) -> Option<&str> {
    const NAME: &[u8] = b"Go\0\0";
    const TYPE: u32 = 4;
    for at in memchr::memmem::find_iter(start, NAME) {
        let word = |back: usize| -> Option<[u8; 4]> { start.get(at.checked_sub(back)?..)?.get(..4)?.try_into().ok() };
        let (Some(name), Some(size), Some(kind)) = (word(12), word(8), word(4)) else { continue };
        let read: fn([u8; 4]) -> u32 = match name {
            [4, 0, 0, 0] => u32::from_le_bytes,
            [0, 0, 0, 4] => u32::from_be_bytes,
            _ => continue,
        };
        let text = start.get(at + NAME.len()..).and_then(|rest| rest.get(..usize::try_from(read(size)).ok()?));
        let text = text.and_then(|text| std::str::from_utf8(text).ok());
        let is_hash =
            |part: &str| part.len() == 20 && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if read(kind) == TYPE
            && let Some(text) = text
            && text.split('/').count() == 4
            && text.split('/').all(is_hash)
        {
            return Some(text);
        }
    }
    None
}

/// A program that was put aside.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Aside {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Paths of this machine in it.
    pub(super) found: Vec<String>,
}

/// What is known of a program that was put aside.
#[derive(Serialize, Deserialize)]
struct Note {
    mark: String,
    digest: String,
    size: u64,
    needles: String,
    found: Vec<String>,
}

/// How long a program stays that no build has asked for: longer than any build takes.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Copies a program to where no compiler overwrites it, and searches it on the way. Nothing
/// happens where there is such a copy of the same program. One caller at a time for a `name` in
/// `directory`.
///
/// The copy's directory is named by its content: another build that makes another program of this
/// name does not take it away from one that is still to be read. It is not the compiler's file
/// under another name, because linkers and strip may write into theirs.
pub(super) fn put_aside(
    program: &Path,
    directory: &Path,
    name: &str,
    search: &LocalPaths,
    mark: &Mark,
) -> std::io::Result<Aside> {
    let note = directory.join(format!("{name}.mark"));
    let needles = Digest::of(search.needles.join(&0).as_slice()).hex();
    let at = |digest: &str| directory.join(digest).join(name);
    if let Some(mark) = &mark.0
        && let Some(known) = fs_err::read(&note).ok().and_then(|text| serde_json::from_slice::<Note>(&text).ok())
        && (&known.mark, &known.needles) == (mark, &needles)
        && known.digest.bytes().all(|byte| byte.is_ascii_hexdigit())
        && fs_err::metadata(at(&known.digest)).is_ok_and(|found| found.is_file() && found.len() == known.size)
    {
        let path = at(&known.digest);
        // It is wanted still.
        let _ = path.parent().map(std::fs::File::open).transpose()?.map(|it| it.set_modified(SystemTime::now()));
        return Ok(Aside { path, found: known.found });
    }
    let mut program = fs_err::File::open(program)?;
    fs_err::create_dir_all(directory)?;
    // Readable for the user alone until it is an image's content with a mode of its own.
    let mut temporary = tempfile::NamedTempFile::new_in(directory)?;
    let (mut size, mut hasher) = (0, Hasher::new(Algorithm::Sha256));
    let found = search.search(&mut program, |piece| {
        size += piece.len() as u64;
        hasher.update(piece);
        temporary.write_all(piece)
    })?;
    let digest = hasher.finish().short();
    let path = at(&digest);
    fs_err::create_dir_all(directory.join(&digest))?;
    temporary.persist(&path).map_err(|error| error.error)?;
    if let Some(mark) = &mark.0 {
        let known = Note { mark: mark.clone(), digest: digest.clone(), size, needles, found: found.clone() };
        let mut temporary = tempfile::NamedTempFile::new_in(directory)?;
        temporary.write_all(&serde_json::to_vec(&known).unwrap_or_default())?;
        temporary.persist(note).map_err(|error| error.error)?;
    }
    remove_older(directory, name, &digest);
    Ok(Aside { path, found })
}

/// Removes copies that no build has asked for in a long time. What cannot be removed stays.
fn remove_older(directory: &Path, name: &str, digest: &str) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let is_old = |at: SystemTime| at.elapsed().is_ok_and(|age| age > KEPT);
        if entry.file_name() != digest
            && entry.path().join(name).is_file()
            && entry.metadata().and_then(|entry| entry.modified()).is_ok_and(is_old)
        {
            let _ = std::fs::remove_file(entry.path().join(name));
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}

/// Paths of this machine that a program should not hold.
#[derive(Debug, Default)]
pub(super) struct LocalPaths {
    /// Sorted, none below another.
    needles: Vec<Vec<u8>>,
}

/// Most findings that are told for one program.
const FINDINGS: usize = 3;
/// Longest path that is shown.
const SHOWN: usize = 240;

impl LocalPaths {
    /// These, as far as they are directories that say something of this machine.
    pub(super) fn new<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        use std::os::unix::ffi::OsStrExt as _;
        let mut needles: Vec<Vec<u8>> = paths
            .into_iter()
            .filter(|path| path.is_absolute() && path.parent().is_some())
            .map(|path| path.as_os_str().as_bytes().strip_suffix(b"/").unwrap_or(path.as_os_str().as_bytes()).to_vec())
            .collect();
        needles.sort();
        // What is below another is found with it.
        needles.dedup_by(|later, earlier| {
            later.strip_prefix(earlier.as_slice()).is_some_and(|below| below.is_empty() || below[0] == b'/')
        });
        Self { needles }
    }

    /// Reads all of `source`, hands on what is read, and returns paths that were found.
    fn search(
        &self,
        source: &mut impl Read,
        mut pass_on: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> std::io::Result<Vec<String>> {
        const PIECE: usize = 1 << 20;
        let finders: Vec<_> = self.needles.iter().map(memchr::memmem::Finder::new).collect();
        let keep = self.needles.iter().map(Vec::len).max().unwrap_or(0) + SHOWN + 1;
        let mut found: Vec<String> = Vec::new();
        // A stretch of what came before stays in front, so that nothing is cut in two.
        let (mut buffer, mut kept) = (vec![0; PIECE + keep], 0);
        loop {
            let mut filled = kept;
            while filled < buffer.len() {
                match source.read(&mut buffer[filled..]) {
                    Ok(0) => break,
                    Ok(length) => filled += length,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            pass_on(&buffer[kept..filled])?;
            let is_last = filled < buffer.len();
            let text = &buffer[..filled];
            for finder in &finders {
                for at in finder.find_iter(text) {
                    // What may be cut at the end comes again with the next piece; its first byte
                    // here is only what stands in front.
                    let is_whole = is_last || at <= filled - keep;
                    let is_new = kept == 0 || at > 0;
                    if is_whole && is_new && found.len() < FINDINGS && is_a_path(text, at, finder.needle().len()) {
                        let path = shown(&text[at..]);
                        if !found.contains(&path) {
                            found.push(path);
                        }
                    }
                }
            }
            if is_last {
                return Ok(found);
            }
            kept = keep;
            buffer.copy_within(filled - kept..filled, 0);
        }
    }
}

/// A short path (`/src`) also stands in the middle of others, or begins them; only where no name
/// goes on in front of it or behind it is it one of its own.
fn is_a_path(text: &[u8], at: usize, length: usize) -> bool {
    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let is_apart = |byte: Option<&u8>| byte.is_none_or(|byte| !in_name(byte));
    length > 12 || is_apart(at.checked_sub(1).and_then(|before| text.get(before))) && is_apart(text.get(at + length))
}

fn shown(text: &[u8]) -> String {
    let ends = |byte: &u8| !byte.is_ascii_graphic() || b"\"'`<>|,;:".contains(byte);
    let end = text.iter().position(ends).unwrap_or(text.len()).min(SHOWN);
    // Rust puts texts side by side with nothing between them; most are names of source files.
    let source = memchr::memmem::find(&text[..end], b".rs").map(|at| at + 3);
    String::from_utf8_lossy(&text[..source.unwrap_or(end)]).into_owned()
}

/// The crate whose sources a path is in, by the directory that cargo unpacked it to.
pub(super) fn crate_of(path: &str) -> Option<&str> {
    let (_, below) = path.split_once("/registry/src/")?;
    below.split('/').nth(1).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(paths: &[&str], text: &[u8]) -> Vec<String> {
        let mut copy = Vec::new();
        let found = LocalPaths::new(paths.iter().map(Path::new))
            .search(&mut &text[..], |piece| {
                copy.extend_from_slice(piece);
                Ok(())
            })
            .unwrap();
        assert_eq!(copy, text, "everything is handed on, once");
        found
    }

    #[test]
    fn paths_are_found_and_shown_to_their_end() {
        let text = b"\0/home/ann/.cargo/registry/src/x-1/serde-1.0/src/de.rs\0 /home/annabel/ /home/ann/w/a.rsuse";
        let found = find(&["/home/ann", "/home/ann/.cargo", "/"], text);
        assert_eq!(found, ["/home/ann/.cargo/registry/src/x-1/serde-1.0/src/de.rs", "/home/ann/w/a.rs"]);
        assert_eq!(crate_of(&found[0]), Some("serde-1.0"));
        assert_eq!(crate_of(&found[1]), None);
    }

    #[test]
    fn short_paths_are_not_seen_within_others() {
        assert!(find(&["/src"], b"/rustc/0/library/std/src/lib.rs").is_empty());
        assert_eq!(find(&["/src"], b"\0/src/main.rs\0"), ["/src/main.rs"]);
    }

    #[test]
    fn nothing_is_lost_between_pieces() {
        let secret = b"/home/ann/secret.rs";
        for at in ((1 << 20) - 30..(1 << 20) + 300).step_by(3) {
            let mut text = vec![0; (1 << 20) + 700];
            text[at..at + secret.len()].copy_from_slice(secret);
            assert_eq!(find(&["/home/ann"], &text), ["/home/ann/secret.rs"], "{at}");
        }
    }

    #[test]
    fn c02_another_program_does_not_take_the_first_away() {
        let directory = tempfile::tempdir().unwrap();
        let (program, aside) = (directory.path().join("a"), directory.path().join("deep"));
        let put = |content: &str| {
            fs_err::write(&program, content).unwrap();
            put_aside(&program, &aside, "b", &LocalPaths::default(), &Mark(None)).unwrap().path
        };
        let read = |path: &Path| fs_err::read_to_string(path).unwrap();
        let (first, second) = (put("one"), put("two!"));
        assert_eq!((read(&first).as_str(), read(&second).as_str()), ("one", "two!"));
        assert_eq!(put("one"), first);
        // What nobody has asked for in days goes with the next one.
        let old = SystemTime::now() - 3 * KEPT;
        std::fs::File::open(second.parent().unwrap()).unwrap().set_modified(old).unwrap();
        let third = put("three");
        assert!(first.exists() && third.exists() && !second.exists());
        assert_eq!(fs_err::read_dir(&aside).unwrap().count(), 2, "no temporary files");
    }

    #[test]
    fn a_program_with_the_same_mark_is_left_alone_and_its_findings_are_told_again() {
        use std::os::unix::fs::MetadataExt as _;
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("a");
        let local = LocalPaths::new([Path::new("/home/ann")]);
        let put = |mark: &str, local: &LocalPaths| {
            let aside = put_aside(&program, directory.path(), "b", local, &Mark(Some(mark.to_owned()))).unwrap();
            (aside.found, fs_err::metadata(&aside.path).unwrap().ino(), aside.path)
        };
        fs_err::write(&program, "/home/ann/x.rs").unwrap();
        let first = put("1", &local);
        assert_eq!(first.0, ["/home/ann/x.rs"]);
        assert_eq!(put("1", &local), first);
        // Other paths are looked for; another program; a copy that was cut.
        let second = put("1", &LocalPaths::default());
        assert_eq!(second.0, [""; 0]);
        assert_ne!(put("2", &local).1, second.1);
        fs_err::write(&first.2, "cut").unwrap();
        assert_eq!(put("2", &local).2, first.2);
        assert_eq!(fs_err::read_to_string(&first.2).unwrap(), "/home/ann/x.rs");
    }

    #[test]
    fn gos_own_name_of_a_program_is_read_in_both_byte_orders() {
        let id = ["a1-_bcdefghijklmnopq"; 4].join("/");
        let note = |numbers: [[u8; 4]; 3], id: &str| {
            let mut start = b"\x7fELF....Go\0\0".to_vec();
            numbers.iter().for_each(|number| start.extend(number));
            start.extend(b"Go\0\0");
            start.extend(id.as_bytes());
            start
        };
        let numbers = |length: usize| [4, length as u32, 4];
        let little = |id: &str| note(numbers(id.len()).map(u32::to_le_bytes), id);
        assert_eq!(build_id(&little(&id)), Some(id.as_str()));
        assert_eq!(build_id(&note(numbers(id.len()).map(u32::to_be_bytes), &id)), Some(id.as_str()));
        // A name that somebody chose says nothing about the content.
        for other in ["mine", "a/b/c/d", &["a1-_bcdefghijklmnopq"; 3].join("/")] {
            assert_eq!(build_id(&little(other)), None);
        }
        for end in 0..little(&id).len() {
            assert_eq!(build_id(&little(&id)[..end]), None);
        }
    }
}
