//! A plain, slow NAT that the tables are compared with, packet by packet.
//!
//! It keeps a list of connections and searches it. It does not choose ports: it is told which one
//! the tables chose, and judges whether they might.

use super::rig::*;
use crate::table::Tables;
use crate::{Behaviour, Dependence, PortChoice, TransportAddr, Tuple};
use pipeline::{DropReason, Effects, Instant};
use proptest::prelude::*;
use std::time::Duration;

#[derive(Debug, Clone, Copy)]
struct Known {
    inside: TransportAddr,
    external: TransportAddr,
    peer: TransportAddr,
    from_inside: bool,
    answered: bool,
    last: Instant,
}

struct Oracle {
    behaviour: Behaviour,
    known: Vec<Known>,
}

impl Known {
    fn is_wanted(&self) -> bool {
        self.from_inside || self.answered
    }

    fn pass(&mut self, from_inside: bool, now: Instant) {
        self.answered |= from_inside != self.from_inside;
        if from_inside || self.is_wanted() {
            self.last = now;
        }
    }
}

impl Oracle {
    fn forget(&mut self, now: Instant) {
        let timeouts = self.behaviour.timeouts;
        self.known.retain(|known| {
            let timeout = if known.answered {
                timeouts.udp
            } else {
                timeouts.udp_one_way
            };
            now.since(known.last) < timeout
        });
    }

    fn shares(&self) -> bool {
        self.behaviour.mapping == Dependence::AddressAndPortDependent
            && self.behaviour.filtering == Dependence::AddressAndPortDependent
    }

    fn is_free(&self, port: u16, peer: TransportAddr) -> bool {
        !self
            .known
            .iter()
            .any(|known| known.external.port == port && (!self.shares() || known.peer == peer))
    }

    fn out(
        &mut self,
        inside: TransportAddr,
        peer: TransportAddr,
        got: TransportAddr,
        now: Instant,
    ) {
        self.forget(now);
        if let Some(known) = self
            .known
            .iter_mut()
            .find(|known| known.inside == inside && known.peer == peer)
        {
            assert_eq!(got, known.external, "a known connection");
            known.pass(true, now);
            return;
        }
        let mapping = self.behaviour.mapping;
        let joins = |known: &&Known| {
            known.inside == inside
                && match mapping {
                    Dependence::EndpointIndependent => true,
                    Dependence::AddressDependent => known.peer.ip == peer.ip,
                    Dependence::AddressAndPortDependent => false,
                }
        };
        let joined = self.known.iter().find(joins).map(|known| known.external);
        let own = inside.port;
        let preserves = self.behaviour.ports == PortChoice::Preserve;
        if let Some(external) = joined {
            assert_eq!(got, external, "the mapping it has");
        } else {
            assert!(self.is_free(got.port, peer), "{got} is taken");
            assert!(got.port >= 49_152);
            assert_eq!(Tables::of_port(got.port), Tables::of_port(own));
            if preserves {
                assert_eq!(got.port % 2, own % 2, "parity");
                if own >= 49_152 && self.is_free(own, peer) {
                    assert_eq!(got.port, own, "preserved");
                }
            }
        }
        self.known.push(Known {
            inside,
            external: got,
            peer,
            from_inside: true,
            answered: false,
            last: now,
        });
    }

