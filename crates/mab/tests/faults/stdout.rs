//! Standard output that is closed, full, or read by nobody (row S03).

use std::fs::File;
use std::process::Stdio;

use crate::support::Place;

const COMMANDS: [&[&str]; 4] = [&["build"], &["inspect", "oci:oci"], &["schema"], &["--help"]];

fn place() -> Place {
    let place = Place::new();
    place.write("build.yaml", "version: 1\nbase: scratch\nfiles: [{from: build.yaml, to: /x}]\n");
    place.succeeds(&["build"]);
    place
}

#[test]
fn s03_a_closed_standard_output_is_no_panic() {
    let place = place();
    for arguments in COMMANDS {
        // Closed from the start.
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", "exec \"$@\" >&-", "sh", env!("CARGO_BIN_EXE_mab")]).args(arguments);
        let output = shell.env_clear().envs(&place.env).current_dir(place.path("")).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");

        // A pipe whose reader has gone.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = place.command(arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {err}");
        assert!(!err.contains("panicked"), "{err}");
    }
}

#[test]
fn s03_standard_error_may_be_closed_too() {
    let place = place();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = place.command(&["build", "-f", "nowhere.yaml"]).stdout(Stdio::null()).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(2));
}

#[test]
fn d01_a_result_that_cannot_be_written_is_an_error() {
    let place = place();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    for arguments in &COMMANDS[..3] {
        let output = place.command(arguments).stdout(full()).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(8), "{arguments:?}: {err}");
        assert!(err.contains("cannot write the result to standard output: No space left"), "{err}");
    }
}
