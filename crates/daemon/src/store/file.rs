//! The state in files: a snapshot, and a journal of the changes since.
//!
//! ```text
//!   state.json       version, boot, revision, the whole state      replaced whole
//!   state.journal    revision and change, one a line               one line and one fdatasync a change
//!   lock             held as long as the store is open
//! ```
//! When the journal has grown larger than the snapshot a new snapshot is made: written beside its
//! place, forced to the disk, and renamed into it, so a crash or a full disk leaves either the old one
//! or the new one. So a change costs what it is large, not what the state is. A daemon that had no
//! change for a while makes one, too, because a journal names what was removed.
//!
//! Files that cannot be understood (cut short, edited, with keys nobody knows, of a newer version)
//! are never overwritten: they are kept under other names, and the daemon starts with nothing and
//! says so.
//!
//! Namespaces do not outlive a reboot, and the numbers that identify them are used again after
//! one; so the snapshot says which boot it belongs to.

use super::journal::{Journal, Replayed, replay};
use super::{Remembered, Revision, Store, StoreError, write_new};
use crate::socket::{SocketError, lock_state};
use control::{Change, FileError, State, read_json};
use nix::fcntl::Flock;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// A state directory that this process alone uses.
#[derive(Debug)]
pub(crate) struct FileStore {
    directory: PathBuf,
    boot: String,
    revision: Revision,
    journal: Journal,
    /// Bytes of the snapshot.
    snapshot: u64,
    _lock: Flock<File>,
}

#[derive(Serialize, Deserialize)]
struct Snapshot<S> {
    version: u32,
    boot: String,
    #[serde(default)]
    revision: Revision,
    state: S,
}

/// The part of a file that is the same in every version.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// It cannot be had, or another daemon has it.
    #[error(transparent)]
    Lock(#[from] SocketError),
    /// The file system refuses.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// The attempt, in words.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl FileStore {
    /// Takes `directory` for this process alone. Returns what it remembers.
    ///
    /// # Errors
    /// Another process has it, or it cannot be read or written. A file that is not understood is no
    /// error: it is kept aside, with a warning.
    pub(crate) fn open(directory: &Path) -> Result<Remembered, OpenError> {
        let lock = lock_state(directory)?;
        let boot =
            fs::read_to_string(BOOT_ID).map_or_else(|_| String::new(), |id| id.trim().to_owned());
        let files = [SNAPSHOT, JOURNAL].map(|name| directory.join(name));
        let mut warnings = Vec::new();
        let found = load(&files, &mut warnings)?;
        let whole = found.as_ref().map_or(0, |found| found.replayed.whole);
        let journal = Journal::open(&files[1], whole)
            .map_err(|source| failed("cannot write", &files[1], source))?;
        let rebooted = found.as_ref().is_some_and(|found| found.boot != boot);
        let snapshot = found.as_ref().map_or(0, |found| found.snapshot);
        let (state, revision) = match found.map(|found| found.replayed) {
            Some(Replayed {
                state, revision, ..
            }) => (Some(state), revision),
            None => (None, Revision::default()),
        };
        let store = Self {
            directory: directory.to_owned(),
            boot: boot.clone(),
            revision,
            journal,
            snapshot,
            _lock: lock,
        };
        Ok(Remembered {
            store: Box::new(store),
            state,
            revision,
            boot,
            rebooted,
            warnings,
        })
    }

    fn check(&self, expected: Revision) -> Result<(), StoreError> {
        if expected == self.revision {
            return Ok(());
        }
        Err(StoreError::Conflict {
            expected,
            found: self.revision,
        })
    }

    /// Makes `state`, of `revision`, the snapshot, and the journal empty.
    fn write_snapshot(&mut self, revision: Revision, state: &State) -> Result<(), StoreError> {
        let fresh = self.directory.join(FRESH);
        let written = self.write_fresh(&fresh, revision, state);
        let len = written.map_err(|source| {
            // It may hold the disk's last free blocks.
            let _ = fs::remove_file(&fresh);
            self.unwritten(SNAPSHOT, source)
        })?;
        if let Err(source) = self.place(&fresh) {
            // It may be in its place all the same: only another snapshot can follow it.
            self.journal.close();
            return Err(self.unwritten(SNAPSHOT, source));
        }
        (self.snapshot, self.revision) = (len, revision);
        self.journal.clear();
        Ok(())
    }

    fn write_fresh(&self, fresh: &Path, revision: Revision, state: &State) -> io::Result<u64> {
        let bytes = serde_json::to_vec(&Snapshot {
            version: control::VERSION,
            boot: self.boot.clone(),
            revision,
            state,
        })?;
        write_new(fresh, &bytes)?.sync_all()?;
        Ok(bytes.len() as u64)
    }

    fn place(&self, fresh: &Path) -> io::Result<()> {
        fs::rename(fresh, self.directory.join(SNAPSHOT))?;
        File::open(&self.directory)?.sync_all()
    }

    fn unwritten(&self, name: &str, source: io::Error) -> StoreError {
        StoreError::Io {
            path: self.directory.join(name),
            source,
        }
    }
}

