use super::*;
use api::{NetworkCreate, UplinkAdd};

/// A directory in memory: what is written byte by byte is forced to no disk.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

/// The owner of a state, who changes it.
struct Owner {
    remembered: Remembered,
    state: State,
}

impl Owner {
    fn open(directory: &Path) -> Self {
        let mut remembered = FileStore::open(directory).unwrap();
        let state = remembered.state.take().unwrap_or_else(|| State::new(7));
        Self { remembered, state }
    }

    fn try_commit(&mut self, change: &Change) -> Result<(), StoreError> {
        let mut next = self.state.clone();
        let _ = next.commit(change.clone());
        let Remembered {
            store, revision, ..
        } = &mut self.remembered;
        *revision = store.commit(*revision, change, &next)?;
        self.state = next;
        Ok(())
    }

    fn add_network(&mut self, name: &str) -> Result<(), StoreError> {
        let request = NetworkCreate::new(name.parse().unwrap());
        let (_, change) = self.state.add_network(&request, |_| None).unwrap();
        self.try_commit(&change)
    }

    fn warnings(&self) -> &[String] {
        &self.remembered.warnings
    }
}

fn path(directory: &Path, name: &str) -> PathBuf {
    directory.join(name)
}

/// A directory with a snapshot and `count` changes in the journal, and the states they made.
fn written(directory: &Path, count: usize) -> Vec<State> {
    let mut owner = Owner::open(directory);
    owner.add_network("first").unwrap();
    let mut states = vec![owner.state.clone()];
    for n in 0..count {
        owner.add_network(&format!("net{n}")).unwrap();
        states.push(owner.state.clone());
    }
    states
}

#[test]
fn every_change_is_remembered_and_the_snapshot_is_left_alone() {
    let dir = directory();
    let mut states = written(dir.path(), 1);
    let snapshot = fs::read(path(dir.path(), SNAPSHOT)).unwrap();
    let mut again = Owner::open(dir.path());
    assert_eq!(again.warnings(), [""; 0]);
    assert_eq!(Some(&again.state), states.last());
    assert!(!again.remembered.rebooted);
    assert_eq!(again.remembered.revision, Revision(2));
    let (_, change) = again.state.add_uplink(&UplinkAdd::new("eth0")).unwrap();
    again.try_commit(&change).unwrap();
    states.push(again.state);
    drop(again.remembered);
    assert_eq!(Some(&Owner::open(dir.path()).state), states.last());
    assert_eq!(fs::read(path(dir.path(), SNAPSHOT)).unwrap(), snapshot);
}

#[test]
fn a_long_journal_becomes_a_snapshot() {
    let dir = directory();
    let mut owner = Owner::open(dir.path());
    let len = |name| fs::metadata(path(dir.path(), name)).unwrap().len();
    let mut longest = 0;
    for n in 0..500 {
        owner.add_network(&format!("net{n}")).unwrap();
        longest = longest.max(len(JOURNAL));
    }
    assert!(
        longest > SMALL / 2 && longest <= len(SNAPSHOT).max(SMALL),
        "{longest}"
    );
    let state = owner.state.clone();
    drop(owner);
    assert_eq!(Owner::open(dir.path()).state, state);
    assert!(!path(dir.path(), FRESH).exists());
}

#[test]
fn what_a_snapshot_has_already_is_not_made_twice() {
    let dir = directory();
    let states = written(dir.path(), 3);
    let journal = fs::read(path(dir.path(), JOURNAL)).unwrap();
    let mut owner = Owner::open(dir.path());
    let Remembered {
        store, revision, ..
    } = &mut owner.remembered;
    store.replace(*revision, &owner.state).unwrap();
    drop(owner);
    // As if it had ended before the journal was emptied.
    fs::write(path(dir.path(), JOURNAL), journal).unwrap();
    let again = Owner::open(dir.path());
    assert_eq!(
        (Some(&again.state), again.warnings()),
        (states.last(), &[][..])
    );
}

