//! The calls of the interface, as a trait: `http` is written against it and tested with a stub;
//! [`crate::manager::Manager`] is the real thing.
//!
//! `http` has compared each request with the ranges its fields name (`check`) before a call is
//! made; what is left to the callee is what only the state knows. Calls may come at once from many
//! connections. Each answers an [`ApiError`] whose code says what went wrong.

use api::{
    Adopt, Adoption, ApiError, Attach, Cleaned, Detach, Drops, Endpoint, EndpointSet,
    ExplainRequest, Explanation, FdbAdd, FdbEntry, FdbFilter, FdbFlush, FdbKey, Finding, Flushed,
    Join, Name, NatEntry, NatEvent, NatFilter, Network, NetworkCreate, NetworkSet, Policy, Port,
    PortAdd, PortSet, Publication, PublicationCreate, Status, Uplink, UplinkAdd,
};
use std::future::Future;
use tokio::sync::mpsc;

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

    /// Changes a network.
    fn network_set(
        &self,
        name: &Name,
        set: NetworkSet,
    ) -> impl Future<Output = Result<Network, ApiError>> + Send;

    /// Takes a network away that has neither ports nor endpoints.
    fn network_remove(&self, name: &Name) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// Makes an endpoint; with a namespace its interface as well.
    fn attach(&self, attach: Attach) -> impl Future<Output = Result<Endpoint, ApiError>> + Send;

    /// Detaches a container; answers what the endpoint was.
    fn detach(&self, detach: Detach) -> impl Future<Output = Result<Endpoint, ApiError>> + Send;

    /// All endpoints, by id.
    fn endpoints(&self) -> impl Future<Output = Result<Vec<Endpoint>, ApiError>> + Send;

    /// One endpoint.
    fn endpoint(&self, name: &Name) -> impl Future<Output = Result<Endpoint, ApiError>> + Send;

    /// Gives an endpoint its interface in a sandbox.
    fn endpoint_join(
        &self,
        name: &Name,
        join: Join,
    ) -> impl Future<Output = Result<Endpoint, ApiError>> + Send;

    /// Takes an endpoint's interface away, and what is published of it.
    fn endpoint_leave(
        &self,
        name: &Name,
    ) -> impl Future<Output = Result<Endpoint, ApiError>> + Send;

    /// Changes an endpoint's names.
    fn endpoint_set(
        &self,
        name: &Name,
        set: EndpointSet,
    ) -> impl Future<Output = Result<Endpoint, ApiError>> + Send;

    /// What an endpoint may send and receive.
    fn policy(&self, endpoint: &Name) -> impl Future<Output = Result<Policy, ApiError>> + Send;

    /// Says what an endpoint may send and receive, whole.
    fn policy_set(
        &self,
        endpoint: &Name,
        policy: Policy,
    ) -> impl Future<Output = Result<Policy, ApiError>> + Send;

    /// All uplinks, in the order they were added.
    fn uplinks(&self) -> impl Future<Output = Result<Vec<Uplink>, ApiError>> + Send;

    /// Adds an uplink.
    fn uplink_add(
        &self,
        uplink: UplinkAdd,
    ) -> impl Future<Output = Result<Uplink, ApiError>> + Send;

    /// Takes an uplink away that no network names.
    fn uplink_remove(&self, name: &Name) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// All publications, in the order they were made.
    fn publications(&self) -> impl Future<Output = Result<Vec<Publication>, ApiError>> + Send;

    /// Publishes ports of an endpoint.
    fn publish(
        &self,
        ports: PublicationCreate,
    ) -> impl Future<Output = Result<Publication, ApiError>> + Send;

    /// Takes a publication away.
    fn unpublish(&self, id: &Name) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// All adopted bridges, in the order they were adopted.
    fn adoptions(&self) -> impl Future<Output = Result<Vec<Adoption>, ApiError>> + Send;

    /// Adopts a bridge of the host's.
    fn adopt(&self, adopt: Adopt) -> impl Future<Output = Result<Adoption, ApiError>> + Send;

    /// Gives a bridge its containers back.
    fn release(&self, bridge: &Name) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// The connections the NAT follows that pass the filter.
    fn nat(
        &self,
        filter: NatFilter,
    ) -> impl Future<Output = Result<Vec<NatEntry>, ApiError>> + Send;

    /// Forgets the connections that pass the filter.
    fn nat_flush(
        &self,
        filter: NatFilter,
    ) -> impl Future<Output = Result<Flushed, ApiError>> + Send;

    /// What happens to the connections that pass the filter, until the receiver is dropped. A
    /// receiver that is too slow misses events; it holds nobody up.
    fn nat_watch(
        &self,
        filter: NatFilter,
    ) -> impl Future<Output = Result<mpsc::Receiver<NatEvent>, ApiError>> + Send;

    /// What is not as it should be.
    fn doctor(&self) -> impl Future<Output = Result<Vec<Finding>, ApiError>> + Send;

    /// Puts right what is not as it should be.
    fn doctor_clean(&self) -> impl Future<Output = Result<Vec<Cleaned>, ApiError>> + Send;

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
