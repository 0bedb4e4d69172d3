//! Names, asked of a stub dockerd.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stub;

use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use stub::{Bench, Clearway};
use tokio::sync::broadcast;

const NETWORK: &str = "c6cb823ac930eb2f4539";
const CONTAINER: &str = "4f1c2d3e4a5b6c7d8e9f";

/// The stub dockerd: its answers by path, and its events.
#[derive(Clone)]
struct Dockerd {
    answers: Arc<Mutex<BTreeMap<String, Value>>>,
    /// Events so far, which are told to who asks later, and who asked already.
    events: Arc<Mutex<Vec<Value>>>,
    listeners: broadcast::Sender<Value>,
    /// Queries for events that were received.
    queries: Arc<Mutex<Vec<String>>>,
}

impl Dockerd {
    fn new() -> Self {
        Self {
            answers: Arc::default(),
            events: Arc::default(),
            listeners: broadcast::channel(16).0,
            queries: Arc::default(),
        }
    }

    fn set(&self, path: &str, answer: Value) {
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    fn router(&self) -> Router {
        Router::new()
            .route("/events", get(events))
            .route("/{*path}", get(answer))
            .with_state(self.clone())
    }

    fn network(&self, name: &str, containers: &Value) {
        self.set(
            &format!("networks/{NETWORK}"),
            json!({"Name": name, "Id": NETWORK, "Created": "2026-01-01T00:00:00.0Z",
                "Scope": "local", "Driver": "clearway", "EnableIPv6": false,
                "IPAM": {"Driver": "default", "Options": {}, "Config": [{"Subnet": "10.50.0.0/24"}]},
                "Internal": false, "Attachable": false, "Ingress": false,
                "ConfigFrom": {"Network": ""}, "ConfigOnly": false,
                "Containers": containers, "Options": {}, "Labels": {}}),
        );
    }

    fn container(&self, name: &str) {
        self.network(
            "shop_default",
            &json!({CONTAINER: {"Name": name, "EndpointID": "e1", "MacAddress": "",
                "IPv4Address": "10.50.0.2/24", "IPv6Address": ""}}),
        );
        self.set(
            &format!("containers/{CONTAINER}/json"),
            json!({"Id": CONTAINER, "Created": "2026-01-01T00:00:00.0Z", "Name": format!("/{name}"),
                "Config": {"Hostname": "box", "Labels": {
                    "com.docker.compose.project": "shop", "com.docker.compose.service": "db"}},
                "NetworkSettings": {"Networks": {"shop_default": {
                    "Aliases": ["db", "store"], "NetworkID": NETWORK, "EndpointID": "e1"}}}}),
        );
    }

    fn tell(&self, kind: &str, action: &str) {
        let event = json!({"Type": kind, "Action": action, "Actor": {"ID": "x", "Attributes": {}},
            "scope": "local", "time": 1, "timeNano": 1});
        let mut events = self.events.lock().unwrap();
        events.push(event.clone());
        // Who does not listen yet is told later.
        let _ = self.listeners.send(event);
    }
}

async fn answer(State(own): State<Dockerd>, Path(path): Path<String>) -> Response {
    match own.answers.lock().unwrap().get(&path) {
        Some(answer) => Json(answer).into_response(),
        None => {
            let message = json!({"message": format!("no such thing: {path}")});
            (StatusCode::NOT_FOUND, Json(message)).into_response()
        }
    }
}

async fn events(State(own): State<Dockerd>, RawQuery(query): RawQuery) -> Body {
    let (past, listener) = {
        let events = own.events.lock().unwrap();
        (events.clone(), own.listeners.subscribe())
    };
    own.queries.lock().unwrap().extend(query);
    let future = stream::unfold(listener, |mut listener| async {
        let event = listener.recv().await.ok()?;
        Some((event, listener))
    });
    let all = stream::iter(past).chain(future);
    Body::from_stream(all.map(|event| Ok::<_, Infallible>(Bytes::from(format!("{event}\n")))))
}

/// A plugin beside `dockerd`, with a network and an endpoint.
fn bench(dockerd: &Dockerd) -> Bench {
    let bench = Bench::with(|options| {
        options.docker_socket = Some(options.api_socket.with_file_name("docker.sock"));
    });
    let network = json!({"NetworkID": NETWORK, "IPv4Data":
        [{"AddressSpace": "LocalDefault", "Gateway": "10.50.0.1/24", "Pool": "10.50.0.0/24"}]});
    assert_eq!(
        bench.call("NetworkDriver.CreateNetwork", &network),
        json!({})
    );
    let endpoint = json!({"NetworkID": NETWORK, "EndpointID": "e1",
        "Interface": {"Address": "10.50.0.2/24"}});
    bench.call("NetworkDriver.CreateEndpoint", &endpoint);
    // dockerd comes later than the plugin.
    bench.serve("docker.sock", dockerd.router());
    bench
}

fn is_called(state: &Clearway, name: &str) -> bool {
    let own = state.endpoints.first().and_then(|e| e.name.as_ref());
    own.is_some_and(|own| own.as_str() == name)
}

#[test]
fn networks_and_containers_get_their_names_and_keep_in_step() {
    let dockerd = Dockerd::new();
    dockerd.container("shop-db-1");
    let bench = bench(&dockerd);
    bench.clearway.wait_until("the container's name", |state| {
        is_called(state, "shop-db-1")
    });
    {
        let state = bench.clearway.lock();
        assert_eq!(state.networks[0].spec.name.as_str(), "shop_default");
        let endpoint = &state.endpoints[0];
        let aliases: Vec<_> = endpoint.aliases.iter().map(api::Name::as_str).collect();
        assert_eq!(aliases, ["db", "store", "4f1c2d3e4a5b", "box"]);
        for (key, value) in [
            ("com.docker.container.id", CONTAINER),
            ("com.docker.container.name", "shop-db-1"),
            ("com.docker.compose.project", "shop"),
            ("com.docker.compose.service", "db"),
            ("com.docker.endpoint.id", "e1"),
        ] {
            assert_eq!(endpoint.labels[key], value);
        }
    }
    dockerd.container("store");
    dockerd.tell("container", "rename");
    bench
        .clearway
        .wait_until("the new name", |state| is_called(state, "store"));
    // By then it listens, so from now on it is events that bring news.
    dockerd.container("shop-db-1");
    dockerd.tell("container", "rename");
    bench
        .clearway
        .wait_until("the old name", |state| is_called(state, "shop-db-1"));
    let query = dockerd.queries.lock().unwrap().concat();
    for part in ["since=", "network", "container", "rename", "start"] {
        assert!(query.contains(part), "{query}");
    }
}

#[test]
fn a_call_to_the_driver_is_a_reason_to_look() {
    let dockerd = Dockerd::new();
    dockerd.network("early", &json!({}));
    let bench = bench(&dockerd);
    bench.clearway.wait_until("the network's name", |state| {
        state.networks[0].spec.name.as_str() == "early"
    });
    dockerd.container("db");
    let join = json!({"NetworkID": NETWORK, "EndpointID": "e1", "SandboxKey": "/proc/self/ns/net"});
    bench.call("NetworkDriver.Join", &join);
    bench
        .clearway
        .wait_until("the container's name", |state| is_called(state, "db"));
}
