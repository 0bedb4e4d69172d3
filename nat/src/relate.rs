//! Packets that belong to a connection although they do not say so themselves: ICMP errors about its
//! packets, and the fragments of those.

use crate::arrival::Routed;
use crate::fragments::{Later, PacketVerdict, Piece};
use crate::icmp::{Translations, quoted_tuple, translations};
use crate::leave::{Decided, How, Passage, Way};
use crate::rewrite::Rewrite;
use crate::tuple::{TransportAddr, Tuple, addresses};
use pipeline::{Decision, DropReason, Trace};
use std::net::IpAddr;

impl<T: Trace> Passage<'_, T> {
    /// Returns where an ICMP error goes: to the sender of the packet that it quotes.
    pub(crate) fn relate(&mut self, how: How) -> Result<Decided, DropReason> {
        let quoted = quoted_tuple(self.arrival.frame, self.arrival.headers)?;
        let (sender, ..) = addresses(self.arrival.headers).ok_or(DropReason::IpInvalid)?;
        let from = self.arrival.network;
        let translator = self.translator();
        let external = |uplink| self.router.external(uplink).ok_or(DropReason::NoRoute);
        let related = match how {
            How::Followed(way) => {
                translator.related_followed(from, way.network, &quoted)?;
                return Ok(Decided::plain(way));
            }
            How::Prefixed(way) => return self.relate_prefixed(way, sender, &quoted),
            How::Outbound(way) => {
                translator.related_outbound(from, &quoted, &external(way.network)?)?
            }
            How::Inbound => translator.related_inbound(&quoted, &external(from)?)?,
            How::Hairpin(uplink) => {
                translator.related_hairpin(from, &quoted, &external(uplink)?)?
            }
        };
        self.context.tell(Decision::ErrorRelated {
            flow: quoted.src,
            ip: related.dst,
        });
        let way = match how {
            How::Outbound(way) => way,
            How::Followed(_) | How::Prefixed(_) | How::Inbound | How::Hairpin(_) => Way {
                network: related.receiver.network,
                to: related.dst,
            },
        };
        let Translations { outer, quoted } = translations(sender, &quoted, &related);
        Ok(Decided {
            way,
            outer: Some(outer),
            quoted: Some(quoted),
        })
    }

    /// An error between ends of which one or both have two prefixes.
    fn relate_prefixed(
        &mut self,
        way: Way,
        sender: IpAddr,
        quoted: &Tuple,
    ) -> Result<Decided, DropReason> {
        let prefixes = &self.router.prefixes;
        let inner = prefixes.inner_tuple(quoted)?;
        let receiver = inner.src.ip;
        let from = self.arrival.network;
        self.translator()
            .related_followed(from, way.network, &inner)?;
        let error = Tuple {
            protocol: quoted.protocol,
            src: TransportAddr::new(sender, 0),
            dst: TransportAddr::new(quoted.src.ip, 0),
        };
        let error = prefixes.inner_tuple(&error)?;
        Ok(Decided {
            way,
            outer: Some(prefixes.translation(&error, receiver)?),
            quoted: Some(prefixes.translation(&inner, receiver)?),
        })
    }

    /// A fragment that is not the first goes where its packet's first one went, and waits for it
    /// if it must.
    pub(crate) fn pass_later(&mut self, piece: &Piece) -> Result<Routed, DropReason> {
        // Its first one may have had a hop more, and been shorter.
        self.check_hops()?;
        let fragments = &self.router.live.fragments;
        let later = fragments.later(
            piece,
            self.arrival,
            self.context.now,
            self.context.effects,
            self.outbox,
        );
        match later? {
            Later::Forward(network, rewrite) => {
                let interface = self.router.interface(network).ok_or(DropReason::NoRoute)?;
                self.check_fit(interface.mtu)?;
                self.context.tell(Decision::FirstFragmentFollowed);
                let fragment = self.fragment(interface.mtu);
                let rewrite = Rewrite {
                    fragment,
                    ..rewrite
                };
                Ok(Routed::Forward(network, rewrite))
            }
            Later::Held => {
                self.context.tell(Decision::FirstFragmentAwaited);
                Ok(Routed::Taken)
            }
        }
    }

    /// Remembers for the later fragments what was decided about the first. One that waits for its
    /// next hop is decided when it is carried again.
    pub(crate) fn remember(&mut self, piece: &Piece, decided: Result<Routed, DropReason>) {
        let decision = match decided {
            Ok(Routed::Forward(network, rewrite)) => PacketVerdict::Forward(network, rewrite),
            Ok(Routed::Taken) | Err(DropReason::NextHopUnknown) => return,
            Err(reason) => PacketVerdict::Drop(reason),
        };
        let fragments = &self.router.live.fragments;
        fragments.first(
            piece,
            decision,
            self.context.now,
            self.context.effects,
            self.outbox,
        );
    }
}
