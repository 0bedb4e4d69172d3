//! What the tools that everybody judges a network by have to say.

use super::talk::Teller;
use super::{FAR, Outside, WORLD, gateway};
use std::net::IpAddr;
use testbed::traffic::{Ping, ping, tcp_exact};
use testbed::{Child, Namespace, wait_until};

/// Each hop as `program` names it, one a line.
fn hops(ns: &Namespace, program: &str, words: &[&str], to: IpAddr) -> String {
    let family = if to.is_ipv4() { "-4" } else { "-6" };
    let to = to.to_string();
    let words = [&["-n", family], words, &[to.as_str()]].concat();
    ns.output(program, &words).unwrap()
}

#[test]
fn traceroute_shows_the_gateway_and_the_way_beyond() {
    let outside = Outside::with_uplink();
    let far = outside.far(1500);
    let (_, container) = outside.web();
    for (index, to) in FAR.into_iter().enumerate() {
        container.reaches(to);
        let ways: [&[&str]; 3] = [&["-I"], &["-U"], &["-T", "-p", "80"]];
        for way in ways {
            let words = [way, &["-q", "1", "-w", "2", "-m", "5"]].concat();
            let report = hops(&container.ns, "traceroute", &words, to);
            let seen: Vec<&str> = report
                .lines()
                .skip(1)
                .filter_map(|line| line.split_whitespace().nth(1))
                .collect();
            let want = [gateway(1)[index], WORLD[index], to].map(|ip| ip.to_string());
            assert_eq!(seen, want, "{way:?}: {report}");
        }
    }
    drop(far);
}

#[test]
fn a_narrow_link_beyond_the_world_is_found() {
    let outside = Outside::with_uplink();
    let far = outside.far(1400);
    let (_, container) = outside.web();
    for to in FAR {
        container.reaches(to);
        let report = hops(&container.ns, "tracepath", &["-m", "5"], to);
        assert!(report.contains("pmtu 1400"), "{report}");
        assert!(report.contains(&to.to_string()), "{report}");
        tcp_exact(&far, &container.ns, to, 10_000_000).unwrap();
    }
}

#[test]
fn a_narrow_wire_of_the_hosts_own_is_found() {
    let outside = Outside::start();
    for ns in [outside.host(), &outside.world] {
        ns.ip("link set eth0 mtu 1400").unwrap();
    }
    outside.uplink();
    let (_, container) = outside.web();
    for world in WORLD {
        let report = hops(&container.ns, "tracepath", &["-m", "5"], world);
        assert!(report.contains("pmtu 1400"), "{report}");
        tcp_exact(&outside.world, &container.ns, world, 10_000_000).unwrap();
        let large = Ping {
            size: 5000,
            ..Ping::new(world)
        };
        wait_until("an answer in fragments", crate::fixture::SOON, || {
            ping(&container.ns, &large).unwrap().is_complete()
        })
        .unwrap();
    }
}

#[test]
fn a_ping_that_may_not_be_fragmented_is_told_the_mtu() {
    for narrow_beyond in [true, false] {
        let outside = Outside::start();
        let far = outside.far(if narrow_beyond { 1400 } else { 1500 });
        if !narrow_beyond {
            for ns in [outside.host(), &outside.world] {
                ns.ip("link set eth0 mtu 1400").unwrap();
            }
        }
        outside.uplink();
        let (_, container) = outside.web();
        for (index, to) in FAR.into_iter().enumerate() {
            container.reaches(to);
            // Who has to send it on by the narrow link.
            let router = if narrow_beyond { WORLD } else { gateway(1) }[index];
            let words = ["-n", "-M", "do", "-c", "1", "-W", "2", "-s", "1450"];
            let mut ping = container.ns.command("ping");
            let report = ping.args(words).arg(to.to_string()).output().unwrap();
            let report = String::from_utf8(report.stdout).unwrap();
            let told = if to.is_ipv4() {
                "Frag needed and DF set (mtu = 1400)"
            } else {
                "Packet too big: mtu=1400"
            };
            let line = report.lines().find(|line| line.contains(told));
            assert!(
                line.is_some_and(|line| line.contains(&format!("From {router} "))),
                "{report}"
            );
            // What just fits passes.
            let header = if to.is_ipv4() { 28 } else { 48 };
            let fits = (1400 - header).to_string();
            let words = ["-M", "do", "-c", "1", "-W", "2", "-s", &fits];
            let report = hops(&container.ns, "ping", &words, to);
            assert!(report.contains(" 0% packet loss"), "{report}");
        }
        drop(far);
    }
}

