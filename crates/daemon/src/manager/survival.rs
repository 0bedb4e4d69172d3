//! The file of connections: what a restarted daemon takes up of them.
//!
//! ```text
//!   stop ───────────────────────────────┐
//!   every few seconds, if any changed ──┴─> connections ──> start: imported, before a packet is
//!                                            beside the        judged by the router that has the
//!                                            state file        uplinks; what it forbids is revoked
//! ```
//! The file is replaced whole, as the state file is, but never forced to the disk: after a reboot
//! nobody has these connections any more, and the file says of which boot it is. Whatever is wrong
//! with it costs connections and nothing else, so it is a warning at most.
//!
//! Writing is done beside the calls, not in their way, and takes one hundredth of the time at most:
//! the more there is to write, the rarer it is done (100 000 connections, 3 MB: 0.2 s unoptimised on a
//! busy machine, so every 20 s). A daemon that is killed loses the
//! connections that are younger than that, and of the others it does not know how far they got
//! meanwhile, which the table is told (`nat::Gap`).

use super::writer::Writer;
use crate::store::write_new;
use dataplane::Dataplane;
use nat::{Gap, Router, Stored};
use serde::{Deserialize, Serialize};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where connections are kept. Shared by the calls and by who writes beside them.
#[derive(Debug)]
pub(super) struct Survival {
    directory: PathBuf,
    boot: String,
    written: Mutex<Written>,
}

/// What was written last.
#[derive(Debug)]
enum Written {
    Nothing,
    /// What this stands for.
    Some(u64),
    /// What is to stay: the daemon has stopped.
    All,
}

/// Connections of an earlier daemon.
#[derive(Debug, Default)]
pub(super) struct Survivors {
    pub(super) connections: Vec<Stored>,
    /// Nothing, if there are none.
    gap: Option<Gap>,
    since: Duration,
}

/// What stands before the connections.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    version: u32,
    boot: String,
    /// Since the beginning of 1970.
    written: Duration,
    gap: Gap,
}

/// Why the file is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Damaged(#[from] postcard::Error),
    #[error("it has version {0}, this daemon reads version {VERSION}")]
    Version(u32),
}

impl Survival {
    /// In `directory`, during the run of the kernel that `boot` names.
    pub(super) fn new(directory: &Path, boot: &str) -> Self {
        Self {
            directory: directory.to_owned(),
            boot: boot.to_owned(),
            written: Mutex::new(Written::Nothing),
        }
    }

    /// The connections that an earlier daemon left. None is no error, nor are those of another boot.
    pub(super) fn read(&self) -> Result<Survivors, ReadError> {
        let bytes = match fs::read(self.path()) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Survivors::default()),
            Err(error) => return Err(error.into()),
        };
        let (version, _): (u32, _) = postcard::take_from_bytes(&bytes)?;
        if version != VERSION {
            return Err(ReadError::Version(version));
        }
        let (head, rest): (Head, _) = postcard::take_from_bytes(&bytes)?;
        if head.boot != self.boot {
            return Ok(Survivors::default());
        }
        Ok(Survivors {
            connections: postcard::from_bytes(rest)?,
            gap: Some(head.gap),
            // A clock that was set back says nothing.
            since: since_1970().saturating_sub(head.written),
        })
    }

    /// Writes the connections of `router` if they are others than before; `Gap::Silent` says that
    /// there will be no more, and that nothing is to be written afterwards.
    pub(super) fn write(
        &self,
        router: &Router,
        now: pipeline::Instant,
        gap: Gap,
    ) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*written, Written::All) {
            return Ok(());
        }
        let connections = router.export_connections(now);
        let mark = mark(&connections);
        let stays = matches!(*written, Written::Some(before) if before == mark);
        if gap == Gap::Unseen && stays {
            return Ok(());
        }
        self.replace(&connections, gap)?;
        *written = match gap {
            Gap::Silent => Written::All,
            Gap::Unseen => Written::Some(mark),
        };
        Ok(())
    }

    fn replace(&self, connections: &[Stored], gap: Gap) -> io::Result<()> {
        let head = Head {
            version: VERSION,
            boot: self.boot.clone(),
            written: since_1970(),
            gap,
        };
        let bytes = postcard::to_allocvec(&(head, connections)).map_err(io::Error::other)?;
        let fresh = self.directory.join(NEW);
        let placed = write_new(&fresh, &bytes).and_then(|_| fs::rename(&fresh, self.path()));
        placed.inspect_err(|_| {
            // It may hold the disk's last free blocks.
            let _ = fs::remove_file(&fresh);
        })
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.join(NAME)
    }
}

