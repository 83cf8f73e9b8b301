//! A strict registry in the test's own process, which can be told to misbehave.
//!
//! It follows distribution-spec 1.1 to the letter where real registries are lenient: digests,
//! sizes, order of chunks, `_state` of upload locations, blobs that a manifest names, media types
//! of manifests. [`Fault`]s say what goes wrong with which request, down to the bytes on the wire;
//! [`TestRegistry::requests`] tells what came. It listens on loopback, runs on a thread of its own
//! (tests may be asynchronous or not) and stops when it is dropped.
//!
//! For tests only: no other crate may depend on it outside `dev-dependencies`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests only: a panic is a failed test")]

mod api;
mod auth;
mod fault;
mod http;
mod proxy;
mod seed;
mod store;
mod tls;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

pub use auth::{Auth, TokenAuth};
pub use fault::{Fault, Wire};
pub use http::{Answer, Request};
pub use proxy::Proxy;
pub use seed::{Image, blob_bytes};
pub use tls::{Authority, ExtendedKeyUsage, Tls};

use store::Store;

/// How the registry behaves when nothing goes wrong.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who may do what.
    pub auth: Auth,
    /// Whether it has the referrers API.
    pub referrers: bool,
    /// Whether a tag that exists can be moved.
    pub immutable_tags: bool,
    /// Whether mounting works; where not, it is answered as if nothing was asked for.
    pub mounts: bool,
    /// `OCI-Chunk-Min-Length`.
    pub smallest_chunk: Option<u64>,
    /// Requests whose body is larger are answered with 413.
    pub largest_body: Option<u64>,
    /// TLS, with certificates of an authority of the test's own.
    pub tls: Option<Tls>,
    /// The address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            auth: Auth::Open,
            referrers: true,
            immutable_tags: false,
            mounts: true,
            smallest_chunk: None,
            largest_body: None,
            tls: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }
}

/// What the server's thread and the test share.
struct Shared {
    options: Options,
    address: SocketAddr,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    store: Store,
    faults: Vec<Fault>,
    requests: Vec<Request>,
    tokens: auth::Issued,
    connections: usize,
    in_flight: usize,
    peak: usize,
}

impl Shared {
    fn base(&self) -> String {
        let scheme = if self.options.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running registry.
pub struct TestRegistry {
    shared: Arc<Shared>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TestRegistry {
    /// An open registry on a free port of 127.0.0.1.
    pub fn start() -> Self {
        Self::with(Options::default())
    }

    /// A registry that behaves as `options` say.
    pub fn with(options: Options) -> Self {
        let listener = std::net::TcpListener::bind(options.listen).expect("a free port");
        listener.set_nonblocking(true).expect("a non-blocking listener");
        let address = listener.local_addr().expect("a bound listener");
        let shared = Arc::new(Shared { options, address, state: Mutex::default() });
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                tokio::select! {
                    () = http::serve(listener, theirs) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { shared, stop: Some(stop), thread: Some(thread) }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.shared.address.to_string()
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.shared.address.port()
    }

    /// `http://127.0.0.1:PORT`, or the same with https.
    pub fn url(&self) -> String {
        self.shared.base()
    }

    /// Adds a fault. Faults are tried in the order in which they were added; the first that fits counts.
    pub fn fault(&self, fault: Fault) {
        self.shared.lock().faults.push(fault);
    }

    /// Takes all faults away.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }

    /// What came so far, in the order in which it came.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.lock().requests.clone()
    }

    /// The same in short: `GET /v2/a/manifests/x 200`, 0 where no answer was sent.
    pub fn log(&self) -> Vec<String> {
        self.shared.lock().requests.iter().map(|r| format!("{} {} {}", r.method, r.short_target(), r.status)).collect()
    }

    /// Forgets what came so far.
    pub fn clear_log(&self) {
        self.shared.lock().requests.clear();
    }

    /// Connections that were accepted.
    pub fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// Most requests that were under way at the same time.
    pub fn peak(&self) -> usize {
        self.shared.lock().peak
    }

    /// Makes every token that was issued invalid.
    pub fn revoke_tokens(&self) {
        self.shared.lock().tokens.revoke();
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
