//! A whole daemon in a namespace of its own, its threads included.

use super::*;
use crate::manager::MAX_WAITING;

/// Runs a whole daemon in a namespace of its own, its threads included.
fn on_a_host(work: impl FnOnce(&Manager) + Send) {
    let host = Namespace::new().unwrap();
    host.enter().unwrap();
    let (dir, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
    let remembered = FileStore::open(dir.path()).unwrap();
    let manager = runtime.block_on(Manager::start(&config(dir.path()), remembered));
    let manager = manager.unwrap();
    {
        let _in_runtime = runtime.enter();
        work(&manager);
    }
    runtime.block_on(manager.shutdown());
}

#[test]
fn the_watcher_retires_what_is_gone_by_itself() {
    on_a_host(|manager| {
        let a = Namespace::new().unwrap();
        manager
            .network_create(&network("blue", &["10.1.0.0/24"]))
            .unwrap();
        manager.attach(&attach_to(&a)).unwrap();
        drop(a);
        wait_until("the endpoint is gone", PATIENCE, || {
            manager.endpoints().unwrap().is_empty()
        })
        .unwrap();
    });
}

#[test]
fn calls_at_once_do_not_trip_over_each_other() {
    on_a_host(|manager| {
        manager
            .network_create(&network("blue", &["10.1.0.0/24"]))
            .unwrap();
        let namespaces: Vec<_> = (0..3).map(|_| Namespace::new().unwrap()).collect();
        let runtime = Handle::current();
        let attach = |namespace| {
            let _in_runtime = runtime.enter();
            manager.attach(&attach_to(namespace)).ok()
        };
        let done: Vec<_> = std::thread::scope(|scope| {
            let twice = namespaces.iter().chain(&namespaces[..1]);
            let begun: Vec<_> = twice.map(|n| scope.spawn(move || attach(n))).collect();
            let ended = begun.into_iter().map(|thread| thread.join().unwrap());
            ended.flatten().collect()
        });
        assert_eq!(
            done.len(),
            3,
            "one of two attaches of one interface is refused"
        );
        let addresses: std::collections::BTreeSet<_> =
            done.iter().flat_map(|e| e.addresses.clone()).collect();
        assert_eq!(addresses.len(), 3);
    });
}

/// One change hangs, others wait behind it, and every read is answered meanwhile; changes beyond
/// those that may wait are refused.
#[test]
fn no_reader_waits_for_a_change() {
    on_a_host(|manager| {
        let a = Namespace::new().unwrap();
        manager
            .network_create(&network("blue", &["10.1.0.0/24"]))
            .unwrap();
        manager.attach(&attach_to(&a)).unwrap();
        a.ip("link set eth0 up").unwrap();
        let nobody: api::Name = "nobody".parse().unwrap();
        let (stuck, is_stuck) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let runtime = Handle::current();
        std::thread::scope(|scope| {
            let slow = scope.spawn(move || {
                manager.change(|_| {
                    stuck.send(()).unwrap();
                    released.recv().unwrap();
                    Ok(())
                })
            });
            is_stuck.recv().unwrap();
            let waiting: Vec<_> = (0..MAX_WAITING - 1)
                .map(|_| scope.spawn(|| manager.port_remove(&nobody)))
                .collect();
            wait_until("changes that wait", PATIENCE, || {
                manager.waiting() == MAX_WAITING
            })
            .unwrap();
            let refused = manager.port_remove(&nobody).unwrap_err();
            assert_eq!(refused.code, ErrorCode::Unavailable, "{refused}");

            let _in_runtime = runtime.enter();
            reads_are_answered(manager);
            release.send(()).unwrap();
            slow.join().unwrap().unwrap();
            for change in waiting {
                let refused: ApiError = change.join().unwrap().unwrap_err();
                assert_eq!(refused.code, ErrorCode::NotFound, "{refused}");
            }
        });
    });
}

fn reads_are_answered(manager: &Manager) {
    let ping = ExplainRequest {
        port: "ep-1".parse().unwrap(),
        frame: FrameSpec::Icmp(IcmpFields {
            link: LinkFields::default(),
            src_ip: "10.1.0.2".parse().unwrap(),
            dst_ip: "10.1.0.1".parse().unwrap(),
            reply: false,
            id: 1,
            payload: 0,
        }),
    };
    let name: api::Name = "ep-1".parse().unwrap();
    assert_eq!(manager.status().unwrap().ports.up, 1);
    assert_eq!(manager.ports().unwrap().len(), 1);
    assert_eq!(manager.port(&name).unwrap().state, PortState::Up);
    assert_eq!(manager.networks().unwrap().len(), 1);
    assert_eq!(manager.endpoints().unwrap().len(), 1);
    assert_eq!(manager.fdb(&Filter::default()).unwrap().len(), 1);
    assert!(manager.nat(&Filter::default()).unwrap().is_empty());
    assert!(manager.neighbours().unwrap().is_empty());
    assert!(manager.uplinks().unwrap().is_empty());
    assert!(manager.publications().unwrap().is_empty());
    assert!(manager.adoptions().unwrap().is_empty());
    assert!(!manager.drops().unwrap().reasons.is_empty());
    manager.policy(&name).unwrap();
    manager.doctor().unwrap();
    manager.nat_flush(&Filter::default()).unwrap();
    manager.nat_watch(&Filter::default()).unwrap();
    manager.explain(&ping).unwrap();
    manager.trace(&api::TraceRequest::default()).unwrap();
}
