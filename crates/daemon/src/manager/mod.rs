//! The owner of the state: networks, endpoints, ports, and the dataplane that serves them.
//!
//! ```text
//!   call ──> translate ──> control checks it ──> kernel ──> state file ──> topology published
//!                               refused             └── on failure all of it is taken back ──┘
//! ```
//! Calls come at once from many connections and are served one after the other, each on a thread
//! that may block, under one lock: what a call was checked against is what it changes. A call
//! takes a few milliseconds at most, and no frame waits for one.
//!
//! Once a second a watcher looks whether namespaces are still there, and has old addresses
//! forgotten.
//!
//! * `core.rs`: the state and the one way to change it · `store.rs`: the state file
//! * `open.rs`: ports of the kernel · `restore.rs`: taking up again after a restart · `watch.rs`
//! * `adoption.rs`, `networks.rs`, `endpoints.rs`, `ports.rs`, `gateway.rs`, `connections.rs`, `fdb.rs`, `status.rs`, `doctor.rs`,
//!   `explain.rs`, `trace.rs`: the calls
//! * `host_links.rs`: uplinks, the host's port, the servers' · `servers.rs`: the name server
//! * `survival.rs`: connections that outlive the daemon
//! * `translate.rs`: the interface's words and the state's · `routes.rs`: the host's routes

mod adoption;
mod connections;
mod core;
mod doctor;
mod endpoints;
mod explain;
mod fdb;
mod gateway;
mod host_links;
#[cfg(test)]
mod kernel_tests;
mod networks;
mod open;
mod ports;
mod refuse;
mod restore;
mod routes;
mod sandbox;
mod servers;
mod status;
mod store;
mod survival;
mod tally;
mod trace;
mod translate;
mod watch;

use self::core::Core;
use self::refuse::unavailable;
use self::watch::Watcher;
use crate::config::Config;
use api::ApiError;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The owner of the state.
#[derive(Debug)]
pub struct Manager {
    core: Arc<Mutex<Core>>,
    /// None once the daemon is stopping.
    watcher: Mutex<Option<Watcher>>,
    relay: JoinHandle<()>,
    adopted: Arc<Notify>,
}

impl Manager {
    /// Starts the workers, and takes up again what the state directory remembers.
    ///
    /// # Errors
    /// What keeps the dataplane from running, or the state directory from being used.
    pub async fn start(config: &Config) -> Result<Self, ApiError> {
        let config = config.clone();
        let core = tokio::task::spawn_blocking(move || Core::start(&config)).await;
        let core = core.map_err(|panic| ApiError::internal(panic.to_string()))??;
        let core = Arc::new(Mutex::new(core));
        let watcher = Watcher::start(Arc::downgrade(&core))
            .map_err(|error| unavailable("cannot start a thread", &error))?;
        let relay = tokio::spawn(watch::relay(Arc::downgrade(&core)));
        Ok(Self {
            core,
            watcher: Mutex::new(Some(watcher)),
            relay,
            adopted: Arc::default(),
        })
    }

    /// Told when a bridge was adopted or released.
    pub fn adopted(&self) -> Arc<Notify> {
        Arc::clone(&self.adopted)
    }

    /// The state, for one call alone.
    fn core(&self) -> Result<MutexGuard<'_, Core>, ApiError> {
        alone_with(&self.core)
    }

    /// Stops the workers. Containers keep their interfaces.
    pub async fn shutdown(&self) {
        drop(self.watcher.lock().map(|mut watcher| watcher.take()));
        let stopped = on_blocking_thread(Arc::clone(&self.core), Core::stop);
        if let Err(error) = stopped.await {
            tracing::error!(%error, "the workers were not stopped cleanly");
        }
    }
}

/// Waits until nobody else works with the state. A panic leaves the lock poisoned: what the state
/// then says is not to be trusted, so every later call is refused, while frames go on being carried.
fn alone_with(core: &Mutex<Core>) -> Result<MutexGuard<'_, Core>, ApiError> {
    let poisoned = |_| {
        ApiError::internal(
            "an earlier call failed half-way; restart the daemon, containers keep their interfaces",
        )
    };
    let mut core = core.lock().map_err(poisoned)?;
    core.handle_events();
    Ok(core)
}

/// Does `work` alone with the state, on a thread that may block.
async fn on_blocking_thread<T: Send + 'static>(
    core: Arc<Mutex<Core>>,
    work: impl FnOnce(&mut Core) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(move || Ok(work(&mut *alone_with(&core)?)));
    done.await
        .map_err(|panic| ApiError::internal(format!("the work failed half-way: {panic}")))?
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.relay.abort();
    }
}
