//! The encoding against bytes that others wrote: clang, the kernel's macros, its disassembler.

use super::*;
use Register::*;
use proptest::prelude::*;

/// The bytes, and back.
fn bytes(instruction: Instruction) -> Vec<u8> {
    let mut bytes = Vec::new();
    let descriptor = |map: MapId| u32::try_from(map.0).unwrap().cast_signed();
    instruction.encode(&descriptor, &mut bytes);
    assert_eq!(bytes.len(), instruction.slots() * 8);
    assert_eq!(Instruction::decode(&bytes), Ok(instruction));
    bytes
}

#[test]
#[cfg(target_endian = "little")]
fn known_instructions_have_their_known_bytes() {
    let alu = |width, op, dst, src| Instruction::Alu {
        width,
        op,
        dst,
        src,
    };
    let jump_if = |width, test, dst, src, offset| Instruction::JumpIf {
        width,
        test,
        dst,
        src,
        offset,
    };
    let atomic = |width, op| Instruction::Atomic {
        width,
        op,
        dst: R0,
        offset: 8,
        src: R1,
    };
    use Width::*;
    let known: &[(Instruction, &str)] = &[
        // r6 = r1
        (
            alu(W64, AluOp::Move, R6, R1.into()),
            "bf 16 00 00 00 00 00 00",
        ),
        // w0 = -1
        (
            alu(W32, AluOp::Move, R0, (-1).into()),
            "b4 00 00 00 ff ff ff ff",
        ),
        // r2 += -8
        (
            alu(W64, AluOp::Add, R2, (-8).into()),
            "07 02 00 00 f8 ff ff ff",
        ),
        // r3 += r2
        (
            alu(W64, AluOp::Add, R3, R2.into()),
            "0f 23 00 00 00 00 00 00",
        ),
        // r1 <<= 32, r1 s>>= 32, r1 >>= r2
        (
            alu(W64, AluOp::ShiftLeft, R1, 32.into()),
            "67 01 00 00 20 00 00 00",
        ),
        (
            alu(W64, AluOp::ShiftRightSigned, R1, 32.into()),
            "c7 01 00 00 20 00 00 00",
        ),
        (
            alu(W64, AluOp::ShiftRight, R1, R2.into()),
            "7f 21 00 00 00 00 00 00",
        ),
        // w1 &= 4095, w1 ^= w2, r1 |= r2
        (
            alu(W32, AluOp::And, R1, 4095.into()),
            "54 01 00 00 ff 0f 00 00",
        ),
        (
            alu(W32, AluOp::Xor, R1, R2.into()),
            "ac 21 00 00 00 00 00 00",
        ),
        (
            alu(W64, AluOp::Or, R1, R2.into()),
            "4f 21 00 00 00 00 00 00",
        ),
        // r1 -= r2, r1 *= 3, r1 /= r2, r1 %= 10
        (
            alu(W64, AluOp::Sub, R1, R2.into()),
            "1f 21 00 00 00 00 00 00",
        ),
        (
            alu(W64, AluOp::Mul, R1, 3.into()),
            "27 01 00 00 03 00 00 00",
        ),
        (
            alu(W64, AluOp::Div, R1, R2.into()),
            "3f 21 00 00 00 00 00 00",
        ),
        (
            alu(W64, AluOp::Rem, R1, 10.into()),
            "97 01 00 00 0a 00 00 00",
        ),
        // r4 = -r4
        (
            Instruction::Negate {
                width: W64,
                dst: R4,
            },
            "87 04 00 00 00 00 00 00",
        ),
        // r1 = be16 r1, r2 = be32 r2, r3 = le64 r3
        (
            Instruction::Swap {
                to: Endian::Big,
                size: Size::U16,
                dst: R1,
            },
            "dc 01 00 00 10 00 00 00",
        ),
        (
            Instruction::Swap {
                to: Endian::Big,
                size: Size::U32,
                dst: R2,
            },
            "dc 02 00 00 20 00 00 00",
        ),
        (
            Instruction::Swap {
                to: Endian::Little,
                size: Size::U64,
                dst: R3,
            },
            "d4 03 00 00 40 00 00 00",
        ),
        // r1 = *(u32 *)(r6 +76), r0 = *(u8 *)(r1 +0), r2 = *(u16 *)(r1 +12), r3 = *(u64 *)(r10 -8)
        (
            Instruction::Load {
                size: Size::U32,
                dst: R1,
                src: R6,
                offset: 76,
            },
            "61 61 4c 00 00 00 00 00",
        ),
        (
            Instruction::Load {
                size: Size::U8,
                dst: R0,
                src: R1,
                offset: 0,
            },
            "71 10 00 00 00 00 00 00",
        ),
        (
            Instruction::Load {
                size: Size::U16,
                dst: R2,
                src: R1,
                offset: 12,
            },
            "69 12 0c 00 00 00 00 00",
        ),
        (
            Instruction::Load {
                size: Size::U64,
                dst: R3,
                src: R10,
                offset: -8,
            },
            "79 a3 f8 ff 00 00 00 00",
        ),
        // *(u32 *)(r10 -4) = r1, *(u64 *)(r10 -16) = 0
        (
            Instruction::Store {
                size: Size::U32,
                dst: R10,
                offset: -4,
                src: R1.into(),
            },
            "63 1a fc ff 00 00 00 00",
        ),
        (
            Instruction::Store {
                size: Size::U64,
                dst: R10,
                offset: -16,
                src: 0.into(),
            },
            "7a 0a f0 ff 00 00 00 00",
        ),
        // lock *(u64 *)(r0 +8) += r1; and the u32; r1 = atomic64_fetch_add(...); cmpxchg
        (atomic(W64, AtomicOp::Add), "db 10 08 00 00 00 00 00"),
        (atomic(W32, AtomicOp::Add), "c3 10 08 00 00 00 00 00"),
        (atomic(W64, AtomicOp::FetchAdd), "db 10 08 00 01 00 00 00"),
        (atomic(W32, AtomicOp::Exchange), "c3 10 08 00 e1 00 00 00"),
        (
            atomic(W64, AtomicOp::CompareExchange),
            "db 10 08 00 f1 00 00 00",
        ),
        // r1 = 0x1122334455667788
        (
            Instruction::LoadConstant {
                dst: R1,
                value: 0x1122_3344_5566_7788,
            },
            "18 01 00 00 88 77 66 55 00 00 00 00 44 33 22 11",
        ),
        // r1 = map_fd 5, r2 = map_value 5 + 16
        (
            Instruction::LoadMap {
                dst: R1,
                map: MapId(5),
            },
            "18 11 00 00 05 00 00 00 00 00 00 00 00 00 00 00",
        ),
        (
            Instruction::LoadMapValue {
                dst: R2,
                map: MapId(5),
                offset: 16,
            },
            "18 22 00 00 05 00 00 00 00 00 00 00 10 00 00 00",
        ),
        // goto pc-3
        (Instruction::Jump { offset: -3 }, "05 00 fd ff 00 00 00 00"),
        // if r0 == 0 goto pc+5, if r2 > r3 goto pc+9, if w1 != 8 goto pc+1, if r1 & 1, if r1 s< -1
        (
            jump_if(W64, Test::Equal, R0, 0.into(), 5),
            "15 00 05 00 00 00 00 00",
        ),
        (
            jump_if(W64, Test::Above, R2, R3.into(), 9),
            "2d 32 09 00 00 00 00 00",
        ),
        (
            jump_if(W32, Test::NotEqual, R1, 8.into(), 1),
            "56 01 01 00 08 00 00 00",
        ),
        (
            jump_if(W64, Test::AnyBit, R1, 1.into(), 2),
            "45 01 02 00 01 00 00 00",
        ),
        (
            jump_if(W64, Test::SignedBelow, R1, (-1).into(), 2),
            "c5 01 02 00 ff ff ff ff",
        ),
        // call bpf_map_lookup_elem#1, call bpf_redirect_peer#155, exit
        (
            Instruction::Call(Helper::MapLookup),
            "85 00 00 00 01 00 00 00",
        ),
        (
            Instruction::Call(Helper::RedirectPeer),
            "85 00 00 00 9b 00 00 00",
        ),
        (Instruction::Exit, "95 00 00 00 00 00 00 00"),
    ];
    for (instruction, expected) in known {
        let text: Vec<_> = bytes(*instruction)
            .iter()
            .map(|it| format!("{it:02x}"))
            .collect();
        assert_eq!(text.join(" "), *expected, "{instruction:?}");
    }
}

