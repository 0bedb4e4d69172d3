//! The transport: `POST /Method` with JSON, over the socket.
//!
//! dockerd has habits. A call without arguments has no body at all, where `{}` is meant. `Host` is
//! empty up to version 20.10. A method it does not find must be 404, which dockerd takes for "an
//! older plugin"; everything else that goes wrong is 200 with `{"Err": "..."}`, the text of which
//! is what the user sees.
//!
//! A call runs on a thread of tokio's blocking pool, as the client of Clearway's interface blocks.
//! It goes on when dockerd hangs up, so that no half of a join is left, and a panic in it is that
//! call's answer.

use crate::calls::Call;
use crate::error::Error;
use crate::{Options, Plugin, calls, driver, ipam, names};
use api::socket::PrivateSocket;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::any::Any;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

/// A bound socket. Callers wait from now on, and are answered by [`Listener::serve`]; when this is
/// dropped the socket is removed, unless somebody else keeps it.
#[derive(Debug)]
#[must_use = "the socket is removed when this is dropped"]
pub struct Listener {
    listener: UnixListener,
    file: Option<PrivateSocket>,
}

impl Listener {
    /// Takes the place of whoever answered before on a socket that a service manager keeps: callers
    /// wait there while nobody does.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn of(listener: UnixListener, path: &Path) -> Result<Self, Error> {
        let opened = listener.set_nonblocking(true);
        opened.map_err(|source| Error::Io {
            what: "open",
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            listener,
            file: None,
        })
    }

    /// Binds `path`, for root alone.
    ///
    /// # Errors
    /// [`Error::Bind`]; nothing of a living plugin was touched.
    pub fn bind(path: &Path) -> Result<Self, Error> {
        let (file, listener) = PrivateSocket::bind(path, None)?;
        Ok(Self {
            listener,
            file: Some(file),
        })
    }

    /// Answers until `stop` ends; calls that run then have five seconds left.
    ///
    /// # Errors
    /// [`Error::Io`]: the runtime does not take the socket, or the state directory cannot be made.
    pub async fn serve(
        self,
        options: Options,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Error> {
        let Self { listener, file } = self;
        let failed = |source| Error::Io {
            what: "serve",
            path: options.socket.clone(),
            source,
        };
        let listener = tokio::net::UnixListener::from_std(listener).map_err(failed)?;
        let client = api::Client::new(&options.api_socket);
        let changed = Arc::new(Notify::new());
        let plugin = Arc::new(Plugin {
            driver: driver::Driver::new(
                client.clone(),
                options.netns_prefix.clone(),
                Arc::clone(&changed),
            ),
            ipam: ipam::Ipam::open(&options.state_dir)?,
        });
        // Dropped on the way out, it ends.
        let mut tasks = JoinSet::new();
        if let Some(docker) = options.docker_socket.clone() {
            tasks.spawn(names::keep(docker, client, changed));
        }
        let (stopping, stopped) = oneshot::channel();
        let stop = async move {
            stop.await;
            // Whoever waits for it has ended when it cannot be told.
            let _ = stopping.send(());
        };
        let served = axum::serve(listener, router(plugin)).with_graceful_shutdown(stop);
        let too_late = async {
            let _ = stopped.await;
            tokio::time::sleep(GRACE).await;
        };
        let ended = tokio::select! {
            ended = served.into_future() => ended.map_err(failed),
            () = too_late => Ok(()),
        };
        drop(file);
        ended
    }
}

/// How long calls may go on after the end was announced.
const GRACE: Duration = Duration::from_secs(5);
/// The largest body: 65,535 published ports, twice, have 10 MB.
const MAX_BODY: u64 = 32 << 20;
/// The type that plugins give their bodies.
const CONTENT_TYPE: &str = "application/vnd.docker.plugins.v1.2+json";

fn router(plugin: Arc<Plugin>) -> Router {
    Router::new().fallback(answer).with_state(plugin)
}

async fn answer(State(plugin): State<Arc<Plugin>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let Some(call) = calls::named(&path) else {
        return (
            StatusCode::NOT_FOUND,
            format!("there is no method {path}\n"),
        )
            .into_response();
    };
    if request.method() != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let body = request.into_body();
    let too_long = body.size_hint().lower() > MAX_BODY;
    let answer = if too_long {
        refusal(&format!(
            "the request's body is longer than {MAX_BODY} bytes"
        ))
    } else {
        match to_bytes(body, usize::try_from(MAX_BODY).unwrap_or(usize::MAX)).await {
            Ok(body) => run(&path, plugin, call, body).await,
            Err(error) => refusal(&format!("the request's body: {error}")),
        }
    };
    tracing::debug!(method = path, %answer, "answered Docker");
    let headers = [(header::CONTENT_TYPE, CONTENT_TYPE)];
    (headers, Body::from(answer.to_string())).into_response()
}

/// A call's answer, whatever becomes of it.
async fn run(path: &str, plugin: Arc<Plugin>, call: Call, body: Bytes) -> Value {
    let called = tokio::task::spawn_blocking(move || call(&plugin, &body));
    match called.await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            tracing::warn!(method = path, %error, "refused Docker");
            refusal(&error.to_string())
        }
        Err(error) => {
            let why = match error.try_into_panic() {
                Ok(payload) => panic_text(payload.as_ref()),
                Err(error) => error.to_string(),
            };
            tracing::error!(method = path, why, "a call of Docker's panicked");
            refusal(&format!("{path} failed inside Clearway: {why}"))
        }
    }
}

/// dockerd looks for a network driver's refusal in one field and for an IPAM driver's in another
/// (`libnetwork/drivers/remote/api`, `libnetwork/ipams/remote/api`).
fn refusal(why: &str) -> Value {
    json!({ "Err": why, "Error": why })
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without words".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_one_calls_answer() {
        let dir = tempfile::tempdir().unwrap();
        let client = api::Client::new(dir.path().join("none"));
        let plugin = Arc::new(Plugin {
            driver: driver::Driver::new(client, None, Arc::new(Notify::new())),
            ipam: ipam::Ipam::open(dir.path()).unwrap(),
        });
        let panicking: Call = |_, body| panic!("cannot take {}", body.len());
        let answer = run(
            "/A.B",
            Arc::clone(&plugin),
            panicking,
            Bytes::from_static(b"xyz"),
        )
        .await;
        let why = "/A.B failed inside Clearway: cannot take 3";
        assert_eq!(answer, json!({"Err": why, "Error": why}));
        let fine: Call = |_, _| Ok(json!({}));
        assert_eq!(run("/A.B", plugin, fine, Bytes::new()).await, json!({}));
    }
}
