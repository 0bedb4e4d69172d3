//! What may happen to a switch, at random: few addresses, ports and VLANs, so that things meet.

use pipeline::{Location, NetworkId, PeerId, PortId, Tunnel, TunnelKey};
use proptest::collection::{btree_set, vec};
use proptest::option::{self, weighted};
use proptest::prelude::*;
use proptest::sample::select;
use sim::reference::{Broken, Bucket, Ipv4Says, Ipv6Says, Payload, RefPort, Spec, Undone, Vlans};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use switch::{Horizon, Lock, Mirror};
use wire::{MacAddr, VlanId, VlanTag};

pub(super) const NETWORKS: [NetworkId; 2] = [NetworkId(0), NetworkId(1)];
pub(super) const PORTS: [PortId; 7] = [
    PortId(0),
    PortId(1),
    PortId(2),
    PortId(3),
    PortId(4),
    PortId(5),
    PortId(6),
];
/// The port that has several far ends, and how many.
pub(super) const HUB: PortId = PortId(6);
pub(super) const PEERS: u16 = 3;
/// The key of the first network; the second has none.
pub(super) const KEY: TunnelKey = TunnelKey(70);
const VLANS: [u16; 3] = [1, 2, 4094];

/// One transition.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A frame arrives; through this tunnel, where it comes to the hub.
    Frame(PortId, Tunnel, Spec),
    /// Time passes.
    Wait(Duration),
    /// A port is added or configured anew.
    Configure(PortId, RefPort),
    /// One thing about a port changes.
    Change(PortId, Tweak),
    /// A port leaves the configuration; what was learned on it stays.
    Remove(PortId),
    /// A port's interface appears.
    Open(PortId),
    /// A port's interface disappears.
    Close(PortId),
    /// A network's MTU, its treatment of reserved addresses, its gateway's address and VLAN.
    Network(NetworkId, u16, bool, Option<(MacAddr, u16)>),
    /// A static entry.
    Pin(NetworkId, u16, MacAddr, Location),
    /// An entry is removed.
    Forget(NetworkId, u16, MacAddr),
    /// Entries are removed: of a port, of a VLAN, static ones too.
    Flush(NetworkId, Option<PortId>, Option<u16>, bool),
    /// Aged entries are swept.
    Expire(NetworkId),
}

/// One thing about a port.
#[derive(Debug, Clone)]
pub(super) enum Tweak {
    Up(bool),
    Isolated(bool),
    Vlans(Vlans),
    Lock(Option<Lock>),
    Mirror(Option<Mirror>),
    Network(Option<NetworkId>),
    Tunnel(Option<Horizon>),
}

impl Tweak {
    pub(super) fn apply(&self, port: &mut RefPort) {
        match self {
            Self::Up(up) => port.up = *up,
            Self::Isolated(isolated) => port.isolated = *isolated,
            Self::Vlans(vlans) => port.vlans = vlans.clone(),
            Self::Lock(lock) => port.lock = lock.clone(),
            Self::Mirror(mirror) => port.mirror = *mirror,
            Self::Network(network) => port.network = *network,
            Self::Tunnel(tunnel) => port.tunnel = *tunnel,
        }
    }
}

pub(super) fn vlan(vid: u16) -> VlanId {
    VlanId::new(vid).expect("a VLAN of the tests")
}

pub(super) fn plain_port() -> RefPort {
    RefPort {
        network: None,
        tunnel: None,
        up: true,
        vlans: Vlans::Access(1),
        isolated: false,
        lock: None,
        limits: [None; 3],
        mirror: None,
    }
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let (net, port, vid) = (
        select(&NETWORKS[..]),
        select(&PORTS[..]),
        select(&VLANS[..]),
    );
    prop_oneof![
        60 => (port.clone(), tunnel(), frame()).prop_map(|(port, tunnel, spec)| Step::Frame(port, tunnel, spec)),
        20 => (tunnel(), frame()).prop_map(|(tunnel, spec)| Step::Frame(HUB, tunnel, spec)),
        6 => wait().prop_map(Step::Wait),
        8 => (port.clone(), tweak()).prop_map(|(port, to)| Step::Change(port, to)),
        4 => (port.clone(), configuration()).prop_map(|(port, to)| Step::Configure(port, to)),
        1 => port.clone().prop_map(Step::Remove),
        2 => port.clone().prop_map(Step::Open),
        1 => port.clone().prop_map(Step::Close),
        2 => (net.clone(), select(&[576, 1500, 9000, 65_535][..]), any::<bool>(), gateway()).prop_map(|(net, mtu, reserved, gateway)| Step::Network(net, mtu, reserved, gateway)),
        2 => (net.clone(), vid.clone(), mac(), location()).prop_map(|(net, vid, mac, at)| Step::Pin(net, vid, mac, at)),
        1 => (net.clone(), vid.clone(), mac()).prop_map(|(net, vid, mac)| Step::Forget(net, vid, mac)),
        1 => (net.clone(), option::of(port), option::of(vid), any::<bool>()).prop_map(|(net, port, vid, statics)| Step::Flush(net, port, vid, statics)),
        1 => net.prop_map(Step::Expire),
    ]
}

