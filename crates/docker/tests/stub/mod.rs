//! What the plugin has on its other sides: a daemon that keeps networks, endpoints and publications
//! in memory and does what Clearway's interface says of them, and a dockerd that sends requests the
//! way dockerd does.

#![allow(dead_code, reason = "each test takes what it needs")]

use api::{
    ApiError, Asked, Attach, Detach, Endpoint, EndpointSet, Join, Mac, Name, Network,
    NetworkCreate, NetworkSet, Publication, PublicationCreate, Via, VlanId,
};
use axum::Router;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// The state of the stub daemon.
#[derive(Default)]
pub(crate) struct Clearway {
    pub(crate) networks: Vec<Network>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) publications: Vec<Publication>,
    /// Ports that another program of the host has.
    pub(crate) foreign: BTreeSet<u16>,
    /// Every call but reading ones, in order.
    pub(crate) calls: Vec<String>,
    /// So many joins wait for each other.
    pub(crate) joins_together: usize,
    joins: usize,
    made: u32,
}

/// The daemon's state, and word of its changes.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<(Mutex<Clearway>, Condvar)>);

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Clearway> {
        self.0.0.lock().unwrap()
    }

    /// Waits until `good` is, and panics when it is not for too long.
    pub(crate) fn wait_until(&self, what: &str, good: impl Fn(&Clearway) -> bool) {
        let waited = self
            .0
            .1
            .wait_timeout_while(self.lock(), PATIENCE, |state| !good(state));
        let (state, timed_out) = waited.unwrap();
        assert!(!timed_out.timed_out(), "{what}; calls: {:#?}", state.calls);
    }

    fn change<T>(
        &self,
        call: String,
        change: impl FnOnce(&mut Clearway) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let mut state = self.lock();
        state.calls.push(call);
        let answer = change(&mut state);
        self.0.1.notify_all();
        answer
    }
}

