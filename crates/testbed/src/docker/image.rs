//! An image without a registry: the computer's busybox, and the libraries it asks for.

use super::{Engine, directories, text};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Commands the image has. Each is a link, and each link costs every container one more to copy.
const APPLETS: [&str; 30] = [
    "arp", "awk", "cat", "chmod", "cut", "dd", "echo", "env", "false", "grep", "hostname", "httpd",
    "id", "ifconfig", "ip", "kill", "ls", "nc", "nslookup", "ping", "ping6", "ps", "readlink",
    "route", "sed", "sh", "sleep", "true", "wc", "wget",
];

/// Gives `engine` the image [`Engine::IMAGE`].
pub(super) fn import(engine: &Engine) -> Result<()> {
    let dir = tempfile::tempdir().context("cannot make a directory for an image")?;
    furnish(dir.path())?;
    let mut tar = Command::new("tar")
        .args(["--owner=0", "--group=0", "--create", "--directory"])
        .arg(dir.path())
        .arg(".")
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start tar")?;
    let archive = tar.stdout.take().expect("it was asked to be a pipe");
    let imported = engine
        .client()
        .arg("import")
        .args(["--change", "ENV PATH=/bin"])
        .args(["--change", "CMD sleep 86400"])
        .args(["-", Engine::IMAGE])
        .stdin(archive)
        .output()
        .context("cannot start docker")?;
    let packed = tar.wait().context("cannot wait for tar")?;
    ensure!(
        imported.status.success(),
        "`docker import` failed: {}",
        text(&imported.stderr)
    );
    ensure!(packed.success(), "tar failed");
    Ok(())
}

/// Makes the image's files below `root`.
fn furnish(root: &Path) -> Result<()> {
    for dir in ["bin", "dev", "etc", "proc", "sys", "tmp", "www/cgi-bin"] {
        fs::create_dir_all(root.join(dir)).with_context(|| format!("cannot make {dir}"))?;
    }
    let busybox = directories()
        .map(|dir| dir.join("busybox"))
        .find(|file| file.is_file())
        .context("busybox is not installed")?;
    copy(&busybox, &root.join("bin/busybox"))?;
    for library in libraries(&busybox)? {
        let inside = library.strip_prefix("/").expect("ldd names whole paths");
        copy(&library, &root.join(inside))?;
    }
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet))
            .with_context(|| format!("cannot link {applet}"))?;
    }
    Ok(())
}

/// Copies a file, following links: two names of a library become two files.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

/// Returns what the dynamic loader would load; nothing for a static program.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let ldd = Command::new("ldd").arg(program).output();
    let ldd = ldd.context("cannot start ldd")?;
    if ldd.status.success() {
        return Ok(named_by_ldd(&text(&ldd.stdout)));
    }
    let said = text(&ldd.stderr);
    if said.contains("not a dynamic executable") {
        return Ok(Vec::new());
    }
    bail!("`ldd {}` failed: {said}", program.display());
}

/// The files in lines like `libc.so.6 => /lib/libc.so.6 (0x7f)`; what the kernel provides has none.
fn named_by_ldd(report: &str) -> Vec<PathBuf> {
    let words = report.split_whitespace();
    words
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_those_that_ldd_finds() {
        let report = "\tlinux-vdso.so.1 (0x00007ffd)\n\
            \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f22)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f23)\n";
        let found = named_by_ldd(report);
        let want = [
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(found, want.map(PathBuf::from));
        assert_eq!(named_by_ldd("\tstatically linked\n"), Vec::<PathBuf>::new());
    }
}
