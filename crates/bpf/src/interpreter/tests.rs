use super::arithmetic::calculate;
use super::*;
use crate::{AluOp, Assembler, Helper, MapSpec, SkBuff, Test, field, verdict};
use Register::*;
use proptest::prelude::*;

const TEST_IFINDEX: u32 = 7;

fn program(write: impl FnOnce(&mut Assembler)) -> Program {
    let mut it = Assembler::new("test");
    write(&mut it);
    it.finish().unwrap()
}

/// An IPv4 UDP datagram with 8 bytes, checksums right.
fn frame() -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00];
    frame.extend([0x45, 0, 0, 36, 0, 1, 0, 0, 64, 17, 0, 0]);
    frame.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend([0x30, 0x39, 0, 53, 0, 16, 0, 0]);
    frame.extend(*b"datagram");
    let header = ones_complement(&frame[14..34], 0);
    frame[24..26].copy_from_slice(&header.to_be_bytes());
    let sum = udp_checksum(&frame);
    frame[40..42].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// RFC 1071, written anew: the inverted sum of all words.
fn ones_complement(bytes: &[u8], start: u32) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|it| u32::from(it[0]) << 8 | u32::from(*it.get(1).unwrap_or(&0)));
    let mut sum = start + words.sum::<u32>();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).unwrap()
}

fn udp_checksum(frame: &[u8]) -> u16 {
    let mut covered = frame[26..34].to_vec();
    covered.extend([0, 17]);
    covered.extend(&frame[38..40]);
    covered.extend(&frame[34..40]);
    covered.extend(&frame[42..]);
    ones_complement(&covered, 0)
}

fn run(program: &Program) -> Result<Outcome, Wrong> {
    let packet = Packet::new(frame(), TEST_IFINDEX);
    Interpreter::new(program).run(packet).map_err(|it| it.wrong)
}

/// The answer of a program.
fn answer(write: impl FnOnce(&mut Assembler)) -> u64 {
    run(&program(write)).unwrap().answer
}

/// Why a program is stopped.
fn wrong(write: impl FnOnce(&mut Assembler)) -> Wrong {
    run(&program(write)).unwrap_err()
}

#[test]
fn numbers_are_calculated_as_the_kernel_does() {
    use AluOp::*;
    let minus = |n: u64| n.wrapping_neg();
    for (width, op, a, b, expected) in [
        (Width::W64, Div, 7, 0, 0),
        (Width::W64, Rem, 7, 0, 7),
        (Width::W32, Rem, 0x1_0000_0007, 0, 7),
        (Width::W64, ShiftLeft, 1, 65, 2),
        (Width::W32, ShiftLeft, 1, 33, 2),
        (Width::W64, ShiftRightSigned, minus(8), 1, minus(4)),
        (Width::W32, ShiftRightSigned, 0x8000_0000, 31, 0xffff_ffff),
        (Width::W32, Add, 0xffff_ffff, 1, 0),
        (Width::W64, Mul, minus(3), 5, minus(15)),
        (Width::W32, Move, 0, minus(1), 0xffff_ffff),
    ] {
        assert_eq!(
            calculate(width, op, a, b),
            expected,
            "{width:?} {op:?} {a} {b}"
        );
    }
}

#[test]
fn constants_are_extended_by_their_sign() {
    assert_eq!(
        answer(|it| {
            it.mov(R0, -1);
            it.exit();
        }),
        u64::MAX
    );
    assert_eq!(
        answer(|it| {
            it.mov32(R0, -1);
            it.exit();
        }),
        0xffff_ffff
    );
    let swapped = answer(|it| {
        it.constant(R0, 0x1122_3344_5566_7788);
        it.big_endian(R0, Size::U32);
        it.exit();
    });
    assert_eq!(swapped, u64::from(0x5566_7788_u32.to_be()));
}

#[test]
fn tests_of_halves_see_halves_and_signs() {
    for (width, test, a, b, expected) in [
        (Width::W64, Test::Equal, 0x1_0000_0000, 0, false),
        (Width::W32, Test::Equal, 0x1_0000_0000, 0, true),
        (Width::W64, Test::SignedBelow, u64::MAX, 0, true),
        (Width::W64, Test::Below, u64::MAX, 0, false),
        (Width::W32, Test::SignedAtLeast, 0x8000_0000, 0, false),
        (Width::W64, Test::SignedAtLeast, 0x8000_0000, 0, true),
        (Width::W64, Test::AnyBit, 6, 1, false),
        (Width::W64, Test::AnyBit, 6, 4, true),
    ] {
        let (a, b) = (Value::Number(a), Value::Number(b));
        assert_eq!(
            value::test(width, test, a, b),
            Ok(expected),
            "{width:?} {test:?} {a:?}"
        );
    }
}

