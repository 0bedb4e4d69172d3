//! The daemon's life: settings, log, locks, state, socket, and a clean stop.
//!
//! ```text
//! read settings ─> lock state dir ─> bind socket ─> start the manager ─> declared networks, ports
//!      ─> answer calls (READY) ─── SIGTERM, SIGINT ──> no new calls ─> stop the workers
//! ```
//! The locks come first: a second daemon is refused before it has touched anything of the first.

use crate::activation;
use crate::config::{Config, ConfigError};
use crate::manager::Manager;
use crate::socket::{Socket, SocketError};
use crate::store::{FileStore, OpenError};
use api::{ApiError, Datapath, ErrorCode, NetworkCreate, Service, UplinkAdd};
use sd_notify::NotifyState;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

/// What the command line says to the daemon; it wins over the file.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// Read settings from this TOML file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Answer the API on this unix socket; an option of the whole program
    #[arg(skip)]
    pub socket: Option<PathBuf>,
    /// Remember networks, endpoints and ports in this directory [default: /var/lib/clearway]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Let this group (name or number) use the socket, too
    #[arg(long, value_name = "GROUP")]
    pub socket_group: Option<String>,
    /// Answer Docker's network driver and IPAM driver `clearway`
    #[arg(long)]
    pub docker: bool,
    /// Answer them on this unix socket [default: /run/docker/plugins/clearway.sock]
    #[arg(long, value_name = "SOCKET")]
    pub docker_plugin_socket: Option<PathBuf>,
    /// Ask dockerd for names on this unix socket [default: /var/run/docker.sock]
    #[arg(long, value_name = "SOCKET")]
    pub docker_socket: Option<PathBuf>,
    /// Carry frames with this many threads
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: Option<u16>,
    /// Carry frames so, unless a network or an endpoint says otherwise: auto, userspace or kernel
    #[arg(long, value_name = "DATAPATH", env = "CLEARWAY_DATAPATH")]
    pub datapath: Option<Datapath>,
    /// Let the kernel repeat what was decided for so long without a daemon, 1 to 3600 [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub lease_time: Option<u16>,
    /// Log from this level on: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
}

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The settings are not accepted.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What to log is not understood.
    #[error(
        "log is `{value}`: {why}; allowed are error, warn, info, debug, trace, or a filter as in RUST_LOG"
    )]
    Log {
        /// What was said.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// The socket cannot be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The state directory cannot be had.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The dataplane or a declared network cannot be had.
    #[error("{what}: {source}")]
    Start {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: ApiError,
    },
    /// The drivers' socket cannot be had.
    #[error(transparent)]
    Docker(#[from] docker::Error),
    /// The kernel refused what every process needs.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
}

/// Runs the daemon until a signal stops it. Trouble is told on stderr.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    match try_run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(
                clippy::print_stderr,
                reason = "the log may be filtered; the reason of a failed start may not"
            )]
            {
                eprintln!("clearway daemon: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn try_run(args: &Args) -> Result<(), RunError> {
    let config = settings(args)?;
    start_log(&config.log)?;
    // Two threads: one may wait for the kernel while the other answers. Neither ever sees a frame.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|source| RunError::Io {
        what: "cannot start the runtime",
        source,
    })?;
    let outcome = runtime.block_on(serve(&config));
    runtime.shutdown_timeout(PATIENCE);
    outcome
}

/// The file's settings, with the command line's over them.
fn settings(args: &Args) -> Result<Config, RunError> {
    let file = args
        .config
        .as_deref()
        .map_or_else(|| Ok(Config::default()), Config::read)?;
    Ok(Config {
        socket: args.socket.clone().unwrap_or(file.socket),
        socket_group: args.socket_group.clone().or(file.socket_group),
        state_dir: args.state_dir.clone().unwrap_or(file.state_dir),
        workers: args.workers.or(file.workers),
        datapath: args.datapath.unwrap_or(file.datapath),
        lease_seconds: args.lease_time.unwrap_or(file.lease_seconds),
        docker: args.docker || file.docker,
        docker_plugin_socket: args
            .docker_plugin_socket
            .clone()
            .unwrap_or(file.docker_plugin_socket),
        docker_socket: args.docker_socket.clone().unwrap_or(file.docker_socket),
        log: args.log.clone().unwrap_or(file.log),
        ..file
    })
}

