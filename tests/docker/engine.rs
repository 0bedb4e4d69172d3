//! The engine itself, with nothing of ours beside it: what the other tests take for granted.

use testbed::docker::{Bridge, Engine, Machine, OnStop, Settings, hindrance};
use testbed::{Namespace, cannot_run};

fn engine(settings: Settings) -> Option<Engine> {
    if let Some(why) = hindrance() {
        cannot_run(&why);
        return None;
    }
    let nameserver = "198.51.100.1".parse().unwrap();
    let machine = Machine::new(&Namespace::new().unwrap(), nameserver).unwrap();
    Some(Engine::start(&machine, settings).unwrap())
}

#[test]
fn a_container_runs_and_is_seen_and_says_why_it_does_not() {
    let settings = Settings {
        bridge: Bridge::Docker0,
        ..Settings::default()
    };
    let Some(engine) = engine(settings) else {
        return;
    };
    let container = engine.run("--name one").unwrap();
    assert_eq!(
        container.sh(&engine, "hostname").unwrap(),
        container.id()[..12]
    );
    let network = container.namespace(&engine).unwrap();
    let address = container.ip(&engine, "bridge").unwrap().to_string();
    let shown = network.ip("-o address show dev eth0").unwrap();
    assert!(shown.contains(&address), "{address} in {shown}");
    let error = container
        .sh(&engine, "echo out of order >&2; false")
        .unwrap_err();
    assert!(error.to_string().contains("out of order"), "{error}");
    let refused = engine.refusal("run --name one busybox:testbed").unwrap();
    assert!(refused.contains("already in use"), "{refused}");
    let error = engine.refusal("version").unwrap_err().to_string();
    assert!(error.contains("was not refused"), "{error}");
    container.remove(&engine).unwrap();
    assert_eq!(engine.docker("ps --all --quiet").unwrap(), "");
}

#[test]
fn it_is_started_again_after_any_end() {
    let settings = Settings {
        on_stop: OnStop::GoOn,
        ..Settings::default()
    };
    let Some(mut engine) = engine(settings) else {
        return;
    };
    let container = engine.run("--network none").unwrap();
    let started = "{{.State.StartedAt}} {{.State.Running}}";
    let before = container.inspect(&engine, started).unwrap();
    engine.stop().unwrap();
    engine.start_again().unwrap();
    assert_eq!(container.inspect(&engine, started).unwrap(), before);
    engine.kill().unwrap();
    engine.start_again().unwrap();
    assert_eq!(container.inspect(&engine, started).unwrap(), before);
    assert!(before.ends_with("true"), "{before}");
}
