//! The settings of a network that may be changed while containers are attached: what its gateway
//! does, and who talks to whom.
//!
//! A setting is a field of [`Routing`] and of [`NetworkSet`], and a row of [`SETTINGS`], which gives
//! it a name for users: the command line has an option for each (`--dhcp on`), Docker a driver option
//! (`-o clearway.dhcp=on`) and `network inspect` a line.

use crate::invalid::listed;
use crate::{
    Datapath, Dependence, ExternalPrefix, Invalid, Masquerade, Name, Nat, Preset, UplinkChoice,
};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// The settings of a network's gateway, and of who talks to whom: all may be changed while containers
/// are attached.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Routing {
    /// Nothing is routed into the network or out of it; the gateway still answers DNS and echo
    /// requests. Containers attached afterwards get no default route.
    #[cfg_attr(feature = "schema", schema(default = false))]
    pub internal: bool,
    /// Whether containers of the network talk to each other; a port may say otherwise.
    #[cfg_attr(feature = "schema", schema(default = true))]
    pub icc: bool,
    /// Networks it exchanges packets with, if they name it as well. They need not exist yet.
    #[cfg_attr(feature = "schema", schema(value_type = Vec<String>))]
    pub peers: BTreeSet<Name>,
    /// Where packets for the world leave.
    pub uplink: UplinkChoice,
    /// Which of them leave with the uplink's address; the others with their own.
    pub masquerade: Masquerade,
    /// The prefix that the world knows the network's IPv6 addresses by instead (NPTv6, RFC 6296).
    pub nptv6: ExternalPrefix,
    /// How its NAT behaves.
    pub nat: Nat,
    /// Whether the host and the containers reach each other, where there is a gateway.
    #[cfg_attr(feature = "schema", schema(default = true))]
    pub host_access: bool,
    /// Whether router advertisements tell containers to make IPv6 addresses of their own (SLAAC).
    #[cfg_attr(feature = "schema", schema(default = false))]
    pub slaac: bool,
    /// Whether the gateway leases containers their addresses (DHCP).
    #[cfg_attr(feature = "schema", schema(default = false))]
    pub dhcp: bool,
    /// The domain that containers complete short names with: announced by DHCP and router
    /// advertisements, and names answer under it.
    #[cfg_attr(feature = "schema", schema(value_type = String, default = "none"))]
    pub search_domain: SearchDomain,
    /// Where frames of endpoints that are joined afterwards are carried.
    #[cfg_attr(feature = "schema", schema(default = "auto"))]
    pub datapath: Datapath,
    /// Whether the kernel may begin connections that are like earlier ones. Without it the first packet of each is
    /// decided in userspace before it goes on.
    #[cfg_attr(feature = "schema", schema(default = true))]
    pub grants: bool,
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            internal: false,
            icc: true,
            peers: BTreeSet::new(),
            uplink: UplinkChoice::Auto,
            masquerade: Masquerade::On,
            nptv6: ExternalPrefix::None,
            nat: Nat::default(),
            host_access: true,
            slaac: false,
            dhcp: false,
            search_domain: SearchDomain::default(),
            datapath: Datapath::Auto,
            grants: true,
        }
    }
}

impl Routing {
    /// Compares every value with its range.
    ///
    /// # Errors
    /// [`Invalid`] names the field, its value and what is allowed.
    pub fn check(&self) -> Result<(), Invalid> {
        self.nat.check()
    }
}

/// A domain that short names are completed with, or none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct SearchDomain(Option<String>);

impl SearchDomain {
    /// Returns the domain, in lower case and without a last dot.
    #[must_use]
    pub fn get(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Returns the domain as messages carry it (RFC 1035 3.1), uncompressed.
    #[must_use]
    pub fn encoded(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for label in self.get()?.split('.') {
            bytes.push(u8::try_from(label.len()).expect("a label has 63 bytes at most"));
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.push(0);
        Some(bytes)
    }
}

impl FromStr for SearchDomain {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self(None));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.chars().all(allowed)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let domain = text.strip_suffix('.').unwrap_or(text);
        if domain.len() <= 253 && domain.split('.').all(is_label) {
            return Ok(Self(Some(domain.to_ascii_lowercase())));
        }
        Err(Invalid::form(
            "a domain",
            text,
            "none is allowed, or labels of letters, digits and `-` joined by dots, as in corp.example",
        ))
    }
}

