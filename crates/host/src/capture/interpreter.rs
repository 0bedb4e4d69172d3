//! Classic BPF, executed as the kernel's own documentation describes it: what tests run programs
//! on.

use super::assembler::{Instruction, code};
use super::program::{PACKET_TYPE, VLAN_PRESENT};

/// Returns what the program answers about `frame`, of which the kernel noted whether it had a VLAN tag and
/// for whom it is (`PACKET_HOST` and so on).
pub(crate) fn run(program: &[Instruction], frame: &[u8], vlan: u32, packet_type: u32) -> u32 {
    let (mut a, mut x, mut memory) = (0u32, 0u32, [0u32; 16]);
    let mut at = 0;
    loop {
        let Instruction {
            code: operation,
            if_true,
            if_false,
            operand: k,
        } = program[at];
        at += 1;
        let branch = |taken| usize::from(if taken { if_true } else { if_false });
        let read = |at: u32, bytes: usize| {
            let at = at as usize;
            let found = frame.get(at..at.checked_add(bytes)?)?;
            Some(
                found
                    .iter()
                    .fold(0, |value, byte| value << 8 | u32::from(*byte)),
            )
        };
        let loaded = match operation {
            code::LOAD_WORD if k == VLAN_PRESENT => Some(vlan),
            code::LOAD_WORD if k == PACKET_TYPE => Some(packet_type),
            code::LOAD_WORD => read(k, 4),
            code::LOAD_HALF => read(k, 2),
            code::LOAD_BYTE => read(k, 1),
            0x40 => read(x.wrapping_add(k), 4),
            0x48 => read(x.wrapping_add(k), 2),
            0x50 => read(x.wrapping_add(k), 1),
            code::LOAD_CONSTANT => Some(k),
            code::LOAD_MEMORY => Some(memory[k as usize]),
            code::ADD => Some(a.wrapping_add(k)),
            code::ADD_INDEX => Some(a.wrapping_add(x)),
            code::AND => Some(a & k),
            code::SHIFT_LEFT => Some(a << k),
            code::STORE => {
                memory[k as usize] = a;
                Some(a)
            }
            code::INDEX_CONSTANT => {
                x = k;
                Some(a)
            }
            code::INDEX_IPV4_LENGTH => read(k, 1).map(|byte| {
                x = 4 * (byte & 0xf);
                a
            }),
            code::TO_INDEX => {
                x = a;
                Some(a)
            }
            code::JUMP => {
                at += k as usize;
                Some(a)
            }
            code::JUMP_EQUAL => {
                at += branch(a == k);
                Some(a)
            }
            code::JUMP_EQUAL_INDEX => {
                at += branch(a == x);
                Some(a)
            }
            code::JUMP_AT_LEAST => {
                at += branch(a >= k);
                Some(a)
            }
            code::JUMP_ANY_BIT => {
                at += branch(a & k != 0);
                Some(a)
            }
            code::RETURN => return k,
            unknown => panic!("the instruction {unknown:#x} at {at}"),
        };
        let Some(value) = loaded else { return 0 };
        a = value;
    }
}
