//! The client: one method a call, over the daemon's unix socket.
//!
//! It blocks, because the command line, the lab and the tests have nothing else to do meanwhile;
//! it must not be called from within an async runtime. Each call is a connection of its own, so a
//! client outlives a restart of the daemon and may be shared between threads.

use crate::routes::{self, Method, with_name};
use crate::{
    ApiError, Attach, Detach, Drops, Endpoint, ExplainRequest, Explanation, FdbAdd, FdbEntry,
    FdbFilter, FdbFlush, FdbKey, Flushed, Name, Network, NetworkCreate, Port, PortAdd, PortSet,
    Status,
};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens on the socket.
    #[error("no daemon answers on {}: {source}; start one with `clearway daemon`", socket.display())]
    NoDaemon {
        /// The socket.
        socket: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The socket belongs to somebody else.
    #[error("{} may not be opened: {source}; run as its owner or in its group", socket.display())]
    NotAllowed {
        /// The socket.
        socket: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The daemon went away, or did not answer in time.
    #[error("the daemon on {} gave no answer: {why}", socket.display())]
    NoAnswer {
        /// The socket.
        socket: PathBuf,
        /// What happened.
        why: String,
    },
    /// The daemon refused.
    #[error(transparent)]
    Refused(#[from] ApiError),
    /// The answer is not what this version of the client understands.
    #[error("the daemon on {} answered something else than expected: {why}", socket.display())]
    NotUnderstood {
        /// The socket.
        socket: PathBuf,
        /// What was wrong with it.
        why: String,
    },
}

/// Asks the daemon on one socket.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    timeout: Duration,
}

impl Client {
    /// A client for the daemon on `socket`; connects with each call only.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
            timeout: TIMEOUT,
        }
    }

    /// Gives up a call after `timeout` (30 s when nothing is said).
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The socket asked.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

/// The calls. Each answers [`ClientError::Refused`] when the daemon says no.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
impl Client {
    /// Makes a network.
    pub fn network_create(&self, network: &NetworkCreate) -> Result<Network, ClientError> {
        self.ask(Method::Post, routes::NETWORKS, Some(network))
    }

    /// All networks, by name.
    pub fn networks(&self) -> Result<Vec<Network>, ClientError> {
        self.get(routes::NETWORKS)
    }

    /// One network.
    pub fn network(&self, name: &Name) -> Result<Network, ClientError> {
        self.get(&with_name(routes::NETWORK, name))
    }

    /// Takes a network away that has neither ports nor endpoints.
    pub fn network_remove(&self, name: &Name) -> Result<(), ClientError> {
        self.ask(Method::Delete, &with_name(routes::NETWORK, name), NOTHING)
    }

    /// Attaches a container.
    pub fn attach(&self, attach: &Attach) -> Result<Endpoint, ClientError> {
        self.ask(Method::Post, routes::ENDPOINTS, Some(attach))
    }

    /// Detaches a container; answers what the endpoint was.
    pub fn detach(&self, detach: &Detach) -> Result<Endpoint, ClientError> {
        self.ask(Method::Post, routes::DETACH, Some(detach))
    }

    /// All endpoints, by id.
    pub fn endpoints(&self) -> Result<Vec<Endpoint>, ClientError> {
        self.get(routes::ENDPOINTS)
    }

    /// Adds a port.
    pub fn port_add(&self, port: &PortAdd) -> Result<Port, ClientError> {
        self.ask(Method::Post, routes::PORTS, Some(port))
    }

    /// All ports, by name.
    pub fn ports(&self) -> Result<Vec<Port>, ClientError> {
        self.get(routes::PORTS)
    }

    /// One port.
    pub fn port(&self, name: &Name) -> Result<Port, ClientError> {
        self.get(&with_name(routes::PORT, name))
    }

    /// Changes a port.
    pub fn port_set(&self, name: &Name, set: &PortSet) -> Result<Port, ClientError> {
        self.ask(Method::Patch, &with_name(routes::PORT, name), Some(set))
    }

    /// Takes a port away.
    pub fn port_remove(&self, name: &Name) -> Result<(), ClientError> {
        self.ask(Method::Delete, &with_name(routes::PORT, name), NOTHING)
    }

