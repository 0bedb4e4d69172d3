//! The router against a stub, in memory and over a real socket.

use super::*;
use api::routes::{ALL, Method as Verb};
use api::{
    Adopt, Adoption, Attach, Cleaned, Client, ClientError, Detach, Drops, Endpoint, EndpointSet,
    ErrorCode, ExplainRequest, Explanation, FdbAdd, FdbEntry, FdbFilter, FdbFlush, FdbKey, FdbKind,
    Finding, Flushed, Join, Name, NatChange, NatCount, NatEntry, NatEvent, NatFilter, NatState,
    NatTuple, Netns, Network, NetworkCreate, NetworkSet, Policy, Port, PortAdd, PortSet, Protocol,
    Publication, PublicationCreate, Status, Uplink, UplinkAdd, VlanId,
};
use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::path::Path;
use tokio::sync::{Notify, mpsc};
use tower::ServiceExt;

/// Makes networks, echoes filters, panics on attach, and refuses the rest by name.
#[derive(Debug, Default)]
struct Stub {
    /// Told when an entry is added, which takes as long as somebody wants.
    adding: Notify,
    /// Lets the adding go on.
    go_on: Notify,
    /// Told when the entry was added.
    added: Notify,
}

fn called<T>(name: &str) -> Result<T, ApiError> {
    Err(ApiError::unavailable(name))
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn connection(src: &str) -> NatEntry {
    let tuple = |src: &str| NatTuple {
        src: src.parse().unwrap(),
        dst: "198.51.100.7:443".parse().unwrap(),
    };
    NatEntry {
        network: name("blue"),
        endpoint: None,
        protocol: Protocol::TCP,
        state: NatState::Established,
        original: tuple(src),
        translated: tuple("198.51.100.1:50000"),
        sent: NatCount::default(),
        received: NatCount::default(),
        expires_seconds: 60,
    }
}

impl Calls for Stub {
    async fn network_create(&self, spec: NetworkCreate) -> Result<Network, ApiError> {
        if spec.name.as_str() == "called" {
            return called("network_create");
        }
        Ok(Network {
            id: 7,
            spec,
            ports: 0,
            endpoints: 0,
            macs: 0,
            gateway_mac: None,
            gateways: Vec::new(),
            uplink: None,
            publications: Vec::new(),
        })
    }
    async fn networks(&self) -> Result<Vec<Network>, ApiError> {
        called("networks")
    }
    async fn network(&self, name: &Name) -> Result<Network, ApiError> {
        called(&format!("network {name}"))
    }
    async fn network_set(&self, name: &Name, set: NetworkSet) -> Result<Network, ApiError> {
        called(&format!("network_set {name} {:?}", set.internal))
    }
    async fn endpoint(&self, name: &Name) -> Result<Endpoint, ApiError> {
        called(&format!("endpoint {name}"))
    }
    async fn endpoint_join(&self, name: &Name, join: Join) -> Result<Endpoint, ApiError> {
        called(&format!("endpoint_join {name} {}", join.ifname))
    }
    async fn endpoint_leave(&self, name: &Name) -> Result<Endpoint, ApiError> {
        called(&format!("endpoint_leave {name}"))
    }
    async fn endpoint_set(&self, name: &Name, set: EndpointSet) -> Result<Endpoint, ApiError> {
        called(&format!("endpoint_set {name} {:?}", set.aliases))
    }
    async fn policy(&self, endpoint: &Name) -> Result<Policy, ApiError> {
        called(&format!("policy {endpoint}"))
    }
    async fn policy_set(&self, endpoint: &Name, policy: Policy) -> Result<Policy, ApiError> {
        called(&format!("policy_set {endpoint} {}", policy.rules.len()))
    }
    async fn uplinks(&self) -> Result<Vec<Uplink>, ApiError> {
        called("uplinks")
    }
    async fn uplink_add(&self, uplink: UplinkAdd) -> Result<Uplink, ApiError> {
        called(&format!("uplink_add {}", uplink.dev))
    }
    async fn uplink_remove(&self, name: &Name) -> Result<(), ApiError> {
        called(&format!("uplink_remove {name}"))
    }
    async fn publications(&self) -> Result<Vec<Publication>, ApiError> {
        called("publications")
    }
    async fn publish(&self, ports: PublicationCreate) -> Result<Publication, ApiError> {
        called(&format!("publish {}", ports.outside()))
    }
    async fn unpublish(&self, id: &Name) -> Result<(), ApiError> {
        called(&format!("unpublish {id}"))
    }
    async fn adoptions(&self) -> Result<Vec<Adoption>, ApiError> {
        called("adoptions")
    }
    async fn adopt(&self, adopt: Adopt) -> Result<Adoption, ApiError> {
        called(&format!("adopt {}", adopt.bridge))
    }
    async fn release(&self, bridge: &Name) -> Result<(), ApiError> {
        called(&format!("release {bridge}"))
    }
    async fn nat(&self, filter: NatFilter) -> Result<Vec<NatEntry>, ApiError> {
        if filter == NatFilter::default() {
            return called("nat");
        }
        let entries = vec![connection("10.1.0.2:40000"), connection("10.1.0.3:40000")];
        Ok(entries.into_iter().filter(|e| filter.matches(e)).collect())
    }
    async fn nat_flush(&self, filter: NatFilter) -> Result<Flushed, ApiError> {
        called(&format!("nat_flush {:?}", filter.port))
    }
    async fn nat_watch(&self, filter: NatFilter) -> Result<mpsc::Receiver<NatEvent>, ApiError> {
        let Some(port) = filter.port else {
            return called("nat_watch");
        };
        let (events, watched) = mpsc::channel(1);
        tokio::spawn(async move {
            for host in 2.. {
                let event = NatEvent {
                    event: NatChange::New,
                    entry: connection(&format!("10.1.0.{}:{port}", host % 250)),
                    lost: 0,
                };
                // The watcher hung up.
                if events.send(event).await.is_err() {
                    return;
                }
            }
        });
        Ok(watched)
    }
    async fn doctor(&self) -> Result<Vec<Finding>, ApiError> {
        called("doctor")
    }
    async fn doctor_clean(&self) -> Result<Vec<Cleaned>, ApiError> {
        called("doctor_clean")
    }
    async fn network_remove(&self, name: &Name) -> Result<(), ApiError> {
        if name.as_str() == "blue" {
            Ok(())
        } else {
            called(&format!("network_remove {name}"))
        }
    }
    async fn attach(&self, attach: Attach) -> Result<Endpoint, ApiError> {
        assert_ne!(attach.ifname, "panic");
        called("attach")
    }
    async fn detach(&self, detach: Detach) -> Result<Endpoint, ApiError> {
        called(&format!("detach {detach:?}"))
    }
    async fn endpoints(&self) -> Result<Vec<Endpoint>, ApiError> {
        called("endpoints")
    }
    async fn port_add(&self, _: PortAdd) -> Result<Port, ApiError> {
        called("port_add")
    }
    async fn ports(&self) -> Result<Vec<Port>, ApiError> {
        called("ports")
    }
    async fn port(&self, name: &Name) -> Result<Port, ApiError> {
        called(&format!("port {name}"))
    }
    async fn port_set(&self, name: &Name, set: PortSet) -> Result<Port, ApiError> {
        called(&format!("port_set {name} {:?}", set.isolated))
    }
    async fn port_remove(&self, name: &Name) -> Result<(), ApiError> {
        called(&format!("port_remove {name}"))
    }
    async fn fdb(&self, filter: FdbFilter) -> Result<Vec<FdbEntry>, ApiError> {
        let (Some(network), Some(port)) = (filter.network, filter.port) else {
            return called("fdb");
        };
        let mac = "02:00:00:00:00:0a".parse().unwrap();
        Ok(vec![FdbEntry {
            network,
            vlan: VlanId::DEFAULT,
            mac,
            port,
            kind: FdbKind::Learned,
            age_seconds: Some(3),
        }])
    }
    async fn fdb_add(&self, _: FdbAdd) -> Result<FdbEntry, ApiError> {
        self.adding.notify_one();
        self.go_on.notified().await;
        self.added.notify_one();
        called("fdb_add")
    }
    async fn fdb_remove(&self, _: FdbKey) -> Result<(), ApiError> {
        called("fdb_remove")
    }
    async fn fdb_flush(&self, _: FdbFlush) -> Result<Flushed, ApiError> {
        called("fdb_flush")
    }
    async fn drops(&self) -> Result<Drops, ApiError> {
        called("drops")
    }
    async fn status(&self) -> Result<Status, ApiError> {
        called("status")
    }
    async fn explain(&self, _: ExplainRequest) -> Result<Explanation, ApiError> {
        called("explain")
    }
    async fn shutdown(&self) {}
}

/// The status and body that a request is answered with.
async fn ask(stub: Stub, method: &str, path: &str, body: &str) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::from(body.to_owned()))
        .unwrap();
    let response = router(Arc::new(stub)).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (
        status,
        if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap()
        },
    )
}

