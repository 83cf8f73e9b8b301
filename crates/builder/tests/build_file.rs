//! The corpus of bad build files, and the generated documents.
//!
//! `MAB_UPDATE=1 cargo test -p builder --test build_file` writes what is generated anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use builder::spec::{Diagnostics, Overrides, Problem, parse_bytes, schema};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The files of a directory below `testdata`, by name.
fn files(directory: &str) -> Vec<(String, Vec<u8>)> {
    let mut list: Vec<(String, Vec<u8>)> = fs_err::read_dir(repository().join("testdata").join(directory))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs_err::read(&path).unwrap()))
        .collect();
    list.sort();
    list
}

fn parse(name: &str, bytes: &[u8]) -> Option<Diagnostics> {
    parse_bytes(Path::new(name), bytes, &Overrides::default()).err()
}

/// The file holds `content`, or is made to with MAB_UPDATE.
#[track_caller]
fn is_current(path: &str, content: &str) {
    let file = repository().join(path);
    if std::env::var_os("MAB_UPDATE").is_some() {
        fs_err::write(&file, content).unwrap();
    }
    let found = fs_err::read_to_string(&file).unwrap_or_default();
    assert!(found == content, "{path} is stale: MAB_UPDATE=1 cargo test -p builder --test build_file");
}

/// Line, column and code of every mark of a file: a comment line with carets below the place, or
/// `#~ CODE` for the first column. `#! CODE` at the top is a problem without a place.
fn marks(text: &str) -> Vec<(Option<(u32, u32)>, String)> {
    let mut marks = Vec::new();
    let mut line = 0;
    for (index, content) in text.lines().enumerate() {
        let code = || content.rsplit(' ').next().unwrap().to_owned();
        if content.starts_with("#! ") {
            marks.push((None, code()));
        } else if content.starts_with("#~ ") {
            marks.push((Some((line, 1)), code()));
        } else if content.starts_with('#') && content.contains('^') {
            marks.push((Some((line, content.find('^').unwrap() as u32 + 1)), code()));
        } else {
            line = index as u32 + 1;
        }
    }
    marks
}

#[test]
fn every_bad_file_is_refused_where_its_mark_is() {
    let mut messages = String::new();
    let mut wrong = Vec::new();
    for (name, bytes) in files("bad") {
        let text = String::from_utf8(bytes).unwrap();
        let Some(diagnostics) = parse(&name, text.as_bytes()) else {
            wrong.push(format!("{name}: accepted"));
            continue;
        };
        let found: Vec<_> = diagnostics
            .iter()
            .map(|it| (it.place().map(|place| (place.line, place.column)), it.code.to_owned()))
            .collect();
        if found != marks(&text) {
            wrong.push(format!("{name}: marked {:?}, found {found:?}\n{diagnostics}", marks(&text)));
        }
        messages.push_str(&format!("{diagnostics}\n\n"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    is_current("testdata/bad/messages.txt", &messages);
}

#[test]
fn every_problem_is_reached_by_a_bad_file() {
    let marked: Vec<String> =
        files("bad").iter().map(|(_, bytes)| marks(&String::from_utf8_lossy(bytes)).remove(0).1).collect();
    let count = |code: &str| marked.iter().filter(|marked| *marked == code).count();
    // Not in a file of the corpus: not text, 100 MB, a setting of the command line, a value that
    // is only known when the image is built. Each has a unit test.
    let elsewhere = ["not-utf8", "too-long", "override", "variable-empty"];
    let missed: Vec<_> = Problem::CODES.iter().filter(|code| count(code) == 0 && !elsewhere.contains(code)).collect();
    assert!(missed.is_empty(), "no file reaches {missed:?}");
    assert!(Problem::CODES.iter().all(|code| count(code) <= 5));
    assert!(files("bad").len() >= 120, "{}", files("bad").len());
}

/// `testdata/bad-build` is for the whole of mab; what its first lines say of the build file by
/// itself holds here.
#[test]
fn bad_builds_whose_fault_is_in_the_file_are_refused_here() {
    for (name, bytes) in files("bad-build") {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let first = text.lines().next().unwrap();
        let line = first.split("line ").nth(1).and_then(|rest| rest.split(';').next()?.parse::<u32>().ok());
        let Some(diagnostics) = parse(&name, &bytes) else { continue };
        assert!(first.contains("exit 2"), "{name}: {first}\n{diagnostics}");
        let shown = diagnostics.to_string();
        for word in first.split('"').skip(1).step_by(2) {
            assert!(shown.contains(word), "{name} lacks {word}:\n{shown}");
        }
        if let Some(line) = line {
            assert!(
                diagnostics.iter().any(|it| it.place().is_some_and(|place| place.line == line)),
                "{name}:\n{shown}"
            );
        }
    }
}

#[test]
fn the_reference_and_the_schema_are_current() {
    is_current("docs/build-file.md", &schema::reference());
    let json = serde_json::to_string_pretty(&schema::json_schema()).unwrap();
    is_current("docs/build-file.schema.json", &format!("{json}\n"));
}

#[test]
fn every_build_file_in_the_documents_is_valid() {
    let mut count = 0;
    let pages = fs_err::read_dir(repository().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    for path in pages.chain(["README.md", "CONTRIBUTING.md"].map(|page| repository().join(page))) {
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = fs_err::read_to_string(&path).unwrap();
        for block in text.split("```yaml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            if block.contains("version: 1") {
                count += 1;
                let problems = parse("block", block.as_bytes());
                assert!(problems.is_none(), "{}\n{block}\n{}", path.display(), problems.unwrap());
            }
        }
    }
    assert!(count >= 4, "{count}");
}

#[test]
fn every_build_file_of_the_repository_is_valid() {
    let mut list = vec![repository().join("testdata/service/build.yaml")];
    for example in fs_err::read_dir(repository().join("examples")).unwrap() {
        let example = example.unwrap().path();
        list.extend(["build.yaml", "build.debian.yaml"].map(|name| example.join(name)));
    }
    assert!(list.len() >= 7);
    for path in list {
        let problems = parse(&path.display().to_string(), &fs_err::read(&path).unwrap());
        assert!(problems.is_none(), "{}", problems.unwrap());
    }
}

#[test]
fn sections_are_all_on_the_page() {
    let names: BTreeSet<&str> = schema::SECTIONS.iter().map(|section| section.name).collect();
    assert_eq!(names.len(), schema::SECTIONS.len());
    let json = schema::json_schema();
    let definitions = json["definitions"].as_object().unwrap();
    for name in names.iter().filter(|name| **name != "build file") {
        assert!(definitions.contains_key(&name.replace(": ", "-")), "{name}");
    }
    assert_eq!(definitions.len(), names.len() - 1 + 2);
}
