//! The name servers that `resolv.conf(5)` names.
//!
//! Search domains and options are the business of whoever asks, so none is read here. Pure: the
//! numbers of interfaces come from the caller.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Servers that are used at most (MAXNS).
const SERVERS_MAX: usize = 3;
/// Where name servers listen.
const PORT: u16 = 53;

/// The servers in the order of the file; the local host's own, when it names none. A line that is
/// not understood names none. `interface` gives the number of `%eth0`.
pub(crate) fn servers(text: &str, interface: impl Fn(&str) -> Option<u32>) -> Vec<SocketAddr> {
    let named = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nameserver")).then_some(())?;
        server(words.next()?, &interface)
    });
    let mut servers: Vec<_> = named.take(SERVERS_MAX).collect();
    if servers.is_empty() {
        servers.push((Ipv4Addr::LOCALHOST, PORT).into());
    }
    servers
}

fn server(word: &str, interface: &impl Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    let Some((address, zone)) = word.split_once('%') else {
        return Some((word.parse::<IpAddr>().ok()?, PORT).into());
    };
    // A zone is a name or a number (RFC 4007 section 11.2).
    let scope = zone.parse().ok().or_else(|| interface(zone))?;
    let address = address.parse::<Ipv6Addr>().ok()?;
    Some(SocketAddrV6::new(address, PORT, 0, scope).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Vec<String> {
        let interface = |name: &str| (name == "eth0").then_some(7);
        let servers = servers(text, interface);
        servers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn files_as_they_are_found() {
        let local = "127.0.0.1:53";
        for (text, expected) in [
            (
                "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n",
                vec!["127.0.0.53:53"],
            ),
            (
                "# nameserver 10.0.0.1\n;nameserver 10.0.0.2\nnameserver\t10.0.0.3 # here",
                vec!["10.0.0.3:53"],
            ),
            (
                "nameserver 2001:db8::1\nnameserver fe80::1%eth0\n",
                vec!["[2001:db8::1]:53", "[fe80::1%7]:53"],
            ),
            (
                "nameserver fe80::1%9\nnameserver fe80::1%eth9\n",
                vec!["[fe80::1%9]:53"],
            ),
            (
                "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4",
                vec!["10.0.0.1:53", "10.0.0.2:53", "10.0.0.3:53"],
            ),
            ("", vec![local]),
            (
                "nameserver\nnameserver one\nnameservers 10.0.0.1\nnameserver 10.0.0.1%eth0",
                vec![local],
            ),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_names_one_to_three(text in "(nameserver |[0-9a-f.:%]{0,12}|\\PC{0,9}|\n){0,30}") {
            let count = servers(&text, |_| None).len();
            prop_assert!((1..=SERVERS_MAX).contains(&count));
        }
    }
}
