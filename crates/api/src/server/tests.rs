//! The router and the client against a stub, in memory and over a real socket.

use super::*;
use crate::{
    Asked, Attach, CALLS, Client, ClientError, ErrorCode, FdbAdd, FdbEntry, FdbKind, Filter,
    IpProtocol, Name, NatChange, NatCount, NatEntry, NatEvent, NatState, NatTuple, Netns,
    NetworkCreate, Stub, VlanId,
};
use axum::body::{Body, to_bytes};
use axum::http::Request;
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Mutex, mpsc};
use std::time::Duration;
use tower::ServiceExt;

/// Refuses every call by its name.
fn refusing() -> Stub {
    Stub::new(refused)
}

fn refused(asked: &Asked) -> Result<Value, ApiError> {
    Err(ApiError::unavailable(asked.call))
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
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
    let answer = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    (status, answer)
}

/// A request's body for a call that needs one.
fn body_of(call: &str) -> Value {
    match call {
        "network_create" => json!({"name": "blue"}),
        "network_set" => json!({"internal": true}),
        "attach" => json!({"network": "blue", "netns": {"pid": 7}}),
        "endpoint_set" => json!({"aliases": ["y"]}),
        "endpoint_join" => json!({"netns": {"pid": 7}}),
        "detach" => json!({"endpoint": "y"}),
        "policy_set" => json!({"rules": []}),
        "uplink_add" => json!({"dev": "eth0"}),
        "publish" => json!({"ports": "80-89", "endpoint": "web", "to": 80}),
        "adopt" => json!({"bridge": "docker0"}),
        "nat_flush" => json!({"filter": "port 53"}),
        "port_add" => json!({"name": "p", "kind": {"type": "tap", "ifname": "t"}}),
        "port_set" => json!({"isolated": true}),
        "fdb_add" => json!({"network": "blue", "mac": "02:00:00:00:00:0a", "port": "p"}),
        "fdb_remove" => json!({"network": "blue", "mac": "02:00:00:00:00:0a"}),
        "fdb_flush" => json!({"include_static": true}),
        "explain" => json!({"port": "p", "frame": {"hex": "00"}}),
        "trace" => json!({"filter": "tcp", "drops": true, "frames": 3}),
        _ => Value::Null,
    }
}

/// Returns whether all that was sent arrived, if anything was; fields that were left out come with their
/// defaults.
fn has(arrived: &Value, sent: &Value) -> bool {
    match sent.as_object() {
        Some(fields) => fields.iter().all(|(key, sent)| has(&arrived[key], sent)),
        None => sent.is_null() || arrived == sent,
    }
}

#[tokio::test]
async fn each_route_makes_its_call_with_what_was_sent() {
    for (call, method, path) in CALLS {
        let asked: Arc<Mutex<Option<Asked>>> = Arc::default();
        let note = Arc::clone(&asked);
        let stub = Stub::new(move |asked| {
            *note.lock().unwrap() = Some(asked.clone());
            refused(asked)
        });
        let body = body_of(call);
        let there = path.replace("{name}", "x");
        let (status, answer) = ask(stub, method.as_str(), &there, &body.to_string()).await;
        assert_eq!(
            (status, &answer),
            (503, &json!({"code": "unavailable", "message": call})),
            "{method} {path}"
        );
        let asked = asked.lock().unwrap().take().unwrap();
        let named = path.contains("{name}").then(|| name("x"));
        assert_eq!((asked.call, asked.name), (*call, named));
        assert!(has(&asked.request, &body), "{call}: {}", asked.request);
    }
}

#[tokio::test]
async fn the_description_lists_each_route_and_no_other() {
    let (status, document) = ask(refusing(), "GET", OPENAPI, "").await;
    assert_eq!(status, 200);
    let paths = document["paths"].as_object().unwrap();
    let mut described = Vec::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            let call = operation["operationId"].as_str().unwrap();
            described.push((call, method.to_uppercase(), path.as_str()));
        }
    }
    let mut all: Vec<_> = CALLS
        .iter()
        .map(|(call, method, path)| (*call, method.to_string(), *path))
        .chain([("openapi", "GET".to_owned(), OPENAPI)])
        .collect();
    described.sort_unstable();
    all.sort_unstable();
    assert_eq!(described, all);
}

#[test]
fn the_description_names_ranges_and_resolves_every_schema() {
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
            "POST",
            "/v1/trace",
            r#"{"seconds":90000}"#,
            400,
            "seconds is 90000; allowed are 1 to 86400",
        ),
        (
            "POST",
            "/v1/trace",
            r#"{"frames":0}"#,
            400,
            "frames is 0; allowed are 1 to 1000000",
        ),
        (
            "GET",
            "/v1/nat/watch?state=open",
            "",
            400,
            "unknown field `state`, expected `filter`",
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
        let (answered, error) = ask(refusing(), method, path, body).await;
        assert_eq!(answered, status, "{method} {path}: {error}");
        assert!(
            error["message"].as_str().unwrap().contains(wrong),
            "{error}"
        );
    }
    let (status, _) = ask(refusing(), "POST", "/v1/networks", &" ".repeat(3 << 20)).await;
    assert_eq!(status, 400, "a giant body is refused");
}

