//! Every call of the interface, declared once.
//!
//! A row names the method and path of a call, its parameters, its answer and the ways it may be
//! refused. [`calls!`] makes the rest of it: a method of the [`Client`], a method of the trait that
//! the daemon implements, the route between the two, and the entry in the OpenAPI description.
//!
//! | answer | meaning |
//! |---|---|
//! | `ok T` | 200 with a `T` |
//! | `created T` | 201 with a `T` |
//! | `done` | 204 without a body |
//! | `stream T` | 200 with a line of JSON for each `T`, until either side ends it |
//!
//! | refusal | meaning |
//! |---|---|
//! | `invalid` | 400, a value is outside its range |
//! | `missing` | 404, what was named does not exist |
//! | `taken` | 409, taken or still in use |
//! | `unavailable` | 503, not possible now |

use crate::declare::calls;
use crate::{
    Adopt, Adoption, Attach, Cleaned, Detach, Drops, Endpoint, EndpointSet, ExplainRequest,
    Explanation, FdbAdd, FdbEntry, FdbFlush, FdbKey, Filter, Finding, Flushed, Join, Lease,
    NatEntry, NatEvent, Neighbour, Network, NetworkCreate, NetworkSet, Policy, Port, PortAdd,
    PortSet, Publication, PublicationCreate, Status, TraceEvent, TraceRequest, Uplink, UplinkAdd,
};

