//! The unix socket: one daemon each, and only for those who may.
//!
//! Whoever can write to the socket rules every container's network, so it is never open to all,
//! not even for the moment between `bind` and `chmod`: it is bound under a umask-independent name
//! in a directory only we may enter, and moved to its place when its mode and group are right.
//!
//! A lock file beside the socket tells a living daemon from the remains of a crashed one: the
//! kernel lets go of the lock with the process, however it ended. The lock file itself stays, for
//! removing it would let two daemons each hold a lock on a file of that name.

use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
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
    /// Something is there that is not a socket.
    #[error("{} exists and is no socket; it stays as it is", .0.display())]
    NotASocket(PathBuf),
    /// The group does not exist.
    #[error("group `{0}` does not exist; allowed is a group's name or number")]
    NoGroup(String),
    /// The kernel refused.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A socket that is ours until this is dropped, which removes it.
#[derive(Debug)]
#[must_use = "the socket is removed when this is dropped"]
pub(crate) struct Socket {
    path: PathBuf,
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
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or_else(|| Path::new("."));
        fs::create_dir_all(directory)
            .map_err(|source| failed("make the directory", directory, source))?;
        let lock =
            lock(&beside(path, ".lock"))?.ok_or_else(|| SocketError::Taken(path.to_owned()))?;
        remove_stale(path)?;
        let listener = bind_private(path, gid)?;
        Ok((
            Self {
                path: path.to_owned(),
                _lock: lock,
            },
            listener,
        ))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Failing means that somebody removed it already.
        let _ = fs::remove_file(&self.path);
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

/// Removes the socket a crashed daemon left; the lock says that none lives.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    use std::os::unix::fs::FileTypeExt;
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => {
            fs::remove_file(path).map_err(|source| failed("remove the stale socket", path, source))
        }
        Ok(_) => Err(SocketError::NotASocket(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(failed("look at", path, source)),
    }
}

/// Binds in a private directory, sets mode and group, and only then moves the socket into place.
fn bind_private(path: &Path, gid: Option<u32>) -> Result<UnixListener, SocketError> {
    let private = beside(path, ".new");
    // The lock is ours, so what is there is a crashed daemon's.
    let _ = fs::remove_dir_all(&private);
    DirBuilder::new()
        .mode(0o700)
        .create(&private)
        .map_err(|source| failed("make the directory", &private, source))?;
    let bound = bind_in(&private.join("s"), path, gid);
    let _ = fs::remove_dir_all(&private);
    bound
}

fn bind_in(hidden: &Path, path: &Path, gid: Option<u32>) -> Result<UnixListener, SocketError> {
    let listener = UnixListener::bind(hidden).map_err(|source| failed("bind", path, source))?;
    if gid.is_some() {
        std::os::unix::fs::chown(hidden, None, gid)
            .map_err(|source| failed("give to its group", path, source))?;
    }
    let mode = if gid.is_some() { 0o660 } else { 0o600 };
    fs::set_permissions(hidden, fs::Permissions::from_mode(mode))
        .map_err(|source| failed("set the mode of", path, source))?;
    fs::rename(hidden, path).map_err(|source| failed("make", path, source))?;
    listener
        .set_nonblocking(true)
        .map_err(|source| failed("open", path, source))?;
    Ok(listener)
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

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> SocketError {
    SocketError::Io {
        what,
        path: path.to_owned(),
        source,
    }
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
    fn the_socket_is_for_its_user_or_its_group() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/a.sock");
        let (socket, _listener) = Socket::bind(&path, None).unwrap();
        assert_eq!(mode(&path), 0o600);
        drop(socket);
        assert!(!path.exists());
        let gid = fs::metadata(dir.path()).unwrap().gid().to_string();
        let (_socket, _listener) = Socket::bind(&path, Some(&gid)).unwrap();
        assert_eq!(mode(&path), 0o660);
        let mut left: Vec<_> = fs::read_dir(path.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["a.sock", "a.sock.lock"]);
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
    fn a_stale_socket_is_replaced_and_a_file_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        drop(UnixListener::bind(&path).unwrap()); // what SIGKILL leaves: a socket nobody listens on
        fs::create_dir(dir.path().join("a.sock.new")).unwrap();
        let (_socket, _listener) = Socket::bind(&path, None).unwrap();
        assert!(UnixStream::connect(&path).is_ok());

        let file = dir.path().join("precious");
        fs::write(&file, "data").unwrap();
        assert!(matches!(
            Socket::bind(&file, None),
            Err(SocketError::NotASocket(_))
        ));
        assert_eq!(fs::read_to_string(&file).unwrap(), "data");
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
