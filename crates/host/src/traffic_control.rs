//! Traffic control: filters that see an interface's packets before the kernel's stack does.
//!
//! A filter hangs at the *ingress* of an interface's `clsact` qdisc. Ours have a priority and
//! handles of their own, so a filter is replaced in place: the kernel swaps the old program for
//! the new one under RCU, and each packet is judged by exactly one of them. Each carries a cookie
//! by which it is known as ours even when the process that made it is gone.
//!
//! Others' filters stay as they are: packets that we copy go on to the filters behind ours, and the
//! qdisc is removed only if we made it and nobody else has put a filter there since.

use crate::capture::{self, Instruction};
use crate::{Error, Links};
use rtnetlink::packet_core::{
    DefaultNla, Emitable, NLA_TYPE_MASK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, Nla,
    NlasIterator, Parseable,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::tc::{
    TcAction, TcActionAttribute, TcActionMirror, TcActionMirrorOption, TcActionOption,
    TcActionType, TcAttribute, TcFilterBpf, TcFilterBpfOption, TcHandle, TcHeader, TcMessage,
    TcMirror, TcMirrorActionType, TcOption,
};
use std::io;

/// Before most of what others put there, so that what they let pass is still ours.
const PRIORITY: u16 = 7;
/// `ETH_P_ALL`.
const EVERY_PROTOCOL: u16 = 0x0003;

/// What a filter of ours is for. The number is its handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub(crate) enum FilterKind {
    /// On a NIC: what is ours alone goes to the uplink TAP.
    Steal = 0xc1ea_0001,
    /// On a NIC: what both need goes to the uplink TAP too.
    Copy = 0xc1ea_0002,
    /// On an uplink TAP: everything goes out by the NIC.
    Out = 0xc1ea_0003,
    /// On the host's end of a container's veth: only a packet socket sees what comes from there.
    Hush = 0xc1ea_0004,
}

impl FilterKind {
    pub(crate) const ALL: [Self; 4] = [Self::Steal, Self::Copy, Self::Out, Self::Hush];

    /// Returns what becomes of a packet that matches.
    fn action(self) -> (TcMirrorActionType, TcActionType) {
        match self {
            // What is dropped is dropped by the program; its action, which bears the cookie, is
            // never carried out. (Not every kernel has an action that drops.)
            Self::Steal | Self::Out | Self::Hush => {
                (TcMirrorActionType::EgressRedir, TcActionType::Stolen)
            }
            // On to the next filter: others' filters see the packet too.
            Self::Copy => (TcMirrorActionType::EgressMirror, TcActionType::Unspec),
        }
    }
}

impl FilterKind {
    /// Returns whether what a program answers is what becomes of the packet.
    fn is_direct(self) -> bool {
        match self {
            Self::Hush => true,
            Self::Steal | Self::Copy | Self::Out => false,
        }
    }

    /// Returns what it does, in words.
    pub(crate) fn purpose(self) -> &'static str {
        match self {
            Self::Steal => "packets for containers go to the uplink's TAP",
            Self::Copy => "packets for both go to the uplink's TAP too",
            Self::Out => "everything goes out by the uplink's NIC",
            Self::Hush => "the host's stack sees nothing of the container",
        }
    }
}

impl Filter {
    /// Returns what one would type to remove it.
    pub(crate) fn removing_command(&self, ifname: &str) -> String {
        let handle = self.kind as u32;
        format!(
            "tc filter delete dev {ifname} ingress protocol all pref {PRIORITY} handle {handle:#x} bpf"
        )
    }
}

/// A filter of ours that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    /// What for.
    pub(crate) kind: FilterKind,
    /// The interface it sits on.
    pub(crate) index: u32,
    /// Whether the qdisc is of our making.
    pub(crate) qdisc: QdiscOrigin,
}

/// Who made the `clsact` qdisc of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QdiscOrigin {
    /// We did.
    Ours,
    /// Somebody else; it stays.
    Foreign,
}

const COOKIE: &[u8; 8] = b"clearway";

fn cookie(qdisc: QdiscOrigin) -> Vec<u8> {
    let origin = match qdisc {
        QdiscOrigin::Ours => b'+',
        QdiscOrigin::Foreign => b'=',
    };
    [&COOKIE[..], &[origin]].concat()
}

fn parse_cookie(cookie: &[u8]) -> Option<QdiscOrigin> {
    match cookie.strip_prefix(&COOKIE[..])? {
        b"+" => Some(QdiscOrigin::Ours),
        b"=" => Some(QdiscOrigin::Foreign),
        _ => None,
    }
}

// `linux/pkt_cls.h`: attributes of a bpf filter that the netlink crates do not know.
const TCA_BPF_ACT: u16 = 1;
const TCA_BPF_OPS_LEN: u16 = 4;
const TCA_BPF_OPS: u16 = 5;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;

