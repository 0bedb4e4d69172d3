//! Filters: which frames, connections or entries of the forwarding database somebody means.
//!
//! The language is that of pcap-filter(7), as far as it goes, with Clearway's words added:
//!
//! ```text
//!   filter     := term { ("and" | "&&" | "or" | "||") term }      equal precedence, from the left
//!   term       := { "not" | "!" } ( "(" filter ")" | primitive )
//!   primitive  := [direction] ("host" ADDRESS | ADDRESS | "net" PREFIX)
//!               | [protocol] [direction] ("port" NUMBER | "portrange" NUMBER-NUMBER)
//!               | ["ether" [direction] ["host"]] MAC | ("ether" | "ip") "broadcast" | "multicast"
//!               | protocol | "proto" NUMBER | "vlan" [NUMBER] | "greater" NUMBER | "less" NUMBER
//!               | "port" NAME | "network" NAME | "endpoint" NAME
//!               | "drop" [REASON] | "verdict" VERDICT | "stage" STAGE | "nat" | "state" STATE
//!   direction  := "src" | "dst" | "src" "or" "dst"
//!   protocol   := "ip" | "ip6" | "arp" | "tcp" | "udp" | "sctp" | "icmp" | "icmp6"
//! ```
//! Which words say something depends on the [`Subject`]; the others are refused by name. A word that
//! could be a number is a number: the port of the switch called `80` is `port "80"`. Connections have
//! numbered ports only, entries named ones only.
//! An empty filter matches everything. A filter has at most [`MAX_TOKENS`] words and [`MAX_DEPTH`]
//! open brackets, so that asking it is cheap whoever wrote it.

mod matcher;
mod parse;
mod subject;
mod token;

pub use matcher::{EndpointIds, FlowMatch, Resolve};
pub use subject::Subject;

use matcher::{Node, Test};
use std::fmt;

/// The words of a filter at most.
const MAX_TOKENS: usize = 200;
/// The brackets and negations that may be open at once.
const MAX_DEPTH: usize = 32;

/// A filter as it was written: names are names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    text: String,
    root: Option<Node<Named>>,
}

/// A test whose names are not looked up yet.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    /// One that names nothing.
    Plain(Test),
    /// Frames from or to the port of this name, entries that lead to it.
    Port(String),
    /// Frames of the network of this name.
    Network(String),
    /// Frames from, to or about the endpoint of this name.
    Endpoint(String),
}

/// A filter that cannot be understood, or names what is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FilterError {
    message: String,
}

impl FilterError {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

impl Filter {
    /// Reads a filter of `subject`.
    ///
    /// # Errors
    /// The word that is not understood or says nothing about the subject, and what may stand there.
    pub fn parse(text: &str, subject: Subject) -> Result<Self, FilterError> {
        let tokens = token::tokens(text)?;
        let root = parse::parse(&tokens, subject)?;
        Ok(Self {
            text: text.to_owned(),
            root,
        })
    }

    /// Looks up the names.
    ///
    /// # Errors
    /// The name that is not there.
    pub fn compile(&self, names: &dyn Resolve) -> Result<FlowMatch, FilterError> {
        let missing =
            |kind: &str, name: &str| FilterError::new(format!("there is no {kind} `{name}`"));
        let resolve = |named: &Named| match named {
            Named::Plain(test) => Ok(test.clone()),
            Named::Port(name) => {
                let id = names.port_id(name);
                id.map(Test::Port).ok_or_else(|| missing("port", name))
            }
            Named::Network(name) => {
                let id = names.network_id(name);
                id.map(Test::Network)
                    .ok_or_else(|| missing("network", name))
            }
            Named::Endpoint(name) => {
                let ids = names.endpoint_ids(name);
                ids.map(Test::Endpoint)
                    .ok_or_else(|| missing("endpoint", name))
            }
        };
        let root = self.root.as_ref().map(|root| root.try_map(&resolve));
        Ok(FlowMatch::new(root.transpose()?))
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
