//! Every file of testdata/bad-build: exit code, place and words as its first line says, nothing
//! compiled, the old layout as it was.

use crate::support::{Place, repository};

/// What the first line of a file expects.
struct Expected {
    code: i32,
    line: Option<String>,
    says: Vec<String>,
}

impl Expected {
    fn read(text: &str) -> Self {
        let first =
            text.lines().next().unwrap().strip_prefix("# expect: ").expect("the first line says what to expect");
        let part = |prefix: &str| first.split(';').find_map(|part| part.trim().strip_prefix(prefix)).map(str::to_owned);
        let says = first.split('"').skip(1).step_by(2).map(str::to_owned).collect();
        Self { code: part("exit ").unwrap().parse().unwrap(), line: part("line "), says }
    }
}

#[test]
fn every_bad_build_file_is_refused_as_it_says() {
    let place = Place::new();
    let source = repository().join("testdata/bad-build");
    for entry in std::fs::read_dir(source.join("inputs")).unwrap() {
        let path = entry.unwrap().path();
        let to = place.path("inputs").join(path.file_name().unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(&path, to).unwrap();
    }
    for tool in ["cargo", "go", "rustc"] {
        place.tool(tool, &format!("[ \"$1\" != build ] || touch {}", place.path("compiled").display()));
    }
    let mut names: Vec<_> = std::fs::read_dir(&source)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    names.sort();
    for name in &names {
        std::fs::copy(source.join(name), place.path(name)).unwrap();
    }
    place.succeeds(&["build", "-f", "good.yaml"]);
    let before = place.content("oci");

    let mut wrong = Vec::new();
    for name in names.iter().filter(|name| *name != "good.yaml") {
        let bytes = std::fs::read(source.join(name)).unwrap();
        let expected = Expected::read(&String::from_utf8_lossy(&bytes));
        let ended = place.run(&["build", "-f", name]);
        let mut complaints = Vec::new();
        if ended.code != Some(expected.code) || !ended.out.is_empty() {
            complaints.push(format!("exit {:?}, wanted {}", ended.code, expected.code));
        }
        let mut says = expected.says;
        says.extend(expected.line.map(|line| format!("{name}:{line}:")));
        says.retain(|part| !ended.err.contains(part));
        complaints.extend(says.into_iter().map(|part| format!("{part:?} is not said")));
        if place.content("oci") != before {
            complaints.push("the old layout has changed".to_owned());
        }
        if place.path("compiled").exists() {
            complaints.push("a compiler has run".to_owned());
        }
        if !complaints.is_empty() {
            wrong.push(format!("{name}: {}\n{}", complaints.join("; "), ended.err));
        }
    }
    assert!(wrong.is_empty(), "{} files:\n{}", wrong.len(), wrong.join("\n\n"));
    assert!(names.len() > 80, "{} files", names.len());
    place.assert_nothing_unfinished();
}
