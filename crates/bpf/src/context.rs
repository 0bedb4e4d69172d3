//! What a traffic-control program is given and what it may answer.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The context of a packet: `struct __sk_buff` of `linux/bpf.h`. Its fields are the kernel's, under the
/// kernel's names. `data` and `data_end` are pointers when a program loads them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
#[expect(missing_docs, reason = "linux/bpf.h has them")]
pub struct SkBuff {
    pub len: u32,
    pub pkt_type: u32,
    pub mark: u32,
    pub queue_mapping: u32,
    /// The ethertype, big endian.
    pub protocol: u32,
    pub vlan_present: u32,
    pub vlan_tci: u32,
    /// Big endian.
    pub vlan_proto: u32,
    pub priority: u32,
    pub ingress_ifindex: u32,
    pub ifindex: u32,
    pub tc_index: u32,
    pub cb: [u32; 5],
    pub hash: u32,
    pub tc_classid: u32,
    pub data: u32,
    pub data_end: u32,
    pub napi_id: u32,
    pub family: u32,
    pub remote_ip4: u32,
    pub local_ip4: u32,
    pub remote_ip6: [u32; 4],
    pub local_ip6: [u32; 4],
    pub remote_port: u32,
    pub local_port: u32,
    pub data_meta: u32,
    pub flow_keys: u64,
    pub tstamp: u64,
    pub wire_len: u32,
    pub gso_segs: u32,
    pub sk: u64,
    pub gso_size: u32,
    pub tstamp_type: u8,
    pub unused: [u8; 3],
    pub hwtstamp: u64,
}

/// The answers of a traffic-control program (`linux/pkt_cls.h`).
pub mod verdict {
    /// Goes on to the next program, then to the stack.
    pub const UNSPEC: i32 = -1;
    /// Goes to the stack, past all other programs.
    pub const OK: i32 = 0;
    /// Dropped.
    pub const SHOT: i32 = 2;
    /// Goes where a helper said.
    pub const REDIRECT: i32 = 7;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field;

    #[test]
    fn the_context_lies_as_in_the_header() {
        assert_eq!(size_of::<SkBuff>(), 192);
        for (field, offset) in [
            (field!(SkBuff.protocol), 16),
            (field!(SkBuff.ifindex), 40),
            (field!(SkBuff.cb), 48),
            (field!(SkBuff.data), 76),
            (field!(SkBuff.data_end), 80),
            (field!(SkBuff.data_meta), 140),
            (field!(SkBuff.tstamp), 152),
            (field!(SkBuff.gso_size), 176),
            (field!(SkBuff.hwtstamp), 184),
        ] {
            assert_eq!(field.offset, offset, "{}", field.name);
        }
    }
}
