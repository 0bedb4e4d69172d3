//! What does not come from Docker, and what Docker does not do.

use crate::world::{COLLECTED, OUTSIDE, SOON, World};
use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;
use testbed::docker::plugin;
use testbed::wait_until;

impl World {
    /// Returns what the plugin answers to these bytes, after which nothing comes; empty when it hangs up
    /// without a word.
    fn say(&self, bytes: Vec<u8>) -> String {
        self.send(bytes, true)
    }

    fn send(&self, bytes: Vec<u8>, and_ends: bool) -> String {
        self.machine.run(move || {
            let mut stream = UnixStream::connect(plugin::SOCKET).unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            // It may have heard enough before it has heard all.
            let _ = stream.write_all(&bytes);
            if and_ends {
                let _ = stream.shutdown(std::net::Shutdown::Write);
            }
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            String::from_utf8_lossy(&answer).into_owned()
        })
    }

    /// Returns what it answers to a call, as Docker writes one.
    fn call(&self, method: &str, body: &str) -> String {
        let length = body.len();
        let request = format!(
            "POST /{method} HTTP/1.1\r\nHost: \r\nUser-Agent: Go-http-client/1.1\r\n\
             Accept: application/vnd.docker.plugins.v1.2+json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        // Whoever ends his side is taken for gone, and is told nothing.
        self.send(request.into_bytes(), false)
    }

    /// Fails unless a container comes, talks and goes.
    fn still_works(&self) {
        let one = self.run("--network web");
        self.reaches(&one, &OUTSIDE[0].to_string());
        one.remove(&self.engine).unwrap();
        self.has_endpoints(0);
    }
}

#[test]
fn calls_that_make_no_sense_are_answered_in_words_and_change_nothing() {
    let Some(world) = World::start() else { return };
    world.dual("web", 1);
    let id = "a".repeat(64);
    let known = "NetworkDriver.CreateNetwork";
    for (method, body, want) in [
        ("NetworkDriver.NoSuchMethod", "{}", "404"),
        (known, "", "Err"),
        (known, "{", "Err"),
        (known, "[]", "Err"),
        (known, "null", "Err"),
        (known, r#"{"NetworkID":7}"#, "Err"),
        (
            known,
            r#"{"NetworkID":"../../etc","IPv4Data":[],"IPv6Data":[]}"#,
            "Err",
        ),
        (
            "NetworkDriver.CreateEndpoint",
            r#"{"NetworkID":"x","EndpointID":"y"}"#,
            "Err",
        ),
        (
            "NetworkDriver.Join",
            &format!(r#"{{"NetworkID":"{id}","EndpointID":"{id}","SandboxKey":"/etc/passwd"}}"#),
            "Err",
        ),
        (
            "IpamDriver.RequestAddress",
            r#"{"PoolID":"nowhere","Address":""}"#,
            "Err",
        ),
        (
            "IpamDriver.RequestPool",
            r#"{"AddressSpace":"x","Pool":"10.0.0.0/99"}"#,
            "Err",
        ),
    ] {
        let answer = world.call(method, body);
        assert!(answer.contains(want), "{method} {body}: `{answer}`");
    }
    // What has gone is gone: whoever takes away what is not there is content.
    for method in ["DeleteNetwork", "DeleteEndpoint", "Leave"] {
        let body = format!(r#"{{"NetworkID":"{id}","EndpointID":"{id}"}}"#);
        let answer = world.call(&format!("NetworkDriver.{method}"), &body);
        assert!(
            answer.contains("200") && !answer.contains(r#""Err":""#),
            "{method}: {answer}"
        );
    }
    assert_eq!(world.clearway.client().networks().unwrap().len(), 1);
    world.has_endpoints(0);
    world.still_works();
}

#[test]
fn bytes_that_are_no_http_and_bodies_without_end_do_no_harm() {
    let Some(world) = World::start() else { return };
    world.dual("web", 1);
    let head = "POST /NetworkDriver.CreateNetwork HTTP/1.1\r\nHost: x\r\n";
    let before = world.clearway.resident_kib();
    for bytes in [
        vec![0; 4096],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc".to_vec(),
        format!("{head}Content-Length: 18446744073709551615\r\n\r\n{{").into_bytes(),
        format!("{head}Content-Length: -1\r\n\r\n{{}}").into_bytes(),
        [
            format!("{head}Content-Length: 67108864\r\n\r\n\"").into_bytes(),
            vec![b'x'; 64 << 20],
        ]
        .concat(),
        format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n").into_bytes(),
        [b"POST /".to_vec(), vec![b'x'; 1 << 20]].concat(),
        format!(
            "{head}Content-Length: 200000\r\n\r\n{}",
            "[".repeat(200_000)
        )
        .into_bytes(),
    ] {
        let answer = world.say(bytes);
        assert!(
            !answer.contains(" 200 OK") || answer.contains("Err"),
            "{answer}"
        );
    }
    let after = world.clearway.resident_kib();
    assert!(after < before + 16 * 1024, "{before} KiB became {after}");
    world.still_works();
}

/// Connections that say nothing, or half of something, keep nobody else out.
#[test]
fn silent_callers_keep_nobody_out() {
    let Some(world) = World::start() else { return };
    world.dual("web", 1);
    let silent: Vec<_> = world.machine.run(|| {
        (0..200)
            .map(|n| {
                let mut stream = UnixStream::connect(plugin::SOCKET).unwrap();
                if n % 2 == 0 {
                    let half = b"POST /NetworkDriver.Join HTTP/1.1\r\nContent-Length: 9\r\n\r\n{";
                    stream.write_all(half).unwrap();
                }
                stream
            })
            .collect()
    });
    world.still_works();
    drop(silent);
    world.still_works();
}

#[test]
fn a_socket_that_was_left_over_is_taken_and_a_strangers_is_not() {
    let Some(mut world) = World::start() else {
        return;
    };
    world.dual("web", 1);
    // A killed daemon leaves its socket, on which nobody answers.
    world.clearway.end(Signal::SIGKILL);
    world.machine.run(|| {
        assert!(
            std::path::Path::new(plugin::SOCKET).exists(),
            "it is left over"
        );
    });
    world.clearway.start_again();
    world.still_works();
    // A clean stop takes it away: Docker would wait for an answer.
    world.clearway.end(Signal::SIGTERM);
    world.machine.run(|| {
        assert!(!std::path::Path::new(plugin::SOCKET).exists(), "it is gone");
    });
    // One on which somebody answers is theirs.
    let machine = Arc::clone(&world.machine);
    let stranger = machine.run(|| UnixListener::bind(plugin::SOCKET).unwrap());
    let mut second = crate::clearway::spawn(&machine);
    let status = second.wait_within(SOON).unwrap();
    assert!(!status.success(), "it does not take the stranger's place");
    assert!(
        world.clearway.log().contains(plugin::SOCKET),
        "and says whose"
    );
    drop(stranger);
    machine.run(|| std::fs::remove_file(plugin::SOCKET).unwrap());
    world.clearway.start_again();
    world.still_works();
}

/// The daemon starts before the engine does, and asks it when it is there.
#[test]
fn an_engine_that_is_away_is_no_reason_not_to_start() {
    let Some(mut world) = World::start() else {
        return;
    };
    world.dual("web", 1);
    world.engine.stop().unwrap();
    world.clearway.end(Signal::SIGTERM);
    world.clearway.start_again();
    assert_eq!(
        world.clearway.client().networks().unwrap().len(),
        1,
        "what it remembers"
    );
    world.engine.start_again().unwrap();
    world.still_works();
}

/// An engine that ends while a call of its own is under way.
#[test]
fn an_engine_that_goes_in_mid_call_leaves_nothing() {
    let Some(mut world) = World::start() else {
        return;
    };
    world.dual("web", 1);
    for pause in [0, 50, 150, 300, 600] {
        let mut client = world.engine.client();
        client.args([
            "run",
            "--detach",
            "--network",
            "web",
            "--publish",
            "8081:80",
        ]);
        client.arg(testbed::docker::Engine::IMAGE);
        client.stdout(std::process::Stdio::null());
        client.stderr(std::process::Stdio::null());
        let mut client = testbed::Child::spawn(&mut client).unwrap();
        // Not a wait for something: each round ends it at another point of the call.
        let _ = client.wait_within(Duration::from_millis(pause));
        world.engine.kill().unwrap();
        client.wait_within(SOON).unwrap();
        world.engine.start_again().unwrap();
        let left = world.docker("ps --all --quiet");
        for id in left.lines() {
            world.docker(&format!("rm --force {id}"));
        }
    }
    // What nobody will ever take away is a suspect at first.
    world.has_endpoints_within(COLLECTED, 0);
    assert_eq!(world.clearway.client().publications().unwrap(), []);
    let last = world.run("--network web -p 8081:80");
    wait_until("the world", SOON, || {
        last.sh(&world.engine, &format!("ping -c 1 -W 1 {}", OUTSIDE[0]))
            .is_ok()
    })
    .unwrap();
}
