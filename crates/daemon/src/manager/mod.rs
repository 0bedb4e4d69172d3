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
//! * `networks.rs`, `endpoints.rs`, `ports.rs`, `fdb.rs`, `status.rs`, `explain.rs`: the calls
//! * `translate.rs`: the interface's words and the state's

mod core;
mod endpoints;
mod explain;
mod fdb;
mod networks;
mod open;
mod ports;
mod refuse;
mod restore;
mod status;
mod store;
mod tally;
#[cfg(test)]
mod tests;
mod translate;
mod watch;

use self::core::Core;
use crate::calls::Calls;
use crate::config::Config;
use api::{
    ApiError, Attach, Detach, Drops, Endpoint, ExplainRequest, Explanation, FdbAdd, FdbEntry,
    FdbFilter, FdbFlush, FdbKey, Flushed, Name, Network, NetworkCreate, Port, PortAdd, PortSet,
    Status,
};
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;

/// The owner of the state.
#[derive(Debug)]
pub struct Manager {
    core: Arc<Mutex<Core>>,
    watcher: JoinHandle<()>,
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
        let watcher = tokio::spawn(watch::watch(Arc::downgrade(&core)));
        Ok(Self { core, watcher })
    }

    /// Does `work` on a thread that may block, alone with the state.
    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Core) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        on_blocking_thread(Arc::clone(&self.core), work).await
    }
}

/// Does `work` alone with the state. A panic leaves the lock poisoned: what the state then says is
/// not to be trusted, so every later call is refused, while frames go on being carried.
async fn on_blocking_thread<T: Send + 'static>(
    core: Arc<Mutex<Core>>,
    work: impl FnOnce(&mut Core) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(move || {
        let poisoned = |_| {
            ApiError::internal(
                "an earlier call failed half-way; restart the daemon, containers keep their interfaces",
            )
        };
        let mut core = core.lock().map_err(poisoned)?;
        core.handle_events();
        work(&mut core)
    });
    done.await
        .map_err(|panic| ApiError::internal(format!("the call failed half-way: {panic}")))?
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl Calls for Manager {
    async fn network_create(&self, network: NetworkCreate) -> Result<Network, ApiError> {
        self.call(move |core| core.network_create(&network)).await
    }

    async fn networks(&self) -> Result<Vec<Network>, ApiError> {
        self.call(|core| Ok(core.networks())).await
    }

    async fn network(&self, name: &Name) -> Result<Network, ApiError> {
        let name = name.clone();
        self.call(move |core| core.network(&name)).await
    }

    async fn network_remove(&self, name: &Name) -> Result<(), ApiError> {
        let name = name.clone();
        self.call(move |core| core.network_remove(&name)).await
    }

    async fn attach(&self, attach: Attach) -> Result<Endpoint, ApiError> {
        self.call(move |core| core.attach(&attach)).await
    }

    async fn detach(&self, detach: Detach) -> Result<Endpoint, ApiError> {
        self.call(move |core| core.detach(&detach)).await
    }

    async fn endpoints(&self) -> Result<Vec<Endpoint>, ApiError> {
        self.call(|core| Ok(core.endpoints())).await
    }

    async fn port_add(&self, port: PortAdd) -> Result<Port, ApiError> {
        self.call(move |core| core.port_add(&port)).await
    }

    async fn ports(&self) -> Result<Vec<Port>, ApiError> {
        self.call(|core| Ok(core.ports())).await
    }

    async fn port(&self, name: &Name) -> Result<Port, ApiError> {
        let name = name.clone();
        self.call(move |core| core.port(&name)).await
    }

    async fn port_set(&self, name: &Name, set: PortSet) -> Result<Port, ApiError> {
        let name = name.clone();
        self.call(move |core| core.port_set(&name, &set)).await
    }

    async fn port_remove(&self, name: &Name) -> Result<(), ApiError> {
        let name = name.clone();
        self.call(move |core| core.port_remove(&name)).await
    }

    async fn fdb(&self, filter: FdbFilter) -> Result<Vec<FdbEntry>, ApiError> {
        self.call(move |core| core.fdb(&filter)).await
    }

    async fn fdb_add(&self, entry: FdbAdd) -> Result<FdbEntry, ApiError> {
        self.call(move |core| core.fdb_add(&entry)).await
    }

    async fn fdb_remove(&self, key: FdbKey) -> Result<(), ApiError> {
        self.call(move |core| core.fdb_remove(&key)).await
    }

    async fn fdb_flush(&self, flush: FdbFlush) -> Result<Flushed, ApiError> {
        self.call(move |core| core.fdb_flush(&flush)).await
    }

    async fn drops(&self) -> Result<Drops, ApiError> {
        self.call(|core| Ok(core.drops())).await
    }

    async fn status(&self) -> Result<Status, ApiError> {
        self.call(|core| Ok(core.status())).await
    }

    async fn explain(&self, request: ExplainRequest) -> Result<Explanation, ApiError> {
        self.call(move |core| core.explain(&request)).await
    }

    async fn shutdown(&self) {
        self.watcher.abort();
        let stopped = self.call(|core| {
            core.stop();
            Ok(())
        });
        if let Err(error) = stopped.await {
            tracing::error!(%error, "the workers were not stopped cleanly");
        }
    }
}
