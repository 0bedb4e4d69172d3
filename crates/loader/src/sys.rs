//! The system call bpf(2) and shared memory. Every function is safe to call with any arguments.
//!
//! Why not a crate: libbpf-sys brings a library in C; aya-obj loads what clang compiled. The calls that are
//! needed are below.

mod attributes;
mod memory;

pub(crate) use attributes::{ProgramInfo, Run};
pub(crate) use memory::Mapping;

use attributes::{
    BatchCall, DetachCall, ElementCall, InfoCall, LinkCall, MapCall, ProgramCall, QueryCall,
    RunCall, name,
};
use bpf::{MapKind, MapSpec, SkBuff};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use zerocopy::{FromBytes, IntoBytes};

/// `enum bpf_cmd`.
#[derive(Debug, Clone, Copy)]
#[repr(i32)]
enum Command {
    MapCreate = 0,
    Lookup = 1,
    Update = 2,
    Delete = 3,
    ProgramLoad = 5,
    TestRun = 10,
    InfoByFd = 15,
    Query = 16,
    LookupBatch = 24,
    LookupAndDeleteBatch = 25,
    LinkCreate = 28,
    LinkDetach = 34,
}

/// `BPF_PROG_TYPE_SCHED_CLS`.
const SCHED_CLS: u32 = 3;
/// The programs' licence, as the project's; none of the helpers asks for the GPL.
const LICENSE: &CStr = c"MIT";

/// Calls bpf(2).
///
/// # Safety
/// Every address in `attributes` is of memory that lives through the call, as long as the attributes
/// beside it say, and writable where the command writes.
unsafe fn bpf<T: IntoBytes + FromBytes>(command: Command, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: the kernel reads and writes at most `size` bytes of `attributes`, of which any bytes are a
    // value; the addresses in it are good by the caller's promise.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as i32,
            std::ptr::from_mut(attributes),
            size_of::<T>(),
        )
    };
    i32::try_from(answer)
        .ok()
        .filter(|answer| *answer >= 0)
        .ok_or_else(io::Error::last_os_error)
}

/// The same for commands that answer a descriptor.
///
/// # Safety
/// As for [`bpf`].
unsafe fn bpf_fd<T: IntoBytes + FromBytes>(
    command: Command,
    attributes: &mut T,
) -> io::Result<OwnedFd> {
    // SAFETY: by the caller's promise.
    let fd = unsafe { bpf(command, attributes) }?;
    // SAFETY: the descriptor is new, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn address<T>(slice: &[T]) -> u64 {
    slice.as_ptr() as u64
}

fn address_mut<T>(slice: &mut [T]) -> u64 {
    slice.as_mut_ptr() as u64
}

fn length<T>(slice: &[T]) -> u32 {
    u32::try_from(slice.len()).unwrap_or(u32::MAX)
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// A map, with the sizes that calls have to obey.
#[derive(Debug)]
pub(crate) struct RawMap {
    fd: OwnedFd,
    key: usize,
    value: usize,
}

impl AsFd for RawMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl RawMap {
    pub(crate) fn create(spec: &MapSpec) -> io::Result<Self> {
        const NO_PREALLOC: u32 = 1;
        const MMAPABLE: u32 = 1 << 10;
        let (kind, flags) = match spec.kind {
            MapKind::Hash => (1, 0),
            MapKind::HashOnDemand => (1, NO_PREALLOC),
            MapKind::Array => (2, 0),
            MapKind::MappedArray => (2, MMAPABLE),
            MapKind::Ring => (27, 0),
        };
        let mut call = MapCall {
            map_type: kind,
            key_size: spec.key,
            value_size: spec.value,
            max_entries: spec.entries,
            map_flags: flags,
            inner_map_fd: 0,
            numa_node: 0,
            map_name: name(spec.name),
        };
        // SAFETY: there is no address in the call.
        let fd = unsafe { bpf_fd(Command::MapCreate, &mut call) }?;
        Ok(Self {
            fd,
            key: spec.key as usize,
            value: spec.value as usize,
        })
    }

    pub(crate) const fn sizes(&self) -> (usize, usize) {
        (self.key, self.value)
    }

    /// The attributes for one element; panics where a size is not the map's.
    fn element(&self, key: &[u8], value: u64, flags: u64) -> ElementCall {
        assert_eq!(key.len(), self.key, "a key has the map's size");
        ElementCall {
            map_fd: number(self.as_fd()),
            unused: 0,
            key: address(key),
            value,
            flags,
        }
    }

    pub(crate) fn lookup(&self, key: &[u8], value: &mut [u8]) -> io::Result<()> {
        assert_eq!(value.len(), self.value, "a value has the map's size");
        let mut call = self.element(key, address_mut(value), 0);
        // SAFETY: the kernel reads a key and writes a value; both slices have the map's sizes.
        unsafe { bpf(Command::Lookup, &mut call) }.map(drop)
    }

    pub(crate) fn update(&self, key: &[u8], value: &[u8], flags: u64) -> io::Result<()> {
        assert_eq!(value.len(), self.value, "a value has the map's size");
        let mut call = self.element(key, address(value), flags);
        // SAFETY: the kernel reads a key and a value; both slices have the map's sizes.
        unsafe { bpf(Command::Update, &mut call) }.map(drop)
    }

    pub(crate) fn delete(&self, key: &[u8]) -> io::Result<()> {
        let mut call = self.element(key, 0, 0);
        // SAFETY: the kernel reads a key; the slice has the map's size.
        unsafe { bpf(Command::Delete, &mut call) }.map(drop)
    }

    /// Reads up to as many elements as there is room for, and deletes them if asked to, from where `from`
    /// says to where it says then. Answers how many, and whether these were the last.
    pub(crate) fn batch(
        &self,
        delete: bool,
        from: &mut Option<Vec<u8>>,
        keys: &mut [u8],
        values: &mut [u8],
    ) -> io::Result<(usize, bool)> {
        let room = (keys.len() / self.key.max(1)).min(values.len() / self.value.max(1));
        // The kernel writes a place of 4 bytes, or of a key where that is longer.
        let size = self.key.max(4);
        let mut to = vec![0; size];
        assert!(from.as_ref().is_none_or(|from| from.len() == size));
        let mut call = BatchCall {
            in_batch: from.as_deref().map_or(0, address),
            out_batch: address_mut(&mut to),
            keys: address_mut(keys),
            values: address_mut(values),
            count: u32::try_from(room).unwrap_or(u32::MAX),
            map_fd: number(self.as_fd()),
            elem_flags: 0,
            flags: 0,
        };
        let command = if delete {
            Command::LookupAndDeleteBatch
        } else {
            Command::LookupBatch
        };
        // SAFETY: the kernel writes at most `count` keys and values, for which there is room, and a
        // place; it reads a place of the size that it wrote.
        let answer = unsafe { bpf(command, &mut call) };
        let last = match answer {
            Ok(_) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) => return Err(error),
        };
        *from = Some(to);
        Ok((call.count as usize, last))
    }
}

