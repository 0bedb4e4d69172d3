use super::*;
use pipeline::{Frame, PortId};
use proptest::collection::vec;
use proptest::prelude::*;
use wire::craft::{Link, Packet as Crafted};
use wire::{Fragment, Headers, IpProtocol, MacAddr, VnetHeader};

const NETWORK: NetworkId = NetworkId(3);
const PORT: PortId = PortId(9);
const FORWARD: PacketVerdict = PacketVerdict::Forward(
    NetworkId(7),
    Rewrite {
        dst_mac: MacAddr([6; 6]),
        src_mac: MacAddr([8; 6]),
        outer: None,
        quoted: None,
        mss: None,
        fragment: None,
    },
);
const INVALID: Result<Later, DropReason> = Err(DropReason::FragmentInvalid);
const HELD: Result<Later, DropReason> = Ok(Later::Held);

fn link() -> Link {
    Link::new(MacAddr([2; 6]), MacAddr([4; 6]))
}

fn from(host: u16) -> Crafted {
    let [high, low] = host.to_be_bytes();
    link().ipv4([10, 1, high, low].into(), [198, 51, 100, 1].into())
}

fn from_v6() -> Crafted {
    let src = "2001:db8::5".parse().unwrap();
    link().ipv6(src, "2001:db8::9".parse().unwrap())
}

/// The bytes `range` of a UDP packet's payload, and whether more follow.
fn cut(packet: &Crafted, id: u32, range: std::ops::Range<u16>, more: bool) -> Vec<u8> {
    let fragment = Fragment {
        id,
        offset: range.start,
        more,
    };
    let mut bytes = vec![0xab; range.len()];
    if range.start == 0 && range.len() >= 8 {
        bytes[..8].copy_from_slice(&[0, 5, 0, 6, 0xf0, 0, 0, 0]);
    }
    packet
        .clone()
        .fragment(fragment)
        .raw(IpProtocol::UDP, &bytes)
}

fn flow(id: u32, range: std::ops::Range<u16>, more: bool) -> Vec<u8> {
    cut(&from(5), id, range, more)
}

fn piece(bytes: &[u8]) -> Result<Option<Piece>, DropReason> {
    Piece::of(NETWORK, &Headers::parse(bytes).unwrap())
}

fn is_forward(later: Result<Later, DropReason>) -> bool {
    match (later, FORWARD) {
        (Ok(Later::Forward(network, rewrite)), PacketVerdict::Forward(n, r)) => {
            (network, rewrite) == (n, r)
        }
        _ => false,
    }
}

/// The store and what the router around it does.
#[derive(Default)]
struct Rig {
    fragments: Fragments,
    outbox: Outbox,
    now: Instant,
}

impl Rig {
    fn first_decided(&mut self, bytes: &[u8], decision: PacketVerdict) {
        let piece = piece(bytes).unwrap().unwrap();
        assert!(piece.is_first());
        let before = self.fragments.usage();
        let Self {
            fragments,
            outbox,
            now,
        } = self;
        fragments.first(&piece, decision, *now, Effects::None, outbox);
        assert_eq!((fragments.usage(), outbox.len()), (before, 0));
        fragments.first(&piece, decision, *now, Effects::Live, outbox);
    }

    fn first(&mut self, bytes: &[u8]) {
        self.first_decided(bytes, FORWARD);
    }

    /// Asked first, then live: the answers are the same.
    fn later(&mut self, bytes: &[u8]) -> Result<Later, DropReason> {
        let headers = Headers::parse(bytes).unwrap();
        let piece = piece(bytes).unwrap().unwrap();
        assert!(!piece.is_first());
        let mut room = bytes.to_vec();
        let end = room.len();
        let vnet = VnetHeader {
            flags: VnetHeader::DATA_VALID,
            ..VnetHeader::default()
        };
        let frame = Frame::new(&mut room, 0, end, vnet);
        let arrival = Arrival {
            network: NETWORK,
            from: PORT,
            frame: &frame,
            headers: &headers,
        };
        let before = (self.fragments.usage(), self.fragments.lost());
        let Self {
            fragments,
            outbox,
            now,
        } = self;
        let asked = fragments.later(&piece, &arrival, *now, Effects::None, outbox);
        assert_eq!((fragments.usage(), fragments.lost()), before);
        let answer = fragments.later(&piece, &arrival, *now, Effects::Live, outbox);
        assert_eq!(asked, answer);
        answer
    }

