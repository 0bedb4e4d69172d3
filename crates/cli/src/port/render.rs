//! Ports as text.

use crate::output::{list, pairs, table, word};
use crate::parse;
use api::{Direction, Lock, Mirror, Port, PortState, VlanMode};

/// A line each.
pub(super) fn listed(ports: &[Port]) -> String {
    let row = |port: &Port| {
        let (spec, counters) = (&port.spec, &port.counters);
        [
            spec.name.to_string(),
            spec.kind.label().to_owned(),
            port.datapath.to_string(),
            word(spec.network.as_ref()),
            state(port.state).to_owned(),
            vlan(spec.vlan.as_ref()),
            port.macs.to_string(),
            counters.rx_frames.to_string(),
            counters.tx_frames.to_string(),
            counters.dropped().to_string(),
            port.why.clone().unwrap_or_default(),
        ]
    };
    let header = [
        "NAME",
        "KIND",
        "DATAPATH",
        "NETWORK",
        "STATE",
        "VLAN",
        "MACS",
        "RX-FRAMES",
        "TX-FRAMES",
        "DROPPED",
        "WHY",
    ];
    table(header, ports.iter().map(row))
}

/// Everything.
pub(super) fn shown(port: &Port) -> String {
    let (spec, counters) = (&port.spec, &port.counters);
    let mut lines = vec![
        ("name", spec.name.to_string()),
        ("id", port.id.to_string()),
        ("kind", spec.kind.to_string()),
        ("datapath", port.datapath.to_string()),
        ("network", word(spec.network.as_ref())),
        (
            "endpoint",
            port.endpoint
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
        ),
        (
            "state",
            port.why.as_ref().map_or_else(
                || state(port.state).to_owned(),
                |why| format!("{}: {why}", state(port.state)),
            ),
        ),
        ("vlan", vlan(spec.vlan.as_ref())),
        (
            "isolated",
            match spec.isolated {
                Some(true) => "yes",
                Some(false) => "no",
                None => "as the network says",
            }
            .to_owned(),
        ),
        (
            "lock",
            spec.lock
                .as_ref()
                .map_or_else(|| "any address may send".to_owned(), lock),
        ),
        (
            "macs",
            format!(
                "{} of at most {}",
                port.macs,
                spec.max_macs
                    .map_or_else(|| "the network's".to_owned(), |max| max.to_string())
            ),
        ),
        (
            "storm limits",
            spec.storm
                .as_ref()
                .map_or_else(|| "the network's".to_owned(), parse::storm_text),
        ),
        (
            "rate",
            spec.rate.as_ref().map(parse::rate_text).unwrap_or_default(),
        ),
        (
            "mirror",
            spec.mirror.as_ref().map(mirror).unwrap_or_default(),
        ),
        ("workers", list(&port.workers)),
        (
            "received",
            format!("{} frames, {} bytes", counters.rx_frames, counters.rx_bytes),
        ),
        (
            "sent",
            format!("{} frames, {} bytes", counters.tx_frames, counters.tx_bytes),
        ),
        ("dropped", format!("{} frames", counters.dropped())),
    ];
    lines.extend(
        counters
            .drops
            .iter()
            .map(|(label, count)| ("  drops", format!("{count} {label}"))),
    );
    pairs(lines)
}

fn state(state: PortState) -> &'static str {
    match state {
        PortState::Up => "up",
        PortState::Down => "down",
        PortState::Dead => "dead",
    }
}

fn vlan(mode: Option<&VlanMode>) -> String {
    match mode {
        None => "default".to_owned(),
        Some(VlanMode::Access { vid }) => format!("access {vid}"),
        Some(VlanMode::Trunk {
            allowed,
            native: None,
            ..
        }) => format!("trunk {allowed}"),
        Some(VlanMode::Trunk {
            allowed,
            native: Some(native),
            native_tagged,
        }) => {
            let tagged = if *native_tagged { " tagged" } else { "" };
            format!("trunk {allowed}, native {native}{tagged}")
        }
        Some(VlanMode::Dot1qTunnel { vid }) => format!("tunnel {vid}"),
    }
}

fn lock(lock: &Lock) -> String {
    if lock.ips.is_empty() {
        format!("{}, any IP address", lock.mac)
    } else {
        format!("{}, {}", lock.mac, list(&lock.ips))
    }
}

fn mirror(mirror: &Mirror) -> String {
    let direction = match mirror.direction {
        Direction::Rx => "received from",
        Direction::Tx => "sent to",
        Direction::Both => "received from and sent to",
    };
    format!("copies of frames {direction} {}", list(&mirror.of))
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{Counters, DatapathKind, PortAdd, PortKind, VlanSet};

    fn web() -> Port {
        let kind = PortKind::Tap {
            netns: Some("web".parse().unwrap()),
            ifname: "eth0".into(),
            queues: 1,
        };
        let spec = PortAdd {
            network: Some("blue".parse().unwrap()),
            vlan: Some(VlanMode::Trunk {
                allowed: VlanSet::all(),
                native: Some(10.try_into().unwrap()),
                native_tagged: true,
            }),
            lock: Some(Lock {
                mac: "02:00:00:00:00:0a".parse().unwrap(),
                ips: vec!["10.1.0.2".parse().unwrap()],
            }),
            ..PortAdd::new("web".parse().unwrap(), kind)
        };
        let drops = [("spoofed_mac".to_owned(), 2), ("tx_full".to_owned(), 1)].into();
        let counters = Counters {
            rx_frames: 10,
            rx_bytes: 1000,
            tx_frames: 9,
            tx_bytes: 900,
            drops,
        };
        Port {
            id: 4,
            spec,
            state: PortState::Up,
            why: None,
            endpoint: Some("web".parse().unwrap()),
            datapath: DatapathKind::Kernel,
            workers: vec![0],
            macs: 1,
            counters,
        }
    }

    #[test]
    fn a_list_is_a_line_each() {
        let dead = Port {
            state: PortState::Dead,
            why: Some("the interface no longer exists".into()),
            ..web()
        };
        assert_eq!(
            listed(&[web(), dead]),
            "NAME  KIND  DATAPATH  NETWORK  STATE  VLAN                         MACS  RX-FRAMES  TX-FRAMES  DROPPED  WHY\n\
             web   tap   kernel    blue     up     trunk all, native 10 tagged  1     10         9          3\n\
             web   tap   kernel    blue     dead   trunk all, native 10 tagged  1     10         9          3        the interface no longer exists\n"
        );
    }

    #[test]
    fn a_port_is_shown_whole() {
        assert_eq!(
            shown(&web()),
            "name:          web\n\
             id:            4\n\
             kind:          tap eth0 in web, 1 queue(s)\n\
             datapath:      kernel\n\
             network:       blue\n\
             endpoint:      web\n\
             state:         up\n\
             vlan:          trunk all, native 10 tagged\n\
             isolated:      as the network says\n\
             lock:          02:00:00:00:00:0a, 10.1.0.2\n\
             macs:          1 of at most the network's\n\
             storm limits:  the network's\n\
             workers:       0\n\
             received:      10 frames, 1000 bytes\n\
             sent:          9 frames, 900 bytes\n\
             dropped:       3 frames\n\
             \x20 drops:       2 spoofed_mac\n\
             \x20 drops:       1 tx_full\n"
        );
    }
}
