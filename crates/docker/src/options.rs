//! The options of `docker network create -o` and `--driver-opt`, each in one row. The settings
//! of a network have theirs in [`SETTINGS`].
//!
//! Docker's own options of its bridge mean here what they mean there; others of Docker's are
//! ignored, as they are about things that do not exist here. Ours begin with `clearway.`. An
//! option nobody knows is refused, not ignored: a misspelt `clearway.isolatd` would leave open what
//! its user believes closed.

use crate::error::Refusal;
use crate::labels;
use api::{
    Attach, FdbLimits, Invalid, Mac, Masquerade, NetworkCreate, NetworkSet, PortKind, Rate,
    SETTINGS, Setting, StormLimits, VlanId, on_or_off,
};
use serde_json::{Map, Value};
use std::fmt::Display;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A network that options are applied to.
#[derive(Debug)]
pub(crate) struct NetworkDraft {
    /// The network to be made.
    pub(crate) network: NetworkCreate,
    /// The mode of IPv4's gateway.
    pub(crate) mode_ipv4: GatewayMode,
    /// The mode of IPv6's gateway.
    pub(crate) mode_ipv6: GatewayMode,
}

impl NetworkDraft {
    /// Applies `options`.
    ///
    /// # Errors
    /// [`Refusal::Option`] names the option, its value and what is allowed.
    pub(crate) fn apply(&mut self, options: &Map<String, Value>) -> Result<(), Refusal> {
        check_known(NETWORK, SETTINGS, options)?;
        apply(NETWORK, self, options)?;
        let mut changes = NetworkSet::default();
        for setting in SETTINGS {
            let key = key_of(setting);
            let Some(value) = options.get(&key) else {
                continue;
            };
            let said = said(setting, &mut changes, &text_of(value));
            said.map_err(|why| Refusal::Option {
                key,
                why: why.to_string(),
            })?;
        }
        self.network.routing = changes.applied_to(&self.network.routing);
        Ok(())
    }
}

/// A driver option has one value: several stand in it with commas between.
fn said(setting: &Setting, changes: &mut NetworkSet, text: &str) -> Result<(), Invalid> {
    if setting.repeats {
        return text
            .split(',')
            .try_for_each(|one| setting.set(changes, one));
    }
    setting.set(changes, text)
}

/// Returns Docker's name of a setting.
fn key_of(setting: &Setting) -> String {
    format!("clearway.{}", setting.key)
}

impl From<NetworkCreate> for NetworkDraft {
    fn from(network: NetworkCreate) -> Self {
        Self {
            network,
            mode_ipv4: GatewayMode::Nat,
            mode_ipv6: GatewayMode::Nat,
        }
    }
}

/// Applies the options of an endpoint.
///
/// # Errors
/// As [`NetworkDraft::apply`].
pub(crate) fn apply_to_endpoint(
    attach: &mut Attach,
    options: &Map<String, Value>,
) -> Result<(), Refusal> {
    check_known(ENDPOINT, &[], options)?;
    apply(ENDPOINT, attach, options)
}

/// The work of a network's gateway for a family, in the words of Docker's bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GatewayMode {
    /// Leads to the world, with the host's address.
    Nat,
    /// Leads to the world, with the containers' own addresses.
    Routed,
    /// Is not there.
    Isolated,
}

impl GatewayMode {
    const ALL: [Self; 3] = [Self::Nat, Self::Routed, Self::Isolated];

    /// Docker's word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Nat => "nat",
            Self::Routed => "routed",
            Self::Isolated => "isolated",
        }
    }
}

/// An option's name, and what its value does.
struct Row<T> {
    key: &'static str,
    set: fn(&mut T, &str) -> Result<(), String>,
}

const fn row<T>(key: &'static str, set: fn(&mut T, &str) -> Result<(), String>) -> Row<T> {
    Row { key, set }
}