impl Store for FileStore {
    fn commit(
        &mut self,
        after: Revision,
        change: &Change,
        state: &State,
    ) -> Result<Revision, StoreError> {
        self.check(after)?;
        let revision = after.next();
        // The journal needs a snapshot to start from, and a sound end to add to.
        if self.snapshot == 0 || !self.journal.is_sound() {
            self.write_snapshot(revision, state)?;
            return Ok(revision);
        }
        let appended = self.journal.append(revision, change);
        appended.map_err(|source| self.unwritten(JOURNAL, source))?;
        self.revision = revision;
        if self.journal.len() > self.snapshot.max(SMALL)
            && let Err(error) = self.write_snapshot(revision, state)
        {
            // The change is in the journal; the next one tries again.
            tracing::warn!(%error, "the journal grows");
        }
        Ok(revision)
    }

    fn replace(&mut self, after: Revision, state: &State) -> Result<Revision, StoreError> {
        self.check(after)?;
        let revision = after.next();
        self.write_snapshot(revision, state)?;
        Ok(revision)
    }

    fn fold(&mut self, state: &State) -> Result<(), StoreError> {
        if self.journal.len() == 0 {
            return Ok(());
        }
        self.write_snapshot(self.revision, state)
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, OpenError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed("cannot read", path, source)),
    }
}

/// Reads both files. Keeps aside what is not understood, and says so in `warnings`.
fn load(files: &[PathBuf; 2], warnings: &mut Vec<String>) -> Result<Option<Understood>, OpenError> {
    let [snapshot, journal] = files.each_ref().map(|path| read(path));
    let (snapshot, journal) = (snapshot?, journal?.unwrap_or_default());
    let Some(snapshot) = snapshot else {
        if !journal.is_empty() {
            warnings.push(told(&format!(
                "there are changes without the state that they changed; they are kept as {}",
                set_aside(files)?
            )));
        }
        return Ok(None);
    };
    match understand(&snapshot, &journal) {
        Ok(found) => {
            let rest = &journal[found.replayed.whole..];
            if !rest.is_empty() {
                warnings.push(told(&cut_short(&files[1], rest)?));
            }
            Ok(Some(found))
        }
        Err(why) => {
            warnings.push(told(&format!(
                "the state could not be read ({why}); it is kept as {}",
                set_aside(files)?
            )));
            Ok(None)
        }
    }
}

/// The contents of a snapshot and its journal.
struct Understood {
    /// Bytes of the snapshot; 0 of one in an older form, whose daemon would look for no journal: a
    /// new snapshot comes before the first change.
    snapshot: u64,
    boot: String,
    replayed: Replayed,
}

fn understand(snapshot: &[u8], journal: &[u8]) -> Result<Understood, String> {
    let read = || {
        let Versioned { version } = serde_json::from_slice(snapshot)?;
        if !(1..=control::VERSION).contains(&version) {
            return Err(FileError::Version(version));
        }
        let found: Snapshot<serde_json::Value> = read_json(snapshot)?;
        let state = State::read(version, found.state)?;
        Ok((version, found.boot, found.revision, state))
    };
    let (version, boot, revision, state) = read().map_err(|error| error.to_string())?;
    let replayed = replay(version, state, revision, journal)?;
    replayed.state.check().map_err(|error| error.to_string())?;
    let is_current = version == control::VERSION;
    Ok(Understood {
        snapshot: if is_current { snapshot.len() as u64 } else { 0 },
        boot,
        replayed,
    })
}

/// Keeps files under names that no file has yet. Returns the names.
fn set_aside(files: &[PathBuf]) -> Result<String, OpenError> {
    let mut kept = Vec::new();
    for path in files.iter().filter(|path| path.exists()) {
        let aside = free_name(path);
        fs::rename(path, &aside).map_err(|source| failed("cannot keep", path, source))?;
        kept.push(aside.display().to_string());
    }
    Ok(kept.join(" and "))
}

/// Keeps the end of a journal that is no whole change. Returns what there is to say of it.
fn cut_short(journal: &Path, rest: &[u8]) -> Result<String, OpenError> {
    let aside = free_name(journal);
    write_new(&aside, rest).map_err(|source| failed("cannot keep", &aside, source))?;
    Ok(format!(
        "the last change was not written to its end, and nobody was told that it was made; \
         what there is of it is kept as {}",
        aside.display()
    ))
}

fn free_name(path: &Path) -> PathBuf {
    let name = path.display();
    let free = (1..)
        .map(|n| PathBuf::from(format!("{name}.unreadable-{n}")))
        .find(|path| !path.exists());
    free.expect("a directory does not hold every number")
}

fn told(warning: &str) -> String {
    tracing::error!("{warning}");
    warning.to_owned()
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> OpenError {
    OpenError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

const SNAPSHOT: &str = "state.json";
const FRESH: &str = "state.json.new";
const JOURNAL: &str = "state.journal";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// A journal of so many bytes is no reason for a snapshot, however small that is.
const SMALL: u64 = 64 * 1024;

#[cfg(test)]
mod tests;