impl fmt::Display for SearchDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.get().unwrap_or("none"))
    }
}

text_in_json!(SearchDomain);

/// Changes to a network: an absent field stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct NetworkSet {
    /// Its new name, free until now.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub name: Option<Name>,
    /// Whether nothing is routed into it and out of it.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub internal: Option<bool>,
    /// Whether its containers talk to each other.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub icc: Option<bool>,
    /// Networks it exchanges packets with: all of them anew.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    #[cfg_attr(feature = "schema", schema(value_type = Option<Vec<String>>))]
    pub peers: Option<BTreeSet<Name>>,
    /// Where packets for the world leave.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub uplink: Option<UplinkChoice>,
    /// Which of them leave with the uplink's address.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub masquerade: Option<Masquerade>,
    /// The prefix that the world knows its IPv6 addresses by instead (NPTv6).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub nptv6: Option<ExternalPrefix>,
    /// The NAT's preset; what differed from the old one goes with it.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub preset: Option<Preset>,
    /// Whether the external port depends on the peer.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub mapping: Option<Dependence>,
    /// Who may answer to an external port.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub filtering: Option<Dependence>,
    /// Whether TCP segments outside their connection's window pass.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub tcp_liberal: Option<bool>,
    /// Connections one address may hold, 1 to 16777216.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 16_777_216))]
    pub quota: Option<u32>,
    /// Whether the host and its containers reach each other.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub host_access: Option<bool>,
    /// Whether router advertisements tell its containers to make addresses of their own.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub slaac: Option<bool>,
    /// Whether its gateway leases containers their addresses.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub dhcp: Option<bool>,
    /// The domain that containers complete short names with; `none` for none.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, example = "corp.example"))]
    pub search_domain: Option<SearchDomain>,
    /// Where frames of endpoints that are joined afterwards are carried.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub datapath: Option<Datapath>,
    /// Whether the kernel may begin connections that are like earlier ones.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub grants: Option<bool>,
}

impl NetworkSet {
    /// The settings with the changes made.
    #[must_use]
    pub fn applied_to(&self, old: &Routing) -> Routing {
        let nat = match self.preset {
            Some(preset) if preset != old.nat.preset => Nat {
                preset,
                quota: old.nat.quota,
                ..Nat::default()
            },
            Some(_) | None => old.nat.clone(),
        };
        Routing {
            internal: self.internal.unwrap_or(old.internal),
            icc: self.icc.unwrap_or(old.icc),
            peers: self.peers.as_ref().unwrap_or(&old.peers).clone(),
            uplink: self.uplink.as_ref().unwrap_or(&old.uplink).clone(),
            masquerade: self.masquerade.unwrap_or(old.masquerade),
            nptv6: self.nptv6.unwrap_or(old.nptv6),
            nat: Nat {
                preset: nat.preset,
                mapping: self.mapping.or(nat.mapping),
                filtering: self.filtering.or(nat.filtering),
                tcp_liberal: self.tcp_liberal.or(nat.tcp_liberal),
                quota: self.quota.unwrap_or(nat.quota),
            },
            host_access: self.host_access.unwrap_or(old.host_access),
            slaac: self.slaac.unwrap_or(old.slaac),
            dhcp: self.dhcp.unwrap_or(old.dhcp),
            search_domain: self
                .search_domain
                .as_ref()
                .unwrap_or(&old.search_domain)
                .clone(),
            datapath: self.datapath.unwrap_or(old.datapath),
            grants: self.grants.unwrap_or(old.grants),
        }
    }

    /// Returns whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Compares every value with its range.
    ///
    /// # Errors
    /// [`Invalid`] names the field, its value and what is allowed.
    pub fn check(&self) -> Result<(), Invalid> {
        self.quota.map_or(Ok(()), |quota| {
            Invalid::unless_in("quota", quota, &Nat::QUOTA)
        })
    }
}

