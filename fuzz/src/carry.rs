//! Any frames, from any ports, through the whole straight line of a small switch.
//!
//! ```text
//!   data:  [ | port 1 | length 2 | virtio header 10 | frame … | ] …
//!
//!   network 1   0 access 1 (mirrored to 6)   1 trunk 1,10,20 native 1   2 access 1, locked
//!               3, 4 access 10, isolated     5 tunnel 20                6 the mirror
//!   network 2   7 access 1                   8 trunk of all
//! ```
//! Network 1 has its gateway in VLAN 10.

use dataplane::{Line, Outcome};
use nat::{Outbox, Router};
use pipeline::{
    Context, DropReason, Frame, HEADROOM, Instant, MAX_FRAME, NetworkId, NoTrace, PortId, Recorder,
    Tunnel,
};
use std::sync::Arc;
use std::time::Duration;
use switch::fdb::{Fdb, FdbConfig};
use switch::{
    Form, Gateway, Lock, Mirror, Network, Outputs, Port, Topology, VlanMode, VlanSet, reform,
};
use wire::{Headers, MacAddr, Net, VlanId, VlanTag, VnetHeader, check_vnet};

/// The addresses port 2 is locked to.
pub(crate) const LOCKED_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 3]);
/// See [`LOCKED_MAC`].
pub(crate) const LOCKED_IP: [u8; 4] = [10, 0, 0, 3];

/// The gateway's address in network 1.
pub(crate) const GATEWAY_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xfe]);

const MIRROR: PortId = PortId(6);
const LOCKED: PortId = PortId(2);
/// The ports that carry the gateway's VLAN and no other.
const BESIDE_GATEWAY: [PortId; 2] = [PortId(3), PortId(4)];
pub(crate) const PORTS: u8 = 9;

/// Carries the frames in `data`, one after the other.
///
/// # Panics
/// When a frame goes where it must not, in a form its receiver cannot read, or when a question
/// about it is answered otherwise than the live frame.
pub fn pipeline(data: &[u8]) {
    let vlan = VlanId::new(10).expect("a VLAN from 1 to 4094");
    let topology = topology(Some(Gateway {
        mac: GATEWAY_MAC,
        vlan,
    }));
    let mut now = Instant::ZERO;
    let mut rest = data;
    while let Some((record, after)) = Record::take(rest) {
        rest = after;
        now = now + Duration::from_secs(1);
        carry(&topology, &record, now);
    }
}

/// One frame of the input.
pub(crate) struct Record<'a> {
    pub(crate) from: PortId,
    pub(crate) vnet: VnetHeader,
    pub(crate) frame: &'a [u8],
}

impl<'a> Record<'a> {
    pub(crate) fn take(data: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&[port, high, low], rest) = data.split_first_chunk::<3>()?;
        let (&vnet, rest) = rest.split_first_chunk::<{ VnetHeader::LEN }>()?;
        let (frame, rest) =
            rest.split_at(usize::from(u16::from_be_bytes([high, low])).min(rest.len()));
        let from = PortId(u16::from(port % PORTS));
        Some((
            Self {
                from,
                vnet: VnetHeader::from_bytes(vnet),
                frame: &frame[..frame.len().min(MAX_FRAME)],
            },
            rest,
        ))
    }
}

fn carry(topology: &Topology, record: &Record<'_>, now: Instant) {
    let mut room = vec![0; HEADROOM];
    room.extend_from_slice(record.frame);
    let end = room.len();
    let mut frame = Frame::new(&mut room, HEADROOM, end, record.vnet);

    let (mut asked, mut out, mut trace) =
        (Outputs::default(), Outputs::default(), Recorder::default());
    let (router, mut outbox) = (Router::default(), Outbox::default());
    let mut question = Line {
        topology,
        router: &router,
        context: Context::question(now, &mut trace),
        out: &mut asked,
        outbox: &mut outbox,
    };
    let answer = question.process(&frame, record.from);
    let mut line = Line {
        topology,
        router: &router,
        context: Context::live(now, NoTrace),
        out: &mut out,
        outbox: &mut outbox,
    };
    let verdict = line.process(&frame, record.from);
    let headers = Headers::parse(record.frame);
    assert_eq!(
        (answer, &asked.transmits),
        (verdict, &out.transmits),
        "{:?}",
        trace.decisions
    );
    let Ok(headers) = headers else {
        assert!(verdict.is_err() && out.transmits.is_empty());
        return;
    };
    if verdict.is_ok() {
        assert!(headers.src.is_valid_source());
        assert!(record.from != LOCKED || is_honest(&headers), "{headers:?}");
        assert_reaches_its_gateway(topology, record.from, &headers, verdict, &out);
    }

    let mut form = out.arrived;
    for copy in &out.transmits {
        let to = topology
            .port(copy.port)
            .expect("only ports that exist are sent to");
        let from = topology
            .port(record.from)
            .expect("every port of the input exists");
        assert!(
            copy.port == MIRROR || verdict.is_ok(),
            "a dropped frame goes to a mirror at most"
        );
        assert_eq!(to.membership, from.membership);
        assert_ne!(copy.port, record.from);
        assert!(!(from.isolated && to.isolated));
        reform(&mut frame, &mut form, copy.form);
        assert_readable(&frame, &headers, copy.form);
    }
}

