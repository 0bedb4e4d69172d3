//! `clearway lab` from outside: what it prints, how it ends, and that nothing is left of it.

use crate::binary::binary;
use crate::fixture::SOON;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use testbed::{Child, Namespace, wait_until};

/// A whole run on a slow machine.
const WHOLE: Duration = Duration::from_secs(120);

/// A place for the lab's files, and the words to start it.
fn lab(words: &[&str]) -> (TempDir, Command) {
    let place = tempfile::tempdir().expect("a directory can be made");
    let mut command = Command::new(binary());
    command
        .arg("lab")
        .args(words)
        .env("TMPDIR", place.path())
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    (place, command)
}

/// The lab names its place to everything it starts, so that is where its remains are looked for.
fn nothing_is_left(place: &Path) {
    let processes = || {
        let all = std::fs::read_dir("/proc")
            .expect("/proc is mounted")
            .flatten();
        let lines = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        lines
            .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
            .filter(|line| line.contains(&*place.to_string_lossy()))
            .collect::<Vec<_>>()
    };
    wait_until("the end of the lab's processes", SOON, || {
        processes().is_empty()
    })
    .unwrap_or_else(|error| panic!("{error}: {:?}", processes()));
}

/// Every scene, as root.
const SCENES: [&str; 15] = [
    "ping",
    "speed",
    "vlan",
    "spoof",
    "explain",
    "names",
    "isolation",
    "uplink",
    "masquerade",
    "published",
    "hairpin",
    "traceroute",
    "translated",
    "nat_speed",
    "cleanup",
];

fn scene<'a>(document: &'a Value, name: &str) -> &'a Value {
    let mut scenes = document["scenes"].as_array().unwrap().iter();
    scenes.find(|scene| scene["name"] == name).unwrap()
}

fn is_empty(place: &Path) -> bool {
    std::fs::read_dir(place)
        .expect("the place is there")
        .next()
        .is_none()
}

fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{}\n{out}\n{err}", output.status)
}

fn all_held(document: &Value) {
    assert_eq!(document["ok"], true, "{document:#}");
    assert_eq!(document["error"], Value::Null);
    let scenes = document["scenes"].as_array().expect("a list");
    for scene in scenes {
        let checks = scene["checks"].as_array().expect("a list");
        // What the kernel withholds from an ordinary user is said, and nothing is claimed of it.
        let skipped = !scene["skipped"].as_array().expect("a list").is_empty();
        assert!(skipped || !checks.is_empty(), "{scene:#}");
        assert!(checks.iter().all(|check| check["ok"] == true), "{scene:#}");
    }
}