/// A setting of a network.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its name.
    pub key: &'static str,
    /// The placeholder of its value in a synopsis.
    pub value: &'static str,
    /// Its effect, as an order.
    pub help: &'static str,
    /// Its words, where they are too many for a synopsis.
    pub words: &'static [&'static str],
    /// Whether its name alone means `on`.
    pub alone: bool,
    /// Whether it may be given again, and all of its values count.
    pub repeats: bool,
    access: Access,
}

#[derive(Debug, Clone, Copy)]
enum Access {
    Switch {
        change: fn(&mut NetworkSet) -> &mut Option<bool>,
        is_on: fn(&Routing) -> bool,
    },
    Text {
        set: fn(&mut NetworkSet, &str) -> Result<(), Invalid>,
        show: fn(&Routing) -> String,
    },
}

impl Setting {
    /// Adds to `changes` what `text` says.
    ///
    /// # Errors
    /// [`Invalid`] names the value and what is allowed.
    pub fn set(&self, changes: &mut NetworkSet, text: &str) -> Result<(), Invalid> {
        match self.access {
            Access::Switch { change, .. } => put(change(changes), on_or_off(text)),
            Access::Text { set, .. } => set(changes, text),
        }
    }

    /// Returns the setting's value as users write it.
    #[must_use]
    pub fn show(&self, routing: &Routing) -> String {
        match self.access {
            Access::Switch { is_on, .. } => word(is_on(routing)).to_owned(),
            Access::Text { show, .. } => show(routing),
        }
    }
}

/// Every setting, in the order in which they are shown.
pub const SETTINGS: &[Setting] = &[
    Setting {
        alone: true,
        ..switch(
            "internal",
            "Route nothing into the network and out of it",
            |set| &mut set.internal,
            |routing| routing.internal,
        )
    },
    switch(
        "icc",
        "Let containers of the network talk to each other",
        |set| &mut set.icc,
        |routing| routing.icc,
    ),
    Setting {
        repeats: true,
        ..text(
            "peer",
            "NETWORK",
            "Exchange packets with this network if it says so, too; may be given again, `none` for none",
            |set, text| {
                let peers = set.peers.get_or_insert_default();
                if text != "none" {
                    peers.insert(text.parse()?);
                }
                Ok(())
            },
            |routing| {
                if routing.peers.is_empty() {
                    return "none".to_owned();
                }
                listed(&routing.peers)
            },
        )
    },
    text(
        "uplink",
        "UPLINK",
        "Let packets for the world leave through this uplink: its name, auto (the first) or none",
        |set, text| put(&mut set.uplink, text.parse()),
        |routing| routing.uplink.to_string(),
    ),
    text(
        "masquerade",
        "on|ipv4|ipv6|off",
        "Let them leave with the uplink's address, not with their own; or those of one IP version",
        |set, text| put(&mut set.masquerade, masquerade(text)),
        |routing| routing.masquerade.to_string(),
    ),
    text(
        "nptv6",
        "PREFIX",
        "Let the world know IPv6 addresses by this prefix instead, one to one (NPTv6), or none",
        |set, text| put(&mut set.nptv6, text.parse()),
        |routing| routing.nptv6.to_string(),
    ),
    Setting {
        words: Preset::WORDS,
        ..text(
            "nat",
            "PRESET",
            "Behave like this NAT",
            |set, text| put(&mut set.preset, text.parse()),
            |routing| routing.nat.preset.to_string(),
        )
    },
    Setting {
        words: Dependence::WORDS,
        ..text(
            "mapping",
            "KIND",
            "Make mappings so",
            |set, text| put(&mut set.mapping, text.parse()),
            |routing| or_the_presets(routing.nat.mapping.map(Dependence::word)),
        )
    },
    Setting {
        words: Dependence::WORDS,
        ..text(
            "filtering",
            "KIND",
            "Filter answers so",
            |set, text| put(&mut set.filtering, text.parse()),
            |routing| or_the_presets(routing.nat.filtering.map(Dependence::word)),
        )
    },
    text(
        "tcp-liberal",
        "on|off",
        "Let TCP segments outside their window pass",
        |set, text| put(&mut set.tcp_liberal, on_or_off(text)),
        |routing| or_the_presets(routing.nat.tcp_liberal.map(word)),
    ),
    text(
        "quota",
        "N",
        "Let one address hold so many connections",
        |set, text| put(&mut set.quota, Invalid::number("quota", text, &Nat::QUOTA)),
        |routing| routing.nat.quota.to_string(),
    ),
    switch(
        "host-access",
        "Let the host and the containers reach each other",
        |set| &mut set.host_access,
        |routing| routing.host_access,
    ),
    switch(
        "slaac",
        "Tell containers to make IPv6 addresses of their own",
        |set| &mut set.slaac,
        |routing| routing.slaac,
    ),
    switch(
        "dhcp",
        "Lease containers their addresses",
        |set| &mut set.dhcp,
        |routing| routing.dhcp,
    ),
    text(
        "search-domain",
        "DOMAIN",
        "Let containers complete short names with this domain, or none",
        |set, text| put(&mut set.search_domain, text.parse()),
        |routing| routing.search_domain.to_string(),
    ),
    text(
        "datapath",
        "auto|userspace|kernel",
        "Carry frames so, of containers attached afterwards",
        |set, text| put(&mut set.datapath, text.parse()),
        |routing| routing.datapath.to_string(),
    ),
    switch(
        "grants",
        "Let the kernel begin connections that are like earlier ones",
        |set| &mut set.grants,
        |routing| routing.grants,
    ),
];

