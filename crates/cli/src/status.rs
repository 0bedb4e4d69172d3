//! `clearway status`: how the daemon is.

use crate::failure::Failure;
use crate::output::{Output, list, pairs, table};
use api::{Client, DatapathStatus, Status, Uplink, UplinkState, WorkerStatus};
use std::io::Write;

/// How the daemon is.
#[derive(Debug, Clone, clap::Args)]
pub struct StatusArgs {
    #[command(flatten)]
    output: Output,
}

impl StatusArgs {
    pub(crate) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
        self.output.print(out, &client.status()?, shown)
    }
}

fn shown(status: &Status) -> String {
    let ports = status.ports;
    let summary = pairs([
        ("version", status.version.clone()),
        ("process", status.pid.to_string()),
        ("running for", duration(status.uptime_seconds)),
        ("generation", status.generation.to_string()),
        ("datapath", datapath(&status.datapath)),
        ("networks", status.networks.to_string()),
        ("endpoints", status.endpoints.to_string()),
        (
            "ports",
            format!("{} up, {} down, {} dead", ports.up, ports.down, ports.dead),
        ),
        ("macs", status.macs.to_string()),
        ("uplinks", list(status.uplinks.iter().map(uplink))),
        ("publications", status.publications.to_string()),
        (
            "received",
            format!("{} frames, {} bytes", status.frames, status.bytes),
        ),
        ("dropped", format!("{} frames", status.dropped)),
    ]);
    let warnings: String = status
        .warnings
        .iter()
        .map(|warning| format!("warning: {warning}\n"))
        .collect();
    let row = |worker: &WorkerStatus| {
        [
            worker.id.to_string(),
            worker.ports.to_string(),
            worker.frames.to_string(),
            format!("{:.1} %", worker.busy * 100.0),
        ]
    };
    let workers = table(
        ["WORKER", "PORTS", "FRAMES", "BUSY"],
        status.workers.iter().map(row),
    );
    format!("{summary}{warnings}\n{workers}")
}

/// `kernel` or `userspace (auto: the kernel cannot: it has no BPF)`.
fn datapath(datapath: &DatapathStatus) -> String {
    let in_force = datapath.in_force;
    match &datapath.why {
        Some(why) => format!(
            "{in_force} ({}: the kernel cannot: {why})",
            datapath.setting
        ),
        None if datapath.setting.word() == in_force.word() => in_force.to_string(),
        None => format!("{in_force} ({})", datapath.setting),
    }
}

/// `up` or `up (down: eth0 is gone)`.
fn uplink(uplink: &Uplink) -> String {
    match (uplink.state, &uplink.why) {
        (UplinkState::Up, _) => uplink.name.to_string(),
        (UplinkState::Down, None) => format!("{} (down)", uplink.name),
        (UplinkState::Down, Some(why)) => format!("{} (down: {why})", uplink.name),
    }
}

/// The two largest units.
fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, ..) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{Datapath, DatapathKind, PortsStatus};

    #[test]
    fn the_status_is_a_page() {
        let status = Status {
            version: "0.1.0".into(),
            pid: 7,
            uptime_seconds: 3723,
            generation: 12,
            datapath: DatapathStatus {
                setting: Datapath::Auto,
                in_force: DatapathKind::Userspace,
                why: Some("this kernel has no BPF".into()),
            },
            workers: vec![WorkerStatus {
                id: 0,
                ports: 2,
                frames: 1000,
                busy: 0.1234,
            }],
            networks: 1,
            ports: PortsStatus {
                up: 2,
                down: 1,
                dead: 0,
            },
            endpoints: 2,
            macs: 2,
            uplinks: vec![Uplink {
                name: "up".parse().unwrap(),
                dev: "eth0".into(),
                ports: api::PortRange::DYNAMIC,
                state: UplinkState::Down,
                why: Some("eth0 is gone".into()),
                mac: None,
                addresses: Vec::new(),
                gateways: Vec::new(),
                networks: Vec::new(),
            }],
            publications: 4,
            frames: 1000,
            bytes: 64_000,
            dropped: 3,
            warnings: vec!["the state directory is full".into()],
        };
        assert_eq!(
            shown(&status),
            "version:       0.1.0\n\
             process:       7\n\
             running for:   1h 2m\n\
             generation:    12\n\
             datapath:      userspace (auto: the kernel cannot: this kernel has no BPF)\n\
             networks:      1\n\
             endpoints:     2\n\
             ports:         2 up, 1 down, 0 dead\n\
             macs:          2\n\
             uplinks:       up (down: eth0 is gone)\n\
             publications:  4\n\
             received:      1000 frames, 64000 bytes\n\
             dropped:       3 frames\n\
             warning: the state directory is full\n\
             \n\
             WORKER  PORTS  FRAMES  BUSY\n\
             0       2      1000    12.3 %\n"
        );
    }

    #[test]
    fn the_datapath_is_a_word_and_its_reason() {
        let shown = |setting, in_force| {
            datapath(&DatapathStatus {
                setting,
                in_force,
                why: None,
            })
        };
        assert_eq!(shown(Datapath::Auto, DatapathKind::Kernel), "kernel (auto)");
        assert_eq!(
            shown(Datapath::Userspace, DatapathKind::Userspace),
            "userspace"
        );
    }

    #[test]
    fn durations_have_two_units() {
        assert_eq!(
            [59, 61, 3_661, 90_061].map(duration),
            ["59s", "1m 1s", "1h 1m", "1d 1h"]
        );
    }
}
