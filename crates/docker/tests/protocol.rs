//! The plugin protocol as dockerd speaks it, against a stub of Clearway's daemon. The requests are
//! those that Docker 20.10 and 28 send.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stub;

use api::{Mac, Netns, Via};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};
use stub::Bench;

const NETWORK: &str = "c6cb823ac930eb2f4539110a2caf8db9fb84cf54a191d62b6070ca00880653fa";
const ENDPOINT: &str = "784700c01f0cc11eeb92d9561b0619d5ae45af2b8143a62fc9b1ad5e60d218b7";
const SANDBOX: &str = "/var/run/docker/netns/4ac1e87d387e";

fn network() -> Value {
    json!({"NetworkID": NETWORK, "Options": {
            "com.docker.network.enable_ipv6": false,
            "com.docker.network.generic": {
                "com.docker.network.driver.mtu": "1400", "clearway.nat": "linux"}},
        "IPv4Data": [{"AddressSpace": "LocalDefault", "Gateway": "10.50.0.1/24", "Pool": "10.50.0.0/24"}],
        "IPv6Data": []})
}

fn ports() -> Value {
    json!({
        "com.docker.network.endpoint.exposedports": [
            {"Proto": 6, "Port": 80}, {"Proto": 17, "Port": 53}, {"Proto": 6, "Port": 7070},
            {"Proto": 6, "Port": 9000}, {"Proto": 6, "Port": 9001}],
        "com.docker.network.portmap": [
            {"Proto": 6, "IP": "", "Port": 80, "HostIP": "", "HostPort": 8081, "HostPortEnd": 8081},
            {"Proto": 6, "IP": "", "Port": 7070, "HostIP": "", "HostPort": 0, "HostPortEnd": 0},
            {"Proto": 6, "IP": "", "Port": 9000, "HostIP": "", "HostPort": 9000, "HostPortEnd": 9000},
            {"Proto": 6, "IP": "", "Port": 9001, "HostIP": "", "HostPort": 9001, "HostPortEnd": 9001},
            {"Proto": 17, "IP": "", "Port": 53, "HostIP": "127.0.0.1", "HostPort": 5353, "HostPortEnd": 5353}]})
}

fn endpoint_with(id: &str, address: &str, options: &Value) -> Value {
    json!({"NetworkID": NETWORK, "EndpointID": id,
        "Interface": {"Address": address, "AddressIPv6": "", "MacAddress": ""}, "Options": options})
}

fn endpoint() -> Value {
    endpoint_with(ENDPOINT, "10.50.0.2/24", &ports())
}

fn join() -> Value {
    json!({"NetworkID": NETWORK, "EndpointID": ENDPOINT, "SandboxKey": SANDBOX, "Options": ports()})
}

fn program(portmap: &Value) -> Value {
    json!({"NetworkID": NETWORK, "EndpointID": ENDPOINT, "Options": {
        "com.docker.network.endpoint.exposedports": [],
        "com.docker.network.driver.private.no_proxy_6to4": false,
        "com.docker.network.portmap": portmap}})
}

fn either() -> Value {
    json!({"NetworkID": NETWORK, "EndpointID": ENDPOINT})
}

/// A bench with the network and the endpoint.
fn with_endpoint() -> Bench {
    let bench = Bench::new();
    assert_eq!(
        bench.call("NetworkDriver.CreateNetwork", &network()),
        json!({})
    );
    let made = bench.call("NetworkDriver.CreateEndpoint", &endpoint());
    assert_eq!(
        made,
        json!({"Interface": {"MacAddress": "02:00:00:00:00:02"}})
    );
    bench
}

