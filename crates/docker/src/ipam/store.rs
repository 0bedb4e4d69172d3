//! The pools' state file, `docker-ipam.json`.
//!
//! It is written whole to a file beside it, brought to the disk, and moved into place, so a crash
//! leaves the old state or the new one. A file that cannot be read is moved aside and reported, not
//! overwritten: it says which addresses are out.

use super::pools::Pools;
use crate::error::{Error, Refusal};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where the pools are remembered.
#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
}

impl Store {
    /// Reads what there is; makes the directory if there is none.
    pub(super) fn open(directory: &Path) -> Result<(Self, Pools), Error> {
        let failed = |what, path: &Path, source| Error::Io {
            what,
            path: path.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|source| failed("make the directory", directory, source))?;
        let store = Self {
            directory: directory.to_owned(),
        };
        let path = store.path();
        let text = match fs::read(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(source) => return Err(failed("read", &path, source)),
        };
        let read = text.map(|text| serde_json::from_slice(&text));
        let pools = match read {
            Some(Ok(pools)) => pools,
            Some(Err(error)) => {
                let aside = store.set_aside();
                let aside = aside.map_err(|source| failed("move aside", &path, source))?;
                tracing::error!(
                    file = %path.display(), aside = %aside.display(), %error,
                    "the pools of Docker's networks cannot be read; none are known now"
                );
                fresh(&path)?
            }
            None => fresh(&path)?,
        };
        Ok((store, pools))
    }

    /// Remembers `pools`.
    pub(super) fn write(&self, pools: &Pools) -> Result<(), Refusal> {
        let written = serde_json::to_vec(pools)
            .map_err(io::Error::from)
            .and_then(|text| self.replace(&text));
        written.map_err(|source| Refusal::Store {
            path: self.path(),
            source,
        })
    }

    fn replace(&self, text: &[u8]) -> io::Result<()> {
        let new = self.directory.join(format!("{NAME}.new"));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&new, self.path())?;
        File::open(&self.directory)?.sync_all()
    }

    /// Gives the file the first name that is free.
    fn set_aside(&self) -> io::Result<PathBuf> {
        let names = (1..u32::MAX).map(|n| self.directory.join(format!("{NAME}.broken-{n}")));
        for aside in names {
            match OpenOptions::new().write(true).create_new(true).open(&aside) {
                Ok(_) => {
                    fs::rename(self.path(), &aside)?;
                    return Ok(aside);
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    fn path(&self) -> PathBuf {
        self.directory.join(NAME)
    }
}

const NAME: &str = "docker-ipam.json";

/// No pools, and a prefix of our own.
fn fresh(path: &Path) -> Result<Pools, Error> {
    let mut global_id = [0; 5];
    getrandom::fill(&mut global_id).map_err(|error| Error::Io {
        what: "choose random prefixes for",
        path: path.to_owned(),
        source: error.into(),
    })?;
    Ok(Pools::new(global_id))
}

#[cfg(test)]
mod tests {
    use super::super::pools::PoolRequest;
    use super::*;

    fn some(pools: &mut Pools) {
        let request = PoolRequest {
            space: "clearway-local".to_owned(),
            tenant: String::new(),
            pool: None,
            sub_pool: None,
            v6: true,
        };
        pools.request_pool(&request).unwrap();
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let (store, mut pools) = Store::open(&state).unwrap();
        some(&mut pools);
        store.write(&pools).unwrap();
        // A write that was cut off stays without consequences.
        fs::write(state.join("docker-ipam.json.new"), "{").unwrap();
        assert_eq!(Store::open(&state).unwrap().1, pools);
        store.write(&pools).unwrap();
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1);
    }

    #[test]
    fn each_prefix_is_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (_, one) = Store::open(dir.path()).unwrap();
        let (_, other) = Store::open(dir.path()).unwrap();
        assert_ne!(one, other);
    }

    #[test]
    fn what_cannot_be_read_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        for (n, broken) in ["{\"pools\": [", "\0\0\0\0"].iter().enumerate() {
            fs::write(&path, broken).unwrap();
            let (store, mut pools) = Store::open(dir.path()).unwrap();
            let aside = dir.path().join(format!("{NAME}.broken-{}", n + 1));
            assert_eq!(fs::read_to_string(aside).unwrap(), *broken);
            some(&mut pools);
            store.write(&pools).unwrap();
            assert_eq!(Store::open(dir.path()).unwrap().1, pools);
        }
    }
}