/// A plugin with a stub daemon behind it, until it is dropped.
pub(crate) struct Bench {
    pub(crate) dir: TempDir,
    pub(crate) clearway: Shared,
    pub(crate) socket: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<Result<(), docker::Error>>>,
    runtime: Runtime,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A plugin with other options than the usual.
    pub(crate) fn with(change: impl FnOnce(&mut docker::Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let clearway = Shared::default();
        let api_socket = dir.path().join("api.sock");
        serve(&runtime, &api_socket, clearway_router(clearway.clone()));
        let mut options = docker::Options {
            socket: dir.path().join("plugins/clearway.sock"),
            docker_socket: None,
            ..docker::Options::new(api_socket, dir.path().join("state"))
        };
        change(&mut options);
        let mut bench = Self {
            socket: options.socket.clone(),
            dir,
            clearway,
            stop: None,
            serving: None,
            runtime,
        };
        bench.start(options);
        bench
    }

    /// Serves in a runtime of its own, as the daemon would.
    pub(crate) fn start(&mut self, options: docker::Options) {
        let listener = docker::Listener::bind(&options.socket).unwrap();
        let (stop, stopped) = oneshot::channel();
        self.stop = Some(stop);
        self.serving = Some(std::thread::spawn(move || {
            let stopped = async {
                let _ = stopped.await;
            };
            Runtime::new()
                .unwrap()
                .block_on(listener.serve(options, stopped))
        }));
    }

    /// Stops the plugin cleanly.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(serving) = self.serving.take() {
            serving.join().unwrap().unwrap();
        }
    }

    /// A call's answer as JSON; the status must be 200.
    pub(crate) fn call(&self, method: &str, body: &Value) -> Value {
        self.text(method, &body.to_string())
    }

    /// As [`Self::call`] with a body as it is.
    pub(crate) fn text(&self, method: &str, body: &str) -> Value {
        let (status, answer) = self.post(method, body);
        assert_eq!(status, 200, "{method}: {answer}");
        serde_json::from_str(&answer).unwrap()
    }

    /// The refusal's text.
    pub(crate) fn refusal(&self, method: &str, body: &Value) -> String {
        let answer = self.call(method, body);
        let Value::String(text) = &answer["Err"] else {
            panic!("{method} was not refused: {answer}");
        };
        text.clone()
    }

    /// Status and body of a POST.
    pub(crate) fn post(&self, method: &str, body: &str) -> (u16, String) {
        // As docker 20.10 sends it: Host is there and empty.
        let head = format!(
            "POST /{method} HTTP/1.1\r\nHost: \r\nUser-Agent: Go-http-client/1.1\r\n\
             Accept: application/vnd.docker.plugins.v1.2+json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            body.len()
        );
        self.raw(&format!("{head}{body}"))
    }

    /// Status and body of whatever is sent.
    pub(crate) fn raw(&self, request: &str) -> (u16, String) {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    pub(crate) fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Another server in the bench's runtime.
    pub(crate) fn serve(&self, name: &str, router: Router) -> PathBuf {
        let socket = self.dir.path().join(name);
        serve(&self.runtime, &socket, router);
        socket
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}

fn serve(runtime: &Runtime, socket: &std::path::Path, router: Router) {
    let _entered = runtime.enter();
    let listener = UnixListener::bind(socket).unwrap();
    runtime.spawn(async move { axum::serve(listener, router).await });
}

/// The stub daemon, behind the router of the real one.
fn clearway_router(shared: Shared) -> Router {
    let answer = move |asked: &Asked| shared.answer(asked);
    api::server::router(Arc::new(api::Stub::new(answer)))
}

fn json<T: Serialize>(answer: T) -> Value {
    serde_json::to_value(answer).unwrap()
}

impl Shared {
    /// The calls that the plugin makes.
    fn answer(&self, asked: &Asked) -> Result<Value, ApiError> {
        let name = || asked.name.as_ref().unwrap();
        match asked.call {
            "networks" => Ok(json(&self.lock().networks)),
            "network" => self.lock().network(name()).map(json),
            "network_create" => self.network_create(asked.get()).map(json),
            "network_set" => self.network_set(name(), asked.get()).map(json),
            "network_remove" => self.network_remove(name()).map(json),
            "endpoints" => Ok(json(&self.lock().endpoints)),
            "attach" => self.attach(asked.get()).map(json),
            "endpoint_set" => self.endpoint_set(name(), asked.get()).map(json),
            "endpoint_join" => self.join(name(), asked.get()).map(json),
            "endpoint_leave" => self.leave(name()).map(json),
            "detach" => self.detach(asked.get()).map(json),
            "publications" => Ok(json(&self.lock().publications)),
            "publish" => self.publish(asked.get()).map(json),
            "unpublish" => self.unpublish(name()).map(json),
            other => panic!("the plugin has no need of {other}"),
        }
    }

    fn network_create(&self, spec: NetworkCreate) -> Result<Network, ApiError> {
        self.change(format!("network_create {}", spec.name), |state| {
            if state.networks.iter().any(|n| n.spec.name == spec.name) {
                return Err(ApiError::already_exists(format!(
                    "network {} exists",
                    spec.name
                )));
            }
            state.made += 1;
            let network = Network {
                id: state.made,
                gateways: spec.gateways.clone().unwrap_or_default(),
                spec,
                ports: 0,
                endpoints: 0,
                macs: 0,
                gateway_mac: None,
                uplink: None,
                publications: Vec::new(),
            };
            state.networks.push(network.clone());
            Ok(network)
        })
    }

    fn network_set(&self, name: &Name, set: NetworkSet) -> Result<Network, ApiError> {
        self.change(format!("network_set {name} {:?}", set.name), |state| {
            let found = state.networks.iter_mut().find(|n| n.spec.name == *name);
            let network = found.ok_or_else(|| missing("network", name))?;
            let new = set.name.unwrap_or_else(|| name.clone());
            network.spec.name = new.clone();
            let network = network.clone();
            for endpoint in state.endpoints.iter_mut().filter(|e| e.network == *name) {
                endpoint.network = new.clone();
            }
            Ok(network)
        })
    }

    fn network_remove(&self, name: &Name) -> Result<(), ApiError> {
        self.change(format!("network_remove {name}"), |state| {
            if state.endpoints.iter().any(|e| e.network == *name) {
                return Err(ApiError::in_use(format!("network {name} has endpoints")));
            }
            let before = state.networks.len();
            state.networks.retain(|n| n.spec.name != *name);
            if state.networks.len() == before {
                return Err(missing("network", name));
            }
            Ok(())
        })
    }

    fn attach(&self, attach: Attach) -> Result<Endpoint, ApiError> {
        self.change(format!("attach {}", attach.network), |state| {
            let network = state
                .networks
                .iter()
                .find(|n| n.spec.name == attach.network);
            let network = network
                .ok_or_else(|| missing("network", &attach.network))?
                .clone();
            let near = state
                .endpoints
                .iter()
                .filter(|e| e.network == attach.network);
            for address in near.flat_map(|e| &e.addresses) {
                if attach.addresses.iter().any(|a| a.addr() == address.addr()) {
                    return Err(ApiError::already_exists(format!("{address} is taken")));
                }
            }
            state.made += 1;
            let n = state.made;
            let id: Name = format!("ep-{n}").parse().unwrap();
            let leads_on = !network.spec.routing.internal;
            let endpoint = Endpoint {
                port: id.clone(),
                id,
                name: attach.name,
                aliases: attach.aliases,
                network: attach.network,
                netns: attach.netns,
                ifname: attach.ifname,
                via: Via::Tap,
                datapath: None,
                mac: attach
                    .mac
                    .unwrap_or_else(|| Mac([2, 0, 0, 0, 0, u8::try_from(n).unwrap()])),
                addresses: attach.addresses,
                gateways: network
                    .gateways
                    .iter()
                    .copied()
                    .filter(|_| leads_on)
                    .collect(),
                vlan: attach.vlan.unwrap_or(VlanId::DEFAULT),
                mtu: attach.mtu.unwrap_or(network.spec.mtu),
                locked: attach.locked,
                labels: attach.labels,
            };
            state.endpoints.push(endpoint.clone());
            Ok(endpoint)
        })
    }

    fn endpoint_set(&self, id: &Name, set: EndpointSet) -> Result<Endpoint, ApiError> {
        self.change(format!("endpoint_set {id}"), |state| {
            let endpoint = state.endpoint(id)?;
            if set.name.is_some() {
                endpoint.name = set.name;
            }
            if let Some(aliases) = set.aliases {
                endpoint.aliases = aliases;
            }
            if let Some(labels) = set.labels {
                endpoint.labels = labels;
            }
            Ok(endpoint.clone())
        })
    }

    fn join(&self, id: &Name, join: Join) -> Result<Endpoint, ApiError> {
        let joined = self.change(
            format!("join {id} {} {}", join.netns, join.ifname),
            |state| {
                let endpoint = state.endpoint(id)?;
                if let Some(netns) = &endpoint.netns {
                    return Err(ApiError::in_use(format!("{id} is in {netns} already")));
                }
                endpoint.netns = Some(join.netns);
                endpoint.ifname = join.ifname;
                endpoint.via = join.via;
                let endpoint = endpoint.clone();
                state.joins += 1;
                Ok(endpoint)
            },
        );
        let together = self.lock().joins_together;
        if together > 0 {
            self.wait_until("all join", |state| state.joins >= together);
        }
        joined
    }

    fn leave(&self, id: &Name) -> Result<Endpoint, ApiError> {
        self.change(format!("leave {id}"), |state| {
            state.publications.retain(|p| p.spec.endpoint != *id);
            let endpoint = state.endpoint(id)?;
            endpoint.netns = None;
            Ok(endpoint.clone())
        })
    }

    fn detach(&self, detach: Detach) -> Result<Endpoint, ApiError> {
        let Detach::Endpoint(id) = detach else {
            return Err(ApiError::invalid("the plugin detaches by id"));
        };
        self.change(format!("detach {id}"), |state| {
            let endpoint = state.endpoint(&id)?.clone();
            state.endpoints.retain(|e| e.id != id);
            state.publications.retain(|p| p.spec.endpoint != id);
            Ok(endpoint)
        })
    }

    fn publish(&self, spec: PublicationCreate) -> Result<Publication, ApiError> {
        self.change(
            format!("publish {}->{}", spec.outside(), spec.to),
            |state| {
                state.check_free(&spec)?;
                let network = state.endpoint(&spec.endpoint[0])?.network.clone().into();
                state.made += 1;
                let publication = Publication {
                    id: format!("pub-{}", state.made).parse().unwrap(),
                    spec,
                    network,
                    addresses: Vec::new(),
                };
                state.publications.push(publication.clone());
                Ok(publication)
            },
        )
    }

    fn unpublish(&self, id: &Name) -> Result<(), ApiError> {
        self.change(format!("unpublish {id}"), |state| {
            state.publications.retain(|p| p.id != *id);
            Ok(())
        })
    }
}

impl Clearway {
    fn network(&self, name: &Name) -> Result<Network, ApiError> {
        let found = self.networks.iter().find(|n| n.spec.name == *name);
        found.cloned().ok_or_else(|| missing("network", name))
    }

    /// Returns what is published, in the command line's words.
    pub(crate) fn published(&self) -> Vec<String> {
        let word = |p: &Publication| format!("{}->{}", p.spec.outside(), p.spec.to);
        self.publications.iter().map(word).collect()
    }

    fn endpoint(&mut self, id: &Name) -> Result<&mut Endpoint, ApiError> {
        let found = self.endpoints.iter_mut().find(|e| e.id == *id);
        found.ok_or_else(|| missing("endpoint", id))
    }

    fn check_free(&self, spec: &PublicationCreate) -> Result<(), ApiError> {
        let every = |host: Option<IpAddr>| host.is_none_or(|host| host.is_unspecified());
        let mut ports = spec.ports.first()..=spec.ports.last();
        if let Some(port) = ports.find(|port| self.foreign.contains(port)) {
            return Err(ApiError::already_exists(format!(
                "another program has port {port}"
            )));
        }
        let taken = self.publications.iter().find(|p| {
            p.spec.protocol == spec.protocol
                && p.spec.ports.first() <= spec.ports.last()
                && spec.ports.first() <= p.spec.ports.last()
                && (p.spec.host == spec.host || every(p.spec.host) || every(spec.host))
        });
        match taken {
            Some(taken) => Err(ApiError::already_exists(format!(
                "{} has it",
                taken.spec.endpoint
            ))),
            None => Ok(()),
        }
    }
}

fn missing(what: &str, name: &Name) -> ApiError {
    ApiError::not_found(format!("{what} {name} does not exist"))
}
