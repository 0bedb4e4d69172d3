//! Changes of the host's network are heard.

use super::{found, joined};
use host::Monitor;
use std::time::Duration;
use testbed::Namespace;
use tokio::runtime::Builder;

#[test]
fn what_matters_is_heard_and_nothing_else() {
    let [host, _other] = joined();
    let netns = found(&host);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut monitor = netns
        .run(|inside| Monitor::open(inside, runtime.handle()))
        .unwrap();
    let mut hears = |words: &str| {
        host.ip(words).unwrap();
        monitor.has_changed().unwrap()
    };
    for (words, heard) in [
        ("address add 198.51.100.3/24 dev eth0", true),
        ("route add 10.0.0.0/8 via 198.51.100.1", false),
        ("route add default via 198.51.100.1", true),
        ("route del default", true),
        ("route del 10.0.0.0/8", false),
        ("link set eth0 mtu 1400", true),
        ("address show", false),
        ("-6 route add default dev eth0", true),
    ] {
        assert_eq!(hears(words), heard, "{words}");
    }
}

#[test]
fn a_change_wakes_who_waits() {
    let host = Namespace::new().unwrap();
    let netns = found(&host);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut monitor = netns
        .run(|inside| Monitor::open(inside, runtime.handle()))
        .unwrap();
    runtime.block_on(async {
        let limit = Duration::from_secs(10);
        let change = tokio::task::spawn_blocking(move || {
            host.ip("link add dummy type veth peer other").unwrap();
            host
        });
        let heard = tokio::time::timeout(limit, monitor.changed()).await;
        heard.expect("a change is heard in time").unwrap();
        change.await.unwrap();
    });
}
