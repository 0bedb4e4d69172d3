//! An interface is configured and looked at.

use super::{found, with_links};
use host::{Error, Links};
use std::net::UdpSocket;
use testbed::Namespace;

/// Runs `test` in a namespace that has the pair of interfaces `eth0` and `peer`, the latter up.
fn with_link(test: impl FnOnce(&Links) -> Result<(), Error> + Send) {
    let namespace = Namespace::new().unwrap();
    namespace
        .ip("link add eth0 type veth peer name peer")
        .unwrap();
    namespace.ip("link set peer up").unwrap();
    with_links(&found(&namespace), test);
}

const MAC: [u8; 6] = [2, 0x42, 10, 0, 0, 2];

#[test]
fn an_interface_is_configured_and_looked_at() {
    with_link(|links| {
        assert_eq!(links.state("eth1")?, None);
        assert!(!links.state("eth0")?.unwrap().up);
        links.configure("eth0", MAC, 9000)?;
        let state = links.state("eth0")?.unwrap();
        assert_eq!(
            (state.up, &state.mac[..], state.mtu),
            (true, &MAC[..], 9000)
        );
        links.set_mtu("eth0", 1400)?;
        links.set_queue_length("eth0", 77)?;
        links.set_up("eth0", false)?;
        links.rename("eth0", "net0")?;
        let renamed = links.state("net0")?.unwrap();
        assert_eq!(
            (renamed.up, renamed.mtu, renamed.index),
            (false, 1400, state.index)
        );
        links.remove("net0")?;
        links.remove("net0")?;
        assert_eq!(links.state("net0")?, None);
        Ok(())
    });
}

#[test]
fn addresses_are_usable_at_once() {
    with_link(|links| {
        links.configure("eth0", MAC, 1500)?;
        for (net, address) in [
            ("10.1.0.2/24", "10.1.0.2:0"),
            ("2001:db8:1::2/64", "[2001:db8:1::2]:0"),
        ] {
            links.add_address("eth0", net.parse().unwrap())?;
            // A tentative address cannot be bound to.
            UdpSocket::bind(address).unwrap();
        }
        for (gateway, outside) in [
            ("10.1.0.1", "198.51.100.1:9"),
            ("2001:db8:1::1", "[2001:db8:ffff::1]:9"),
        ] {
            links.add_default_route("eth0", gateway.parse().unwrap())?;
            let any = if outside.starts_with('[') {
                "[::]:0"
            } else {
                "0.0.0.0:0"
            };
            UdpSocket::bind(any).unwrap().connect(outside).unwrap();
        }
        Ok(())
    });
}

#[test]
fn refusals_say_what_and_where() {
    with_link(|links| {
        links.configure("eth0", MAC, 1500)?;
        let address = "10.1.0.2/24".parse().unwrap();
        links.add_address("eth0", address)?;
        for (error, what, code) in [
            (
                links.add_address("eth0", address),
                "add 10.1.0.2/24 to interface eth0",
                nix::libc::EEXIST,
            ),
            (
                links.add_default_route("eth0", "10.9.0.1".parse().unwrap()),
                "make 10.9.0.1",
                nix::libc::ENETUNREACH,
            ),
            (
                links.set_up("eth7", true),
                "interface eth7",
                nix::libc::ENODEV,
            ),
            (
                links.rename("eth0", "peer"),
                "rename interface eth0",
                nix::libc::EEXIST,
            ),
        ] {
            let error = error.unwrap_err();
            assert!(
                error.to_string().contains(what) && error.to_string().contains("/fd/"),
                "{error}"
            );
            let Error::Link { source, .. } = error else {
                panic!("{error}")
            };
            assert_eq!(source.raw_os_error(), Some(code), "{what}");
        }
        Ok(())
    });
}
