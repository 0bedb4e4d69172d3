//! The client: a method for each call of the table, over the daemon's unix socket.
//!
//! It blocks, because the command line, the lab and the tests have nothing else to do meanwhile;
//! it must not be called from within an async runtime. Each call is a connection of its own, so a
//! client outlives a restart of the daemon and may be shared between threads.

use crate::{ApiError, Method, Name, OPENAPI};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::marker::PhantomData;
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
        /// The kernel's error.
        source: io::Error,
    },
    /// The socket belongs to somebody else.
    #[error("{} may not be opened: {source}; run as its owner or in its group", socket.display())]
    NotAllowed {
        /// The socket.
        socket: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
    /// The daemon went away, or did not answer in time.
    #[error("the daemon on {} gave no answer: {why}", socket.display())]
    NoAnswer {
        /// The socket.
        socket: PathBuf,
        /// The reason.
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
        /// The reason why it is not understood.
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

/// The means by which [`calls!`](crate::declare) makes a call.
impl Client {
    /// The interface's own description.
    ///
    /// # Errors
    /// As with every call.
    pub fn openapi(&self) -> Result<serde_json::Value, ClientError> {
        self.request(Method::GET, OPENAPI).answer()
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> Request<'_> {
        Request {
            client: self,
            method,
            path: path.to_owned(),
            body: Vec::new(),
        }
    }

    fn runtime(&self) -> Result<Runtime, ClientError> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| self.no_answer(&error))
    }

    /// One request, and the body of its answer if that is a good one.
    async fn exchange(
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
            .method(method)
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

/// A call on its way out.
pub(crate) struct Request<'c> {
    client: &'c Client,
    method: Method,
    path: String,
    body: Vec<u8>,
}

impl Request<'_> {
    /// Puts a name into the path. A [`Name`] needs no escaping.
    pub(crate) fn named(self, name: &Name) -> Self {
        Self {
            path: self.path.replace("{name}", name.as_str()),
            ..self
        }
    }

    /// Puts a filter behind the question mark.
    pub(crate) fn query(self, query: &impl Serialize) -> Result<Self, ClientError> {
        let query = serde_urlencoded::to_string(query)
            .map_err(|error| self.client.not_understood(&error))?;
        Ok(Self {
            path: format!("{}?{query}", self.path),
            ..self
        })
    }

    /// Gives it a body.
    pub(crate) fn body(self, body: &impl Serialize) -> Result<Self, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.client.not_understood(&error))?;
        Ok(Self { body, ..self })
    }

    /// Asks, and waits for the whole answer; none is `()`.
    pub(crate) fn answer<A: DeserializeOwned>(self) -> Result<A, ClientError> {
        let client = self.client;
        let exchange = client.runtime()?.block_on(async {
            let whole = async {
                let exchanged = client.exchange(self.method, &self.path, self.body);
                let (body, _connection) = exchanged.await?;
                client.whole(body).await
            };
            tokio::time::timeout(client.timeout, whole).await
        });
        let answer = exchange.map_err(|_| client.timed_out())??;
        let answer: &[u8] = if answer.is_empty() { b"null" } else { &answer };
        serde_json::from_slice(answer).map_err(|error| client.not_understood(&error))
    }

    /// Asks, and waits until the answer begins. The timeout is for that alone.
    pub(crate) fn stream<T>(self) -> Result<Stream<T>, ClientError> {
        let client = self.client;
        let runtime = client.runtime()?;
        let begun = runtime.block_on(async {
            let exchanged = client.exchange(self.method, &self.path, self.body);
            tokio::time::timeout(client.timeout, exchanged).await
        });
        let (body, connection) = begun.map_err(|_| client.timed_out())??;
        Ok(Stream {
            client: client.clone(),
            lines: Lines::default(),
            body: Some(body),
            _connection: connection,
            runtime,
            values: PhantomData,
        })
    }
}

/// The values of a call that goes on, each as it comes; dropped, it hangs up.
///
/// The end says how the stream ended: after `None` the daemon ended it, after an error it did not,
/// or it sent something that is not understood.
#[derive(Debug)]
pub struct Stream<T> {
    client: Client,
    lines: Lines,
    /// `None` after the end.
    body: Option<Incoming>,
    _connection: Connection,
    runtime: Runtime,
    values: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Iterator for Stream<T> {
    type Item = Result<T, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        let value = self.next_line().transpose()?.and_then(|line| {
            serde_json::from_slice(&line).map_err(|error| self.client.not_understood(&error))
        });
        if value.is_err() {
            self.body = None;
        }
        Some(value)
    }
}

impl<T> Stream<T> {
    fn next_line(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        loop {
            let Some(body) = &mut self.body else {
                return Ok(None);
            };
            if let Some(line) = self.lines.next() {
                return Ok(Some(line));
            }
            match self.runtime.block_on(body.frame()) {
                Some(Ok(frame)) => self.lines.push(frame.data_ref().map_or(&[], |data| data)),
                Some(Err(error)) => return Err(self.client.no_answer(&error)),
                None => self.body = None,
            }
        }
    }
}

/// Drives a connection; dropped, it ends.
#[derive(Debug)]
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

const TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixListener;
    use std::sync::mpsc;

    /// A daemon that answers one call with `parts`, each when it is told to go on, and hangs up.
    fn daemon(parts: &'static [&'static str]) -> (tempfile::TempDir, Client, mpsc::Sender<()>) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("a.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (go_on, wait) = mpsc::channel();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = BufReader::new(stream.try_clone().unwrap()).lines();
            while !request.next().unwrap().unwrap().is_empty() {}
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            for part in parts {
                stream.write_all(part.as_bytes()).unwrap();
                wait.recv().unwrap();
            }
        });
        (dir, Client::new(socket), go_on)
    }

    #[test]
    fn a_stream_gives_each_value_as_it_comes_and_says_how_it_ended() {
        let (_dir, client, go_on) = daemon(&["4\r\n1\n2\n\r\n", "2\r\n3\n\r\n", "0\r\n\r\n"]);
        let mut stream = client.request(Method::GET, "/").stream::<u32>().unwrap();
        assert_eq!(stream.next().unwrap().unwrap(), 1);
        assert_eq!(stream.next().unwrap().unwrap(), 2);
        go_on.send(()).unwrap();
        assert_eq!(stream.next().unwrap().unwrap(), 3);
        go_on.send(()).unwrap();
        assert!(stream.next().is_none(), "the daemon ended it");

        let (_dir, client, go_on) = daemon(&["2\r\n1\n\r\n"]);
        let mut stream = client.request(Method::GET, "/").stream::<u32>().unwrap();
        assert_eq!(stream.next().unwrap().unwrap(), 1);
        go_on.send(()).unwrap();
        let broken = stream.next().unwrap();
        assert!(
            matches!(broken, Err(ClientError::NoAnswer { .. })),
            "{broken:?}"
        );
        assert!(stream.next().is_none());
    }

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