/// Moments, and jumps past the ageing time.
fn wait() -> impl Strategy<Value = Duration> {
    prop_oneof![3 => 0..2_000_000u64, 3 => 0..2_000_000_000u64, 2 => 4_500_000_000..7_000_000_000u64].prop_map(Duration::from_nanos)
}

fn tunnel() -> impl Strategy<Value = Tunnel> {
    let key = prop_oneof![9 => Just(KEY), 1 => Just(TunnelKey(71))];
    (peer(), key).prop_map(|(peer, key)| Tunnel { peer, key })
}

fn peer() -> impl Strategy<Value = PeerId> {
    (1..=PEERS).prop_map(PeerId)
}

fn location() -> impl Strategy<Value = Location> {
    (select(&PORTS[..]), peer()).prop_map(|(port, peer)| match port {
        HUB => Location { port, peer },
        port => port.into(),
    })
}

fn horizon() -> impl Strategy<Value = Horizon> {
    select(&[Horizon::Split, Horizon::Reflect, Horizon::Reflect][..])
}

fn mac() -> impl Strategy<Value = MacAddr> {
    (1..7u8).prop_map(|last| MacAddr([2, 0, 0, 0, 0, last]))
}

/// Sometimes there, and then with an address that others have, too.
fn gateway() -> impl Strategy<Value = Option<(MacAddr, u16)>> {
    weighted(0.3, (mac(), select(&VLANS[..])))
}

fn destination() -> impl Strategy<Value = MacAddr> {
    prop_oneof![
        8 => mac(),
        3 => Just(MacAddr::BROADCAST),
        3 => Just(MacAddr([0x33, 0x33, 0, 0, 0, 1])),
        1 => (0..0x12u8).prop_map(|last| MacAddr([0x01, 0x80, 0xc2, 0, 0, last])),
    ]
}

fn source() -> impl Strategy<Value = MacAddr> {
    prop_oneof![30 => mac(), 1 => Just(MacAddr::ZERO), 1 => Just(MacAddr([3, 0, 0, 0, 0, 1]))]
}

fn tag() -> impl Strategy<Value = VlanTag> {
    let vid = prop_oneof![6 => select(&VLANS[..]), 2 => Just(0), 1 => Just(7), 1 => Just(4095)];
    (
        select(&[VlanTag::CTAG, VlanTag::CTAG, VlanTag::STAG][..]),
        0..16u16,
        vid,
    )
        .prop_map(|(tpid, high, vid)| VlanTag {
            tpid,
            tci: high << 12 | vid,
        })
}

fn ipv4() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![4 => (1..4u8).prop_map(|last| Ipv4Addr::new(10, 0, 0, last)), 1 => Just(Ipv4Addr::UNSPECIFIED)]
}

fn ipv6() -> impl Strategy<Value = Ipv6Addr> {
    let own = (1..4u16).prop_map(|last| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last));
    prop_oneof![4 => own, 1 => Just(Ipv6Addr::UNSPECIFIED), 1 => Just(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 5)), 1 => Just(Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 5))]
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..100usize, 1 => 500..600usize, 2 => 1440..1480usize, 1 => 1480..1520usize, 1 => 8900..9100usize, 1 => Just(60_000)]
}

fn payload() -> impl Strategy<Value = Payload> {
    let v4 = prop_oneof![
        3 => size().prop_map(Ipv4Says::Udp),
        3 => size().prop_map(Ipv4Says::Tcp),
        1 => Just(Ipv4Says::DhcpRequest),
        1 => Just(Ipv4Says::Echo),
        1 => Just(Ipv4Says::BrokenUdp),
    ];
    let v6 = prop_oneof![
        3 => size().prop_map(Ipv6Says::Udp),
        3 => size().prop_map(Ipv6Says::Tcp),
        1 => Just(Ipv6Says::Echo),
        1 => ipv6().prop_map(|target| Ipv6Says::Solicit { target }),
        2 => ipv6().prop_map(|target| Ipv6Says::Advert { target }),
        1 => Just(Ipv6Says::RouterAdvert),
        1 => Just(Ipv6Says::Redirect),
        1 => Just(Ipv6Says::BrokenUdp),
        1 => Just(Ipv6Says::HiddenBehindExtensions),
    ];
    prop_oneof![
        2 => (mac(), ipv4()).prop_map(|(sender_mac, sender_ip)| Payload::Arp { sender_mac, sender_ip }),
        4 => (ipv4(), v4).prop_map(|(src, says)| Payload::Ipv4 { src, says }),
        4 => (ipv6(), v6).prop_map(|(src, says)| Payload::Ipv6 { src, says }),
        1 => select(&[Broken::Ipv4Version, Broken::Ipv6Truncated, Broken::ArpKind][..]).prop_map(Payload::Broken),
        2 => size().prop_map(Payload::Other),
    ]
}

