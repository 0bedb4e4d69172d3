//! Every route the daemon answers: the one list that server, client and OpenAPI description share.

/// How a route is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Reads.
    Get,
    /// Makes or does.
    Post,
    /// Changes.
    Patch,
    /// Takes away.
    Delete,
}

impl Method {
    /// The word in an HTTP request.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// All networks: GET, POST.
pub const NETWORKS: &str = "/v1/networks";
/// One network: GET, PATCH, DELETE.
pub const NETWORK: &str = "/v1/networks/{name}";
/// All endpoints: GET; POST makes one, and joins it if a sandbox is named.
pub const ENDPOINTS: &str = "/v1/endpoints";
/// One endpoint: GET, PATCH; DELETE takes it away.
pub const ENDPOINT: &str = "/v1/endpoints/{name}";
/// POST gives an endpoint its interface in a sandbox.
pub const ENDPOINT_JOIN: &str = "/v1/endpoints/{name}/join";
/// POST takes the interface away; addresses and names stay the endpoint's.
pub const ENDPOINT_LEAVE: &str = "/v1/endpoints/{name}/leave";
/// What an endpoint may send and receive: GET, POST; DELETE lets it do everything.
pub const POLICY: &str = "/v1/endpoints/{name}/policy";
/// POST detaches by id or by interface.
pub const DETACH: &str = "/v1/detach";
/// All ports: GET, POST.
pub const PORTS: &str = "/v1/ports";
/// One port: GET, PATCH, DELETE.
pub const PORT: &str = "/v1/ports/{name}";
/// The MAC table: GET; POST adds a static entry.
pub const FDB: &str = "/v1/fdb";
/// POST removes one entry.
pub const FDB_REMOVE: &str = "/v1/fdb/remove";
/// POST forgets many entries.
pub const FDB_FLUSH: &str = "/v1/fdb/flush";
/// All uplinks: GET, POST.
pub const UPLINKS: &str = "/v1/uplinks";
/// One uplink: DELETE.
pub const UPLINK: &str = "/v1/uplinks/{name}";
/// All publications: GET, POST.
pub const PUBLICATIONS: &str = "/v1/publications";
/// One publication, by id: DELETE.
pub const PUBLICATION: &str = "/v1/publications/{name}";
/// All adopted bridges: GET; POST adopts one.
pub const ADOPTIONS: &str = "/v1/adoptions";
/// One adopted bridge: DELETE gives it back.
pub const ADOPTION: &str = "/v1/adoptions/{name}";
/// The connections the NAT follows: GET.
pub const NAT: &str = "/v1/nat";
/// POST forgets connections.
pub const NAT_FLUSH: &str = "/v1/nat/flush";
/// What happens to connections, a line of JSON each, until the client hangs up: GET.
pub const NAT_WATCH: &str = "/v1/nat/watch";
/// What is not as it should be: GET.
pub const DOCTOR: &str = "/v1/doctor";
/// POST puts right what is not as it should be.
pub const DOCTOR_CLEAN: &str = "/v1/doctor/clean";
/// What was dropped: GET.
pub const DROPS: &str = "/v1/drops";
/// How the daemon is: GET.
pub const STATUS: &str = "/v1/status";
/// POST leads a frame through the tables without side effects.
pub const EXPLAIN: &str = "/v1/explain";
/// This interface's description: GET.
pub const OPENAPI: &str = "/openapi.json";

/// Every method of every route.
pub const ALL: &[(Method, &str)] = &[
    (Method::Get, NETWORKS),
    (Method::Post, NETWORKS),
    (Method::Get, NETWORK),
    (Method::Patch, NETWORK),
    (Method::Delete, NETWORK),
    (Method::Get, ENDPOINTS),
    (Method::Post, ENDPOINTS),
    (Method::Get, ENDPOINT),
    (Method::Patch, ENDPOINT),
    (Method::Delete, ENDPOINT),
    (Method::Post, ENDPOINT_JOIN),
    (Method::Post, ENDPOINT_LEAVE),
    (Method::Get, POLICY),
    (Method::Post, POLICY),
    (Method::Delete, POLICY),
    (Method::Post, DETACH),
    (Method::Get, PORTS),
    (Method::Post, PORTS),
    (Method::Get, PORT),
    (Method::Patch, PORT),
    (Method::Delete, PORT),
    (Method::Get, FDB),
    (Method::Post, FDB),
    (Method::Post, FDB_REMOVE),
    (Method::Post, FDB_FLUSH),
    (Method::Get, UPLINKS),
    (Method::Post, UPLINKS),
    (Method::Delete, UPLINK),
    (Method::Get, PUBLICATIONS),
    (Method::Post, PUBLICATIONS),
    (Method::Delete, PUBLICATION),
    (Method::Get, ADOPTIONS),
    (Method::Post, ADOPTIONS),
    (Method::Delete, ADOPTION),
    (Method::Get, NAT),
    (Method::Post, NAT_FLUSH),
    (Method::Get, NAT_WATCH),
    (Method::Get, DOCTOR),
    (Method::Post, DOCTOR_CLEAN),
    (Method::Get, DROPS),
    (Method::Get, STATUS),
    (Method::Post, EXPLAIN),
    (Method::Get, OPENAPI),
];

/// The path of `name` under a route with `{name}` in it. A [`crate::Name`] needs no escaping.
#[must_use]
pub fn with_name(route: &str, name: &crate::Name) -> String {
    route.replace("{name}", name.as_str())
}
