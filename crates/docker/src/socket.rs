//! The socket dockerd calls: only for root, and never for two plugins at once.
//!
//! Whoever can write to it makes containers' networks, so it is bound in a directory that only we
//! may enter and moved to its place when its mode is right: there is no moment at which others
//! could open it. A socket that a killed plugin left refuses connections, which tells it from one
//! that somebody answers on; the move replaces it, and what listens elsewhere under that name in
//! between is not there to be lost.

use crate::error::Error;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A bound socket. Callers wait from now on, and are answered by [`Listener::serve`]; when this is
/// dropped the socket is removed, unless somebody else keeps it.
#[derive(Debug)]
#[must_use = "the socket is removed when this is dropped"]
pub struct Listener {
    pub(crate) listener: UnixListener,
    pub(crate) place: Option<SocketFile>,
}

impl Listener {
    /// Takes the place of whoever answered before on a socket that a service manager keeps: callers
    /// wait there while nobody does.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn of(listener: UnixListener, path: &Path) -> Result<Self, Error> {
        listener
            .set_nonblocking(true)
            .map_err(|source| failed("open", path, source))?;
        Ok(Self {
            listener,
            place: None,
        })
    }

    /// Binds `path`, whose directory is made if it is missing. What a killed plugin left there is
    /// replaced.
    ///
    /// # Errors
    /// [`Error`]; nothing of a living plugin was touched.
    pub fn bind(path: &Path) -> Result<Self, Error> {
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let directory = parent.unwrap_or_else(|| Path::new("."));
        fs::create_dir_all(directory)
            .map_err(|source| failed("make the directory", directory, source))?;
        check_free(path)?;
        let private = beside(path);
        // Only a killed plugin's can be there.
        let _ = fs::remove_dir_all(&private);
        DirBuilder::new()
            .mode(0o700)
            .create(&private)
            .map_err(|source| failed("make the directory", &private, source))?;
        let bound = bind_in(&private.join("s"), path);
        let _ = fs::remove_dir_all(&private);
        bound
    }
}

/// The socket's file; dropped, it is removed.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // Failing means that somebody removed it already.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn bind_in(hidden: &Path, path: &Path) -> Result<Listener, Error> {
    let io = |what| move |source| failed(what, path, source);
    let listener = UnixListener::bind(hidden).map_err(io("bind"))?;
    fs::set_permissions(hidden, Permissions::from_mode(0o600)).map_err(io("set the mode of"))?;
    listener.set_nonblocking(true).map_err(io("open"))?;
    let identity = identity(hidden).map_err(io("look at"))?;
    fs::rename(hidden, path).map_err(io("make"))?;
    let place = Some(SocketFile {
        path: path.to_owned(),
        identity,
    });
    Ok(Listener { listener, place })
}

/// Refuses a socket that somebody answers on, and what is no socket.
fn check_free(path: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed("look at", path, source)),
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(Error::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(Error::Taken(path.to_owned())),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(source) => Err(failed("try", path, source)),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let meta = fs::symlink_metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_for_its_owner_and_goes_with_the_listener() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plugins/clearway.sock");
        let listener = Listener::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        let in_directory = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(in_directory, 1, "dockerd takes what lies there for plugins");
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn a_killed_plugins_socket_is_replaced_and_a_living_ones_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clearway.sock");
        drop(UnixListener::bind(&path).unwrap());
        fs::create_dir(dir.path().join("clearway.sock.new")).unwrap();
        let first = Listener::bind(&path).unwrap();
        assert!(matches!(Listener::bind(&path), Err(Error::Taken(_))));
        assert!(UnixStream::connect(&path).is_ok());

        // Another's that came in its place is not ours to remove.
        fs::remove_file(&path).unwrap();
        let second = Listener::bind(&path).unwrap();
        drop(first);
        assert!(UnixStream::connect(&path).is_ok());
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clearway.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Listener::bind(&path), Err(Error::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
