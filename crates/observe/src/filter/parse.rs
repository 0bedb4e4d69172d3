//! Words to a tree of tests.

use super::matcher::{Direction, Node, Test};
use super::token::Token;
use super::{FilterError, MAX_DEPTH, Named, Subject};
use crate::record::Verdict;
use ipnet::IpNet;
use model::NatState;
use pipeline::{DropReason, Stage};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use wire::{EtherType, IpProtocol, MacAddr};

/// Reads all words; no words are no tree.
pub(super) fn parse(
    tokens: &[Token],
    subject: Subject,
) -> Result<Option<Node<Named>>, FilterError> {
    if tokens.is_empty() {
        return Ok(None);
    }
    let mut parser = Parser {
        tokens,
        subject,
        depth: 0,
    };
    let root = parser.filter()?;
    match parser.tokens.first() {
        None => Ok(Some(root)),
        Some(token) => Err(FilterError::new(format!(
            "{} stands where `and`, `or` or the end was expected",
            shown(Some(token))
        ))),
    }
}

struct Parser<'t> {
    tokens: &'t [Token],
    subject: Subject,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn filter(&mut self) -> Result<Node<Named>, FilterError> {
        let mut left = self.term()?;
        loop {
            let join = match self.tokens.first() {
                Some(Token::And) => Node::And,
                Some(Token::Or) => Node::Or,
                _ => return Ok(left),
            };
            self.skip();
            left = join(Box::new(left), Box::new(self.term()?));
        }
    }

    fn term(&mut self) -> Result<Node<Named>, FilterError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(FilterError::new(format!(
                "the filter has more than {MAX_DEPTH} open brackets and negations"
            )));
        }
        let term = match self.tokens.first() {
            Some(Token::Not) => {
                self.skip();
                Node::Not(Box::new(self.term()?))
            }
            Some(Token::Open) => {
                self.skip();
                let inside = self.filter()?;
                if self.tokens.first() != Some(&Token::Close) {
                    return Err(FilterError::new("a bracket is not closed"));
                }
                self.skip();
                inside
            }
            _ => Node::Test(self.primitive()?),
        };
        self.depth -= 1;
        Ok(term)
    }

    fn primitive(&mut self) -> Result<Named, FilterError> {
        let word = self.word(&self.subject.primitives())?;
        if self.subject.takes(word) == Some(false) {
            return Err(self.says_nothing(word));
        }
        let plain = |test| Ok(Named::Plain(test));
        match word {
            "src" | "dst" => {
                let direction = self.direction(word);
                self.directed(direction)
            }
            "host" | "net" | "port" | "portrange" => self.about(word, Direction::Either),
            "ether" => self.ether(),
            "broadcast" => plain(Test::Broadcast),
            "multicast" => plain(Test::Multicast),
            "ip" if self.next_is("broadcast") && self.subject == Subject::Frames => {
                self.skip();
                plain(Test::Broadcast)
            }
            "ip" => plain(Test::EtherType(EtherType::IPV4)),
            "ip6" => plain(Test::EtherType(EtherType::IPV6)),
            "arp" => plain(Test::EtherType(EtherType::ARP)),
            "tcp" => self.transport(IpProtocol::TCP),
            "udp" => self.transport(IpProtocol::UDP),
            "sctp" => self.transport(IpProtocol::SCTP),
            "icmp" => plain(Test::Protocol(IpProtocol::ICMP)),
            "icmp6" => plain(Test::Protocol(IpProtocol::ICMPV6)),
            "proto" => {
                let number = self.number("a protocol number", 0..=255)?;
                plain(Test::Protocol(IpProtocol(number)))
            }
            "vlan" => self.vlan(),
            "greater" => plain(Test::Greater(self.number("a length", 0..=u32::MAX)?)),
            "less" => plain(Test::Less(self.number("a length", 0..=u32::MAX)?)),
            "network" => Ok(Named::Network(self.name("the name of a network")?)),
            "endpoint" => Ok(Named::Endpoint(self.name("the name of an endpoint")?)),
            "drop" => self.drop(),
            "verdict" => {
                let label = self.one_of("a verdict", Verdict::LABELS)?;
                plain(Test::Verdict(label))
            }
            "stage" => {
                let label = self.one_of("a stage", STAGES.map(Stage::label))?;
                let stage = STAGES.into_iter().find(|stage| stage.label() == label);
                plain(Test::Stage(stage.expect("one of them")))
            }
            "nat" => plain(Test::Translated),
            "state" => {
                let word = self.word("a state")?;
                let state = word.parse::<NatState>();
                state
                    .map(|state| Named::Plain(Test::State(state)))
                    .map_err(|error| FilterError::new(error.to_string()))
            }
            _ => self.address(word),
        }
    }

    /// An IP address, a prefix or a MAC address, without a word before it.
    fn address(&self, word: &str) -> Result<Named, FilterError> {
        let test = match (address(word), word.parse()) {
            (Some(_), _) if self.subject == Subject::Entries => Err(self.says_nothing(word)),
            (_, Ok(_)) if self.subject == Subject::Connections => Err(self.says_nothing(word)),
            (Some(net), _) => Ok(Test::Net(Direction::Either, net)),
            (None, Ok(mac)) => Ok(Test::Mac(Direction::Either, mac)),
            (None, Err(_)) => Err(FilterError::new(format!(
                "`{word}` is not known; a filter is made of {}",
                self.subject.primitives()
            ))),
        };
        test.map(Named::Plain)
    }

    /// `src`, `dst`, `src or dst`.
    fn direction(&mut self, word: &str) -> Direction {
        let other = if word == "src" { "dst" } else { "src" };
        if let [Token::Or, Token::Word(second), rest @ ..] = self.tokens
            && second == other
        {
            self.tokens = rest;
            return Direction::Either;
        }
        match word {
            "src" => Direction::Source,
            _ => Direction::Destination,
        }
    }

    fn directed(&mut self, direction: Direction) -> Result<Named, FilterError> {
        let word = self.word(DIRECTED)?;
        match word {
            "host" | "net" | "port" | "portrange" => self.about(word, direction),
            _ => address(word)
                .map(|net| Named::Plain(Test::Net(direction, net)))
                .ok_or_else(|| unexpected(word, DIRECTED)),
        }
    }

    /// A host, a net or ports.
    fn about(&mut self, kind: &str, direction: Direction) -> Result<Named, FilterError> {
        let plain = |test| Ok(Named::Plain(test));
        match kind {
            "host" => {
                let word = self.word("an IP address")?;
                let ip: IpAddr = parsed(word, "an IP address")?;
                plain(Test::Net(direction, ip.into()))
            }
            "net" => {
                let word = self.word("a prefix like 10.80.0.0/24")?;
                let net =
                    address(word).ok_or_else(|| unexpected(word, "a prefix like 10.80.0.0/24"))?;
                plain(Test::Net(direction, net))
            }
            "portrange" => plain(Test::Ports(None, direction, self.port_range()?)),
            _ if direction == Direction::Either && self.names_port() => {
                Ok(Named::Port(self.name("the name of a port")?))
            }
            _ => plain(Test::Ports(None, direction, self.port()?)),
        }
    }

    /// Returns whether what follows names a port of the switch; one that a packet has is a number.
    fn names_port(&self) -> bool {
        match self.subject {
            Subject::Frames => match self.tokens.first() {
                Some(Token::Quoted(_)) => true,
                Some(Token::Word(word)) => !is_number(word),
                _ => false,
            },
            Subject::Connections => false,
            Subject::Entries => true,
        }
    }

    /// A transport protocol, with ports or without.
    fn transport(&mut self, protocol: IpProtocol) -> Result<Named, FilterError> {
        let before = self.tokens;
        let direction = match self.tokens.first() {
            Some(Token::Word(word)) if matches!(word.as_str(), "src" | "dst") => {
                self.skip();
                self.direction(word)
            }
            _ => Direction::Either,
        };
        let ports = match self.tokens.first() {
            Some(Token::Word(word)) if word == "port" => {
                self.skip();
                self.port()?
            }
            Some(Token::Word(word)) if word == "portrange" => {
                self.skip();
                self.port_range()?
            }
            _ => {
                // What follows is another primitive's, or wrong; whoever reads it says so.
                self.tokens = before;
                return Ok(Named::Plain(Test::Protocol(protocol)));
            }
        };
        Ok(Named::Plain(Test::Ports(Some(protocol), direction, ports)))
    }

    fn ether(&mut self) -> Result<Named, FilterError> {
        let is_entry = self.subject == Subject::Entries;
        let wanted = if is_entry { HOST_OR_MAC } else { ETHER };
        let mut word = self.word(wanted)?;
        let direction = match word {
            "broadcast" | "multicast" | "src" | "dst" if is_entry => {
                return Err(self.says_nothing(word));
            }
            "broadcast" => return Ok(Named::Plain(Test::Broadcast)),
            "multicast" => return Ok(Named::Plain(Test::Multicast)),
            "src" | "dst" => {
                let direction = self.direction(word);
                word = self.word(ETHER)?;
                direction
            }
            _ => Direction::Either,
        };
        if word == "host" {
            word = self.word("a MAC address")?;
        }
        let mac: MacAddr = parsed(word, "a MAC address")?;
        Ok(Named::Plain(Test::Mac(direction, mac)))
    }

    fn vlan(&mut self) -> Result<Named, FilterError> {
        let follows = matches!(self.tokens.first(), Some(Token::Word(word)) if is_number(word));
        // Every entry is in some VLAN.
        let vid = if follows || self.subject == Subject::Entries {
            Some(self.number("a VLAN id", 0..=4095)?)
        } else {
            None
        };
        Ok(Named::Plain(Test::Vlan(vid)))
    }

    fn drop(&mut self) -> Result<Named, FilterError> {
        let reason = match self.tokens.first() {
            Some(Token::Word(word)) => Some(reason(word)?),
            _ => None,
        };
        if reason.is_some() {
            self.skip();
        }
        Ok(Named::Plain(Test::Drop(reason)))
    }

    fn port(&mut self) -> Result<RangeInclusive<u16>, FilterError> {
        let port = self.number("a port number", 0..=u16::MAX)?;
        Ok(port..=port)
    }

    fn port_range(&mut self) -> Result<RangeInclusive<u16>, FilterError> {
        const WANTED: &str = "two port numbers like 8000-8099";
        let word = self.word(WANTED)?;
        let (first, last) = word
            .split_once('-')
            .ok_or_else(|| unexpected(word, WANTED))?;
        let first = number(first, "a port number", 0..=u16::MAX)?;
        let last = number(last, "a port number", 0..=u16::MAX)?;
        if first > last {
            return Err(FilterError::new(format!(
                "the port range {first}-{last} ends before it begins"
            )));
        }
        Ok(first..=last)
    }

    fn number<N: FromStr + PartialOrd + std::fmt::Display>(
        &mut self,
        what: &str,
        allowed: RangeInclusive<N>,
    ) -> Result<N, FilterError> {
        let word = self.word(what)?;
        number(word, what, allowed)
    }

    fn one_of<const N: usize>(
        &mut self,
        what: &str,
        labels: [&'static str; N],
    ) -> Result<&'static str, FilterError> {
        let word = self.word(what)?;
        let found = labels.into_iter().find(|label| *label == word);
        found.ok_or_else(|| {
            FilterError::new(format!(
                "`{word}` is not {what}; allowed are {}",
                labels.join(", ")
            ))
        })
    }

    fn name(&mut self, what: &str) -> Result<String, FilterError> {
        if let Some(Token::Quoted(name)) = self.tokens.first() {
            self.skip();
            return Ok(name.clone());
        }
        self.word(what).map(str::to_owned)
    }

    fn word(&mut self, wanted: &str) -> Result<&'t str, FilterError> {
        match self.tokens.split_first() {
            Some((Token::Word(word), rest)) => {
                self.tokens = rest;
                Ok(word)
            }
            other => Err(FilterError::new(format!(
                "{} stands where {wanted} was expected",
                shown(other.map(|(token, _)| token))
            ))),
        }
    }

    fn says_nothing(&self, word: &str) -> FilterError {
        FilterError::new(format!(
            "`{word}` says nothing about {}; a filter is made of {}",
            self.subject.noun(),
            self.subject.primitives()
        ))
    }

    fn next_is(&self, wanted: &str) -> bool {
        matches!(self.tokens.first(), Some(Token::Word(word)) if word == wanted)
    }

    const fn skip(&mut self) {
        if let [_, rest @ ..] = self.tokens {
            self.tokens = rest;
        }
    }
}

