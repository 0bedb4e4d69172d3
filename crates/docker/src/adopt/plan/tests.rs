use super::*;
use api::NetworkCreate;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// docker0, adopted, with one container that has two ports.
fn sides() -> (Theirs, Ours) {
    let member = Member {
        mac: "02:42:ac:11:00:02".parse().unwrap(),
        addresses: vec!["172.17.0.2/16".parse().unwrap()],
        aliases: vec!["web".to_owned(), "www".to_owned(), "no name".to_owned()],
    };
    let binding = |host: &str, port| Binding {
        host: Some(host.parse().unwrap()),
        port,
        to: port - 8000,
        protocol: IpProtocol::TCP,
    };
    let container = Container {
        name: "web".to_owned(),
        sandbox: "/var/run/docker/netns/1234".into(),
        labels: BTreeMap::from([
            ("com.docker.compose.project".to_owned(), "shop".to_owned()),
            ("other".to_owned(), "x".to_owned()),
        ]),
        members: BTreeMap::from([("e1".to_owned(), member)]),
        bindings: vec![
            binding("0.0.0.0", 8081),
            binding("::", 8081),
            binding("127.0.0.1", 9000),
            binding("0.0.0.0", 8080),
            binding("0.0.0.0", 8083),
        ],
    };
    let network = DockerNetwork {
        internal: false,
        icc: true,
        masquerade: true,
        members: BTreeMap::from([("e1".to_owned(), "c1".to_owned())]),
    };
    let theirs = Theirs {
        networks: BTreeMap::from([("docker0".to_owned(), network)]),
        containers: BTreeMap::from([("c1".to_owned(), container)]),
    };
    let ours = Ours {
        adoptions: vec![Adoption {
            bridge: name("docker0"),
            network: name("docker0"),
            addresses: Vec::new(),
            endpoints: Vec::new(),
        }],
        networks: vec![Network {
            id: 1,
            spec: NetworkCreate::new(name("docker0")),
            ports: 0,
            endpoints: 0,
            macs: 0,
            gateway_mac: None,
            gateways: Vec::new(),
            uplink: None,
            publications: Vec::new(),
        }],
        ..Ours::default()
    };
    (theirs, ours)
}

/// Does it as the daemon would.
fn act(ours: &mut Ours, act: &Act) {
    match act {
        Act::Detach(id) => {
            ours.endpoints.retain(|e| e.id != *id);
            ours.publications.retain(|p| p.spec.endpoint != *id);
        }
        Act::Attach(attach) => {
            let id = name(&format!("ep-{}", ours.endpoints.len() + 1));
            ours.endpoints.push(Endpoint {
                id: id.clone(),
                name: attach.name.clone(),
                aliases: attach.aliases.clone(),
                network: attach.network.clone(),
                netns: None,
                ifname: attach.ifname.clone(),
                via: Via::Tap,
                datapath: None,
                mac: attach.mac.unwrap(),
                addresses: attach.addresses.clone(),
                gateways: Vec::new(),
                vlan: api::VlanId::DEFAULT,
                mtu: 1500,
                locked: true,
                port: id,
                labels: attach.labels.clone(),
            });
        }
        Act::Join(id, join) => {
            let endpoint = ours.endpoints.iter_mut().find(|e| e.id == *id).unwrap();
            endpoint.netns = Some(join.netns.clone());
            endpoint.via = join.via.clone();
        }
        Act::Publish(spec) => ours.publications.push(Publication {
            id: name(&format!("pub-{}", ours.publications.len() + 1)),
            spec: spec.clone(),
            network: name("docker0").into(),
            addresses: Vec::new(),
        }),
        Act::SetEndpoint(id, set) => {
            let endpoint = ours.endpoints.iter_mut().find(|e| e.id == *id).unwrap();
            endpoint.name = set.name.clone().or_else(|| endpoint.name.take());
            if let Some(aliases) = &set.aliases {
                endpoint.aliases.clone_from(aliases);
            }
            if let Some(labels) = &set.labels {
                endpoint.labels.clone_from(labels);
            }
        }
        Act::SetNetwork(network, set) => {
            let mut all = ours.networks.iter_mut();
            let found = all.find(|n| n.spec.name == *network).unwrap();
            found.spec.routing = set.applied_to(&found.spec.routing);
        }
    }
}

/// Does all there is to do, and answers what it was.
fn settle(theirs: &Theirs, ours: &mut Ours) -> Vec<Act> {
    let mut done = Vec::new();
    for _ in 0..10 {
        let acts = what_to_do(theirs, ours);
        if acts.is_empty() {
            return done;
        }
        acts.iter().for_each(|it| act(ours, it));
        done.extend(acts);
    }
    panic!("it never ends: {done:?}");
}

