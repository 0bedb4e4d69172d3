//! The host's resolvers: given once, or followed as their file changes.
//!
//! The file is looked at when somebody asks, once a second at most: a question about its identity,
//! size and time of change, and a reading when they differ. No thread waits for it, and it does not
//! matter whether the file is written, replaced or a link that is turned. While it cannot be read
//! the servers that it named last are asked.
//!
//! Any thread may ask; one lock is held while the file is looked at.

use crate::resolv_conf;
use nix::net::if_::if_nametoindex;
use std::fs::{self, Metadata};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long the file is not looked at again.
const PATIENCE: Duration = Duration::from_secs(1);

/// The servers to ask, fixed or read from a file.
#[derive(Debug)]
pub struct Resolvers {
    path: Option<PathBuf>,
    state: Mutex<State>,
}

/// The servers in force.
#[derive(Debug, Clone)]
pub(crate) struct Servers {
    pub(crate) addresses: Arc<[SocketAddr]>,
    /// Another number means other servers, whose answers may differ.
    pub(crate) generation: u64,
}

#[derive(Debug)]
struct State {
    servers: Servers,
    /// Of the file that named them.
    stamp: Option<Stamp>,
    looked: Option<Instant>,
}

/// The properties of a file by which a change of it is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Resolvers {
    /// These, in this order. With none, every question outside fails.
    #[must_use]
    pub fn fixed(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self::start(None, addresses.into_iter().collect())
    }

    /// Those that the file at `path`, in the format of `resolv.conf(5)`, names whenever somebody
    /// asks. A file that is not there yet names the local host's.
    #[must_use]
    pub fn follow(path: impl Into<PathBuf>) -> Self {
        let addresses = resolv_conf::servers("", |_| None);
        Self::start(Some(path.into()), addresses.into())
    }

    fn start(path: Option<PathBuf>, addresses: Arc<[SocketAddr]>) -> Self {
        let servers = Servers {
            addresses,
            generation: 0,
        };
        Self {
            path,
            state: Mutex::new(State {
                servers,
                stamp: None,
                looked: None,
            }),
        }
    }

    /// The servers to ask at `now`.
    pub(crate) fn servers(&self, now: Instant) -> Servers {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &self.path
            && state
                .looked
                .is_none_or(|looked| now.saturating_duration_since(looked) >= PATIENCE)
        {
            state.looked = Some(now);
            if let Err(error) = state.look(path) {
                tracing::debug!(%error, path = %path.display(), "keeping the resolvers named before");
            }
        }
        state.servers.clone()
    }
}

impl State {
    fn look(&mut self, path: &PathBuf) -> io::Result<()> {
        let stamp = Stamp::of(&fs::metadata(path)?);
        if self.stamp == Some(stamp) {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&fs::read(path)?).into_owned();
        let interface = |name: &str| if_nametoindex(name).ok();
        let addresses = resolv_conf::servers(&text, interface);
        self.stamp = Some(stamp);
        if *addresses != *self.servers.addresses {
            tracing::info!(?addresses, "forwarding to the host's resolvers");
            self.servers.addresses = addresses.into();
            self.servers.generation += 1;
        }
        Ok(())
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(resolvers: &Resolvers, now: Instant) -> String {
        resolvers.servers(now).addresses[0].to_string()
    }

    #[test]
    fn the_file_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        let resolvers = Resolvers::follow(&path);
        let start = Instant::now();
        assert_eq!(first(&resolvers, start), "127.0.0.1:53", "not there yet");
        fs::write(&path, "nameserver 10.0.0.1\n").unwrap();
        assert_eq!(first(&resolvers, start + PATIENCE / 2), "127.0.0.1:53");
        assert_eq!(first(&resolvers, start + PATIENCE), "10.0.0.1:53");
        // Replaced by another of the same size, as most tools do.
        let next = dir.path().join("next");
        fs::write(&next, "nameserver 10.0.0.2\n").unwrap();
        fs::rename(&next, &path).unwrap();
        let before = resolvers.servers(start + PATIENCE).generation;
        assert_eq!(first(&resolvers, start + PATIENCE * 2), "10.0.0.2:53");
        assert_eq!(
            resolvers.servers(start + PATIENCE * 2).generation,
            before + 1
        );
        fs::remove_file(&path).unwrap();
        assert_eq!(
            first(&resolvers, start + PATIENCE * 3),
            "10.0.0.2:53",
            "kept"
        );
    }

    #[test]
    fn a_file_that_names_the_same_servers_is_no_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        let resolvers = Resolvers::follow(&path);
        let start = Instant::now();
        fs::write(&path, "nameserver 10.0.0.1\n").unwrap();
        let before = resolvers.servers(start).generation;
        fs::write(&path, "nameserver 10.0.0.1\noptions edns0\n").unwrap();
        assert_eq!(resolvers.servers(start + PATIENCE).generation, before);
    }
}
