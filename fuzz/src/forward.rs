//! Any frames, from any ports, received, carried and sent: the batch loop with its counters.
//!
//! The input and the switch are those of `pipeline`, but that no network has a gateway: every frame
//! is sent or dropped. Ports 1, 4 and 8 take only finished frames,
//! port 7 is configured but not open.

use crate::carry::{PORTS, Record, topology};
use dataplane::{Forwarder, Outlet, View};
use pipeline::{BatchLimits, Instant, PortId, PortTotals, WorkerId};
use port::memory::{self, MemoryConfig, Peer};
use port::{Offloads, Rx};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const FINISHED_ONLY: [PortId; 3] = [PortId(1), PortId(4), PortId(8)];
const CLOSED: PortId = PortId(7);
/// Frames that a wire holds: more than the segments of one superframe.
const CAPACITY: usize = 2048;

/// Carries the frames in `data`, one after the other.
///
/// # Panics
/// When a frame is neither sent nor counted as dropped, when what is counted as sent did not
/// arrive, or when a port gets a frame that it cannot finish.
pub fn forward(data: &[u8]) {
    let mut switch = Switch::new();
    let mut rest = data;
    while let Some((record, after)) = Record::take(rest) {
        rest = after;
        if record.from != CLOSED {
            switch.carry(&record);
        }
    }
}

struct Switch {
    now: Instant,
    view: View,
    forwarder: Forwarder,
    wires: BTreeMap<PortId, (Peer, Box<dyn Rx>)>,
}

impl Switch {
    fn new() -> Self {
        let mut view = View::new(1).with_configuration(Arc::new(topology(None)), Arc::default());
        let mut wires = BTreeMap::new();
        for id in (0..PORTS)
            .map(|id| PortId(u16::from(id)))
            .filter(|&id| id != CLOSED)
        {
            let plain = FINISHED_ONLY.contains(&id);
            let offloads = if plain { Offloads::NONE } else { Offloads::ALL };
            let config = MemoryConfig {
                offloads,
                capacity: CAPACITY,
            };
            let (port, peer) = memory::pair_with(config).expect("descriptors for a memory port");
            let rx = port
                .queues
                .into_iter()
                .next()
                .expect("a memory port has one queue");
            view = view.with_outlet(id, Some(Arc::new(Outlet::new(port.tx, 1))));
            wires.insert(id, (peer, rx));
        }
        let forwarder = Forwarder::new(WorkerId(0), BatchLimits::default());
        Self {
            now: Instant::ZERO,
            view,
            forwarder,
            wires,
        }
    }

    fn carry(&mut self, record: &Record<'_>) {
        self.now = self.now + Duration::from_secs(1);
        let before = self.totals();
        let (peer, rx) = self.wires.get_mut(&record.from).expect("the port is open");
        peer.send(record.frame, record.vnet)
            .expect("the port was served to the end");
        let (now, view) = (self.now, &self.view);
        let served = self.forwarder.serve(record.from, &mut **rx, || (now, view));
        assert_eq!(served, Ok(1));
        let after = self.totals();
        assert_eq!(after.rx_frames - before.rx_frames, 1);
        let sent = after.tx_frames - before.tx_frames;
        let dropped = after.dropped_in_all() - before.dropped_in_all();
        assert!(sent + dropped > 0, "a frame vanished");
        self.look_at_what_arrived(sent, dropped);
    }

    fn look_at_what_arrived(&self, sent: u64, dropped: u64) {
        let (mut whole, mut finished) = (0, 0);
        for (id, (peer, _)) in &self.wires {
            while let Some((bytes, vnet)) = peer.recv() {
                assert!(bytes.len() >= 14);
                if FINISHED_ONLY.contains(id) {
                    assert!(!vnet.needs_csum() && !vnet.is_gso(), "{id}: {vnet:?}");
                    finished += 1;
                } else {
                    whole += 1;
                }
            }
        }
        // Where frames are cut, one that is counted becomes several.
        assert!(
            whole <= sent && whole + finished >= sent,
            "{sent} sent, {whole} whole, {finished} finished"
        );
        assert!(finished == 0 || sent + dropped > whole);
    }

    fn totals(&self) -> PortTotals {
        let mut sum = PortTotals::default();
        for outlet in self.wires.keys().filter_map(|&id| self.view.outlet(id)) {
            outlet.counters(WorkerId(0)).add_to(&mut sum);
        }
        sum
    }
}
