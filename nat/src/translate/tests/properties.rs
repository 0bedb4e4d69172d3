//! Properties of every flow.

use super::rig::*;
use crate::table::visits;
use crate::{Behaviour, Flow, Inside, PortRange, Publication, Published, Tuple};
use pipeline::NetworkId;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Published: UDP 7000-7099 to 10.0.0.9:100-199 in WEB, 7200-7299 to the same ports 300-399 of 10.1.0.9
/// and 10.1.0.10 in DB, and TCP likewise.
fn publishing(behaviour: Behaviour) -> Rig {
    let mut rig = Rig::new(behaviour);
    let publish = |protocol, first: u16, to| Publication {
        protocol,
        host: None,
        ports: PortRange::new(first, first + 99).unwrap(),
        to,
    };
    let all: Vec<_> = [UDP, TCP]
        .into_iter()
        .flat_map(|protocol| {
            [
                publish(protocol, 7_000, inside(WEB, "10.0.0.9:100")),
                publish(protocol, 7_200, inside(DB, "10.1.0.9:300")),
                publish(protocol, 7_200, inside(DB, "10.1.0.10:300")),
            ]
        })
        .collect();
    rig.published = Published::new(&all).unwrap();
    rig
}

fn any_behaviour() -> impl Strategy<Value = Behaviour> {
    let all = [EIM_EIF, EIM_ADF, EIM_APDF, ADM_APDF, APDM_APDF, APDM_EIF];
    (proptest::sample::select(all.to_vec()), any::<bool>()).prop_map(|(behaviour, at_random)| {
        if at_random {
            random(behaviour)
        } else {
            behaviour
        }
    })
}

/// An inside port, published or not.
fn any_inside() -> impl Strategy<Value = Inside> {
    prop_oneof![
        (2..9u8, 1u16..).prop_map(|(host, port)| inside(WEB, &format!("10.0.0.{host}:{port}"))),
        (100..200u16).prop_map(|port| inside(WEB, &format!("10.0.0.9:{port}"))),
        (300..400u16).prop_map(|port| inside(DB, &format!("10.1.0.9:{port}"))),
    ]
}

fn any_peer() -> impl Strategy<Value = String> {
    (2..200u8, 1u16..).prop_map(|(host, port)| format!("198.51.100.{host}:{port}"))
}

/// The flow's first packet, and its answer.
fn pair(tuple: Tuple) -> (Flow, Flow) {
    if tuple.protocol == TCP {
        (
            segment(tuple, SYN, 100, 0),
            segment(tuple.reversed(), SYN_ACK, 500, 101),
        )
    } else {
        (flow(tuple), flow(tuple.reversed()))
    }
}

/// How the answer to a packet with this tuple looks.
fn answer(protocol: wire::IpProtocol, got: crate::Translation) -> Flow {
    let tuple = Tuple {
        protocol,
        src: got.src,
        dst: got.dst,
    };
    pair(tuple).1
}

fn any_protocol() -> impl Strategy<Value = wire::IpProtocol> {
    proptest::sample::select(vec![UDP, TCP])
}

/// Runs `what`, and says that it asked one shard and which.
fn one_shard<T>(what: impl FnOnce() -> T) -> (T, usize) {
    visits::take();
    let got = what();
    let visited: Vec<_> = visits::take().into_iter().collect();
    assert_eq!(visited.len(), 1, "one shard");
    (got, visited[0])
}

