//! Interfaces for tests, by way of `ip` (iproute2). The lab makes its own through netlink.

use crate::{Namespace, wait_until};
use anyhow::Result;
use std::time::Duration;

/// A veth pair: `a_name` in `a`, `b_name` in `b`, both up and carrying.
///
/// # Errors
/// The error of `ip`.
pub fn veth(a: &Namespace, a_name: &str, b: &Namespace, b_name: &str) -> Result<()> {
    a.ip(&format!(
        "link add {a_name} type veth peer name {b_name} netns {}",
        b.path().display()
    ))?;
    a.ip(&format!("link set {a_name} up"))?;
    b.ip(&format!("link set {b_name} up"))?;
    await_carrier(a, a_name)?;
    await_carrier(b, b_name)
}

/// Waits until `interface` carries frames. The kernel notices in the background that the far end
/// came up or that a TAP was attached to, and drops what is sent before.
///
/// # Errors
/// When it does not within ten seconds.
pub fn await_carrier(namespace: &Namespace, interface: &str) -> Result<()> {
    wait_until(
        &format!("carrier of {interface}"),
        Duration::from_secs(10),
        || {
            namespace
                .ip(&format!("-o link show {interface}"))
                .is_ok_and(|line| line.contains("LOWER_UP") && !line.contains("state DOWN"))
        },
    )
}

/// A bridge `name` with `ports`, all up.
///
/// # Errors
/// The error of `ip`.
pub fn bridge(namespace: &Namespace, name: &str, ports: &[&str]) -> Result<()> {
    namespace.ip(&format!("link add {name} type bridge"))?;
    namespace.ip(&format!("link set {name} up"))?;
    for port in ports {
        namespace.ip(&format!("link set {port} master {name} up"))?;
    }
    Ok(())
}

/// Gives `interface` the address `cidr` (`10.0.0.1/24`, `2001:db8::1/64`) and sets it up. An IPv6
/// address is usable at once: its duplicate detection is skipped.
///
/// # Errors
/// The error of `ip`.
pub fn address(namespace: &Namespace, interface: &str, cidr: &str) -> Result<()> {
    let nodad = if cidr.contains(':') { "nodad" } else { "" };
    namespace.ip(&format!("address add {cidr} dev {interface} {nodad}"))?;
    namespace.ip(&format!("link set {interface} up"))?;
    Ok(())
}

/// Returns what `ip -d` or `tc` shows without the clocks in it, which differ from one look to the next.
#[must_use]
pub fn without_timers(shown: &str) -> String {
    let mut words = shown.split_inclusive(char::is_whitespace).peekable();
    let mut still = String::new();
    while let Some(word) = words.next() {
        still += word;
        if word.trim().ends_with("_timer") {
            while words.next_if(|it| it.trim().is_empty()).is_some() {}
            words.next();
        }
    }
    still
}

#[cfg(test)]
mod kernel_tests {
    use super::*;

    #[test]
    fn a_bridge_with_addresses() {
        let (host, guest) = (Namespace::new().unwrap(), Namespace::new().unwrap());
        veth(&host, "p0", &guest, "eth0").unwrap();
        bridge(&host, "br0", &["p0"]).unwrap();
        address(&guest, "eth0", "10.9.0.2/24").unwrap();
        address(&guest, "eth0", "2001:db8:9::2/64").unwrap();
        assert!(host.ip("-o link show master br0").unwrap().contains("p0"));
        assert!(guest.ip("-o address").unwrap().contains("2001:db8:9::2/64"));
    }
}
