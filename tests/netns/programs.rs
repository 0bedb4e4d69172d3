//! eBPF programs in the kernel: loaded, run, attached, read from. What is attached hangs at interfaces of
//! namespaces that the test made.

mod attach;
mod flow;
mod lease;
mod load;
mod maps;
mod offload;
mod pair;
mod ring;
mod same;

use bpf::Register::{R0, R1, R2};
use bpf::{Assembler, AtomicOp, Helper, MapId, MapKind, MapSpec, Program, Register, Size};
use loader::{Loaded, Maps};

/// A program that is complete.
fn program(write: impl FnOnce(&mut Assembler)) -> Program {
    let mut it = Assembler::new("test");
    write(&mut it);
    it.finish().unwrap()
}

/// The program in the kernel, with its maps.
fn loaded(program: &Program) -> (Loaded, Maps) {
    let maps = Maps::create(program).unwrap();
    (Loaded::load(program, &maps).unwrap(), maps)
}

/// The map of a [`counter`].
const COUNT: MapId = MapId(0);

/// Counts packets in a mapped array, then answers `verdict`.
fn counter(verdict: i32) -> Program {
    program(|it| {
        let count = MapSpec::array::<u64>("count", 1).of_kind(MapKind::MappedArray);
        let count = it.map(count);
        count_in(it, count);
        it.answer(verdict);
    })
}

/// Adds 1 to the first number of an array.
fn count_in(it: &mut Assembler, array: MapId) {
    it.load_map_value(R1, array, 0);
    it.mov(R2, 1);
    it.atomic(AtomicOp::Add, R1.at(0, Size::U64), R2);
}

/// The arguments of a call, and the call.
fn call<const N: usize>(it: &mut Assembler, helper: Helper, arguments: [i32; N]) {
    let registers = Register::ALL.into_iter().skip(1);
    for (register, argument) in registers.zip(arguments) {
        it.mov(register, argument);
    }
    it.call(helper);
}

/// Leaves with 0 if a lookup or a reservation found nothing.
fn leave_if_nothing(it: &mut Assembler) {
    it.when(R0.is(0), |it| it.answer(0));
}