#[test]
fn activation_has_no_body_and_an_empty_host() {
    let bench = Bench::new();
    for (method, answer) in [
        (
            "Plugin.Activate",
            json!({"Implements": ["NetworkDriver", "IpamDriver"]}),
        ),
        (
            "NetworkDriver.GetCapabilities",
            json!({"Scope": "local", "ConnectivityScope": "local", "GwAllocChecker": true}),
        ),
        (
            "IpamDriver.GetCapabilities",
            json!({"RequiresMACAddress": true, "RequiresRequestReplay": false}),
        ),
        (
            "IpamDriver.GetDefaultAddressSpaces",
            json!({"LocalDefaultAddressSpace": "clearway-local",
                "GlobalDefaultAddressSpace": "clearway-global"}),
        ),
    ] {
        assert_eq!(bench.text(method, ""), answer, "{method}");
        assert_eq!(bench.text(method, "{}"), answer, "{method}");
    }
    let check = json!({"Options": {"com.docker.network.enable_ipv4": true,
        "com.docker.network.enable_ipv6": false, "com.docker.network.generic": {"clearway.vlan": "7"}}});
    let both = json!({"SkipIPv4": false, "SkipIPv6": false});
    assert_eq!(bench.call("NetworkDriver.GwAllocCheck", &check), both);
    let isolated = json!({"Options": {"com.docker.network.generic":
        {"com.docker.network.bridge.gateway_mode_ipv4": "isolated"}}});
    let one = json!({"SkipIPv4": true, "SkipIPv6": false});
    assert_eq!(bench.call("NetworkDriver.GwAllocCheck", &isolated), one);
}

#[test]
fn what_is_no_method_is_not_found() {
    let bench = Bench::new();
    for path in [
        "NetworkDriver.Fly",
        "",
        "networkdriver.join",
        "NetworkDriver.Join/",
    ] {
        assert_eq!(bench.post(path, "{}").0, 404, "{path}");
    }
    let get = "GET /Plugin.Activate HTTP/1.1\r\nHost: \r\nConnection: close\r\n\r\n";
    assert_eq!(bench.raw(get).0, 405);
}

#[test]
fn a_containers_life() {
    let bench = with_endpoint();
    {
        let state = bench.clearway.lock();
        let spec = &state.networks[0].spec;
        assert_eq!(spec.name.as_str(), "docker-c6cb823ac930");
        assert_eq!(spec.mtu, 1400);
        assert_eq!(spec.routing.nat.preset.word(), "linux");
        assert_eq!(spec.labels["com.docker.network.id"], NETWORK);
        let endpoint = &state.endpoints[0];
        assert_eq!(endpoint.labels["com.docker.endpoint.id"], ENDPOINT);
        assert_eq!(endpoint.addresses, ["10.50.0.2/24".parse().unwrap()]);
        assert!(endpoint.locked && endpoint.netns.is_none());
    }
    assert_eq!(
        bench.call("NetworkDriver.Join", &join()),
        json!({"InterfaceName": {"SrcName": "cw784700c01f0", "DstPrefix": "eth"},
            "Gateway": "10.50.0.1", "DisableGatewayService": false})
    );
    {
        let state = bench.clearway.lock();
        let endpoint = &state.endpoints[0];
        assert_eq!(endpoint.netns, Some(Netns::Path(SANDBOX.into())));
        assert_eq!(
            (endpoint.ifname.as_str(), &endpoint.via),
            ("cw784700c01f0", &Via::MovedTap)
        );
    }
    let publish = json!({"NetworkID": NETWORK, "EndpointID": ENDPOINT, "Options": ports()});
    assert_eq!(
        bench.call("NetworkDriver.ProgramExternalConnectivity", &publish),
        json!({})
    );
    let published = [
        "8081/tcp->80",
        "9000-9001/tcp->9000",
        "127.0.0.1:5353/udp->53",
        "49153/tcp->7070",
    ];
    assert_eq!(bench.clearway.lock().published(), published);
    // Once more, nothing is published twice.
    assert_eq!(
        bench.call("NetworkDriver.ProgramExternalConnectivity", &publish),
        json!({})
    );
    assert_eq!(bench.clearway.lock().published(), published);
    assert_eq!(
        bench.call("NetworkDriver.EndpointOperInfo", &either()),
        json!({"Value": {}})
    );
    assert_eq!(
        bench.call("NetworkDriver.RevokeExternalConnectivity", &either()),
        json!({})
    );
    assert_eq!(bench.clearway.lock().published(), [""; 0]);
    assert_eq!(bench.call("NetworkDriver.Leave", &either()), json!({}));
    assert_eq!(
        bench.call("NetworkDriver.DeleteEndpoint", &either()),
        json!({})
    );
    let remove = json!({"NetworkID": NETWORK});
    assert_eq!(
        bench.call("NetworkDriver.DeleteNetwork", &remove),
        json!({})
    );
    let state = bench.clearway.lock();
    assert!(state.networks.is_empty() && state.endpoints.is_empty());
}