#[tokio::test]
async fn each_route_makes_its_call() {
    let entry = json!({"network": "blue", "mac": "02:00:00:00:00:0a", "port": "p"});
    let key = json!({"network": "blue", "mac": "02:00:00:00:00:0a"});
    let tap = json!({"name": "p", "kind": {"type": "tap", "ifname": "t"}});
    let frame = json!({"port": "p", "frame": {"hex": "00"}});
    let table: &[(Verb, &str, Value, &str)] = &[
        (Verb::Get, routes::NETWORKS, Value::Null, "networks"),
        (
            Verb::Post,
            routes::NETWORKS,
            json!({"name": "called"}),
            "network_create",
        ),
        (Verb::Get, routes::NETWORK, Value::Null, "network x"),
        (
            Verb::Delete,
            routes::NETWORK,
            Value::Null,
            "network_remove x",
        ),
        (
            Verb::Patch,
            routes::NETWORK,
            json!({"internal": true}),
            "network_set x Some(true)",
        ),
        (Verb::Get, routes::ENDPOINT, Value::Null, "endpoint x"),
        (
            Verb::Patch,
            routes::ENDPOINT,
            json!({"aliases": ["y"]}),
            "endpoint_set x Some([Name(\"y\")])",
        ),
        (
            Verb::Post,
            routes::ENDPOINT_JOIN,
            json!({"netns": {"pid": 7}}),
            "endpoint_join x eth0",
        ),
        (
            Verb::Post,
            routes::ENDPOINT_LEAVE,
            Value::Null,
            "endpoint_leave x",
        ),
        (Verb::Get, routes::POLICY, Value::Null, "policy x"),
        (
            Verb::Post,
            routes::POLICY,
            json!({"rules": [{"action": "deny", "direction": "in"}]}),
            "policy_set x 1",
        ),
        (Verb::Delete, routes::POLICY, Value::Null, "policy_set x 0"),
        (Verb::Get, routes::UPLINKS, Value::Null, "uplinks"),
        (
            Verb::Post,
            routes::UPLINKS,
            json!({"dev": "eth0"}),
            "uplink_add eth0",
        ),
        (Verb::Delete, routes::UPLINK, Value::Null, "uplink_remove x"),
        (Verb::Get, routes::PUBLICATIONS, Value::Null, "publications"),
        (
            Verb::Post,
            routes::PUBLICATIONS,
            json!({"ports": "80-89", "endpoint": "web", "to": 80}),
            "publish 80-89/tcp",
        ),
        (
            Verb::Delete,
            routes::PUBLICATION,
            Value::Null,
            "unpublish x",
        ),
        (Verb::Get, routes::ADOPTIONS, Value::Null, "adoptions"),
        (
            Verb::Post,
            routes::ADOPTIONS,
            json!({"bridge": "docker0"}),
            "adopt docker0",
        ),
        (Verb::Delete, routes::ADOPTION, Value::Null, "release x"),
        (Verb::Get, routes::NAT, Value::Null, "nat"),
        (
            Verb::Post,
            routes::NAT_FLUSH,
            json!({"port": 53}),
            "nat_flush Some(53)",
        ),
        (Verb::Get, routes::NAT_WATCH, Value::Null, "nat_watch"),
        (Verb::Get, routes::DOCTOR, Value::Null, "doctor"),
        (
            Verb::Post,
            routes::DOCTOR_CLEAN,
            Value::Null,
            "doctor_clean",
        ),
        (Verb::Get, routes::ENDPOINTS, Value::Null, "endpoints"),
        (
            Verb::Post,
            routes::ENDPOINTS,
            json!({"network": "blue", "netns": {"pid": 7}}),
            "attach",
        ),
        (
            Verb::Delete,
            routes::ENDPOINT,
            Value::Null,
            "detach Endpoint(Name(\"x\"))",
        ),
        (
            Verb::Post,
            routes::DETACH,
            json!({"endpoint": "y"}),
            "detach Endpoint(Name(\"y\"))",
        ),
        (Verb::Get, routes::PORTS, Value::Null, "ports"),
        (Verb::Post, routes::PORTS, tap, "port_add"),
        (Verb::Get, routes::PORT, Value::Null, "port x"),
        (
            Verb::Patch,
            routes::PORT,
            json!({"isolated": true}),
            "port_set x Some(true)",
        ),
        (Verb::Delete, routes::PORT, Value::Null, "port_remove x"),
        (Verb::Get, routes::FDB, Value::Null, "fdb"),
        (Verb::Post, routes::FDB, entry, "fdb_add"),
        (Verb::Post, routes::FDB_REMOVE, key, "fdb_remove"),
        (Verb::Post, routes::FDB_FLUSH, json!({}), "fdb_flush"),
        (Verb::Get, routes::DROPS, Value::Null, "drops"),
        (Verb::Get, routes::STATUS, Value::Null, "status"),
        (Verb::Post, routes::EXPLAIN, frame, "explain"),
    ];
    for (verb, route, body, call) in table {
        let stub = Stub::default();
        stub.go_on.notify_one();
        let (status, answer) = ask(
            stub,
            verb.as_str(),
            &route.replace("{name}", "x"),
            &body.to_string(),
        )
        .await;
        assert_eq!(
            (status, &answer),
            (503, &json!({"code": "unavailable", "message": call})),
            "{verb:?} {route}"
        );
    }
    let mut tried: Vec<_> = table
        .iter()
        .map(|(verb, route, ..)| (*verb, *route))
        .chain([(Verb::Get, routes::OPENAPI)])
        .collect();
    let mut all = ALL.to_vec();
    tried.sort_unstable();
    all.sort_unstable();
    assert_eq!(tried, all);
}

