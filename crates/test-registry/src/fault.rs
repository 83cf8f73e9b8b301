//! What goes wrong, with which request, how often.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::http::{Answer, Request};

type EditRequest = Arc<dyn Fn(&mut Request) + Send + Sync>;
type EditAnswer = Arc<dyn Fn(&Request, &mut Answer) + Send + Sync>;
type Instead = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

/// What goes wrong while an answer is sent.
#[derive(Clone, Debug, Default)]
pub struct Wire {
    /// The connection closes after so many bytes of the body.
    pub drop_after: Option<usize>,
    /// Nothing more comes after so many bytes of the body.
    pub stall_after: Option<usize>,
    /// The body never ends.
    pub endless: bool,
    /// The head comes a byte at a time, with this pause after each.
    pub slow_head: Option<Duration>,
    /// No `Content-Length`: the body ends with the connection.
    pub no_length: bool,
    /// `Connection: close`, and so it does.
    pub close: bool,
    /// The connection closes after the answer without having said so.
    pub close_silently: bool,
}

/// A fault: which requests it is for, and what happens to them.
#[derive(Clone)]
pub struct Fault {
    method: String,
    part: String,
    skip: usize,
    times: usize,
    plan: Plan,
}

/// What happens to one request.
#[derive(Clone, Default)]
pub(crate) struct Plan {
    pub(crate) drop_unread: bool,
    pub(crate) answer_unread: bool,
    pub(crate) drop_request_after: Option<usize>,
    pub(crate) drop_unanswered: bool,
    pub(crate) pause: Option<Duration>,
    pub(crate) edit_request: Option<EditRequest>,
    pub(crate) instead: Option<Instead>,
    pub(crate) edit_answer: Option<EditAnswer>,
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({} {})", self.method, self.part)
    }
}

impl Fault {
    /// A fault of the next request with this method (`*` for any) whose target holds `part`.
    pub fn on(method: &str, part: &str) -> Self {
        Self { method: method.to_owned(), part: part.to_owned(), skip: 0, times: 1, plan: Plan::default() }
    }

    /// Lets so many such requests pass first.
    #[must_use]
    pub fn after(mut self, count: usize) -> Self {
        self.skip = count;
        self
    }

    /// Happens so many times.
    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.times = count;
        self
    }

    /// Happens from then on.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// Answers with `answer`; the registry never sees the request.
    #[must_use]
    pub fn answer(self, answer: Answer) -> Self {
        self.answer_with(move |_| answer.clone())
    }

    /// The same with an answer that depends on the request.
    #[must_use]
    pub fn answer_with(mut self, answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        self.plan.instead = Some(Arc::new(answer));
        self
    }

    /// Answers with a bare status.
    #[must_use]
    pub fn status(self, status: u16) -> Self {
        self.answer(Answer::new(status))
    }

    /// Answers with a status and one of the spec's error codes.
    #[must_use]
    pub fn error(self, status: u16, code: &str) -> Self {
        self.answer(Answer::error(status, code, "a fault"))
    }

    /// Changes the registry's own answer.
    #[must_use]
    pub fn edit(mut self, edit: impl Fn(&Request, &mut Answer) + Send + Sync + 'static) -> Self {
        self.plan.edit_answer = Some(Arc::new(edit));
        self
    }

    /// Changes the request before the registry sees it.
    #[must_use]
    pub fn edit_request(mut self, edit: impl Fn(&mut Request) + Send + Sync + 'static) -> Self {
        self.plan.edit_request = Some(Arc::new(edit));
        self
    }

    /// Sets a header of the registry's own answer.
    #[must_use]
    pub fn header(self, name: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        self.edit(move |_, answer| answer.set(name, value.clone()))
    }

    /// Takes a header of the registry's own answer away.
    #[must_use]
    pub fn without_header(self, name: &'static str) -> Self {
        self.edit(move |_, answer| answer.remove(name))
    }

    /// Sends other bytes instead of the registry's own; nothing else changes.
    #[must_use]
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        self.edit(move |_, answer| {
            answer.body = body.clone();
            answer.remove("content-length");
        })
    }

    /// Changes how the registry's own answer goes over the wire.
    #[must_use]
    pub fn wire(self, wire: Wire) -> Self {
        self.edit(move |_, answer| answer.wire = wire.clone())
    }

    /// Sends so many bytes of the answer's body, then closes the connection.
    #[must_use]
    pub fn drop_after(self, bytes: usize) -> Self {
        self.wire(Wire { drop_after: Some(bytes), ..Wire::default() })
    }

    /// Sends so many bytes of the answer's body, then nothing more.
    #[must_use]
    pub fn stall_after(self, bytes: usize) -> Self {
        self.wire(Wire { stall_after: Some(bytes), ..Wire::default() })
    }

    /// Closes the connection as soon as the head of the request has come.
    #[must_use]
    pub fn drop_unread(mut self) -> Self {
        self.plan.drop_unread = true;
        self
    }

    /// Answers as soon as the head of the request has come, as proxies do that find a body too
    /// large; then reads and drops what still comes, and closes the connection.
    #[must_use]
    pub fn answer_unread(mut self, answer: Answer) -> Self {
        self.plan.answer_unread = true;
        self.answer(answer)
    }

    /// Reads so many bytes of the request's body, then closes the connection.
    #[must_use]
    pub fn drop_request_after(mut self, bytes: usize) -> Self {
        self.plan.drop_request_after = Some(bytes);
        self
    }

    /// Does what is asked, then closes the connection without an answer.
    #[must_use]
    pub fn drop_unanswered(mut self) -> Self {
        self.plan.drop_unanswered = true;
        self
    }

    /// Waits before the answer.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.plan.pause = Some(pause);
        self
    }

    fn fits(&self, request: &Request) -> bool {
        (self.method == "*" || self.method == request.method) && request.target.contains(&self.part)
    }
}

/// What happens to `request`: the first fault that fits counts, the others let it pass.
pub(crate) fn plan(faults: &mut [Fault], request: &Request) -> Plan {
    for fault in faults {
        if fault.times == 0 || !fault.fits(request) {
            continue;
        }
        if fault.skip > 0 {
            fault.skip -= 1;
            continue;
        }
        fault.times = fault.times.saturating_sub(if fault.times == usize::MAX { 0 } else { 1 });
        return fault.plan.clone();
    }
    Plan::default()
}
