use super::*;
use crate::{SkBuff, field, verdict};
use Register::*;

fn finished(write: impl FnOnce(&mut Assembler)) -> Result<Program, AssembleError> {
    let mut it = Assembler::new("test");
    write(&mut it);
    it.finish()
}

fn offsets(program: &Program) -> Vec<i16> {
    let lines = program.lines().iter();
    lines.filter_map(|line| line.instruction.jump()).collect()
}

#[test]
fn jumps_count_slots_forward_and_back() {
    let program = finished(|it| {
        let [again, end] = [it.label("again"), it.label("end")];
        it.mov(R0, 3);
        it.bind(again);
        it.constant(R1, 1); // two slots
        it.jump_if(R0.is(0), end);
        it.sub(R0, R1);
        it.jump(again);
        it.bind(end);
        it.exit();
    });
    assert_eq!(offsets(&program.unwrap()), [2, -5]);
}

#[test]
fn mistakes_have_names() {
    type Case = (fn(&mut Assembler), AssembleError);
    let cases: [Case; 17] = [
        (|_| {}, AssembleError::Empty),
        (|it| it.mov(R0, 0), AssembleError::FallsOff),
        (
            |it| {
                let end = it.label("end");
                it.jump(end);
                it.bind(end);
            },
            AssembleError::FallsOff,
        ),
        (
            |it| {
                let nowhere = it.label("nowhere");
                it.jump(nowhere);
            },
            AssembleError::Unbound { label: "nowhere" },
        ),
        (
            |it| {
                let here = it.label("here");
                it.bind(here);
                it.mov(R0, 0);
                it.bind(here);
                it.exit();
            },
            AssembleError::BoundTwice { label: "here" },
        ),
        (
            |it| {
                let far = it.label("far");
                it.mov(R0, 0);
                it.jump_if(R0.is(0), far);
                (0..0x8000).for_each(|_| it.mov(R0, 0));
                it.bind(far);
                it.exit();
            },
            AssembleError::JumpRange {
                label: "far",
                distance: 0x8000,
            },
        ),
        (
            |it| {
                it.answer(0);
                it.answer(1);
            },
            AssembleError::Unreachable { slot: 2 },
        ),
        (
            |it| {
                it.local::<[u8; 512]>("all");
                it.local::<u8>("more");
            },
            AssembleError::StackFull { local: "more" },
        ),
        (
            |it| {
                it.store(R10.at(-4, Size::U64), 0);
                it.answer(0);
            },
            AssembleError::StackRange {
                slot: 0,
                offset: -4,
                bytes: 8,
            },
        ),
        (
            |it| {
                it.load(R0, R10.at(-516, Size::U32));
                it.exit();
            },
            AssembleError::StackRange {
                slot: 0,
                offset: -516,
                bytes: 4,
            },
        ),
        (
            |it| it.load(R0, R1.field(field!(SkBuff.cb))),
            AssembleError::NotScalar {
                name: "SkBuff.cb",
                bytes: 20,
            },
        ),
        (
            |it| {
                it.add(R10, 8);
                it.answer(0);
            },
            AssembleError::WritesFramePointer { slot: 0 },
        ),
        (
            |it| {
                it.mov(R0, 1);
                it.shift_left32(R0, 32);
                it.exit();
            },
            AssembleError::Operand { slot: 1 },
        ),
        (
            |it| {
                it.mov(R0, 1);
                it.div(R0, 0);
                it.exit();
            },
            AssembleError::Operand { slot: 1 },
        ),
        (
            |it| {
                it.load_map(R1, MapId(0));
                it.answer(0);
            },
            AssembleError::UnknownMap { slot: 0 },
        ),
        (
            |it| {
                let two = it.map(MapSpec::array::<u64>("two", 2));
                it.load_map_value(R1, two, 0);
                it.answer(0);
            },
            AssembleError::MapValue { slot: 0 },
        ),
        (
            |it| {
                let one = it.map(MapSpec::array::<u64>("one", 1));
                it.load_map_value(R1, one, 8);
                it.answer(0);
            },
            AssembleError::MapValue { slot: 0 },
        ),
    ];
    for (write, expected) in cases {
        assert_eq!(finished(write), Err(expected));
    }
}

