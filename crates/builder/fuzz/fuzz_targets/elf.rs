//! Bytes of a file: its facts are read or refused, by either way of reading, and come back from
//! their document as they were.
#![no_main]

use builder::check::elf::{ElfFacts, FileFacts};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let at_once = ElfFacts::read(data);
    let (start, mut rest) = data.split_at(data.len().min(256));
    let in_passing = FileFacts::read(start, data.len() as u64, 0o755, &mut rest).expect("memory can be read");
    if let (Ok(facts), true) = (&at_once, data.starts_with(b"\x7fELF")) {
        assert_eq!(in_passing, Some(FileFacts::Elf(Box::new(facts.clone()))));
    }
    if let Some(facts) = in_passing {
        let value = serde_json::to_value(&facts).expect("facts are JSON");
        assert_eq!(FileFacts::of(&value), Some(facts));
    }
});