/// Reads a switch: `on` and `off`, or what Go's `strconv.ParseBool` reads, which Docker's users
/// write.
///
/// # Errors
/// [`Invalid`] names the word and what is allowed.
pub fn on_or_off(text: &str) -> Result<bool, Invalid> {
    match text {
        "on" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "off" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(Invalid::Word {
            what: "switch",
            word: text.to_owned(),
            allowed: "on, off".to_owned(),
        }),
    }
}

/// A masquerade's word, or a switch's other words.
fn masquerade(text: &str) -> Result<Masquerade, Invalid> {
    match on_or_off(text) {
        Ok(true) => Ok(Masquerade::On),
        Ok(false) => Ok(Masquerade::Off),
        Err(_) => text.parse(),
    }
}

const fn setting(
    key: &'static str,
    value: &'static str,
    help: &'static str,
    access: Access,
) -> Setting {
    Setting {
        key,
        value,
        help,
        words: &[],
        alone: false,
        repeats: false,
        access,
    }
}

const fn switch(
    key: &'static str,
    help: &'static str,
    change: fn(&mut NetworkSet) -> &mut Option<bool>,
    is_on: fn(&Routing) -> bool,
) -> Setting {
    setting(key, "on|off", help, Access::Switch { change, is_on })
}

const fn text(
    key: &'static str,
    value: &'static str,
    help: &'static str,
    set: fn(&mut NetworkSet, &str) -> Result<(), Invalid>,
    show: fn(&Routing) -> String,
) -> Setting {
    setting(key, value, help, Access::Text { set, show })
}

fn put<T>(change: &mut Option<T>, value: Result<T, Invalid>) -> Result<(), Invalid> {
    *change = Some(value?);
    Ok(())
}

