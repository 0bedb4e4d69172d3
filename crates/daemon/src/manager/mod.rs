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
//!   `explain.rs`: the calls
//! * `surroundings.rs`: uplinks, the host's port, the servers' · `servers.rs`: the name server
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
mod surroundings;
mod survival;
mod tally;
mod translate;
mod watch;

use self::core::Core;
use self::refuse::unavailable;
use self::watch::Watcher;
use crate::calls::Calls;
use crate::config::Config;
use api::{
    Adopt, Adoption, ApiError, Attach, Cleaned, Detach, Drops, Endpoint, EndpointSet,
    ExplainRequest, Explanation, FdbAdd, FdbEntry, FdbFilter, FdbFlush, FdbKey, Finding, Flushed,
    Join, Name, NatEntry, NatEvent, NatFilter, Network, NetworkCreate, NetworkSet, Policy, Port,
    PortAdd, PortSet, Publication, PublicationCreate, Status, Uplink, UplinkAdd,
};
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, mpsc};
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
        self.relay.abort();
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

    async fn network_set(&self, name: &Name, set: NetworkSet) -> Result<Network, ApiError> {
        let name = name.clone();
        self.call(move |core| core.network_set(&name, &set)).await
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

    async fn endpoint(&self, name: &Name) -> Result<Endpoint, ApiError> {
        let name = name.clone();
        self.call(move |core| core.endpoint(&name)).await
    }

    async fn endpoint_join(&self, name: &Name, join: Join) -> Result<Endpoint, ApiError> {
        let name = name.clone();
        self.call(move |core| core.endpoint_join(&name, &join))
            .await
    }

    async fn endpoint_leave(&self, name: &Name) -> Result<Endpoint, ApiError> {
        let name = name.clone();
        self.call(move |core| core.endpoint_leave(&name)).await
    }

    async fn endpoint_set(&self, name: &Name, set: EndpointSet) -> Result<Endpoint, ApiError> {
        let name = name.clone();
        self.call(move |core| core.endpoint_set(&name, &set)).await
    }

    async fn policy(&self, endpoint: &Name) -> Result<Policy, ApiError> {
        let name = endpoint.clone();
        self.call(move |core| core.policy(&name)).await
    }

    async fn policy_set(&self, endpoint: &Name, policy: Policy) -> Result<Policy, ApiError> {
        let name = endpoint.clone();
        self.call(move |core| core.policy_set(&name, &policy)).await
    }

    async fn uplinks(&self) -> Result<Vec<Uplink>, ApiError> {
        self.call(|core| Ok(core.uplinks())).await
    }

    async fn uplink_add(&self, uplink: UplinkAdd) -> Result<Uplink, ApiError> {
        self.call(move |core| core.uplink_add(&uplink)).await
    }

    async fn uplink_remove(&self, name: &Name) -> Result<(), ApiError> {
        let name = name.clone();
        self.call(move |core| core.uplink_remove(&name)).await
    }

    async fn publications(&self) -> Result<Vec<Publication>, ApiError> {
        self.call(|core| Ok(core.publications())).await
    }

    async fn publish(&self, ports: PublicationCreate) -> Result<Publication, ApiError> {
        self.call(move |core| core.publish_ports(&ports)).await
    }

    async fn unpublish(&self, id: &Name) -> Result<(), ApiError> {
        let id = id.clone();
        self.call(move |core| core.unpublish(&id)).await
    }

    async fn adoptions(&self) -> Result<Vec<Adoption>, ApiError> {
        self.call(|core| Ok(core.adoptions())).await
    }

    async fn adopt(&self, adopt: Adopt) -> Result<Adoption, ApiError> {
        let adopted = self.call(move |core| core.adopt(&adopt)).await;
        self.adopted.notify_one();
        adopted
    }

    async fn release(&self, bridge: &Name) -> Result<(), ApiError> {
        let bridge = bridge.clone();
        let released = self.call(move |core| core.release(&bridge)).await;
        self.adopted.notify_one();
        released
    }

    async fn nat(&self, filter: NatFilter) -> Result<Vec<NatEntry>, ApiError> {
        self.call(move |core| core.nat(&filter)).await
    }

    async fn nat_flush(&self, filter: NatFilter) -> Result<Flushed, ApiError> {
        self.call(move |core| core.nat_flush(&filter)).await
    }

    async fn nat_watch(&self, filter: NatFilter) -> Result<mpsc::Receiver<NatEvent>, ApiError> {
        self.call(move |core| core.nat_watch(&filter)).await
    }

    async fn doctor(&self) -> Result<Vec<Finding>, ApiError> {
        self.call(|core| core.doctor()).await
    }

    async fn doctor_clean(&self) -> Result<Vec<Cleaned>, ApiError> {
        self.call(|core| Ok(core.doctor_clean())).await
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
        drop(self.watcher.lock().map(|mut watcher| watcher.take()));
        let stopped = self.call(|core| {
            core.stop();
            Ok(())
        });
        if let Err(error) = stopped.await {
            tracing::error!(%error, "the workers were not stopped cleanly");
        }
    }
}