calls! {
    /// Calls about networks.
    NetworkCalls "networks" {
        /// All networks, by name.
        get "/v1/networks" networks() -> ok Vec<Network>;

        /// Makes a network.
        post "/v1/networks" network_create(body network: NetworkCreate)
            -> created Network | invalid | taken;

        /// One network.
        get "/v1/networks/{name}" network(path name: "the name") -> ok Network | invalid | missing;

        /// Changes a network while it is used: an absent field stays.
        patch "/v1/networks/{name}" network_set(path name: "the name", body set: NetworkSet)
            -> ok Network | invalid | missing;

        /// Takes a network away that has neither ports nor endpoints.
        delete "/v1/networks/{name}" network_remove(path name: "the name")
            -> done | invalid | missing | taken;
    }

    /// Calls about endpoints: made, joined, left, taken away.
    EndpointCalls "endpoints" {
        /// All endpoints, by id.
        get "/v1/endpoints" endpoints() -> ok Vec<Endpoint>;

        /// Makes an endpoint. With a namespace its interface is made there, given its addresses, set up.
        post "/v1/endpoints" attach(body endpoint: Attach)
            -> created Endpoint | invalid | missing | taken;

        /// One endpoint, by id or by name.
        get "/v1/endpoints/{name}" endpoint(path name: "the name")
            -> ok Endpoint | invalid | missing;

        /// Changes an endpoint's names and labels: an absent field stays.
        patch "/v1/endpoints/{name}" endpoint_set(path name: "the name", body set: EndpointSet)
            -> ok Endpoint | invalid | missing | taken;

        /// Detaches a container by its endpoint's id; answers what the endpoint was.
        delete "/v1/endpoints/{name}" endpoint_remove(path name: "the name")
            -> ok Endpoint | invalid | missing;

        /// Gives an endpoint its interface in a sandbox.
        post "/v1/endpoints/{name}/join" endpoint_join(path name: "the name", body join: Join)
            -> ok Endpoint | invalid | missing | taken;

        /// Takes an endpoint's interface away, and what is published of it; its addresses and names stay.
        post "/v1/endpoints/{name}/leave" endpoint_leave(path name: "the name")
            -> ok Endpoint | invalid | missing;

        /// Detaches a container by its endpoint's id or its interface; answers what the endpoint was.
        post "/v1/detach" detach(body which: Detach) -> ok Endpoint | invalid | missing;

        /// Returns the rules about an endpoint: which packets it may send and receive.
        get "/v1/endpoints/{name}/policy" policy(path endpoint: "the name")
            -> ok Policy | invalid | missing;

        /// Says what an endpoint may send and receive, whole.
        post "/v1/endpoints/{name}/policy" policy_set(path endpoint: "the name", body policy: Policy)
            -> ok Policy | invalid | missing;

        /// Lets an endpoint send and receive everything.
        delete "/v1/endpoints/{name}/policy" policy_clear(path endpoint: "the name")
            -> done | invalid | missing;
    }

    /// Calls about uplinks.
    UplinkCalls "uplinks" {
        /// All uplinks, in the order they were added: the first serves networks that name none.
        get "/v1/uplinks" uplinks() -> ok Vec<Uplink>;

        /// Adds an uplink. The host keeps using the NIC.
        post "/v1/uplinks" uplink_add(body uplink: UplinkAdd)
            -> created Uplink | invalid | missing | taken;

        /// Takes an uplink away that no network names.
        delete "/v1/uplinks/{name}" uplink_remove(path name: "the name")
            -> done | invalid | missing | taken;
    }

    /// Calls about published ports.
    PublicationCalls "publications" {
        /// All publications, in the order they were made.
        get "/v1/publications" publications() -> ok Vec<Publication>;

        /// Publishes ports of an endpoint.
        post "/v1/publications" publish(body ports: PublicationCreate)
            -> created Publication | invalid | missing | taken;

        /// Takes a publication away.
        delete "/v1/publications/{name}" unpublish(path id: "the id") -> done | invalid | missing;
    }

    /// Calls about bridges of the host that a network stands in for.
    AdoptionCalls "adoptions" {
        /// All adopted bridges, in the order they were adopted.
        get "/v1/adoptions" adoptions() -> ok Vec<Adoption>;

        /// Adopts a bridge: a network stands in for it.
        post "/v1/adoptions" adopt(body adopt: Adopt)
            -> created Adoption | invalid | missing | taken;

        /// Gives a bridge its containers back, and takes the network away that stood in for it.
        delete "/v1/adoptions/{name}" release(path bridge: "the bridge")
            -> done | invalid | missing | taken;
    }

    /// Calls about the connections the NAT follows.
    NatCalls "nat" {
        /// The connections the NAT follows that pass the filter.
        get "/v1/nat" nat(query filter: Filter) -> ok Vec<NatEntry> | invalid | unavailable;

        /// Forgets the connections that pass the filter.
        post "/v1/nat/flush" nat_flush(body filter: Filter)
            -> ok Flushed | invalid | unavailable;

        /// Events of the connections that pass the filter, a line of JSON each, until the client
        /// hangs up.
        get "/v1/nat/watch" nat_watch(query filter: Filter)
            -> stream NatEvent | invalid | unavailable;

        /// The router's neighbours, found by ARP and NDP, by link and address.
        get "/v1/neighbours" neighbours() -> ok Vec<Neighbour> | unavailable;
    }

    /// Calls about ports.
    PortCalls "ports" {
        /// All ports, by name.
        get "/v1/ports" ports() -> ok Vec<Port>;

        /// Adds a port.
        post "/v1/ports" port_add(body port: PortAdd) -> created Port | invalid | missing | taken;

        /// One port.
        get "/v1/ports/{name}" port(path name: "the name") -> ok Port | invalid | missing;

        /// Changes a port: an absent field stays, `null` takes a setting away.
        patch "/v1/ports/{name}" port_set(path name: "the name", body set: PortSet)
            -> ok Port | invalid | missing;

        /// Takes a port away.
        delete "/v1/ports/{name}" port_remove(path name: "the name")
            -> done | invalid | missing | taken;
    }

    /// Calls about the table of MAC addresses.
    FdbCalls "fdb" {
        /// The MAC addresses that pass the filter, by network, VLAN and address.
        get "/v1/fdb" fdb(query filter: Filter) -> ok Vec<FdbEntry> | invalid;

        /// Writes a static entry.
        post "/v1/fdb" fdb_add(body entry: FdbAdd) -> created FdbEntry | invalid | missing | taken;

        /// Removes one entry, learned or static.
        post "/v1/fdb/remove" fdb_remove(body key: FdbKey) -> done | invalid | missing;

        /// Forgets entries.
        post "/v1/fdb/flush" fdb_flush(body which: FdbFlush) -> ok Flushed | invalid | missing;
    }

    /// Calls about decisions that the kernel repeats.
    LeaseCalls "datapath" {
        /// The decisions that the kernel repeats, by network, VLAN, port and receiver.
        get "/v1/datapath/leases" leases() -> ok Vec<Lease>;

        /// Takes back all of them. The next frame of each kind is decided anew.
        post "/v1/datapath/flush" leases_flush() -> ok Flushed;
    }

    /// Calls that look at the whole.
    WatchCalls "watch" {
        /// Returns the number of dropped frames, reason by reason.
        get "/v1/drops" drops() -> ok Drops;

        /// Returns the faults that were found.
        get "/v1/doctor" doctor() -> ok Vec<Finding>;

        /// Puts right what is not as it should be; answers what was found, and what is still there.
        post "/v1/doctor/clean" doctor_clean() -> ok Vec<Cleaned>;

        /// How the daemon is.
        get "/v1/status" status() -> ok Status;

        /// Leads a frame through the live tables without side effects.
        post "/v1/explain" explain(body request: ExplainRequest)
            -> ok Explanation | invalid | missing;

        /// The frames that a filter matches, as they pass, with the decisions about them: a line of
        /// JSON each, until the trace ends or the client hangs up.
        post "/v1/trace" trace(body request: TraceRequest)
            -> stream TraceEvent | invalid | unavailable;
    }
}
