//! The calls of the interface, as a trait: `http` is written against it and tested with a stub;
//! [`crate::manager::Manager`] is the real thing.
//!
//! `http` has compared each request with the ranges its fields name (`check`) before a call is
//! made; what is left to the callee is what only the state knows. Calls may come at once from many
//! connections. Each answers an [`ApiError`] whose code says what went wrong.

use api::{
    ApiError, Attach, Detach, Drops, Endpoint, ExplainRequest, Explanation, FdbAdd, FdbEntry,
    FdbFilter, FdbFlush, FdbKey, Flushed, Name, Network, NetworkCreate, Port, PortAdd, PortSet,
    Status,
};
use std::future::Future;

/// Whoever answers the interface's calls.
pub trait Calls: Send + Sync + 'static {
    /// Makes a network.
    fn network_create(
        &self,
        network: NetworkCreate,
    ) -> impl Future<Output = Result<Network, ApiError>> + Send;

    /// All networks, by name.
    fn networks(&self) -> impl Future<Output = Result<Vec<Network>, ApiError>> + Send;

    /// One network.
    fn network(&self, name: &Name) -> impl Future<Output = Result<Network, ApiError>> + Send;

    /// Takes a network away that has neither ports nor endpoints.
    fn network_remove(&self, name: &Name) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// Attaches a container.
    fn attach(&self, attach: Attach) -> impl Future<Output = Result<Endpoint, ApiError>> + Send;

    /// Detaches a container; answers what the endpoint was.
    fn detach(&self, detach: Detach) -> impl Future<Output = Result<Endpoint, ApiError>> + Send;

    /// All endpoints, by id.
    fn endpoints(&self) -> impl Future<Output = Result<Vec<Endpoint>, ApiError>> + Send;

    /// Adds a port.
    fn port_add(&self, port: PortAdd) -> impl Future<Output = Result<Port, ApiError>> + Send;

    /// All ports, by name.
    fn ports(&self) -> impl Future<Output = Result<Vec<Port>, ApiError>> + Send;

    /// One port.
    fn port(&self, name: &Name) -> impl Future<Output = Result<Port, ApiError>> + Send;

    /// Changes a port.
    fn port_set(
        &self,
        name: &Name,
        set: PortSet,
    ) -> impl Future<Output = Result<Port, ApiError>> + Send;

    /// Takes a port away.
    fn port_remove(&self, name: &Name) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// The MAC addresses that pass the filter, by network, VLAN and address.
    fn fdb(
        &self,
        filter: FdbFilter,
    ) -> impl Future<Output = Result<Vec<FdbEntry>, ApiError>> + Send;

    /// Writes a static entry.
    fn fdb_add(&self, entry: FdbAdd) -> impl Future<Output = Result<FdbEntry, ApiError>> + Send;

    /// Removes one entry.
    fn fdb_remove(&self, key: FdbKey) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// Forgets entries.
    fn fdb_flush(&self, flush: FdbFlush) -> impl Future<Output = Result<Flushed, ApiError>> + Send;

    /// What was dropped.
    fn drops(&self) -> impl Future<Output = Result<Drops, ApiError>> + Send;

    /// How the daemon is.
    fn status(&self) -> impl Future<Output = Result<Status, ApiError>> + Send;

    /// Leads a frame through the live tables without side effects. [`crate::craft::frame`] makes
    /// the bytes of a frame that was given by its fields.
    fn explain(
        &self,
        request: ExplainRequest,
    ) -> impl Future<Output = Result<Explanation, ApiError>> + Send;

    /// Stops the workers. Containers keep their interfaces.
    fn shutdown(&self) -> impl Future<Output = ()> + Send;
}