fn start_log(level: &str) -> Result<(), RunError> {
    let (value, filter) = match std::env::var("RUST_LOG") {
        Ok(filter) if !filter.is_empty() => (filter.clone(), EnvFilter::try_new(filter)),
        Ok(_) | Err(_) => (level.to_owned(), EnvFilter::try_new(level)),
    };
    let filter = filter.map_err(|error| RunError::Log {
        value,
        why: error.to_string(),
    })?;
    let ansi = std::io::stderr().is_terminal();
    // An error says that a test has already set one up.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .try_init();
    Ok(())
}

async fn serve(config: &Config) -> Result<(), RunError> {
    let stop = stop_signal()?;
    let remembered = FileStore::open(&config.state_dir)?;
    let (_socket, listener) = Socket::bind(&config.socket, config.socket_group.as_deref())?;
    let listener = tokio::net::UnixListener::from_std(listener);
    let listener = listener.map_err(|source| RunError::Io {
        what: "cannot listen on the socket",
        source,
    })?;

    let drivers = config
        .docker
        .then(|| drivers_socket(&config.docker_plugin_socket))
        .transpose()?;

    let manager = Manager::start(config, remembered)
        .await
        .map_err(|source| RunError::Start {
            what: "cannot start the switch".into(),
            source,
        })?;
    let manager = Arc::new(manager);
    let declared = {
        let (calls, config) = (Arc::clone(&manager), config.clone());
        tokio::task::spawn_blocking(move || declare(&*calls, &config))
    };
    let declared = declared.await.unwrap_or_else(|panic| {
        Err(RunError::Start {
            what: "cannot make what the settings declare".into(),
            source: ApiError::internal(panic.to_string()),
        })
    });
    let outcome = match declared {
        Ok(()) => {
            let calls = Arc::clone(&manager);
            answer(listener, drivers, calls, config, stop).await
        }
        Err(error) => Err(error),
    };
    manager.shutdown().await;
    tracing::info!("stopped");
    outcome
}

/// The socket that Docker calls: the service manager's, if it keeps that one, else our own.
fn drivers_socket(path: &Path) -> Result<docker::Listener, docker::Error> {
    match activation::listener(path) {
        Some(kept) => docker::Listener::of(kept, path),
        None => docker::Listener::bind(path),
    }
}

/// Answers calls until `stop`, then lets those under way end.
async fn answer(
    listener: tokio::net::UnixListener,
    drivers: Option<docker::Listener>,
    manager: Arc<Manager>,
    config: &Config,
    stop: impl Future<Output = &'static str> + Send + 'static,
) -> Result<(), RunError> {
    let drivers = drivers.map(|drivers| answer_docker(drivers, config));
    let adopted = tokio::spawn(docker::follow_adopted(
        config.docker_socket.clone(),
        config.socket.clone(),
        manager.adopted(),
    ));
    tracing::info!(socket = %config.socket.display(), state = %config.state_dir.display(), version = env!("CARGO_PKG_VERSION"), "ready");
    tell(NotifyState::Ready);
    let (stopping, stopped) = oneshot::channel();
    let graceful = async move {
        let signal = stop.await;
        tracing::info!(signal, "stopping");
        tell(NotifyState::Stopping);
        // They call us: they end first.
        adopted.abort();
        if let Some(drivers) = drivers {
            drivers.end().await;
        }
        // Nobody listens any more when the server has failed by itself.
        let _ = stopping.send(());
    };
    let server =
        axum::serve(listener, api::server::router(manager)).with_graceful_shutdown(graceful);
    let late = async {
        let _ = stopped.await;
        tokio::time::sleep(PATIENCE).await;
    };
    tokio::select! {
        served = server => served.map_err(|source| RunError::Io { what: "cannot answer on the socket", source }),
        () = late => {
            tracing::warn!("calls under way were not waited for any longer");
            Ok(())
        }
    }
}

