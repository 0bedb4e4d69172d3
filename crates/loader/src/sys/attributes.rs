//! `union bpf_attr` of `linux/bpf.h`, one struct for each command, as far as we set it: the kernel takes the
//! rest for 0. Without padding, so that nothing goes to the kernel that nobody wrote.

use bpf::SkBuff;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `BPF_OBJ_NAME_LEN`, with the byte that ends it.
pub(super) const NAME: usize = 16;

/// A name as the kernel keeps it.
pub(super) fn name(text: &str) -> [u8; NAME] {
    let mut name = [0; NAME];
    for (to, from) in name[..NAME - 1].iter_mut().zip(text.bytes()) {
        let kept = from.is_ascii_alphanumeric() || from == b'.';
        *to = if kept { from } else { b'_' };
    }
    name
}

#[derive(FromBytes, IntoBytes)]
#[repr(C)]
pub(super) struct MapCall {
    pub(super) map_type: u32,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
    pub(super) map_flags: u32,
    pub(super) inner_map_fd: u32,
    pub(super) numa_node: u32,
    pub(super) map_name: [u8; NAME],
}

#[derive(FromBytes, IntoBytes)]
#[repr(C)]
pub(super) struct ElementCall {
    pub(super) map_fd: u32,
    pub(super) unused: u32,
    pub(super) key: u64,
    pub(super) value: u64,
    pub(super) flags: u64,
}

#[derive(FromBytes, IntoBytes)]
#[repr(C)]
pub(super) struct BatchCall {
    pub(super) in_batch: u64,
    pub(super) out_batch: u64,
    pub(super) keys: u64,
    pub(super) values: u64,
    pub(super) count: u32,
    pub(super) map_fd: u32,
    pub(super) elem_flags: u64,
    pub(super) flags: u64,
}

#[derive(FromBytes, IntoBytes)]
#[repr(C)]
pub(super) struct ProgramCall {
    pub(super) prog_type: u32,
    pub(super) insn_cnt: u32,
    pub(super) insns: u64,
    pub(super) license: u64,
    pub(super) log_level: u32,
    pub(super) log_size: u32,
    pub(super) log_buf: u64,
    pub(super) kern_version: u32,
    pub(super) prog_flags: u32,
    pub(super) prog_name: [u8; NAME],
}

#[derive(FromBytes, IntoBytes)]
#[repr(C)]
pub(super) struct RunCall {
    pub(super) prog_fd: u32,
    pub(super) retval: u32,
    pub(super) data_size_in: u32,
    pub(super) data_size_out: u32,
    pub(super) data_in: u64,
    pub(super) data_out: u64,
    pub(super) repeat: u32,
    pub(super) duration: u32,
    pub(super) ctx_size_in: u32,
    pub(super) ctx_size_out: u32,
    pub(super) ctx_in: u64,
    pub(super) ctx_out: u64,
}

#[derive(FromBytes, IntoBytes)]
#[repr(C)]
pub(super) struct InfoCall {
    pub(super) bpf_fd: u32,
    pub(super) info_len: u32,
    pub(super) info: u64,
}

#[derive(FromBytes, IntoBytes)]
#[repr(C)]
pub(super) struct LinkCall {
    pub(super) prog_fd: u32,
    pub(super) target_ifindex: u32,
    pub(super) attach_type: u32,
    pub(super) flags: u32,
    pub(super) relative_fd: u32,
    pub(super) unused: u32,
    pub(super) expected_revision: u64,
}

#[derive(FromBytes, IntoBytes)]
#[repr(C)]
pub(super) struct DetachCall {
    pub(super) link_fd: u32,
}

#[derive(FromBytes, IntoBytes)]
#[repr(C)]
pub(super) struct QueryCall {
    pub(super) target_ifindex: u32,
    pub(super) attach_type: u32,
    pub(super) query_flags: u32,
    pub(super) attach_flags: u32,
    pub(super) prog_ids: u64,
    pub(super) count: u32,
    pub(super) unused: u32,
    pub(super) prog_attach_flags: u64,
    pub(super) link_ids: u64,
    pub(super) link_attach_flags: u64,
    pub(super) revision: u64,
}

/// `struct bpf_prog_info`, as far as it has the program's number.
#[derive(Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct ProgramInfo {
    pub(crate) kind: u32,
    pub(crate) id: u32,
}

/// The answer of a test run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) answer: u32,
    /// Bytes of the packet after it.
    pub(crate) length: usize,
    pub(crate) context: SkBuff,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cut_and_has_no_sign_that_the_kernel_refuses() {
        assert_eq!(&name("lease"), b"lease\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(&name("flow-table of the switch"), b"flow_table_of_t\0");
    }

    #[test]
    fn calls_have_the_sizes_of_the_header() {
        assert_eq!(size_of::<MapCall>(), 44);
        assert_eq!(size_of::<ElementCall>(), 32);
        assert_eq!(size_of::<BatchCall>(), 56);
        assert_eq!(size_of::<ProgramCall>(), 64);
        assert_eq!(size_of::<RunCall>(), 64);
        assert_eq!(size_of::<LinkCall>(), 32);
        assert_eq!(size_of::<QueryCall>(), 64);
    }
}
