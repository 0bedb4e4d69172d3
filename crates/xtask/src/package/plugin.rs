//! `cargo xtask plugin`: a directory that `docker plugin create` takes, `config.json` and `rootfs`.
//!
//! The root file system holds the binary, the shared libraries that it is linked with at the paths
//! where its loader looks for them, and nothing else: no shell, no package manager. Docker itself
//! mounts `/etc/resolv.conf`, by which the name server finds the host's resolvers.
//!
//! The trap: Docker names a container's namespace `/var/run/docker/netns/...`, which without the
//! link `/var/run` is a file that does not exist.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::must_succeed;

/// Where to.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Make this directory, which must be empty or absent.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Take this binary instead of building one.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Builds the binary and the plugin's directory.
///
/// # Errors
/// When the directory holds something, or something cannot be built or written.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let out = &options.out;
    let held = fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
    ensure!(!held, "{} is not empty; remove it first", out.display());
    let program = match &options.program {
        Some(program) => program.clone(),
        None => super::release(root)?,
    };
    fill(&root.join(CONFIG), &program, &libraries(&program)?, out)
        .with_context(|| format!("cannot make the plugin in {}", out.display()))?;
    println!("{}", next(out));
    Ok(())
}

/// The plugin's description, in the workspace.
const CONFIG: &str = "packaging/plugin/config.json";

fn fill(config: &Path, program: &Path, libraries: &[PathBuf], out: &Path) -> Result<()> {
    let rootfs = out.join("rootfs");
    // Where something will be mounted; `tmp` and `proc` are what programs expect.
    for directory in ["etc", "proc", "run", "tmp", "var/lib/clearway"] {
        fs::create_dir_all(rootfs.join(directory))?;
    }
    symlink("/run", rootfs.join("var/run"))?;
    strip(program, &rootfs.join("clearway"))?;
    for library in libraries {
        copy(library, &rootfs.join(library.strip_prefix("/")?))?;
    }
    copy(config, &out.join("config.json"))
}

/// Copies a program without its debug information, which is five sixths of it. Whoever has a linker
/// has `strip(1)`.
fn strip(from: &Path, to: &Path) -> Result<()> {
    let mut strip = Command::new("strip");
    strip.arg("-o").arg(to).arg(from);
    must_succeed(strip)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::copy(from, to).with_context(|| format!("{} to {}", from.display(), to.display()))?;
    Ok(())
}

/// Returns what `program` is linked with, its loader included; nothing when it is static.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let answer = Command::new("ldd")
        .arg(program)
        .output()
        .context("cannot run ldd")?;
    let text = String::from_utf8_lossy(&answer.stdout);
    ensure!(
        !text.contains("not found"),
        "a library of {} is missing: {text}",
        program.display()
    );
    Ok(paths(&text))
}

/// The paths in what `ldd(1)` prints: `libm.so.6 => /lib/.../libm.so.6 (0x...)`, and the loader's,
/// which stands alone. The kernel's own library has none.
fn paths(ldd: &str) -> Vec<PathBuf> {
    ldd.lines()
        .filter_map(|line| {
            line.split_whitespace()
                .find(|word| word.starts_with('/'))
                .map(PathBuf::from)
        })
        .collect()
}

fn next(out: &Path) -> String {
    format!(
        "as root:\n\
         mkdir -p /var/lib/clearway\n\
         docker plugin create clearway/clearway {}\n\
         docker plugin enable clearway/clearway\n\
         docker network create --driver clearway/clearway:latest web",
        out.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn config() -> Value {
        let path = crate::workspace_root().join(CONFIG);
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }

    #[test]
    fn what_ldd_prints_is_understood() {
        let text = "\tlinux-vdso.so.1 (0x00007f4c3554e000)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f4c3433e000)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f4c35550000)\n";
        assert_eq!(
            paths(text),
            [
                "/lib/x86_64-linux-gnu/libc.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
            .map(PathBuf::from)
        );
        assert_eq!(paths("\tstatically linked\n"), Vec::<PathBuf>::new());
    }

    #[test]
    fn the_daemon_listens_where_docker_looks() {
        let config = config();
        let socket = format!(
            "/run/docker/plugins/{}",
            config["interface"]["socket"].as_str().unwrap()
        );
        let entrypoint: Vec<&str> = config["entrypoint"]
            .as_array()
            .unwrap()
            .iter()
            .map(|word| word.as_str().unwrap())
            .collect();
        assert_eq!(entrypoint[..2], ["/clearway", "plugin"]);
        assert!(
            entrypoint
                .windows(2)
                .any(|words| words == ["--docker-plugin-socket", &socket])
        );
    }

    #[test]
    fn mounts_and_capabilities_are_what_the_daemon_needs() {
        let config = config();
        let mount = |name: &str| {
            let mounts = config["mounts"].as_array().unwrap();
            let found = mounts.iter().find(|mount| mount["name"] == name).unwrap();
            (found["source"].clone(), found["destination"].clone())
        };
        assert_eq!(mount("run"), ("/run".into(), "/run".into()));
        assert_eq!(mount("state").1, "/var/lib/clearway");
        let has = |list: &Value, what: &str| list.as_array().unwrap().iter().any(|v| v == what);
        for capability in ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_ADMIN"] {
            assert!(has(&config["linux"]["capabilities"], capability));
        }
        assert_eq!(config["linux"]["devices"][0]["path"], "/dev/net/tun");
        assert_eq!(config["network"]["type"], "host");
    }
}

#[cfg(test)]
mod kernel_tests {
    use super::*;

    #[test]
    fn a_program_runs_in_a_directory_with_its_libraries_alone() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("plugin");
        let root = crate::workspace_root();
        // Any program with libraries will do, and `true` says whether its loader found them.
        let program = Path::new("/bin/true");
        let libraries = libraries(program).unwrap();
        fill(&root.join(CONFIG), program, &libraries, &out).unwrap();
        assert!(out.join("config.json").is_file());
        assert_eq!(
            fs::read_link(out.join("rootfs/var/run")).unwrap(),
            Path::new("/run")
        );
        for library in &libraries {
            assert!(
                out.join("rootfs")
                    .join(library.strip_prefix("/").unwrap())
                    .is_file()
            );
        }
        let ran = Command::new("chroot")
            .arg(out.join("rootfs"))
            .arg("/clearway")
            .status();
        assert!(ran.unwrap().success());
        let again = Options { out, program: None };
        assert!(
            run(&root, &again)
                .unwrap_err()
                .to_string()
                .contains("is not empty")
        );
    }
}