    /// The MAC addresses that pass `filter`.
    pub fn fdb(&self, filter: &FdbFilter) -> Result<Vec<FdbEntry>, ClientError> {
        let named = [("network", &filter.network), ("port", &filter.port)];
        let query: Vec<String> = named
            .into_iter()
            .filter_map(|(key, name)| Some(format!("{key}={}", name.as_ref()?)))
            .collect();
        self.get(&format!("{}?{}", routes::FDB, query.join("&")))
    }

    /// Writes a static entry.
    pub fn fdb_add(&self, entry: &FdbAdd) -> Result<FdbEntry, ClientError> {
        self.ask(Method::Post, routes::FDB, Some(entry))
    }

    /// Removes one entry.
    pub fn fdb_remove(&self, key: &FdbKey) -> Result<(), ClientError> {
        self.ask(Method::Post, routes::FDB_REMOVE, Some(key))
    }

    /// Forgets entries.
    pub fn fdb_flush(&self, flush: &FdbFlush) -> Result<Flushed, ClientError> {
        self.ask(Method::Post, routes::FDB_FLUSH, Some(flush))
    }

    /// What was dropped.
    pub fn drops(&self) -> Result<Drops, ClientError> {
        self.get(routes::DROPS)
    }

    /// How the daemon is.
    pub fn status(&self) -> Result<Status, ClientError> {
        self.get(routes::STATUS)
    }

    /// Leads a frame through the tables without side effects.
    pub fn explain(&self, request: &ExplainRequest) -> Result<Explanation, ClientError> {
        self.ask(Method::Post, routes::EXPLAIN, Some(request))
    }

    /// The interface's own description.
    pub fn openapi(&self) -> Result<serde_json::Value, ClientError> {
        self.get(routes::OPENAPI)
    }

    fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, ClientError> {
        self.ask(Method::Get, path, NOTHING)
    }

    fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        question: Option<&Q>,
    ) -> Result<A, ClientError> {
        let body = question
            .map_or_else(|| Ok(Vec::new()), serde_json::to_vec)
            .map_err(|error| self.not_understood(&error))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| self.no_answer(&error))?;
        let exchange = runtime.block_on(async {
            tokio::time::timeout(self.timeout, self.exchange(method, path, body)).await
        });
        let (good, answer) = exchange
            .map_err(|_| self.no_answer(&format!("waited {} s", self.timeout.as_secs_f32())))??;
        if !good {
            let refusal: ApiError =
                serde_json::from_slice(&answer).map_err(|error| self.not_understood(&error))?;
            return Err(refusal.into());
        }
        let answer: &[u8] = if answer.is_empty() { b"null" } else { &answer };
        serde_json::from_slice(answer).map_err(|error| self.not_understood(&error))
    }

    /// One request, one answer: whether it is a good one, and its bytes.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<(bool, Bytes), ClientError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|source| self.not_connected(source))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.no_answer(&error))?;
        let connection = tokio::spawn(connection);
        let request = hyper::Request::builder()
            .method(method.as_str())
            .uri(path)
            .header("host", "clearway")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| self.not_understood(&error))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| self.no_answer(&error))?;
        let good = response.status().is_success();
        let answer = response
            .into_body()
            .collect()
            .await
            .map_err(|error| self.no_answer(&error))?
            .to_bytes();
        connection.abort();
        Ok((good, answer))
    }

    fn not_connected(&self, source: io::Error) -> ClientError {
        let socket = self.socket.clone();
        if source.kind() == io::ErrorKind::PermissionDenied {
            ClientError::NotAllowed { socket, source }
        } else {
            ClientError::NoDaemon { socket, source }
        }
    }

    fn no_answer(&self, why: &dyn ToString) -> ClientError {
        ClientError::NoAnswer {
            socket: self.socket.clone(),
            why: why.to_string(),
        }
    }

    fn not_understood(&self, why: &dyn ToString) -> ClientError {
        ClientError::NotUnderstood {
            socket: self.socket.clone(),
            why: why.to_string(),
        }
    }
}

/// A request without a body.
const NOTHING: Option<&()> = None;

const TIMEOUT: Duration = Duration::from_secs(30);
