//! What the operator wrote: a TOML file whose every key is optional.
//!
//! A key that does not exist is refused, as is a value outside its range: a misspelt limit that is
//! silently ignored is a limit that is not there. Command line options win over the file.

use api::{Datapath, Invalid, NetworkCreate, PortAdd, UplinkAdd};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// The daemon's settings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The unix socket the API is answered on.
    pub socket: PathBuf,
    /// The group that may use the socket, by name or number. `None`: only the daemon's own user.
    pub socket_group: Option<String>,
    /// Where the daemon remembers networks, endpoints and ports.
    pub state_dir: PathBuf,
    /// Threads that carry frames, 1 to 64. `None`: the dataplane's own default.
    pub workers: Option<u16>,
    /// Microseconds for which a worker looks for more frames before it sleeps, 0 to 10000: less
    /// saves processor time under light traffic, more saves latency. `None`: the dataplane's own
    /// default, 100.
    pub spin_microseconds: Option<u16>,
    /// The workers' nice value, -20 to 19. `None`: the dataplane's own default, -20.
    pub nice: Option<i8>,
    /// Where frames are carried, unless a network or an endpoint says otherwise.
    pub datapath: Datapath,
    /// Seconds for which the kernel goes on repeating what was decided when there is no daemon any more, 1 to 3600.
    pub lease_seconds: u16,
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or a filter as in `RUST_LOG`,
    /// which wins.
    pub log: String,
    /// NICs added as uplinks at start: containers reach the world through the first unless their
    /// network names another. The host keeps using them.
    pub uplinks: Vec<String>,
    /// Whether Docker's network driver and IPAM driver `clearway` are answered.
    pub docker: bool,
    /// Where dockerd calls them; the name without `.sock` is the driver's.
    pub docker_plugin_socket: PathBuf,
    /// Where dockerd is asked for the names of networks and containers.
    pub docker_socket: PathBuf,
    /// Networks made at start.
    pub networks: Vec<NetworkCreate>,
    /// Ports added at start.
    pub ports: Vec<PortAdd>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            socket: api::DEFAULT_SOCKET.into(),
            socket_group: None,
            state_dir: DEFAULT_STATE_DIR.into(),
            workers: None,
            spin_microseconds: None,
            nice: None,
            datapath: Self::DATAPATH,
            lease_seconds: 30,
            log: "info".to_owned(),
            uplinks: Vec::new(),
            docker: false,
            docker_plugin_socket: docker::DEFAULT_SOCKET.into(),
            docker_socket: docker::DEFAULT_DOCKER_SOCKET.into(),
            networks: Vec::new(),
            ports: Vec::new(),
        }
    }
}

/// Why a configuration is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// It is not TOML, or has an unknown key or a value of the wrong form.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where, and what.
        source: Box<toml::de::Error>,
    },
    /// A value lies outside its range.
    #[error("{}: {what}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The key, its value and what is allowed.
        what: String,
    },
}

impl Config {
    /// The datapath when nothing is said.
    pub const DATAPATH: Datapath = Datapath::Auto;
    /// Allowed numbers of workers.
    pub const WORKERS: RangeInclusive<u16> = 1..=64;
    /// Allowed microseconds before a worker sleeps.
    pub const SPIN_MICROSECONDS: RangeInclusive<u16> = 0..=10_000;
    /// Allowed nice values.
    pub const NICE: RangeInclusive<i8> = -20..=19;
    /// Allowed seconds without a daemon.
    pub const LEASE_SECONDS: RangeInclusive<u16> = 1..=3600;

    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, the key, its value and what is allowed.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let path = || path.to_owned();
        let text = std::fs::read_to_string(path()).map_err(|source| ConfigError::Read {
            path: path(),
            source,
        })?;
        let config: Self = toml::from_str(&text).map_err(|source| ConfigError::Parse {
            path: path(),
            source: Box::new(source),
        })?;
        config
            .check()
            .map_err(|what| ConfigError::Value { path: path(), what })?;
        Ok(config)
    }

    /// Compares every value with its range.
    ///
    /// # Errors
    /// A sentence with the key, its value and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        within("workers", self.workers, &Self::WORKERS)?;
        within(
            "spin_microseconds",
            self.spin_microseconds,
            &Self::SPIN_MICROSECONDS,
        )?;
        within("nice", self.nice, &Self::NICE)?;
        let lease = Some(self.lease_seconds);
        within("lease_seconds", lease, &Self::LEASE_SECONDS)?;
        for (i, dev) in self.uplinks.iter().enumerate() {
            named("uplink", dev, UplinkAdd::new(dev).check())?;
            if self.uplinks[..i].contains(dev) {
                return Err(format!("uplink {dev} is declared twice"));
            }
        }
        let mut names = BTreeSet::new();
        for network in &self.networks {
            named("network", network.name.as_str(), network.check())?;
            if !names.insert(network.name.as_str()) {
                return Err(format!("network {} is declared twice", network.name));
            }
        }
        self.check_ports()?;
        self.check_overlap()
    }

    fn check_ports(&self) -> Result<(), String> {
        let mut names = BTreeSet::new();
        for port in &self.ports {
            named("port", port.name.as_str(), port.check())?;
            if !names.insert(port.name.as_str()) {
                return Err(format!("port {} is declared twice", port.name));
            }
        }
        Ok(())
    }

    fn check_overlap(&self) -> Result<(), String> {
        let subnets: Vec<_> = self
            .networks
            .iter()
            .flat_map(|network| network.subnets.iter().map(|net| (&network.name, net)))
            .collect();
        for (i, (name, net)) in subnets.iter().enumerate() {
            if let Some((other, taken)) = subnets[..i]
                .iter()
                .find(|(_, taken)| taken.contains(*net) || net.contains(*taken))
            {
                return Err(format!(
                    "subnet {net} of network {name} overlaps {taken} of network {other}"
                ));
            }
        }
        Ok(())
    }
}