fn undone() -> impl Strategy<Value = Undone> {
    prop_oneof![
        6 => Just(Undone::Nothing),
        2 => Just(Undone::Checksum),
        2 => select(&[500, 1448, 8000][..]).prop_map(Undone::Superframe),
        1 => Just(Undone::Nonsense),
    ]
}

fn frame() -> impl Strategy<Value = Spec> {
    let tags = prop_oneof![5 => vec(tag(), 0..1), 5 => vec(tag(), 1), 2 => vec(tag(), 2), 1 => vec(tag(), 3)];
    (
        destination(),
        source(),
        tags,
        payload(),
        undone(),
        weighted(0.03, 0..14usize),
    )
        .prop_map(|(dst, src, tags, payload, undone, cut)| {
            // Within the Ethernet header, or within the last tag that is looked at.
            let cut = cut.map(|cut| cut + 4 * tags.len().min(2));
            Spec {
                dst,
                src,
                tags,
                payload,
                undone,
                cut,
            }
        })
}

fn vlans() -> impl Strategy<Value = Vlans> {
    let vid = || select(&VLANS[..]);
    prop_oneof![
        4 => vid().prop_map(Vlans::Access),
        3 => (btree_set(vid(), 1..3), option::of((vid(), any::<bool>()))).prop_map(|(allowed, native)| Vlans::Trunk { allowed, native }),
        1 => vid().prop_map(Vlans::Tunnel),
    ]
}

fn lock() -> impl Strategy<Value = Lock> {
    (mac(), vec(ipv4(), 0..2), vec(ipv6(), 0..2)).prop_map(|(mac, ipv4, ipv6)| {
        // Nobody is given "no address", nor a link-local one, which is always allowed.
        let ipv4 = ipv4.into_iter().filter(|ip| !ip.is_unspecified()).collect();
        let ipv6 = ipv6.into_iter().filter(|ip| !ip.is_unspecified()).collect();
        Lock { mac, ipv4, ipv6 }
    })
}

fn limit() -> impl Strategy<Value = Option<Bucket>> {
    weighted(
        0.3,
        prop_oneof![1..4u32, Just(1000)]
            .prop_flat_map(|rate| (Just(rate), 1..4u32))
            .prop_map(|(rate, burst)| Bucket::new(rate, burst)),
    )
}

fn network() -> impl Strategy<Value = Option<NetworkId>> {
    prop_oneof![5 => Just(Some(NETWORKS[0])), 2 => Just(Some(NETWORKS[1])), 1 => Just(None)]
}

fn mirror() -> impl Strategy<Value = Mirror> {
    let ways = (any::<bool>(), any::<bool>());
    (select(&PORTS[..]), ways).prop_map(|(to, (ingress, egress))| Mirror {
        to,
        ingress,
        egress,
    })
}

fn tweak() -> impl Strategy<Value = Tweak> {
    prop_oneof![
        3 => prop::bool::weighted(0.6).prop_map(Tweak::Up),
        3 => any::<bool>().prop_map(Tweak::Isolated),
        2 => vlans().prop_map(Tweak::Vlans),
        1 => weighted(0.5, lock()).prop_map(Tweak::Lock),
        1 => weighted(0.5, mirror()).prop_map(Tweak::Mirror),
        1 => network().prop_map(Tweak::Network),
        1 => weighted(0.6, horizon()).prop_map(Tweak::Tunnel),
    ]
}

fn configuration() -> impl Strategy<Value = RefPort> {
    let flags = (prop::bool::weighted(0.9), prop::bool::weighted(0.4));
    let limits = [limit(), limit(), limit()];
    (
        (network(), weighted(0.2, horizon())),
        flags,
        vlans(),
        weighted(0.3, lock()),
        limits,
        weighted(0.1, mirror()),
    )
        .prop_map(
            |((network, tunnel), (up, isolated), vlans, lock, limits, mirror)| RefPort {
                network,
                tunnel,
                up,
                vlans,
                isolated,
                lock,
                limits,
                mirror,
            },
        )
}
