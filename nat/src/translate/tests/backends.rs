//! A published port with several backends: a new connection goes to one, and stays there.

use super::rig::*;
use crate::{Inside, PortRange, Publication, Published, Tables};
use pipeline::DropReason;
use std::collections::BTreeMap;
use wire::IpProtocol;

const OUTSIDE: &str = "198.51.100.1:8080";

fn backend(protocol: IpProtocol, to: Inside) -> Publication {
    Publication {
        protocol,
        host: None,
        ports: PortRange::new(8_080, 8_080).unwrap(),
        to,
    }
}

fn backends() -> [Inside; 3] {
    [
        inside(WEB, "10.0.0.2:80"),
        inside(WEB, "10.0.0.3:80"),
        inside(DB, "10.1.0.2:80"),
    ]
}

fn serving(rig: &mut Rig, backends: &[Inside]) {
    let of = |protocol| backends.iter().map(move |&to| backend(protocol, to));
    let all: Vec<_> = of(TCP).chain(of(UDP)).collect();
    rig.published = Published::new(&all).unwrap();
}

/// The address and port of client `n`: a few hosts with many connections each.
fn client(n: u16) -> String {
    format!("198.51.100.{}:{}", 10 + n % 7, 20_000 + n)
}

/// Counts the connections of a thousand clients by the backend that they went to.
fn served(rig: &Rig) -> BTreeMap<Inside, u32> {
    let mut served = BTreeMap::new();
    for n in 0..1_000 {
        let (to, there) = rig.receive(&syn(&client(n), OUTSIDE)).unwrap();
        assert_eq!(there.dst, to.addr);
        *served.entry(to).or_default() += 1;
    }
    served
}

/// Five standard deviations of a fair choice: one in a million clients' worth of luck.
#[test]
fn a_thousand_clients_are_spread_evenly() {
    for seed in 0..20 {
        let mut rig = Rig::new(EIM_APDF);
        rig.tables = Tables::new(1 << 16, seed);
        serving(&mut rig, &backends());
        let served = served(&rig);
        assert_eq!(served.len(), 3);
        for (backend, count) in served {
            assert!((259..=408).contains(&count), "{backend:?}: {count} of 1000");
        }
    }
}

#[test]
fn a_connection_stays_and_a_new_one_goes_to_who_is_left() {
    let mut rig = Rig::new(EIM_APDF);
    let all = backends();
    serving(&mut rig, &all);
    let mut before = Vec::new();
    for n in 0..100 {
        before.push(rig.receive(&udp(&client(n), OUTSIDE)).unwrap());
        // A retransmission.
        assert_eq!(
            rig.receive(&udp(&client(n), OUTSIDE)).unwrap(),
            before[n as usize]
        );
    }
    serving(&mut rig, &all[..2]);
    for n in 0..100 {
        let (was, _) = before[n as usize];
        if was != all[2] {
            let (to, _) = rig.receive(&udp(&client(n), OUTSIDE)).unwrap();
            assert_eq!(to, was, "the connection of client {n}");
        }
    }
    let mut rig = Rig::new(EIM_APDF);
    serving(&mut rig, &all[..2]);
    let served = served(&rig);
    assert!(served.keys().eq(&all[..2]), "{served:?}");
    serving(&mut rig, &[]);
    let unpublished = rig.receive(&syn("198.51.100.9:1", OUTSIDE));
    assert_eq!(unpublished, Err(DropReason::NoMapping));
}

/// A port that is published itself calls: also then the lookup must not depend on the choice.
#[test]
fn a_hairpin_stays_where_it_began() {
    let mut rig = Rig::new(EIM_APDF);
    let all = backends();
    serving(&mut rig, &all);
    let published = |from: u16| Publication {
        ports: PortRange::new(from, from).unwrap(),
        ..backend(UDP, inside(WEB, &format!("10.0.0.9:{from}")))
    };
    for from in 30_000..30_040 {
        for is_published in [false, true] {
            let list = |backends: &[Inside]| {
                let own = is_published.then(|| published(from));
                let all = backends.iter().map(|&to| backend(UDP, to)).chain(own);
                Published::new(&all.collect::<Vec<_>>()).unwrap()
            };
            rig.published = list(&all);
            rig.tables = Tables::new(1 << 10, u64::from(from));
            let call = udp(&format!("10.0.0.9:{from}"), OUTSIDE);
            let (to, there) = rig.turn(WEB, &call).unwrap();
            let others: Vec<_> = all.into_iter().filter(|other| *other != to).collect();
            rig.published = list(&[&[to], &others[..1]].concat());
            assert_eq!(rig.turn(WEB, &call), Ok((to, there)));
            let answer = udp(&there.dst.to_string(), &there.src.to_string());
            let (back, seen) = rig.turn(to.network, &answer).unwrap();
            assert_eq!(back, inside(WEB, &format!("10.0.0.9:{from}")));
            assert_eq!(seen.src, addr(OUTSIDE));
            assert_eq!(rig.list().len(), 1);
        }
    }
}
