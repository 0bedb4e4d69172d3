//! The state file: what a restarted daemon takes up again.
//!
//! The file is replaced whole: written beside its place, forced to the disk, and renamed into it,
//! so a crash or a full disk leaves either the old one or the new one. A file that cannot be
//! understood (cut short, edited, of a newer version) is never overwritten: it is kept under
//! another name, and the daemon starts with nothing and says so.
//!
//! Namespaces do not outlive a reboot, and the numbers that identify them are used again after
//! one; so the file says which boot it belongs to.

use super::refuse::unavailable;
use api::ApiError;
use control::State;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where the state is kept.
#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
    pub(super) boot: String,
    /// Whether what was loaded was written during another run of the kernel.
    pub(super) rebooted: bool,
}

#[derive(Serialize, Deserialize)]
struct StateFile<S> {
    version: u32,
    boot: String,
    state: S,
}

/// What can be known of a file of any version.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Store {
    /// The state that `directory` remembers, or `fresh` where it remembers none, and warnings
    /// about what could not be understood.
    pub(super) fn open(
        directory: &Path,
        fresh: impl FnOnce() -> State,
    ) -> Result<(Self, State, Vec<String>), ApiError> {
        let failed = |what: &str, error: &io::Error| {
            unavailable(&format!("{what} {}", directory.display()), error)
        };
        fs::create_dir_all(directory)
            .map_err(|error| failed("cannot make the state directory", &error))?;
        let boot =
            fs::read_to_string(BOOT_ID).map_or_else(|_| String::new(), |id| id.trim().to_owned());
        let mut store = Self {
            directory: directory.to_owned(),
            boot,
            rebooted: false,
        };
        let text = match fs::read(store.path()) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok((store, fresh(), Vec::new()));
            }
            Err(error) => return Err(failed("cannot read the state in", &error)),
        };
        match parse(&text) {
            Ok(file) => {
                store.rebooted = file.boot != store.boot;
                Ok((store, file.state, Vec::new()))
            }
            Err(why) => {
                let aside = store
                    .set_aside()
                    .map_err(|error| failed("cannot keep the unreadable state in", &error))?;
                let warning = format!(
                    "the state file was not readable ({why}); it is kept as {}",
                    aside.display()
                );
                tracing::error!("{warning}");
                Ok((store, fresh(), vec![warning]))
            }
        }
    }

    /// Remembers `state` instead of what was remembered before; on failure the latter stays.
    pub(super) fn write(&self, state: &State) -> Result<(), StoreError> {
        let fresh = self.directory.join(NEW);
        let written = self.write_to(&fresh, state);
        written.map_err(|source| {
            // It may hold the disk's last free blocks.
            let _ = fs::remove_file(&fresh);
            StoreError {
                path: self.path(),
                source,
            }
        })
    }

    fn write_to(&self, fresh: &Path, state: &State) -> io::Result<()> {
        let text = serde_json::to_vec(&StateFile {
            version: VERSION,
            boot: self.boot.clone(),
            state,
        })?;
        write_new(fresh, &text)?.sync_all()?;
        fs::rename(fresh, self.path())?;
        File::open(&self.directory)?.sync_all()
    }

    fn path(&self) -> PathBuf {
        self.directory.join(NAME)
    }

    fn set_aside(&self) -> io::Result<PathBuf> {
        let free = (1..)
            .map(|n| self.directory.join(format!("{NAME}.unreadable-{n}")))
            .find(|path| !path.exists());
        let aside = free.expect("a directory does not hold every number");
        fs::rename(self.path(), &aside)?;
        Ok(aside)
    }
}

/// The state could not be remembered.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", path.display())]
pub(super) struct StoreError {
    path: PathBuf,
    source: io::Error,
}

/// Writes a file that is to be renamed into its place; nobody else may read it.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    Ok(file)
}

fn parse(text: &[u8]) -> Result<StateFile<State>, String> {
    let Versioned { version } = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if version != VERSION {
        return Err(format!(
            "it has version {version}, this daemon reads version {VERSION}"
        ));
    }
    let file: StateFile<State> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    file.state.check().map_err(|error| error.to_string())?;
    Ok(file)
}

const NAME: &str = "state.json";
const NEW: &str = "state.json.new";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Raised when a file of the new form would be misunderstood by an older daemon.
const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn open(directory: &Path) -> (Store, State, Vec<String>) {
        Store::open(directory, || State::new(7)).unwrap()
    }

    #[test]
    fn what_was_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (store, state, warnings) = open(dir.path());
        assert!(warnings.is_empty());
        store.write(&state).unwrap();
        let (store, again, warnings) = Store::open(dir.path(), || State::new(8)).unwrap();
        assert_eq!((again, warnings.len(), store.rebooted), (state, 0, false));
        assert!(!dir.path().join(NEW).exists());
    }

    #[test]
    fn an_unreadable_file_is_kept_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let texts = [
            "{",
            r#"{"version":99}"#,
            r#"{"version":1,"boot":"","state":{}}"#,
        ];
        for (n, text) in texts.into_iter().enumerate() {
            fs::write(dir.path().join(NAME), text).unwrap();
            let (_, state, warnings) = open(dir.path());
            assert_eq!((state, warnings.len()), (State::new(7), 1));
            let kept = format!("{NAME}.unreadable-{}", n + 1);
            assert!(warnings[0].contains(&kept), "{warnings:?}");
            assert_eq!(fs::read_to_string(dir.path().join(kept)).unwrap(), text);
        }
    }

    #[test]
    fn another_boot_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (store, state, _) = open(dir.path());
        Store {
            boot: "another".into(),
            ..store
        }
        .write(&state)
        .unwrap();
        assert!(open(dir.path()).0.rebooted);
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let (store, state, _) = open(dir.path());
        store.write(&state).unwrap();
        let before = fs::read(dir.path().join(NAME)).unwrap();
        fs::create_dir(dir.path().join(NEW)).unwrap();
        let error = store.write(&State::new(9)).unwrap_err().to_string();
        assert!(
            error.starts_with("cannot write ") && error.contains(NAME),
            "{error}"
        );
        assert_eq!(fs::read(dir.path().join(NAME)).unwrap(), before);
    }
}