#[test]
fn bytes_of_no_instruction_are_refused() {
    assert_eq!(Instruction::decode(&[0x95; 7]), Err(DecodeError::Short));
    // Half a wide load.
    assert_eq!(
        Instruction::decode(&[0x18, 0, 0, 0, 0, 0, 0, 0]),
        Err(DecodeError::Short)
    );
    // A legacy packet load, r11, a helper nobody has, a wide load of a BTF object.
    for wrong in [
        [0x20, 0, 0, 0, 0, 0, 0, 0],
        [0xbf, 0x0b, 0, 0, 0, 0, 0, 0],
        [0x85, 0, 0, 0, 0xff, 0xff, 0, 0],
        [0xdb, 0x10, 0, 0, 0x77, 0, 0, 0],
    ] {
        assert_eq!(
            Instruction::decode(&wrong),
            Err(DecodeError::Unknown(wrong[0]))
        );
    }
}

fn register() -> impl Strategy<Value = Register> {
    prop::sample::select(&Register::ALL[..])
}

fn width() -> impl Strategy<Value = Width> {
    prop::sample::select(&[Width::W32, Width::W64][..])
}

fn size() -> impl Strategy<Value = Size> {
    prop::sample::select(&[Size::U8, Size::U16, Size::U32, Size::U64][..])
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        register().prop_map(Source::Register),
        any::<i32>().prop_map(Source::Constant)
    ]
}

