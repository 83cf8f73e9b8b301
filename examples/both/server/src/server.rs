//! The HTTP server: `/arch`, `/healthz`, and nothing else. Knows no signals and
//! no environment.

use std::io;
use std::net::SocketAddr;

use tiny_http::{Header, Method, Request, Response};

use crate::facts::FACTS;

#[derive(Debug, PartialEq, Eq)]
struct Reply {
    status: u16,
    content_type: &'static str,
    body: String,
}

impl Reply {
    fn text(status: u16, body: &str) -> Reply {
        Reply { status, content_type: "text/plain; charset=utf-8", body: format!("{body}\n") }
    }
}

fn reply(method: &Method, url: &str) -> Reply {
    let path = url.split('?').next().unwrap_or_default();
    match (path, method) {
        ("/arch", Method::Get | Method::Head) => Reply {
            status: 200,
            content_type: "application/json",
            body: miniserde::json::to_string(&FACTS) + "\n",
        },
        ("/healthz", Method::Get | Method::Head) => Reply::text(200, "ok"),
        ("/arch" | "/healthz", _) => Reply::text(405, "method not allowed"),
        _ => Reply::text(404, "not found"),
    }
}

fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).expect("header names and values here are plain ASCII")
}

fn answer(request: Request) -> io::Result<()> {
    let reply = reply(request.method(), request.url());
    let mut response = Response::from_string(reply.body)
        .with_status_code(reply.status)
        .with_header(header("Content-Type", reply.content_type));
    if reply.status == 405 {
        response.add_header(header("Allow", "GET, HEAD"));
    }
    request.respond(response)
}

pub struct Server {
    http: tiny_http::Server,
}

impl Server {
    /// Binds the address; port 0 takes any free port.
    pub fn bind(address: SocketAddr) -> io::Result<Server> {
        tiny_http::Server::http(address).map(|http| Server { http }).map_err(|error| {
            match error.downcast::<io::Error>() {
                Ok(error) => *error,
                Err(error) => io::Error::other(error),
            }
        })
    }

    /// Where the server listens, as a URL without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.http.server_addr())
    }

    /// Answers requests until [`Server::stop`] is called.
    pub fn run(&self) {
        for request in self.http.incoming_requests() {
            if let Err(error) = answer(request) {
                eprintln!("arch-server: a client went away: {error}");
            }
        }
    }

    /// Makes [`Server::run`] return, also when it has yet to begin. May be
    /// called from any thread.
    pub fn stop(&self) {
        self.http.unblock();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::thread;

    use miniserde::json::{Number, Object, Value};

    use super::*;

    #[test]
    fn arch_is_the_facts_as_json() {
        let reply = reply(&Method::Get, "/arch");
        assert_eq!((reply.status, reply.content_type), (200, "application/json"));
        let facts: Object = miniserde::json::from_str(&reply.body).unwrap();
        assert!(matches!(&facts["language"], Value::String(language) if language == "rust"));
        assert!(matches!(&facts["arch"], Value::String(arch) if arch == std::env::consts::ARCH));
        assert!(matches!(&facts["pointer_width"], Value::Number(Number::U64(bits)) if *bits == u64::from(usize::BITS)));
    }

    #[test]
    fn other_answers() {
        for (method, url, status) in [
            (Method::Get, "/healthz", 200),
            (Method::Head, "/healthz", 200),
            (Method::Get, "/healthz?verbose", 200),
            (Method::Post, "/healthz", 405),
            (Method::Delete, "/arch", 405),
            (Method::Get, "/", 404),
            (Method::Get, "/arch/", 404),
            (Method::Post, "/nothing", 404),
        ] {
            assert_eq!(reply(&method, url).status, status, "{method} {url}");
        }
    }

    fn exchange(server: &Server, request: &str) -> String {
        let address = server.url().replace("http://", "");
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }

    #[test]
    fn serves_over_tcp_until_stopped() {
        let server = Server::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        thread::scope(|scope| {
            let running = scope.spawn(|| server.run());

            let get = "GET /healthz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
            let response = exchange(&server, get);
            assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
            assert!(response.ends_with("\r\n\r\nok\n"), "{response}");

            let post = "POST /arch HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\
                        Connection: close\r\n\r\n";
            let response = exchange(&server, post);
            assert!(response.starts_with("HTTP/1.1 405 "), "{response}");
            assert!(response.contains("\r\nAllow: GET, HEAD\r\n"), "{response}");

            server.stop();
            running.join().unwrap();
        });
    }

    #[test]
    fn stop_before_run() {
        let server = Server::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        server.stop();
        server.run();
    }

    #[test]
    fn an_address_in_use_is_an_error() {
        let first = Server::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.url().replace("http://", "").parse().unwrap();
        let error = Server::bind(address).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