    fn back(
        &mut self,
        peer: TransportAddr,
        external: TransportAddr,
        now: Instant,
    ) -> Result<TransportAddr, DropReason> {
        self.forget(now);
        if let Some(known) = self
            .known
            .iter_mut()
            .find(|known| known.external == external && known.peer == peer)
        {
            known.pass(false, now);
            return Ok(known.inside);
        }
        let mut mapping = self.known.iter().filter(|known| known.external == external);
        let first = *mapping.clone().next().ok_or(DropReason::NoMapping)?;
        let strange =
            self.behaviour.mapping == Dependence::AddressDependent && first.peer.ip != peer.ip;
        let opens = match self.behaviour.filtering {
            Dependence::EndpointIndependent => mapping.any(Known::is_wanted),
            Dependence::AddressDependent => {
                mapping.any(|known| known.is_wanted() && known.peer.ip == peer.ip)
            }
            Dependence::AddressAndPortDependent => false,
        };
        let talks = |known: &Known| known.inside == first.inside && known.peer == peer;
        if strange || !opens || self.known.iter().any(talks) {
            return Err(DropReason::Filtered);
        }
        self.known.push(Known {
            peer,
            from_inside: false,
            answered: false,
            last: now,
            ..first
        });
        Ok(first.inside)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Out { host: u8, port: u16, peer: u8 },
    Back { peer: u8, nth: usize },
    Wait(u16),
    Sweep(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    let port = prop_oneof![
        proptest::sample::select(vec![50_000u16, 50_001, 50_002, 50_032]),
        proptest::sample::select(vec![1_000u16, 1_001, 1_032]),
    ];
    prop_oneof![
        5 => (0..4u8, port, 0..9u8).prop_map(|(host, port, peer)| Step::Out { host, port, peer }),
        5 => (0..9u8, any::<usize>()).prop_map(|(peer, nth)| Step::Back { peer, nth }),
        2 => (1..70u16).prop_map(Step::Wait),
        1 => (0..64usize).prop_map(Step::Sweep),
    ]
}

fn any_behaviour() -> impl Strategy<Value = Behaviour> {
    let mappings = vec![
        Dependence::EndpointIndependent,
        Dependence::AddressDependent,
        Dependence::AddressAndPortDependent,
    ];
    let filterings = vec![
        Dependence::EndpointIndependent,
        Dependence::AddressDependent,
        Dependence::AddressAndPortDependent,
    ];
    let ports = vec![PortChoice::Preserve, PortChoice::Random];
    let select = proptest::sample::select::<Dependence>;
    (
        select(mappings),
        proptest::sample::select(filterings),
        proptest::sample::select(ports),
    )
        .prop_map(|(mapping, filtering, ports)| {
            let mut behaviour = Behaviour {
                mapping,
                filtering,
                ports,
                ..EIM_APDF
            };
            behaviour.timeouts.udp_one_way = Duration::from_secs(30);
            behaviour.timeouts.udp = Duration::from_secs(120);
            behaviour
        })
}

/// Three addresses of three ports.
fn peer_addr(peer: u8) -> TransportAddr {
    addr(&format!("198.51.100.{}:{}", 10 + peer / 3, 53 + peer % 3))
}

fn same(oracle: &Oracle, wanted: Result<TransportAddr, DropReason>, got: &GotIn) {
    let got = got
        .as_ref()
        .map(|(to, _)| to.addr)
        .map_err(|reason| *reason);
    // Whether a shared port is nobody's or another peer's is known only once it is swept.
    let unsure =
        oracle.shares() && wanted == Err(DropReason::NoMapping) && got == Err(DropReason::Filtered);
    assert!(unsure || got == wanted, "{got:?}, not {wanted:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn the_tables_do_what_a_plain_list_does(
        behaviour in any_behaviour(),
        steps in proptest::collection::vec(any_step(), 1..120),
    ) {
        let mut rig = Rig::new(behaviour);
        let mut oracle = Oracle { behaviour, known: Vec::new() };
        let mut used = vec![addr("198.51.100.1:50000")];
        for step in steps {
            match step {
                Step::Out { host, port, peer } => {
                    let src = addr(&format!("10.0.0.{}:{port}", 2 + host));
                    let sent = flow(Tuple { protocol: UDP, src, dst: peer_addr(peer) });
                    rig.effects = Effects::None;
                    let asked = rig.send(WEB, &sent).unwrap();
                    rig.effects = Effects::Live;
                    let got = rig.send(WEB, &sent).unwrap();
                    prop_assert_eq!(asked, got, "a question answers as a packet does");
                    oracle.out(src, peer_addr(peer), got.src, rig.now);
                    used.push(got.src);
                }
                Step::Back { peer, nth } => {
                    let external = used[nth % used.len()];
                    let answer = flow(Tuple { protocol: UDP, src: peer_addr(peer), dst: external });
                    rig.effects = Effects::None;
                    let asked = rig.receive(&answer);
                    rig.effects = Effects::Live;
                    let got = rig.receive(&answer);
                    prop_assert_eq!(asked, got);
                    let wanted = oracle.back(peer_addr(peer), external, rig.now);
                    same(&oracle, wanted, &got);
                }
                Step::Wait(secs) => rig.secs(secs.into()),
                Step::Sweep(budget) => {
                    rig.tables.expire(&rig.settings, rig.now, budget);
                }
            }
            oracle.forget(rig.now);
            prop_assert_eq!(rig.list().len(), oracle.known.len());
        }
    }
}
