//! The cases of testdata/parity: what mab makes of a build file, against what BuildKit made of
//! the Dockerfile beside it. `scripts/record-buildkit` writes down BuildKit's part.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use oci_layout::document::ContainerConfig;
use oci_layout::layer::facts::{Fact, FactKind, LayerFacts};
use oci_layout::layer::{EntryKind, Tree};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::content::{ContentError, draft};
use super::finish::{Around, container};
use crate::base::PlatformBase;
use crate::spec::{Facts, Overrides, Variables, parse};

#[derive(Deserialize)]
struct Recorded {
    cases: BTreeMap<String, Built>,
}

/// What BuildKit made: a config, and a line for each file of the layers above the base.
#[derive(Deserialize)]
struct Built {
    config: Map<String, Value>,
    files: Vec<String>,
}

struct Case {
    name: String,
    differs: BTreeSet<String>,
    base: String,
    build_file: String,
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/parity")
}

fn read(name: &str) -> String {
    fs_err::read_to_string(directory().join(name)).unwrap()
}

fn cases() -> Vec<Case> {
    let case = |text: &str| {
        let (head, rest) = text.split_once('\n').unwrap();
        let (dockerfile, build_file) = rest.split_once("\n---\n").unwrap();
        let differs = head.split_once("[differs: ").map_or("", |(_, list)| list.trim_end_matches(']'));
        Case {
            name: head.trim_start_matches("# ").split(':').next().unwrap().to_owned(),
            differs: differs.split(", ").filter(|it| !it.is_empty()).map(str::to_owned).collect(),
            base: dockerfile.lines().find(|line| line.starts_with("FROM ")).unwrap().to_owned(),
            build_file: format!("version: 1\n{build_file}\n"),
        }
    };
    read("cases.txt").split("\n===\n").map(case).collect()
}

/// The base's files: `KIND MODE UID:GID PATH`.
fn tree(built: &Built) -> Tree {
    let mut facts: LayerFacts = serde_json::from_str(r#"{"version":2,"entries":[]}"#).unwrap();
    for line in &built.files {
        let words: Vec<&str> = line.split(' ').collect();
        let (uid, gid) = words[2].split_once(':').unwrap();
        let kind = match words[0] {
            "d" => FactKind::Directory,
            "l" => FactKind::Symlink { target: words[5].to_owned() },
            _ => FactKind::File { size: 1 },
        };
        let mode = u32::from_str_radix(words[1], 8).unwrap();
        let (uid, gid) = (uid.parse().unwrap(), gid.parse().unwrap());
        facts.entries.push(Fact { path: words[3].parse().unwrap(), kind, mode, uid, gid });
    }
    for name in ["passwd", "group"] {
        facts.texts.insert(format!("/etc/{name}").parse().unwrap(), read(&format!("context/{name}")));
    }
    Tree::of([&facts])
}

/// What mab makes of a case, in the form of what was recorded.
fn made(case: &Case, base: Option<&Built>) -> Built {
    let file = directory().join("context/build.yaml");
    let overrides = Overrides { platforms: vec!["linux/amd64".parse().unwrap()], ..Overrides::default() };
    let spec = parse(&file, &case.build_file, &overrides).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let facts = Facts::default();
    let platform = "linux/amd64".parse().unwrap();
    let values = Variables { platform: Some(platform), facts: &facts };
    let (tree, config) = match base {
        Some(built) => (tree(built), serde_json::from_value(Value::Object(built.config.clone())).unwrap()),
        None => (Tree::default(), ContainerConfig::default()),
    };
    let told = |error: ContentError| match error {
        ContentError::Spec(list) => panic!("{}: {list:?}", case.name),
        ContentError::Layer(error) => panic!("{}: {error}", case.name),
    };
    let draft =
        draft(&spec, &super::Context::of(&spec).unwrap(), &values, tree, &[], false).map_err(told).ok().unwrap();
    let base = PlatformBase::of_config(config);
    let inferred = BTreeMap::new();
    let around = Around {
        platform,
        base: Some(&base),
        base_name: None,
        inferred: &inferred,
        created: super::CREATED,
        created_said: false,
    };
    let config = container(&spec, &values, &around, &draft.accounts, false).map_err(told).ok().unwrap();
    let mut files: Vec<String> = Vec::new();
    for entry in draft.groups.iter().flat_map(|group| &group.entries) {
        let (kind, target) = match &entry.kind {
            EntryKind::Directory => ("d", String::new()),
            EntryKind::Symlink { target } => ("l", format!(" -> {target}")),
            _ => ("f", String::new()),
        };
        files.push(format!("{kind} {:o} {}:{} {}{target}", entry.mode, entry.uid, entry.gid, entry.path));
    }
    files.sort_by(|a, b| a.split(' ').nth(3).cmp(&b.split(' ').nth(3)));
    let Value::Object(config) = serde_json::to_value(&config).unwrap() else { panic!("a config is an object") };
    Built { config, files }
}

/// Differences that need not be named by a case: wherever the two differ in one of these fields,
/// they have to differ just so.
const EVERYWHERE: [(&str, &str); 3] =
    [("user-in-numbers", "User"), ("labels-of-the-base", "Labels"), ("args-escaped", "ArgsEscaped")];

/// Takes a difference out of both; false where they do not differ in just that.
fn set_aside(difference: &str, theirs: &mut Built, ours: &mut Built) -> bool {
    let mut field = |name: &str| (theirs.config.remove(name), ours.config.remove(name));
    match difference {
        "user-in-numbers" => match field("User") {
            (Some(Value::String(said)), Some(Value::String(numbers))) => in_numbers(&said) == numbers,
            _ => false,
        },
        "labels-of-the-base" => match field("Labels") {
            (Some(Value::Object(mut theirs)), Some(Value::Object(ours))) => {
                theirs.retain(|name, _| !crate::spec::inherit::is_about_the_base(name));
                theirs == ours
            }
            _ => false,
        },
        "args-escaped" => matches!(field("ArgsEscaped"), (Some(Value::Bool(true)), None)),
        "healthcheck-dropped" => matches!(field("Healthcheck"), (Some(_), None)),
        "no-path-of-its-own" => matches!(field("Env"), (Some(_), None)),
        "no-workdir-of-its-own" => field("WorkingDir") == (Some("/".into()), None),
        "no-slash-at-the-end" => match field("WorkingDir") {
            (Some(Value::String(theirs)), Some(Value::String(ours))) => theirs == format!("{ours}/"),
            _ => false,
        },
        "parents-are-roots" => {
            let mut differs = false;
            for line in theirs.files.iter_mut().filter(|line| line.starts_with("d ")) {
                let roots = format!("d 755 0:0 {}", line.rsplit(' ').next().unwrap());
                if ours.files.contains(&roots) && *line != roots {
                    *line = roots;
                    differs = true;
                }
            }
            differs
        }
        "workdir-not-made" => std::mem::take(&mut theirs.files) != ours.files,
        _ => panic!("the difference {difference} is not known"),
    }
}

/// `USER` in numbers, as the C library reads the base's files.
fn in_numbers(said: &str) -> String {
    let number = |name: &str, file: &str, field: usize| {
        let text = read(&format!("context/{file}"));
        let line = text.lines().find(|line| line.split(':').take(3).any(|it| it == name)).unwrap();
        line.split(':').nth(field).unwrap().to_owned()
    };
    match said.split_once(':') {
        Some((user, group)) => format!("{}:{}", number(user, "passwd", 2), number(group, "group", 2)),
        None => format!("{}:{}", number(said, "passwd", 2), number(said, "passwd", 3)),
    }
}

/// Null, empty and absent mean the same in a config; so do `false` and absent.
fn tidy(config: &mut Map<String, Value>) {
    config.retain(|_, value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    });
}

