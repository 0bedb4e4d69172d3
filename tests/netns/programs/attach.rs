//! Attachment to a veth, and what a ping leaves in the counters.

use super::{COUNT, counter, loaded};
use crate::fixture::SOON;
use bpf::verdict;
use loader::tcx::Place;
use loader::{LoadError, Loaded, Maps, Side, clsact, tcx};
use std::net::IpAddr;
use testbed::traffic::{Ping, ping};
use testbed::{Namespace, link, wait_until};

/// A host and a container that reach each other by a veth, whose host end is `p0`.
struct Wire {
    host: Namespace,
    container: Namespace,
    index: u32,
}

impl Wire {
    fn new() -> Self {
        let [host, container] = [(); 2].map(|()| Namespace::new().unwrap());
        link::veth(&host, "p0", &container, "eth0").unwrap();
        link::address(&host, "p0", "10.8.0.1/24").unwrap();
        link::address(&container, "eth0", "10.8.0.2/24").unwrap();
        let line = host.ip("-o link show p0").unwrap();
        let index = line.split(':').next().unwrap().parse().unwrap();
        Self {
            host,
            container,
            index,
        }
    }

    /// How many of so many requests of the container's are answered.
    fn answers(&self, count: u16) -> u16 {
        let to: IpAddr = "10.8.0.1".parse().unwrap();
        let asked = Ping {
            count,
            timeout: std::time::Duration::from_millis(300),
            ..Ping::new(to)
        };
        ping(&self.container, &asked).unwrap().received
    }

    fn slot(&self, side: Side, priority: u16) -> clsact::Slot {
        clsact::Slot {
            interface: self.index,
            side,
            priority,
            handle: 0xbf,
        }
    }
}

/// A program in the kernel that counts and answers.
struct Counter {
    program: Loaded,
    maps: Maps,
}

impl Counter {
    fn new(verdict: i32) -> Self {
        let (program, maps) = loaded(&counter(verdict));
        Self { program, maps }
    }

    fn count(&self) -> u64 {
        self.maps[COUNT].lookup(&0_u32).unwrap().unwrap()
    }

    fn id(&self) -> u32 {
        self.program.id().unwrap()
    }
}

#[test]
fn a_link_counts_while_it_lives() {
    let (wire, [into, out]) = (Wire::new(), [(); 2].map(|()| Counter::new(verdict::UNSPEC)));
    let attach = |counter: &Counter, side| {
        let link = || tcx::attach(&counter.program, wire.index, side, Place::Last);
        wire.host.run(link).unwrap()
    };
    let links = [attach(&into, Side::Ingress), attach(&out, Side::Egress)];
    assert_eq!(wire.answers(5), 5);
    let counted = [into.count(), out.count()];
    assert!(counted.iter().all(|count| *count >= 5), "{counted:?}");
    let [into_link, out_link] = links;
    let attached = |side| wire.host.run(|| tcx::attached(wire.index, side)).unwrap();
    into_link.detach().unwrap();
    assert_eq!(attached(Side::Ingress), [0; 0]);
    drop(out_link);
    // A program that another test starts has a copy of the descriptor for a moment.
    wait_until("the link's end", SOON, || attached(Side::Egress).is_empty()).unwrap();
    let before = into.count();
    assert_eq!(wire.answers(5), 5);
    assert_eq!(into.count(), before);
}

#[test]
fn links_have_an_order() {
    let wire = Wire::new();
    let [first, middle, last] = [verdict::UNSPEC, verdict::SHOT, verdict::UNSPEC].map(Counter::new);
    let attach = |counter: &Counter, place| {
        let link = || tcx::attach(&counter.program, wire.index, Side::Ingress, place);
        wire.host.run(link).unwrap()
    };
    let _links = [
        attach(&middle, Place::First),
        attach(&last, Place::Last),
        attach(&first, Place::First),
    ];
    let attached = wire.host.run(|| tcx::attached(wire.index, Side::Ingress));
    assert_eq!(attached.unwrap(), [&first, &middle, &last].map(Counter::id));
    assert_eq!(wire.answers(2), 0);
    assert!(first.count() > 0 && middle.count() > 0);
    assert_eq!(last.count(), 0);
}

#[test]
fn a_filter_counts_until_it_is_removed() {
    let (wire, counter) = (Wire::new(), Counter::new(verdict::UNSPEC));
    let slots = [wire.slot(Side::Ingress, 7), wire.slot(Side::Egress, 7)];
    wire.host.run(|| {
        assert!(clsact::add_qdisc(wire.index).unwrap());
        assert!(!clsact::add_qdisc(wire.index).unwrap());
        for slot in slots {
            clsact::put(&counter.program, slot).unwrap();
        }
    });
    assert_eq!(wire.answers(5), 5);
    assert!(counter.count() >= 10, "{}", counter.count());
    wire.host.run(|| {
        let found = clsact::list(wire.index, Side::Ingress).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].slot, slots[0]);
        assert_eq!(found[0].program, Some(counter.id()));
        assert_eq!(found[0].name.as_deref(), Some("test"));
        assert!(!clsact::remove_empty_qdisc(wire.index).unwrap());
        for slot in slots {
            assert!(clsact::remove(slot).unwrap());
            assert!(!clsact::remove(slot).unwrap());
        }
    });
    let before = counter.count();
    assert_eq!(wire.answers(5), 5);
    assert_eq!(counter.count(), before);
    wire.host.run(|| {
        assert!(clsact::remove_empty_qdisc(wire.index).unwrap());
        assert!(!clsact::remove(slots[0]).unwrap());
    });
}

#[test]
fn filters_run_by_priority_and_are_replaced_in_place() {
    let wire = Wire::new();
    let [early, late, stop] = [verdict::UNSPEC, verdict::UNSPEC, verdict::SHOT].map(Counter::new);
    let slot = |priority| wire.slot(Side::Ingress, priority);
    wire.host.run(|| {
        clsact::add_qdisc(wire.index).unwrap();
        clsact::put(&late.program, slot(9)).unwrap();
        clsact::put(&early.program, slot(3)).unwrap();
        let found = clsact::list(wire.index, Side::Ingress).unwrap();
        let order: Vec<_> = found.iter().map(|it| it.program).collect();
        assert_eq!(order, [Some(early.id()), Some(late.id())]);
    });
    assert_eq!(wire.answers(2), 2);
    assert!(late.count() >= 2);
    wire.host
        .run(|| clsact::put(&stop.program, slot(3)).unwrap());
    // Only now: the kernels at both ends send frames of their own.
    let (early_before, late_before) = (early.count(), late.count());
    assert_eq!(wire.answers(2), 0);
    assert!(stop.count() > 0);
    assert_eq!((early.count(), late.count()), (early_before, late_before));
}

#[test]
fn an_interface_that_is_gone_is_said_to_be_gone() {
    let (wire, counter) = (Wire::new(), Counter::new(verdict::UNSPEC));
    let kept = wire
        .host
        .run(|| tcx::attach(&counter.program, wire.index, Side::Ingress, Place::First).unwrap());
    wire.host.ip("link del p0").unwrap();
    wire.host.run(|| {
        let attached = tcx::attach(&counter.program, wire.index, Side::Ingress, Place::First);
        assert!(
            matches!(attached, Err(LoadError::Gone { .. })),
            "{attached:?}"
        );
        let qdisc = clsact::add_qdisc(wire.index);
        assert!(matches!(qdisc, Err(LoadError::Gone { .. })), "{qdisc:?}");
    });
    drop(kept);
}