const DIRECTED: &str = "host, net, port, portrange or an address";
const HOST_OR_MAC: &str = "host or a MAC address";
const ETHER: &str = "src, dst, host, broadcast, multicast or a MAC address";

const STAGES: [Stage; 7] = [
    Stage::Parse,
    Stage::Admit,
    Stage::Learn,
    Stage::Forward,
    Stage::Route,
    Stage::Translate,
    Stage::Egress,
];

fn shown(token: Option<&Token>) -> String {
    match token {
        None => "the end".to_owned(),
        Some(Token::Open) => "`(`".to_owned(),
        Some(Token::Close) => "`)`".to_owned(),
        Some(Token::And) => "`and`".to_owned(),
        Some(Token::Or) => "`or`".to_owned(),
        Some(Token::Not) => "`not`".to_owned(),
        Some(Token::Word(word)) => format!("`{word}`"),
        Some(Token::Quoted(name)) => format!("\"{name}\""),
    }
}

fn unexpected(word: &str, wanted: &str) -> FilterError {
    FilterError::new(format!("`{word}` stands where {wanted} was expected"))
}

fn parsed<T: FromStr>(word: &str, what: &str) -> Result<T, FilterError> {
    word.parse()
        .map_err(|_| FilterError::new(format!("`{word}` is not {what}")))
}