#[test]
fn the_packet_is_read_by_address_once_its_end_was_asked() {
    let ttl = |need: i32| {
        program(|it| {
            it.load(R2, R1.field(field!(SkBuff.data)));
            it.load(R3, R1.field(field!(SkBuff.data_end)));
            it.mov(R4, R2);
            it.add(R4, need);
            it.mov(R0, 0);
            it.when(R4.at_most(R3), |it| it.load(R0, R2.at(22, Size::U8)));
            it.exit();
        })
    };
    assert_eq!(run(&ttl(34)).unwrap().answer, 64);
    assert_eq!(run(&ttl(1500)).unwrap().answer, 0);
    // What is not linear is not there until it is pulled.
    let (program, mut packet) = (ttl(20), Packet::new(frame(), TEST_IFINDEX));
    packet.linear = 20;
    let bounds = Wrong::Bounds {
        region: "the packet",
        offset: 22,
        bytes: 1,
        size: 20,
    };
    let fault = Interpreter::new(&program).run(packet.clone()).unwrap_err();
    assert_eq!((fault.slot, fault.wrong), (6, bounds));
    let pulled = self::program(|it| {
        it.mov(R6, R1);
        it.mov(R2, 34);
        it.call(Helper::SkbPullData);
        it.load(R2, R6.field(field!(SkBuff.data)));
        it.load(R0, R2.at(22, Size::U8));
        it.exit();
    });
    let outcome = Interpreter::new(&pulled).run(packet).unwrap();
    assert_eq!((outcome.answer, outcome.packet.linear), (64, 34));
}

#[test]
fn what_the_verifier_refuses_is_refused_on_the_way() {
    assert_eq!(wrong(Assembler::exit), Wrong::Unwritten(R0));
    assert_eq!(
        wrong(|it| {
            it.mov(R2, 0);
            it.call(Helper::KtimeGetNs);
            it.mov(R0, R2);
            it.exit();
        }),
        Wrong::Unwritten(R2)
    );
    assert_eq!(
        wrong(|it| {
            it.load(R0, R10.at(-8, Size::U64));
            it.exit();
        }),
        Wrong::UnwrittenMemory {
            offset: -8,
            bytes: 8
        }
    );
    assert_eq!(
        wrong(|it| {
            it.mov(R2, 5);
            it.load(R0, R2.at(0, Size::U8));
            it.exit();
        }),
        Wrong::NoPointer(R2)
    );
    assert_eq!(
        wrong(|it| {
            it.mov(R0, R1);
            it.exit();
        }),
        Wrong::NoNumber
    );
    assert_eq!(
        wrong(|it| {
            it.add(R1, 8);
            it.answer(0);
        }),
        Wrong::PointerArithmetic
    );
    assert_eq!(
        wrong(|it| {
            it.mov(R2, R10);
            it.when(R2.above(R1), |it| it.mov(R3, 0));
            it.answer(0);
        }),
        Wrong::PointerArithmetic
    );
    assert_eq!(
        wrong(|it| {
            it.load(R2, R1.field(field!(SkBuff.data)));
            it.store(R2.at(0, Size::U64), R1);
            it.answer(0);
        }),
        Wrong::Leak
    );
    assert_eq!(
        wrong(|it| {
            it.load(R6, R1.field(field!(SkBuff.data)));
            it.call(Helper::SkbVlanPop);
            it.load(R0, R6.at(0, Size::U8));
            it.exit();
        }),
        Wrong::MovedPacket
    );
    for (offset, size) in [
        (76, Size::U16),
        (92, Size::U32),
        (140, Size::U32),
        (0, Size::U64),
    ] {
        let bytes = size.bytes();
        assert_eq!(
            wrong(|it| {
                it.load(R0, R1.at(offset, size));
                it.exit();
            }),
            Wrong::Context {
                offset: offset.into(),
                bytes
            }
        );
    }
    assert_eq!(
        wrong(|it| {
            it.store(R1.field(field!(SkBuff.len)), 1);
            it.answer(0);
        }),
        Wrong::Context {
            offset: 0,
            bytes: 4
        }
    );
    assert_eq!(
        wrong(|it| {
            let again = it.label("again");
            it.bind(again);
            it.mov(R0, 0);
            it.jump_if(R0.is(0), again);
            it.exit();
        }),
        Wrong::TooManySteps
    );
}

