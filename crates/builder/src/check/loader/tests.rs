//! Where libraries are looked for, on trees made of facts.

use std::rc::Rc;

use oci_layout::layer::Tree;
use oci_layout::layer::facts::{Fact, FactKind, LayerFacts};
use proptest::prelude::*;

use super::*;
use crate::check::elf::FileFacts;

fn at(text: &str) -> ImagePath {
    text.parse().unwrap()
}

/// Files, links and texts: `PATH`, `PATH -> TARGET`, `PATH = TEXT`, `PATH : NEEDED… (r=RPATH) (R=RUNPATH)`.
fn layer(lines: &[String]) -> LayerFacts {
    let mut facts = LayerFacts::parse(br#"{"version":2,"entries":[]}"#).unwrap().unwrap();
    for line in lines {
        let mut add = |path: &str, kind| {
            facts.entries.push(Fact { path: at(path), kind, mode: 0o755, uid: 0, gid: 0 });
        };
        if let Some((path, target)) = line.split_once(" -> ") {
            add(path, FactKind::Symlink { target: target.to_owned() });
        } else if let Some((path, text)) = line.split_once(" = ") {
            add(path, FactKind::File { size: 1 });
            facts.texts.insert(at(path), text.replace('|', "\n"));
        } else if let Some((path, words)) = line.split_once(" :") {
            add(path, FactKind::File { size: 1 });
            let mut elf = ElfFacts { machine: 62, is_64: true, little_endian: true, ..ElfFacts::default() };
            for word in words.split_whitespace() {
                match word.split_once('=') {
                    Some(("r", list)) => elf.rpath = list.split(':').map(str::to_owned).collect(),
                    Some(("R", list)) => elf.runpath = list.split(':').map(str::to_owned).collect(),
                    Some(("m", machine)) => elf.machine = machine.parse().unwrap(),
                    Some(("so", name)) => elf.soname = Some(name.to_owned()),
                    _ => elf.needed.push(word.to_owned()),
                }
            }
            let value = serde_json::to_value(FileFacts::Elf(Box::new(elf))).unwrap();
            facts.inspected.insert(at(path), value);
        } else {
            add(line, FactKind::File { size: 1 });
        }
    }
    facts
}

fn follow(libc: Libc, environment: Option<&str>, layers: &[&[&str]]) -> String {
    let layers: Vec<LayerFacts> =
        layers.iter().map(|lines| layer(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())).collect();
    let tree = Tree::of(&layers);
    let files = Files::new(&tree);
    let program = files.elf(&at("/app")).unwrap();
    let path = if libc == Libc::Musl { "/lib/ld-musl-x86_64.so.1" } else { "/lib64/ld-linux-x86-64.so.2" };
    let loader = Loader::new(&files, libc, at(path), &program, environment);
    let closure = loader.closure(&at("/app"), Rc::clone(&program));
    let mut found: Vec<String> = closure.loaded.iter().skip(1).map(|loaded| loaded.path.to_string()).collect();
    for lack in &closure.lacks {
        found.push(match lack {
            Lack::Library { name, by, passed } => {
                format!("!{name} by {by} {}", passed.join("; ")).trim_end().to_owned()
            }
            Lack::Untold { name, why } => format!("?{name}: {why}"),
            Lack::Versions { .. } => "versions".to_owned(),
        });
    }
    found.join(", ")
}

#[track_caller]
fn gnu(layers: &[&[&str]], expect: &str) {
    assert_eq!(follow(Libc::Gnu, None, layers), expect);
}

#[test]
fn default_directories_and_what_is_passed_over() {
    gnu(&[&["/app : a b", "/usr/lib/x86_64-linux-gnu/a : b", "/lib64/b :"]], "/usr/lib/x86_64-linux-gnu/a, /lib64/b");
    gnu(&[&["/app : a", "/lib/a : m=183", "/usr/lib/a :"]], "/usr/lib/a");
    gnu(&[&["/app : a", "/lib/a : m=183"]], "!a by /app /lib/a is for AArch64 (arm64)");
    gnu(&[&["/app : a", "/lib/a -> a.1"]], "!a by /app /lib/a is a link to /lib/a.1, which is not there");
    gnu(&[&["/app : a", "/lib/a"]], "!a by /app /lib/a is not an ELF file");
    gnu(&[&["/app : a", "/lib/a -> /opt/x", "/opt/x : m", "/opt/m :"]], "/opt/x, !m by /opt/x");
    gnu(&[&["/app : /opt/x"]], "!/opt/x by /app");
    gnu(&[&["/app : ./x"]], "?./x: ./x is looked for in the working directory");
}

#[test]
fn usr_merge_is_followed() {
    gnu(&[&["/app : a", "/lib -> usr/lib", "/usr/lib/x86_64-linux-gnu/a :"]], "/usr/lib/x86_64-linux-gnu/a");
}

#[test]
fn rpath_is_inherited_and_runpath_is_not() {
    gnu(&[&["/app : a r=/opt", "/opt/a : b", "/opt/b :"]], "/opt/a, /opt/b");
    gnu(&[&["/app : a R=/opt", "/opt/a : b", "/opt/b :"]], "/opt/a, !b by /opt/a");
    gnu(&[&["/app : a r=/opt", "/opt/a : b R=/none", "/opt/b :"]], "/opt/a, !b by /opt/a");
    gnu(&[&["/app : a R=$ORIGIN/lib:/x", "/lib/a :", "/x/a :"]], "/lib/a");
    gnu(&[&["/app : a R=${ORIGIN}/../opt", "/opt/a :"]], "/opt/a");
    gnu(&[&["/app : a R=/x/$PLATFORM"]], "?a: /app looks in `/x/$PLATFORM`");
}

#[test]
fn configuration_counts_where_there_is_a_cache_and_up_to_it() {
    let conf = "/etc/ld.so.conf = # x|include ld.so.conf.d/*.conf|include /etc/ld.so.conf";
    let part = "/etc/ld.so.conf.d/a.conf = /opt/x # y";
    let other = "/etc/ld.so.conf.d/b.list = /opt/z";
    gnu(&[&["/app : a", conf, part, other, "/opt/x/a :"]], "!a by /app");
    gnu(&[&["/app : a", conf, part, other, "/opt/x/a :", "/etc/ld.so.cache"]], "/opt/x/a");
    gnu(&[&["/app : a", conf, part, other, "/opt/z/a :", "/etc/ld.so.cache"]], "!a by /app");
    gnu(
        &[&[conf, part, "/etc/ld.so.cache"], &["/app : a", "/opt/x/a :"]],
        "!a by /app /opt/x/a is newer than /etc/ld.so.cache, which the loader goes by",
    );
}

#[test]
fn the_environment_comes_before_runpath_and_after_rpath() {
    let files = |path: &'static str| [path, "/e/a :", "/p/a :"];
    assert_eq!(follow(Libc::Gnu, Some("/e:relative"), &[&files("/app : a R=/p")]), "/e/a");
    assert_eq!(follow(Libc::Gnu, Some("/e"), &[&files("/app : a r=/p")]), "/p/a");
    assert_eq!(follow(Libc::Musl, Some("/e"), &[&files("/app : a r=/p")]), "/e/a");
}

#[test]
fn musl_is_its_own_c_library_and_has_its_own_path() {
    let check = |files: &[&str], expect: &str| assert_eq!(follow(Libc::Musl, None, &[files]), expect);
    check(&["/app : libc.so libm.so.6 libc.musl-x86_64.so.1 libz.so", "/usr/lib/libz.so :"], "/usr/lib/libz.so");
    check(&["/app : a R=/opt", "/opt/a : b", "/opt/b :"], "/opt/a, /opt/b");
    let path = "/etc/ld-musl-x86_64.path = /x|/y";
    check(&["/app : a b", path, "/y/a :", "/lib/b :"], "/y/a, !b by /app");
}

/// Each program is followed by itself, so that what they share is gone through for each.
#[test]
fn too_many_places_are_told_and_not_looked_at() {
    let tree = Tree::of(&[layer(&["/app : a b", "/lib/a : b", "/lib/b :"].map(str::to_owned))]);
    let follow = |places: usize| {
        let files = Files::with_places(&tree, places);
        let elf = files.elf(&at("/app")).unwrap();
        let loader = Loader::new(&files, Libc::Gnu, at("/lib64/ld.so"), &elf, None);
        loader.closure(&at("/app"), elf).lacks
    };
    assert_eq!(follow(100), []);
    for places in 0..10 {
        assert!(matches!(follow(places)[..], [Lack::Untold { .. }, ..]), "{places}");
    }
}

#[test]
fn loops_among_libraries_and_links_end() {
    gnu(&[&["/app : a", "/lib/a : b app", "/lib/b : a"]], "/lib/a, /lib/b, !app by /lib/a");
    gnu(
        &[&["/app : a", "/lib/a -> b", "/lib/b -> a"]],
        "!a by /app /lib/a goes through too many symbolic links; /lib/a is one of them",
    );
    gnu(&[&["/app : a x", "/lib/a : so=x"]], "/lib/a");
}

proptest! {
    /// Any needs among a few names, in any directories, by any paths: it ends.
    #[test]
    fn any_tangle_ends(
        needs in proptest::collection::vec(proptest::collection::vec(0..12_usize, 0..6), 12),
        links in proptest::collection::vec((0..12_usize, 0..12_usize), 0..6),
        paths in proptest::collection::vec(0..5_usize, 12),
    ) {
        let path = ["", "r=$ORIGIN/..:/lib", "R=$ORIGIN", "r=/x/../lib", "R=${ORIGIN}/../../lib:$LIB"];
        let mut lines: Vec<String> = needs
            .iter()
            .enumerate()
            .map(|(number, needs)| {
                let names: Vec<String> = needs.iter().map(|it| format!("l{it}")).collect();
                let at = if number == 0 { "/app".to_owned() } else { format!("/lib/l{number}") };
                format!("{at} : {} {}", names.join(" "), path[paths[number]])
            })
            .collect();
        lines.extend(links.iter().map(|(from, to)| format!("/usr/lib/l{from} -> ../../lib/l{to}")));
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let _ = follow(Libc::Gnu, Some("/usr/lib"), &[&lines]);
        let _ = follow(Libc::Musl, None, &[&lines]);
    }
}