/// Tells a service manager how the daemon is, if there is one.
fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager does not listen on NOTIFY_SOCKET");
    }
}

/// Docker's drivers, being answered.
struct Drivers {
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<Result<(), docker::Error>>,
}

impl Drivers {
    /// Answers no new calls, and waits for those under way.
    async fn end(self) {
        // Who failed by itself listens no more, and has said why.
        let _ = self.stop.send(());
        let _ = tokio::time::timeout(PATIENCE, self.served).await;
    }
}

/// Answers dockerd until told to end.
fn answer_docker(listener: docker::Listener, config: &Config) -> Drivers {
    let options = docker::Options {
        socket: config.docker_plugin_socket.clone(),
        docker_socket: Some(config.docker_socket.clone()),
        ..docker::Options::new(&config.socket, &config.state_dir)
    };
    let (stop, stopped) = oneshot::channel();
    let stopped = async {
        let _ = stopped.await;
    };
    let served = tokio::spawn(async move {
        let served = listener.serve(options, stopped).await;
        if let Err(error) = &served {
            tracing::error!(%error, "docker's drivers are not answered any more");
        }
        served
    });
    Drivers { stop, served }
}

/// Adds the uplinks that the settings declare. One that cannot be had is told and left out: what
/// stays in the house shall have its traffic.
fn declare_uplinks(calls: &impl Service, config: &Config) {
    for dev in &config.uplinks {
        match calls.uplink_add(&UplinkAdd::new(dev)) {
            Ok(_) => tracing::info!(uplink = %dev, "added as declared"),
            Err(error) if error.code == ErrorCode::AlreadyExists => {}
            Err(error) => tracing::error!(uplink = %dev, %error, "cannot be added as declared"),
        }
    }
}

/// Makes what the settings declare. What exists already stays as it is: a container's traffic is
/// worth more than a changed line in a file. A port that cannot be opened is told and left out,
/// for every other port shall have its traffic.
fn declare(calls: &impl Service, config: &Config) -> Result<(), RunError> {
    declare_uplinks(calls, config);
    for network in &config.networks {
        let name = &network.name;
        // Said once, when the network is made.
        let declared = NetworkCreate {
            allow_overlap: false,
            ..network.clone()
        };
        match calls.network_create(network) {
            Ok(_) => tracing::info!(network = %name, "made as declared"),
            Err(error) if error.code == ErrorCode::AlreadyExists => {
                if calls
                    .network(name)
                    .is_ok_and(|there| there.spec != declared)
                {
                    tracing::warn!(network = %name, "exists with other settings than declared; remove it to have them");
                }
            }
            Err(source) => {
                return Err(RunError::Start {
                    what: format!("cannot make network {name}"),
                    source,
                });
            }
        }
    }
    for port in &config.ports {
        let name = &port.name;
        match calls.port_add(port) {
            Ok(_) => tracing::info!(port = %name, "added as declared"),
            Err(error) if error.code == ErrorCode::AlreadyExists => {
                if calls.port(name).is_ok_and(|there| there.spec != *port) {
                    tracing::warn!(port = %name, "exists with other settings than declared; remove it to have them");
                }
            }
            Err(error) => tracing::error!(port = %name, %error, "cannot be added as declared"),
        }
    }
    Ok(())
}

/// Waits for SIGTERM or SIGINT; either is caught from this call on.
fn stop_signal() -> Result<impl Future<Output = &'static str> + Send + 'static, RunError> {
    let catch = |kind| {
        signal(kind).map_err(|source| RunError::Io {
            what: "cannot catch signals",
            source,
        })
    };
    let (mut terminate, mut interrupt) = (
        catch(SignalKind::terminate())?,
        catch(SignalKind::interrupt())?,
    );
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}

/// How long calls under way are waited for at the end.
const PATIENCE: Duration = Duration::from_secs(5);
