//! What is measured, in what unit, which way is better, and what Clearway wants to reach.

use serde::Serialize;

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Measure {
    /// Bulk TCP over one pair.
    BulkOne,
    /// Bulk TCP over all pairs at once.
    BulkAll,
    /// Bulk TCP over one pair with no other port on the switch.
    BulkAlone,
    /// Bulk TCP over one pair with 500 idle ports on the switch.
    BulkIdle,
    /// Half the round trip of a TCP message, mean.
    PingPongMean,
    /// The same, 99th percentile.
    PingPongP99,
    /// Datagrams of 64 bytes at no more than 1 % loss.
    Datagrams64,
    /// Datagrams of 1400 bytes at no more than 1 % loss.
    Datagrams1400,
    /// Time to attach the first container by the command line.
    AttachFirstCommand,
    /// Time to attach the last container by the command line.
    AttachLastCommand,
    /// Time to attach the first container by an exchange on the socket.
    AttachFirstExchange,
    /// Time to attach the last container by an exchange on the socket.
    AttachLastExchange,
    /// Bulk TCP from a container to the world.
    NatBulkOut,
    /// Bulk TCP from the world to a published port.
    NatBulkIn,
    /// Half the round trip of a TCP message to the world, mean.
    NatPingPongMean,
    /// Half the round trip of a TCP message to the world, 99th percentile.
    NatPingPongP99,
    /// Short TCP connections to the world.
    NatConnectionsOut,
    /// Short TCP connections from the world to a published port.
    NatConnectionsIn,
    /// Datagrams of 64 bytes to the world at no more than 1 % loss.
    NatDatagrams64,
    /// Datagrams of 1400 bytes to the world at no more than 1 % loss.
    NatDatagrams1400,
    /// Bulk TCP from a container to the world, beside a million connections.
    NatFullBulkOut,
    /// Half the round trip of a TCP message to the world, mean, beside a million connections.
    NatFullPingPongMean,
    /// Half the round trip of a TCP message to the world, 99th percentile, beside a million connections.
    NatFullPingPongP99,
    /// Short TCP connections to the world, beside a million connections.
    NatFullConnectionsOut,
    /// Datagrams of 64 bytes to the world at no more than 1 % loss, beside a million connections.
    NatFullDatagrams64,
    /// Bulk TCP from the world to a published port, with 10 000 ports and a range published.
    NatPublishedBulkIn,
    /// Short TCP connections from the world to a published port, with 10 000 ports and a range published.
    NatPublishedConnectionsIn,
    /// From `docker run` to the first packet that the world sees.
    DockerFirstPacket,
    /// `docker start` of a container with 206 published ports.
    DockerPorts,
    /// Bulk TCP between two containers of Docker's.
    DockerBulkOne,
    /// The same over all pairs at once.
    DockerBulkAll,
    /// Half the round trip of a TCP message between two containers of Docker's, mean.
    DockerPingPongMean,
    /// The same, 99th percentile.
    DockerPingPongP99,
    /// Datagrams of 64 bytes between two containers of Docker's at no more than 1 % loss.
    DockerDatagrams64,
    /// Datagrams of 1400 bytes between two containers of Docker's at no more than 1 % loss.
    DockerDatagrams1400,
    /// Memory that the daemon occupies with 100 containers of Docker's.
    DockerMemory,
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Better {
    /// More is better: a ratio should be at least its goal.
    Higher,
    /// Less is better: a ratio should be at most its goal.
    Lower,
}

/// What Clearway wants of one of its medians.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Goal {
    /// Divided by that peer's median: at least this, or at most, by the measure's [`Better`].
    Peer(&'static str, f64),
    /// Divided by its own median of another measure.
    Own(Measure, f64),
    /// As it is, in the measure's unit.
    Plain(f64),
}

#[derive(Debug, Clone, Copy)]
enum Unit {
    GbitPerSecond,
    Kpps,
    PerSecond,
    Microseconds,
    Milliseconds,
    Mebibytes,
}

/// All that is known of a measure.
struct Row {
    label: &'static str,
    unit: Unit,
    goals: &'static [Goal],
}

impl Measure {
    /// All, in the table's order.
    pub(super) const ALL: [Self; 36] = [
        Self::BulkOne,
        Self::BulkAll,
        Self::BulkAlone,
        Self::BulkIdle,
        Self::PingPongMean,
        Self::PingPongP99,
        Self::Datagrams64,
        Self::Datagrams1400,
        Self::AttachFirstCommand,
        Self::AttachLastCommand,
        Self::AttachFirstExchange,
        Self::AttachLastExchange,
        Self::NatBulkOut,
        Self::NatBulkIn,
        Self::NatPingPongMean,
        Self::NatPingPongP99,
        Self::NatConnectionsOut,
        Self::NatConnectionsIn,
        Self::NatDatagrams64,
        Self::NatDatagrams1400,
        Self::NatFullBulkOut,
        Self::NatFullPingPongMean,
        Self::NatFullPingPongP99,
        Self::NatFullConnectionsOut,
        Self::NatFullDatagrams64,
        Self::NatPublishedBulkIn,
        Self::NatPublishedConnectionsIn,
        Self::DockerFirstPacket,
        Self::DockerPorts,
        Self::DockerBulkOne,
        Self::DockerBulkAll,
        Self::DockerPingPongMean,
        Self::DockerPingPongP99,
        Self::DockerDatagrams64,
        Self::DockerDatagrams1400,
        Self::DockerMemory,
    ];

    /// The row's heading.
    pub(super) const fn label(self) -> &'static str {
        self.row().label
    }

    /// The unit of its samples.
    pub(super) const fn unit(self) -> &'static str {
        match self.row().unit {
            Unit::GbitPerSecond => "Gbit/s",
            Unit::Kpps => "kpps",
            Unit::PerSecond => "1/s",
            Unit::Microseconds => "µs",
            Unit::Milliseconds => "ms",
            Unit::Mebibytes => "MiB",
        }
    }

    /// Returns which way is better.
    pub(super) const fn better(self) -> Better {
        match self.row().unit {
            Unit::GbitPerSecond | Unit::Kpps | Unit::PerSecond => Better::Higher,
            Unit::Microseconds | Unit::Milliseconds | Unit::Mebibytes => Better::Lower,
        }
    }

    /// Returns what Clearway wants to reach.
    pub(super) const fn goals(self) -> &'static [Goal] {
        self.row().goals
    }

    const fn row(self) -> Row {
        match self {
            Self::BulkOne => row(
                "bulk TCP, 1 pair",
                Unit::GbitPerSecond,
                &[Goal::Peer("docker0", 1.15), Goal::Peer("ovs", 10.0)],
            ),
            Self::BulkAll => row(
                "bulk TCP, 8 pairs at once",
                Unit::GbitPerSecond,
                &[Goal::Peer("docker0", 1.1)],
            ),
            Self::BulkAlone => row("bulk TCP, 1 pair, no other port", Unit::GbitPerSecond, &[]),
            Self::BulkIdle => row(
                "bulk TCP, 1 pair, 500 idle ports",
                Unit::GbitPerSecond,
                &[Goal::Own(Self::BulkAlone, 0.95)],
            ),
            Self::PingPongMean => row(
                "TCP ping-pong 64 B, one way, mean",
                Unit::Microseconds,
                &[Goal::Peer("docker0", 0.8), Goal::Peer("ovs", 0.5)],
            ),
            Self::PingPongP99 => row(
                "TCP ping-pong 64 B, one way, p99",
                Unit::Microseconds,
                &[Goal::Peer("docker0", 1.0), Goal::Peer("ovs", 0.5)],
            ),
            Self::Datagrams64 => row(
                "UDP 64 B at <= 1 % loss",
                Unit::Kpps,
                &[Goal::Peer("docker0", 1.0), Goal::Peer("ovs", 1.5)],
            ),
            Self::Datagrams1400 => row(
                "UDP 1400 B at <= 1 % loss",
                Unit::Kpps,
                &[Goal::Peer("docker0", 1.0), Goal::Peer("ovs", 1.5)],
            ),
            Self::AttachFirstCommand => row(
                "attach the 1st container, `clearway attach`",
                Unit::Milliseconds,
                &[Goal::Plain(10.0)],
            ),
            Self::AttachLastCommand => row(
                "attach the 500th container, `clearway attach`",
                Unit::Milliseconds,
                &[Goal::Plain(10.0)],
            ),
            Self::AttachFirstExchange => row(
                "attach the 1st container, daemon's socket",
                Unit::Milliseconds,
                &[Goal::Plain(10.0)],
            ),
            Self::AttachLastExchange => row(
                "attach the 500th container, daemon's socket",
                Unit::Milliseconds,
                &[Goal::Plain(10.0)],
            ),
            Self::NatBulkOut => row(
                "NAT: bulk TCP out",
                Unit::GbitPerSecond,
                &[Goal::Peer("docker0", 1.1)],
            ),
            Self::NatBulkIn => row(
                "NAT: bulk TCP to a published port",
                Unit::GbitPerSecond,
                &[Goal::Peer("docker0", 1.1)],
            ),
            Self::NatPingPongMean => row(
                "NAT: TCP ping-pong 64 B out, one way, mean",
                Unit::Microseconds,
                &[Goal::Peer("docker0", 0.8)],
            ),
            Self::NatPingPongP99 => row(
                "NAT: TCP ping-pong 64 B out, one way, p99",
                Unit::Microseconds,
                &[Goal::Peer("docker0", 1.0)],
            ),
            Self::NatConnectionsOut => row(
                "NAT: short TCP connections out",
                Unit::PerSecond,
                &[Goal::Peer("docker0", 1.0)],
            ),
            Self::NatConnectionsIn => row(
                "NAT: short TCP connections to a published port",
                Unit::PerSecond,
                &[Goal::Peer("docker0", 1.0)],
            ),
            Self::NatDatagrams64 => row(
                "NAT: UDP 64 B out at <= 1 % loss",
                Unit::Kpps,
                &[Goal::Peer("docker0", 1.0)],
            ),
            Self::NatDatagrams1400 => row(
                "NAT: UDP 1400 B out at <= 1 % loss",
                Unit::Kpps,
                &[Goal::Peer("docker0", 1.0)],
            ),
            Self::NatFullBulkOut => row(
                "NAT: bulk TCP out, 1 M connections",
                Unit::GbitPerSecond,
                &[Goal::Own(Self::NatBulkOut, 0.9)],
            ),
            Self::NatFullPingPongMean => row(
                "NAT: TCP ping-pong 64 B out, one way, mean, 1 M connections",
                Unit::Microseconds,
                &[Goal::Own(Self::NatPingPongMean, 1.1)],
            ),
            Self::NatFullPingPongP99 => row(
                "NAT: TCP ping-pong 64 B out, one way, p99, 1 M connections",
                Unit::Microseconds,
                &[Goal::Own(Self::NatPingPongP99, 1.1)],
            ),
            Self::NatFullConnectionsOut => row(
                "NAT: short TCP connections out, 1 M connections",
                Unit::PerSecond,
                &[Goal::Own(Self::NatConnectionsOut, 0.9)],
            ),
            Self::NatFullDatagrams64 => row(
                "NAT: UDP 64 B out at <= 1 % loss, 1 M connections",
                Unit::Kpps,
                &[Goal::Own(Self::NatDatagrams64, 0.9)],
            ),
            Self::NatPublishedBulkIn => row(
                "NAT: bulk TCP to a published port, 10 000 ports and a range",
                Unit::GbitPerSecond,
                &[Goal::Own(Self::NatBulkIn, 0.9)],
            ),
            Self::NatPublishedConnectionsIn => row(
                "NAT: short TCP connections to a published port, 10 000 ports and a range",
                Unit::PerSecond,
                &[Goal::Own(Self::NatConnectionsIn, 0.9)],
            ),
            Self::DockerFirstPacket => row(
                "Docker: `docker run` to the first packet outside",
                Unit::Milliseconds,
                &[Goal::Peer("docker0", 1.0)],
            ),
            Self::DockerPorts => row(
                "Docker: start with 206 published ports",
                Unit::Milliseconds,
                &[Goal::Peer("docker0", 0.3)],
            ),
            Self::DockerBulkOne => row(
                "Docker: bulk TCP, 1 pair",
                Unit::GbitPerSecond,
                &[Goal::Peer("docker0", 1.15)],
            ),
            Self::DockerBulkAll => row(
                "Docker: bulk TCP, 8 pairs at once",
                Unit::GbitPerSecond,
                &[Goal::Peer("docker0", 1.1)],
            ),
            Self::DockerPingPongMean => row(
                "Docker: TCP ping-pong 64 B, one way, mean",
                Unit::Microseconds,
                &[Goal::Peer("docker0", 0.8)],
            ),
            Self::DockerPingPongP99 => row(
                "Docker: TCP ping-pong 64 B, one way, p99",
                Unit::Microseconds,
                &[Goal::Peer("docker0", 1.0)],
            ),
            Self::DockerDatagrams64 => row(
                "Docker: UDP 64 B at <= 1 % loss",
                Unit::Kpps,
                &[Goal::Peer("docker0", 1.0)],
            ),
            Self::DockerDatagrams1400 => row(
                "Docker: UDP 1400 B at <= 1 % loss",
                Unit::Kpps,
                &[Goal::Peer("docker0", 1.0)],
            ),
            Self::DockerMemory => row(
                "Docker: daemon's memory with 100 containers",
                Unit::Mebibytes,
                &[Goal::Plain(60.0)],
            ),
        }
    }
}

const fn row(label: &'static str, unit: Unit, goals: &'static [Goal]) -> Row {
    Row { label, unit, goals }
}