proptest! {
    #[test]
    fn out_and_back_are_one_shard_and_the_identity(
        behaviour in any_behaviour(),
        inside in any_inside(),
        peer in any_peer(),
        protocol in any_protocol(),
    ) {
        let rig = publishing(behaviour);
        let sent = Tuple { protocol, src: inside.addr, dst: addr(&peer) };
        let (first, _) = pair(sent);
        let (out, shard) = one_shard(|| rig.send(inside.network, &first).unwrap());
        prop_assert_eq!(out.dst, sent.dst);
        prop_assert_eq!(out.src.ip, ip("198.51.100.1"));
        let reply = answer(protocol, out);
        let ((to, back), same) = one_shard(|| rig.receive(&reply).unwrap());
        prop_assert_eq!(same, shard);
        prop_assert_eq!(to, inside);
        prop_assert_eq!((back.src, back.dst), (sent.dst, sent.src));

        let (related, same) = one_shard(|| {
            rig.translator().related_inbound(&reply.tuple.reversed(), &rig.external()).unwrap()
        });
        prop_assert_eq!(same, shard);
        prop_assert_eq!((related.quoted.src, related.quoted.dst), (sent.src, sent.dst));
        prop_assert_eq!(related.receiver, inside);
        let (related, same) = one_shard(|| {
            let quoted = sent.reversed();
            rig.translator().related_outbound(inside.network, &quoted, &rig.external()).unwrap()
        });
        prop_assert_eq!(same, shard);
        prop_assert_eq!((related.quoted.src, related.quoted.dst), (out.dst, out.src));
    }

    #[test]
    fn in_and_back_are_one_shard_and_the_identity(
        port in prop_oneof![7_000..7_100u16, 7_200..7_300u16],
        peer in any_peer(),
        protocol in any_protocol(),
    ) {
        let rig = publishing(EIM_APDF);
        let (call, _) = pair(tuple(protocol, &peer, &format!("198.51.100.1:{port}")));
        let ((to, there), shard) = one_shard(|| rig.receive(&call).unwrap());
        prop_assert_eq!(there.src, call.tuple.src);
        prop_assert_eq!(there.dst, to.addr);
        let reply = answer(protocol, there);
        let (back, same) = one_shard(|| rig.send(to.network, &reply).unwrap());
        prop_assert_eq!(same, shard);
        prop_assert_eq!((back.src, back.dst), (call.tuple.dst, call.tuple.src));
        let (related, same) = one_shard(|| {
            let quoted = reply.tuple.reversed();
            rig.translator().related_outbound(to.network, &quoted, &rig.external()).unwrap()
        });
        prop_assert_eq!(same, shard);
        prop_assert_eq!(related.quoted.dst, call.tuple.dst);
    }

    #[test]
    fn a_hairpin_to_a_published_port_and_back_are_one_shard_and_the_identity(
        behaviour in any_behaviour(),
        inside in any_inside(),
        port in prop_oneof![7_000..7_100u16, 7_200..7_300u16],
        protocol in any_protocol(),
    ) {
        let rig = publishing(behaviour);
        let known_as = addr(&format!("198.51.100.1:{port}"));
        let sent = Tuple { protocol, src: inside.addr, dst: known_as };
        let targets: Vec<_> = rig.published.backends_of(protocol, known_as).collect();
        prop_assume!(!targets.contains(&inside));
        let (call, _) = pair(sent);
        let ((to, there), shard) = one_shard(|| rig.turn(inside.network, &call).unwrap());
        prop_assert!(targets.contains(&to));
        prop_assert_eq!(there.dst, to.addr);
        prop_assert_eq!(there.src.ip, ip("198.51.100.1"));
        let reply = answer(protocol, there);
        let ((back_to, back), same) = one_shard(|| rig.turn(to.network, &reply).unwrap());
        prop_assert_eq!(same, shard);
        prop_assert_eq!(back_to, inside);
        prop_assert_eq!((back.src, back.dst), (known_as, inside.addr));
        let (related, same) = one_shard(|| {
            let quoted = reply.tuple.reversed();
            rig.translator().related_hairpin(to.network, &quoted, &rig.external()).unwrap()
        });
        prop_assert_eq!(same, shard);
        prop_assert_eq!((related.quoted.src, related.quoted.dst), (sent.src, sent.dst));
        prop_assert_eq!(related.receiver, inside);
    }

    #[test]
    fn a_followed_flow_is_one_shard(
        a in any_inside(),
        peer in any_peer(),
        protocol in any_protocol(),
    ) {
        let rig = publishing(EIM_APDF);
        let (call, reply) = pair(Tuple { protocol, src: a.addr, dst: addr(&peer) });
        let follow = |from, to, flow: &Flow| {
            one_shard(|| rig.translator().follow(from, to, flow, || Ok(())).unwrap()).1
        };
        let shard = follow(a.network, UP, &call);
        prop_assert_eq!(follow(UP, a.network, &reply), shard);
        prop_assert_eq!(rig.tables.len(), 1);
        let (_, same) = one_shard(|| {
            rig.translator().related_followed(a.network, UP, &reply.tuple).unwrap()
        });
        prop_assert_eq!(same, shard);
    }

    #[test]
    fn no_two_live_mappings_share_an_external_port(
        behaviour in any_behaviour(),
        flows in proptest::collection::vec((any_inside(), any_peer()), 1..300),
    ) {
        let rig = publishing(behaviour);
        for (inside, peer) in &flows {
            let sent = Tuple { protocol: UDP, src: inside.addr, dst: addr(peer) };
            let _ = rig.send(inside.network, &flow(sent));
        }
        let shared = behaviour.mapping == APDM_APDF.mapping
            && behaviour.filtering == APDM_APDF.filtering;
        let mut owners = BTreeMap::new();
        for entry in rig.list() {
            let end = entry.inside();
            let seen = end.seen_as.unwrap();
            let peer = shared.then_some(entry.peer().addr);
            let owner: (NetworkId, _) = (end.network, end.addr);
            let first = *owners.entry((seen, peer)).or_insert(owner);
            prop_assert_eq!(first, owner, "both are {}", seen);
        }
    }
}