#[test]
fn what_is_gone_is_content_and_what_is_needed_is_not() {
    let bench = Bench::new();
    for method in [
        "RevokeExternalConnectivity",
        "Leave",
        "DeleteEndpoint",
        "DeleteNetwork",
    ] {
        let answer = bench.call(&format!("NetworkDriver.{method}"), &either());
        assert_eq!(answer, json!({}), "{method}");
    }
    assert!(bench.clearway.lock().calls.is_empty());
    let no_endpoint = format!("Clearway has no endpoint for Docker's {ENDPOINT}");
    for (method, body) in [
        ("Join", join()),
        ("EndpointOperInfo", either()),
        ("ProgramExternalConnectivity", program(&json!([]))),
    ] {
        assert_eq!(
            bench.refusal(&format!("NetworkDriver.{method}"), &body),
            no_endpoint
        );
    }
    let refused = bench.refusal("NetworkDriver.CreateEndpoint", &endpoint());
    assert!(refused.starts_with(&format!("Clearway has no network for Docker's {NETWORK}")));
}

#[test]
fn the_same_request_again_is_content_and_another_is_not() {
    let bench = with_endpoint();
    assert_eq!(
        bench.call("NetworkDriver.CreateNetwork", &network()),
        json!({})
    );
    let again = bench.call("NetworkDriver.CreateEndpoint", &endpoint());
    assert_eq!(
        again,
        json!({"Interface": {"MacAddress": "02:00:00:00:00:02"}})
    );
    let mut other = network();
    other["IPv4Data"][0]["Pool"] = json!("10.51.0.0/24");
    assert_eq!(
        bench.refusal("NetworkDriver.CreateNetwork", &other),
        format!("Clearway has made network {NETWORK} already, from another request")
    );
    let other = endpoint_with(ENDPOINT, "10.50.0.3/24", &json!({}));
    assert_eq!(
        bench.refusal("NetworkDriver.CreateEndpoint", &other),
        format!("Clearway has made endpoint {ENDPOINT} already, from another request")
    );
    let joined = bench.call("NetworkDriver.Join", &join());
    assert_eq!(bench.call("NetworkDriver.Join", &join()), joined);
    let mut elsewhere = join();
    elsewhere["SandboxKey"] = json!("/var/run/docker/netns/000000000000");
    assert!(
        bench
            .refusal("NetworkDriver.Join", &elsewhere)
            .contains("already")
    );
    assert_eq!(bench.clearway.lock().endpoints.len(), 1);
}

#[test]
fn what_cannot_be_read_is_refused_in_a_sentence() {
    let bench = Bench::new();
    for (method, body, why) in [
        (
            "NetworkDriver.CreateNetwork",
            "{\"NetworkID\": ",
            "the request's body: EOF",
        ),
        ("NetworkDriver.CreateNetwork", "[]", "the request's body: "),
        (
            "NetworkDriver.CreateNetwork",
            "\u{0}\u{1}",
            "the request's body: expected value",
        ),
        (
            "NetworkDriver.CreateNetwork",
            "",
            "missing field `NetworkID`",
        ),
        (
            "NetworkDriver.Join",
            "{\"EndpointID\": 7}",
            "invalid type: integer `7`",
        ),
        (
            "NetworkDriver.CreateEndpoint",
            r#"{"NetworkID":"n","EndpointID":"e","Interface":{"Address":"10.0.0.1/33"}}"#,
            "the request's body: `10.0.0.1/33`: ",
        ),
        (
            "NetworkDriver.CreateNetwork",
            r#"{"NetworkID":"n","Options":{"com.docker.network.generic":{"clearway.vlan":"0"}}}"#,
            "option clearway.vlan: `0` is not a VLAN: allowed are 1 to 4094",
        ),
    ] {
        let answer = bench.text(method, body);
        let error = answer["Err"].as_str().unwrap();
        assert!(error.contains(why), "{method} {body}: {error}");
    }
}

#[test]
fn an_absent_daemon_is_named() {
    let bench = Bench::with(|options| options.api_socket = "/nonexistent/clearway.sock".into());
    let refused = bench.refusal("NetworkDriver.CreateNetwork", &network());
    assert!(refused.starts_with("no daemon answers on "), "{refused}");
}

