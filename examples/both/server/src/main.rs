//! `arch-server`: tells over HTTP what it was compiled for.

#![forbid(unsafe_code)]

mod facts;
mod server;

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use server::Server;

const USAGE: &str = "\
Tells over HTTP what it was compiled for.

Usage: arch-server [--listen ADDRESS:PORT]

  --listen ADDRESS:PORT  where to listen; port 0 takes any free port
                         [env: LISTEN] [default: 127.0.0.1:8080]
  -h, --help             print this help
  -V, --version          print the version

GET /arch answers with JSON, GET /healthz with `ok`. SIGTERM and SIGINT end it.
";

#[derive(Debug, PartialEq, Eq)]
enum Command {
    Serve(SocketAddr),
    Help,
    Version,
}

/// The command line goes before the environment, which goes before the default.
fn parse(args: impl IntoIterator<Item = OsString>, env_listen: Option<OsString>) -> Result<Command, lexopt::Error> {
    use lexopt::prelude::*;

    let mut listen = None;
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("listen") => listen = Some(parser.value()?.parse()?),
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('V') | Long("version") => return Ok(Command::Version),
            _ => return Err(arg.unexpected()),
        }
    }
    let listen = match (listen, env_listen) {
        (Some(listen), _) => listen,
        (None, Some(text)) => text.parse()?,
        (None, None) => SocketAddr::from(([127, 0, 0, 1], 8080)),
    };
    Ok(Command::Serve(listen))
}

fn serve(listen: SocketAddr, mut out: impl Write) -> io::Result<()> {
    // Before anything else: as process 1 of a container, a signal that nothing
    // handles is ignored.
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let server = Arc::new(Server::bind(listen)?);
    let stopper = Arc::clone(&server);
    thread::spawn(move || {
        signals.forever().next();
        stopper.stop();
    });
    // `query --spawn` waits for this line.
    writeln!(out, "listening on {}", server.url())?;
    out.flush()?;
    server.run();
    writeln!(out, "stopped")
}

fn main() -> ExitCode {
    let command = match parse(std::env::args_os().skip(1), std::env::var_os("LISTEN")) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("arch-server: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let done = match command {
        Command::Serve(listen) => {
            serve(listen, io::stdout()).map_err(|error| io::Error::new(error.kind(), format!("{listen}: {error}")))
        }
        Command::Help => io::stdout().write_all(USAGE.as_bytes()),
        Command::Version => writeln!(io::stdout(), "arch-server {}", env!("CARGO_PKG_VERSION")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("arch-server: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str], env: Option<&str>) -> Result<Command, String> {
        parse(args.iter().map(OsString::from), env.map(OsString::from)).map_err(|error| error.to_string())
    }

    fn at(address: &str) -> Result<Command, String> {
        Ok(Command::Serve(address.parse().unwrap()))
    }

    #[test]
    fn where_it_listens() {
        assert_eq!(parsed(&[], None), at("127.0.0.1:8080"));
        assert_eq!(parsed(&[], Some("0.0.0.0:80")), at("0.0.0.0:80"));
        let args = ["--listen", "[::1]:0"];
        assert_eq!(parsed(&args, None), at("[::1]:0"));
        assert_eq!(parsed(&args, Some("0.0.0.0:80")), at("[::1]:0"));
    }

    #[test]
    fn wrong_usage() {
        for (args, env, wanted) in [
            (&["--lisen", "x"][..], None, "--lisen"),
            (&["--listen"], None, "--listen"),
            (&["--listen", "8080"], None, "8080"),
            (&[], Some("everywhere"), "everywhere"),
            (&["serve"], None, "serve"),
        ] {
            let error = parsed(args, env).unwrap_err();
            assert!(error.contains(wanted), "{args:?} {env:?}: {error}");
        }
    }

    #[test]
    fn help_and_version_ask_for_no_address() {
        assert_eq!(parsed(&["--help"], Some("bad")), Ok(Command::Help));
        assert_eq!(parsed(&["-V"], Some("bad")), Ok(Command::Version));
    }
}
