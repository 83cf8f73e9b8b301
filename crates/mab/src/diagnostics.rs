//! Draws what is wrong with a build file: message, excerpt with marks, hints.
//!
//! The words and places are `builder`'s; only the drawing is here.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use anstyle::{AnsiColor, Style};
use builder::spec::{Diagnostic, Diagnostics, Label, Severity, Sources};

use crate::text::tame;

/// How to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Columns of the terminal.
    pub(crate) width: usize,
    /// With colours.
    pub(crate) colour: bool,
}

/// All of them, with an empty line after each but the last.
pub(crate) fn draw_all(diagnostics: &Diagnostics, look: Look) -> String {
    let drawn: Vec<String> = diagnostics.iter().map(|it| draw(it, diagnostics.sources(), look)).collect();
    drawn.join("\n")
}

/// One of them: what it says, where, and after an empty line its hints. Ends in a line end.
pub(crate) fn draw(diagnostic: &Diagnostic, sources: &Sources, look: Look) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(diagnostic.message.as_str()));
    let marks =
        || diagnostic.label.iter().map(|label| (label, true)).chain(diagnostic.related.iter().map(|it| (it, false)));
    let mut drawn: Vec<u16> = Vec::new();
    for (label, _) in marks() {
        let index = label.place.source;
        let Some(source) = sources.of(Some(label.place)).filter(|_| !drawn.contains(&index)) else { continue };
        drawn.push(index);
        let annotations =
            marks().filter(|(label, _)| label.place.source == index).map(|(label, primary)| mark(label, primary));
        group = group.element(Snippet::source(&*source.text).path(source.name.as_str()).annotations(annotations));
    }
    let renderer = if look.colour { Renderer::styled() } else { Renderer::plain() };
    let mut text = renderer.term_width(look.width).render(&[group]);
    text.push('\n');
    if drawn.is_empty()
        && let Some(source) = sources.of(None)
    {
        text.push_str(&format!(" --> {}\n", source.name));
    }
    if !diagnostic.notes.is_empty() {
        text.push('\n');
    }
    for note in &diagnostic.notes {
        text.push_str(&format!("{}\n", tame(note)));
    }
    if !diagnostic.hints.is_empty() {
        text.push('\n');
    }
    let style = if look.colour { AnsiColor::Cyan.on_default().bold() } else { Style::new() };
    for hint in &diagnostic.hints {
        text.push_str(&format!("{style}hint{style:#}: {hint}\n"));
    }
    text
}