#[test]
fn an_internal_network_leads_nowhere_and_gets_no_bridge_of_dockers() {
    let bench = Bench::new();
    let mut internal = network();
    internal["Options"]["com.docker.network.internal"] = json!(true);
    internal["Options"]["com.docker.network.enable_ipv4"] = json!(true);
    bench.call("NetworkDriver.CreateNetwork", &internal);
    bench.call(
        "NetworkDriver.CreateEndpoint",
        &endpoint_with(ENDPOINT, "10.50.0.2/24", &json!({})),
    );
    assert_eq!(
        bench.call("NetworkDriver.Join", &join()),
        json!({"InterfaceName": {"SrcName": "cw784700c01f0", "DstPrefix": "eth"},
            "DisableGatewayService": true})
    );
}

#[test]
fn both_families_and_a_given_mac_address() {
    let bench = Bench::new();
    let dual = json!({"NetworkID": NETWORK, "Options": {
            "com.docker.network.enable_ipv6": true,
            "com.docker.network.generic": {
                "com.docker.network.bridge.name": "brx",
                "com.docker.network.container_iface_prefix": "net"}},
        "IPv4Data": [{"AddressSpace": "LocalDefault", "AuxAddresses": {"host1": "10.52.0.200/24"},
            "Gateway": "10.52.0.254/24", "Pool": "10.52.0.0/24"}],
        "IPv6Data": [{"AddressSpace": "LocalDefault", "Gateway": "fd50::99/64", "Pool": "fd50::/64"}]});
    assert_eq!(bench.call("NetworkDriver.CreateNetwork", &dual), json!({}));
    let endpoint = json!({"NetworkID": NETWORK, "EndpointID": ENDPOINT,
        "Interface": {"Address": "10.52.0.9/24", "AddressIPv6": "fd50::9/64",
            "MacAddress": "02:aa:aa:ec:de:0c"},
        "Options": {"com.docker.network.endpoint.macaddress": "Aqqq7N4M"}});
    // What was asked for must not come back.
    assert_eq!(
        bench.call("NetworkDriver.CreateEndpoint", &endpoint),
        json!({})
    );
    let mac: Mac = "02:aa:aa:ec:de:0c".parse().unwrap();
    assert_eq!(bench.clearway.lock().endpoints[0].mac, mac);
    assert_eq!(
        bench.call("NetworkDriver.Join", &join()),
        json!({"InterfaceName": {"SrcName": "cw784700c01f0", "DstPrefix": "net"},
            "Gateway": "10.52.0.254", "GatewayIPv6": "fd50::99", "DisableGatewayService": false})
    );
    let named = json!({"com.docker.network.endpoint.ifname": "xx0", "clearway.vlan": "20"});
    bench.call(
        "NetworkDriver.CreateEndpoint",
        &endpoint_with("ab12", "10.52.0.10/24", &named),
    );
    let other = json!({"NetworkID": NETWORK, "EndpointID": "ab12", "SandboxKey": SANDBOX});
    let joined = bench.call("NetworkDriver.Join", &other);
    assert_eq!(
        joined["InterfaceName"],
        json!({"SrcName": "cwab12", "DstPrefix": "xx"})
    );
    assert_eq!(bench.clearway.lock().endpoints[1].vlan.get(), 20);
}

#[test]
fn without_an_ipam_a_container_has_the_addresses_it_takes() {
    let bench = Bench::new();
    let null = json!({"NetworkID": NETWORK, "Options": {},
        "IPv4Data": [{"AddressSpace": "null", "Pool": "0.0.0.0/0"}], "IPv6Data": null});
    assert_eq!(bench.call("NetworkDriver.CreateNetwork", &null), json!({}));
    bench.call(
        "NetworkDriver.CreateEndpoint",
        &endpoint_with(ENDPOINT, "", &Value::Null),
    );
    assert!(!bench.clearway.lock().endpoints[0].locked);
    let joined = bench.call("NetworkDriver.Join", &join());
    assert_eq!(joined["DisableGatewayService"], json!(true));
}

