//! What travels with a connection although it does not say so itself: ICMP errors about its
//! packets, and the fragments of those.

use crate::leave::{Decided, How, Passage, Way};
use crate::rewrite::Translation;
use crate::translate::Related;
use crate::tuple::{TransportAddr, Tuple, addresses};
use pipeline::{DropReason, Stage, Trace};
use wire::{Headers, Quoted, QuotedTransport};

impl<T: Trace> Passage<'_, T> {
    /// Where an ICMP error goes: to the sender of the packet that it quotes.
    pub(crate) fn relate(&mut self, how: How) -> Result<Decided, DropReason> {
        let quoted = quoted(self.arrival.frame.bytes(), self.arrival.headers)?;
        let from = self.arrival.network;
        let translator = self.translator();
        let external = |uplink| self.router.external(uplink).ok_or(DropReason::NoRoute);
        let related = match how {
            How::Followed(way) => {
                translator.related_followed(from, way.network, &quoted)?;
                return Ok(Decided::plain(way));
            }
            How::Outbound(way) => {
                translator.related_outbound(from, &quoted, &external(way.network)?)?
            }
            How::Inbound => translator.related_inbound(&quoted, &external(from)?)?,
            How::Hairpin(uplink) => {
                translator.related_hairpin(from, &quoted, &external(uplink)?)?
            }
        };
        self.trace.tell(Stage::Translate, || {
            format!("an error about {quoted}, which is for {}", related.dst)
        });
        self.addressed(how, &related)
    }

    /// The addresses an error leaves with. One from the world keeps its source: it is the router
    /// that has something to say.
    fn addressed(&self, how: How, related: &Related) -> Result<Decided, DropReason> {
        let (own, _, _) = addresses(self.arrival.headers).ok_or(DropReason::IpInvalid)?;
        let src = match how {
            How::Inbound => own,
            How::Followed(_) | How::Outbound(_) | How::Hairpin(_) => related.src,
        };
        let way = match how {
            How::Outbound(way) => way,
            How::Followed(_) | How::Inbound | How::Hairpin(_) => Way {
                network: related.receiver.network,
                to: related.dst,
            },
        };
        Ok(Decided {
            way,
            outer: Some(Translation {
                src: TransportAddr::new(src, 0),
                dst: TransportAddr::new(related.dst, 0),
            }),
            quoted: Some(related.quoted),
        })
    }
}

/// The tuple of the packet that an error quotes.
pub(crate) fn quoted(frame: &[u8], headers: &Headers) -> Result<Tuple, DropReason> {
    let quoted = Quoted::parse(frame, headers).ok_or(DropReason::IcmpUnrelated)?;
    let (src, dst) = match quoted.what {
        QuotedTransport::Ports { src, dst } => (src, dst),
        QuotedTransport::Query { id, asked: true } => (id, 0),
        QuotedTransport::Query { id, asked: false } => (0, id),
        QuotedTransport::Portless => (0, 0),
        QuotedTransport::Error | QuotedTransport::LaterFragment => {
            return Err(DropReason::IcmpUnrelated);
        }
    };
    Ok(Tuple {
        protocol: quoted.protocol,
        src: TransportAddr::new(quoted.src, src),
        dst: TransportAddr::new(quoted.dst, dst),
    })
}