impl Survivors {
    /// Puts them into the table that `router` looks into.
    pub(super) fn import(self, router: &Router, now: pipeline::Instant) {
        let Some(gap) = self.gap else { return };
        let (all, since) = (self.connections.len(), self.since);
        let added = router.import_connections(&self.connections, gap, since, now);
        tracing::info!(connections = added, of = all, "taken up");
    }
}

/// When connections are written down next, and what was wrong the last time.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    due: Option<Instant>,
    trouble: String,
}

impl Keeper {
    /// Writes connections down if it is time.
    pub(super) fn keep(&mut self, survival: &Survival, dataplane: &Dataplane) {
        let begun = Instant::now();
        if self.due.is_some_and(|due| begun < due) {
            return;
        }
        let written = survival.write(&dataplane.router(), dataplane.now(), Gap::Unseen);
        self.due = Some(begun + PERIOD.max(begun.elapsed().saturating_mul(SHARE)));
        let trouble = written.map_err(|error| unwritten(survival, &error));
        let trouble = trouble.err().unwrap_or_default();
        if !trouble.is_empty() && trouble != self.trouble {
            tracing::warn!("{trouble}");
        }
        self.trouble = trouble;
    }
}

impl Writer {
    /// Connections of an earlier daemon, for the first router that knows the uplinks.
    pub(super) fn survivors(&mut self) -> Survivors {
        self.survival.read().unwrap_or_else(|error| {
            let path = self.survival.path();
            self.warn(format!(
                "connections are not taken up, {} is not readable: {error}",
                path.display()
            ));
            Survivors::default()
        })
    }

    /// Writes down what the next daemon is to take up: when this one begins, since what is there
    /// says how the last one ended, and when no packet passes any more.
    pub(super) fn write_survivors(&mut self, gap: Gap) {
        let (router, now) = (self.dataplane.router(), self.dataplane.now());
        if let Err(error) = self.survival.write(&router, now, gap) {
            self.warn(unwritten(&self.survival, &error));
        }
    }
}

fn unwritten(survival: &Survival, error: &io::Error) -> String {
    let path = survival.path();
    format!(
        "connections will not outlive the daemon: cannot write {}: {error}",
        path.display()
    )
}

/// Another number for other connections, and for more packets of theirs.
fn mark(connections: &[Stored]) -> u64 {
    let mut mark = DefaultHasher::new();
    for one in connections {
        let packets = one.traffic.map(|traffic| traffic.packets);
        (one.initiator, one.responder, packets).hash(&mut mark);
    }
    mark.finish()
}

fn since_1970() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

