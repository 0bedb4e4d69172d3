//! Install and uninstall below a prefix, file by file.

use super::*;
use clap::Parser;
use std::collections::BTreeMap;
use std::ffi::OsStr;

#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    command: DockerCommand,
}

/// Runs the command below `root`, and answers the lines it said.
fn run(words: &str, root: &Path) -> String {
    let words = ["docker"].into_iter().chain(words.split(' '));
    let words = words
        .map(OsStr::new)
        .chain([OsStr::new("--prefix"), root.as_os_str()]);
    let line = Line::try_parse_from(words).unwrap();
    let mut out = Vec::new();
    line.command.run(&mut out).unwrap();
    let said = String::from_utf8(out).unwrap();
    said.replace(&root.display().to_string(), "")
}

/// Everything below `root`: a file with its text, a link with its target, a directory with nothing.
fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let what = if path.is_symlink() {
                fs::read_link(&path).unwrap().display().to_string()
            } else if path.is_dir() {
                left.push(path.clone());
                String::new()
            } else {
                fs::read_to_string(&path).unwrap()
            };
            found.insert(path.strip_prefix(root).unwrap().to_owned(), what);
        }
    }
    found
}

#[test]
fn uninstall_leaves_what_install_found() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    assert!(run("install --uplink eth7", root).contains("write /etc/clearway/clearway.toml\n"));
    let installed = tree(root);
    let unit = &installed[Path::new("etc/systemd/system/clearway.service")];
    assert!(
        unit.contains(
            "\nExecStart=/usr/bin/clearway daemon --config /etc/clearway/clearway.toml\n"
        )
    );
    let settings = &installed[Path::new("etc/clearway/clearway.toml")];
    assert!(
        settings.contains("\ndocker = true\n") && settings.contains("\nuplinks = [\"eth7\"]\n")
    );
    for (link, unit) in plan::links() {
        assert_eq!(installed[Path::new(&link[1..])], unit);
    }
    run("install --uplink eth7", root);
    assert_eq!(tree(root), installed, "installing again changes nothing");
    run("uninstall", root);
    assert_eq!(tree(root), BTreeMap::new());
    assert_eq!(run("uninstall", root), "there is nothing to undo\n");
}

#[test]
fn other_files_stay() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let wants = root.join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants).unwrap();
    symlink(
        "/etc/systemd/system/other.service",
        wants.join("other.service"),
    )
    .unwrap();
    let before = tree(root);
    run("install --uplink eth7", root);
    assert_ne!(tree(root), before);
    run("uninstall", root);
    assert_eq!(tree(root), before);
}

#[test]
fn a_dry_run_says_the_same_and_does_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let said = run("install --dry-run", root);
    assert_eq!(tree(root), BTreeMap::new());
    assert_eq!(run("install", root), said);
    let installed = tree(root);
    let said = run("uninstall --dry-run", root);
    assert_eq!(tree(root), installed);
    assert_eq!(run("uninstall", root), said);
}

#[test]
fn the_uplink_is_the_default_routes() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::create_dir_all(root.join("proc/net")).unwrap();
    let route = "Iface Destination Gateway Flags RefCnt Use Metric Mask\n\
                 eth3 00000000 016433C6 0003 0 0 0 00000000 0 0 0\n";
    fs::write(root.join("proc/net/route"), route).unwrap();
    run("install", root);
    assert!(tree(root)[Path::new("etc/clearway/clearway.toml")].contains("uplinks = [\"eth3\"]"));
}

#[test]
fn an_uplink_that_is_no_name_is_refused() {
    let line = Line::try_parse_from(["docker", "install", "--uplink", "a/b", "--dry-run"]).unwrap();
    let refused = line.command.run(&mut Vec::new()).unwrap_err();
    assert!(matches!(refused, Failure::Usage(_)), "{refused}");
}

#[test]
fn networks_that_are_left_are_named() {
    assert_eq!(left("\n"), None);
    let warning = left("web\ndb\n").unwrap();
    assert!(warning.contains("`docker network rm web db`"), "{warning}");
}
