//! A port with many far ends: what an overlay's socket is to the switch, without the socket.
//!
//! ```text
//!   Spoke::send of peer 1 --+                                   +--> [ queue ] --> Spoke::recv of peer 1
//!   Spoke::send of peer 2 --+--> [ queue ] --> Rx        Tx ----+--> [ queue ] --> Spoke::recv of peer 2
//!   Spoke::send of peer 3 --+                                   +--> [ queue ] --> Spoke::recv of peer 3
//! ```

use super::{Lane, MemoryConfig, MemoryRx};
use crate::{Offloads, Port, PortError, Tx};
use pipeline::{Destination, DropReason, Frame, PeerId, Peers, Tunnel, TunnelKey};
use std::sync::Arc;
use wire::VnetHeader;

/// A port with so many far ends, which are the peers 1, 2, 3 and so on.
///
/// # Errors
/// [`PortError::Event`] when the process has no descriptors left.
pub fn hub(peers: u16, config: MemoryConfig) -> Result<(Port, Vec<Spoke>), PortError> {
    let inward = Arc::new(Lane::new(config.capacity)?);
    let spoke = |peer| {
        Ok(Spoke {
            peer: PeerId(peer),
            inward: Arc::clone(&inward),
            outward: Arc::new(Lane::new(config.capacity)?),
        })
    };
    let spokes = (1..=peers).map(spoke).collect::<Result<Vec<_>, _>>()?;
    let tx = HubTx {
        peers: spokes
            .iter()
            .map(|spoke| (spoke.peer, Arc::clone(&spoke.outward)))
            .collect(),
        offloads: config.offloads,
    };
    let port = Port {
        queues: vec![Box::new(MemoryRx { lane: inward })],
        tx: Arc::new(tx),
    };
    Ok((port, spokes))
}

/// One far end of a hub.
#[derive(Debug)]
pub struct Spoke {
    peer: PeerId,
    inward: Arc<Lane>,
    outward: Arc<Lane>,
}

impl Spoke {
    /// The peer that it is to the port.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Sends a frame to the port, with a tunnel key.
    ///
    /// # Errors
    /// [`DropReason::TxFull`] when the port has not kept up.
    pub fn send(&self, key: TunnelKey, frame: &[u8], vnet: VnetHeader) -> Result<(), DropReason> {
        let peer = self.peer;
        self.inward.push(frame, vnet, Tunnel { peer, key })
    }

    /// The next frame that the port sent here, with its tunnel key, if one waits.
    #[must_use]
    pub fn recv(&self) -> Option<(TunnelKey, Vec<u8>, VnetHeader)> {
        let sent = self.outward.frames.pop()?;
        Some((sent.tunnel.key, sent.bytes, sent.vnet))
    }
}

#[derive(Debug)]
struct HubTx {
    peers: Vec<(PeerId, Arc<Lane>)>,
    offloads: Offloads,
}

impl Tx for HubTx {
    fn offloads(&self) -> Offloads {
        self.offloads
    }

    /// Sends to every peer that is meant; the first failure is the frame's.
    fn transmit(&self, frame: &mut Frame<'_>, to: Destination) -> Result<(), DropReason> {
        let meant = |(peer, _): &&(PeerId, _)| to.peers.contain(*peer);
        let mut result = match to.peers {
            Peers::One(peer) if !self.peers.iter().any(|(own, _)| *own == peer) => {
                Err(DropReason::TxGone)
            }
            Peers::One(_) | Peers::All | Peers::AllBut(_) => Ok(()),
        };
        for &(peer, ref lane) in self.peers.iter().filter(meant) {
            let tunnel = Tunnel { peer, key: to.key };
            let sent = lane.push(frame.bytes(), frame.vnet, tunnel);
            result = result.and(sent);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline::{Batch, BatchLimits, HEADROOM};

    const BLUE: TunnelKey = TunnelKey(7);

    fn transmit(port: &Port, byte: u8, peers: Peers) -> Result<(), DropReason> {
        let mut room = [&[0; HEADROOM], &[byte; 60][..]].concat();
        let end = room.len();
        let mut frame = Frame::new(&mut room, HEADROOM, end, VnetHeader::default());
        port.tx
            .transmit(&mut frame, Destination { peers, key: BLUE })
    }

    /// The first bytes of what waits at each spoke.
    fn heard(spokes: &[Spoke]) -> Vec<Vec<u8>> {
        let all = |spoke: &Spoke| {
            std::iter::from_fn(|| spoke.recv())
                .inspect(|(key, ..)| assert_eq!(*key, BLUE))
                .map(|(_, bytes, _)| bytes[0])
                .collect()
        };
        spokes.iter().map(all).collect()
    }

    #[test]
    fn a_frame_names_the_peer_and_the_key_it_came_with() {
        let (mut port, spokes) = hub(2, MemoryConfig::default()).unwrap();
        for (spoke, key) in [(1, 9), (0, 7)] {
            spokes[spoke]
                .send(TunnelKey(key), &[1; 60], VnetHeader::default())
                .unwrap();
        }
        let mut batch = Batch::new(BatchLimits::default());
        port.queues[0].receive(&mut batch).unwrap();
        let tunnels = [0, 1].map(|index| batch.frame(index).tunnel);
        let tunnel = |peer, key| Tunnel {
            peer: PeerId(peer),
            key: TunnelKey(key),
        };
        assert_eq!(tunnels, [tunnel(2, 9), tunnel(1, 7)]);
    }

    #[test]
    fn a_frame_is_copied_to_those_peers_that_are_meant() {
        let (port, spokes) = hub(3, MemoryConfig::default()).unwrap();
        transmit(&port, 1, Peers::One(PeerId(2))).unwrap();
        transmit(&port, 2, Peers::All).unwrap();
        transmit(&port, 3, Peers::AllBut(PeerId(1))).unwrap();
        assert_eq!(heard(&spokes), [vec![2], vec![1, 2, 3], vec![2, 3]]);
    }

    #[test]
    fn a_peer_that_is_full_or_not_there_is_told_and_the_others_hear() {
        let config = MemoryConfig {
            capacity: 1,
            ..MemoryConfig::default()
        };
        let (port, spokes) = hub(2, config).unwrap();
        transmit(&port, 1, Peers::One(PeerId(1))).unwrap();
        let full = Err(DropReason::TxFull);
        assert_eq!(transmit(&port, 2, Peers::All), full);
        for peer in [0, 3] {
            let gone = transmit(&port, 3, Peers::One(PeerId(peer)));
            assert_eq!(gone, Err(DropReason::TxGone));
        }
        assert_eq!(heard(&spokes), [vec![1], vec![2]]);
    }
}
