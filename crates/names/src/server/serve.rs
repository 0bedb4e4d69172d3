//! One query from its bytes to its answer's, whichever way it came.
//!
//! A question that needs no waiting is answered at once. Any other takes a place first, and is finished
//! elsewhere, so no client's question stands behind another's.

use crate::answer::{Verdict, decide};
use crate::counters::{Counters, Outcome};
use crate::forward::Forwarder;
use crate::limits::{Client, Limited, Limits, Permit};
use crate::message::{Question, Request, Transport, decode};
use crate::relay::{is_final, relay};
use crate::{Names, Refusal, Settings};
use hickory_proto::op::{Message, ResponseCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// State that all sockets' tasks share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) names: Names,
    pub(super) limits: Arc<Limits>,
    pub(super) forwarder: Forwarder,
    pub(super) counters: Arc<Counters>,
    pub(super) settings: Settings,
    /// Which of several addresses comes first in the next answer.
    pub(super) turn: AtomicUsize,
}

/// The next thing to do about a query.
#[derive(Debug)]
pub(super) enum Step {
    /// Send this.
    Reply(Vec<u8>),
    /// Send nothing.
    Silence,
    /// Wait for an answer from outside.
    Wait(Box<Waiting>),
}

/// A query that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    request: Request,
    question: Question,
    transport: Transport,
    _permit: Permit,
}

impl Shared {
    /// Does what can be done at once.
    pub(super) fn begin(&self, client: Client, bytes: &[u8], transport: Transport) -> Step {
        let now = Instant::now();
        self.counters.count_query();
        if let Err(refusal) = self.limits.ask(client, now) {
            self.counters.count(Outcome::Refused(refusal));
            return Step::Silence;
        }
        let request = match Request::parse(bytes) {
            Ok(request) => request,
            Err(rejected) => {
                self.counters.count(Outcome::Refused(rejected.refusal));
                return rejected.reply.map_or(Step::Silence, Step::Reply);
            }
        };
        let zones = self.names.load();
        let view = zones.view(client.network, client.address);
        let turn = self.turn.fetch_add(1, Relaxed);
        match decide(&view, &request, turn) {
            Verdict::Answer(answer) => {
                self.counters.count(Outcome::Answered);
                Step::Reply(request.encode(&answer, transport))
            }
            Verdict::Refuse(refusal) => self.refuse(&request, refusal, transport),
            Verdict::Forward(question) => self.forward(client, request, question, transport, now),
        }
    }

    /// Waits for the answer.
    pub(super) async fn finish(&self, waiting: Box<Waiting>) -> Vec<u8> {
        let bytes = self.forwarder.ask(&waiting.question).await;
        self.reply(
            &waiting.request,
            &bytes,
            0,
            Outcome::Forwarded,
            waiting.transport,
        )
    }

    fn forward(
        &self,
        client: Client,
        request: Request,
        question: Question,
        transport: Transport,
        now: Instant,
    ) -> Step {
        if let Some(hit) = self.forwarder.cached(&question, now) {
            let reply = self.reply(&request, &hit.message, hit.age, Outcome::Cached, transport);
            return Step::Reply(reply);
        }
        match self.limits.take(client, Limited::InFlight, now) {
            Ok(permit) => Step::Wait(Box::new(Waiting {
                request,
                question,
                transport,
                _permit: permit,
            })),
            Err(refusal) => self.refuse(&request, refusal, transport),
        }
    }

    fn refuse(&self, request: &Request, refusal: Refusal, transport: Transport) -> Step {
        self.counters.count(Outcome::Refused(refusal));
        Step::Reply(request.encode(&request.refused(refusal), transport))
    }

    /// An answer from outside, as the client is told it.
    fn reply(
        &self,
        request: &Request,
        upstream: &[u8],
        age: u32,
        outcome: Outcome,
        transport: Transport,
    ) -> Vec<u8> {
        let is_answer = |message: &Message| is_final(message.metadata.response_code);
        let (answer, outcome) = match decode(upstream).filter(is_answer) {
            Some(upstream) => (relay(request, upstream, age, &self.settings), outcome),
            None => (request.response(ResponseCode::ServFail), Outcome::Failed),
        };
        self.counters.count(outcome);
        request.encode(&answer, transport)
    }
}
