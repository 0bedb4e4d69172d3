//! The owner of the state: networks, endpoints, ports, and the dataplane that serves them.

use crate::calls::Calls;
use crate::config::Config;
use api::{
    ApiError, Attach, Detach, Drops, Endpoint, ExplainRequest, Explanation, FdbAdd, FdbEntry,
    FdbFilter, FdbFlush, FdbKey, Flushed, Name, Network, NetworkCreate, Port, PortAdd, PortSet,
    Status,
};

/// The owner of the state.
#[derive(Debug)]
pub struct Manager {}

impl Manager {
    /// Starts the workers, and takes up again what the state directory remembers.
    ///
    /// # Errors
    /// What keeps the dataplane from running.
    #[expect(clippy::unused_async, reason = "starting waits for the kernel")]
    pub async fn start(_config: &Config) -> Result<Self, ApiError> {
        Ok(Self {})
    }
}

impl Calls for Manager {
    async fn network_create(&self, _network: NetworkCreate) -> Result<Network, ApiError> {
        Err(not_yet())
    }

    async fn networks(&self) -> Result<Vec<Network>, ApiError> {
        Err(not_yet())
    }

    async fn network(&self, _name: &Name) -> Result<Network, ApiError> {
        Err(not_yet())
    }

    async fn network_remove(&self, _name: &Name) -> Result<(), ApiError> {
        Err(not_yet())
    }

    async fn attach(&self, _attach: Attach) -> Result<Endpoint, ApiError> {
        Err(not_yet())
    }

    async fn detach(&self, _detach: Detach) -> Result<Endpoint, ApiError> {
        Err(not_yet())
    }

    async fn endpoints(&self) -> Result<Vec<Endpoint>, ApiError> {
        Err(not_yet())
    }

    async fn port_add(&self, _port: PortAdd) -> Result<Port, ApiError> {
        Err(not_yet())
    }

    async fn ports(&self) -> Result<Vec<Port>, ApiError> {
        Err(not_yet())
    }

    async fn port(&self, _name: &Name) -> Result<Port, ApiError> {
        Err(not_yet())
    }

    async fn port_set(&self, _name: &Name, _set: PortSet) -> Result<Port, ApiError> {
        Err(not_yet())
    }

    async fn port_remove(&self, _name: &Name) -> Result<(), ApiError> {
        Err(not_yet())
    }

    async fn fdb(&self, _filter: FdbFilter) -> Result<Vec<FdbEntry>, ApiError> {
        Err(not_yet())
    }

    async fn fdb_add(&self, _entry: FdbAdd) -> Result<FdbEntry, ApiError> {
        Err(not_yet())
    }

    async fn fdb_remove(&self, _key: FdbKey) -> Result<(), ApiError> {
        Err(not_yet())
    }

    async fn fdb_flush(&self, _flush: FdbFlush) -> Result<Flushed, ApiError> {
        Err(not_yet())
    }

    async fn drops(&self) -> Result<Drops, ApiError> {
        Err(not_yet())
    }

    async fn status(&self) -> Result<Status, ApiError> {
        Err(not_yet())
    }

    async fn explain(&self, _request: ExplainRequest) -> Result<Explanation, ApiError> {
        Err(not_yet())
    }

    async fn shutdown(&self) {}
}

fn not_yet() -> ApiError {
    ApiError::unavailable("the switch is not running")
}