#[tokio::test]
async fn the_description_lists_each_route_and_no_other() {
    let (status, document) = ask(Stub::default(), "GET", routes::OPENAPI, "").await;
    assert_eq!(status, 200);
    let paths = document["paths"].as_object().unwrap();
    let mut described: Vec<_> = paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object()
                .unwrap()
                .keys()
                .map(move |verb| (verb.to_uppercase(), path.as_str()))
        })
        .collect();
    let mut all: Vec<_> = ALL
        .iter()
        .map(|(verb, path)| (verb.as_str().to_owned(), *path))
        .collect();
    described.sort_unstable();
    all.sort_unstable();
    assert_eq!(described, all);
}

#[tokio::test]
async fn the_description_names_ranges_and_resolves_every_schema() {
    let document = serde_json::to_value(openapi()).unwrap();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let text = document.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let schema = reference.split('"').next().unwrap();
        assert!(
            schemas.contains_key(schema),
            "{schema} is referred to and not described"
        );
    }
    let mtu = &schemas["NetworkCreate"]["properties"]["mtu"];
    assert_eq!(
        (&mtu["minimum"], &mtu["maximum"], &mtu["default"]),
        (&json!(576), &json!(65535), &json!(1500)),
        "{mtu}"
    );
    assert_eq!(schemas["VlanId"]["maximum"], json!(4094));
    for (name, schema) in schemas {
        assert!(
            schema.get("description").is_some(),
            "{name} is not explained"
        );
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            assert!(
                property.to_string().contains(r#""description""#),
                "{name}.{field} is not explained: {property}"
            );
        }
    }
}

