//! A small registry: blobs and manifests of images over HTTP or HTTPS.
//!
//! `depot` serves; `depot ping` asks the server of the same settings whether it is well, which
//! is what the image's health check runs.

mod api;
mod http;
mod store;
mod tls;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use store::Store;

/// What the environment says.
struct Settings {
    listen: String,
    data: PathBuf,
    cache: PathBuf,
    certificate: Option<(PathBuf, PathBuf)>,
}

impl Settings {
    fn new() -> Self {
        let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let path = |name: &str, default: &str| PathBuf::from(value(name).unwrap_or_else(|| default.to_owned()));
        Self {
            listen: value("DEPOT_LISTEN").unwrap_or_else(|| "127.0.0.1:8000".to_owned()),
            data: path("DEPOT_DATA", "data"),
            cache: path("DEPOT_CACHE", "cache"),
            certificate: value("DEPOT_TLS_CERT").zip(value("DEPOT_TLS_KEY")).map(|(a, b)| (a.into(), b.into())),
        }
    }
}

fn main() {
    let settings = Settings::new();
    let done = match std::env::args().nth(1).as_deref() {
        None | Some("serve") => serve(&settings),
        Some("ping") => ping(&settings),
        Some(other) => Err(format!("unknown command {other}").into()),
    };
    if let Err(error) = done {
        eprintln!("depot: {error}");
        std::process::exit(1);
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

fn serve(settings: &Settings) -> Result<(), Error> {
    let store = Arc::new(Store::open(&settings.data, &settings.cache)?);
    let tls = match &settings.certificate {
        Some((certificate, key)) => Some(tls::server(certificate, key)?),
        None => None,
    };
    let roots = tls::roots();
    let listener = TcpListener::bind(&settings.listen)?;
    println!("depot listens at {} ({}, {roots} roots)", listener.local_addr()?, std::env::consts::ARCH);
    for stream in listener.incoming().flatten() {
        let (store, tls) = (Arc::clone(&store), tls.clone());
        thread::spawn(move || {
            let _ = match tls {
                Some(tls) => tls::accept(tls, stream).and_then(|stream| answer(stream, &store, roots)),
                None => answer(stream, &store, roots),
            };
        });
    }
    Ok(())
}

fn answer(mut stream: impl Read + Write, store: &Store, roots: usize) -> Result<(), Error> {
    let request = http::read(&mut stream)?;
    let answer = api::answer(&request, store, roots);
    http::write(&mut stream, &request, &answer)
}

/// Over plain HTTP alone: the health check knows no name that the certificate is for.
fn ping(settings: &Settings) -> Result<(), Error> {
    let port = settings.listen.rsplit(':').next().unwrap_or("8000");
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}"))?;
    if settings.certificate.is_some() {
        return Ok(());
    }
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: depot\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    if !text.starts_with("HTTP/1.1 200") {
        return Err(text.lines().next().unwrap_or("no answer").to_owned().into());
    }
    println!("{}", text.lines().last().unwrap_or_default());
    Ok(())
}