/// Serves `stub` on a socket and lets `client` ask it.
async fn served<T: Send + 'static>(
    stub: Stub,
    client: impl FnOnce(Client) -> T + Send + 'static,
) -> T {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("a.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, router(Arc::new(stub))).await });
    let answer = tokio::task::spawn_blocking(move || client(Client::new(socket)))
        .await
        .unwrap();
    server.abort();
    answer
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> ApiError {
    let Err(ClientError::Refused(error)) = answer else {
        panic!("a refusal is expected, not {answer:?}")
    };
    error
}

/// Makes networks and shows what is asked for; refuses the rest.
fn answering(asked: &Asked) -> Result<Value, ApiError> {
    match asked.call {
        "network_create" => Ok(json!({
            "id": 7, "spec": asked.request, "ports": 0, "endpoints": 0, "macs": 0,
            "gateway_mac": null, "gateways": [], "uplink": null, "publications": [],
        })),
        "network_remove" => Ok(Value::Null),
        "fdb" => {
            let filter: Filter = asked.get();
            Ok(json!([FdbEntry {
                network: name("blue"),
                vlan: VlanId::DEFAULT,
                mac: filter.filter.parse().unwrap(),
                port: name("p1"),
                kind: FdbKind::Learned,
                age_seconds: Some(3),
                leases: 0,
            }]))
        }
        _ => refused(asked),
    }
}

#[tokio::test]
async fn the_client_reaches_the_calls() {
    served(Stub::new(answering), |client| {
        let spec = NetworkCreate {
            mtu: 9000,
            ..NetworkCreate::new(name("blue"))
        };
        assert_eq!(client.network_create(&spec).unwrap().spec, spec);
        client.network_remove(&name("blue")).unwrap();
        let mac = "02:00:00:00:00:0a";
        let entries = client.fdb(&Filter::new(mac)).unwrap();
        assert_eq!(entries[0].mac.to_string(), mac);
        let error = refusal(client.status());
        assert_eq!(
            (error.code, error.message.as_str()),
            (ErrorCode::Unavailable, "status")
        );
        assert_eq!(client.openapi().unwrap()["info"]["title"], "Clearway");
    })
    .await;
}

fn connection(src: &str) -> NatEntry {
    let tuple = |src: &str| NatTuple {
        src: src.parse().unwrap(),
        dst: "198.51.100.7:443".parse().unwrap(),
    };
    NatEntry {
        network: name("blue"),
        endpoint: None,
        protocol: IpProtocol::TCP,
        state: NatState::Established,
        original: tuple(src),
        translated: tuple("198.51.100.1:50000"),
        sent: NatCount::default(),
        received: NatCount::default(),
        expires_seconds: 60,
        leased: false,
    }
}

#[tokio::test]
async fn a_filter_arrives_as_it_was_said_and_a_stream_ends_with_its_last_value() {
    let text = "src net 2001:db8::/32 and (tcp || udp) and endpoint \"a&b=c%\" and port 5000";
    let filter = Filter::new(text);
    let expected = filter.clone();
    let stub = Stub::new(move |asked| {
        if asked.call != "nat_watch" || asked.get::<Filter>().is_all() {
            return refused(asked);
        }
        assert_eq!(asked.get::<Filter>(), expected);
        let event = |host| NatEvent {
            event: NatChange::New,
            entry: connection(&format!("10.1.0.{host}:5000")),
            lost: 0,
        };
        Ok(json!([event(2), event(3), event(4)]))
    });
    served(stub, move |client| {
        let seen: Vec<_> = client
            .nat_watch(&filter)
            .unwrap()
            .map(|event| event.unwrap().entry.original.src.to_string())
            .collect();
        assert_eq!(seen, ["10.1.0.2:5000", "10.1.0.3:5000", "10.1.0.4:5000"]);

        let error = refusal(client.nat_watch(&Filter::default()));
        assert_eq!(error.message, "nat_watch");
    })
    .await;
}

#[tokio::test]
async fn a_stream_hands_on_each_value_at_once_and_lets_go_of_its_sender() {
    let (sender, values) = tokio::sync::mpsc::channel(4);
    let response = reply::stream(move || Ok(values)).await.unwrap();
    let mut body = response.into_body().into_data_stream();
    for number in 1..=2 {
        sender.try_send(number).unwrap();
        let line = body.next().await.unwrap().unwrap();
        assert_eq!(line, format!("{number}\n"));
    }
    assert!(!sender.is_closed());
    drop(body);
    assert!(
        sender.is_closed(),
        "whoever sends sees that the client hung up"
    );
}

#[tokio::test]
async fn a_call_that_panics_is_one_refused_request() {
    let stub = Stub::new(|asked| {
        assert_ne!(asked.call, "attach");
        answering(asked)
    });
    served(stub, |client| {
        let attach = Attach::new(name("blue"), Netns::Pid(7));
        let error = refusal(client.attach(&attach));
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
    let (go_on, wait) = mpsc::channel::<()>();
    let (tell, added) = mpsc::channel();
    let wait = Mutex::new(wait);
    let stub = Stub::new(move |asked| {
        wait.lock().unwrap().recv().unwrap();
        tell.send(asked.call).unwrap();
        refused(asked)
    });
    served(stub, move |client| {
        let entry = FdbAdd {
            network: name("blue"),
            vlan: None,
            mac: "02:00:00:00:00:0a".parse().unwrap(),
            port: name("p"),
        };
        let error = client
            .with_timeout(Duration::from_millis(200))
            .fdb_add(&entry)
            .unwrap_err();
        let error = error.to_string();
        assert!(error.contains("gave no answer: waited 0.2 s"), "{error}");
        go_on.send(()).unwrap();
        assert_eq!(added.recv().unwrap(), "fdb_add");
    })
    .await;
}

#[test]
fn without_a_daemon_the_client_says_so() {
    let error = Client::new(Path::new("/nonexistent/a.sock"))
        .status()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "no daemon answers on /nonexistent/a.sock: No such file or directory (os error 2); start one with `clearway daemon`"
    );
}