/// Where the daemon remembers when nothing else is said.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/clearway";

fn within<T: PartialOrd + Display>(
    key: &str,
    value: Option<T>,
    range: &RangeInclusive<T>,
) -> Result<(), String> {
    match value.filter(|value| !range.contains(value)) {
        None => Ok(()),
        Some(value) => Err(format!(
            "{key} is {value}; allowed are {} to {}",
            range.start(),
            range.end()
        )),
    }
}

fn named(kind: &str, name: &str, checked: Result<(), Invalid>) -> Result<(), String> {
    checked.map_err(|error| format!("{kind} {name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let prefix = format!("{}: ", file.path().display());
        Config::read(file.path()).map_err(|error| error.to_string().replacen(&prefix, "", 1))
    }

    #[test]
    fn every_key_is_optional() {
        assert_eq!(read("").unwrap(), Config::default());
    }

    #[test]
    fn every_key_is_read() {
        let config = read(
            r#"
            socket = "/tmp/a.sock"
            socket_group = "docker"
            state_dir = "/tmp/state"
            workers = 2
            datapath = "kernel"
            lease_seconds = 60
            log = "debug"
            uplinks = ["eth0"]

            [[networks]]
            name = "blue"
            subnets = ["10.1.0.0/16"]
            mtu = 9000
            reserved = ["10.1.0.100-10.1.0.120"]
            routing = { icc = false, nat = { preset = "full-cone" }, uplink = { named = "eth0" } }

            [[ports]]
            name = "up"
            network = "blue"
            kind = { type = "packet", interface = "veth0" }
            vlan = { mode = "trunk", allowed = [10, 20] }
            "#,
        )
        .unwrap();
        assert_eq!(
            (
                config.workers,
                config.log.as_str(),
                config.socket_group.as_deref()
            ),
            (Some(2), "debug", Some("docker"))
        );
        assert_eq!(
            (config.networks[0].mtu, config.ports[0].kind.label()),
            (9000, "packet")
        );
        assert_eq!(
            (config.datapath, config.lease_seconds),
            (Datapath::Kernel, 60)
        );
        assert_eq!(config.uplinks, ["eth0"]);
        assert!(!config.networks[0].routing.icc);
    }

    #[test]
    fn a_refusal_names_key_value_and_range() {
        assert_eq!(
            read("workers = 0").unwrap_err(),
            "workers is 0; allowed are 1 to 64"
        );
        for seconds in [0, 3601] {
            assert_eq!(
                read(&format!("lease_seconds = {seconds}")).unwrap_err(),
                format!("lease_seconds is {seconds}; allowed are 1 to 3600")
            );
        }
        assert_eq!(
            read("[[networks]]\nname = 'blue'\nmtu = 100").unwrap_err(),
            "network blue: mtu is 100; allowed are 576 to 65535"
        );
        assert_eq!(
            read("[[ports]]\nname = 'p'\nkind = { type = 'tap', ifname = 't', queues = 99 }")
                .unwrap_err(),
            "port p: kind.queues is 99; allowed are 1 to 16"
        );
        assert_eq!(
            read("uplinks = ['eth0', 'eth0']").unwrap_err(),
            "uplink eth0 is declared twice"
        );
        assert!(
            read("uplinks = ['a/b']")
                .unwrap_err()
                .starts_with("uplink a/b: dev is `a/b`")
        );
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        for (text, key, line) in [
            ("worker = 2", "worker", "line 1"),
            ("\n[[networks]]\nname = 'blue'\nmtv = 2", "mtv", "line 4"),
            ("log = 7", "string", "line 1"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(key) && error.contains(line), "{error}");
        }
    }

    #[test]
    fn declarations_must_not_contradict_each_other() {
        let two = |a: &str, b: &str| {
            let net = |name: &str, net: &str| {
                format!("[[networks]]\nname = '{name}'\nsubnets = ['{net}']\n")
            };
            read(&(net(a, "10.1.0.0/16") + &net(b, "10.1.7.0/24")))
        };
        assert_eq!(
            two("blue", "red").unwrap_err(),
            "subnet 10.1.7.0/24 of network red overlaps 10.1.0.0/16 of network blue"
        );
        assert_eq!(
            two("blue", "blue").unwrap_err(),
            "network blue is declared twice"
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Config::read(Path::new("/nonexistent/clearway.toml"))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("cannot read /nonexistent/clearway.toml: No such file"),
            "{error}"
        );
    }
}