    fn resumed(&mut self) -> Vec<Vec<u8>> {
        let frames = (0..self.outbox.len()).map(|at| {
            let (post, bytes) = self.outbox.get(at).unwrap();
            assert!(
                matches!(post, Post::Resume(origin) if origin.from == PORT && origin.vnet.flags == VnetHeader::DATA_VALID)
            );
            bytes.to_vec()
        });
        let frames = frames.collect();
        self.outbox.clear();
        frames
    }

    fn wait(&mut self, secs: u64) {
        self.now = self.now + Duration::from_secs(secs);
    }
}

#[test]
fn later_fragments_follow_the_first() {
    for packet in [from(5), from_v6()] {
        let mut rig = Rig::default();
        rig.first(&cut(&packet, 1, 0..16, true));
        assert!(is_forward(rig.later(&cut(&packet, 1, 16..32, true))));
        assert_eq!(rig.fragments.usage(), (1, 0));
        assert!(is_forward(rig.later(&cut(&packet, 1, 32..37, false))));
        assert_eq!(rig.fragments.usage(), (0, 0), "complete, and forgotten");
    }
}

#[test]
fn rfc_4787_req_14_they_wait_for_the_first() {
    let mut rig = Rig::default();
    let last = flow(1, 32..37, false);
    let mut padded = last.clone();
    padded.resize(200, 0);
    assert_eq!(rig.later(&padded), HELD);
    assert_eq!(rig.fragments.usage(), (1, last.len()));
    rig.first(&flow(1, 0..32, true));
    let resumed = rig.resumed();
    assert_eq!(resumed, std::slice::from_ref(&last), "without its padding");
    assert_eq!(rig.fragments.usage(), (1, 0));
    assert!(is_forward(rig.later(&last)));
    assert_eq!(rig.fragments.usage(), (0, 0));
}

#[test]
fn they_are_dropped_for_their_first_one_s_reason() {
    let mut rig = Rig::default();
    let reason = DropReason::PolicyDenied;
    assert_eq!(rig.later(&flow(1, 16..24, true)), HELD);
    rig.first_decided(&flow(1, 0..16, true), PacketVerdict::Drop(reason));
    let resumed = rig.resumed();
    assert_eq!(rig.later(&resumed[0]), Err(reason));
    assert_eq!(rig.later(&flow(1, 24..32, false)), Err(reason));
    assert_eq!(rig.fragments.usage(), (0, 0));
}

#[test]
fn packets_are_told_apart() {
    let mut rig = Rig::default();
    rig.first(&flow(1, 0..16, true));
    for other in [
        flow(2, 16..32, true),
        cut(&from(6), 1, 16..32, true),
        from(5)
            .fragment(Fragment {
                id: 1,
                offset: 16,
                more: true,
            })
            .raw(IpProtocol::ICMP, &[0; 16]),
    ] {
        assert_eq!(rig.later(&other), HELD);
    }
    // Of IPv6 the protocol behind a later fragment's header means nothing (RFC 8200, 4.5).
    rig.first(&cut(&from_v6(), 1, 0..16, true));
    let later = Fragment {
        id: 1,
        offset: 16,
        more: false,
    };
    let other = from_v6()
        .fragment(later)
        .raw(IpProtocol::DESTINATION, &[0; 16]);
    assert!(is_forward(rig.later(&other)));
}

