//! The call that leads a frame through the live tables.

use super::refuse::refused;
use super::snapshot::Snapshot;
use super::translate::{drop_info, name, owner};
use crate::craft;
use api::{
    ApiError, ExplainRequest, Explanation, FrameSpec, Leased, Mac, Output, Reply, Step, TagType,
    Verdict, VlanTag,
};
use control::Port;
use dataplane::{Explanation as Explained, Outcome, Reply as Answered};
use pipeline::{Decision, DropReason, Field, Names, PeerId};
use std::net::IpAddr;
use switch::{Form, Forward, Transmit, VlanMode};
use wire::{Headers, VlanId, VnetHeader};

impl Snapshot {
    /// Leads a frame through the live tables without side effects.
    pub(super) fn explain(&self, request: &ExplainRequest) -> Result<Explanation, ApiError> {
        let port = self
            .state
            .port_named(request.port.as_str())
            .map_err(|error| refused(&error))?;
        let lock = port.settings.lock.as_ref().map(|lock| lock.mac);
        let own = self.state.endpoint_of(port).map(|e| e.mac).or(lock);
        let src = own.unwrap_or(Mac([2, 0, 0, 0, 0, 1]));
        let dst = self.next_hop(port, &request.frame);
        let bytes = craft::frame(&request.frame, src, dst)?;
        let explained = self
            .dataplane
            .explain(port.id, &bytes, VnetHeader::default());
        let mut told = self.told(&self.state.vlan_of(port), &bytes, &explained);
        let reply = self.dataplane.explain_reply(port.id, &bytes, &explained);
        told.reply = reply.and_then(|reply| self.reply(&reply)).map(Box::new);
        Ok(told)
    }

    /// Whom a stack behind `port` would hand the frame to: the neighbour that has its address, or
    /// the gateway of an address that is not near.
    fn next_hop(&self, port: &Port, frame: &FrameSpec) -> Option<Mac> {
        let address = craft::destination(frame)?;
        let network = self.state.network(port.network?)?;
        if let Some(neighbour) = owner(&self.state, network.id, address) {
            return Some(neighbour.mac);
        }
        let is_gateway = match network.subnets.iter().find(|s| s.net.contains(&address)) {
            Some(near) => near.gateway == Some(address),
            None => {
                let mut gateways = network.subnets.iter().filter_map(|s| s.gateway);
                is_far(address) && gateways.any(|own| own.is_ipv4() == address.is_ipv4())
            }
        };
        let asks = matches!(frame, FrameSpec::Arp(_));
        (is_gateway && !asks).then(|| self.state.gateway_mac(network.id))
    }

    fn reply(&self, reply: &Answered) -> Option<Reply> {
        let called = Names::port(&*self.state, reply.from)?;
        let explanation = match self.state.port(reply.from) {
            Some(port) => self.told(&self.state.vlan_of(port), &reply.bytes, &reply.explanation),
            // The router's own links have no VLANs.
            None => self.told(&UNTAGGED, &reply.bytes, &reply.explanation),
        };
        Some(Reply {
            port: name(called),
            explanation,
        })
    }

    fn told(&self, from: &VlanMode, bytes: &[u8], explained: &Explained) -> Explanation {
        let left: Vec<_> = explained
            .outputs
            .iter()
            .map(|copy| self.output(from, bytes, copy))
            .collect();
        let verdict = match explained.verdict {
            Ok(Outcome::Taken) => Verdict::Answered,
            Ok(Outcome::Routed { .. }) => Verdict::Routed,
            Ok(Outcome::Switched(Forward::Unicast(_))) => Verdict::Forwarded,
            Ok(Outcome::Switched(Forward::Flood(_)))
                if left.iter().any(|output| !output.mirror) =>
            {
                Verdict::Flooded
            }
            Ok(Outcome::Switched(Forward::Flood(_) | Forward::Gateway)) | Err(_) => {
                Verdict::Dropped
            }
        };
        Explanation {
            verdict,
            drop: explained.verdict.as_ref().err().copied().map(drop_info),
            steps: explained
                .steps
                .iter()
                .map(|&decision| step(decision, &*self.state))
                .collect(),
            outputs: left,
            leaves_as: explained.rewritten.as_deref().map(hex::encode),
            frame: hex::encode(bytes),
            leased: explained.leased.map(|carried| Leased {
                frames: carried.frames,
                bytes: carried.bytes,
            }),
            reply: None,
        }
    }

    fn output(&self, from: &VlanMode, bytes: &[u8], copy: &Transmit) -> Output {
        let to = self.state.port(copy.port);
        let closed = self.dataplane.counters(copy.port).is_none();
        Output {
            port: match Names::port(&*self.state, copy.port) {
                Some(called) => name(called),
                None => name(&copy.port.to_string()),
            },
            tags: tags(from, bytes, copy.form),
            mirror: to.is_some_and(|p| p.settings.mirror.is_some()),
            drop: closed.then(|| drop_info(DropReason::TxGone)),
        }
    }
}

/// Returns whether an address that is in no subnet of the network's lies beyond it.
const fn is_far(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_multicast() && !v4.is_broadcast() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_multicast() && !v6.is_unicast_link_local(),
    }
}

/// The tags a frame from `from` has when it leaves in `form`: the switch's, then its cargo.
fn tags(from: &VlanMode, bytes: &[u8], form: Form) -> Vec<VlanTag> {
    let Ok(headers) = Headers::parse(bytes) else {
        return Vec::new();
    };
    let carried = [headers.outer, headers.inner];
    let cargo = match switch::vlan::arrived(from, &headers) {
        Form::Untagged => &carried[..],
        Form::Tagged(_) => &carried[1..],
    };
    let own = match form {
        Form::Untagged => None,
        Form::Tagged(tag) => Some(tag),
    };
    own.into_iter()
        .chain(cargo.iter().copied().flatten())
        .map(shown_tag)
        .collect()
}

const UNTAGGED: VlanMode = VlanMode::Access {
    vid: VlanId::DEFAULT,
};

/// A decision as the interface tells it.
pub(super) fn step(decision: Decision, names: &dyn Names) -> Step {
    let mut fields = serde_json::Map::new();
    decision.fields(|name, field| {
        fields.insert(name.to_owned(), value(field, names));
    });
    Step {
        code: decision.code(),
        stage: decision.stage().label().to_owned(),
        label: decision.label().to_owned(),
        fields,
        sentence: decision.sentence(names).to_string(),
    }
}

fn value(field: Field, names: &dyn Names) -> serde_json::Value {
    match field {
        Field::Number(number) => number.into(),
        Field::Reason(reason) => reason.label().into(),
        Field::Location(at) if at.peer != PeerId::NONE => serde_json::json!({
            "port": value(at.port.into(), names),
            "peer": at.peer.0,
        }),
        Field::Port(_)
        | Field::Location(_)
        | Field::Network(_)
        | Field::Mac(_)
        | Field::Ip(_)
        | Field::Transport(_)
        | Field::Protocol(_)
        | Field::EtherType(_)
        | Field::Word(_) => field.named(names).to_string().into(),
    }
}

fn shown_tag(tag: wire::VlanTag) -> VlanTag {
    VlanTag {
        r#type: if tag.tpid == wire::VlanTag::STAG {
            TagType::Service
        } else {
            TagType::Customer
        },
        vid: tag.vid(),
        priority: tag.to_bytes()[2] >> 5,
    }
}