#[test]
fn pointers_on_the_stack_stay_pointers_until_a_part_is_written() {
    let spill = |write: fn(&mut Assembler)| {
        program(|it| {
            it.store(R10.at(-8, Size::U64), R1);
            write(it);
            it.load(R2, R10.at(-8, Size::U64));
            it.load(R0, R2.field(field!(SkBuff.ifindex)));
            it.exit();
        })
    };
    assert_eq!(run(&spill(|_| {})).unwrap().answer, TEST_IFINDEX.into());
    assert_eq!(
        run(&spill(|it| it.store(R10.at(-8, Size::U8), 1))),
        Err(Wrong::UnwrittenMemory {
            offset: -8,
            bytes: 8
        })
    );
    assert_eq!(
        run(&spill(|it| it.load(R3, R10.at(-4, Size::U32)))),
        Err(Wrong::PartOfPointer)
    );
}

/// Looks `SkBuff.ifindex` up and counts in the value.
fn counting(map: MapSpec) -> Program {
    program(|it| {
        let map = it.map(map);
        let key = it.local::<u32>("key");
        it.load(R1, R1.field(field!(SkBuff.ifindex)));
        it.store(key.value(), R1);
        it.address(R2, key);
        it.load_map(R1, map);
        it.call(Helper::MapLookup);
        it.when(R0.is(0), |it| it.answer(verdict::SHOT));
        it.mov(R1, 2);
        it.atomic(AtomicOp::FetchAdd, R0.at(0, Size::U64), R1);
        it.mov(R0, R1);
        it.exit();
    })
}

#[test]
fn a_program_finds_what_userspace_put_there_and_the_reverse() {
    let (map, program) = (MapId(0), counting(MapSpec::hash::<u32, u64>("counts", 2)));
    let mut it = Interpreter::new(&program);
    let packet = Packet::new(frame(), TEST_IFINDEX);
    assert_eq!(it.run(packet.clone()).unwrap().verdict, verdict::SHOT);
    it.insert(map, &TEST_IFINDEX, &40_u64);
    assert_eq!(it.run(packet.clone()).unwrap().answer, 40);
    assert_eq!(it.lookup(map, &TEST_IFINDEX), Some(42_u64));
    assert!(it.remove(map, &TEST_IFINDEX) && !it.remove(map, &TEST_IFINDEX));
    assert_eq!(it.run(packet.clone()).unwrap().verdict, verdict::SHOT);
    // An array has all its values from the start, and no other.
    for (entries, expected) in [(8, 0), (7, 2)] {
        let program = counting(MapSpec::array::<u64>("counts", entries));
        assert_eq!(
            Interpreter::new(&program)
                .run(packet.clone())
                .unwrap()
                .answer,
            expected
        );
    }
}

#[test]
fn a_program_fills_a_map_until_it_is_full() {
    let program = program(|it| {
        let map = it.map(MapSpec::hash::<u32, u32>("seen", 1));
        let (key, value) = (it.local::<u32>("key"), it.local::<u32>("value"));
        it.load(R1, R1.field(field!(SkBuff.ifindex)));
        it.store(key.value(), R1);
        it.store(value.value(), 9);
        it.load_map(R1, map);
        it.address(R2, key);
        it.address(R3, value);
        it.mov(R4, 1); // BPF_NOEXIST
        it.call(Helper::MapUpdate);
        it.exit();
    });
    let mut it = Interpreter::new(&program);
    let mut arrives = |ifindex| it.run(Packet::new(frame(), ifindex)).unwrap().verdict;
    assert_eq!([arrives(1), arrives(1), arrives(2)], [0, -17, -7]);
    assert_eq!(it.lookup(MapId(0), &1_u32), Some(9_u32));
}

/// Reserves a record, writes its first half and, if asked for, the other, and gives it back.
fn event(both: bool, end: Option<Helper>) -> Program {
    program(|it| {
        let ring = it.map(MapSpec::ring("events", 4096));
        it.load_map(R1, ring);
        it.mov(R2, 8);
        it.mov(R3, 0);
        it.call(Helper::RingbufReserve);
        it.when(R0.is(0), |it| it.answer(verdict::SHOT));
        it.store(R0.at(0, Size::U32), 0x0101_0101);
        if both {
            it.store(R0.at(4, Size::U32), 0x0202_0202);
        }
        it.mov(R1, R0);
        it.mov(R2, 0);
        if let Some(end) = end {
            it.call(end);
        }
        it.answer(verdict::OK);
    })
}