/// Options that `docker network create -o` takes. A later row has the last word.
const NETWORK: &[Row<NetworkDraft>] = &[
    row("com.docker.network.driver.mtu", |draft, text| {
        set(&mut draft.network.mtu, number(text, &NetworkCreate::MTU))
    }),
    row("com.docker.network.bridge.enable_icc", |draft, text| {
        set(&mut draft.network.routing.icc, flag(text))
    }),
    row(
        "com.docker.network.bridge.enable_ip_masquerade",
        |draft, text| set(&mut draft.network.routing.masquerade, masquerade(text)),
    ),
    row(
        "com.docker.network.bridge.gateway_mode_ipv4",
        |draft, text| set(&mut draft.mode_ipv4, gateway_mode(text)),
    ),
    row(
        "com.docker.network.bridge.gateway_mode_ipv6",
        |draft, text| set(&mut draft.mode_ipv6, gateway_mode(text)),
    ),
    row(labels::HOST_BINDING, |draft, text| {
        let host: Ipv4Addr = word(text, "an IPv4 address of the host")?;
        // Docker's default, which means both families.
        if !host.is_unspecified() {
            let labels = &mut draft.network.labels;
            labels.insert(labels::HOST_BINDING.to_owned(), host.to_string());
        }
        Ok(())
    }),
    row(labels::IFACE_PREFIX, |draft, text| {
        let prefix = iface_prefix(text)?;
        let labels = &mut draft.network.labels;
        labels.insert(labels::IFACE_PREFIX.to_owned(), prefix);
        Ok(())
    }),
    row("clearway.mtu", |draft, text| {
        set(&mut draft.network.mtu, number(text, &NetworkCreate::MTU))
    }),
    row("clearway.vlan", |draft, text| {
        set(&mut draft.network.default_vlan, vlan(text))
    }),
    row("clearway.isolated", |draft, text| {
        set(
            &mut draft.network.routing.icc,
            flag(text).map(|isolated| !isolated),
        )
    }),
    row("clearway.ageing", |draft, text| {
        set(
            &mut draft.network.ageing_seconds,
            number(text, &FdbLimits::AGEING),
        )
    }),
    row("clearway.max-macs", |draft, text| {
        set(
            &mut draft.network.max_macs,
            number(text, &FdbLimits::ENTRIES),
        )
    }),
    row("clearway.max-macs-per-port", |draft, text| {
        set(
            &mut draft.network.max_macs_per_port,
            number(text, &FdbLimits::PER_PORT),
        )
    }),
    row("clearway.storm-broadcast", |draft, text| {
        set_some(&mut draft.network.storm.broadcast, storm(text))
    }),
    row("clearway.storm-multicast", |draft, text| {
        set_some(&mut draft.network.storm.multicast, storm(text))
    }),
    row("clearway.storm-unknown", |draft, text| {
        set_some(&mut draft.network.storm.unknown_unicast, storm(text))
    }),
];

/// Options that `docker network connect --driver-opt` takes.
const ENDPOINT: &[Row<Attach>] = &[
    row("com.docker.network.endpoint.ifname", |attach, text| {
        // Docker numbers interfaces itself, so the name is what stands before the number.
        let prefix = iface_prefix(text.trim_end_matches(|c: char| c.is_ascii_digit()))?;
        let labels = &mut attach.labels;
        labels.insert(labels::IFACE_PREFIX.to_owned(), prefix);
        Ok(())
    }),
    row("clearway.vlan", |attach, text| {
        set_some(&mut attach.vlan, vlan(text))
    }),
    row("clearway.mtu", |attach, text| {
        set_some(&mut attach.mtu, number(text, &NetworkCreate::MTU))
    }),
    row("clearway.mac", |attach, text| {
        set_some(&mut attach.mac, own_word::<Mac>(text))
    }),
    row("clearway.isolated", |attach, text| {
        set(&mut attach.isolated, flag(text))
    }),
    row("clearway.locked", |attach, text| {
        set(&mut attach.locked, flag(text))
    }),
    row("clearway.queues", |attach, text| {
        set(&mut attach.queues, number(text, &PortKind::QUEUES))
    }),
    row("clearway.datapath", |attach, text| {
        set(&mut attach.datapath, own_word(text))
    }),
    row("clearway.rate", |attach, text| {
        let bits = bits(text)?;
        let rate = attach.rate.get_or_insert(ANY_RATE);
        rate.bits_per_second = Some(bits);
        Ok(())
    }),
    row("clearway.packet-rate", |attach, text| {
        let packets = number(text, &Rate::PACKETS)?;
        let rate = attach.rate.get_or_insert(ANY_RATE);
        rate.packets_per_second = Some(packets);
        Ok(())
    }),
];