fn map() -> impl Strategy<Value = MapId> {
    (0..1000usize).prop_map(MapId)
}

/// Every instruction with every operand.
fn instruction() -> impl Strategy<Value = Instruction> {
    use Instruction as I;
    let op = prop::sample::select(&AluOp::ALL[..]);
    let test = prop::sample::select(&Test::ALL[..]);
    let swapped = prop::sample::select(&[Size::U16, Size::U32, Size::U64][..]);
    let order = prop::sample::select(&[Endian::Little, Endian::Big][..]);
    let atomic = prop::sample::select(&AtomicOp::ALL[..]);
    let helper = prop::sample::select(Helper::ALL);
    prop_oneof![
        (width(), op, register(), source()).prop_map(|(width, op, dst, src)| I::Alu {
            width,
            op,
            dst,
            src
        }),
        (width(), register()).prop_map(|(width, dst)| I::Negate { width, dst }),
        (order, swapped, register()).prop_map(|(to, size, dst)| I::Swap { to, size, dst }),
        (size(), register(), register(), any::<i16>()).prop_map(|(size, dst, src, offset)| {
            I::Load {
                size,
                dst,
                src,
                offset,
            }
        }),
        (size(), register(), any::<i16>(), source()).prop_map(|(size, dst, offset, src)| {
            I::Store {
                size,
                dst,
                offset,
                src,
            }
        }),
        (width(), atomic, register(), any::<i16>(), register()).prop_map(
            |(width, op, dst, offset, src)| I::Atomic {
                width,
                op,
                dst,
                offset,
                src
            }
        ),
        (register(), any::<u64>()).prop_map(|(dst, value)| I::LoadConstant { dst, value }),
        (register(), map()).prop_map(|(dst, map)| I::LoadMap { dst, map }),
        (register(), map(), any::<u32>()).prop_map(|(dst, map, offset)| I::LoadMapValue {
            dst,
            map,
            offset
        }),
        any::<i16>().prop_map(|offset| I::Jump { offset }),
        (width(), test, register(), source(), any::<i16>()).prop_map(
            |(width, test, dst, src, offset)| I::JumpIf {
                width,
                test,
                dst,
                src,
                offset
            }
        ),
        helper.prop_map(I::Call),
        Just(I::Exit),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn what_is_encoded_is_decoded(it in instruction()) {
        bytes(it);
    }

    #[test]
    fn what_is_decoded_is_encoded_to_bytes_that_mean_the_same(raw in any::<[u8; 16]>()) {
        if let Ok(it) = Instruction::decode(&raw) {
            bytes(it);
        }
    }
}
