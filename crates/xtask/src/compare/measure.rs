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

impl Measure {
    /// All, in the table's order.
    pub(super) const ALL: [Self; 12] = [
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
        }
    }

    /// The unit of its samples.
    pub(super) const fn unit(self) -> &'static str {
        match self {
            Self::BulkOne | Self::BulkAll | Self::BulkAlone | Self::BulkIdle => "Gbit/s",
            Self::PingPongMean | Self::PingPongP99 => "µs",
            Self::Datagrams64 | Self::Datagrams1400 => "kpps",
            Self::AttachFirstCommand
            | Self::AttachLastCommand
            | Self::AttachFirstExchange
            | Self::AttachLastExchange => "ms",
        }
    }

    /// Which way is better.
    pub(super) const fn better(self) -> Better {
        match self {
            Self::BulkOne
            | Self::BulkAll
            | Self::BulkAlone
            | Self::BulkIdle
            | Self::Datagrams64
            | Self::Datagrams1400 => Better::Higher,
            Self::PingPongMean
            | Self::PingPongP99
            | Self::AttachFirstCommand
            | Self::AttachLastCommand
            | Self::AttachFirstExchange
            | Self::AttachLastExchange => Better::Lower,
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
        }
    }
}