#[test]
fn of_any_byte_the_first_to_come_counts() {
    for waiting in [false, true] {
        let mut rig = Rig::default();
        if !waiting {
            rig.first(&flow(1, 0..32, true));
            assert_eq!(rig.later(&flow(1, 24..40, true)), INVALID, "over the first");
        }
        assert!(rig.later(&flow(1, 64..80, true)).is_ok());
        for (range, more) in [
            (64..80, true),
            (56..72, true),
            (72..100, false),
            (64..72, true),
        ] {
            assert_eq!(rig.later(&flow(1, range, more)), INVALID);
        }
        assert_eq!(
            rig.later(&flow(1, 40..64, false)),
            INVALID,
            "ends before another"
        );
        assert!(rig.later(&flow(1, 96..99, false)).is_ok());
        assert_eq!(
            rig.later(&flow(1, 104..112, true)),
            INVALID,
            "behind the end"
        );
        assert_eq!(rig.later(&flow(1, 104..105, false)), INVALID, "another end");
        assert_eq!(rig.later(&flow(1, 80..88, false)), INVALID, "another end");
        assert!(rig.later(&flow(1, 80..96, true)).is_ok());
    }
}

#[test]
fn what_was_held_must_fit_its_first_one() {
    let mut rig = Rig::default();
    assert_eq!(rig.later(&flow(1, 16..32, true)), HELD);
    rig.first(&flow(1, 0..24, true));
    let resumed = rig.resumed();
    assert_eq!(rig.later(&resumed[0]), INVALID);
}

#[test]
fn a_piece_that_no_packet_has_is_refused() {
    let invalid = Err(DropReason::FragmentInvalid);
    let tcp = |offset, more, len: usize| {
        let fragment = Fragment {
            id: 1,
            offset,
            more,
        };
        from(5)
            .fragment(fragment)
            .raw(IpProtocol::TCP, &vec![0x50; len])
    };
    for (bytes, why) in [
        (flow(1, 8..8, false), "empty"),
        (flow(1, 8..20, true), "no multiple of 8, and not the last"),
        (flow(1, 0..7, true), "half a UDP header"),
        (tcp(0, true, 16), "half a TCP header (RFC 1858)"),
        (tcp(8, true, 16), "into the TCP header (RFC 3128)"),
        (tcp(16, false, 16), "into the TCP header"),
        (tcp(65_528, false, 8), "beyond 64 KiB"),
    ] {
        assert_eq!(piece(&bytes), invalid, "{why}");
    }
    for bytes in [tcp(0, true, 24), tcp(24, false, 1), tcp(65_528, false, 7)] {
        assert!(piece(&bytes).unwrap().is_some());
    }
    // RFC 6946: a packet in a single fragment is whole.
    assert_eq!(piece(&cut(&from_v6(), 1, 0..24, false)), Ok(None));
    assert_eq!(piece(&from(5).udp(1, 2, b"whole")), Ok(None));
}

#[test]
fn extension_headers_behind_the_fragment_header_are_part_of_the_packet() {
    let fragment = Fragment {
        id: 1,
        offset: 0,
        more: true,
    };
    let body = [
        &[IpProtocol::UDP.0, 0][..],
        &[0; 6],
        &[0, 5, 0, 6, 0, 40, 0, 0],
    ]
    .concat();
    let first = from_v6()
        .fragment(fragment)
        .raw(IpProtocol::DESTINATION, &body);
    let mut rig = Rig::default();
    rig.first(&first);
    assert_eq!(rig.later(&cut(&from_v6(), 1, 8..16, true)), INVALID);
    assert!(is_forward(rig.later(&cut(&from_v6(), 1, 16..20, false))));
    assert_eq!(rig.fragments.usage(), (0, 0));
}

