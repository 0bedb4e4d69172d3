//! Questions that are not ours: the cache, then the host's resolvers one after the other.
//!
//! Clients that ask the same at the same time wait for one exchange. That is less work, and it is
//! what makes guessing hard: a client that could have a hundred identical questions outstanding
//! would have a hundred chances with every forged answer (RFC 5452 section 5).
//!
//! No lock is held while anything is awaited.

use crate::cache::{Cache, Hit};
use crate::counters::Counters;
use crate::exchange::ask;
use crate::message::Question;
use crate::relay::{Style, is_final, lifetime};
use crate::resolvers::Servers;
use crate::{Resolvers, Settings};
use hickory_proto::op::{Message, OpCode, ResponseCode};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::OnceCell;

/// The way to the host's resolvers, and the answers remembered of them.
#[derive(Debug)]
pub(crate) struct Forwarder {
    resolvers: Resolvers,
    settings: Settings,
    counters: Arc<Counters>,
    remembered: Mutex<Remembered>,
    flights: Mutex<HashMap<Question, Arc<Flight>>>,
}

/// Answers, and which servers gave them.
#[derive(Debug)]
struct Remembered {
    cache: Cache,
    generation: u64,
}

/// The answer that those who asked the same wait for.
type Flight = OnceCell<Arc<[u8]>>;

impl Forwarder {
    pub(crate) fn new(resolvers: Resolvers, settings: Settings, counters: Arc<Counters>) -> Self {
        let remembered = Remembered {
            cache: Cache::new(settings.cache_entries, settings.cache_bytes),
            generation: 0,
        };
        Self {
            resolvers,
            settings,
            counters,
            remembered: Mutex::new(remembered),
            flights: Mutex::default(),
        }
    }

    /// Returns what was answered before and is still good.
    pub(crate) fn cached(&self, question: &Question, now: Instant) -> Option<Hit> {
        let servers = self.resolvers.servers(now);
        self.remembered(&servers).cache.get(question, now)
    }

    /// An answer's bytes: of one of the resolvers, or SERVFAIL.
    pub(crate) async fn ask(&self, question: &Question) -> Arc<[u8]> {
        let joined = self.join(question);
        let answer = joined.flight.get_or_init(|| self.exchange(question));
        Arc::clone(answer.await)
    }

    /// Each server in turn, and then again; SERVFAIL in the end.
    async fn exchange(&self, question: &Question) -> Arc<[u8]> {
        let servers = self.resolvers.servers(Instant::now());
        let mut answer = None;
        for round in 0..self.settings.upstream_tries {
            let style = if round == 0 {
                Style::Edns
            } else {
                Style::Plain
            };
            answer = self.round(&servers, question, style).await;
            if answer.is_some() {
                break;
            }
        }
        let (message, lifetime) = match answer {
            Some(message) => {
                let lifetime = lifetime(question, &message, &self.settings);
                (message, lifetime)
            }
            None => (failure(), self.settings.failure_ttl),
        };
        let bytes = message.to_vec().or_else(|_| failure().to_vec());
        let bytes: Arc<[u8]> = bytes.unwrap_or_default().into();
        // What came from servers that are ours no longer is for those who asked them.
        let mut remembered = self.remembered(&servers);
        if remembered.generation == servers.generation {
            let (question, bytes) = (question.clone(), Arc::clone(&bytes));
            remembered
                .cache
                .insert(question, bytes, lifetime, Instant::now());
        }
        bytes
    }

    /// The first final answer of a server.
    async fn round(&self, servers: &Servers, question: &Question, style: Style) -> Option<Message> {
        for &server in &*servers.addresses {
            let limit = self.settings.upstream_timeout;
            match ask(server, question, style, limit, &self.counters).await {
                Ok(answer) if is_final(answer.metadata.response_code) => return Some(answer),
                Ok(answer) => {
                    let code = answer.metadata.response_code;
                    tracing::debug!(%server, %code, "the resolver does not answer");
                }
                Err(error) => tracing::debug!(%server, %error, "the resolver does not answer"),
            }
        }
        None
    }

    /// The cache of these servers' answers: others' are forgotten.
    fn remembered(&self, servers: &Servers) -> MutexGuard<'_, Remembered> {
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if remembered.generation < servers.generation {
            remembered.generation = servers.generation;
            remembered.cache.clear();
        }
        remembered
    }

    fn join<'a>(&'a self, question: &'a Question) -> Joined<'a> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        let flight = Arc::clone(flights.entry(question.clone()).or_default());
        Joined {
            forwarder: self,
            question,
            flight,
        }
    }
}

/// One of those who wait for an answer.
struct Joined<'a> {
    forwarder: &'a Forwarder,
    question: &'a Question,
    flight: Arc<Flight>,
}

/// Once there is an answer nobody joins any more; and nothing is left of those who stopped waiting.
impl Drop for Joined<'_> {
    fn drop(&mut self) {
        let flights = &self.forwarder.flights;
        let mut flights = flights.lock().unwrap_or_else(PoisonError::into_inner);
        let is_last = Arc::strong_count(&self.flight) == 2; // the table's and this one
        let is_same = flights
            .get(self.question)
            .is_some_and(|flight| Arc::ptr_eq(flight, &self.flight));
        if is_same && (is_last || self.flight.initialized()) {
            flights.remove(self.question);
        }
    }
}

/// The answer when there is none; its id and question are not looked at.
fn failure() -> Message {
    Message::error_msg(0, OpCode::Query, ResponseCode::ServFail)
}

#[cfg(test)]
mod tests;