/// Whoever lets routers fragment need not hear of a narrow link: the first packet arrives.
#[test]
fn a_ping_that_may_be_fragmented_is_fragmented_on_its_way() {
    let outside = Outside::start();
    for ns in [outside.host(), &outside.world] {
        ns.ip("link set eth0 mtu 1400").unwrap();
    }
    outside.uplink();
    let (_, container) = outside.web();
    let world = WORLD[0];
    container.reaches(world);
    for size in ["1450", "4000", "40000"] {
        let words = ["-M", "dont", "-c", "1", "-W", "5", "-s", size];
        let report = hops(&container.ns, "ping", &words, world);
        assert!(report.contains(" 0% packet loss"), "{report}");
    }
}

#[test]
fn ping_reports_no_loss_whatever_the_size() {
    let outside = Outside::with_uplink();
    let (_, container) = outside.web();
    for to in WORLD {
        for size in ["0", "1472", "1473", "5000", "40000"] {
            let words = ["-c", "3", "-i", "0.05", "-W", "2", "-s", size];
            let report = hops(&container.ns, "ping", &words, to);
            assert!(report.contains(" 0% packet loss"), "{report}");
        }
    }
}

/// Datagrams for which a receiver's socket had no room.
fn overflows(ns: &Namespace) -> u64 {
    let read =
        |file| ns.run(|| std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap());
    let v6: Vec<u64> = read("snmp6")
        .lines()
        .filter_map(|line| line.strip_prefix("Udp6RcvbufErrors")?.trim().parse().ok())
        .collect();
    // Two lines: what the numbers are called, and the numbers.
    let v4 = read("snmp");
    let rows: Vec<Vec<&str>> = v4
        .lines()
        .filter(|line| line.starts_with("Udp:"))
        .map(|line| line.split_whitespace().collect())
        .collect();
    let column = rows[0].iter().position(|name| *name == "RcvbufErrors");
    rows[1][column.unwrap()].parse::<u64>().unwrap() + v6[0]
}

#[test]
fn iperf3_is_content() {
    let outside = Outside::with_uplink();
    let (_, container) = outside.web();
    for to in WORLD {
        for words in [
            "-n 50M",
            "-n 50M -R",
            "-n 20M -P 8",
            "-u -b 50M -t 1",
            "-u -b 50M -t 1 -R",
        ] {
            let mut server = outside.world.command("iperf3");
            server
                .args(["-s", "-1"])
                .stdout(std::process::Stdio::null());
            let mut server = Child::spawn(&mut server).unwrap();
            wait_until("iperf3 listens", crate::fixture::SOON, || {
                outside
                    .world
                    .output("ss", &["-Hltn"])
                    .unwrap()
                    .contains(":5201")
            })
            .unwrap();
            let receiver = if words.ends_with("-R") {
                &container.ns
            } else {
                &outside.world
            };
            let before = overflows(receiver);
            let to = to.to_string();
            let mut all = vec!["-J", "-c", &to];
            all.extend(words.split(' '));
            let report = container.ns.output("iperf3", &all).unwrap();
            let report: serde_json::Value = serde_json::from_str(&report).unwrap();
            let end = &report["end"];
            if words.starts_with("-u") {
                // What iperf3 itself was too slow for was lost by nobody else.
                let lost = end["sum"]["lost_packets"].as_u64().unwrap();
                let own = overflows(receiver) - before;
                assert!(
                    lost <= own,
                    "{words}: {lost} lost, of them {own} at the end"
                );
                let bits = end["sum"]["bits_per_second"].as_f64().unwrap();
                assert!(bits > 40e6, "{words}: {bits} bit/s");
            } else {
                let bits = end["sum_received"]["bits_per_second"].as_f64().unwrap();
                assert!(bits > 100e6, "{words}: {bits} bit/s");
            }
            assert!(server.wait_within(crate::fixture::SOON).unwrap().success());
        }
    }
}

#[test]
fn curl_fetches_a_page_from_a_server_in_the_world() {
    let outside = Outside::with_uplink();
    let (_, container) = outside.web();
    let server = Teller::pages(&outside.world, 80);
    for world in WORLD {
        let url = format!("http://{}/", server.at(world));
        let words = [
            "-sS",
            "--max-time",
            "5",
            "-w",
            "%{http_code} %{size_download}",
        ];
        let words = [&words[..], &["-o", "/dev/null", &url]].concat();
        let said = container.ns.output("curl", &words).unwrap();
        assert_eq!(said, format!("200 {}", Teller::PAGE));
    }
    // And from one in the container, at a published port.
    let web = container.endpoint.id.clone();
    outside.publish(&format!("8080:{web}:80"));
    let server = Teller::pages(&container.ns, 80);
    for host in super::HOST {
        let url = format!("http://{}/", super::at(host, 8080));
        let words = ["-sS", "--max-time", "5", "-o", "/dev/null", &url];
        outside.world.output("curl", &words).unwrap();
    }
    drop(server);
}
