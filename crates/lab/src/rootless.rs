//! Being root: as one is, or in a user namespace where the kernel lets one.
//!
//! Namespaces, TAPs and raw sockets take privileges. An ordinary user has them over what it makes
//! in a user namespace of its own, in which it is root: the process moves there itself, once, while
//! it has a single thread (the kernel's condition), and everything it starts stays there.

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};
use std::fs::{OpenOptions, write};
use std::io::ErrorKind;

/// Becomes root if it is not; answers whether it took a user namespace.
///
/// # Errors
/// One sentence that says what is missing.
pub(crate) fn become_root() -> Result<bool> {
    let rootless = !geteuid().is_root();
    if rootless {
        enter_user_namespace()?;
    }
    tun_opens()?;
    Ok(rootless)
}

fn enter_user_namespace() -> Result<()> {
    let (user, group) = (geteuid(), getegid());
    let spaces = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    if let Err(error) = unshare(spaces) {
        bail!(
            "the lab needs root here: this kernel gives ordinary users no user namespaces ({error})"
        );
    }
    // A group may be mapped only once it cannot be dropped any more: user_namespaces(7).
    let map = || -> std::io::Result<()> {
        write("/proc/self/setgroups", "deny")?;
        write("/proc/self/uid_map", format!("0 {user} 1"))?;
        write("/proc/self/gid_map", format!("0 {group} 1"))
    };
    map().context(
        "the lab needs root here: this system takes an ordinary user's rights in its own user \
         namespace (AppArmor or SELinux)",
    )
}

/// The switch's ports are TAPs: without them there is nothing to show.
fn tun_opens() -> Result<()> {
    let Err(error) = OpenOptions::new().read(true).write(true).open(TUN) else {
        return Ok(());
    };
    if error.kind() == ErrorKind::PermissionDenied {
        bail!("the lab needs root here: {TUN} may not be opened");
    }
    if error.kind() == ErrorKind::NotFound {
        bail!("the lab needs {TUN}, which is missing: `modprobe tun` makes it");
    }
    bail!("the lab needs {TUN}, which does not open: {error}")
}

const TUN: &str = "/dev/net/tun";
