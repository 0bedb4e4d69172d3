//! What the daemon needs before it runs as a managed plugin of a Docker engine.
//!
//! The trap: a plugin's `/proc/sys` is read-only, whatever its `config.json` asks for, and without
//! the settings below it there is neither an uplink, nor a way to the host, nor a name server. The
//! plugin's mounts are its own, so making this one writable changes nothing of the host's.

use nix::mount::{MsFlags, mount};
use std::io::Write;

/// Makes `/proc/sys` writable for this container. What keeps that from being done is told, and the
/// daemon tells what it then cannot do.
pub(crate) fn open_settings() {
    const NONE: Option<&str> = None;
    let kept = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let writable = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | kept;
    if let Err(errno) = mount(NONE, SETTINGS, NONE, writable, NONE) {
        // Nothing more can be done when standard error is closed, too.
        let _ = writeln!(
            std::io::stderr(),
            "clearway: cannot make {SETTINGS} writable: {errno}"
        );
    }
}

const SETTINGS: &str = "/proc/sys";

#[cfg(test)]
mod kernel_tests {
    use super::*;
    use nix::sched::{CloneFlags, unshare};
    use std::fs::OpenOptions;

    #[test]
    fn settings_that_are_read_only_become_writable() {
        // On a thread of its own: the mounts of all others stay as they are.
        let thread = std::thread::spawn(|| {
            const NONE: Option<&str> = None;
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).unwrap();
            mount(Some(SETTINGS), SETTINGS, NONE, MsFlags::MS_BIND, NONE).unwrap();
            let fixed = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
            mount(NONE, SETTINGS, NONE, fixed, NONE).unwrap();
            let open = || {
                let setting = "/proc/sys/net/ipv4/ip_local_reserved_ports";
                OpenOptions::new().write(true).open(setting).map(drop)
            };
            let refused = open().unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(nix::libc::EROFS), "{refused}");
            open_settings();
            open().unwrap();
        });
        thread.join().unwrap();
    }
}