#[test]
fn a_packet_is_given_up_after_a_while() {
    for (packet, lifetime) in [(from(5), 30), (from_v6(), 60)] {
        let mut rig = Rig::default();
        assert_eq!(rig.later(&cut(&packet, 1, 16..24, true)), HELD);
        assert_eq!(rig.later(&cut(&packet, 1, 24..32, true)), HELD);
        rig.first(&cut(&packet, 2, 0..16, true));
        let over = Instant::from_secs(lifetime);
        assert_eq!(rig.outbox.take_due(), Some(over));
        rig.wait(lifetime - 1);
        rig.fragments.poll(rig.now, &mut rig.outbox);
        assert_eq!(rig.fragments.usage().0, 2);
        assert_eq!(rig.outbox.take_due(), Some(over));
        rig.wait(1);
        // It is over even before the poll; the same place begins a new packet.
        assert_eq!(rig.later(&cut(&packet, 1, 16..24, true)), HELD);
        rig.fragments.poll(rig.now, &mut rig.outbox);
        assert_eq!(rig.fragments.usage().0, 1);
        let again = over + Duration::from_secs(lifetime);
        assert_eq!(rig.outbox.take_due(), Some(again));
        let lost = Lost {
            timeout: 2,
            limit: 0,
        };
        assert_eq!(rig.fragments.lost(), lost);
        rig.first(&cut(&packet, 1, 0..16, true));
        assert_eq!(rig.resumed().len(), 1);
    }
}

#[test]
fn rfc_4963_an_identification_comes_around() {
    let mut rig = Rig::default();
    rig.first(&flow(1, 0..16, true));
    assert!(is_forward(rig.later(&flow(1, 16..32, true)))); // its last one got lost
    rig.first(&flow(1, 0..16, true));
    assert!(is_forward(rig.later(&flow(1, 16..32, true))));
    assert!(is_forward(rig.later(&flow(1, 32..40, false))));
    assert_eq!(rig.fragments.usage(), (0, 0));
}

#[test]
fn one_packet_holds_so_many_and_no_more() {
    let mut rig = Rig::default();
    let unit = |n: u16| flow(1, (n * 8 + 8)..(n * 8 + 16), true);
    let most = u16::try_from(MAX_HELD).unwrap();
    for n in 0..most {
        assert_eq!(rig.later(&unit(n)), HELD);
    }
    assert_eq!(rig.later(&unit(most)), Err(DropReason::FragmentLimit));
    assert_eq!(rig.later(&unit(0)), INVALID, "again and again");
}

#[test]
fn a_full_outbox_loses_by_name() {
    let mut rig = Rig::default();
    assert_eq!(rig.later(&flow(1, 16..24, false)), HELD);
    while rig.outbox.post(Post::Send(NETWORK), |out| out.push(0)) {}
    let piece = piece(&flow(1, 0..16, true)).unwrap().unwrap();
    rig.fragments
        .first(&piece, FORWARD, rig.now, Effects::Live, &mut rig.outbox);
    assert_eq!(rig.fragments.lost().limit, 1);
}

/// A host whose packets are in another set than those of host 5.
fn stranger(fragments: &Fragments) -> u16 {
    let set = |host| {
        let key = piece(&cut(&from(host), 1, 8..16, true))
            .unwrap()
            .unwrap()
            .key;
        std::ptr::from_ref::<Set>(&fragments.set(&key)) as usize
    };
    (6..).find(|host| set(*host) != set(5)).unwrap()
}

#[test]
fn a_flood_pushes_out_its_own() {
    let mut rig = Rig::default();
    let honest = stranger(&rig.fragments);
    let theirs = cut(&from(honest), 1, 1480..2960, false);
    assert_eq!(rig.later(&theirs), HELD);
    for id in 0..2000 {
        rig.now = rig.now + Duration::from_micros(1);
        assert_eq!(rig.later(&flow(id, 1480..2960, true)), HELD);
        let (packets, bytes) = rig.fragments.usage();
        assert!(packets <= MAX_PACKETS + 1 && bytes <= MAX_BYTES + theirs.len());
    }
    assert_eq!(rig.fragments.lost().limit, 2000 - MAX_PACKETS as u64);
    // Large ones meet the bytes first.
    for id in 3000..3100 {
        rig.now = rig.now + Duration::from_micros(1);
        assert_eq!(rig.later(&flow(id, 1480..60_000, true)), HELD);
        let (_, bytes) = rig.fragments.usage();
        assert!(bytes <= MAX_BYTES + theirs.len());
    }
    // The flood's latest is still there, and so is the honest one.
    rig.first(&flow(3099, 0..1480, true));
    assert_eq!(rig.resumed().len(), 1);
    rig.first(&cut(&from(honest), 1, 0..1480, true));
    assert_eq!(rig.resumed(), [theirs]);
}

