//! TCP through NAT, out and in, beside docker0's: a Linux bridge with MASQUERADE and DNAT.

use crate::contest::{Contender, Samples, take_turns};
use crate::docker0::{CONTAINER, Docker0, Firewall};
use crate::finding::{Finding, Measure, Path};
use crate::lab::Stage;
use crate::outside::{HOST, SERVED, WORLD, published};
use crate::scenes::published::to_sam;
use crate::scenes::speed::{Effort, intact};
use anyhow::Result;
use std::net::SocketAddr;
use testbed::Namespace;
use testbed::traffic::{Amount, Way, tcp_bulk, tcp_bulk_by};

pub(crate) fn run(stage: &Stage, finding: &mut Finding) -> Result<()> {
    let world = &stage.outside()?.world;
    let [ann, sam] = ["ann", "sam"].map(|name| stage.container(name));
    let effort = Effort {
        rounds: 3,
        ..Effort::of(stage.args.quick)
    };
    intact(stage, finding, world, &ann.namespace, WORLD[0]);
    let docker0 = compared(stage, finding);
    let clearway = Ends {
        world,
        client: &ann.namespace,
        server: &sam.namespace,
        into: to_sam(sam, HOST[0]),
    };
    let mut contenders = vec![Contender::new(Path::Clearway, || clearway.round(&effort))];
    let beside = docker0.as_ref().map(|docker0| Ends {
        world: &docker0.outside.world,
        client: &docker0.container,
        server: &docker0.container,
        into: Way {
            listen: SocketAddr::new(CONTAINER, SERVED),
            to: published(HOST[0]),
        },
    });
    if let Some(beside) = &beside {
        contenders.push(Contender::new(Path::Docker0, || beside.round(&effort)));
    }
    take_turns(stage, finding, contenders, effort.rounds)
}

/// Who talks to whom through one NAT.
struct Ends<'a> {
    world: &'a Namespace,
    /// The container that calls the world.
    client: &'a Namespace,
    /// The container that the world calls.
    server: &'a Namespace,
    into: Way,
}

impl Ends<'_> {
    fn round(&self, effort: &Effort) -> Result<Samples> {
        let amount = Amount::For(effort.bulk);
        let out = tcp_bulk(self.world, self.client, WORLD[0], amount, 1)?;
        let into = tcp_bulk_by(self.server, self.world, self.into, amount, 1)?;
        let mut samples = vec![
            (Measure::TcpOut, out.gigabits_per_second()),
            (Measure::TcpIn, into.gigabits_per_second()),
        ];
        samples.extend(effort.round_trips(self.world, self.client, WORLD[0])?);
        Ok(samples)
    }
}

/// docker0's NAT, unless it was not asked for or cannot be had: that is no fault of Clearway's.
fn compared(stage: &Stage, finding: &mut Finding) -> Option<Docker0> {
    if stage.args.no_compare {
        let why = "docker0's NAT is not shown beside it: --no-compare";
        finding.skipped.push(why.into());
        return None;
    }
    let Some(firewall) = Firewall::find() else {
        let why = "docker0's NAT is not shown beside it: neither iptables nor nft is installed";
        finding.skipped.push(why.into());
        return None;
    };
    stage.progress("making docker0 and its rules to compare with");
    match Docker0::new(&firewall) {
        Ok(docker0) => Some(docker0),
        Err(error) => {
            let why = format!("docker0's NAT is not shown beside it: {error:#}");
            finding.skipped.push(why);
            None
        }
    }
}
