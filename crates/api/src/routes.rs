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
/// One network: GET, DELETE.
pub const NETWORK: &str = "/v1/networks/{name}";
/// All endpoints: GET; POST attaches.
pub const ENDPOINTS: &str = "/v1/endpoints";
/// One endpoint: DELETE detaches.
pub const ENDPOINT: &str = "/v1/endpoints/{name}";
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
    (Method::Delete, NETWORK),
    (Method::Get, ENDPOINTS),
    (Method::Post, ENDPOINTS),
    (Method::Delete, ENDPOINT),
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
