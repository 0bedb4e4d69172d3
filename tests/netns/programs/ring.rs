//! The ring: records in order, room given back, losses counted by whoever could not write.

use super::{COUNT, call, count_in, leave_if_nothing, loaded, program};
use bpf::Register::{R0, R1, R2, R3, R6, R7};
use bpf::{Helper, MapId, MapSpec, Program, Size, SkBuff, field};
use loader::{Ring, TestRun};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

const EVENTS: MapId = MapId(1);
/// One page: it is full soon.
const BYTES: u32 = 4096;
/// `BPF_RB_NO_WAKEUP`.
const NO_WAKEUP: i32 = 1;

/// Writes `SkBuff.mark` into a record, three times; discards the record where `mark` is odd; counts where
/// there is no room.
fn teller(flags: i32) -> Program {
    program(|it| {
        let lost = it.map(MapSpec::array::<u64>("lost", 1));
        let events = it.map(MapSpec::ring("events", BYTES));
        it.load(R7, R1.field(field!(SkBuff.mark)));
        it.load_map(R1, events);
        it.mov(R2, 12);
        it.mov(R3, 0);
        it.call(Helper::RingbufReserve);
        it.when(R0.is(0), |it| {
            count_in(it, lost);
            it.answer(1);
        });
        for place in [0, 4, 8] {
            it.store(R0.at(place, Size::U32), R7);
        }
        it.mov(R6, R0);
        it.mov(R1, R6);
        it.mov(R2, flags);
        it.when_else(
            R7.any_bit(1),
            |it| it.call(Helper::RingbufDiscard),
            |it| it.call(Helper::RingbufSubmit),
        );
        it.answer(0);
    })
}

fn marked(mark: u32) -> SkBuff {
    SkBuff {
        mark,
        ..SkBuff::default()
    }
}

/// The three numbers of a record, which are the same.
fn mark(record: &[u8]) -> u32 {
    let numbers = record.as_chunks::<4>().0;
    assert_eq!((record.len(), numbers[0]), (12, numbers[2]));
    u32::from_ne_bytes(numbers[0])
}

#[test]
fn records_come_in_order_without_the_discarded_round_and_round() {
    let (program, maps) = loaded(&teller(0));
    let mut ring = Ring::open(&maps[EVENTS]).unwrap();
    let mut seen = Vec::new();
    // 24 bytes each: the ring goes round many times, and records lie over its end.
    for first in (0..2000).step_by(100) {
        for mark in first..first + 100 {
            let TestRun { verdict, .. } = program.test_run(&[0; 14], &marked(mark)).unwrap();
            assert_eq!(verdict, 0);
        }
        assert_eq!(ring.taken(), 2400);
        assert_eq!(ring.read(|record| seen.push(mark(record))), 50);
        assert_eq!(ring.taken(), 0);
    }
    assert_eq!(seen, (0..2000).step_by(2).collect::<Vec<_>>());
}

#[test]
fn a_ring_is_readable_while_it_has_a_record() {
    let (program, maps) = loaded(&teller(0));
    let mut ring = Ring::open(&maps[EVENTS]).unwrap();
    let readable = |ring: &Ring| {
        let mut fds = [PollFd::new(ring.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
    };
    assert!(!readable(&ring));
    program.test_run(&[0; 14], &marked(2)).unwrap();
    assert!(readable(&ring));
    assert_eq!(ring.read(|_| {}), 1);
    assert!(!readable(&ring));
}

#[test]
fn a_full_ring_refuses_and_the_writer_counts() {
    let (program, maps) = loaded(&teller(NO_WAKEUP));
    let mut ring = Ring::open(&maps[EVENTS]).unwrap();
    let room = BYTES / 24;
    let refused = |marks: std::ops::Range<u32>| {
        let runs = marks.map(|mark| program.test_run(&[0; 14], &marked(mark * 2)).unwrap());
        runs.filter(|run| run.verdict == 1).count()
    };
    assert_eq!(refused(0..room + 7), 7);
    let lost: Option<u64> = maps[COUNT].lookup(&0_u32).unwrap();
    assert_eq!(lost, Some(7));
    assert_eq!(ring.read(|_| {}), room as usize);
    assert_eq!(refused(0..1), 0);
}

#[test]
fn a_reader_that_sleeps_misses_nothing() {
    const RECORDS: u32 = 20_000;
    let (program, maps) = loaded(&teller(0));
    let mut ring = Ring::open(&maps[EVENTS]).unwrap();
    let (ended, mut seen) = (AtomicBool::new(false), Vec::new());
    let lost = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let runs = (0..RECORDS).map(|it| program.test_run(&[0; 14], &marked(it * 2)).unwrap());
            let lost = runs.filter(|run| run.verdict == 1).count();
            ended.store(true, Ordering::Release);
            lost
        });
        loop {
            let last = ended.load(Ordering::Acquire);
            let fd = ring.as_fd().try_clone_to_owned().unwrap();
            let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::from(100_u8)).unwrap();
            let read = ring.read(|record| seen.push(mark(record)));
            if last && read == 0 {
                break;
            }
        }
        writer.join().unwrap()
    });
    assert!(seen.is_sorted());
    assert_eq!(seen.len() + lost, RECORDS as usize);
}

#[test]
fn a_copy_of_bytes_is_a_record_too() {
    let copies = program(|it| {
        it.map(MapSpec::array::<u64>("unused", 1));
        let events = it.map(MapSpec::ring("events", BYTES));
        let value = it.local::<u64>("value");
        it.constant(R1, 0x1122_3344_5566_7788);
        it.store(value.value(), R1);
        it.load_map(R1, events);
        it.address(R2, value);
        it.mov(R3, 8);
        it.mov(bpf::Register::R4, 0);
        it.call(Helper::RingbufOutput);
        leave_if_nothing(it);
        call(it, Helper::GetSmpProcessorId, []);
        it.answer(1);
    });
    let (program, maps) = loaded(&copies);
    program.test_run(&[0; 14], &SkBuff::default()).unwrap();
    let mut ring = Ring::open(&maps[EVENTS]).unwrap();
    let mut seen = Vec::new();
    ring.read(|record| seen.push(record.to_vec()));
    assert_eq!(seen, [0x1122_3344_5566_7788_u64.to_ne_bytes()]);
}