#[test]
fn a_container_is_attached_joined_and_published_once() {
    let (theirs, mut ours) = sides();
    settle(&theirs, &mut ours);
    let [endpoint] = &ours.endpoints[..] else {
        panic!("{:?}", ours.endpoints)
    };
    assert_eq!(endpoint.name, Some(name("web")));
    assert_eq!(endpoint.aliases, [name("www")]);
    assert_eq!(endpoint.mac, "02:42:ac:11:00:02".parse().unwrap());
    assert_eq!(endpoint.via, Via::Veth { host: None });
    assert_eq!(
        endpoint.netns,
        Some(Netns::Path("/var/run/docker/netns/1234".into()))
    );
    assert_eq!(endpoint.labels["com.docker.compose.project"], "shop");
    assert!(!endpoint.labels.contains_key("other"));
    assert!(
        !endpoint.labels.contains_key(labels::ENDPOINT_ID),
        "the driver's own are others"
    );
    // Two in a row are one; 127.0.0.1 and an address of a family it has none of are left alone.
    let published: Vec<_> = ours
        .publications
        .iter()
        .map(|p| format!("{} {}", p.spec.outside(), p.spec.to))
        .collect();
    assert_eq!(
        published,
        ["0.0.0.0:8080-8081/tcp 80", "0.0.0.0:8083/tcp 83"]
    );
    let another = |p: &Publication| p.spec.listener == Listener::Another;
    assert!(ours.publications.iter().all(another));
}

#[test]
fn whatever_was_done_before_the_rest_is_done() {
    let (theirs, ours) = sides();
    let whole = settle(&theirs, &mut ours.clone());
    for done in 0..whole.len() {
        let mut ours = ours.clone();
        whole[..done].iter().for_each(|it| act(&mut ours, it));
        assert_eq!(settle(&theirs, &mut ours), whole[done..]);
    }
}

#[test]
fn what_is_gone_is_detached_before_what_is_new_is_attached() {
    let (mut theirs, mut ours) = sides();
    settle(&theirs, &mut ours);
    // Another container has its name and its address now.
    let network = theirs.networks.get_mut("docker0").unwrap();
    network.members = BTreeMap::from([("e2".to_owned(), "c2".to_owned())]);
    let mut container = theirs.containers.remove("c1").unwrap();
    let member = container.members.remove("e1").unwrap();
    container.members.insert("e2".to_owned(), member);
    theirs.containers.insert("c2".to_owned(), container);
    let done = settle(&theirs, &mut ours);
    assert_eq!(done[0], Act::Detach(name("ep-1")));
    assert!(matches!(&done[1], Act::Attach(_)), "{done:?}");
    assert_eq!(ours.endpoints.len(), 1);
    // The last one gone, nothing is left.
    theirs.networks.get_mut("docker0").unwrap().members.clear();
    settle(&theirs, &mut ours);
    assert!(ours.endpoints.is_empty() && ours.publications.is_empty());
}

#[test]
fn a_dockerd_that_says_nothing_parts_nobody() {
    let (theirs, mut ours) = sides();
    settle(&theirs, &mut ours);
    assert_eq!(what_to_do(&Theirs::default(), &ours), []);
}

#[test]
fn others_endpoints_are_left_alone_and_keep_their_names() {
    let (theirs, mut ours) = sides();
    settle(&theirs, &mut ours);
    let mut other = ours.endpoints.remove(0);
    ours.publications.clear();
    other.labels.clear();
    ours.endpoints.push(other.clone());
    settle(&theirs, &mut ours);
    assert_eq!(ours.endpoints[0], other);
    assert_eq!(ours.endpoints[1].name, None, "the name is taken");
}

#[test]
fn a_renamed_container_is_renamed() {
    let (mut theirs, mut ours) = sides();
    settle(&theirs, &mut ours);
    theirs.containers.get_mut("c1").unwrap().name = "till".to_owned();
    assert_eq!(settle(&theirs, &mut ours).len(), 1);
    assert_eq!(ours.endpoints[0].name, Some(name("till")));
    assert_eq!(ours.endpoints[0].labels[labels::CONTAINER_NAME], "till");
}

#[test]
fn a_networks_options_become_its_settings() {
    let (mut theirs, mut ours) = sides();
    let network = theirs.networks.get_mut("docker0").unwrap();
    (network.icc, network.internal) = (false, true);
    settle(&theirs, &mut ours);
    let routing = &ours.networks[0].spec.routing;
    assert!(!routing.icc && routing.internal);
    assert_eq!(routing.masquerade, Masquerade::On);
}

#[test]
fn one_that_is_not_in_the_network_yet_waits() {
    let (mut theirs, ours) = sides();
    theirs.containers.get_mut("c1").unwrap().members.clear();
    assert_eq!(what_to_do(&theirs, &ours), []);
}
