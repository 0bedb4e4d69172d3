//! Docker's network driver and IPAM driver: what dockerd asks its plugins, answered on a unix
//! socket and put into calls of Clearway's own interface.
//!
//! ```text
//!   dockerd ── POST /NetworkDriver.Join ──> http ── calls ──┬── driver ──> api::Client ──> daemon
//!      ▲                                                    └── ipam ────> docker-ipam.json
//!      └───────── events, inspect ───────── names ────────────────────────> api::Client
//! ```
//!
//! * `http` and `calls`: a request's path is looked up in one table; a call runs on a thread of its
//!   own, and what goes wrong in it is `{"Err": "..."}`, a panic as well.
//! * `driver`: networks, endpoints, sandboxes, published ports. It keeps nothing itself: what
//!   Docker calls a network is the one of Clearway's that has Docker's id as a label. dockerd
//!   replays nothing to a plugin that comes back, so what is not in the daemon's state is lost.
//! * `options` and `portmap`: what users say with `-o` and `-p`.
//! * `ipam`: pools of several tenants, which may overlap. It is asked only where a network says
//!   `--ipam-driver`; it has a state file of its own, for an address must not be given twice.
//! * `adopt`: containers of Docker's own bridges, which an operator has adopted.
//! * `names`: Docker tells a driver no names. They are asked of dockerd, never from within a call:
//!   dockerd holds locks while it waits for a driver, and would wait for itself.
//!
//! Calls of different containers come at the same time, and in any order that a dockerd which was
//! killed between two of them makes: each one does what is still to be done, and is content when
//! what is to be taken away is gone.

mod adopt;
mod calls;
mod driver;
mod error;
mod fields;
mod fingerprint;
mod http;
mod ipam;
mod labels;
mod look;
mod names;
mod options;
mod portmap;

pub use adopt::follow_adopted;
pub use error::Error;
pub use http::Listener;

use std::path::PathBuf;

/// Where dockerd looks for a plugin named `clearway`.
pub const DEFAULT_SOCKET: &str = "/run/docker/plugins/clearway.sock";
/// Where dockerd itself is asked.
pub const DEFAULT_DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// Where everything is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The socket dockerd calls; its name without `.sock` is the driver's.
    pub socket: PathBuf,
    /// The socket of Clearway's daemon.
    pub api_socket: PathBuf,
    /// The directory of the file that remembers pools and addresses.
    pub state_dir: PathBuf,
    /// dockerd's own socket, which is asked for names. `None`: networks and endpoints keep the
    /// names they are made with, and nothing stale is collected.
    pub docker_socket: Option<PathBuf>,
    /// The prefix of a sandbox's path as dockerd says it, and as the daemon sees it: they
    /// differ when the daemon runs in a container of its own.
    pub netns_prefix: Option<(PathBuf, PathBuf)>,
}

impl Options {
    /// The usual places, for the daemon on `api_socket` with state in `state_dir`.
    pub fn new(api_socket: impl Into<PathBuf>, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            socket: DEFAULT_SOCKET.into(),
            api_socket: api_socket.into(),
            state_dir: state_dir.into(),
            docker_socket: Some(DEFAULT_DOCKER_SOCKET.into()),
            netns_prefix: None,
        }
    }
}

/// Answers dockerd until `stop` ends, and removes the socket then. Needs a tokio runtime with its
/// I/O and timers.
///
/// # Errors
/// [`Error`]: the socket cannot be had. Trouble with one call is that call's answer.
pub async fn serve(
    options: Options,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    Listener::bind(&options.socket)?.serve(options, stop).await
}

/// Both drivers.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) driver: driver::Driver,
    pub(crate) ipam: ipam::Ipam,
}
