//! `archinfo`: prints what it was compiled for.

#![forbid(unsafe_code)]

mod facts;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use facts::Facts;

const USAGE: &str = "\
Prints the architecture that this program was compiled for.

Usage: archinfo [--json]

  --json         print one line of JSON
  -h, --help     print this help
  -V, --version  print the version
";

#[derive(Debug, PartialEq, Eq)]
enum Command {
    Text,
    Json,
    Help,
    Version,
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, lexopt::Error> {
    use lexopt::prelude::*;

    let mut command = Command::Text;
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("json") => command = Command::Json,
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('V') | Long("version") => return Ok(Command::Version),
            _ => return Err(arg.unexpected()),
        }
    }
    Ok(command)
}

fn run(command: &Command, mut out: impl Write) -> io::Result<()> {
    match command {
        Command::Text => write!(out, "{}", Facts::gather())?,
        Command::Json => writeln!(out, "{}", miniserde::json::to_string(&Facts::gather()))?,
        Command::Help => out.write_all(USAGE.as_bytes())?,
        Command::Version => writeln!(out, "archinfo {}", env!("CARGO_PKG_VERSION"))?,
    }
    out.flush()
}

fn main() -> ExitCode {
    let command = match parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("archinfo: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&command, io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("archinfo: cannot write: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use miniserde::json::{Number, Object, Value};

    use super::*;

    fn parsed(args: &[&str]) -> Result<Command, String> {
        parse(args.iter().map(OsString::from)).map_err(|error| error.to_string())
    }

    fn printed(command: &Command) -> String {
        let mut out = Vec::new();
        run(command, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn arguments() {
        assert_eq!(parsed(&[]), Ok(Command::Text));
        assert_eq!(parsed(&["--json"]), Ok(Command::Json));
        assert_eq!(parsed(&["--json", "--help"]), Ok(Command::Help));
        assert_eq!(parsed(&["-V"]), Ok(Command::Version));
        assert!(parsed(&["--jason"]).unwrap_err().contains("--jason"));
        assert!(parsed(&["json"]).unwrap_err().contains("json"));
        assert!(parsed(&["--json=yes"]).is_err());
    }

    #[test]
    fn json_is_one_line_that_parses() {
        let printed = printed(&Command::Json);
        assert_eq!(printed.matches('\n').count(), 1);
        let facts: Object = miniserde::json::from_str(&printed).unwrap();
        assert!(matches!(&facts["arch"], Value::String(arch) if arch == std::env::consts::ARCH));
        assert!(matches!(&facts["pointer_width"], Value::Number(Number::U64(bits)) if *bits == u64::from(usize::BITS)));
    }

    #[test]
    fn text_names_the_architecture() {
        let wanted = format!("arch:           {}\n", std::env::consts::ARCH);
        assert!(printed(&Command::Text).contains(&wanted));
    }

    #[test]
    fn a_failing_writer_is_an_error() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for command in [Command::Text, Command::Json, Command::Help] {
            assert_eq!(run(&command, Full).unwrap_err().kind(), io::ErrorKind::StorageFull, "{command:?}");
        }
    }
}
