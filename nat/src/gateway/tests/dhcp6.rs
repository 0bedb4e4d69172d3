//! RFC 8415, with the client's half made and read by dhcproto.

use super::{GATEWAY, Lab, OTHER, PEER, leasing};
use dhcproto::v6::{
    DhcpOption, DhcpOptions, IAAddr, IANA, IAPD, Message, MessageType as Kind, Status, StatusCode,
};
use dhcproto::{Decodable, Decoder, Encodable};
use pipeline::DropReason;
use std::net::Ipv6Addr;
use wire::craft::Link;
use wire::{Headers, MacAddr, Net, Transport};

const CLIENT: &[u8] = &[0, 1, 0, 1, 1, 2, 3, 4, 2, 0, 0, 0, 0, 9];
const SERVER: &[u8] = &[0, 3, 0, 1, 2, 0, 0, 0, 0, 1];

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn leased() -> Ipv6Addr {
    ip("2001:db8:1::77")
}

fn ia(id: u32, addresses: &[&str]) -> DhcpOption {
    let address = |text: &&str| {
        DhcpOption::IAAddr(IAAddr {
            addr: ip(text),
            preferred_life: 0,
            valid_life: 0,
            opts: DhcpOptions::default(),
        })
    };
    DhcpOption::IANA(IANA {
        id,
        t1: 0,
        t2: 0,
        opts: addresses.iter().map(address).collect(),
    })
}

fn client() -> DhcpOption {
    DhcpOption::ClientId(CLIENT.to_vec())
}

fn server() -> DhcpOption {
    DhcpOption::ServerId(SERVER.to_vec())
}

fn encode(kind: Kind, options: &[DhcpOption]) -> Vec<u8> {
    let mut message = Message::new_with_id(kind, [7, 8, 9]);
    message.set_opts(options.iter().cloned().collect());
    message.to_vec().unwrap()
}

fn frame_of(from: MacAddr, bytes: &[u8]) -> Vec<u8> {
    Link::new(from, MacAddr([0x33, 0x33, 0, 1, 0, 2]))
        .ipv6(ip("fe80::9"), ip("ff02::1:2"))
        .udp(546, 547, bytes)
}

fn frame(kind: Kind, options: &[DhcpOption]) -> Vec<u8> {
    frame_of(PEER, &encode(kind, options))
}

/// The answer to a message, whose frame is checked.
fn ask(lab: &mut Lab, kind: Kind, options: &[DhcpOption]) -> Message {
    let frame = frame(kind, options);
    assert!(lab.claims(&frame));
    assert_eq!(lab.hear(&frame), Ok(()), "{kind:?}");
    let answer = lab.answer();
    let headers = Headers::parse(&answer).unwrap();
    let (Net::Ipv6(net), Transport::Udp(udp)) = (headers.net, headers.transport) else {
        panic!("{headers:?}");
    };
    assert_eq!((headers.dst, headers.src), (PEER, GATEWAY));
    assert_eq!(
        (net.src, net.dst),
        (lab.interface.link_local, ip("fe80::9"))
    );
    assert_eq!((udp.src_port, udp.dst_port), (547, 546));
    let message = Message::decode(&mut Decoder::new(&answer[62..])).unwrap();
    assert_eq!(message.xid(), [7, 8, 9]);
    assert!(message.opts().iter().any(|o| *o == server()));
    let dns = DhcpOption::DomainNameServers(vec![ip("2001:db8:1::1")]);
    assert!(message.opts().iter().any(|o| *o == dns));
    message
}

/// An IA_NA: its addresses and their lifetimes, or its status.
type Association = (u32, Vec<(Ipv6Addr, u32)>, Option<Status>);

fn associations(message: &Message) -> Vec<Association> {
    let found = message.opts().iter().filter_map(|option| match option {
        DhcpOption::IANA(ia) => {
            let addresses = ia.opts.iter().filter_map(|o| match o {
                DhcpOption::IAAddr(a) => {
                    assert_eq!(a.preferred_life, a.valid_life);
                    Some((a.addr, a.valid_life))
                }
                _ => None,
            });
            Some((ia.id, addresses.collect(), status(&ia.opts)))
        }
        _ => None,
    });
    found.collect()
}