/// Nobody speaks for the gateway; what is for it stays within its network, and leaves by no port.
fn assert_reaches_its_gateway(
    topology: &Topology,
    from: PortId,
    headers: &Headers,
    verdict: Result<Outcome, DropReason>,
    out: &Outputs,
) {
    let ingress = topology
        .ingress(from, Tunnel::default())
        .expect("a frame that is carried entered by a port");
    let for_it = ingress.network.gateway.is_some() && headers.dst == GATEWAY_MAC;
    assert!(ingress.network.gateway.is_none() || headers.src != GATEWAY_MAC);
    // The router is attached to nothing: what is for it goes nowhere.
    let switched = matches!(verdict, Ok(Outcome::Switched(_)));
    assert!(
        switched && !(for_it && BESIDE_GATEWAY.contains(&from)),
        "{verdict:?} {out:?}"
    );
}

/// The frame still is what arrived, but for its tag, and its virtio header still fits it.
fn assert_readable(frame: &Frame<'_>, arrived: &Headers, form: Form) {
    let Ok(now) = Headers::parse(frame.bytes()) else {
        // A third tag, cut short, is cargo until one of the two before it is taken off.
        assert!(
            VlanTag::is_tpid(arrived.ethertype.0),
            "a frame keeps its headers"
        );
        return;
    };
    assert_eq!((now.src, now.dst), (arrived.src, arrived.dst));
    if let Form::Tagged(tag) = form {
        assert_eq!(now.outer, Some(tag));
    }
    // Around two tags of its own, a third hides the frame's network header.
    if now.ethertype == arrived.ethertype {
        assert_eq!(addresses(&now), addresses(arrived));
        assert_eq!(now.transport.ports(), arrived.transport.ports());
        assert_eq!(check_vnet(&frame.vnet, &now, frame.len()), Ok(()));
    }
}

/// Returns whether a frame speaks only for the locked port's addresses, as far as IPv4 and ARP go.
fn is_honest(headers: &Headers) -> bool {
    let own = [LOCKED_IP.into(), [0, 0, 0, 0].into()];
    headers.src == LOCKED_MAC
        && match headers.net {
            Net::Arp(arp) => arp.sender_mac == LOCKED_MAC && own.contains(&arp.sender_ip),
            Net::Ipv4(ip) => own.contains(&ip.src),
            Net::Ipv6(ip) => ip.src.is_unicast_link_local() || ip.src.is_unspecified(),
            Net::Malformed(_) => false,
            Net::Other => true,
        }
}

/// The addresses of the network header, for comparison.
fn addresses(headers: &Headers) -> String {
    match headers.net {
        Net::Arp(arp) => format!("{arp:?}"),
        Net::Ipv4(ip) => format!("{} {}", ip.src, ip.dst),
        Net::Ipv6(ip) => format!("{} {}", ip.src, ip.dst),
        Net::Malformed(why) => format!("{why:?}"),
        Net::Other => String::new(),
    }
}

/// The small switch above, with this gateway in network 1.
pub(crate) fn topology(gateway: Option<Gateway>) -> Topology {
    let vlan = |id| VlanId::new(id).expect("a VLAN from 1 to 4094");
    // Few enough to be made for every input, and to become full.
    let few = FdbConfig {
        max_entries: 16,
        ..FdbConfig::default()
    };
    let network = |id, gateway| Network {
        id: NetworkId(id),
        mtu: 1500,
        forward_reserved: false,
        fdb: Arc::new(Fdb::new(few, 1)),
        key: None,
        gateway,
    };
    let plain = |id| Port::plain(PortId(id), NetworkId(1));
    let some = VlanSet::listed(&[1, 10, 20].map(vlan));
    let lock = Lock {
        mac: LOCKED_MAC,
        ipv4: vec![LOCKED_IP.into()],
        ipv6: Vec::new(),
    };
    let mirror = Mirror {
        to: MIRROR,
        ingress: true,
        egress: true,
    };
    let ports = vec![
        Port {
            mirror: Some(mirror),
            ..plain(0)
        },
        Port {
            vlan: VlanMode::Trunk {
                allowed: some,
                native: Some(vlan(1)),
                native_tagged: false,
            },
            ..plain(1)
        },
        Port {
            lock: Some(lock),
            ..plain(2)
        },
        Port {
            vlan: VlanMode::Access { vid: vlan(10) },
            isolated: true,
            ..plain(3)
        },
        Port {
            vlan: VlanMode::Access { vid: vlan(10) },
            isolated: true,
            ..plain(4)
        },
        Port {
            vlan: VlanMode::Dot1qTunnel { vid: vlan(20) },
            ..plain(5)
        },
        plain(6),
        Port::plain(PortId(7), NetworkId(2)),
        Port {
            vlan: VlanMode::Trunk {
                allowed: VlanSet::all(),
                native: None,
                native_tagged: false,
            },
            ..Port::plain(PortId(8), NetworkId(2))
        },
    ];
    let networks = vec![network(1, gateway), network(2, None)];
    Topology::new(networks, ports).expect("the ports and networks above agree")
}
