use super::*;
use crate::Gone;
use capture::{Capture, Captured};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pipeline::{Batch, BatchLimits, Destination, HEADROOM, MAX_FRAME};
use proptest::collection::vec;
use proptest::prelude::*;
use std::borrow::Cow;
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use wire::VnetHeader;

fn send(port: &Port, bytes: &[u8]) -> Result<(), DropReason> {
    let mut room = [&[0; HEADROOM], bytes].concat();
    let end = room.len();
    let mut frame = Frame::new(&mut room, HEADROOM, end, VnetHeader::default());
    port.tx.transmit(&mut frame, Destination::default())
}

fn directory() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.pcap");
    (directory, file)
}

fn recorded(frames: &[Vec<u8>]) -> (TempDir, PathBuf) {
    let (directory, file) = directory();
    let port = record(&Recording::new(file.clone())).unwrap();
    assert!(port.queues.is_empty());
    frames.iter().for_each(|frame| send(&port, frame).unwrap());
    (directory, file)
}

/// Waits as a worker does, until the port is gone.
fn play(port: &mut Port, limits: BatchLimits) -> (Vec<Vec<u8>>, Gone) {
    let (mut frames, mut batch) = (Vec::new(), Batch::new(limits));
    loop {
        let mut fds = [PollFd::new(port.queues[0].as_fd(), PollFlags::POLLIN)];
        assert!(
            poll(&mut fds, PollTimeout::from(10_000u16)).unwrap() > 0,
            "it never became readable"
        );
        batch.clear();
        let answer = port.queues[0].receive(&mut batch);
        frames.extend((0..batch.len()).map(|index| batch.frame(index).bytes().to_vec()));
        if let Err(gone) = answer {
            return (frames, gone);
        }
    }
}

fn small_batches() -> BatchLimits {
    BatchLimits {
        frames: 3,
        ..BatchLimits::default()
    }
}

/// Writes packets at these times, in a unit of ten to the power of minus `resolution` seconds.
fn write_pcapng(file: &PathBuf, resolution: u8, ticks: &[u64]) {
    let mut writer = PcapNgWriter::new(File::create(file).unwrap()).unwrap();
    let mut interface = InterfaceDescriptionBlock::new(DataLink::ETHERNET, 0);
    interface.options = vec![InterfaceDescriptionOption::IfTsResol(resolution)];
    writer.write_pcapng_block(interface).unwrap();
    for ticks in ticks {
        let packet = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: Duration::from_nanos(*ticks),
            original_len: 60,
            data: Cow::Owned(vec![7; 60]),
            options: vec![],
        };
        writer.write_pcapng_block(packet).unwrap();
    }
}

fn packets(file: &Path) -> Vec<Captured> {
    let mut capture = Capture::open(file).unwrap();
    std::iter::from_fn(|| capture.read().unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_recorded_is_what_is_played(frames in vec(vec(any::<u8>(), 0..2000), 0..20)) {
        let (_directory, file) = recorded(&frames);
        let (played, gone) = play(&mut replay(&file, Speed::Full).unwrap(), small_batches());
        prop_assert_eq!(played, frames);
        prop_assert_eq!(gone, Gone::EndOfFile);
    }
}

#[test]
fn the_longest_frame_is_recorded_with_its_time() {
    let frame = [
        &[0xff; 6][..],
        &[2, 0, 0, 0, 0, 1],
        &[0x88, 0xb5],
        &vec![3; MAX_FRAME - 15],
    ]
    .concat();
    let (_directory, file) = recorded(&[frame]);
    let packet = &packets(&file)[0];
    assert_eq!(packet.bytes.len(), 65_557);
    let year = packet.at.unwrap().as_secs() / (365 * 86_400) + 1970;
    assert!((2025..2200).contains(&year), "recorded in {year}");
}

#[test]
fn recorded_speed_keeps_the_pauses() {
    let (_directory, file) = directory();
    // One pause, two packets at once, one whose time goes backwards.
    write_pcapng(&file, 3, &[5_000, 5_060, 5_060, 4_000]);
    let mut port = replay(&file, Speed::Recorded).unwrap();
    let start = Instant::now();
    let (played, gone) = play(&mut port, BatchLimits::default());
    assert_eq!((played.len(), gone), (4, Gone::EndOfFile));
    assert!(
        start.elapsed() >= Duration::from_millis(60),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn between_packets_it_is_not_readable() {
    let (_directory, file) = directory();
    write_pcapng(&file, 0, &[0, 3600, u64::MAX]);
    let mut port = replay(&file, Speed::Recorded).unwrap();
    let mut batch = Batch::new(BatchLimits::default());
    port.queues[0].receive(&mut batch).unwrap();
    assert_eq!(batch.len(), 1);
    let mut fds = [PollFd::new(port.queues[0].as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, PollTimeout::from(5u8)).unwrap(), 0);
}

#[test]
fn a_full_disk_is_a_counted_drop() {
    let full = Port {
        queues: vec![],
        tx: Arc::new(Recorder::onto(File::create("/dev/full").unwrap())),
    };
    assert_eq!(send(&full, &[0; 60]), Err(DropReason::TxFull));

    let (_directory, file) = directory();
    let port = record(&Recording {
        path: file.clone(),
        max_bytes: 200,
    })
    .unwrap();
    send(&port, &[1; 60]).unwrap();
    assert_eq!(send(&port, &[2; 600]), Err(DropReason::TxFull));
    assert_eq!(packets(&file).len(), 1, "what was written stays readable");
}

#[test]
fn what_is_not_a_capture_is_refused_by_name() {
    let (_directory, file) = directory();
    let refused = || replay(&file, Speed::Full).unwrap_err().to_string();
    assert!(refused().contains("No such file"), "{}", refused());
    std::fs::write(&file, b"abc").unwrap();
    assert!(refused().contains("too short"), "{}", refused());
}

#[test]
fn a_replay_refuses_what_is_sent_unless_it_records() {
    let (_directory, file) = recorded(&[vec![1; 60]]);
    let port = replay(&file, Speed::Full).unwrap();
    assert_eq!(send(&port, &[0; 60]), Err(DropReason::TxRefused));
    let second = file.with_extension("out");
    let port = replay_and_record(&file, Speed::Full, &Recording::new(second.clone())).unwrap();
    send(&port, &[2; 60]).unwrap();
    assert_eq!(
        (port.queues.len(), packets(&second)[0].bytes.clone()),
        (1, vec![2; 60])
    );
}