#[test]
fn what_a_killed_dockerd_forgot_makes_way() {
    let bench = with_endpoint();
    // dockerd leaves a plain file where the namespace was.
    let dead = bench.dir.path().join("netns");
    std::fs::write(&dead, "").unwrap();
    for (id, netns, makes_way) in [
        ("b1", None, true),
        ("b2", Some(dead.clone()), true),
        ("b3", Some("/proc/self/ns/net".into()), false),
    ] {
        let old = bench.clearway.lock().endpoints[0].id.clone();
        bench.clearway.lock().endpoints[0].netns = netns.map(Netns::Path);
        let new = endpoint_with(id, "10.50.0.2/24", &json!({}));
        let answer = bench.call("NetworkDriver.CreateEndpoint", &new);
        let state = bench.clearway.lock();
        assert_eq!(answer.get("Err").is_none(), makes_way, "{answer}");
        assert_eq!(state.endpoints.len(), 1);
        assert_eq!(state.endpoints[0].id != old, makes_way);
    }
    // Clearway's own endpoints never do.
    bench.clearway.lock().endpoints[0].netns = None;
    bench.clearway.lock().endpoints[0].labels.clear();
    let new = endpoint_with("b4", "10.50.0.2/24", &json!({}));
    assert!(
        bench
            .refusal("NetworkDriver.CreateEndpoint", &new)
            .contains("is taken")
    );
}

#[test]
fn a_network_takes_what_dockerd_forgot_with_it() {
    let bench = with_endpoint();
    assert_eq!(
        bench.call("NetworkDriver.DeleteNetwork", &either()),
        json!({})
    );
    assert!(bench.clearway.lock().networks.is_empty());

    let bench = with_endpoint();
    bench.clearway.lock().endpoints[0].labels.clear();
    let refused = bench.refusal("NetworkDriver.DeleteNetwork", &either());
    assert_eq!(refused, "network docker-c6cb823ac930 has endpoints");
}

fn binding(port: u16, host: &str, first: u16, last: u16) -> Value {
    json!({"Proto": 6, "IP": "", "Port": port, "HostIP": host, "HostPort": first, "HostPortEnd": last})
}

#[test]
fn a_taken_port_takes_the_whole_call_back() {
    let bench = with_endpoint();
    let mut all: Vec<Value> = (9000..9200)
        .map(|port| binding(port, "", port, port))
        .collect();
    all.push(binding(80, "::1", 8087, 8087));
    all.push(binding(81, "", 0, 0));
    let method = "NetworkDriver.ProgramExternalConnectivity";
    bench.clearway.lock().foreign.insert(9123);
    assert_eq!(
        bench.refusal(method, &program(&json!(all))),
        "Bind for 0.0.0.0:9123 failed: port is already allocated (another program has port 9123)"
    );
    assert_eq!(bench.clearway.lock().published(), [""; 0]);
    let tries = bench.clearway.lock().calls.len();
    assert!(tries < 40, "{tries} calls to find one port of 200");

    bench.clearway.lock().foreign.clear();
    assert_eq!(bench.call(method, &program(&json!(all))), json!({}));
    let published = ["9000-9199/tcp->9000", "[::1]:8087/tcp->80", "49153/tcp->81"];
    assert_eq!(bench.clearway.lock().published(), published);
    // Leaving takes it all back, whether or not dockerd revokes.
    bench.call("NetworkDriver.Leave", &either());
    assert_eq!(bench.clearway.lock().published(), [""; 0]);
}

#[test]
fn ports_left_to_us_are_the_next_that_are_free() {
    let bench = with_endpoint();
    let method = "NetworkDriver.ProgramExternalConnectivity";
    bench.clearway.lock().foreign.extend([49_154, 9000, 9001]);
    let portmap = json!([
        binding(80, "", 0, 0),
        binding(80, "", 0, 0),
        binding(81, "", 9000, 9003),
        binding(81, "127.0.0.1", 9000, 9003)
    ]);
    assert_eq!(bench.call(method, &program(&portmap)), json!({}));
    let published = [
        "49153/tcp->80",
        "49155/tcp->80",
        "9002/tcp->81",
        "127.0.0.1:9003/tcp->81",
    ];
    assert_eq!(bench.clearway.lock().published(), published);
    bench.call("NetworkDriver.RevokeExternalConnectivity", &either());
    // A port that was given back is not given again at once.
    assert_eq!(
        bench.call(method, &program(&json!([binding(80, "", 0, 0)]))),
        json!({})
    );
    assert_eq!(bench.clearway.lock().published(), ["49156/tcp->80"]);
    let full = json!([binding(80, "0.0.0.0", 9000, 9001)]);
    assert_eq!(
        bench.refusal(method, &program(&full)),
        "Bind for 0.0.0.0:9000-9001 failed: all ports are allocated (another program has port 9001)"
    );
    assert_eq!(bench.clearway.lock().published(), ["49156/tcp->80"]);
}

