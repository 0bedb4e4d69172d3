//! How much a port may send and receive: bandwidth and packets a second.
//!
//! A container that fills the machine's processors with packets slows its neighbours down; one
//! that is to behave like a slow link is a test. What it sends is measured once its frame is
//! admitted, before any work is done for it; what it receives, per copy, once the copies are
//! known. A superframe costs what its packets will cost on a wire, as near as its headers tell.
//!
//! Several workers may send to one port at once: each then lets a frame more or less pass, which
//! [`pipeline::Meter`] allows.

use crate::egress::Outputs;
use crate::forward::Forward;
use crate::topology::{Ingress, Topology};
use model::Rate;
use pipeline::{Context, Decision, DropReason, Effects, Frame, Meter, Trace};
use std::sync::Arc;

/// The token buckets of a [`Rate`]; none at all unless set.
#[derive(Debug, Clone, Default)]
pub struct Limiter {
    /// Bytes of frames.
    pub bytes: Option<Arc<Meter>>,
    /// Packets.
    pub packets: Option<Arc<Meter>>,
}

impl Limiter {
    /// The full buckets of `rate`. Either lets a quarter of a second's worth pass at
    /// once, and never less than two superframes or 32 packets: a bucket that is full again before
    /// TCP retransmits what it refused (200 ms at least on Linux) wastes what flows in meanwhile.
    /// Bandwidth above 34 Gbit/s is not limited.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let bytes = rate
            .bits_per_second
            .and_then(|bits| u32::try_from(bits / 8).ok());
        let meter = |rate: u32, least: u32| Arc::new(Meter::new(rate, (rate / 4).max(least)));
        Self {
            bytes: bytes.map(|rate| meter(rate, 2 * 65_536)),
            packets: rate.packets_per_second.map(|rate| meter(rate, 32)),
        }
    }

    /// Returns whether it lets everything pass.
    #[must_use]
    pub const fn is_unlimited(&self) -> bool {
        self.bytes.is_none() && self.packets.is_none()
    }

    fn lets_pass<T>(&self, context: &Context<T>, frame: &Frame<'_>) -> bool {
        let Context { now, effects, .. } = *context;
        let packets = match usize::from(frame.vnet.gso_size) {
            size if frame.vnet.is_gso() && size > 0 => frame.len().div_ceil(size),
            _ => 1,
        };
        let ask = |meter: &Option<Arc<Meter>>, tokens: usize| {
            let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
            meter
                .as_ref()
                .is_none_or(|m| m.would_take_many(now, tokens))
        };
        let passes = ask(&self.bytes, frame.len()) && ask(&self.packets, packets);
        if passes && effects == Effects::Live {
            let take = |meter: &Option<Arc<Meter>>, tokens: usize| {
                let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
                // Asked a moment ago.
                let _ = meter.as_ref().is_none_or(|m| m.take_many(now, tokens));
            };
            take(&self.bytes, frame.len());
            take(&self.packets, packets);
        }
        passes
    }
}

/// Returns whether the ingress port may send `frame` now.
///
/// # Errors
/// [`DropReason::RateLimited`].
pub fn within_rate<T: Trace>(
    context: &mut Context<T>,
    ingress: Ingress<'_>,
    frame: &Frame<'_>,
) -> Result<(), DropReason> {
    let port = ingress.port;
    if port.sends.is_unlimited() || port.sends.lets_pass(context, frame) {
        return Ok(());
    }
    context.tell(Decision::SenderLimited { port: port.id });
    Err(DropReason::RateLimited)
}