fn mark(label: &Label, primary: bool) -> annotate_snippets::Annotation<'_> {
    let kind = if primary { AnnotationKind::Primary } else { AnnotationKind::Context };
    let text = (!label.text.is_empty()).then_some(label.text.as_str());
    kind.span(label.place.start..label.place.end).label(text)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use builder::spec::{Overrides, parse};

    use super::*;

    #[track_caller]
    fn check(text: &str, set: &[&str], look: Look, expect: &str) {
        let overrides = Overrides { set: set.iter().map(|it| (*it).to_owned()).collect(), ..Overrides::default() };
        let drawn = draw_all(&parse(Path::new("build.yaml"), text, &overrides).unwrap_err(), look);
        assert_eq!(drawn.trim_end(), expect.trim_matches('\n'), "\n{drawn}");
    }

    const PLAIN: Look = Look { width: 80, colour: false };

    #[test]
    fn excerpts_show_the_place_and_hints_stand_apart() {
        check(
            "version: 1\nbinarys: []\ntags: latest\n",
            &[],
            PLAIN,
            r#"
error: unknown key `binarys` in the build file
 --> build.yaml:2:1
  |
2 | binarys: []
  | ^^^^^^^ did you mean `binaries`?

error: `tags` must be a list, but is a text
 --> build.yaml:3:7
  |
3 | tags: latest
  |       ^^^^^^ expected a list

hint: write `tags: ["latest"]`
"#,
        );
    }

    #[test]
    fn two_places_stand_in_one_excerpt() {
        check(
            "version: 1\nbinaries:\n  - {file: a, to: /x}\n  - {file: b, to: /x}\n",
            &[],
            PLAIN,
            r#"
error: two sources for `/x` in the image
 --> build.yaml:4:19
  |
3 |   - {file: a, to: /x}
  |                   -- first here
4 |   - {file: b, to: /x}
  |                   ^^ here again
"#,
        );
    }

    #[test]
    fn the_command_line_has_an_excerpt_too() {
        check(
            "version: 1\n",
            &["config.workdir=x"],
            PLAIN,
            r#"
error: path `x` in the image is not absolute
 --> --set:1:16
  |
1 | config.workdir=x
  |                ^

hint: write an absolute path without `.` and `..`, such as `/usr/bin/app`
"#,
        );
    }

    #[test]
    fn what_stands_nowhere_names_the_file() {
        check(
            "tags: [a]\n",
            &[],
            PLAIN,
            r#"
error: the build file lacks the required key `version`
 --> build.yaml

hint: begin the file with `version: 1`
"#,
        );
    }

    #[test]
    fn long_lines_are_cut_to_the_terminal() {
        let text = format!(
            "version: 1\nconfig: {{env: {{A: \"{}\", B=C: d, E: \"{}\"}}}}\n",
            "x".repeat(100),
            "y".repeat(100)
        );
        check(
            &text,
            &[],
            Look { width: 40, colour: false },
            r#"
error: `B=C` is no name of a variable: it holds a `=`
 --> build.yaml:2:123
  |
2 | ...xxxxxxxxxx", B=C: d, E: "yyyyy...
  |                 ^^^
"#,
        );
        let diagnostics = parse(Path::new("f"), &text, &Overrides::default()).unwrap_err();
        let drawn = draw_all(&diagnostics, Look { width: 200, colour: false });
        let longest = drawn.lines().map(str::len).max().unwrap();
        assert!((150..=200).contains(&longest), "{drawn}");
    }

    #[test]
    fn colours_change_no_letter() {
        let coloured = Look { colour: true, ..PLAIN };
        let diagnostics = parse(Path::new("f"), "version: 1\ntags: x\n", &Overrides::default()).unwrap_err();
        let drawn = draw_all(&diagnostics, coloured);
        assert!(drawn.starts_with("\u{1b}[1m\u{1b}[91merror\u{1b}[0m"), "{drawn}");
        assert!(drawn.contains("\u{1b}[1m\u{1b}[36mhint\u{1b}[0m: "), "{drawn}");
        assert_eq!(anstream::adapter::strip_str(&drawn).to_string(), draw_all(&diagnostics, PLAIN));
    }

    /// One of each shape: a near name, a second place, a hint of its own, a long line, no place.
    const SHAPES: [&str; 5] = [
        "version: 1\nbinarys: []\ntags: latest\n",
        "version: 1\nbinaries:\n  - {file: a, to: /x}\n  - {file: b, to: /x}\n",
        "version: 1\nplatforms: [linux/amd64, linux/arm64, linux/s390y, linux/arm/v7, linux/ppc64le, linux/riscv64]\n",
        "version: 1\nconfig: {env: {FIRST: one, SECOND: two, THIRD: three, \"B=C\": d, FOURTH: four}, workdir: srv}\n",
        "tags: [a]\n",
    ];

    #[test]
    fn diagnostics_at_several_widths_with_and_without_colour() {
        use crate::pages::is_current;
        for width in [40, 80, 200] {
            for (colour, suffix) in [(false, ""), (true, "-colour")] {
                let mut drawn = String::new();
                for text in SHAPES {
                    let diagnostics = parse(Path::new("build.yaml"), text, &Overrides::default()).unwrap_err();
                    drawn.push_str(&draw_all(&diagnostics, Look { width, colour }));
                    drawn.push('\n');
                }
                is_current(
                    &format!("testdata/snapshots/diagnostics-{width}{suffix}.txt"),
                    &drawn.replace('\u{1b}', "␛"),
                );
            }
        }
    }

    #[test]
    fn every_bad_file_can_be_drawn_at_every_width() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/bad");
        let mut count = 0;
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                count += 1;
                let text = std::fs::read_to_string(&path).unwrap();
                let diagnostics = parse(Path::new("build.yaml"), &text, &Overrides::default()).unwrap_err();
                for width in [0, 40, 80, 200] {
                    let drawn = draw_all(&diagnostics, Look { width, colour: false });
                    assert!(drawn.starts_with("error: ") && drawn.contains("--> build.yaml"), "{drawn}");
                    assert_eq!(diagnostics.iter().all(|it| it.place().is_some()), drawn.contains(" | "), "{drawn}");
                }
            }
        }
        assert!(count > 100);
    }
}