#[test]
fn records_are_written_whole_and_given_back() {
    let whole = event(true, Some(Helper::RingbufSubmit));
    let mut it = Interpreter::new(&whole);
    it.run(Packet::new(frame(), 1)).unwrap();
    assert_eq!(it.records(MapId(0)), [[1, 1, 1, 1, 2, 2, 2, 2]]);
    // 4096 bytes have room for 255 records of 8 with their headers; read ones make room.
    let verdicts: Vec<i32> = (0..256)
        .map(|_| it.run(Packet::new(frame(), 1)).unwrap().verdict)
        .collect();
    assert_eq!(
        verdicts.iter().filter(|it| **it == verdict::OK).count(),
        255
    );
    assert_eq!(it.records(MapId(0)).len(), 255);
    assert_eq!(
        it.run(Packet::new(frame(), 1)).unwrap().verdict,
        verdict::OK
    );
    assert_eq!(
        run(&event(false, Some(Helper::RingbufSubmit))),
        Err(Wrong::UnwrittenMemory {
            offset: 0,
            bytes: 8
        })
    );
    assert!(run(&event(false, Some(Helper::RingbufDiscard))).is_ok());
    assert_eq!(run(&event(true, None)), Err(Wrong::NotGivenBack));
}

#[test]
fn a_socket_is_found_by_its_tuple_and_has_to_be_released() {
    let asks = |release: bool| {
        program(|it| {
            let tuple = it.local::<[u32; 3]>("tuple");
            for word in 0..3 {
                it.store(
                    R10.at(i16::try_from(tuple.offset).unwrap() + 4 * word, Size::U32),
                    1,
                );
            }
            it.address(R2, tuple);
            it.mov(R3, 12);
            it.mov(R4, -1);
            it.mov(R5, 0);
            it.call(Helper::SkLookupTcp);
            it.when(R0.is(0), |it| it.answer(verdict::SHOT));
            it.mov(R1, R0);
            if release {
                it.call(Helper::SkRelease);
            }
            it.answer(verdict::OK);
        })
    };
    let (good, bad) = (asks(true), asks(false));
    let tuple: Vec<u8> = [1_u32; 3].into_iter().flat_map(u32::to_ne_bytes).collect();
    let packet = Packet::new(frame(), 1);
    let mut it = Interpreter::new(&good);
    assert_eq!(it.run(packet.clone()).unwrap().verdict, verdict::SHOT);
    it.open_socket(Helper::SkLookupUdp, &tuple);
    assert_eq!(it.run(packet.clone()).unwrap().verdict, verdict::SHOT);
    it.open_socket(Helper::SkLookupTcp, &tuple);
    assert_eq!(it.run(packet.clone()).unwrap().verdict, verdict::OK);
    let mut it = Interpreter::new(&bad);
    it.open_socket(Helper::SkLookupTcp, &tuple);
    assert_eq!(it.run(packet).unwrap_err().wrong, Wrong::NotGivenBack);
}

#[test]
fn an_unfinished_checksum_covers_the_pseudo_header_alone() {
    let (old, new) = ([10, 0, 0, 2], [198, 51, 100, 9]);
    let program = program(|it| {
        it.mov(R6, R1);
        // The address is of the pseudo-header, the port is not.
        for (from, to, flags) in [(old, new, 0x10 | 4), ([53, 0, 0, 0], [80, 0, 0, 0], 2)] {
            it.mov(R1, R6);
            it.mov(R2, 40);
            it.constant(R3, u32::from_ne_bytes(from).into());
            it.constant(R4, u32::from_ne_bytes(to).into());
            it.mov(R5, flags);
            it.call(Helper::L4CsumReplace);
        }
        it.exit();
    });
    let pseudo = |destination: [u8; 4]| {
        let header = [&[10, 0, 0, 1][..], &destination, &[0, 17, 0, 16]].concat();
        (!ones_complement(&header, 0)).to_be_bytes()
    };
    let mut packet = Packet::new(frame(), TEST_IFINDEX);
    packet.unfinished = true;
    packet.bytes[40..42].copy_from_slice(&pseudo(old));
    let outcome = Interpreter::new(&program).run(packet).unwrap();
    assert_eq!(outcome.packet.bytes[40..42], pseudo(new));
}