/// Takes those copies out of `out` whose receivers have had their share, but for mirrors': those
/// see what there was.
///
/// # Errors
/// [`DropReason::ReceiverLimited`] when that was the one receiver of `forward`.
pub fn shape<T: Trace>(
    context: &mut Context<T>,
    topology: &Topology,
    frame: &Frame<'_>,
    forward: Forward,
    out: &mut Outputs,
) -> Result<(), DropReason> {
    let (mut index, mut refused) = (0, None);
    let mirrored = out.as_arrived;
    out.transmits.retain(|copy| {
        index += 1;
        let port = topology.port(copy.port).filter(|_| index > mirrored);
        let passes = port.is_none_or(|port| {
            port.receives.is_unlimited() || port.receives.lets_pass(context, frame)
        });
        if !passes {
            refused = Some(copy.port);
            context.tell(Decision::ReceiverLimited { port: copy.port });
        }
        passes
    });
    match forward {
        Forward::Unicast(to) if refused == Some(to.port) => Err(DropReason::ReceiverLimited),
        Forward::Unicast(_) | Forward::Flood(_) | Forward::Gateway => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fdb::{Fdb, FdbConfig};
    use crate::topology::{Network, Port};
    use pipeline::{Instant, NetworkId, NoTrace, PeerId, PortId};
    use wire::VnetHeader;

    fn sends(bits_per_second: Option<u64>, packets_per_second: Option<u32>) -> Port {
        let rate = Rate {
            bits_per_second,
            packets_per_second,
        };
        Port {
            sends: Limiter::new(rate),
            ..Port::plain(PortId(0), NetworkId(0))
        }
    }

    fn network() -> Network {
        Network {
            id: NetworkId(0),
            mtu: 1500,
            forward_reserved: false,
            fdb: Arc::new(Fdb::new(FdbConfig::default(), 1)),
            gateway: None,
            key: None,
        }
    }

    fn is_within_rate(port: &Port, frame: &Frame<'_>, mut context: Context<NoTrace>) -> bool {
        let network = &network();
        let ingress = Ingress {
            port,
            network,
            peer: PeerId::NONE,
        };
        within_rate(&mut context, ingress, frame).is_ok()
    }

    fn passed(port: &Port, len: usize, vnet: VnetHeader, frames: usize, now: Instant) -> usize {
        let mut room = vec![0; len];
        let frame = Frame::new(&mut room, 0, len, vnet);
        (0..frames)
            .filter(|_| is_within_rate(port, &frame, Context::live(now, NoTrace)))
            .count()
    }

    #[test]
    fn bandwidth_is_a_burst_and_then_the_rate() {
        let port = sends(Some(80_000_000), None);
        let plain = VnetHeader::default();
        let start = Instant::from_secs(1);
        // A quarter of 10 MB is the burst.
        assert_eq!(passed(&port, 10_000, plain, 1_000, start), 250);
        assert_eq!(passed(&port, 10_000, plain, 1_000, start), 0);
        let later = Instant::from_nanos(1_010_000_000);
        assert_eq!(passed(&port, 10_000, plain, 1_000, later), 10);
    }

    /// A sender that loses a whole flight waits so long before it tries again (RFC 6298; Linux's
    /// least).
    #[test]
    fn a_pause_of_tcp_costs_nothing() {
        let port = sends(Some(80_000_000), None);
        let plain = VnetHeader::default();
        let mut sent = 0;
        for milliseconds in (0..10_000).step_by(200) {
            let now = Instant::from_nanos(milliseconds * 1_000_000);
            sent += passed(&port, 10_000, plain, 1_000, now);
        }
        // A flight for each pause at the full rate, after the burst.
        assert_eq!(sent, 250 + 49 * 200);
    }

    #[test]
    fn a_superframe_counts_as_the_packets_it_becomes() {
        let port = sends(None, Some(400));
        let superframe = VnetHeader {
            gso_type: VnetHeader::GSO_TCPV4,
            gso_size: 1_000,
            ..VnetHeader::default()
        };
        // A hundred packets at once, ten superframes of ten.
        assert_eq!(
            passed(&port, 10_000, superframe, 100, Instant::from_secs(1)),
            10
        );
    }

    #[test]
    fn a_question_takes_nothing_and_no_limit_is_none() {
        let port = sends(None, Some(10));
        let mut room = [0; 60];
        let frame = Frame::new(&mut room, 0, 60, VnetHeader::default());
        for _ in 0..100 {
            assert!(is_within_rate(
                &port,
                &frame,
                Context::question(Instant::ZERO, NoTrace)
            ));
        }
        let free = sends(None, None);
        assert_eq!(
            passed(&free, 60, VnetHeader::default(), 10_000, Instant::ZERO),
            10_000
        );
    }
}