const ANY_RATE: Rate = Rate {
    bits_per_second: None,
    packets_per_second: None,
};

fn apply<T>(table: &[Row<T>], draft: &mut T, options: &Map<String, Value>) -> Result<(), Refusal> {
    for row in table {
        let Some(value) = options.get(row.key) else {
            continue;
        };
        (row.set)(draft, &text_of(value)).map_err(|why| Refusal::Option {
            key: row.key.to_owned(),
            why,
        })?;
    }
    Ok(())
}

fn check_known<T>(
    table: &[Row<T>],
    settings: &[Setting],
    options: &Map<String, Value>,
) -> Result<(), Refusal> {
    let rows = table.iter().map(|row| row.key.to_owned());
    let ours: Vec<_> = rows.chain(settings.iter().map(key_of)).collect();
    for (key, value) in options {
        if ours.contains(key) {
            continue;
        }
        if key.starts_with("com.docker.") {
            tracing::debug!(key, %value, "an option of Docker's has no meaning here");
            continue;
        }
        return Err(Refusal::Option {
            key: key.clone(),
            why: format!(
                "is unknown, its value is `{}`; allowed are {}, and Docker's own",
                text_of(value),
                ours.join(", ")
            ),
        });
    }
    Ok(())
}

/// Docker sends text, and what it makes itself as JSON's own kinds.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}

fn set<T>(place: &mut T, value: Result<T, String>) -> Result<(), String> {
    *place = value?;
    Ok(())
}

fn set_some<T>(place: &mut Option<T>, value: Result<T, String>) -> Result<(), String> {
    set(place, value.map(Some))
}

fn not_allowed(text: &str, allowed: impl Display) -> String {
    format!("`{text}` is not allowed; allowed are {allowed}")
}

fn flag(text: &str) -> Result<bool, String> {
    on_or_off(text).map_err(|error| error.to_string())
}

fn number<T: FromStr + PartialOrd + Display>(
    text: &str,
    range: &RangeInclusive<T>,
) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| not_allowed(text, format_args!("{} to {}", range.start(), range.end())))
}

fn word<T: FromStr>(text: &str, allowed: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not allowed; allowed is {allowed}"))
}

/// A word that says itself what is allowed.
fn own_word<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn vlan(text: &str) -> Result<VlanId, String> {
    own_word(text)
}

fn storm(text: &str) -> Result<u32, String> {
    number(text, &StormLimits::RATE)
}

fn masquerade(text: &str) -> Result<Masquerade, String> {
    let is_on = flag(text)?;
    Ok(if is_on {
        Masquerade::On
    } else {
        Masquerade::Off
    })
}

fn gateway_mode(text: &str) -> Result<GatewayMode, String> {
    let found = GatewayMode::ALL.iter().find(|mode| mode.word() == text);
    found
        .copied()
        .ok_or_else(|| not_allowed(text, "nat, routed and isolated"))
}

/// Bits a second as `tc` takes them: `100mbit`, `64k`, `1gbit`, or a number of bits.
fn bits(text: &str) -> Result<u64, String> {
    let short = text.strip_suffix("bit").unwrap_or(text);
    let (digits, factor) = match short.char_indices().last() {
        Some((at, 'k')) => (&short[..at], 1_000),
        Some((at, 'm')) => (&short[..at], 1_000_000),
        Some((at, 'g')) => (&short[..at], 1_000_000_000),
        Some(_) | None => (short, 1),
    };
    let bits: Option<u64> = digits.parse().ok().and_then(|n: u64| n.checked_mul(factor));
    bits.filter(|bits| Rate::BITS.contains(bits))
        .ok_or_else(|| {
            let (least, most) = (Rate::BITS.start(), Rate::BITS.end());
            not_allowed(
                text,
                format_args!("{least} to {most} bits a second, as in 64kbit or 100mbit"),
            )
        })
}

