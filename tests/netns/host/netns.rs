//! Namespaces are found, entered and told apart.

use super::found;
use host::{Error, NamespaceRef, Netns};
use std::fs;
use testbed::Namespace;

#[test]
fn work_is_done_inside_and_nowhere_else() {
    let namespace = Namespace::new().unwrap();
    let netns = found(&namespace);
    let current = || {
        let own = Netns::find(NamespaceRef::Path("/proc/thread-self/ns/net".into()));
        own.unwrap().identity()
    };
    let before = current();
    let inside = netns.run(|_| Ok::<_, Error>(current())).unwrap();
    assert_eq!(inside, netns.identity());
    assert_ne!(inside, before);
    assert_eq!(current(), before);
}

#[test]
fn two_names_of_one_namespace_have_one_identity() {
    let namespace = Namespace::new().unwrap();
    let mut child = namespace
        .command("cat")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let by_pid = Netns::find(NamespaceRef::Pid(child.id())).unwrap();
    assert_eq!(by_pid.identity(), found(&namespace).identity());
    assert!(by_pid.is_alive());
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(!by_pid.is_alive());
}

#[test]
fn the_end_is_seen_although_a_socket_holds_the_namespace() {
    let namespace = Namespace::new().unwrap();
    let netns = found(&namespace);
    let open = netns
        .run(|_| Ok::<_, Error>(std::net::UdpSocket::bind("127.0.0.1:0")))
        .unwrap();
    assert!(netns.is_alive());
    drop(namespace);
    assert!(!netns.is_alive());
    assert!(
        netns
            .run(|_| Ok::<_, Error>(()))
            .unwrap_err()
            .is_namespace_gone()
    );
    drop(open);
}

#[test]
fn a_name_that_means_another_namespace_is_not_entered() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("name");
    let [first, second] = [(); 2].map(|()| Namespace::new().unwrap());
    std::os::unix::fs::symlink(first.path(), &link).unwrap();
    let netns = Netns::find(NamespaceRef::Path(link.clone())).unwrap();
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(second.path(), &link).unwrap();
    assert!(!netns.is_alive());
    let error = netns.run(|_| Ok::<_, Error>(())).unwrap_err();
    assert!(
        matches!(error, Error::Replaced { .. }) && error.is_namespace_gone(),
        "{error}"
    );
}

#[test]
fn what_is_no_namespace_is_refused() {
    let missing = Netns::find(NamespaceRef::Name("no-such-namespace".into())).unwrap_err();
    assert!(
        missing.to_string().contains("no-such-namespace"),
        "{missing}"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    let file = Netns::find(NamespaceRef::Path(file.path().into())).unwrap_err();
    assert!(matches!(file, Error::NotANamespace { .. }), "{file}");
    let mounts = Netns::find(NamespaceRef::Path("/proc/self/ns/mnt".into())).unwrap();
    let other_kind = mounts.run(|_| Ok::<_, Error>(())).unwrap_err();
    assert!(
        matches!(other_kind, Error::NotANamespace { .. }),
        "{other_kind}"
    );
}

#[test]
#[should_panic(expected = "inside")]
fn a_panic_inside_goes_on_outside() {
    let namespace = Namespace::new().unwrap();
    let _ = found(&namespace).run(|_| -> Result<(), Error> { panic!("inside") });
}