#[tokio::test]
async fn bad_requests_say_what_was_wrong() {
    for (method, path, body, status, wrong) in [
        (
            "POST",
            "/v1/networks",
            "{",
            400,
            "the request's body: EOF while parsing an object at line 1 column 1",
        ),
        (
            "POST",
            "/v1/networks",
            r#"{"name":"b","mtu":100}"#,
            400,
            "mtu is 100; allowed are 576 to 65535",
        ),
        (
            "POST",
            "/v1/networks",
            r#"{"name":"../b"}"#,
            400,
            "`../b` is not a name",
        ),
        (
            "POST",
            "/v1/networks",
            r#"{"name":"b","mtv":1}"#,
            400,
            "unknown field `mtv`",
        ),
        (
            "POST",
            "/v1/explain",
            r#"{"port":"p","frame":{"hex":"abc"}}"#,
            400,
            "3 hexadecimal digits end in half a byte",
        ),
        (
            "POST",
            "/v1/publications",
            r#"{"ports":"80","endpoint":"web","to":80,"protocol":"icmp"}"#,
            400,
            "protocol is icmp; allowed are tcp, udp and sctp",
        ),
        (
            "PATCH",
            "/v1/networks/b",
            r#"{"quota":0}"#,
            400,
            "quota is 0; allowed are 1 to 16777216",
        ),
        (
            "GET",
            "/v1/nat/watch?state=open",
            "",
            400,
            "unknown variant `open`",
        ),
        ("GET", "/v1/networks/a%2Fb", "", 400, "`a/b` is not a name"),
        (
            "GET",
            "/v1/fdb?netwrok=b",
            "",
            400,
            "unknown field `netwrok`",
        ),
        (
            "GET",
            "/v1/nothing",
            "",
            404,
            "there is no route GET /v1/nothing; /openapi.json lists them",
        ),
        ("PUT", "/v1/networks", "", 405, "/v1/networks takes no PUT"),
    ] {
        let (answered, error) = ask(Stub::default(), method, path, body).await;
        assert_eq!(answered, status, "{method} {path}: {error}");
        assert!(
            error["message"].as_str().unwrap().contains(wrong),
            "{error}"
        );
    }
    let (status, _) = ask(
        Stub::default(),
        "POST",
        "/v1/networks",
        &" ".repeat(3 << 20),
    )
    .await;
    assert_eq!(status, 400, "a giant body is refused");
}

