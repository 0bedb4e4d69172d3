//! What `network create` and `network set` say of a network's gateway.

use api::{Dependence, ExternalPrefix, Masquerade, Name, NetworkSet, Preset, UplinkChoice};
use ipnet::Ipv6Net;
use std::str::FromStr;

/// On or off, as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

impl Switch {
    pub(crate) fn is_on(self) -> bool {
        self == Self::On
    }
}

/// What a network's gateway does, and who talks to whom.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct RoutingArgs {
    /// Route nothing into the network and out of it
    #[arg(long, value_name = "on|off", num_args = 0..=1, default_missing_value = "on", require_equals = true)]
    internal: Option<Switch>,
    /// Let containers of the network talk to each other [default: on]
    #[arg(long, value_name = "on|off")]
    icc: Option<Switch>,
    /// Exchange packets with this network if it says so, too; may be given again, `none` for none
    #[arg(long = "peer", value_name = "NETWORK")]
    peers: Vec<Name>,
    /// Let packets for the world leave through this uplink: its name, auto (the first) or none [default: auto]
    #[arg(long, value_name = "UPLINK")]
    uplink: Option<Uplink>,
    /// Let them leave with the uplink's address, not with their own; or those of one IP version [default: on]
    #[arg(long, value_name = "on|ipv4|ipv6|off")]
    masquerade: Option<Masquerade>,
    /// Let the world know IPv6 addresses by this prefix instead, one to one (NPTv6), or none [default: none]
    #[arg(long, value_name = "PREFIX")]
    nptv6: Option<Prefix>,
    /// Behave like this NAT: rfc, linux, home, corporate, cgnat, cloud or full-cone [default: rfc]
    #[arg(long, value_name = "PRESET")]
    nat: Option<Preset>,
    /// Make mappings so: endpoint-independent, address-dependent or address-and-port-dependent [default: the preset's]
    #[arg(long, value_name = "KIND")]
    mapping: Option<Dependence>,
    /// Filter answers so: endpoint-independent, address-dependent or address-and-port-dependent [default: the preset's]
    #[arg(long, value_name = "KIND")]
    filtering: Option<Dependence>,
    /// Let TCP segments outside their window pass [default: the preset's]
    #[arg(long, value_name = "on|off")]
    tcp_liberal: Option<Switch>,
    /// Let one address hold so many connections [default: 65536]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    quota: Option<u32>,
    /// Let the host and the containers reach each other [default: on]
    #[arg(long, value_name = "on|off")]
    host_access: Option<Switch>,
    /// Tell containers to make IPv6 addresses of their own [default: off]
    #[arg(long, value_name = "on|off")]
    slaac: Option<Switch>,
    /// Lease containers their addresses [default: off]
    #[arg(long, value_name = "on|off")]
    dhcp: Option<Switch>,
}

impl RoutingArgs {
    /// What was said, and nothing else.
    pub(crate) fn set(&self) -> NetworkSet {
        let on = |switch: Option<Switch>| switch.map(Switch::is_on);
        let named = self.peers.iter().filter(|peer| peer.as_str() != "none");
        NetworkSet {
            name: None,
            internal: on(self.internal),
            icc: on(self.icc),
            peers: (!self.peers.is_empty()).then(|| named.cloned().collect()),
            uplink: self.uplink.clone().map(|uplink| uplink.0),
            masquerade: self.masquerade,
            nptv6: self.nptv6.map(|prefix| prefix.0),
            preset: self.nat,
            mapping: self.mapping,
            filtering: self.filtering,
            tcp_liberal: on(self.tcp_liberal),
            quota: self.quota,
            host_access: on(self.host_access),
            slaac: on(self.slaac),
            dhcp: on(self.dhcp),
        }
    }
}

/// [`UplinkChoice`] as it is typed.
#[derive(Debug, Clone)]
struct Uplink(UplinkChoice);

impl FromStr for Uplink {
    type Err = api::ParseWordError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(match text {
            "auto" => UplinkChoice::Auto,
            "none" => UplinkChoice::None,
            name => UplinkChoice::Named(name.parse()?),
        }))
    }
}

/// [`ExternalPrefix`] as it is typed.
#[derive(Debug, Clone, Copy)]
struct Prefix(ExternalPrefix);

impl FromStr for Prefix {
    type Err = ipnet::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(match text {
            "none" => ExternalPrefix::None,
            prefix => ExternalPrefix::Prefix(prefix.parse::<Ipv6Net>()?),
        }))
    }
}

/// A prefix the way it is typed.
pub(crate) fn prefix_text(prefix: &ExternalPrefix) -> String {
    match prefix {
        ExternalPrefix::None => "none".to_owned(),
        ExternalPrefix::Prefix(prefix) => prefix.to_string(),
    }
}

/// An uplink the way it is typed.
pub(crate) fn uplink_text(uplink: &UplinkChoice) -> String {
    match uplink {
        UplinkChoice::Auto => "auto".to_owned(),
        UplinkChoice::None => "none".to_owned(),
        UplinkChoice::Named(name) => name.to_string(),
    }
}