#[test]
fn a_journal_that_is_cut_off_anywhere_loses_what_was_never_answered_and_nothing_else() {
    let dir = directory();
    let states = written(dir.path(), 3);
    let snapshot = fs::read(path(dir.path(), SNAPSHOT)).unwrap();
    let journal = fs::read(path(dir.path(), JOURNAL)).unwrap();
    for len in 0..=journal.len() {
        let dir = directory();
        fs::write(path(dir.path(), SNAPSHOT), &snapshot).unwrap();
        fs::write(path(dir.path(), JOURNAL), &journal[..len]).unwrap();
        let whole = journal[..len].iter().filter(|byte| **byte == b'\n').count();
        let is_cut = len > 0 && journal[len - 1] != b'\n';
        let mut owner = Owner::open(dir.path());
        assert_eq!(owner.state, states[whole], "{len} bytes");
        assert_eq!(owner.warnings().len(), usize::from(is_cut), "{len} bytes");
        if is_cut {
            let start = journal[..len].iter().rposition(|byte| *byte == b'\n');
            let kept = fs::read(path(dir.path(), "state.journal.unreadable-1")).unwrap();
            assert_eq!(kept, journal[start.map_or(0, |at| at + 1)..len]);
        }
        // And it goes on from there.
        owner.add_network("last").unwrap();
        let state = owner.state.clone();
        drop(owner);
        assert_eq!(Owner::open(dir.path()).state, state);
    }
}

#[test]
fn a_snapshot_that_is_cut_off_anywhere_is_kept_with_its_journal() {
    let dir = directory();
    written(dir.path(), 1);
    let files = [SNAPSHOT, JOURNAL].map(|name| fs::read(path(dir.path(), name)).unwrap());
    for len in 0..files[0].len() {
        let dir = directory();
        fs::write(path(dir.path(), SNAPSHOT), &files[0][..len]).unwrap();
        fs::write(path(dir.path(), JOURNAL), &files[1]).unwrap();
        let owner = Owner::open(dir.path());
        assert_eq!((owner.warnings().len(), &owner.state), (1, &State::new(7)));
        let kept = ["state.json.unreadable-1", "state.journal.unreadable-1"];
        let kept = kept.map(|name| fs::read(path(dir.path(), name)).unwrap());
        assert_eq!((&kept[0][..], &kept[1]), (&files[0][..len], &files[1]));
    }
}

#[test]
fn what_is_not_understood_is_kept_and_told() {
    let dir = directory();
    written(dir.path(), 2);
    let [snapshot, journal] =
        [SNAPSHOT, JOURNAL].map(|name| fs::read_to_string(path(dir.path(), name)).unwrap());
    let newer = snapshot.replacen("\"version\":5", "\"version\":6", 1);
    let extra = snapshot.replacen("\"boot\"", "\"colour\":1,\"boot\"", 1);
    let deep = snapshot.replacen("\"mtu\"", "\"colour\":1,\"mtu\"", 1);
    let record = journal.replacen("\"mtu\"", "\"colour\":1,\"mtu\"", 1);
    let gap = journal.replacen("\"revision\":2", "\"revision\":9", 1);
    let word = journal.replacen("put_network", "paint_network", 1);
    let cases = [
        (
            &newer,
            &journal,
            "it has version 6, this daemon reads versions 1 to 5",
        ),
        (&extra, &journal, "the key colour is not known"),
        (
            &deep,
            &journal,
            "the key state.desired.networks.0.colour is not known",
        ),
        (&snapshot, &record, "change 1: the key change."),
        (&snapshot, &gap, "change 1: revision 9 follows 1"),
        (
            &snapshot,
            &word,
            "change 1: unknown variant `paint_network`",
        ),
    ];
    for (snapshot, journal, why) in cases {
        let dir = directory();
        fs::write(path(dir.path(), SNAPSHOT), snapshot).unwrap();
        fs::write(path(dir.path(), JOURNAL), journal).unwrap();
        let owner = Owner::open(dir.path());
        assert_eq!(owner.state, State::new(7), "{why}");
        let [warning] = owner.warnings() else {
            panic!("{:?}", owner.warnings())
        };
        assert!(
            warning.contains(why) && warning.contains("unreadable-1"),
            "{warning}"
        );
        let kept = fs::read_to_string(path(dir.path(), "state.journal.unreadable-1")).unwrap();
        assert_eq!(&kept, journal);
    }
}

#[test]
fn a_file_of_the_version_before_is_read() {
    let dir = directory();
    let old = include_str!("../../../../control/tests/state/version-1-early.json");
    fs::write(path(dir.path(), SNAPSHOT), old).unwrap();
    let mut owner = Owner::open(dir.path());
    assert_eq!(owner.warnings(), [""; 0]);
    assert!(owner.state.network_named("plain").is_ok() && owner.remembered.rebooted);
    owner.add_network("blue").unwrap();
    // An older daemon must not take the file for the whole: it looks for no journal.
    let snapshot = fs::read_to_string(path(dir.path(), SNAPSHOT)).unwrap();
    assert!(snapshot.contains("\"version\":5") && snapshot.contains("blue"));
    let state = owner.state.clone();
    drop(owner);
    assert_eq!(Owner::open(dir.path()).state, state);
}

