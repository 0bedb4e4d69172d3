//! `packaging/compose.yaml` by Compose itself, networks and ports as they are shipped. What its
//! services run is replaced, for their images come from a registry: by the same application in
//! scripts.

use crate::web::{APP, DB, PROXY, get};
use crate::world::{HOST, OUTSIDE, SOON, World, at};
use serde_json::{Value, json};
use std::path::PathBuf;
use testbed::docker::{Container, Engine};
use testbed::{cannot_run, wait_until};

/// An application as Compose runs it.
struct Project<'a> {
    world: &'a World,
    files: [PathBuf; 2],
}

impl<'a> Project<'a> {
    /// `None` where there is no Compose, after having said so.
    fn new(world: &'a World) -> Option<Self> {
        if world.engine.compose().is_none() {
            cannot_run("not installed: docker-compose");
            return None;
        }
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
        let instead = world.machine.dir().join("instead.json");
        let services = json!({ "proxy": runs(PROXY), "app": runs(APP), "db": runs(DB) });
        std::fs::write(&instead, json!({ "services": services }).to_string()).unwrap();
        Some(Self {
            world,
            files: [root.join("packaging/compose.yaml"), instead],
        })
    }

    /// Returns what `docker-compose` prints for these words, which it must not refuse.
    #[track_caller]
    fn compose(&self, words: &str) -> String {
        let mut compose = self.world.engine.compose().unwrap();
        for file in &self.files {
            compose.arg("--file").arg(file);
        }
        compose.args(["--project-name", "shop"]);
        compose.args(words.split_whitespace());
        let output = compose.output().unwrap();
        assert!(output.status.success(), "{words}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The containers of a service.
    #[track_caller]
    fn containers(&self, service: &str) -> Vec<Container> {
        let ids = self.compose(&format!("ps -q {service}"));
        let container = |id| self.world.engine.container(id).unwrap();
        ids.lines().map(container).collect()
    }

    /// Waits until the world gets the page, which takes the whole application.
    #[track_caller]
    fn serves(&self) {
        let mut said = String::new();
        wait_until("the page", SOON, || {
            let asked = get(&self.world.outside, at(HOST[0], 8080), "/cgi-bin/page");
            said = asked.unwrap_or_else(|error| error.to_string());
            said.contains("the value is forty-two")
        })
        .unwrap_or_else(|error| panic!("{error}: {said}"));
        let caller = OUTSIDE[0].to_string();
        assert!(said.contains(&caller), "{caller} in {said}");
    }
}

/// A service that runs a script. Compose puts variables in where it finds a `$`.
fn runs(script: &str) -> Value {
    let command = ["sh", "-c", &script.replace('$', "$$")];
    json!({ "image": Engine::IMAGE, "command": command, "stop_signal": "SIGKILL" })
}

#[test]
fn the_example_comes_up_grows_restarts_and_goes() {
    let Some(world) = World::start() else { return };
    let Some(project) = Project::new(&world) else {
        return;
    };
    project.compose("up -d");
    world.has_endpoints(4);
    project.serves();
    let [db, proxy] = ["db", "proxy"].map(|service| project.containers(service).remove(0));
    // The proxy knows nothing of the database, which in turn reaches nobody outside.
    world.does_not_reach(&proxy, "db");
    world.reaches(&proxy, &OUTSIDE[0].to_string());
    world.does_not_reach(&db, &OUTSIDE[0].to_string());

    // Containers are told apart by what Compose calls them.
    let service = "com.docker.compose.service";
    let client = world.clearway.client();
    wait_until("the services' names", SOON, || {
        let endpoints = client.endpoints().unwrap();
        let of = |name| {
            endpoints
                .iter()
                .filter(move |e| e.labels.get(service).is_some_and(|l| l == name))
        };
        ["proxy", "app", "db"].map(|name| of(name).count()) == [1, 2, 1]
    })
    .unwrap_or_else(|error| panic!("{error}: {:?}", client.endpoints().unwrap()));

    // Each of three has the name, and is in both networks.
    project.compose("up -d --scale app=3");
    world.has_endpoints(8);
    for app in project.containers("app") {
        for to in ["proxy", "db"] {
            world.reaches(&app, to);
        }
        let told = world.sh(&proxy, "nslookup app 127.0.0.11 || true");
        let networks = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}";
        let networks = app.inspect(&world.engine, networks).unwrap();
        let front = networks.split(' ').find(|name| name.ends_with("front"));
        let ip = app.ip(&world.engine, front.unwrap()).unwrap().to_string();
        assert!(told.contains(&ip), "{ip} in {told}");
    }
    project.serves();
    project.compose("up -d --scale app=1");
    world.has_endpoints(4);
    project.serves();
    project.compose("restart");
    world.has_endpoints(4);
    project.serves();
    project.compose("up -d --force-recreate");
    world.has_endpoints(4);
    project.serves();

    project.compose("down");
    assert_eq!(client.endpoints().unwrap(), []);
    assert_eq!(client.publications().unwrap(), []);
    assert_eq!(client.networks().unwrap(), []);
    world.has_no_bridge();
}