const fn word(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn or_the_presets(word: Option<&'static str>) -> String {
    word.unwrap_or("the preset's").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_stays_and_another_preset_is_whole() {
        let old = Routing {
            nat: Nat {
                mapping: Some(Dependence::AddressDependent),
                quota: 9,
                ..Nat::default()
            },
            internal: true,
            ..Routing::default()
        };
        assert_eq!(NetworkSet::default().applied_to(&old), old);
        let set: NetworkSet =
            serde_json::from_str(r#"{"preset":"full-cone","icc":false,"uplink":{"named":"up"}}"#)
                .unwrap();
        let new = set.applied_to(&old);
        assert_eq!((new.nat.mapping, new.nat.quota), (None, 9));
        assert_eq!((new.internal, new.icc), (true, false));
        assert_eq!(new.uplink, UplinkChoice::Named("up".parse().unwrap()));
        let same = NetworkSet {
            preset: Some(Preset::Rfc),
            ..NetworkSet::default()
        };
        assert_eq!(same.applied_to(&old), old);
        assert!(serde_json::from_str::<NetworkSet>(r#"{"intrenal":true}"#).is_err());
    }

    #[test]
    fn a_quota_has_a_range() {
        let set = NetworkSet {
            quota: Some(0),
            ..NetworkSet::default()
        };
        assert_eq!(
            set.check().unwrap_err().to_string(),
            "quota is 0; allowed are 1 to 16777216"
        );
    }

    fn setting(key: &str) -> &'static Setting {
        SETTINGS.iter().find(|s| s.key == key).unwrap()
    }

    fn set(key: &str, text: &str) -> Result<String, String> {
        let mut changes = NetworkSet::default();
        let said = setting(key).set(&mut changes, text);
        said.map_err(|error| error.to_string())?;
        Ok(setting(key).show(&changes.applied_to(&Routing::default())))
    }

    #[test]
    fn a_setting_is_shown_as_it_is_set() {
        for (key, value) in [
            ("internal", "on"),
            ("icc", "off"),
            ("peer", "db"),
            ("uplink", "none"),
            ("uplink", "eth1"),
            ("masquerade", "ipv6"),
            ("nptv6", "2001:db8:1::/64"),
            ("nat", "cgnat"),
            ("mapping", "address-dependent"),
            ("filtering", "endpoint-independent"),
            ("tcp-liberal", "on"),
            ("quota", "7"),
            ("host-access", "off"),
            ("slaac", "on"),
            ("dhcp", "on"),
            ("search-domain", "corp.example"),
            ("datapath", "kernel"),
            ("grants", "off"),
        ] {
            assert_eq!(set(key, value).as_deref(), Ok(value), "{key}");
        }
        let covered: Vec<_> = SETTINGS.iter().map(|s| s.key).collect();
        let default = Routing::default();
        let shown = SETTINGS.iter().map(|s| s.show(&default));
        assert_eq!(
            covered.into_iter().zip(shown).collect::<Vec<_>>()[..4],
            [
                ("internal", "off".to_owned()),
                ("icc", "on".to_owned()),
                ("peer", "none".to_owned()),
                ("uplink", "auto".to_owned()),
            ]
        );
    }

    #[test]
    fn a_wrong_value_is_named_with_what_is_allowed() {
        for (key, value, says) in [
            (
                "icc",
                "maybe",
                "unknown switch `maybe`: allowed are on, off",
            ),
            (
                "nat",
                "x",
                "unknown NAT preset `x`: allowed are rfc, linux,",
            ),
            ("quota", "0", "quota is 0; allowed are 1 to 16777216"),
            (
                "quota",
                "many",
                "quota is `many`; allowed are 1 to 16777216",
            ),
            ("nptv6", "x", "`x` is not an IPv6 prefix: none"),
            ("peer", "a/b", "`a/b` is not a name"),
            ("search-domain", "a..b", "`a..b` is not a domain: none is"),
            (
                "search-domain",
                "-a.example",
                "`-a.example` is not a domain",
            ),
        ] {
            let refused = set(key, value).unwrap_err();
            assert!(refused.starts_with(says), "{refused}");
        }
    }

    /// `true` and `0` are Docker's.
    #[test]
    fn a_switch_has_dockers_words_too() {
        assert_eq!(set("dhcp", "true").as_deref(), Ok("on"));
        assert_eq!(set("masquerade", "0").as_deref(), Ok("off"));
    }

    #[test]
    fn a_domain_is_encoded_label_by_label() {
        let domain: SearchDomain = "Corp.Example.".parse().unwrap();
        assert_eq!(domain.get(), Some("corp.example"));
        assert_eq!(domain.encoded().unwrap(), b"\x04corp\x07example\x00");
        assert_eq!(SearchDomain::default().encoded(), None);
        let long = ["x".repeat(63), "y".repeat(64)];
        assert!(long[0].parse::<SearchDomain>().is_ok());
        assert!(long[1].parse::<SearchDomain>().is_err());
    }

    #[test]
    fn peers_add_up_and_none_takes_all_away() {
        let mut changes = NetworkSet::default();
        for text in ["db", "web"] {
            setting("peer").set(&mut changes, text).unwrap();
        }
        assert_eq!(changes.peers.as_ref().map(BTreeSet::len), Some(2));
        let mut none = NetworkSet::default();
        setting("peer").set(&mut none, "none").unwrap();
        assert_eq!(none.peers, Some([].into()));
    }
}