const NAME: &str = "connections";
const NEW: &str = "connections.new";
/// Raised with every change of what stands in the file: it does not describe itself.
const VERSION: u32 = 1;
/// How often connections are written at most.
const PERIOD: Duration = Duration::from_secs(5);
/// How many times longer than writing is waited before it is done again.
const SHARE: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::View;
    use nat::{Flow, Published, Segment, Settings, Translator, TransportAddr, Tuple};
    use pipeline::{Effects, NetworkId};
    use std::net::{IpAddr, Ipv4Addr};
    use std::os::unix::fs::PermissionsExt;
    use wire::IpProtocol;

    const NOW: pipeline::Instant = pipeline::Instant::from_secs(100_000);

    fn survival(directory: &Path) -> Survival {
        Survival::new(directory, "this boot")
    }

    /// `count` conversations of two networks.
    fn talk(view: &View, count: u32) {
        let (published, settings) = (Published::default(), Settings::default());
        let translator = Translator {
            tables: &view.router.live.tables,
            published: &published,
            settings: &settings,
            now: NOW,
            effects: Effects::Live,
        };
        let at = |ip: Ipv4Addr| TransportAddr {
            ip: IpAddr::V4(ip),
            port: 7,
        };
        for n in 0..count {
            let ends = [0x0a00_0000 + n, 0x0b00_0000].map(|ip| at(Ipv4Addr::from_bits(ip)));
            for (src, dst, from, to) in [(ends[0], ends[1], 1, 2), (ends[1], ends[0], 2, 1)] {
                let tuple = Tuple {
                    protocol: IpProtocol::UDP,
                    src,
                    dst,
                };
                let flow = Flow {
                    tuple,
                    segment: Segment::Other,
                    len: 100,
                };
                let [from, to] = [from, to].map(NetworkId);
                translator.follow(from, to, &flow, || Ok(())).unwrap();
            }
        }
    }

    fn sorted(view: &View) -> Vec<Stored> {
        let mut all = view.router.export_connections(NOW);
        all.sort_by_key(|one| (one.initiator, one.responder));
        all
    }

    #[test]
    fn what_was_written_is_taken_up_until_its_time_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new, late) = (View::new(1), View::new(1), View::new(1));
        talk(&old, 500);
        survival(dir.path())
            .write(&old.router, NOW, Gap::Silent)
            .unwrap();
        let mode = fs::metadata(dir.path().join(NAME)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);

        let read = || survival(dir.path()).read().unwrap();
        let since = Duration::ZERO;
        Survivors { since, ..read() }.import(&new.router, NOW);
        assert_eq!(sorted(&new), sorted(&old));
        assert_eq!(sorted(&new).len(), 500);
        // Silent for five minutes: what a datagram's connection lives (RFC 4787 REQ-5).
        let since = Duration::from_secs(300);
        Survivors { since, ..read() }.import(&late.router, NOW);
        assert_eq!(sorted(&late), []);
    }

    #[test]
    fn it_is_written_when_connections_have_changed_and_never_after_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let (survival, view) = (survival(dir.path()), View::new(1));
        let writes = |gap| {
            let _ = fs::remove_file(survival.path());
            survival.write(&view.router, NOW, gap).unwrap();
            survival.path().exists()
        };
        assert!(writes(Gap::Unseen));
        assert!(!writes(Gap::Unseen));
        talk(&view, 1);
        assert!(writes(Gap::Unseen));
        talk(&view, 1);
        assert!(writes(Gap::Unseen), "the same one, and more packets");
        assert!(!writes(Gap::Unseen));
        assert!(writes(Gap::Silent));
        talk(&view, 2);
        assert!(!writes(Gap::Unseen));
    }

    #[test]
    fn what_is_not_ours_is_not_taken_up() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(survival(dir.path()).read().unwrap().gap, None);
        let view = View::new(1);
        talk(&view, 20);
        let other = Survival::new(dir.path(), "another boot");
        other.write(&view.router, NOW, Gap::Unseen).unwrap();
        assert_eq!(survival(dir.path()).read().unwrap().gap, None);

        let good = survival(dir.path());
        good.write(&view.router, NOW, Gap::Unseen).unwrap();
        let whole = fs::read(good.path()).unwrap();
        for len in 0..whole.len() {
            fs::write(good.path(), &whole[..len]).unwrap();
            assert!(good.read().is_err(), "{len} bytes");
        }
        fs::write(good.path(), [99]).unwrap();
        let why = good.read().unwrap_err().to_string();
        assert_eq!(why, "it has version 99, this daemon reads version 1");
        fs::write(good.path(), &whole).unwrap();
        assert_eq!(good.read().unwrap().connections.len(), 20);
    }

    #[test]
    fn a_full_disk_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let (survival, view) = (survival(dir.path()), View::new(1));
        talk(&view, 1);
        survival.write(&view.router, NOW, Gap::Unseen).unwrap();
        let before = fs::read(survival.path()).unwrap();
        fs::create_dir(dir.path().join(NEW)).unwrap();
        talk(&view, 2);
        assert!(survival.write(&view.router, NOW, Gap::Unseen).is_err());
        assert_eq!(fs::read(survival.path()).unwrap(), before);
        // It is tried again, although nothing has changed since.
        fs::remove_dir(dir.path().join(NEW)).unwrap();
        survival.write(&view.router, NOW, Gap::Unseen).unwrap();
        assert_ne!(fs::read(survival.path()).unwrap(), before);
    }
}
