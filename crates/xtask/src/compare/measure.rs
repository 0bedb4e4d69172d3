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
}

impl Measure {
    /// All, in the table's order.
    pub(super) const ALL: [Self; 27] = [
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
    ];

    /// The row's heading.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::BulkOne => "bulk TCP, 1 pair",
            Self::BulkAll => "bulk TCP, 8 pairs at once",
            Self::BulkAlone => "bulk TCP, 1 pair, no other port",
            Self::BulkIdle => "bulk TCP, 1 pair, 500 idle ports",
            Self::PingPongMean => "TCP ping-pong 64 B, one way, mean",
            Self::PingPongP99 => "TCP ping-pong 64 B, one way, p99",
            Self::Datagrams64 => "UDP 64 B at <= 1 % loss",
            Self::Datagrams1400 => "UDP 1400 B at <= 1 % loss",
            Self::AttachFirstCommand => "attach the 1st container, `clearway attach`",
            Self::AttachLastCommand => "attach the 500th container, `clearway attach`",
            Self::AttachFirstExchange => "attach the 1st container, daemon's socket",
            Self::AttachLastExchange => "attach the 500th container, daemon's socket",
            Self::NatBulkOut => "NAT: bulk TCP out",
            Self::NatBulkIn => "NAT: bulk TCP to a published port",
            Self::NatPingPongMean => "NAT: TCP ping-pong 64 B out, one way, mean",
            Self::NatPingPongP99 => "NAT: TCP ping-pong 64 B out, one way, p99",
            Self::NatConnectionsOut => "NAT: short TCP connections out",
            Self::NatConnectionsIn => "NAT: short TCP connections to a published port",
            Self::NatDatagrams64 => "NAT: UDP 64 B out at <= 1 % loss",
            Self::NatDatagrams1400 => "NAT: UDP 1400 B out at <= 1 % loss",
            Self::NatFullBulkOut => "NAT: bulk TCP out, 1 M connections",
            Self::NatFullPingPongMean => {
                "NAT: TCP ping-pong 64 B out, one way, mean, 1 M connections"
            }
            Self::NatFullPingPongP99 => {
                "NAT: TCP ping-pong 64 B out, one way, p99, 1 M connections"
            }
            Self::NatFullConnectionsOut => "NAT: short TCP connections out, 1 M connections",
            Self::NatFullDatagrams64 => "NAT: UDP 64 B out at <= 1 % loss, 1 M connections",
            Self::NatPublishedBulkIn => {
                "NAT: bulk TCP to a published port, 10 000 ports and a range"
            }
            Self::NatPublishedConnectionsIn => {
                "NAT: short TCP connections to a published port, 10 000 ports and a range"
            }
        }
    }

    /// The unit of its samples.
    pub(super) const fn unit(self) -> &'static str {
        match self.counted_in() {
            Unit::GbitPerSecond => "Gbit/s",
            Unit::Kpps => "kpps",
            Unit::PerSecond => "1/s",
            Unit::Microseconds => "µs",
            Unit::Milliseconds => "ms",
        }
    }

    /// Which way is better.
    pub(super) const fn better(self) -> Better {
        match self.counted_in() {
            Unit::GbitPerSecond | Unit::Kpps | Unit::PerSecond => Better::Higher,
            Unit::Microseconds | Unit::Milliseconds => Better::Lower,
        }
    }

    const fn counted_in(self) -> Unit {
        match self {
            Self::BulkOne
            | Self::BulkAll
            | Self::BulkAlone
            | Self::BulkIdle
            | Self::NatBulkOut
            | Self::NatBulkIn
            | Self::NatFullBulkOut
            | Self::NatPublishedBulkIn => Unit::GbitPerSecond,
            Self::Datagrams64
            | Self::Datagrams1400
            | Self::NatDatagrams64
            | Self::NatDatagrams1400
            | Self::NatFullDatagrams64 => Unit::Kpps,
            Self::NatConnectionsOut
            | Self::NatConnectionsIn
            | Self::NatFullConnectionsOut
            | Self::NatPublishedConnectionsIn => Unit::PerSecond,
            Self::PingPongMean
            | Self::PingPongP99
            | Self::NatPingPongMean
            | Self::NatPingPongP99
            | Self::NatFullPingPongMean
            | Self::NatFullPingPongP99 => Unit::Microseconds,
            Self::AttachFirstCommand
            | Self::AttachLastCommand
            | Self::AttachFirstExchange
            | Self::AttachLastExchange => Unit::Milliseconds,
        }
    }

    /// What Clearway wants to reach.
    pub(super) const fn goals(self) -> &'static [Goal] {
        match self {
            Self::BulkOne => &[Goal::Peer("docker0", 1.15), Goal::Peer("ovs", 10.0)],
            Self::BulkAll => &[Goal::Peer("docker0", 1.1)],
            Self::BulkAlone => &[],
            Self::BulkIdle => &[Goal::Own(Self::BulkAlone, 0.95)],
            Self::PingPongMean => &[Goal::Peer("docker0", 0.8), Goal::Peer("ovs", 0.5)],
            Self::PingPongP99 => &[Goal::Peer("docker0", 1.0), Goal::Peer("ovs", 0.5)],
            Self::Datagrams64 | Self::Datagrams1400 => {
                &[Goal::Peer("docker0", 1.0), Goal::Peer("ovs", 1.5)]
            }
            Self::AttachFirstCommand
            | Self::AttachLastCommand
            | Self::AttachFirstExchange
            | Self::AttachLastExchange => &[Goal::Plain(10.0)],
            Self::NatBulkOut | Self::NatBulkIn => &[Goal::Peer("docker0", 1.1)],
            Self::NatPingPongMean => &[Goal::Peer("docker0", 0.8)],
            Self::NatPingPongP99
            | Self::NatConnectionsOut
            | Self::NatConnectionsIn
            | Self::NatDatagrams64
            | Self::NatDatagrams1400 => &[Goal::Peer("docker0", 1.0)],
            Self::NatFullBulkOut => &[Goal::Own(Self::NatBulkOut, 0.9)],
            Self::NatFullPingPongMean => &[Goal::Own(Self::NatPingPongMean, 1.1)],
            Self::NatFullPingPongP99 => &[Goal::Own(Self::NatPingPongP99, 1.1)],
            Self::NatFullConnectionsOut => &[Goal::Own(Self::NatConnectionsOut, 0.9)],
            Self::NatFullDatagrams64 => &[Goal::Own(Self::NatDatagrams64, 0.9)],
            Self::NatPublishedBulkIn => &[Goal::Own(Self::NatBulkIn, 0.9)],
            Self::NatPublishedConnectionsIn => &[Goal::Own(Self::NatConnectionsIn, 0.9)],
        }
    }
}
