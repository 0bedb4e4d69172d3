//! The daemon's unix socket and its state directory: one daemon each.
//!
//! A lock file beside the socket tells a living daemon from the remains of a crashed one: the
//! kernel lets go of the lock with the process, however it ended. The lock file itself stays, for
//! removing it would let two daemons each hold a lock on a file of that name.

use api::socket::{BindError, PrivateSocket, beside};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    /// Another daemon answers there.
    #[error("another daemon already serves {}; stop it, or choose another --socket and --state-dir", .0.display())]
    Taken(PathBuf),
    /// The state directory is another daemon's.
    #[error("another daemon already uses the state directory {}; choose another --state-dir", .0.display())]
    StateTaken(PathBuf),
    /// The group does not exist.
    #[error("group `{0}` does not exist; allowed is a group's name or number")]
    NoGroup(String),
    /// It cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// A socket that is ours until this is dropped, which removes it.
#[derive(Debug)]
#[must_use = "the socket is removed when this is dropped"]
pub(crate) struct Socket {
    _file: PrivateSocket,
    _lock: Flock<File>,
}

impl Socket {
    /// Takes the socket at `path` for users of `group` (of this user alone when `None`).
    ///
    /// # Errors
    /// [`SocketError`]; nothing was changed that belongs to a living daemon.
    pub(crate) fn bind(
        path: &Path,
        group: Option<&str>,
    ) -> Result<(Self, UnixListener), SocketError> {
        let gid = group.map(group_id).transpose()?;
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)
                .map_err(|source| failed("make the directory", directory, source))?;
        }
        let lock =
            lock(&beside(path, ".lock"))?.ok_or_else(|| SocketError::Taken(path.to_owned()))?;
        let (file, listener) = PrivateSocket::bind(path, gid)?;
        let socket = Self {
            _file: file,
            _lock: lock,
        };
        Ok((socket, listener))
    }
}

/// Makes the state directory and takes it for this daemon alone.
///
/// # Errors
/// [`SocketError::StateTaken`] when another daemon uses it.
pub(crate) fn lock_state(directory: &Path) -> Result<Flock<File>, SocketError> {
    let made = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory);
    made.map_err(|source| failed("make the directory", directory, source))?;
    lock(&directory.join("lock"))?.ok_or_else(|| SocketError::StateTaken(directory.to_owned()))
}

/// The lock, unless somebody holds it.
fn lock(path: &Path) -> Result<Option<Flock<File>>, SocketError> {
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    let file = opened.map_err(|source| failed("open the lock file", path, source))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(failed("lock", path, errno.into())),
    }
}

fn group_id(group: &str) -> Result<u32, SocketError> {
    if let Ok(gid) = group.parse() {
        return Ok(gid);
    }
    let found = nix::unistd::Group::from_name(group).ok().flatten();
    found
        .map(|found| found.gid.as_raw())
        .ok_or_else(|| SocketError::NoGroup(group.to_owned()))
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> SocketError {
    let path = path.to_owned();
    BindError::Io { what, path, source }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixStream;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_second_daemon_is_refused_and_the_first_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let (_socket, _listener) = Socket::bind(&path, None).unwrap();
        let error = Socket::bind(&path, None).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("another daemon already serves {}", path.display())),
            "{error}"
        );
        assert!(UnixStream::connect(&path).is_ok());
        assert!(
            Socket::bind(&dir.path().join("b.sock"), None).is_ok(),
            "another socket is another daemon's"
        );
    }

    #[test]
    fn a_killed_daemons_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        drop(UnixListener::bind(&path).unwrap());
        let (_socket, _listener) = Socket::bind(&path, None).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        let left = fs::read_dir(dir.path()).unwrap();
        let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["a.sock", "a.sock.lock"]);
    }

    #[test]
    fn a_state_directory_has_one_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let lock = lock_state(&state).unwrap();
        assert_eq!(mode(&state), 0o700);
        assert!(matches!(
            lock_state(&state),
            Err(SocketError::StateTaken(_))
        ));
        drop(lock);
        assert!(lock_state(&state).is_ok());
    }

    #[test]
    fn an_unknown_group_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Socket::bind(&dir.path().join("a.sock"), Some("nosuchgroup"))
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "group `nosuchgroup` does not exist; allowed is a group's name or number"
        );
    }
}