#[test]
fn the_networks_host_address_is_where_ports_are_published() {
    let bench = Bench::new();
    let mut local = network();
    local["Options"]["com.docker.network.generic"] =
        json!({"com.docker.network.bridge.host_binding_ipv4": "127.0.0.1"});
    bench.call("NetworkDriver.CreateNetwork", &local);
    bench.call("NetworkDriver.CreateEndpoint", &endpoint());
    let portmap = json!([
        binding(80, "", 8080, 8080),
        binding(81, "0.0.0.0", 8081, 8081)
    ]);
    bench.call(
        "NetworkDriver.ProgramExternalConnectivity",
        &program(&portmap),
    );
    assert_eq!(
        bench.clearway.lock().published(),
        ["0.0.0.0:8081/tcp->81", "127.0.0.1:8080/tcp->80"]
    );
}

#[test]
fn a_swarms_calls_are_answered() {
    let bench = Bench::new();
    let id = "cbfv88mh5mvm9dsaqtiui4xzp";
    let allocate = json!({"NetworkID": id, "Options": {"foo": "bar"},
        "IPv4Data": [{"AddressSpace": "", "Gateway": "10.90.0.1/24", "Pool": "10.90.0.0/24"}],
        "IPv6Data": null});
    assert_eq!(
        bench.call("NetworkDriver.AllocateNetwork", &allocate),
        json!({"Options": {"foo": "bar"}})
    );
    let discovered = json!({"DiscoveryType": 1, "DiscoveryData":
        {"Address": "10.200.0.2", "BindAddress": "10.200.0.2", "Self": true}});
    assert_eq!(
        bench.call("NetworkDriver.DiscoverNew", &discovered),
        json!({})
    );
    assert_eq!(
        bench.call("NetworkDriver.DiscoverDelete", &discovered),
        json!({})
    );
    assert_eq!(
        bench.call("NetworkDriver.FreeNetwork", &json!({"NetworkID": id})),
        json!({})
    );
}

#[test]
fn an_ipam_drivers_life() {
    let bench = Bench::new();
    let pool = bench.call(
        "IpamDriver.RequestPool",
        &json!({"AddressSpace": "clearway-local", "Pool": "10.70.0.0/24",
            "SubPool": "10.70.0.128/25", "Options": {"pool": "blue"}, "V6": false}),
    );
    assert_eq!(pool["Pool"], json!("10.70.0.0/24"));
    assert_eq!(pool["Data"], json!({}));
    let id = &pool["PoolID"];
    let ask = |address: &str, options: Value| {
        let request = json!({"PoolID": id, "Address": address, "Options": options});
        bench.call("IpamDriver.RequestAddress", &request)
    };
    let given = |address: &str| json!({"Address": address, "Data": {}});
    let gateway = json!({"RequestAddressType": "com.docker.network.gateway"});
    assert_eq!(ask("10.70.0.1", gateway), given("10.70.0.1/24"));
    assert_eq!(ask("10.70.0.9", Value::Null), given("10.70.0.9/24"));
    let container = json!({"com.docker.network.endpoint.macaddress": "02:42:44:97:30:9e"});
    assert_eq!(ask("", container), given("10.70.0.128/24"));
    let taken = ask("10.70.0.9", Value::Null);
    assert!(
        taken["Err"]
            .as_str()
            .unwrap()
            .starts_with("Address already in use")
    );
    for address in ["10.70.0.1", "10.70.0.9", "10.70.0.9"] {
        let release = json!({"PoolID": id, "Address": address});
        assert_eq!(bench.call("IpamDriver.ReleaseAddress", &release), json!({}));
    }
    let release = json!({"PoolID": id});
    assert_eq!(bench.call("IpamDriver.ReleasePool", &release), json!({}));
    assert_eq!(bench.call("IpamDriver.ReleasePool", &release), json!({}));
    assert!(bench.dir.path().join("state/docker-ipam.json").exists());
}