impl Links {
    /// Makes sure the interface has a `clsact` qdisc.
    pub(crate) fn add_clsact(&self, ifname: &str, index: u32) -> Result<QdiscOrigin, Error> {
        let message = clsact(index);
        match self.request(
            RouteNetlinkMessage::NewQueueDiscipline(message),
            NLM_F_CREATE | NLM_F_EXCL,
        ) {
            Ok(_) => Ok(QdiscOrigin::Ours),
            Err(error) if error.raw_os_error() == Some(nix::libc::EEXIST) => {
                Ok(QdiscOrigin::Foreign)
            }
            Err(error) => Err(self.error("add a clsact qdisc to", ifname, error)),
        }
    }

    /// Removes the `clsact` qdisc if there is no filter in it.
    pub(crate) fn remove_empty_clsact(&self, ifname: &str, index: u32) -> Result<(), Error> {
        let failed = |error| self.error("remove the clsact qdisc of", ifname, error);
        let sides = [TcHandle::MIN_INGRESS, TcHandle::MIN_EGRESS];
        for side in sides {
            if !self.dump_filters(index, side).map_err(failed)?.is_empty() {
                return Ok(());
            }
        }
        let removed = self.request(RouteNetlinkMessage::DelQueueDiscipline(clsact(index)), 0);
        missing_is_fine(removed).map_err(failed)
    }

    /// Puts a filter on the interface, or another program into the one that is there.
    pub(crate) fn put_filter(
        &self,
        ifname: &str,
        filter: &Filter,
        program: &[Instruction],
        to: u32,
    ) -> Result<(), Error> {
        self.put_program(filter, program, to)
            .map_err(|error| self.error("put a filter on", ifname, error))
    }

    fn put_program(&self, filter: &Filter, program: &[Instruction], to: u32) -> io::Result<()> {
        let mut message = filter_message(filter.index, filter.kind);
        let flags = if filter.kind.is_direct() {
            TCA_BPF_FLAG_ACT_DIRECT
        } else {
            0
        };
        message.attributes.push(TcAttribute::Options(vec![
            TcOption::Bpf(TcFilterBpfOption::Other(DefaultNla::new(
                TCA_BPF_FLAGS,
                flags.to_ne_bytes().to_vec(),
            ))),
            TcOption::Bpf(TcFilterBpfOption::Other(DefaultNla::new(
                TCA_BPF_ACT,
                action(filter, to),
            ))),
            TcOption::Bpf(TcFilterBpfOption::Other(DefaultNla::new(
                TCA_BPF_OPS_LEN,
                u16::try_from(program.len())
                    .expect("a program is checked to be short")
                    .to_ne_bytes()
                    .to_vec(),
            ))),
            TcOption::Bpf(TcFilterBpfOption::Other(DefaultNla::new(
                TCA_BPF_OPS,
                program.iter().flat_map(|op| op.to_bytes()).collect(),
            ))),
        ]));
        self.request(
            RouteNetlinkMessage::NewTrafficFilter(message),
            NLM_F_CREATE | NLM_F_REPLACE,
        )
        .map(drop)
    }

    /// Removes a filter. One that is not there is as good as removed.
    ///
    /// A kernel that describes what goes to whoever listens, in a message of a page, may refuse to
    /// remove a program that does not fit: it is made short first.
    pub(crate) fn remove_filter(&self, ifname: &str, filter: &Filter) -> Result<(), Error> {
        let failed = |error| self.error("remove a filter of", ifname, error);
        // Where there is no qdisc, the kernel takes the request itself for wrong.
        if self.our_filters(ifname, filter.index)?.is_empty() {
            return Ok(());
        }
        let shortened = self.put_program(filter, &capture::nothing(), filter.index);
        missing_is_fine(shortened).map_err(failed)?;
        let message = filter_message(filter.index, filter.kind);
        let removed = self.request(RouteNetlinkMessage::DelTrafficFilter(message), 0);
        missing_is_fine(removed).map_err(failed)
    }

    /// Takes filters of ours off an interface, and the qdisc if we made it for them. An interface
    /// that is gone needs nothing.
    pub(crate) fn remove_filters(&self, ifname: &str, kinds: &[FilterKind]) -> Result<(), Error> {
        let Some(state) = self.state(ifname)? else {
            return Ok(());
        };
        let mut ours = self.our_filters(ifname, state.index)?;
        ours.retain(|it| kinds.contains(&it.kind));
        for filter in &ours {
            self.remove_filter(ifname, filter)?;
        }
        match ours.iter().any(|it| it.qdisc == QdiscOrigin::Ours) {
            true => self.remove_empty_clsact(ifname, state.index),
            false => Ok(()),
        }
    }

    /// Our filters at the ingress of the interface.
    pub(crate) fn our_filters(&self, ifname: &str, index: u32) -> Result<Vec<Filter>, Error> {
        let found = self
            .dump_filters(index, TcHandle::MIN_INGRESS)
            .map_err(|error| self.error("list the filters of", ifname, error))?;
        Ok(found.iter().filter_map(ours).collect())
    }