/// Docker adds a number of up to three digits, and the kernel takes 15 bytes.
fn iface_prefix(text: &str) -> Result<String, String> {
    let good = (1..=12).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b'%'));
    if good {
        return Ok(text.to_owned());
    }
    Err(not_allowed(
        text,
        "1 to 12 letters, digits and signs but `/`, `:` and `%`, to which Docker adds a number",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{Dependence, ExternalPrefix, Preset, UplinkChoice};
    use serde_json::json;

    fn network(options: &Value) -> Result<NetworkDraft, String> {
        let mut draft = NetworkDraft::from(NetworkCreate::new("n".parse().unwrap()));
        draft
            .apply(options.as_object().unwrap())
            .map_err(|error| error.to_string())?;
        draft.network.check().map_err(|error| error.to_string())?;
        Ok(draft)
    }

    fn endpoint(options: &Value) -> Result<Attach, String> {
        let mut attach = Attach::unjoined("n".parse().unwrap());
        apply_to_endpoint(&mut attach, options.as_object().unwrap())
            .map_err(|error| error.to_string())?;
        Ok(attach)
    }

    #[test]
    fn dockers_own_options_mean_what_they_mean_there() {
        let draft = network(&json!({
            "com.docker.network.driver.mtu": "1400",
            "com.docker.network.bridge.enable_icc": "false",
            "com.docker.network.bridge.enable_ip_masquerade": "0",
            "com.docker.network.bridge.host_binding_ipv4": "127.0.0.1",
            "com.docker.network.container_iface_prefix": "net",
            "com.docker.network.bridge.gateway_mode_ipv6": "routed",
            "com.docker.network.bridge.name": "brx",
        }))
        .unwrap();
        let network = &draft.network;
        assert_eq!(network.mtu, 1400);
        assert!(!network.routing.icc);
        assert_eq!(network.routing.masquerade, Masquerade::Off);
        assert_eq!(network.labels[labels::HOST_BINDING], "127.0.0.1");
        assert_eq!(network.labels[labels::IFACE_PREFIX], "net");
        assert_eq!(
            (draft.mode_ipv4, draft.mode_ipv6),
            (GatewayMode::Nat, GatewayMode::Routed)
        );
    }

    #[test]
    fn every_address_is_the_default_host_address() {
        let key = "com.docker.network.bridge.host_binding_ipv4";
        let draft = network(&json!({ key: "0.0.0.0" })).unwrap();
        assert!(draft.network.labels.is_empty());
    }

    #[test]
    fn ours_reach_every_setting_and_have_the_last_word() {
        let draft = network(&json!({
            "com.docker.network.driver.mtu": "1400",
            "clearway.mtu": "9000",
            "clearway.vlan": "20",
            "clearway.isolated": "true",
            "clearway.nat": "cgnat",
            "clearway.mapping": "address-dependent",
            "clearway.filtering": "endpoint-independent",
            "clearway.quota": "100",
            "clearway.uplink": "eth0",
            "clearway.host-access": "off",
            "clearway.nptv6": "2001:db8:1::/64",
            "clearway.ageing": "30",
            "clearway.max-macs": "20",
            "clearway.max-macs-per-port": "5",
            "clearway.storm-broadcast": "1",
            "clearway.storm-multicast": "2",
            "clearway.storm-unknown": "3",
        }))
        .unwrap();
        let network = draft.network;
        assert_eq!((network.mtu, network.default_vlan.get()), (9000, 20));
        let routing = &network.routing;
        assert!(!routing.icc && !routing.host_access);
        assert_eq!(routing.nat.preset, Preset::Cgnat);
        assert_eq!(routing.nat.mapping, Some(Dependence::AddressDependent));
        assert_eq!(routing.nat.filtering, Some(Dependence::EndpointIndependent));
        assert_eq!(routing.nat.quota, 100);
        assert_eq!(routing.uplink, UplinkChoice::Named("eth0".parse().unwrap()));
        let prefix = "2001:db8:1::/64".parse().unwrap();
        assert_eq!(routing.nptv6, ExternalPrefix::Prefix(prefix));
        assert_eq!(
            (
                network.ageing_seconds,
                network.max_macs,
                network.max_macs_per_port
            ),
            (30, 20, 5)
        );
        let storm = StormLimits {
            broadcast: Some(1),
            multicast: Some(2),
            unknown_unicast: Some(3),
        };
        assert_eq!(network.storm, storm);
        let open = network_with("clearway.icc", "true");
        assert!(open.network.routing.icc);
        let none = network_with("clearway.uplink", "none");
        assert_eq!(none.network.routing.uplink, UplinkChoice::None);
    }

    fn network_with(key: &str, value: &str) -> NetworkDraft {
        network(&json!({ key: value })).unwrap()
    }

    #[test]
    fn endpoints_have_options_of_their_own() {
        let attach = endpoint(&json!({
            "com.docker.network.endpoint.ifname": "xx0",
            "com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1",
            "clearway.vlan": "20",
            "clearway.rate": "100mbit",
            "clearway.packet-rate": "500",
            "clearway.mtu": "1300",
            "clearway.queues": "2",
            "clearway.isolated": true,
            "clearway.locked": "false",
        }))
        .unwrap();
        assert_eq!(attach.labels[labels::IFACE_PREFIX], "xx");
        assert_eq!(attach.vlan.unwrap().get(), 20);
        let rate = attach.rate.unwrap();
        assert_eq!(rate.bits_per_second, Some(100_000_000));
        assert_eq!(rate.packets_per_second, Some(500));
        assert_eq!((attach.mtu, attach.queues), (Some(1300), 2));
        assert!(attach.isolated && !attach.locked);
    }

    #[test]
    fn refusals_name_option_value_and_what_is_allowed() {
        for (key, value, wrong) in [
            (
                "clearway.vlan",
                "5000",
                "option clearway.vlan: `5000` is not a VLAN: allowed are 1 to 4094",
            ),
            (
                "clearway.mtu",
                "9",
                "option clearway.mtu: `9` is not allowed; allowed are 576 to 65535",
            ),
            (
                "clearway.icc",
                "maybe",
                "option clearway.icc: unknown switch `maybe`: allowed are on, off",
            ),
            (
                "clearway.nat",
                "x",
                "option clearway.nat: unknown NAT preset `x`: allowed are rfc,",
            ),
            (
                "clearway.quota",
                "0",
                "option clearway.quota: quota is 0; allowed are 1 to 16777216",
            ),
            (
                "clearway.uplink",
                "a b",
                "option clearway.uplink: `a b` is not a name",
            ),
            (
                "clearway.nptv6",
                "10.0.0.0/8",
                "option clearway.nptv6: `10.0.0.0/8` is not an IPv6 prefix: none is allowed, or",
            ),
            ("clearway.storm-unknown", "-1", "allowed are 0 to 100000000"),
            (
                "com.docker.network.bridge.gateway_mode_ipv4",
                "nat-unprotected",
                "allowed are nat, routed and isolated",
            ),
            (
                "com.docker.network.bridge.host_binding_ipv4",
                "::1",
                "allowed is an IPv4 address of the host",
            ),
            (
                "com.docker.network.container_iface_prefix",
                "a/b",
                "`a/b` is not allowed",
            ),
            (
                "clearway.isolatd",
                "true",
                "option clearway.isolatd: is unknown, its value is `true`; allowed are com.docker.network.driver.mtu, ",
            ),
            (
                "parent",
                "eth0",
                "option parent: is unknown, its value is `eth0`",
            ),
        ] {
            let error = network(&json!({ key: value })).unwrap_err();
            assert!(error.contains(wrong), "{key}={value}: {error}");
        }
        for (key, value, wrong) in [
            (
                "clearway.rate",
                "1bit",
                "`1bit` is not allowed; allowed are 1200 to 34000000000 bits a second",
            ),
            ("clearway.rate", "99999999999999999999g", "is not allowed"),
            ("clearway.queues", "17", "allowed are 1 to 16"),
            (
                "com.docker.network.endpoint.ifname",
                "0",
                "`` is not allowed",
            ),
            ("clearway.nat", "rfc", "option clearway.nat: is unknown"),
        ] {
            let error = endpoint(&json!({ key: value })).unwrap_err();
            assert!(error.contains(wrong), "{key}={value}: {error}");
        }
    }
}