/// Serves `stub` on a socket and lets `client` ask it.
async fn served<T: Send + 'static>(
    stub: Arc<Stub>,
    client: impl FnOnce(Client) -> T + Send + 'static,
) -> T {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("a.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, router(stub)).await });
    let answer = tokio::task::spawn_blocking(move || client(Client::new(socket)))
        .await
        .unwrap();
    server.abort();
    answer
}

#[tokio::test]
async fn the_client_reaches_the_calls() {
    served(Arc::default(), |client| {
        let spec = NetworkCreate {
            mtu: 9000,
            ..NetworkCreate::new(name("blue"))
        };
        assert_eq!(client.network_create(&spec).unwrap().spec, spec);
        client.network_remove(&name("blue")).unwrap();
        let filter = FdbFilter {
            network: Some(name("blue")),
            port: Some(name("p1")),
        };
        let entries = client.fdb(&filter).unwrap();
        assert_eq!(
            (entries[0].network.as_str(), entries[0].port.as_str()),
            ("blue", "p1")
        );
        let Err(ClientError::Refused(error)) = client.status() else {
            panic!("a refusal is expected")
        };
        assert_eq!(
            (error.code, error.message.as_str()),
            (ErrorCode::Unavailable, "status")
        );
        let Err(ClientError::Refused(error)) = client.fdb(&FdbFilter::default()) else {
            panic!("a refusal is expected")
        };
        assert_eq!(error.message, "fdb");
        assert_eq!(client.openapi().unwrap()["info"]["title"], "Clearway");
    })
    .await;
}

#[tokio::test]
async fn connections_are_filtered_and_watched_until_the_client_hangs_up() {
    served(Arc::default(), |client| {
        let filter = NatFilter {
            src: Some("10.1.0.3/32".parse().unwrap()),
            state: Some(NatState::Established),
            protocol: Some(Protocol::TCP),
            ..NatFilter::default()
        };
        assert_eq!(client.nat(&filter).unwrap(), [connection("10.1.0.3:40000")]);

        let of_port = NatFilter {
            port: Some(5000),
            ..NatFilter::default()
        };
        let mut seen = Vec::new();
        client
            .nat_watch(&of_port, |event| {
                seen.push(event.entry.original.src.to_string());
                if seen.len() < 3 {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })
            .unwrap();
        assert_eq!(seen, ["10.1.0.2:5000", "10.1.0.3:5000", "10.1.0.4:5000"]);

        let refused = client.nat_watch(&NatFilter::default(), |_| ControlFlow::Continue(()));
        let Err(ClientError::Refused(error)) = refused else {
            panic!("a refusal is expected")
        };
        assert_eq!(error.message, "nat_watch");
    })
    .await;
}

#[tokio::test]
async fn a_call_that_panics_is_one_refused_request() {
    served(Arc::default(), |client| {
        let attach = Attach {
            ifname: "panic".into(),
            ..Attach::new(name("blue"), Netns::Pid(7))
        };
        let Err(ClientError::Refused(error)) = client.attach(&attach) else {
            panic!("a refusal is expected")
        };
        assert_eq!(error.code, ErrorCode::Internal);
        assert!(
            client
                .network_create(&NetworkCreate::new(name("blue")))
                .is_ok(),
            "the daemon goes on"
        );
    })
    .await;
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_no_call_half_way() {
    let stub = Arc::new(Stub::default());
    let entry = FdbAdd {
        network: name("blue"),
        vlan: None,
        mac: "02:00:00:00:00:0a".parse().unwrap(),
        port: name("p"),
    };
    let asking = Arc::clone(&stub);
    let error = served(Arc::clone(&stub), move |client| {
        client
            .with_timeout(std::time::Duration::from_millis(200))
            .fdb_add(&entry)
            .map_err(|error| error.to_string())
    })
    .await;
    assert!(error.unwrap_err().contains("gave no answer: waited 0.2 s"));
    asking.adding.notified().await;
    asking.go_on.notify_one();
    asking.added.notified().await;
}

#[tokio::test]
async fn without_a_daemon_the_client_says_so() {
    let error =
        tokio::task::spawn_blocking(|| Client::new(Path::new("/nonexistent/a.sock")).status())
            .await
            .unwrap()
            .unwrap_err();
    assert_eq!(
        error.to_string(),
        "no daemon answers on /nonexistent/a.sock: No such file or directory (os error 2); start one with `clearway daemon`"
    );
}
