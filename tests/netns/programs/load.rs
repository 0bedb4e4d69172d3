//! Loading: what the verifier says, what a machine lacks.

use super::{count_in, leave_if_nothing, loaded, program};
use bpf::Register::{R0, R1, R2, R3, R6, R10};
use bpf::{
    AluOp, AtomicOp, Endian, Helper, Instruction, MapSpec, Program, Size, SkBuff, Width, field,
    verdict,
};
use loader::{LoadError, Loaded, Maps, Trial, probe};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

fn refusal(program: &Program) -> String {
    let maps = Maps::create(program).unwrap();
    match Loaded::load(program, &maps) {
        Err(LoadError::Refused { log, .. }) => log,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_verifier_says_why_it_refuses() {
    let unchecked = program(|it| {
        it.load(R1, R1.field(field!(SkBuff.data)));
        it.load(R0, R1.at(0, Size::U8));
        it.exit();
    });
    let log = refusal(&unchecked);
    assert!(log.contains("invalid access to packet"), "{log}");
}

/// The verifier prints each instruction that it follows, so it judges the listing, and with it what
/// the bytes mean to the kernel.
#[test]
fn the_listing_says_what_the_kernel_says() {
    let refused = program(|it| {
        let map = it.map(MapSpec::hash::<u32, [u64; 2]>("map", 1));
        let key = it.local::<u32>("key");
        it.mov(R6, R1);
        it.load(R1, R1.field(field!(SkBuff.ifindex)));
        it.store(key.value(), R1);
        it.store(R10.at(-16, Size::U16), -2);
        it.big_endian(R1, Size::U16);
        it.emit(Instruction::Swap {
            to: Endian::Little,
            size: Size::U32,
            dst: R1,
        });
        it.negate(R1);
        it.address(R2, key);
        it.load_map(R1, map);
        it.call(Helper::MapLookup);
        leave_if_nothing(it);
        for op in AluOp::ALL {
            it.mov32(R2, 9);
            it.alu(Width::W64, op, R2, 3);
            it.alu(Width::W32, op, R2, R2);
        }
        for op in AtomicOp::ALL
            .into_iter()
            .filter(|op| *op != AtomicOp::CompareExchange)
        {
            it.mov(R2, -1);
            it.atomic(op, R0.at(0, Size::U32), R2);
            it.atomic(op, R0.at(8, Size::U64), R2);
        }
        it.load(R3, R6.field(field!(SkBuff.mark)));
        it.when(R3.above(R2).narrow(), |it| it.mov(R1, 1));
        it.when(R3.any_bit(0x10), |it| it.mov(R1, 2));
        it.when(R3.at_most(7), |it| it.mov(R1, 3));
        it.mov(R3, R0);
        it.mov32(R0, 0);
        it.constant(R2, 0x1_0000_0000);
        it.atomic(AtomicOp::CompareExchange, R3.at(8, Size::U64), R2);
        it.load(R0, R3.at(64, Size::U64)); // outside of the value
        it.exit();
    });
    let (log, listing) = (refusal(&refused), refused.to_string());
    // Each instruction as far as its meaning; a map's address is not known to the listing.
    let instruction = |line: &str| {
        let (number, text) = line.trim_start().split_once(": (")?;
        let _: usize = number.parse().ok()?;
        let text = text.split(';').next().unwrap_or(text).trim();
        let text = text.split(" = map[").next().unwrap_or(text);
        Some((number.to_owned(), text.to_owned()))
    };
    let said: Vec<_> = log.lines().filter_map(instruction).collect();
    let mut compared = 0;
    for (number, text) in listing.lines().filter_map(instruction) {
        let of_kernel = said.iter().filter(|(other, _)| *other == number);
        for (_, other) in of_kernel {
            let map = text.starts_with("18)");
            // Behind a jump the kernel may say what it knows.
            let same = other
                .strip_prefix(&text)
                .is_some_and(|rest| map || rest.is_empty() || rest.starts_with(' '));
            assert!(same, "{number}: `{text}`, the kernel says `{other}`");
            compared += 1;
        }
    }
    assert!(compared > 60, "{compared} compared\n{log}");
}

#[test]
fn a_program_runs_on_a_packet_and_has_a_number() {
    let mark = program(|it| {
        let map = it.map(MapSpec::array::<u64>("count", 1));
        it.load(R2, R1.field(field!(SkBuff.ifindex)));
        it.store(R1.field(field!(SkBuff.mark)), R2);
        count_in(it, map);
        it.answer(verdict::SHOT);
    });
    let (program, maps) = loaded(&mark);
    // The loopback interface of whatever namespace this is: nothing is sent.
    let context = SkBuff {
        ifindex: 1,
        ..SkBuff::default()
    };
    let run = program.test_run(&[7; 60], &context).unwrap();
    assert_eq!((run.verdict, run.context.mark), (verdict::SHOT, 1));
    assert_eq!(run.bytes, [7; 60]);
    let count: Option<u64> = maps[super::COUNT].lookup(&0_u32).unwrap();
    assert_eq!(count, Some(1));
    let other = loaded(&mark).0;
    assert_ne!(program.id().unwrap(), other.id().unwrap());
}

#[test]
fn everything_is_found_to_work_here() {
    let probe = probe();
    assert!(probe.first_missing(&Trial::ALL).is_none(), "{probe:?}");
}

#[test]
fn without_a_capability_that_is_what_is_said() {
    // Capabilities are a thread's own.
    let probe = std::thread::spawn(|| {
        let none = CapabilitySet::empty();
        let sets = CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        };
        set_capabilities(None, sets).unwrap();
        probe()
    });
    let probe = probe.join().unwrap();
    let missing = probe.first_missing(&[Trial::Program]).unwrap();
    assert!(
        matches!(missing.result, Err(LoadError::NotPermitted { .. })),
        "{missing:?}"
    );
}
