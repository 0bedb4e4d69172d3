//! Subjects of filters, and the words that say something about each.

use Subject::{Connections as C, Entries as E, Frames as F};

/// A kind of thing that a filter chooses from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Recorded frames.
    Frames,
    /// Connections that the NAT follows.
    Connections,
    /// Entries of the forwarding databases.
    Entries,
}

/// The words that begin a primitive, each with its subjects.
const WORDS: [(&str, &[Subject]); 28] = [
    ("host", &[F, C]),
    ("net", &[F, C]),
    ("port", &[F, C, E]),
    ("portrange", &[F, C]),
    ("src", &[F, C]),
    ("dst", &[F, C]),
    ("ether", &[F, E]),
    ("broadcast", &[F]),
    ("multicast", &[F]),
    ("ip", &[F, C]),
    ("ip6", &[F, C]),
    ("arp", &[F]),
    ("tcp", &[F, C]),
    ("udp", &[F, C]),
    ("sctp", &[F, C]),
    ("icmp", &[F, C]),
    ("icmp6", &[F, C]),
    ("proto", &[F, C]),
    ("vlan", &[F, E]),
    ("greater", &[F]),
    ("less", &[F]),
    ("network", &[F, C, E]),
    ("endpoint", &[F, C, E]),
    ("drop", &[F]),
    ("verdict", &[F]),
    ("stage", &[F]),
    ("nat", &[F, C]),
    ("state", &[C]),
];

impl Subject {
    /// Returns whether `word` says something about the subject; `None` of a word that begins no primitive.
    pub(super) fn takes(self, word: &str) -> Option<bool> {
        let known = WORDS.iter().find(|(own, _)| *own == word);
        known.map(|(_, subjects)| subjects.contains(&self))
    }

    /// Lists all that may begin a primitive.
    pub(super) fn primitives(self) -> String {
        let own = WORDS
            .iter()
            .filter(|(_, subjects)| subjects.contains(&self));
        let mut all: String = own.map(|(word, _)| format!("{word}, ")).collect();
        all.push_str(match self {
            Self::Frames => "or an IP or MAC address",
            Self::Connections => "or an IP address",
            Self::Entries => "or a MAC address",
        });
        all
    }

    /// Names one of them.
    pub(super) const fn noun(self) -> &'static str {
        match self {
            Self::Frames => "a frame",
            Self::Connections => "a connection",
            Self::Entries => "an entry of the forwarding database",
        }
    }
}
