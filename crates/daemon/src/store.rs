//! Where the desired state is kept.
//!
//! A store remembers changes, one after the other, and each has a revision: a number that grows by one.
//!
//! ```text
//!   commit(after 41, change) ──┬──> 42          remembered: it survives a crash
//!                              ├──> Conflict    somebody else made 42: look again, check again
//!                              └──> Io          nothing was changed, and what was there is there
//! ```
//! [`FileStore`] has one writer on one host, which a lock makes sure of: it sees no conflict. In a
//! store that many hosts share, `commit` is a transaction that compares the revision (etcd:
//! `mod_revision(root) = 41`, then put), and the trait is shaped so that it fits.

mod file;
mod journal;

pub(crate) use file::{FileStore, OpenError};

use control::{Change, State};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Remembers the desired state.
pub(crate) trait Store: fmt::Debug + Send {
    /// Remembers `change`, which was checked against the state of revision `after` and makes `state`
    /// of it. Returns the revision of `state`.
    ///
    /// # Errors
    /// Nothing is changed then.
    fn commit(
        &mut self,
        after: Revision,
        change: &Change,
        state: &State,
    ) -> Result<Revision, StoreError>;

    /// Remembers `state` instead of all that was remembered before. Returns its revision.
    ///
    /// # Errors
    /// Nothing is changed then.
    fn replace(&mut self, after: Revision, state: &State) -> Result<Revision, StoreError>;

    /// Forgets how `state`, which is what is remembered, came about: no name that was removed from it
    /// is kept. Does nothing when nothing is to be forgotten.
    ///
    /// # Errors
    /// All is remembered as before.
    fn fold(&mut self, state: &State) -> Result<(), StoreError>;
}

/// How many changes have led to a state.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub(crate) struct Revision(u64);

impl Revision {
    /// The one after it.
    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The contents of a store that was opened.
#[derive(Debug)]
pub(crate) struct Remembered {
    pub(crate) store: Box<dyn Store>,
    /// `None` when nothing was remembered, or nothing that could be read.
    pub(crate) state: Option<State>,
    pub(crate) revision: Revision,
    /// The run of the kernel that it is now.
    pub(crate) boot: String,
    /// Whether what is remembered was written during another run of the kernel.
    pub(crate) rebooted: bool,
    /// Warnings about it, each for a person to read.
    pub(crate) warnings: Vec<String>,
}

/// A change could not be remembered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// Another writer was faster.
    #[error(
        "the state has changed meanwhile: it has revision {found}, the change was made for {expected}"
    )]
    Conflict {
        /// The revision that the change was checked against.
        expected: Revision,
        /// The one that is there.
        found: Revision,
    },
    /// The file system refuses.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Writes a file that is to be renamed into its place; nobody else may read it.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    Ok(file)
}