/// Loads a program for traffic control; with room for a log, the verifier writes one.
pub(crate) fn load(title: &str, instructions: &[u8], log: &mut [u8]) -> io::Result<OwnedFd> {
    let (slots, rest) = instructions.as_chunks::<8>();
    assert!(rest.is_empty(), "instructions are whole slots");
    let mut call = ProgramCall {
        prog_type: SCHED_CLS,
        insn_cnt: length(slots),
        insns: address(slots),
        license: LICENSE.as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: length(log),
        log_buf: if log.is_empty() { 0 } else { address_mut(log) },
        kern_version: 0,
        prog_flags: 0,
        prog_name: name(title),
    };
    // SAFETY: the kernel reads `insn_cnt` slots and a string with its end, writes at most `log_size` bytes.
    unsafe { bpf_fd(Command::ProgramLoad, &mut call) }
}

/// Runs a program once on a packet.
pub(crate) fn test_run(
    program: BorrowedFd<'_>,
    packet: &[u8],
    context: &SkBuff,
    output: &mut [u8],
) -> io::Result<Run> {
    let mut after = SkBuff::default();
    let mut call = RunCall {
        prog_fd: number(program),
        retval: 0,
        data_size_in: length(packet),
        data_size_out: length(output),
        data_in: address(packet),
        data_out: address_mut(output),
        repeat: 1,
        duration: 0,
        ctx_size_in: length(context.as_bytes()),
        ctx_size_out: length(after.as_bytes()),
        ctx_in: std::ptr::from_ref(context) as u64,
        ctx_out: std::ptr::from_mut(&mut after) as u64,
    };
    // SAFETY: the kernel reads the packet and the context and writes at most the sizes of `output` and
    // `after`, of which any bytes are a value.
    unsafe { bpf(Command::TestRun, &mut call) }?;
    Ok(Run {
        answer: call.retval,
        length: call.data_size_out as usize,
        context: after,
    })
}

/// Returns what the kernel knows of a program.
pub(crate) fn program_info(program: BorrowedFd<'_>) -> io::Result<ProgramInfo> {
    let mut info = ProgramInfo::default();
    let mut call = InfoCall {
        bpf_fd: number(program),
        info_len: u32::try_from(size_of::<ProgramInfo>()).unwrap_or(0),
        info: std::ptr::from_mut(&mut info) as u64,
    };
    // SAFETY: the kernel reads and writes at most `info_len` bytes of `info`. The addresses in it are 0, so
    // it writes nowhere else. If the descriptor is no program's, what is written has another meaning, but
    // any bytes are a value.
    unsafe { bpf(Command::InfoByFd, &mut call) }?;
    Ok(info)
}

/// Attaches a program to an interface by a link. No other program stands before or after it for `flags`
/// to be relative to.
pub(crate) fn link_create(
    program: BorrowedFd<'_>,
    interface: u32,
    attach_type: u32,
    flags: u32,
) -> io::Result<OwnedFd> {
    let mut call = LinkCall {
        prog_fd: number(program),
        target_ifindex: interface,
        attach_type,
        flags,
        relative_fd: 0,
        unused: 0,
        expected_revision: 0,
    };
    // SAFETY: there is no address in the call.
    unsafe { bpf_fd(Command::LinkCreate, &mut call) }
}

/// Detaches a link, whoever else has its descriptor.
pub(crate) fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut call = DetachCall {
        link_fd: number(link),
    };
    // SAFETY: there is no address in the call.
    unsafe { bpf(Command::LinkDetach, &mut call) }.map(drop)
}

/// The identifiers of the programs at an interface, in the order in which they run. Answers how many
/// there are, which may be more than there is room for.
pub(crate) fn query(interface: u32, attach_type: u32, programs: &mut [u32]) -> io::Result<usize> {
    let mut call = QueryCall {
        target_ifindex: interface,
        attach_type,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: address_mut(programs),
        count: length(programs),
        unused: 0,
        prog_attach_flags: 0,
        link_ids: 0,
        link_attach_flags: 0,
        revision: 0,
    };
    // SAFETY: the kernel writes at most `count` numbers.
    match unsafe { bpf(Command::Query, &mut call) } {
        Ok(_) => Ok(call.count as usize),
        Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => Ok(call.count as usize),
        Err(error) => Err(error),
    }
}

/// Allows the process to lock all memory: before 5.11 maps are counted as locked.
pub(crate) fn allow_locked_memory() -> io::Result<()> {
    let all = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: the kernel reads one `rlimit`, which outlives the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const all) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