fn status(options: &DhcpOptions) -> Option<Status> {
    options.iter().find_map(|o| match o {
        DhcpOption::StatusCode(StatusCode { status, .. }) => Some(*status),
        _ => None,
    })
}

#[test]
fn rfc_3646_4_the_search_domain_is_told() {
    let mut lab = super::leasing_with(|role| {
        role.settings.search_domain = "corp.example".parse().unwrap();
    });
    let answer = ask(&mut lab, Kind::InformationRequest, &[client()]);
    let told = answer.opts().iter().find_map(|o| match o {
        DhcpOption::DomainSearchList(names) => Some(names.clone()),
        _ => None,
    });
    let told: Vec<_> = told.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(told, ["corp.example."]);
}

#[test]
fn rfc_8415_18_3_1_a_solicitation_is_advertised_to() {
    let mut lab = leasing();
    let answer = ask(&mut lab, Kind::Solicit, &[client(), ia(5, &[])]);
    assert_eq!(answer.msg_type(), Kind::Advertise);
    assert!(answer.opts().iter().any(|o| *o == client()));
    assert!(
        answer
            .opts()
            .iter()
            .any(|o| *o == DhcpOption::Preference(255))
    );
    assert_eq!(associations(&answer), [(5, vec![(leased(), 3600)], None)]);
    let times = answer.opts().iter().find_map(|o| match o {
        DhcpOption::IANA(ia) => Some((ia.t1, ia.t2)),
        _ => None,
    });
    assert_eq!(times, Some((1800, 2880)), "RFC 8415, 21.4");
}

#[test]
fn rfc_8415_18_3_1_rapid_commit() {
    let options = [client(), DhcpOption::RapidCommit, ia(5, &[])];
    let answer = ask(&mut leasing(), Kind::Solicit, &options);
    assert_eq!(answer.msg_type(), Kind::Reply);
    assert!(answer.opts().iter().any(|o| *o == DhcpOption::RapidCommit));
    assert_eq!(associations(&answer), [(5, vec![(leased(), 3600)], None)]);
}

#[test]
fn rfc_8415_18_3_2_requests_and_renewals() {
    let gone = ip("2001:db8:1::bad");
    let named = ["2001:db8:1::bad", "2001:db8:1::77"];
    for (kind, options, wanted) in [
        (
            Kind::Request,
            vec![client(), server(), ia(5, &named)],
            vec![(leased(), 3600)],
        ),
        (
            Kind::Renew,
            vec![client(), server(), ia(5, &named)],
            vec![(leased(), 3600), (gone, 0)],
        ),
        (
            Kind::Rebind,
            vec![client(), ia(5, &named)],
            vec![(leased(), 3600), (gone, 0)],
        ),
    ] {
        let answer = ask(&mut leasing(), kind, &options);
        assert_eq!(answer.msg_type(), Kind::Reply);
        assert_eq!(associations(&answer), [(5, wanted, None)], "{kind:?}");
    }
}

#[test]
fn one_association_has_the_address_and_prefixes_are_not_delegated() {
    let prefix = DhcpOption::IAPD(IAPD {
        id: 8,
        t1: 0,
        t2: 0,
        opts: DhcpOptions::default(),
    });
    let mut options = vec![client(), prefix];
    options.extend((1..=20).map(|id| ia(id, &[])));
    let answer = ask(&mut leasing(), Kind::Solicit, &options);
    let found = associations(&answer);
    assert!(found.len() <= 8, "{}", found.len());
    assert_eq!(found[0], (1, vec![(leased(), 3600)], None));
    assert!(
        found[1..]
            .iter()
            .all(|ia| ia.1.is_empty() && ia.2 == Some(Status::NoAddrsAvail))
    );
    // dhcproto sorts options: the prefix comes behind those that are answered, or is.
    let only = ask(&mut leasing(), Kind::Solicit, &options[..2]);
    let refused = only.opts().iter().find_map(|o| match o {
        DhcpOption::IAPD(ia) => status(&ia.opts),
        _ => None,
    });
    assert_eq!(refused, Some(Status::NoPrefixAvail));
}

