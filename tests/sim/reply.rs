//! What is said about the answer to a packet that was not really there, is what happens to the
//! answer when it was.

use crate::rig::Rig;
use crate::site::{A, B, C, Guest, HOP, OURS, Site, WEB, WORLD, WORLD6, packet};
use dataplane::Outcome;
use nat::Policy;
use nat::config::EndpointRules;
use nat::{ExternalPrefix, Masquerade};
use pipeline::{Decision, DropReason, Instant};
use std::net::IpAddr;
use wire::craft::TcpSegment;
use wire::{IpProtocol, TcpFlags, VnetHeader};

const NOW: Instant = Instant::from_secs(5);

fn syn(packet: &wire::craft::Packet, dst_port: u16) -> Vec<u8> {
    packet.tcp(TcpSegment {
        src_port: 33_000,
        dst_port,
        flags: TcpFlags::SYN,
        ..TcpSegment::default()
    })
}

/// Asks about `frame` and its answer, then sends both: as was said, so it happens.
pub(crate) fn holds(site: &Site, from: Guest, frame: &[u8]) -> Result<(), DropReason> {
    let mut rig = site.rig();
    let plain = VnetHeader::default();
    let explained = rig.explain(from.port, frame, plain, NOW);
    let reply = rig.explain_reply(from.port, frame, &explained, NOW);
    let reply = reply.expect("it is answered");
    assert!(rig.is_untouched(), "a question changed something");

    let left = rig.carry(from.port, frame, plain, NOW);
    let [left] = left.as_slice() else {
        panic!("{left:?}")
    };
    assert_eq!(left.port, reply.from);
    let back = rig.carry(reply.from, &reply.bytes, plain, NOW);
    match &reply.explanation.verdict {
        Ok(Outcome::Routed { .. }) => {
            assert_eq!(back.len(), 1);
            assert_eq!(back[0].port, from.port);
            assert_eq!(Some(&back[0].bytes), reply.explanation.rewritten.as_ref());
            Ok(())
        }
        Ok(Outcome::Switched(_) | Outcome::Taken) => panic!("the answer is not routed"),
        Err(reason) => {
            // Its sender may be told why.
            assert!(back.iter().all(|left| left.port != from.port));
            assert_eq!(rig.dropped(*reason), 1);
            Err(*reason)
        }
    }
}

#[test]
fn the_answer_to_a_new_connection_comes_back() {
    let site =
        Site::new()
            .publish(IpProtocol::TCP, 8080, A, 80)
            .publish(IpProtocol::TCP, 8081, B, 80);
    let world = |frame: &dyn Fn(&wire::craft::Packet) -> Vec<u8>| {
        [
            frame(&packet(A, A.v4.into(), WORLD.into())),
            frame(&packet(A, A.v6.into(), WORLD6.into())),
        ]
    };
    for frame in world(&|p| syn(p, 443))
        .into_iter()
        .chain(world(&|p| p.udp(33_000, 53, b"?")))
        .chain(world(&|p| p.echo_request(7, 1, b"ping")))
    {
        assert_eq!(holds(&site, A, &frame), Ok(()));
    }
    let inbound = syn(&packet(HOP, WORLD.into(), OURS.into()), 8080);
    assert_eq!(holds(&site, HOP, &inbound), Ok(()));
    let hairpin = syn(&packet(C, C.v4.into(), OURS.into()), 8081);
    assert_eq!(holds(&site, C, &hairpin), Ok(()));
}

#[test]
fn the_backend_that_a_new_connection_gets_is_told() {
    let site =
        Site::new()
            .publish(IpProtocol::TCP, 8080, A, 80)
            .publish(IpProtocol::TCP, 8080, B, 80);
    let inbound = syn(&packet(HOP, WORLD.into(), OURS.into()), 8080);
    assert_eq!(holds(&site, HOP, &inbound), Ok(()));
    let hairpin = syn(&packet(C, C.v4.into(), OURS.into()), 8080);
    assert_eq!(holds(&site, C, &hairpin), Ok(()));

    let mut rig = site.rig();
    let plain = VnetHeader::default();
    let told = |rig: &Rig| {
        let explained = rig.explain(HOP.port, &inbound, plain, NOW);
        let mut steps = explained.steps.into_iter();
        steps.find(|step| matches!(step, Decision::BackendChosen { .. }))
    };
    let Some(Decision::BackendChosen { of, backend, .. }) = told(&rig) else {
        panic!("there are several");
    };
    assert_eq!(of, 2);
    let left = rig.carry(HOP.port, &inbound, plain, NOW);
    let to = if backend.ip == IpAddr::from(A.v4) {
        A
    } else {
        B
    };
    assert_eq!((left.len(), left[0].port), (1, to.port));
    assert_eq!(told(&rig), None, "the connection has its backend");
}

#[test]
fn also_where_prefixes_or_nothing_is_translated() {
    let prefix = "2001:db8:aaaa::/64".parse().unwrap();
    let out = syn(&packet(A, A.v6.into(), WORLD6.into()), 443);
    let prefixed = Site::new().inside(WEB, |web| {
        web.settings.nptv6 = ExternalPrefix::Prefix(prefix);
    });
    assert_eq!(holds(&prefixed, A, &out), Ok(()));
    let routed = Site::new().inside(WEB, |web| web.settings.masquerade = Masquerade::Off);
    assert_eq!(holds(&routed, A, &out), Ok(()));
}

#[test]
fn an_answer_that_does_not_fit_is_named() {
    // What the world sends has fewer bytes to spare on the way in than it had on the way out.
    let site = Site::new().interface(WEB, |web| web.mtu = 60);
    let ping = packet(A, A.v4.into(), WORLD.into()).echo_request(7, 1, &[7; 100]);
    assert_eq!(holds(&site, A, &ping), Err(DropReason::FragmentationNeeded));
}

#[test]
fn rules_let_answers_in_that_let_nothing_else_in() {
    let nobody = Policy {
        rules: vec!["deny in any".parse().unwrap()],
        ..Policy::default()
    };
    let site = Site::new().configured(|config| {
        config.rules.push(EndpointRules {
            network: WEB,
            ip: A.v4.into(),
            policy: nobody,
        });
    });
    let out = syn(&packet(A, A.v4.into(), WORLD.into()), 443);
    assert_eq!(holds(&site, A, &out), Ok(()));
}

#[test]
fn what_reaches_nobody_gets_no_answer() {
    let rig = Site::new().rig();
    let frame = syn(&packet(A, A.v4.into(), B.v4.into()), 80);
    let explained = rig.explain(A.port, &frame, VnetHeader::default(), NOW);
    assert_eq!(explained.verdict, Err(DropReason::NetworkIsolated));
    assert_eq!(rig.explain_reply(A.port, &frame, &explained, NOW), None);
}