#[test]
fn a_quick_run_is_one_document_and_leaves_nothing() {
    let (place, mut command) = lab(&["--quick", "--json"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    all_held(&document);
    let names: Vec<&str> = (document["scenes"].as_array().unwrap().iter())
        .map(|scene| scene["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, SCENES);
    for (name, measures) in [("speed", 3), ("nat_speed", 4)] {
        let speed = scene(&document, name);
        let (numbers, skipped) = (&speed["numbers"], speed["skipped"].as_array().unwrap());
        let paths = if skipped.is_empty() { 2 } else { 1 };
        let numbers = numbers.as_array().unwrap();
        assert_eq!(numbers.len(), measures * paths, "{speed:#}");
        for number in numbers {
            assert!(number["median"].as_f64().unwrap() > 0.0, "{number:#}");
        }
    }
    nothing_is_left(place.path());
    assert!(is_empty(place.path()));
}

#[test]
fn text_fits_a_terminal_and_has_no_colours_in_a_pipe() {
    let (_place, mut command) = lab(&["--quick", "--no-compare"]);
    let output = command.env_remove("NO_COLOR").output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains('\x1b'), "{text}");
    assert!(text.contains("checks held"), "{text}");
    assert!(text.contains("--no-compare"), "{text}");
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn what_is_kept_answers_until_a_signal() {
    let (place, mut command) = lab(&["--quick", "--json", "--no-compare", "--keep"]);
    let mut child = Child::spawn(command.stdout(Stdio::piped())).unwrap();
    let mut out = BufReader::new(child.process().stdout.take().unwrap());
    let mut text = String::new();
    while !text.ends_with("\n}\n") {
        assert_ne!(out.read_line(&mut text).unwrap(), 0, "{text}");
    }
    let document: Value = serde_json::from_str(&text).unwrap();
    all_held(&document);
    let kept = &document["kept"];
    let client = api::Client::new(kept["socket"].as_str().unwrap());
    assert_eq!(client.endpoints().unwrap().len(), 7);
    for namespace in [&kept["containers"][0], &kept["outside"][0]] {
        let path = namespace["netns"].as_str().unwrap();
        assert!(Path::new(path).exists(), "{kept:#}");
    }
    // There is something to see for who looks.
    assert_eq!(client.uplinks().unwrap().len(), 1);
    assert_eq!(client.publications().unwrap().len(), 1);
    let standing = client.nat(&api::Filter::default()).unwrap();
    assert!(
        standing
            .iter()
            .any(|entry| entry.state == api::NatState::Established),
        "{standing:?}"
    );
    child.signal(Signal::SIGINT).unwrap();
    assert!(child.wait_within(WHOLE).unwrap().success());
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "the document is all there is");
    nothing_is_left(place.path());
    assert!(is_empty(place.path()));
}

#[test]
fn a_signal_in_the_middle_takes_everything_away() {
    for (signal, code) in [
        (Signal::SIGINT, Some(130)),
        (Signal::SIGTERM, Some(130)),
        (Signal::SIGKILL, None),
    ] {
        let (place, mut command) = lab(&["--json"]);
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = Child::spawn(quiet).unwrap();
        wait_until("the daemon", SOON, || !is_empty(place.path())).unwrap();
        child.signal(signal).unwrap();
        assert_eq!(child.wait_within(SOON).unwrap().code(), code, "{signal}");
        nothing_is_left(place.path());
        // Nobody is left to remove files after SIGKILL.
        assert!(
            is_empty(place.path()) || signal == Signal::SIGKILL,
            "{signal}"
        );
    }
}

/// An ordinary user, in a mount namespace where everybody may open the TUN device, as most
/// distributions have it.
fn as_nobody(tun: u32) -> anyhow::Result<(TempDir, Output)> {
    use nix::mount::{MsFlags, mount};
    let place = tempfile::tempdir()?;
    let path = |name: &str| place.path().join(name);
    std::fs::copy(binary(), path("clearway"))?;
    std::fs::create_dir(path("tmp"))?;
    for directory in [place.path(), &path("tmp")] {
        std::fs::set_permissions(directory, Permissions::from_mode(0o777))?;
    }
    let namespace = Namespace::with_mounts()?;
    namespace.run(|| -> anyhow::Result<()> {
        const NONE: Option<&str> = None;
        mount(NONE, "/dev/net", Some("tmpfs"), MsFlags::empty(), NONE)?;
        Ok(())
    })?;
    let mode = format!("--mode={tun:o}");
    namespace.output("mknod", &[&mode, "/dev/net/tun", "c", "10", "200"])?;
    let output = namespace
        .command("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(path("clearway"))
        .args(["lab", "--quick", "--json", "--no-compare"])
        .env("TMPDIR", path("tmp"))
        // Without privileges no program is loaded.
        .env("CLEARWAY_DATAPATH", "auto")
        .output()?;
    nothing_is_left(&path("tmp"));
    assert!(is_empty(&path("tmp")));
    Ok((place, output))
}

#[test]
fn an_ordinary_user_has_a_lab_where_the_kernel_lets_it() {
    let (_place, output) = as_nobody(0o666).unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    match document["error"].as_str() {
        Some(error) if error.contains("needs root here") => testbed::cannot_run(error),
        _ => {
            assert!(output.status.success(), "{}", said(&output));
            all_held(&document);
            assert_eq!(document["machine"]["rootless"], true);
        }
    }
}

#[test]
fn what_is_missing_is_said_in_one_sentence() {
    let (_place, output) = as_nobody(0o600).unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let sentence = String::from_utf8(output.stderr).unwrap();
    assert_eq!(sentence.lines().count(), 1, "{sentence}");
    assert!(sentence.contains("the lab needs"), "{sentence}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["ok"], false);
}