/// A daemon of version 2 wrote both: networks `blue` and `red`, a port, a configured entry, a new name
/// for `blue`, and the end of `red`.
#[test]
fn a_journal_of_the_version_before_is_read() {
    let dir = directory();
    let files = [
        (SNAPSHOT, include_str!("version-2/state.json")),
        (JOURNAL, include_str!("version-2/state.journal")),
    ];
    for (name, text) in files {
        fs::write(path(dir.path(), name), text).unwrap();
    }
    let mut owner = Owner::open(dir.path());
    assert_eq!(owner.warnings(), [""; 0]);
    let networks: Vec<_> = owner.state.networks().collect();
    let [green] = &networks[..] else {
        panic!("{networks:?}")
    };
    let port = owner.state.port_named("p0").unwrap();
    assert_eq!(
        (green.name.as_str(), port.network),
        ("green", Some(green.id))
    );
    let statics: Vec<_> = green.place.statics.iter().map(|entry| entry.port).collect();
    assert_eq!(statics, [port.id]);
    let uuid = green.uuid;
    owner.add_network("blue").unwrap();
    let state = owner.state.clone();
    drop(owner);
    let again = Owner::open(dir.path());
    assert_eq!(again.state, state);
    assert_eq!(again.state.network_named("green").unwrap().uuid, uuid);
    assert_ne!(again.state.network_named("blue").unwrap().uuid, uuid);
}

#[test]
fn a_second_writer_is_refused() {
    let dir = directory();
    let first = FileStore::open(dir.path()).unwrap();
    let refused = FileStore::open(dir.path()).unwrap_err().to_string();
    assert!(
        refused.contains(&dir.path().display().to_string()),
        "{refused}"
    );
    drop(first);
    FileStore::open(dir.path()).unwrap();
}

#[test]
fn a_change_for_another_revision_is_a_conflict() {
    let dir = directory();
    let mut owner = Owner::open(dir.path());
    owner.add_network("blue").unwrap();
    owner.remembered.revision = Revision(0);
    let refused = owner.add_network("red").unwrap_err().to_string();
    assert_eq!(
        refused,
        "the state has changed meanwhile: it has revision 1, the change was made for 0"
    );
}

#[test]
fn a_change_that_cannot_be_written_leaves_what_was_there() {
    let dir = directory();
    let mut owner = Owner::open(dir.path());
    fs::create_dir(path(dir.path(), FRESH)).unwrap();
    let refused = owner.add_network("blue").unwrap_err().to_string();
    assert!(refused.starts_with("cannot write ") && refused.contains(SNAPSHOT));
    fs::remove_dir(path(dir.path(), FRESH)).unwrap();
    owner.add_network("blue").unwrap();
    let state = owner.state.clone();
    drop(owner);
    assert_eq!(Owner::open(dir.path()).state, state);
}

#[test]
fn what_was_removed_is_named_nowhere_once_changes_are_folded() {
    let dir = directory();
    let mut owner = Owner::open(dir.path());
    owner.add_network("kept").unwrap();
    owner.add_network("secret").unwrap();
    let change = owner.state.remove_network("secret").unwrap();
    owner.try_commit(&change).unwrap();
    let names = |name| {
        let text = |file| fs::read_to_string(path(dir.path(), file)).unwrap();
        [SNAPSHOT, JOURNAL].map(text).concat().contains(name)
    };
    assert!(names("secret"));
    owner.remembered.store.fold(&owner.state).unwrap();
    assert!(!names("secret") && names("kept"));
    // The next change follows the same revision.
    owner.add_network("next").unwrap();
    let state = owner.state.clone();
    drop(owner);
    let again = Owner::open(dir.path());
    assert_eq!(
        (again.state, again.remembered.revision),
        (state, Revision(4))
    );
}

#[test]
fn a_directory_that_is_moved_away_takes_no_change_until_it_is_back() {
    let outer = directory();
    let (here, gone) = (outer.path().join("state"), outer.path().join("gone"));
    fs::create_dir(&here).unwrap();
    let mut owner = Owner::open(&here);
    owner.add_network("one").unwrap();
    owner.add_network("two").unwrap();
    fs::rename(&here, &gone).unwrap();
    let refused = owner.add_network("three").unwrap_err().to_string();
    assert!(refused.contains(JOURNAL), "{refused}");
    // Another journal is not ours.
    fs::create_dir(&here).unwrap();
    fs::write(here.join(JOURNAL), "").unwrap();
    assert!(owner.add_network("three").is_err());
    fs::remove_dir_all(&here).unwrap();
    fs::rename(&gone, &here).unwrap();
    owner.add_network("four").unwrap();
    let state = owner.state.clone();
    drop(owner);
    assert_eq!(Owner::open(&here).state, state);
}