fn is_number(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

fn number<N: FromStr + PartialOrd + std::fmt::Display>(
    word: &str,
    what: &str,
    allowed: RangeInclusive<N>,
) -> Result<N, FilterError> {
    let number = word.parse().ok().filter(|number| allowed.contains(number));
    number.ok_or_else(|| {
        FilterError::new(format!(
            "`{word}` is not {what}; allowed are {} to {}",
            allowed.start(),
            allowed.end()
        ))
    })
}

/// An address, or a prefix, whose host bits do not matter.
fn address(word: &str) -> Option<IpNet> {
    let net = word.parse::<IpNet>().ok();
    net.or_else(|| word.parse::<IpAddr>().ok().map(IpNet::from))
}

fn reason(word: &str) -> Result<DropReason, FilterError> {
    let mut all = DropReason::ALL.iter();
    all.find(|reason| reason.label() == word)
        .copied()
        .ok_or_else(|| {
            let near: Vec<_> = DropReason::ALL
                .iter()
                .map(|reason| reason.label())
                .filter(|label| label.split('_').any(|part| word.contains(part)))
                .collect();
            let hint = if near.is_empty() {
                "`clearway drops` lists them".to_owned()
            } else {
                format!("similar are {}", near.join(", "))
            };
            FilterError::new(format!("`{word}` is not a drop reason; {hint}"))
        })
}