#[test]
fn configs_and_files_are_those_of_buildkit() {
    let mut recorded: Recorded = serde_json::from_str(&read("recorded.json")).unwrap();
    let bases: BTreeMap<String, Built> =
        ["FROM plain", "FROM base"].map(|name| (name.to_owned(), recorded.cases.remove(name).unwrap())).into();
    let cases = cases();
    assert!(cases.len() >= 60, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let Some(mut theirs) = recorded.cases.remove(&case.name) else {
            wrong.push(format!("{}: not recorded", case.name));
            continue;
        };
        let mut ours = made(case, bases.get(&case.base));
        for difference in &case.differs {
            if !set_aside(difference, &mut theirs, &mut ours) {
                wrong.push(format!("{}: does not differ in {difference}", case.name));
            }
        }
        for config in [&mut theirs.config, &mut ours.config] {
            tidy(config);
        }
        for (difference, field) in EVERYWHERE {
            let differs = theirs.config.get(field) != ours.config.get(field);
            if differs && !set_aside(difference, &mut theirs, &mut ours) {
                wrong.push(format!("{}: {field} differs, and not by {difference}", case.name));
            }
        }
        let fields: BTreeSet<&String> = theirs.config.keys().chain(ours.config.keys()).collect();
        for field in fields {
            let (theirs, ours) = (theirs.config.get(field), ours.config.get(field));
            if theirs != ours {
                wrong.push(format!("{}: {field} is {ours:?}, but BuildKit's is {theirs:?}", case.name));
            }
        }
        if theirs.files != ours.files {
            wrong.push(format!("{}: files are {:#?}, but BuildKit's {:#?}", case.name, ours.files, theirs.files));
        }
    }
    wrong.extend(recorded.cases.keys().map(|name| format!("{name}: recorded, but no case")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn differences_are_in_the_table_of_the_documentation() {
    let page = fs_err::read_to_string(directory().join("../../docs/parity.md")).unwrap();
    let said: BTreeSet<String> =
        page.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned())).collect();
    let mut used: BTreeSet<String> = cases().into_iter().flat_map(|case| case.differs).collect();
    used.extend(EVERYWHERE.map(|(difference, _)| difference.to_owned()));
    // No case: its build file would need a program.
    used.insert("entrypoint-from-binary".to_owned());
    assert_eq!(said, used);
}
