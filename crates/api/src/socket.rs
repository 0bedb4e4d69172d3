//! A unix socket that is only for those who may, and never for two at once.
//!
//! Whoever can write to such a socket rules every container's network, so it is never open to all,
//! not even for the moment between `bind` and `chmod`: it is bound in a directory that only we may
//! enter, and moved to its place when its mode and group are right.
//!
//! A socket that a killed process left refuses connections, which tells it from one that somebody
//! answers on. The move replaces it.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Why a socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody answers there.
    #[error("another process already serves {}; stop it, or choose another socket", .0.display())]
    Taken(PathBuf),
    /// Something is there that is not a socket.
    #[error("{} exists and is no socket; it stays as it is", .0.display())]
    NotASocket(PathBuf),
    /// The kernel refused.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// The step that was tried, as a verb.
        what: &'static str,
        /// The file it was tried on.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
}

/// The file of a socket that we bound. Dropped, it is removed, unless another has come in its place.
#[derive(Debug)]
#[must_use = "the socket is removed when this is dropped"]
pub struct PrivateSocket {
    path: PathBuf,
    identity: (u64, u64),
}

impl PrivateSocket {
    /// Binds `path` for users of the group with the number `gid`, or for this user alone. Its
    /// directory is made if it is missing; what a killed process left there is replaced.
    ///
    /// # Errors
    /// [`BindError`]; nothing was changed that belongs to a living process.
    pub fn bind(path: &Path, gid: Option<u32>) -> Result<(Self, UnixListener), BindError> {
        let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let directory = parent.unwrap_or_else(|| Path::new("."));
        fs::create_dir_all(directory).map_err(failed("make the directory", directory))?;
        check_free(path)?;
        let private = beside(path, ".new");
        // Only a killed process's can be there.
        let _ = fs::remove_dir_all(&private);
        DirBuilder::new()
            .mode(0o700)
            .create(&private)
            .map_err(failed("make the directory", &private))?;
        let bound = bind_in(&private.join("s"), path, gid);
        let _ = fs::remove_dir_all(&private);
        bound
    }
}

impl Drop for PrivateSocket {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // Failing means that somebody removed it already.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Returns the path with `suffix` after its last name.
#[must_use]
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn bind_in(
    hidden: &Path,
    path: &Path,
    gid: Option<u32>,
) -> Result<(PrivateSocket, UnixListener), BindError> {
    let listener = UnixListener::bind(hidden).map_err(failed("bind", path))?;
    let mode = match gid {
        Some(_) => {
            chown(hidden, None, gid).map_err(failed("give to its group", path))?;
            0o660
        }
        None => 0o600,
    };
    fs::set_permissions(hidden, Permissions::from_mode(mode))
        .map_err(failed("set the mode of", path))?;
    listener
        .set_nonblocking(true)
        .map_err(failed("open", path))?;
    let identity = identity(hidden).map_err(failed("look at", path))?;
    fs::rename(hidden, path).map_err(failed("make", path))?;
    let path = path.to_owned();
    Ok((PrivateSocket { path, identity }, listener))
}

/// Refuses a socket that somebody answers on, and what is no socket.
fn check_free(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed("look at", path)(source)),
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(BindError::Taken(path.to_owned())),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(source) => Err(failed("try", path)(source)),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let meta = fs::symlink_metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> BindError + 'a {
    move |source| BindError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn it_is_for_its_user_or_its_group_and_goes_with_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/a.sock");
        let (socket, _listener) = PrivateSocket::bind(&path, None).unwrap();
        assert_eq!(mode(&path), 0o600);
        drop(socket);
        assert!(!path.exists());
        let gid = fs::metadata(dir.path()).unwrap().gid();
        let (_socket, _listener) = PrivateSocket::bind(&path, Some(gid)).unwrap();
        assert_eq!(mode(&path), 0o660);
        let in_directory = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(in_directory, 1, "dockerd takes what lies there for plugins");
    }

    #[test]
    fn a_killed_processs_socket_is_replaced_and_a_living_ones_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        // What SIGKILL leaves: a socket that nobody listens on, and the directory it was made in.
        drop(UnixListener::bind(&path).unwrap());
        fs::create_dir(dir.path().join("a.sock.new")).unwrap();
        let (first, _listener) = PrivateSocket::bind(&path, None).unwrap();
        let again = PrivateSocket::bind(&path, None);
        assert!(matches!(again, Err(BindError::Taken(_))));
        assert!(UnixStream::connect(&path).is_ok());

        // Another's that came in its place is not ours to remove.
        fs::remove_file(&path).unwrap();
        let (second, _listener) = PrivateSocket::bind(&path, None).unwrap();
        drop(first);
        assert!(UnixStream::connect(&path).is_ok());
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        fs::write(&path, "data").unwrap();
        let refused = PrivateSocket::bind(&path, None);
        assert!(matches!(refused, Err(BindError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "data");
    }
}
