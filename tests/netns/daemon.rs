//! The binary from outside: a daemon's life on its socket, and what the command line answers.
//!
//! Each daemon lives in a network namespace of its own, where its ways to the host are made, and
//! leaves nothing behind.

use crate::binary::binary;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use testbed::Namespace;

/// A place for one daemon.
struct NamespaceRef {
    dir: TempDir,
    host: Namespace,
}

/// A daemon that is killed when this is dropped.
struct Daemon {
    child: Child,
}

impl NamespaceRef {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            host: Namespace::new().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn clearway(&self, words: &str) -> Command {
        let mut command = self
            .host
            .command(binary().to_str().expect("a path that is text"));
        command
            .args(words.split_whitespace())
            .env("CLEARWAY_SOCKET", self.path("a.sock"))
            .env_remove("RUST_LOG");
        command
    }

    fn ask(&self, words: &str) -> Output {
        self.clearway(words).output().unwrap()
    }

    fn daemon_command(&self, words: &str) -> Command {
        let mut command = self.clearway("daemon");
        command
            .arg("--state-dir")
            .arg(self.path("state"))
            .args(words.split_whitespace());
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Starts a daemon and waits until it says that it is ready.
    fn start(&self, words: &str) -> Daemon {
        self.started(self.daemon_command(words))
    }

    /// Starts a daemon as a service manager does that keeps `socket` for it.
    fn start_on(&self, socket: &UnixListener, words: &str) -> Daemon {
        let daemon = self.daemon_command(words);
        let mut command = self.host.command("sh");
        let hand_over = r#"exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$; export LISTEN_FDS LISTEN_PID; exec "$@""#;
        command.args(["-c", hand_over, "sh"]);
        command.arg(daemon.get_program()).args(daemon.get_args());
        for (name, value) in daemon.get_envs() {
            value.map(|value| command.env(name, value));
        }
        let kept = OwnedFd::from(socket.try_clone().unwrap());
        command
            .stdin(kept)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        self.started(command)
    }

    fn started(&self, mut command: Command) -> Daemon {
        let notify = self.path("notify");
        let _ = std::fs::remove_file(&notify);
        let ready = UnixDatagram::bind(&notify).unwrap();
        ready
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let mut daemon = Daemon {
            child: command.env("NOTIFY_SOCKET", &notify).spawn().unwrap(),
        };
        let mut word = [0; 32];
        match ready.recv(&mut word) {
            Ok(length) => assert_eq!(&word[..length], b"READY=1\n"),
            Err(error) => panic!("the daemon is not ready: {error}: {}", daemon.killed()),
        }
        daemon
    }
}

impl Daemon {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Ends it, and answers what it said.
    fn killed(&mut self) -> String {
        let _ = self.child.kill();
        let mut said = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        said
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_daemon_answers_and_stops_cleanly() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let place = NamespaceRef::new();
        let mut daemon = place.start("");
        let socket = place.path("a.sock");
        assert_eq!(
            std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let status: serde_json::Value =
            serde_json::from_str(&stdout(&place.ask("status -o json"))).unwrap();
        assert_eq!(
            (&status["version"], &status["pid"]),
            (&env!("CARGO_PKG_VERSION").into(), &daemon.child.id().into())
        );
        daemon.signal(signal);
        assert!(daemon.ended().success(), "{signal}: {}", daemon.killed());
        assert!(!socket.exists(), "the socket goes with its daemon");
    }
}

#[test]
fn docker_waits_on_a_socket_that_the_service_manager_keeps() {
    let place = NamespaceRef::new();
    let plugin = place.path("plugin.sock");
    let kept = UnixListener::bind(&plugin).unwrap();
    let call = || {
        let mut call = UnixStream::connect(&plugin).unwrap();
        let request = "POST /Plugin.Activate HTTP/1.1\r\nHost: \r\nConnection: close\r\n\r\n";
        call.write_all(request.as_bytes()).unwrap();
        call
    };
    let words = format!("--docker --docker-plugin-socket {}", plugin.display());
    for _ in 0..2 {
        // Nobody is there yet, or any more.
        let mut early = call();
        let mut daemon = place.start_on(&kept, &words);
        for call in [&mut early, &mut call()] {
            let mut answer = String::new();
            call.read_to_string(&mut answer).unwrap();
            assert!(answer.contains("NetworkDriver"), "{answer}");
        }
        daemon.signal(Signal::SIGTERM);
        assert!(daemon.ended().success(), "{}", daemon.killed());
    }
    assert!(plugin.exists(), "it is the service manager's");
}

#[test]
fn networks_are_made_listed_and_removed() {
    let place = NamespaceRef::new();
    let _daemon = place.start("");
    assert_eq!(
        stdout(&place.ask("network create blue --subnet 10.1.0.0/16 --mtu 9000")),
        "blue\n"
    );
    let blue: serde_json::Value =
        serde_json::from_str(&stdout(&place.ask("network inspect blue -o json"))).unwrap();
    assert_eq!(
        (&blue[0]["spec"]["mtu"], &blue[0]["spec"]["subnets"]),
        (&9000.into(), &serde_json::json!(["10.1.0.0/16"]))
    );
    assert!(stdout(&place.ask("network ls")).contains("\nblue  10.1.0.0/16  9000"));
    assert!(refused(&place.ask("network create blue"), 1).contains("blue"));
    let overlap = refused(&place.ask("network create red --subnet 10.1.5.0/24"), 1);
    assert!(
        overlap.contains("10.1.5.0/24") && overlap.contains("10.1.0.0/16"),
        "{overlap}"
    );
    assert_eq!(stdout(&place.ask("network rm blue")), "blue\n");
    assert!(
        refused(&place.ask("network rm blue red"), 1)
            .lines()
            .count()
            == 2,
        "each failure is told"
    );
}

#[test]
fn a_second_daemon_is_refused_and_the_first_goes_on() {
    let place = NamespaceRef::new();
    let _first = place.start("");
    let second = place.daemon_command("").output().unwrap();
    assert!(refused(&second, 1).contains("another daemon already uses the state directory"));
    let mut elsewhere = place.clearway("daemon --state-dir");
    let second = elsewhere.arg(place.path("other")).output().unwrap();
    assert!(refused(&second, 1).contains("another daemon already serves"));
    stdout(&place.ask("status"));
}

#[test]
fn daemons_live_side_by_side() {
    let (one, two) = (NamespaceRef::new(), NamespaceRef::new());
    let (_first, _second) = (one.start(""), two.start(""));
    stdout(&one.ask("network create blue --subnet 10.1.0.0/16"));
    stdout(&two.ask("network create blue --subnet 10.1.0.0/16"));
}

#[test]
fn a_killed_daemon_leaves_the_way_free_and_its_networks_known() {
    let place = NamespaceRef::new();
    let mut daemon = place.start("");
    stdout(&place.ask("network create blue"));
    daemon.signal(Signal::SIGKILL);
    daemon.ended();
    assert!(place.path("a.sock").exists(), "nobody removed the socket");
    assert!(refused(&place.ask("status"), 1).contains("no daemon answers on"));
    let _next = place.start("");
    assert!(stdout(&place.ask("network ls")).contains("blue"));
}

#[test]
fn settings_are_read_and_bad_ones_refused() {
    let place = NamespaceRef::new();
    let config = place.path("clearway.toml");
    let with = format!("--config {}", config.display());
    for (text, wrong) in [
        ("worker = 2", "unknown field `worker`"),
        ("workers = 99", "workers is 99; allowed are 1 to 64"),
        ("log = 'a=b=c'", "log is `a=b=c`"),
        (
            "socket_group = 'nosuchgroup'",
            "group `nosuchgroup` does not exist",
        ),
    ] {
        std::fs::write(&config, text).unwrap();
        let said = refused(&place.daemon_command(&with).output().unwrap(), 1);
        assert!(said.contains(wrong), "{said}");
    }
    std::fs::write(
        &config,
        "workers = 1\n[[networks]]\nname = 'declared'\nmtu = 9000\n",
    )
    .unwrap();
    let daemon = place.start(&with);
    let status: serde_json::Value =
        serde_json::from_str(&stdout(&place.ask("status -o json"))).unwrap();
    assert_eq!(status["workers"].as_array().unwrap().len(), 1);
    assert!(stdout(&place.ask("network ls")).contains("declared"));
    drop(daemon);
    let _again = place.start(&with); // what is declared and remembered is the same network
    assert_eq!(
        stdout(&place.ask("network ls")).matches("declared").count(),
        1
    );
}

#[test]
fn the_command_line_says_what_is_wrong() {
    let place = NamespaceRef::new();
    assert!(refused(&place.ask("status"), 1).contains("no daemon answers on"));
    assert!(refused(&place.ask("network create a/b"), 2).contains("is not a name"));
    assert!(refused(&place.ask("explain --port p"), 2).contains("explain needs a frame"));
    assert_eq!(
        stdout(&place.ask("--version")),
        concat!("clearway ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let place = NamespaceRef::new();
    let _daemon = place.start("");
    // More than a pipe holds, so that the writer meets the closed end.
    let long = "x".repeat(60);
    for i in 0..8 {
        stdout(&place.ask(&format!("network create n{i}-{long}")));
    }
    let names: Vec<String> = (0..400).map(|i| format!("n{}-{long}", i % 8)).collect();
    let mut inspect = place.clearway("network inspect");
    let mut child = inspect
        .args(names)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
    assert!(line.starts_with("name:"), "{line}");
}
