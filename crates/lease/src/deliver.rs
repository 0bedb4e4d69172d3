//! The program at a port's TAP: what a worker writes there goes out by the host's end of the port's veth.
//!
//! It goes over the receiver's backlog. There the kernel sees for whom a frame is by the interface's own MAC
//! address, whatever that is by now: a flooded frame for somebody else must not be taken for the container's.

use bpf::Register::{R1, R2, R6};
use bpf::{Assembler, Helper, MapSpec, Program, Register::R0, Size, SkBuff, field, verdict};

/// The program's maps.
pub mod map {
    use bpf::MapId;
    /// The number of a TAP to that of the host's end.
    pub const TAPS: MapId = MapId(0);
}

/// The program, with room for so many ports.
///
/// # Panics
/// Never: the program is the same but for that room, and its tests assemble it.
#[must_use]
pub fn program(ports: u32) -> Program {
    let mut it = Assembler::new("deliver");
    it.map(MapSpec::hash::<u32, u32>("taps", ports));
    let tap = it.local::<u32>("tap");
    it.mov(R6, R1);
    it.load(R1, R6.field(field!(SkBuff.ifindex)));
    it.store(tap.value(), R1);
    it.address(R2, tap);
    it.load_map(R1, map::TAPS);
    it.call(Helper::MapLookup);
    it.note("not one of our TAPs");
    it.when(R0.is(0), |it| it.answer(verdict::UNSPEC));
    it.load(R1, R0.at(0, Size::U32));
    it.mov(R2, 0);
    it.call(Helper::Redirect);
    it.exit();
    it.finish().expect("the program is whole")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bpf::interpreter::{Interpreter, Packet, Redirect, Way};

    #[test]
    fn a_frame_leaves_by_the_host_s_end_and_others_pass() {
        let program = program(4);
        let mut it = Interpreter::new(&program);
        it.insert(map::TAPS, &40_u32, &4_u32);
        let sent = |it: &mut Interpreter<'_>, tap| it.run(Packet::new(vec![0; 60], tap)).unwrap();
        let ours = sent(&mut it, 40);
        let out = Redirect {
            ifindex: 4,
            way: Way::Egress,
        };
        assert_eq!(
            (ours.verdict, ours.redirect),
            (verdict::REDIRECT, Some(out))
        );
        let other = sent(&mut it, 41);
        assert_eq!((other.verdict, other.redirect), (verdict::UNSPEC, None));
    }
}