#[test]
fn rfc_8415_18_3_3_confirmations() {
    for (addresses, wanted) in [
        (&["2001:db8:1::77"][..], Status::Success),
        (&["2001:db8:1::5"], Status::Success),
        (&["2001:db8:1::77", "2001:db8:9::1"], Status::NotOnLink),
    ] {
        let answer = ask(&mut leasing(), Kind::Confirm, &[client(), ia(5, addresses)]);
        assert_eq!(answer.msg_type(), Kind::Reply);
        assert_eq!(status(answer.opts()), Some(wanted), "{addresses:?}");
        assert!(associations(&answer).is_empty());
    }
}

#[test]
fn rfc_8415_18_3_7_release_and_decline_are_confirmed() {
    for kind in [Kind::Release, Kind::Decline] {
        let options = [client(), server(), ia(5, &["2001:db8:1::77"])];
        let answer = ask(&mut leasing(), kind, &options);
        assert_eq!(
            (answer.msg_type(), status(answer.opts())),
            (Kind::Reply, Some(Status::Success))
        );
    }
}

#[test]
fn rfc_8415_18_3_6_anybody_is_told_the_dns_server() {
    let mut lab = leasing();
    assert_eq!(
        ask(&mut lab, Kind::InformationRequest, &[]).msg_type(),
        Kind::Reply
    );
    let stranger = frame_of(OTHER, &encode(Kind::InformationRequest, &[client()]));
    assert_eq!(lab.hear(&stranger), Ok(()));
    assert_eq!(lab.sent().len(), 1);
}

#[test]
fn rfc_8415_16_who_gets_no_answer() {
    let wrong = DhcpOption::ServerId(vec![0, 3, 0, 1, 2, 0, 0, 0, 0, 99]);
    let solicit = encode(Kind::Solicit, &[client(), ia(5, &[])]);
    let mut cut = solicit.clone();
    cut.truncate(solicit.len() - 1);
    let mut damaged = frame_of(PEER, &solicit);
    damaged[70] ^= 1;
    let own = |kind, options: &[DhcpOption]| frame(kind, options);
    for (name, frame) in [
        (
            "solicit without a client",
            own(Kind::Solicit, &[ia(5, &[])]),
        ),
        (
            "solicit to a server",
            own(Kind::Solicit, &[client(), server(), ia(5, &[])]),
        ),
        (
            "request to nobody",
            own(Kind::Request, &[client(), ia(5, &[])]),
        ),
        (
            "request to another",
            own(Kind::Request, &[client(), wrong.clone(), ia(5, &[])]),
        ),
        (
            "renew to another",
            own(Kind::Renew, &[client(), wrong.clone(), ia(5, &[])]),
        ),
        (
            "rebind to us",
            own(Kind::Rebind, &[client(), server(), ia(5, &[])]),
        ),
        (
            "confirm of nothing",
            own(Kind::Confirm, &[client(), ia(5, &[])]),
        ),
        (
            "release to another",
            own(Kind::Release, &[client(), wrong.clone()]),
        ),
        (
            "information to another",
            own(Kind::InformationRequest, &[wrong]),
        ),
        (
            "information with an address",
            own(Kind::InformationRequest, &[ia(5, &[])]),
        ),
        (
            "a server's message",
            own(Kind::Reply, &[client(), server()]),
        ),
        ("an unknown kind", frame_of(PEER, &[99, 0, 0, 0])),
        (
            "an endless identifier",
            own(
                Kind::Solicit,
                &[DhcpOption::ClientId(vec![1; 131]), ia(5, &[])],
            ),
        ),
        ("nobody attached it", frame_of(OTHER, &solicit)),
        ("cut short", frame_of(PEER, &cut)),
        ("no message", frame_of(PEER, &[1, 2, 3])),
        ("damaged", damaged),
    ] {
        let mut lab = leasing();
        assert!(lab.claims(&frame), "{name}");
        assert_eq!(lab.hear(&frame), Err(DropReason::GatewayIgnored), "{name}");
        assert!(lab.sent().is_empty(), "{name}");
    }
}
