//! The journal: changes since the snapshot, a line of JSON each.
//!
//! ```text
//!   {"revision":42,"change":{"put_port":{...}}}\n
//! ```
//! A change is there when its line is, to the newline. A daemon or a machine that ends while it
//! writes leaves a part of a line: that change was never answered, and is dropped. Anything else that
//! cannot be read is damage.

use super::Revision;
use control::{Change, State, read_json};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file of changes, open to add to it.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: Option<File>,
    len: u64,
}

#[derive(Serialize, Deserialize)]
struct Record<C> {
    revision: Revision,
    change: C,
}

/// A state, and what led to it.
#[derive(Debug)]
pub(super) struct Replayed {
    pub(super) state: State,
    pub(super) revision: Revision,
    /// Bytes of the journal that are whole records.
    pub(super) whole: usize,
}

/// Makes the changes of `journal`, written in the form of `version`, that come after `revision`.
///
/// # Errors
/// Which line cannot be read, and why.
pub(super) fn replay(
    version: u32,
    mut state: State,
    mut revision: Revision,
    journal: &[u8],
) -> Result<Replayed, String> {
    let whole = journal
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    let lines = journal[..whole].split(|byte| *byte == b'\n');
    for (number, line) in (1..).zip(lines.filter(|line| !line.is_empty())) {
        let bad = |why| format!("change {number}: {why}");
        let record: Record<Value> = read_json(line).map_err(bad)?;
        // A daemon that ended between a new snapshot and an empty journal leaves what both have.
        if record.revision <= revision {
            continue;
        }
        if record.revision != revision.next() {
            return Err(format!(
                "change {number}: revision {} follows {revision}",
                record.revision
            ));
        }
        revision = record.revision;
        // What takes it back is of no use any more.
        let change = state.read_change(version, record.change).map_err(bad)?;
        let _ = state.commit(change);
    }
    Ok(Replayed {
        state,
        revision,
        whole,
    })
}

impl Journal {
    /// The journal at `path`, whose first `len` bytes are whole. What comes after goes.
    pub(super) fn open(path: &Path, len: usize) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let mut journal = Self {
            path: path.to_owned(),
            file: Some(file),
            len: len as u64,
        };
        journal.cut()?;
        Ok(journal)
    }

    /// Bytes in it.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether changes may be added: not after a failure of which nobody knows what is on the disk.
    pub(super) fn is_sound(&self) -> bool {
        self.file.is_some()
    }

    /// Adds a change, and waits until it is on the disk. On failure it is as it was. A journal that
    /// was moved or removed takes none: the next daemon would not find it.
    pub(super) fn append(&mut self, revision: Revision, change: &Change) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Record { revision, change })?;
        line.push(b'\n');
        let Some(file) = &mut self.file else {
            return Err(io::Error::other("the journal is not sound"));
        };
        let (ours, there) = (file.metadata()?, fs::metadata(&self.path)?);
        if (ours.dev(), ours.ino()) != (there.dev(), there.ino()) {
            return Err(io::Error::other("another file has taken its place"));
        }
        let written = file.write_all(&line);
        let synced = written.and_then(|()| file.sync_data());
        match synced {
            Ok(()) => {
                self.len += line.len() as u64;
                Ok(())
            }
            Err(error) => {
                if self.cut().is_err() {
                    self.close();
                }
                Err(error)
            }
        }
    }

    /// Forgets every change: a snapshot has them.
    pub(super) fn clear(&mut self) {
        match Self::open(&self.path, 0) {
            Ok(empty) => *self = empty,
            Err(_) => self.close(),
        }
    }

    /// Takes no more changes until it is cleared.
    pub(super) fn close(&mut self) {
        self.file = None;
    }

    /// Takes away what stands after the last whole change.
    fn cut(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        file.seek(SeekFrom::Start(self.len))?;
        if file.metadata()?.len() == self.len {
            return Ok(());
        }
        file.set_len(self.len)?;
        file.sync_data()
    }
}