#[test]
fn no_two_callers_get_one_address() {
    let bench = Bench::new();
    let request = json!({"AddressSpace": "clearway-local", "Pool": "", "V6": false});
    let pool = bench.call("IpamDriver.RequestPool", &request);
    let ask = json!({"PoolID": pool["PoolID"], "Address": ""});
    let mut given: Vec<String> = std::thread::scope(|scope| {
        let asking = || {
            let answer = bench.call("IpamDriver.RequestAddress", &ask);
            answer["Address"].as_str().unwrap().to_owned()
        };
        let asking: Vec<_> = (0..32).map(|_| scope.spawn(asking)).collect();
        asking
            .into_iter()
            .map(|asked| asked.join().unwrap())
            .collect()
    });
    given.sort();
    given.dedup();
    assert_eq!(given.len(), 32);
}

#[test]
fn containers_join_at_the_same_time() {
    let bench = Bench::new();
    bench.call("NetworkDriver.CreateNetwork", &network());
    // Each join waits in the daemon until all have come there.
    bench.clearway.lock().joins_together = 12;
    std::thread::scope(|scope| {
        for n in 0..12 {
            let bench = &bench;
            scope.spawn(move || {
                let id = format!("{n:02}aaaaaaaaaaaaaa");
                let made = endpoint_with(&id, &format!("10.50.0.{}/24", n + 2), &json!({}));
                let made = bench.call("NetworkDriver.CreateEndpoint", &made);
                assert!(made.get("Err").is_none(), "{made}");
                let join = json!({"NetworkID": NETWORK, "EndpointID": id,
                    "SandboxKey": format!("/var/run/docker/netns/{n}")});
                let joined = bench.call("NetworkDriver.Join", &join);
                assert_eq!(
                    joined["InterfaceName"]["SrcName"],
                    format!("cw{n:02}aaaaaaaaa")
                );
            });
        }
    });
    assert_eq!(bench.clearway.lock().endpoints.len(), 12);
}

#[test]
fn large_maps_are_read_and_endless_ones_are_not() {
    let bench = with_endpoint();
    let all: Vec<Value> = (1..=u16::MAX)
        .map(|port| binding(port, "", port, port))
        .collect();
    let method = "NetworkDriver.ProgramExternalConnectivity";
    assert_eq!(bench.call(method, &program(&json!(all))), json!({}));
    assert_eq!(bench.clearway.lock().published(), ["1-65535/tcp->1"]);

    let endless =
        format!("POST /{method} HTTP/1.1\r\nHost: \r\nContent-Length: 99999999999\r\n\r\n");
    let mut stream = bench.connect();
    stream.write_all(endless.as_bytes()).unwrap();
    let mut answer = [0; 15];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
}

#[test]
fn a_caller_that_says_nothing_holds_nobody_up() {
    let mut bench = Bench::new();
    let mut silent = bench.connect();
    silent
        .write_all(b"POST /NetworkDriver.Join HTTP/1.1\r\nContent-Length: 9\r\n\r\n{")
        .unwrap();
    let idle = bench.connect();
    assert_eq!(bench.post("Plugin.Activate", "").0, 200);
    // Nor the end, beyond its five seconds.
    let begin = Instant::now();
    bench.stop();
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert!(!bench.socket.exists());
    drop(idle);
}

#[test]
fn the_socket_outlives_no_plugin_and_one_plugin_has_it() {
    let mut bench = Bench::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let options = docker::Options {
        socket: bench.socket.clone(),
        docker_socket: None,
        ..docker::Options::new("/nonexistent", bench.dir.path())
    };
    let second = runtime.block_on(docker::serve(options.clone(), std::future::pending()));
    assert!(
        matches!(
            second,
            Err(docker::Error::Bind(api::socket::BindError::Taken(_)))
        ),
        "{second:?}"
    );
    assert_eq!(bench.post("Plugin.Activate", "").0, 200);
    bench.stop();
    assert!(!bench.socket.exists());
    // What a killed plugin leaves does not keep the next one off.
    drop(UnixListener::bind(&bench.socket).unwrap());
    bench.start(options);
    assert_eq!(bench.post("Plugin.Activate", "").0, 200);
}
