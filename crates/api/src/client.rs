//! The client: one method a call, over the daemon's unix socket.
//!
//! It blocks, because the command line, the lab and the tests have nothing else to do meanwhile;
//! it must not be called from within an async runtime. Each call is a connection of its own, so a
//! client outlives a restart of the daemon and may be shared between threads.

use crate::routes::{self, Method, with_name};
use crate::{
    Adopt, Adoption, ApiError, Attach, Cleaned, Detach, Drops, Endpoint, EndpointSet,
    ExplainRequest, Explanation, FdbAdd, FdbEntry, FdbFilter, FdbFlush, FdbKey, Finding, Flushed,
    Join, Name, NatEntry, NatEvent, NatFilter, Network, NetworkCreate, NetworkSet, Policy, Port,
    PortAdd, PortSet, Publication, PublicationCreate, Status, Uplink, UplinkAdd,
};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

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

    /// Changes a network.
    pub fn network_set(&self, name: &Name, set: &NetworkSet) -> Result<Network, ClientError> {
        self.ask(Method::Patch, &with_name(routes::NETWORK, name), Some(set))
    }

    /// Takes a network away that has neither ports nor endpoints.
    pub fn network_remove(&self, name: &Name) -> Result<(), ClientError> {
        self.ask(Method::Delete, &with_name(routes::NETWORK, name), NOTHING)
    }

    /// Makes an endpoint, and joins it if a namespace is named.
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

    /// One endpoint, by id or name.
    pub fn endpoint(&self, name: &Name) -> Result<Endpoint, ClientError> {
        self.get(&with_name(routes::ENDPOINT, name))
    }

    /// Changes an endpoint.
    pub fn endpoint_set(&self, name: &Name, set: &EndpointSet) -> Result<Endpoint, ClientError> {
        self.ask(Method::Patch, &with_name(routes::ENDPOINT, name), Some(set))
    }

    /// Gives an endpoint its interface in a sandbox.
    pub fn endpoint_join(&self, name: &Name, join: &Join) -> Result<Endpoint, ClientError> {
        let route = with_name(routes::ENDPOINT_JOIN, name);
        self.ask(Method::Post, &route, Some(join))
    }

    /// Takes an endpoint's interface away, and what is published of it.
    pub fn endpoint_leave(&self, name: &Name) -> Result<Endpoint, ClientError> {
        self.ask(
            Method::Post,
            &with_name(routes::ENDPOINT_LEAVE, name),
            NOTHING,
        )
    }

    /// What an endpoint may send and receive.
    pub fn policy(&self, endpoint: &Name) -> Result<Policy, ClientError> {
        self.get(&with_name(routes::POLICY, endpoint))
    }

    /// Says what an endpoint may send and receive, whole.
    pub fn policy_set(&self, endpoint: &Name, policy: &Policy) -> Result<Policy, ClientError> {
        self.ask(
            Method::Post,
            &with_name(routes::POLICY, endpoint),
            Some(policy),
        )
    }

    /// Lets an endpoint send and receive everything.
    pub fn policy_clear(&self, endpoint: &Name) -> Result<(), ClientError> {
        self.ask(
            Method::Delete,
            &with_name(routes::POLICY, endpoint),
            NOTHING,
        )
    }

    /// All uplinks, in the order they were added.
    pub fn uplinks(&self) -> Result<Vec<Uplink>, ClientError> {
        self.get(routes::UPLINKS)
    }

    /// Adds an uplink.
    pub fn uplink_add(&self, uplink: &UplinkAdd) -> Result<Uplink, ClientError> {
        self.ask(Method::Post, routes::UPLINKS, Some(uplink))
    }

    /// Takes an uplink away that no network names.
    pub fn uplink_remove(&self, name: &Name) -> Result<(), ClientError> {
        self.ask(Method::Delete, &with_name(routes::UPLINK, name), NOTHING)
    }

    /// All publications, in the order they were made.
    pub fn publications(&self) -> Result<Vec<Publication>, ClientError> {
        self.get(routes::PUBLICATIONS)
    }

    /// Publishes ports of an endpoint.
    pub fn publish(&self, ports: &PublicationCreate) -> Result<Publication, ClientError> {
        self.ask(Method::Post, routes::PUBLICATIONS, Some(ports))
    }

    /// Takes a publication away.
    pub fn unpublish(&self, id: &Name) -> Result<(), ClientError> {
        self.ask(Method::Delete, &with_name(routes::PUBLICATION, id), NOTHING)
    }

    /// All adopted bridges.
    pub fn adoptions(&self) -> Result<Vec<Adoption>, ClientError> {
        self.get(routes::ADOPTIONS)
    }

    /// Adopts a bridge of the host's.
    pub fn adopt(&self, adopt: &Adopt) -> Result<Adoption, ClientError> {
        self.ask(Method::Post, routes::ADOPTIONS, Some(adopt))
    }

    /// Gives a bridge its containers back.
    pub fn release(&self, bridge: &Name) -> Result<(), ClientError> {
        self.ask(
            Method::Delete,
            &with_name(routes::ADOPTION, bridge),
            NOTHING,
        )
    }

    /// The connections the NAT follows that pass `filter`.
    pub fn nat(&self, filter: &NatFilter) -> Result<Vec<NatEntry>, ClientError> {
        self.get(&format!("{}?{}", routes::NAT, filter.query()))
    }

    /// Forgets the connections that pass `filter`.
    pub fn nat_flush(&self, filter: &NatFilter) -> Result<Flushed, ClientError> {
        self.ask(Method::Post, routes::NAT_FLUSH, Some(filter))
    }

    /// Tells `each` what happens to the connections that pass `filter`, until it breaks or the
    /// daemon ends. The timeout is for the first answer alone.
    pub fn nat_watch(
        &self,
        filter: &NatFilter,
        mut each: impl FnMut(NatEvent) -> ControlFlow<()>,
    ) -> Result<(), ClientError> {
        let path = format!("{}?{}", routes::NAT_WATCH, filter.query());
        self.runtime()?.block_on(async {
            let asked = self.answer(Method::Get, &path, Vec::new());
            let answer = tokio::time::timeout(self.timeout, asked).await;
            let (mut body, _connection) = answer.map_err(|_| self.timed_out())??;
            let mut lines = Lines::default();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| self.no_answer(&error))?;
                lines.push(frame.data_ref().map_or(&[], |data| &data[..]));
                while let Some(line) = lines.next() {
                    let event = serde_json::from_slice(&line)
                        .map_err(|error| self.not_understood(&error))?;
                    if each(event).is_break() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        })
    }

    /// What is not as it should be.
    pub fn doctor(&self) -> Result<Vec<Finding>, ClientError> {
        self.get(routes::DOCTOR)
    }

    /// Puts right what is not as it should be.
    pub fn doctor_clean(&self) -> Result<Vec<Cleaned>, ClientError> {
        self.ask(Method::Post, routes::DOCTOR_CLEAN, NOTHING)
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
        let exchange = self.runtime()?.block_on(async {
            let whole = async {
                let (body, _connection) = self.answer(method, path, body).await?;
                self.whole(body).await
            };
            tokio::time::timeout(self.timeout, whole).await
        });
        let answer = exchange.map_err(|_| self.timed_out())??;
        let answer: &[u8] = if answer.is_empty() { b"null" } else { &answer };
        serde_json::from_slice(answer).map_err(|error| self.not_understood(&error))
    }

    fn runtime(&self) -> Result<Runtime, ClientError> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| self.no_answer(&error))
    }

    /// One request, and the body of its answer if that is a good one.
    async fn answer(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<(Incoming, Connection), ClientError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|source| self.not_connected(source))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.no_answer(&error))?;
        let connection = tokio::spawn(async move {
            // What ends it is told to whoever reads the answer.
            let _ = connection.await;
        });
        let connection = Connection(connection);
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
        let body = response.into_body();
        if good {
            return Ok((body, connection));
        }
        let refusal: ApiError = serde_json::from_slice(&self.whole(body).await?)
            .map_err(|error| self.not_understood(&error))?;
        Err(refusal.into())
    }

    async fn whole(&self, body: Incoming) -> Result<Bytes, ClientError> {
        let collected = body.collect().await;
        collected
            .map(http_body_util::Collected::to_bytes)
            .map_err(|error| self.no_answer(&error))
    }

    fn timed_out(&self) -> ClientError {
        self.no_answer(&format!("waited {} s", self.timeout.as_secs_f32()))
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

/// Drives a connection; dropped, it ends.
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Cuts what comes into lines; a line may come in pieces.
#[derive(Debug, Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next whole line without its end; empty ones are left out.
    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let end = self.0.iter().position(|&byte| byte == b'\n')?;
            let line: Vec<u8> = self.0.drain(..=end).collect();
            let line = &line[..end];
            if !line.is_empty() {
                return Some(line.to_vec());
            }
        }
    }
}

/// A request without a body.
const NOTHING: Option<&()> = None;

const TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_in_pieces_and_several_at_once() {
        let mut lines = Lines::default();
        lines.push(b"{\"a\"");
        assert_eq!(lines.next(), None);
        lines.push(b":1}\n\n{}\n{");
        assert_eq!(lines.next().as_deref(), Some(&b"{\"a\":1}"[..]));
        assert_eq!(lines.next().as_deref(), Some(&b"{}"[..]));
        assert_eq!(lines.next(), None);
        lines.push(b"}\n");
        assert_eq!(lines.next().as_deref(), Some(&b"{}"[..]));
    }
}
