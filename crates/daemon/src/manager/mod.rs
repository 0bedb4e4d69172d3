//! The owner of the state: networks, endpoints, ports, and the dataplane that serves them.
//!
//! ```text
//!   change ──> translate ──> control checks it ──> kernel ──> state file ──> frames and readers see it
//!                                refused             └── on failure all of it is taken back ──┘
//!
//!   read ───> snapshot that the last change left, counters and tables of the dataplane as they are now
//! ```
//! Changes come at once from many connections and are made one after the other by the one writer,
//! each on a thread that may block: what a change was checked against is what it changes. No frame
//! waits for one, and no reader either.
//!
//! Once a second a watcher looks whether namespaces are still there, and has old addresses
//! forgotten.
//!
//! * `writer.rs`: the state and the one way to change it · `snapshot.rs`: what readers see
//! * `open.rs`: ports that are open · `make.rs`: what is behind them · `datapath.rs`: the kernel's part · `restore.rs`: taking up again after a restart · `watch.rs`
//! * `adoption.rs`, `networks.rs`, `endpoints.rs`, `ports.rs`, `gateway.rs`, `connections.rs`, `fdb.rs`, `status.rs`, `doctor.rs`,
//!   `explain.rs`, `trace.rs`: the calls, those that change and those that read
//! * `host_links.rs`: the round in which the kernel is made to be as desired: `observe.rs`, then
//!   `control::reconcile`, then `carry_out.rs` · `servers.rs`: the name server
//! * `survival.rs`: connections that outlive the daemon
//! * `translate.rs`: the interface's words and the state's · `filter.rs`: filters of requests · `routes.rs`: the host's routes

mod adoption;
mod carry_out;
mod connections;
mod datapath;
mod doctor;
mod endpoints;
mod explain;
mod fdb;
mod filter;
mod gateway;
mod host_links;
#[cfg(test)]
mod kernel_tests;
mod leases;
mod make;
mod networks;
mod observe;
mod open;
mod ports;
mod refuse;
mod removals;
mod restore;
mod routes;
mod sandbox;
mod servers;
mod snapshot;
mod status;
mod survival;
mod tally;
mod trace;
mod translate;
mod watch;
mod writer;

use self::connections::Watchers;
use self::refuse::unavailable;
use self::snapshot::Snapshot;
use self::watch::Watcher;
use self::writer::Writer;
use crate::config::Config;
use crate::store::Remembered;
use api::ApiError;
use arc_swap::ArcSwap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The owner of the state.
#[derive(Debug)]
pub struct Manager {
    writer: Arc<Mutex<Writer>>,
    /// Changes that are made or wait.
    waiting: AtomicUsize,
    shown: Arc<ArcSwap<Snapshot>>,
    watchers: Arc<Watchers>,
    /// None once the daemon is stopping.
    watcher: Mutex<Option<Watcher>>,
    relay: JoinHandle<()>,
    adopted: Arc<Notify>,
}

impl Manager {
    /// Starts the workers, and takes up again what was remembered.
    ///
    /// # Errors
    /// The reason for which the dataplane cannot run.
    pub(crate) async fn start(config: &Config, remembered: Remembered) -> Result<Self, ApiError> {
        let config = config.clone();
        let start = move || Writer::start(&config, remembered);
        let writer = tokio::task::spawn_blocking(start).await;
        let writer = writer.map_err(|panic| ApiError::internal(panic.to_string()))??;
        let (shown, events) = (writer.shown(), writer.dataplane.events());
        let watchers = Arc::new(Watchers::new(Arc::clone(&writer.nat)));
        let often = writer.kernel.extended_every();
        let writer = Arc::new(Mutex::new(writer));
        let watcher = Watcher::start(&writer, events, often)
            .map_err(|error| unavailable("cannot start a thread", &error))?;
        let relay = tokio::spawn(Arc::clone(&watchers).relay(Arc::clone(&shown)));
        Ok(Self {
            writer,
            waiting: AtomicUsize::new(0),
            shown,
            watchers,
            watcher: Mutex::new(Some(watcher)),
            relay,
            adopted: Arc::default(),
        })
    }

    /// Told when a bridge was adopted or released.
    pub fn adopted(&self) -> Arc<Notify> {
        Arc::clone(&self.adopted)
    }

    /// The newest snapshot: whoever reads takes it, whatever is being changed meanwhile.
    fn now(&self) -> Arc<Snapshot> {
        let shown = self.shown.load_full();
        // Whoever looks sees what the kernel has begun until now.
        shown.dataplane.take_begun();
        shown
    }

    /// Changes something, alone with the state, and shows the outcome to readers. To be called on a
    /// thread that may block. A panic leaves the lock poisoned: the state is then not to be trusted,
    /// so every later change is refused, while frames go on being carried.
    fn change<T>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let _turn = Turn::take(&self.waiting)?;
        let poisoned = |_| {
            ApiError::internal(
                "an earlier call failed half-way; restart the daemon, containers keep their interfaces",
            )
        };
        let mut writer = self.writer.lock().map_err(poisoned)?;
        writer.handle_events();
        let done = work(&mut writer);
        writer.show();
        let removals = std::mem::take(&mut writer.removals);
        drop(writer);
        drop(removals);
        done
    }

    /// The number of changes that are made or wait.
    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Stops the workers. Containers keep their interfaces.
    pub async fn shutdown(&self) {
        drop(self.watcher.lock().map(|mut watcher| watcher.take()));
        let writer = Arc::clone(&self.writer);
        let stopped = tokio::task::spawn_blocking(move || {
            writer.lock().map(|mut writer| writer.stop()).is_ok()
        });
        if !stopped.await.unwrap_or(false) {
            tracing::error!(
                "the workers were not stopped cleanly: an earlier call failed half-way"
            );
        }
    }
}

/// Changes that may wait for one that takes long: each holds a thread, and those that read need
/// threads, too.
const MAX_WAITING: usize = 128;

/// A place among the changes that are made or wait.
struct Turn<'m>(&'m AtomicUsize);

impl<'m> Turn<'m> {
    fn take(waiting: &'m AtomicUsize) -> Result<Self, ApiError> {
        if waiting.fetch_add(1, Relaxed) >= MAX_WAITING {
            waiting.fetch_sub(1, Relaxed);
            return Err(ApiError::unavailable(format!(
                "{MAX_WAITING} changes wait for one that takes long; try again later"
            )));
        }
        Ok(Self(waiting))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.relay.abort();
    }
}
