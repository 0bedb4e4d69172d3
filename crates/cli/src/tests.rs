//! The command line as a whole.

use super::*;
use clap::{CommandFactory, Parser};

#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

fn parse(words: &str) -> Result<Command, clap::Error> {
    Line::try_parse_from(["clearway"].into_iter().chain(words.split_whitespace()))
        .map(|line| line.command)
}

#[test]
fn the_commands_are_consistent() {
    Line::command().debug_assert();
}

#[test]
fn every_command_is_understood() {
    for words in [
        "network create blue --subnet 10.1.0.0/16 --gateway 10.1.0.1 --mtu 9000 --ageing 60 --label a=b --storm broadcast=5",
        "network create blue --subnet 10.1.0.0/16 --gateway none --reserve 10.1.0.100-10.1.0.120 --allow-overlap --internal --icc off --peer red",
        "network create blue --uplink none --masquerade off --nat full-cone --mapping address-dependent --quota 5 --dhcp on",
        "network set blue --internal=off --peer none --uplink up --host-access off --slaac on",
        "uplink add eth0 --name up --ports 50000-60000",
        "uplink ls -o json",
        "uplink rm up",
        "publish add 8080:web:80 198.51.100.1:53:dns:53/udp [::]:443->web:443/tcp",
        "publish ls",
        "publish rm pub-1 8080/tcp",
        "ports",
        "ports web -o json",
        "adopt docker0 br-0123456789ab",
        "adopt -o json",
        "release docker0",
        "policy set web --default deny",
        "policy show web -o json",
        "policy clear web db",
        "nat ls --protocol tcp --src 10.1.0.2 --dst 10.0.0.0/8 --port 80 --network blue --endpoint web --state closing -o json",
        "nat ls endpoint web and ( tcp port 443 or not nat ) --network blue -o json",
        "nat flush --all",
        "nat flush ! tcp",
        "nat watch -o json",
        "doctor --clean -o json",
        "docker install --uplink eth0 --uplink eth1 --prefix /mnt --dry-run",
        "docker uninstall --prefix /mnt --dry-run",
        "attach --netns web --network blue --name db --alias postgres --alias pg --rate-bits 100mbit --rate-packets 10k",
        "network ls -o json",
        "network inspect blue red -o table",
        "network rm blue red",
        "attach --netns web --network blue --ip 10.1.0.2/16 --ip 2001:db8::2/64 --mac 02:00:00:00:00:0a --ifname eth1 --vlan 7",
        "attach --netns /proc/7/ns/net --network blue",
        "attach --pid 7 --network blue -o json",
        "detach web db",
        "detach --netns web --ifname eth1",
        "detach --pid 7",
        "endpoint ls",
        "endpoint inspect web ep-2 -o json",
        "endpoint create --network blue --ip 10.1.0.9/16 --name web",
        "endpoint join web --netns ct1 --ifname eth1",
        "endpoint join web --pid 7 --moved",
        "endpoint join web --pid 7 --veth veth1",
        "endpoint leave web",
        "endpoint set ep-2 --name web --alias www --label a=b",
        "endpoint rm web",
        "network set blue --name red",
        "port add p --tap eth0 --network blue --lock 02:00:00:00:00:0a,10.1.0.2 --max-macs 4 --storm none",
        "port add p --packet veth0 --trunk=10,20 --native 10",
        "port set p --trunk 10,20 --native 10",
        "port set p --trunk",
        "port set --trunk -- p",
        "port add p --write out.pcapng --mirror a,b --mirror-direction tx",
        "port ls",
        "port show p",
        "port set p --up --no-vlan --isolated on",
        "port rm p q",
        "fdb show --network blue --port p -o json",
        "fdb show 02:00:00:00:00:0a or endpoint web and vlan 7",
        "fdb add 02:00:00:00:00:0a --network blue --port p --vlan 7",
        "fdb del 02:00:00:00:00:0a --network blue",
        "fdb flush --network blue --static",
        "fdb flush --all",
        "drops --watch",
        "drops --watch=5 --all -o json",
        "drops --watch 5",
        "drops --watch --all",
        "status -o json",
        "explain --port p --hex ffff",
        "explain --port p --pcap f --nth 2",
        "explain --port p tcp 10.1.0.2 10.1.0.3:80",
    ] {
        if let Err(error) = parse(words) {
            panic!("{words}: {error}");
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_what_is_allowed() {
    for (words, says) in [
        ("network create", "<NETWORK>"),
        ("network create ../etc", "is not a name"),
        ("network create blue --mtu 100", "576..=65535"),
        ("network create blue --subnet 10.1.0.0", "invalid"),
        ("network rm", "<NETWORK>"),
        (
            "network create blue --gateway x",
            "neither an IP address nor none",
        ),
        (
            "network create blue --reserve 10.1.0.9-10.1.0.1",
            "is not a range of addresses",
        ),
        (
            "network create blue --nat x",
            "unknown NAT preset `x`: allowed are rfc, linux",
        ),
        (
            "network set blue --icc maybe",
            "unknown switch `maybe`: allowed are on, off",
        ),
        ("publish add 8080", "is no publication"),
        ("policy set web permit", "is no rule"),
        (
            "nat ls --state open",
            "allowed are opening, established, closing",
        ),
        ("nat ls --src web", "is neither IP nor CIDR"),
        ("port set p --no-rate --rate-bits 1m", "cannot be used with"),
        ("attach --network blue", "--netns"),
        (
            "attach --network blue --netns a --pid 7",
            "cannot be used with",
        ),
        (
            "attach --netns web --network blue --vlan 4095",
            "allowed are 1 to 4094",
        ),
        (
            "attach --netns web --network blue --mac 02:00",
            "six hexadecimal bytes",
        ),
        ("detach", "<ENDPOINT>"),
        ("detach web --pid 7", "cannot be used with"),
        ("port add p", "--tap"),
        ("port add p --tap a --packet b", "cannot be used with"),
        (
            "port add p --tap a --access 1 --tunnel 2",
            "cannot be used with",
        ),
        ("port add p --tap a --native 2", "--trunk"),
        ("port add p --tap a --trunk 10,x", "`x` is not a VLAN"),
        ("port set p --trunk 10 20", "unexpected argument '20'"),
        (
            "port add p --tap a --storm x=1",
            "broadcast, multicast and unknown are",
        ),
        ("port set p --up --down", "cannot be used with"),
        ("fdb flush", "--all"),
        ("fdb flush --static", "--all"),
        ("fdb flush --all --network blue", "cannot be used with"),
        ("drops --watch=0", "1..=3600"),
        ("drops --watch 0", "1..=3600"),
        ("status -o yaml", "possible values: table, json"),
        ("explain --hex ff", "--port"),
    ] {
        let error = parse(words).expect_err(words);
        assert!(error.to_string().contains(says), "{words}: {error}");
        assert_eq!(error.exit_code(), 2);
    }
}

#[test]
fn without_a_daemon_a_command_fails_with_1() {
    let socket = Path::new("/nonexistent/clearway.sock");
    for words in ["status", "network ls", "network rm a b", "drops"] {
        let mut out = Vec::new();
        let client = Client::new(socket);
        let failure = ask(&parse(words).unwrap(), &client, &ALONE, &mut out).unwrap_err();
        assert!(
            failure
                .to_string()
                .starts_with("no daemon answers on /nonexistent/clearway.sock"),
            "{failure}"
        );
        assert_eq!(
            format!("{:?}", failure.exit_code()),
            format!("{:?}", ExitCode::from(1))
        );
        assert!(out.is_empty());
    }
    for words in [
        "port set p",
        "network set blue",
        "nat flush",
        "nat flush --all --port 1",
        "nat flush --all tcp",
    ] {
        let failure = ask(
            &parse(words).unwrap(),
            &Client::new(socket),
            &ALONE,
            &mut Vec::new(),
        )
        .unwrap_err();
        assert_eq!(
            format!("{:?}", failure.exit_code()),
            format!("{:?}", ExitCode::from(2)),
            "{words}"
        );
    }
}

/// Nothing is there.
const ALONE: Alone = Alone {
    inspect: || Ok(Vec::new()),
    clean: || Ok(Vec::new()),
    release: |_| Ok(Vec::new()),
};
