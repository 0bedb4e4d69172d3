//! Names, aliases and links, by Docker's own server at 127.0.0.11; networks that come and go while
//! a container runs.

use crate::talk::{Teller, ask_tcp};
use crate::world::{HOST, OUTSIDE, SOON, World, at};
use testbed::wait_until;

#[test]
fn containers_find_each_other_by_name_alias_and_link() {
    let Some(world) = World::start() else { return };
    world.dual("web", 1);
    let shop = world.run("--network web --name shop --network-alias store --hostname till");
    let linked = world.run("--network web --link shop:market");
    let plain = world.run("--network web");
    let resolver = world.sh(&plain, "cat /etc/resolv.conf");
    assert!(resolver.contains("127.0.0.11"), "{resolver}");
    let short = &shop.id()[..12];
    for name in ["shop", "store", short] {
        world.reaches(&plain, name);
    }
    world.reaches(&linked, "market");
    world.does_not_reach(&plain, "market");
    world.does_not_reach(&plain, "nobody");
    for (family, ip) in [
        ("ping -4", shop.ip(&world.engine, "web")),
        ("ping -6", shop.ip6(&world.engine, "web")),
    ] {
        let told = world.sh(&plain, &format!("{family} -c 1 -W 2 shop"));
        assert!(told.contains(&ip.unwrap().to_string()), "{told}");
    }
    // A name that goes is gone.
    shop.remove(&world.engine).unwrap();
    world.does_not_reach(&plain, "shop");
}

/// Two of a name are both told, and one of them is left when the other goes.
#[test]
fn an_alias_may_be_shared() {
    let Some(world) = World::start() else { return };
    world.network("web", "--subnet 10.1.0.0/24");
    let [one, two] = [(); 2].map(|()| world.run("--network web --network-alias pool"));
    let asker = world.run("--network web");
    let asked = || world.sh(&asker, "nslookup pool 127.0.0.11 || true");
    let ips = [&one, &two].map(|c| c.ip(&world.engine, "web").unwrap().to_string());
    let told = asked();
    assert!(ips.iter().all(|ip| told.contains(ip)), "{ips:?} in {told}");
    one.remove(&world.engine).unwrap();
    let told = asked();
    assert!(!told.contains(&format!("{}\n", ips[0])), "{told}");
    world.reaches(&asker, "pool");
}

#[test]
fn networks_are_connected_and_disconnected_while_it_runs() {
    let Some(world) = World::start() else { return };
    world.dual("front", 1);
    world.dual("rear", 2);
    let app = world.run("--network front --name app -p 8080:80");
    let db = world.run("--network rear --name db");
    world.does_not_reach(&app, "db");
    world.docker("network connect --alias application rear app");
    world.has_endpoints(3);
    let addresses = world.sh(&app, "ip addr show eth1");
    assert!(addresses.contains("10.2.0."), "{addresses}");
    world.reaches(&app, "db");
    world.reaches(&db, "app");
    world.reaches(&db, "application");
    let teller = Teller::start(&world.ns(&app), 80);
    let published = || ask_tcp(&world.outside, at(HOST[0], 8080)).map(|seen| seen.ip());
    assert_eq!(published().unwrap(), OUTSIDE[0]);

    // The network that it leaves by goes: the other takes its place, and the published port.
    drop(teller);
    world.docker("network disconnect front app");
    world.has_endpoints(2);
    assert_eq!(world.sh(&app, "ip link | grep -c ': eth'"), "1");
    world.reaches(&app, &OUTSIDE[0].to_string());
    world.reaches(&app, "db");
    let _teller = Teller::start(&world.ns(&app), 80);
    wait_until("the port published again", SOON, || {
        published().is_ok_and(|seen| seen == OUTSIDE[0])
    })
    .unwrap();
    // And back.
    world.docker("network connect front app");
    world.reaches(&app, "10.1.0.1");
    assert_eq!(published().unwrap(), OUTSIDE[0]);
}

#[test]
fn one_container_has_several_networks() {
    let Some(world) = World::start() else { return };
    let all = ["n1", "n2", "n3", "n4"];
    for (n, network) in all.into_iter().enumerate() {
        world.network(network, &format!("--subnet 10.{}.0.0/24", n + 1));
    }
    let hub = world.run("--network n1 --name hub");
    for network in &all[1..] {
        world.docker(&format!("network connect {network} hub"));
    }
    for network in all {
        let leaf = world.run(&format!("--network {network} --name leaf-{network}"));
        world.reaches(&leaf, "hub");
        world.reaches(&hub, &format!("leaf-{network}"));
    }
    assert_eq!(world.sh(&hub, "ip link | grep -c ': eth'"), "4");
    assert_eq!(world.sh(&hub, "ip route | grep -c default"), "1");
    world.reaches(&hub, &OUTSIDE[0].to_string());
    // The container is taken up again with all of them.
    world.docker("restart hub");
    assert_eq!(world.sh(&hub, "ip link | grep -c ': eth'"), "4");
    for network in all {
        world.reaches(&hub, &format!("leaf-{network}"));
    }
    world.has_no_bridge();
}

/// Names of the world: the server at 127.0.0.11 asks the machine's own through us.
#[test]
fn other_names_are_asked_of_the_machines_server() {
    use std::net::UdpSocket;
    let Some(world) = World::start() else { return };
    world.network("web", "--subnet 10.1.0.0/24");
    let asker = world.run("--network web");
    let server = world
        .outside
        .run(|| UdpSocket::bind((OUTSIDE[0], 53)).unwrap());
    server.set_read_timeout(Some(SOON)).unwrap();
    let mut question = [0; 512];
    let asked = std::thread::scope(|scope| {
        scope.spawn(|| asker.sh(&world.engine, "nslookup www.example.com 127.0.0.11"));
        let (len, from) = server.recv_from(&mut question).unwrap();
        // An answer ends the client's waiting: there is no such name (RFC 1035 4.1.1).
        question[2] |= 0x80;
        question[3] = 3;
        server.send_to(&question[..len], from).unwrap();
        from
    });
    assert_eq!(asked.ip(), HOST[0], "it came through the NAT");
}