    fn dump_filters(&self, index: u32, side: u16) -> io::Result<Vec<TcMessage>> {
        let mut message = TcMessage::default();
        message.header.index = index.cast_signed();
        message.header.parent = TcHandle {
            major: u16::MAX,
            minor: side,
        };
        let found = self.request(RouteNetlinkMessage::GetTrafficFilter(message), NLM_F_DUMP);
        let found = match found {
            // There is no such qdisc.
            Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => Vec::new(),
            other => other?,
        };
        let filters = found.into_iter().filter_map(|message| {
            let RouteNetlinkMessage::NewTrafficFilter(filter) = message else {
                return None;
            };
            Some(filter)
        });
        Ok(filters.collect())
    }
}

fn clsact(index: u32) -> TcMessage {
    let header = TcHeader {
        index: index.cast_signed(),
        handle: TcHandle {
            major: u16::MAX,
            minor: 0,
        },
        parent: TcHandle::CLSACT,
        ..TcHeader::default()
    };
    let kind = TcAttribute::Kind("clsact".to_owned());
    TcMessage::from_parts(header, vec![kind])
}

fn filter_message(index: u32, kind: FilterKind) -> TcMessage {
    let header = TcHeader {
        index: index.cast_signed(),
        handle: TcHandle::from(kind as u32),
        parent: TcHandle {
            major: u16::MAX,
            minor: TcHandle::MIN_INGRESS,
        },
        info: u32::from(TcHandle {
            major: PRIORITY,
            minor: EVERY_PROTOCOL.to_be(),
        }),
        ..TcHeader::default()
    };
    let kind = TcAttribute::Kind(TcFilterBpf::KIND.to_owned());
    TcMessage::from_parts(header, vec![kind])
}

/// The filter's one action.
fn action(filter: &Filter, to: u32) -> Vec<u8> {
    let (direction, then) = filter.kind.action();
    let mut mirror = TcMirror::default();
    mirror.generic.action = then;
    mirror.eaction = direction;
    mirror.ifindex = to;
    let mut action = TcAction::default();
    action.attributes = vec![
        TcActionAttribute::Kind(TcActionMirror::KIND.to_owned()),
        TcActionAttribute::Cookie(cookie(filter.qdisc)),
        TcActionAttribute::Options(vec![TcActionOption::Mirror(TcActionMirrorOption::Parms(
            mirror,
        ))]),
    ];
    let actions = [action];
    let mut bytes = vec![0; actions.as_slice().buffer_len()];
    actions.as_slice().emit(&mut bytes);
    bytes
}

/// Reads a filter of ours; `None` when it is somebody else's.
fn ours(message: &TcMessage) -> Option<Filter> {
    let handle = u32::from(message.header.handle);
    let kind = FilterKind::ALL
        .into_iter()
        .find(|kind| *kind as u32 == handle)?;
    let qdisc = actions(message)?
        .into_iter()
        .flat_map(|action| action.attributes)
        .find_map(|attribute| {
            let TcActionAttribute::Cookie(cookie) = attribute else {
                return None;
            };
            parse_cookie(&cookie)
        })?;
    Some(Filter {
        kind,
        index: message.header.index.cast_unsigned(),
        qdisc,
    })
}

fn actions(message: &TcMessage) -> Option<Vec<TcAction>> {
    let options = message.attributes.iter().find_map(|attribute| {
        let TcAttribute::Options(options) = attribute else {
            return None;
        };
        Some(options)
    })?;
    let list = options.iter().find_map(|option| {
        let TcOption::Bpf(TcFilterBpfOption::Other(nla)) = option else {
            return None;
        };
        let mut value = vec![0; nla.value_len()];
        nla.emit_value(&mut value);
        (nla.kind() & NLA_TYPE_MASK == TCA_BPF_ACT).then_some(value)
    })?;
    let each = NlasIterator::new(&list[..]).filter_map(|nla| TcAction::parse(&nla.ok()?).ok());
    Some(each.collect())
}

fn missing_is_fine<T>(answer: io::Result<T>) -> io::Result<()> {
    match answer {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(nix::libc::ENOENT | nix::libc::ENODEV) => Ok(()),
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod kernel_tests {
    use super::*;
    use crate::{NamespaceRef, Netns};
    use testbed::{Namespace, link};

    #[test]
    fn a_filter_that_was_never_there_is_as_good_as_removed() {
        let [host, outside] = [(); 2].map(|()| Namespace::new().unwrap());
        link::veth(&host, "eth0", &outside, "eth0").unwrap();
        let netns = Netns::find(NamespaceRef::Path(host.path())).unwrap();
        let removed = netns.run(|inside| {
            let links = inside.links()?;
            let index = links.state("eth0")?.unwrap().index;
            let filter = |index| Filter {
                kind: FilterKind::Steal,
                index,
                qdisc: QdiscOrigin::Ours,
            };
            links.remove_filter("eth0", &filter(index))?;
            links.remove_filter("gone", &filter(index + 1000))
        });
        removed.unwrap();
    }
}
