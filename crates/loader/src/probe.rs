//! What works on this machine, found by trying it: no kernel version and no configuration file says whether
//! a capability, a lockdown or a seccomp filter is in the way.

use crate::{LoadError, Loaded, Map, Maps, Ring, Side, Words, tcx};
use bpf::Register::{R0, R1, R2};
use bpf::{Assembler, AtomicOp, Helper, MapId, MapKind, MapSpec, Program, SkBuff, verdict};
use std::fmt;

/// Something to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// Makes a map, puts a value into it, finds it, removes it.
    Map,
    /// Loads a program that counts in a map, and runs it on a packet.
    Program,
    /// Maps a map's memory: a number is shared with programs.
    Words,
    /// Makes a ring and maps its memory. Since 5.8.
    Ring,
    /// Loads a program that hands packets to a veth's peer at once. Since 5.10.
    RedirectPeer,
    /// Asks for the links at an interface. Since 6.6.
    Tcx,
}

impl Trial {
    /// Everything that is tried.
    pub const ALL: [Self; 6] = [
        Self::Map,
        Self::Program,
        Self::Words,
        Self::Ring,
        Self::RedirectPeer,
        Self::Tcx,
    ];

    fn carry_out(self) -> Result<(), LoadError> {
        match self {
            Self::Map => try_map(),
            Self::Program => try_program(&counting(), verdict::OK),
            Self::RedirectPeer => try_program(&redirecting(), verdict::REDIRECT),
            Self::Words => {
                let spec = MapSpec::array::<u64>("probe", 1).of_kind(MapKind::MappedArray);
                Words::open(&Map::create(&spec)?).map(drop)
            }
            Self::Ring => {
                let page = u32::try_from(rustix::param::page_size()).unwrap_or(1 << 16);
                Ring::open(&Map::create(&MapSpec::ring("probe", page))?).map(drop)
            }
            // Every namespace has its loopback interface, and it is the first.
            Self::Tcx => tcx::attached(1, Side::Ingress).map(drop),
        }
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Map => "maps",
            Self::Program => "programs",
            Self::Words => "shared numbers",
            Self::Ring => "rings",
            Self::RedirectPeer => "redirect to a veth's peer",
            Self::Tcx => "links (tcx)",
        })
    }
}

/// The result of a trial.
#[derive(Debug)]
pub struct Finding {
    /// The trial.
    pub trial: Trial,
    /// Why it does not work, if it does not.
    pub result: Result<(), LoadError>,
}

/// The results of all trials on this machine.
#[derive(Debug)]
pub struct Probe {
    /// One finding for each of [`Trial::ALL`].
    pub findings: Vec<Finding>,
}

impl Probe {
    /// Whether a trial went well.
    #[must_use]
    pub fn works(&self, trial: Trial) -> bool {
        let mut of_trial = self.findings.iter().filter(|it| it.trial == trial);
        of_trial.any(|it| it.result.is_ok())
    }

    /// The first of these that does not work.
    #[must_use]
    pub fn first_missing(&self, trials: &[Trial]) -> Option<&Finding> {
        let mut missing = self.findings.iter().filter(|it| it.result.is_err());
        missing.find(|it| trials.contains(&it.trial))
    }
}

/// Tries everything, in the calling thread's namespace. Nothing is attached and nothing is left behind.
#[must_use]
pub fn probe() -> Probe {
    let findings = Trial::ALL.into_iter().map(|trial| Finding {
        trial,
        result: trial.carry_out(),
    });
    Probe {
        findings: findings.collect(),
    }
}

fn try_map() -> Result<(), LoadError> {
    let map = Map::create(&MapSpec::hash::<u32, u64>("probe", 1))?;
    map.insert(&1_u32, &2_u64)?;
    let found: Option<u64> = map.lookup(&1_u32)?;
    wrong_unless(
        found == Some(2) && map.remove(&1_u32)?,
        "find what was put into a map",
    )
}

const COUNTS: MapId = MapId(0);

/// Loads a program whose first map counts packets, and runs it on one.
fn try_program(program: &Program, expected: i32) -> Result<(), LoadError> {
    let maps = Maps::create(program)?;
    let loaded = Loaded::load(program, &maps)?;
    let run = loaded.test_run(&[0; 64], &SkBuff::default())?;
    let count: Option<u64> = maps[COUNTS].lookup(&0_u32)?;
    let right = (run.verdict, count) == (expected, Some(1));
    wrong_unless(right, "run a program: it answered something else")
}

/// A kernel that does something else than it should.
fn wrong_unless(right: bool, operation: &'static str) -> Result<(), LoadError> {
    if right {
        return Ok(());
    }
    Err(LoadError::Io {
        operation,
        error: std::io::ErrorKind::InvalidData.into(),
    })
}

fn counting() -> Program {
    probing(|it| it.answer(verdict::OK))
}

fn redirecting() -> Program {
    probing(|it| {
        it.mov32(R1, 1);
        it.mov32(R2, 0);
        it.call(Helper::RedirectPeer);
        it.exit();
    })
}

/// Counts the packet, then does `rest`.
fn probing(rest: impl FnOnce(&mut Assembler)) -> Program {
    let mut it = Assembler::new("probe");
    let counts = it.map(MapSpec::array::<u64>("counts", 1));
    let key = it.local::<u32>("key");
    it.store(key.value(), 0);
    it.address(R2, key);
    it.load_map(R1, counts);
    it.call(Helper::MapLookup);
    it.when(R0.is_not(0), |it| {
        it.mov32(R1, 1);
        it.atomic(AtomicOp::Add, R0.at(0, bpf::Size::U64), R1);
    });
    rest(&mut it);
    it.finish().expect("the probe's programs are programs")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bpf::interpreter::{Interpreter, Packet};

    #[test]
    fn the_programs_do_what_is_expected_of_the_kernel() {
        for (program, expected) in [
            (counting(), verdict::OK),
            (redirecting(), verdict::REDIRECT),
        ] {
            let mut it = Interpreter::new(&program);
            let outcome = it.run(Packet::new(vec![0; 64], 1)).unwrap();
            assert_eq!(outcome.verdict, expected);
            assert_eq!(it.lookup(COUNTS, &0_u32), Some(1_u64));
        }
    }

    #[test]
    fn what_is_missing_is_told_with_its_reason() {
        let findings = Trial::ALL.into_iter().map(|trial| Finding {
            trial,
            result: if trial == Trial::Tcx {
                Err(LoadError::NotPermitted { operation: "try" })
            } else {
                Ok(())
            },
        });
        let probe = Probe {
            findings: findings.collect(),
        };
        assert!(probe.works(Trial::Map) && !probe.works(Trial::Tcx));
        assert!(probe.first_missing(&[Trial::Map, Trial::Ring]).is_none());
        let missing = probe.first_missing(&Trial::ALL).unwrap();
        assert_eq!(missing.trial, Trial::Tcx);
    }
}