#[test]
fn the_farthest_jump_is_possible() {
    let program = finished(|it| {
        let far = it.label("far");
        it.mov(R0, 0);
        it.jump_if(R0.is(0), far);
        (0..0x7fff).for_each(|_| it.mov(R0, 0));
        it.bind(far);
        it.exit();
    });
    assert_eq!(offsets(&program.unwrap()), [0x7fff]);
}

#[test]
fn both_sides_of_a_condition_meet_again_unless_one_leaves() {
    let meet = finished(|it| {
        it.load(R0, R1.field(field!(SkBuff.mark)));
        it.when_else(R0.is(1), |it| it.mov(R0, 2), |it| it.mov(R0, 3));
        it.exit();
    });
    assert_eq!(offsets(&meet.unwrap()), [2, 1]);
    let leaves = finished(|it| {
        it.load(R0, R1.field(field!(SkBuff.mark)));
        it.when_else(R0.any_bit(1), |it| it.answer(2), |it| it.mov(R0, 3));
        it.exit();
    });
    // No test is the opposite of `&`, so that takes a jump more.
    assert_eq!(offsets(&leaves.unwrap()), [1, 2]);
}

#[test]
fn a_listing_shows_each_instruction_with_its_meaning() {
    #[repr(C)]
    struct Port {
        index: u32,
        frames: u32,
    }
    let program = finished(|it| {
        let ports = it.map(MapSpec::array::<Port>("ports", 64));
        let state = it.map(MapSpec::array::<[u64; 2]>("state", 1));
        let key = it.local::<u32>("key");
        let miss = it.label("miss");
        it.load(R1, R1.field(field!(SkBuff.ifindex)));
        it.store(key.value(), R1);
        it.address(R2, key);
        it.load_map(R1, ports);
        it.call(Helper::MapLookup);
        it.note("no such port");
        it.jump_if(R0.is(0), miss);
        it.mov32(R1, 1);
        it.atomic(AtomicOp::Add, R0.field(field!(Port.frames)), R1);
        it.load(R1, R0.field(field!(Port.index)));
        it.atomic(AtomicOp::FetchAdd, R0.field(field!(Port.frames)), R1);
        it.mov32(R2, 0);
        it.call(Helper::RedirectPeer);
        it.exit();
        it.bind(miss);
        it.load_map_value(R1, state, 8);
        it.big_endian(R1, Size::U16);
        it.note("let it be").answer(verdict::UNSPEC);
    });
    let expected = "\
test: Linux 5.12 or newer
map[ports]: Array, key 4, value 8, entries 64
map[state]: Array, key 4, value 16, entries 1
   0: (61) r1 = *(u32 *)(r1 +40)                        ; SkBuff.ifindex
   1: (63) *(u32 *)(r10 -8) = r1                        ; key
   2: (bf) r2 = r10
   3: (07) r2 += -8                                     ; &key
   4: (18) r1 = map[ports]
   6: (85) call bpf_map_lookup_elem#1
   7: (15) if r0 == 0x0 goto pc+7                       ; to miss: no such port
   8: (b4) w1 = 1
   9: (c3) lock *(u32 *)(r0 +4) += r1                   ; Port.frames
  10: (61) r1 = *(u32 *)(r0 +0)                         ; Port.index
  11: (c3) r1 = atomic_fetch_add((u32 *)(r0 +4), r1)    ; Port.frames
  12: (b4) w2 = 0
  13: (85) call bpf_redirect_peer#155
  14: (95) exit
miss:
  15: (18) r1 = map[state][0]+8
  17: (dc) r1 = be16 r1
  18: (b4) w0 = -1                                      ; let it be
  19: (95) exit
";
    assert_eq!(program.unwrap().to_string(), expected);
}