/// A packet cut into pieces of random lengths.
fn packets() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let cuts = vec(1..200_u16, 1..8);
    (0..3_u16, 0..2_u32, any::<bool>(), cuts, 1..50_u16).prop_map(|(host, id, v6, cuts, rest)| {
        let packet = if v6 { from_v6() } else { from(host) };
        // Packets of the same host have different identifications.
        let id = id + 2 * u32::from(host);
        let mut start = 0;
        let mut pieces = Vec::new();
        for cut_at in cuts {
            let end = start + cut_at * 8;
            pieces.push(cut(&packet, id, start..end, true));
            start = end;
        }
        pieces.push(cut(&packet, id, start..start + rest, false));
        pieces
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever the order: every fragment goes on, once, behind its packet's first, and nothing is
    /// left.
    #[test]
    fn any_order_will_do(frames in vec(packets(), 1..6).prop_map(|packets| {
        let mut unique = std::collections::BTreeMap::new();
        for pieces in packets {
            unique.entry(format!("{:?}", piece(&pieces[0]).unwrap().unwrap().key)).or_insert(pieces);
        }
        unique.into_values().flatten().collect::<Vec<_>>()
    }).prop_shuffle()) {
        let mut rig = Rig::default();
        let mut sent = Vec::new();
        for frame in &frames {
            if piece(frame).unwrap().unwrap().is_first() {
                rig.first(frame);
                sent.push(frame.clone());
                for resumed in rig.resumed() {
                    prop_assert!(is_forward(rig.later(&resumed)));
                    sent.push(resumed);
                }
            } else {
                match rig.later(frame) {
                    Ok(Later::Held) => {}
                    answer => {
                        prop_assert!(is_forward(answer));
                        sent.push(frame.clone());
                    }
                }
            }
        }
        let sorted = |mut frames: Vec<Vec<u8>>| { frames.sort(); frames };
        prop_assert_eq!(sorted(sent), sorted(frames));
        prop_assert_eq!(rig.fragments.usage(), (0, 0));
        prop_assert_eq!(rig.fragments.lost(), Lost::default());
    }

    /// No receiver sees an overlap, whatever is sent.
    #[test]
    fn junk_never_overlaps(pieces in vec((0..40_u16, 1..20_u16, any::<bool>(), any::<bool>()), 0..40)) {
        let mut rig = Rig::default();
        let mut seen: Vec<bool> = Vec::new();
        let mark = |seen: &mut Vec<bool>, start: usize, end: usize| {
            seen.resize(seen.len().max(end), false);
            let fresh = !seen[start..end].contains(&true);
            seen[start..end].fill(true);
            fresh
        };
        for (unit, units, more, restart) in pieces {
            let range = unit * 8..(unit + units) * 8;
            if unit > 0 {
                let (start, end) = (usize::from(range.start), usize::from(range.end));
                if is_forward(rig.later(&flow(1, range, more))) {
                    prop_assert!(mark(&mut seen, start, end));
                    if rig.fragments.usage() == (0, 0) {
                        seen.clear();
                    }
                }
            } else if restart {
                rig.first(&flow(1, 0..16, true));
                seen = vec![true; 16];
                for frame in rig.resumed() {
                    let piece = piece(&frame).unwrap().unwrap();
                    if is_forward(rig.later(&frame)) {
                        prop_assert!(mark(&mut seen, piece.start as usize, piece.end as usize));
                    }
                }
            }
        }
    }
}
