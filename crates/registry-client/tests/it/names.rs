//! Names: the hosts file, name servers, localhost.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use registry_client::config::Names;
use registry_client::{Client, Config};
use test_registry::{TestRegistry, blob_bytes};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{config, push, text};

/// A name server on loopback that knows `registry.lan` and answers over UDP, or over TCP only.
async fn name_server(truncate: bool) -> (u16, Arc<Mutex<Vec<String>>>) {
    let (udp, tcp) = loop {
        let udp = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        // The same port may be another test's over TCP: then the next one.
        match tokio::net::TcpListener::bind(udp.local_addr().unwrap()).await {
            Ok(tcp) => break (udp, tcp),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(error) => panic!("{error}"),
        }
    };
    let address = udp.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        loop {
            let (length, from): (usize, SocketAddr) = udp.recv_from(&mut buffer).await.unwrap();
            let mut reply = answer(&buffer[..length], &log, "udp");
            if truncate {
                reply[2] |= 0x02;
            }
            // A forged answer first: another ID.
            let mut forged = reply.clone();
            forged[0] ^= 0xff;
            udp.send_to(&forged, from).await.unwrap();
            udp.send_to(&reply, from).await.unwrap();
        }
    });
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = tcp.accept().await.unwrap();
            let length = stream.read_u16().await.unwrap();
            let mut question = vec![0; length.into()];
            stream.read_exact(&mut question).await.unwrap();
            let reply = answer(&question, &log, "tcp");
            stream.write_u16(reply.len() as u16).await.unwrap();
            stream.write_all(&reply).await.unwrap();
        }
    });
    (address.port(), asked)
}

fn answer(question: &[u8], log: &Mutex<Vec<String>>, over: &str) -> Vec<u8> {
    let mut name = String::new();
    let mut at = 12;
    while question[at] != 0 {
        let length = usize::from(question[at]);
        name.push_str(std::str::from_utf8(&question[at + 1..at + 1 + length]).unwrap());
        name.push('.');
        at += 1 + length;
    }
    let kind = question[at + 2];
    log.lock().unwrap().push(format!("{over} {name} {kind}"));
    let mut reply = question.to_vec();
    let known = name == "registry.lan.";
    reply[2] = 0x81;
    reply[3] = if known { 0x80 } else { 0x83 };
    if known && kind == 1 {
        reply[7] = 1;
        reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    reply
}

fn names(directory: &Path, hosts: &str, resolv_conf: &str, port: u16) -> Names {
    std::fs::write(directory.join("hosts"), hosts).unwrap();
    std::fs::write(directory.join("resolv.conf"), resolv_conf).unwrap();
    Names { hosts: directory.join("hosts"), resolv_conf: directory.join("resolv.conf"), port }
}

async fn reach(registry: &TestRegistry, name: &str, names: Names) -> Result<(), String> {
    let host = format!("{name}:{}", registry.port());
    let client = Client::new(Config { names, insecure: vec![host.clone()], ..config() }).unwrap();
    let outcome = push(&client, &format!("{host}/a").parse().unwrap(), &blob_bytes(1, 10)).await;
    outcome.map(drop).map_err(|error| text(&error))
}

#[tokio::test]
async fn localhost_needs_no_file() {
    let (registry, directory) = (TestRegistry::start(), tempfile::tempdir().unwrap());
    let nothing = names(&directory.path().canonicalize().unwrap(), "10.9.9.9 localhost\n", "", 1);
    reach(&registry, "localhost", nothing.clone()).await.unwrap();
    reach(&registry, "a.localhost", nothing).await.unwrap();
}

#[tokio::test]
async fn the_hosts_file_comes_first() {
    let (registry, directory) = (TestRegistry::start(), tempfile::tempdir().unwrap());
    let (port, asked) = name_server(false).await;
    let names = names(directory.path(), "127.0.0.1 registry.lan\n", "nameserver 127.0.0.1\n", port);
    reach(&registry, "registry.lan", names).await.unwrap();
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn name_servers_are_asked_with_the_search_list() {
    let (registry, directory) = (TestRegistry::start(), tempfile::tempdir().unwrap());
    let (port, asked) = name_server(false).await;
    let names = names(directory.path(), "", "search corp lan\nnameserver 127.0.0.1\n", port);
    // A name without a dot is none of a registry's in a reference, but an alias could be one.
    let client =
        Client::new(Config { names, insecure: vec![format!("registry:{}", registry.port())], ..config() }).unwrap();
    let host = registry_client::Repository::new(format!("registry:{}", registry.port()).parse().unwrap(), "a").unwrap();
    push(&client, &host, &blob_bytes(1, 10)).await.unwrap();
    let asked = asked.lock().unwrap();
    assert_eq!(asked[0].split(' ').nth(1), Some("registry.corp."));
    assert!(asked.iter().any(|question| question == "udp registry.lan. 1"), "{asked:?}");
}

#[tokio::test]
async fn a_cut_answer_is_asked_for_again_over_tcp() {
    let (registry, directory) = (TestRegistry::start(), tempfile::tempdir().unwrap());
    let (port, asked) = name_server(true).await;
    let names = names(directory.path(), "", "nameserver 127.0.0.1\n", port);
    reach(&registry, "registry.lan", names).await.unwrap();
    assert!(asked.lock().unwrap().iter().any(|question| question == "tcp registry.lan. 1"));
}

#[tokio::test]
async fn names_that_do_not_exist_and_servers_that_do_not_answer() {
    let (registry, directory) = (TestRegistry::start(), tempfile::tempdir().unwrap());
    let (port, asked) = name_server(false).await;
    let known = names(directory.path(), "", "nameserver 127.0.0.1\n", port);
    let shown = reach(&registry, "missing.lan", known).await.unwrap_err();
    assert!(shown.contains("the name missing.lan does not exist"), "{shown}");
    assert_eq!(asked.lock().unwrap().len(), 2, "A and AAAA, once");
    let dead = names(directory.path(), "", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n", 1);
    let shown = reach(&registry, "registry.lan", dead).await.unwrap_err();
    assert!(shown.contains("no name server answered for registry.lan"), "{shown}");
}
