//! Numbers as the kernel calculates with them.

use crate::{AluOp, Width};

/// `a op b`, of all bits or of the low halves.
pub(super) fn calculate(width: Width, op: AluOp, a: u64, b: u64) -> u64 {
    match width {
        Width::W64 => wide(op, a, b),
        Width::W32 => u64::from(narrow(op, low(a), low(b))),
    }
}

/// The low half.
#[expect(clippy::cast_possible_truncation, reason = "that is its purpose")]
pub(super) const fn low(number: u64) -> u32 {
    number as u32
}

macro_rules! calculation {
    ($name:ident $unsigned:ty) => {
        fn $name(op: AluOp, a: $unsigned, b: $unsigned) -> $unsigned {
            // As the processor does: only the bits that count.
            let shift = low(u64::from(b));
            match op {
                AluOp::Add => a.wrapping_add(b),
                AluOp::Sub => a.wrapping_sub(b),
                AluOp::Mul => a.wrapping_mul(b),
                AluOp::Div => a.checked_div(b).unwrap_or(0),
                AluOp::Rem => a.checked_rem(b).unwrap_or(a),
                AluOp::Or => a | b,
                AluOp::And => a & b,
                AluOp::Xor => a ^ b,
                AluOp::ShiftLeft => a.wrapping_shl(shift),
                AluOp::ShiftRight => a.wrapping_shr(shift),
                AluOp::ShiftRightSigned => a.cast_signed().wrapping_shr(shift).cast_unsigned(),
                AluOp::Move => b,
            }
        }
    };
}

calculation!(wide u64);
calculation!(narrow u32);
