//! Sockets that a service manager keeps and hands over (`sd_listen_fds(3)`).
//!
//! Whoever calls while no daemon runs waits on such a socket, and the next daemon answers. It is
//! known by its path, so that one that is not asked for is in nobody's way.

use listenfd::ListenFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

/// The listening socket at `path`, if one was handed over.
pub(crate) fn listener(path: &Path) -> Option<UnixListener> {
    let mut all = ListenFd::from_env();
    let listeners = (0..all.len()).filter_map(|at| all.take_unix_listener(at).ok().flatten());
    let is_it = |listener: &UnixListener| {
        let own = listener.local_addr();
        own.is_ok_and(|own| own.as_pathname() == Some(path))
    };
    listeners.into_iter().find(is_it)
}