#[test]
fn the_last_redirect_counts_and_a_wrong_flag_drops() {
    let redirect = |helper, flags: i32| {
        let program = program(|it| {
            it.mov(R1, 42);
            it.mov(R2, flags);
            it.call(helper);
            it.exit();
        });
        let outcome = run(&program).unwrap();
        (
            outcome.verdict,
            outcome.redirect.map(|it| (it.ifindex, it.way)),
        )
    };
    let to = |way| (verdict::REDIRECT, Some((42, way)));
    assert_eq!(redirect(Helper::Redirect, 0), to(Way::Egress));
    assert_eq!(redirect(Helper::Redirect, 1), to(Way::Ingress));
    assert_eq!(redirect(Helper::RedirectPeer, 0), to(Way::Peer));
    assert_eq!(redirect(Helper::RedirectPeer, 1), (verdict::SHOT, None));
}

#[test]
fn tags_move_between_the_context_and_the_bytes() {
    let pushes = |times: i32| {
        program(|it| {
            it.mov(R6, R1);
            for vlan in 1..=times {
                it.mov(R1, R6);
                it.mov(R2, i32::from(0x8100_u16.to_be()));
                it.mov(R3, vlan);
                it.call(Helper::SkbVlanPush);
            }
            it.answer(0);
        })
    };
    let once = run(&pushes(1)).unwrap().packet;
    assert_eq!((once.context.vlan_present, once.context.vlan_tci), (1, 1));
    assert_eq!(once.bytes, frame());
    let twice = run(&pushes(2)).unwrap().packet;
    assert_eq!((twice.context.vlan_present, twice.context.vlan_tci), (1, 2));
    assert_eq!(twice.bytes[12..18], [0x81, 0, 0, 1, 0x08, 0]);
    assert_eq!(twice.context.len as usize, frame().len() + 4);
    let pop = program(|it| {
        it.call(Helper::SkbVlanPop);
        it.answer(0);
    });
    let popped = |packet| Interpreter::new(&pop).run(packet).unwrap().packet;
    assert_eq!(
        popped(twice),
        Packet {
            linear: once.linear,
            ..once.clone()
        }
    );
    let mut bare = Packet::new(frame(), TEST_IFINDEX);
    bare.context.len = once.context.len;
    assert_eq!(popped(once), bare);
    assert_eq!(popped(bare.clone()), bare);
}

proptest! {
    /// An address and a port are rewritten as NAT does; both checksums are as if computed anew.
    #[test]
    fn mended_checksums_are_what_is_computed_anew(address: [u8; 4], port: u16) {
        let (old, new) = (u32::from_ne_bytes([10, 0, 0, 2]), u32::from_ne_bytes(address));
        let port = port.to_be();
        let program = program(|it| {
            let room = it.local::<u32>("room");
            it.mov(R6, R1);
            let mend = |it: &mut Assembler, helper, at: i32, from: u32, to: u32, flags: i32| {
                it.mov(R1, R6);
                it.mov(R2, at);
                it.constant(R3, from.into());
                it.constant(R4, to.into());
                it.mov(R5, flags);
                it.call(helper);
            };
            mend(it, Helper::L3CsumReplace, 24, old, new, 4);
            mend(it, Helper::L4CsumReplace, 40, old, new, 0x20 | 0x10 | 4);
            mend(it, Helper::L4CsumReplace, 40, 53_u16.to_be().into(), port.into(), 0x20 | 2);
            for (at, value, bytes) in [(30, new, 4), (36, u32::from(port), 2)] {
                it.constant(R1, value.into());
                it.store(room.value(), R1);
                it.mov(R1, R6);
                it.mov(R2, at);
                it.address(R3, room);
                it.mov(R4, bytes);
                it.mov(R5, 0);
                it.call(Helper::SkbStoreBytes);
            }
            it.exit();
        });
        let packet = run(&program).unwrap().packet.bytes;
        let mut expected = frame();
        expected[30..34].copy_from_slice(&address);
        expected[36..38].copy_from_slice(&port.to_ne_bytes());
        expected[24..26].fill(0);
        let sum = ones_complement(&expected[14..34], 0);
        expected[24..26].copy_from_slice(&sum.to_be_bytes());
        let sum = udp_checksum(&expected);
        expected[40..42].copy_from_slice(&sum.to_be_bytes());
        // Both forms of zero are the same sum; UDP sends the one that is not 0.
        if sum == 0 {
            expected[40..42].fill(0xff);
        }
        prop_assert_eq!(packet, expected);
    }
}
