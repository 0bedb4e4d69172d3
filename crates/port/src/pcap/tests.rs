use super::capture::{Capture, Captured};
use super::*;
use crate::Gone;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pcap_file::pcap::{PcapHeader, PcapWriter, RawPcapPacket};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::simple_packet::SimplePacketBlock;
use pcap_file::{DataLink, Endianness, TsResolution};
use pipeline::{Batch, BatchLimits, HEADROOM, MAX_FRAME};
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
    port.tx.transmit(&mut Frame::new(
        &mut room,
        HEADROOM,
        end,
        VnetHeader::default(),
    ))
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

fn write_pcapng(file: &PathBuf, resolution: Option<u8>, link: DataLink, ticks: &[u64]) {
    let mut writer = PcapNgWriter::new(File::create(file).unwrap()).unwrap();
    let options = resolution
        .map(InterfaceDescriptionOption::IfTsResol)
        .into_iter()
        .collect();
    writer
        .write_pcapng_block(InterfaceDescriptionBlock {
            linktype: link,
            snaplen: 0,
            options,
        })
        .unwrap();
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

fn write_pcap(
    file: &PathBuf,
    endianness: Endianness,
    resolution: TsResolution,
    packets: &[(u32, u32)],
) {
    let header = PcapHeader {
        endianness,
        ts_resolution: resolution,
        snaplen: 96,
        ..PcapHeader::default()
    };
    let mut writer = PcapWriter::with_header(File::create(file).unwrap(), header).unwrap();
    for (ts_sec, ts_frac) in packets {
        let data = Cow::Owned(vec![7; 96]);
        let packet = RawPcapPacket {
            ts_sec: *ts_sec,
            ts_frac: *ts_frac,
            incl_len: 96,
            orig_len: 1514,
            data,
        };
        writer.write_raw_packet(&packet).unwrap();
    }
}

fn packets(file: &Path) -> Vec<Captured> {
    let mut capture = Capture::open(file).unwrap();
    std::iter::from_fn(|| capture.next().unwrap()).collect()
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

    #[test]
    fn damaged_captures_never_panic(cut in 0usize..400, at in 0usize..400, byte: u8, pcapng: bool) {
        let (_directory, file) = directory();
        if pcapng {
            write_pcapng(&file, Some(9), DataLink::ETHERNET, &[1, 2, 3]);
        } else {
            write_pcap(&file, Endianness::Little, TsResolution::MicroSecond, &[(1, 0), (2, 0), (3, 0)]);
        }
        let mut bytes = std::fs::read(&file).unwrap();
        bytes.truncate(cut.max(1));
        let at = at % bytes.len();
        bytes[at] = byte;
        std::fs::write(&file, bytes).unwrap();
        if let Ok(mut port) = replay(&file, Speed::Full) {
            let (played, gone) = play(&mut port, small_batches());
            prop_assert!(played.len() <= 3);
            prop_assert!(matches!(gone, Gone::EndOfFile | Gone::Io(_)));
        }
    }
}

#[test]
fn the_longest_frame_is_recorded_and_tcpdump_reads_it() {
    let frame = [
        &[0xff; 6][..],
        &[2, 0, 0, 0, 0, 1],
        &[0x88, 0xb5],
        &vec![3; MAX_FRAME - 15],
    ]
    .concat();
    let (_directory, file) = recorded(&[frame]);
    let Ok(output) = std::process::Command::new("tcpdump")
        .args(["-enr"])
        .arg(&file)
        .output()
    else {
        return testbed::cannot_run("tcpdump is not installed");
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("length 65557"),
        "{output:?}"
    );
    let year = packets(&file)[0].at.unwrap().as_secs() / (365 * 86_400) + 1970;
    assert!((2025..2200).contains(&year), "recorded in {year}");
}

#[test]
fn timestamps_are_read_in_their_own_resolution() {
    let (_directory, file) = directory();
    let times = |file| {
        packets(file)
            .into_iter()
            .map(|packet| packet.at.unwrap())
            .collect::<Vec<_>>()
    };
    for (resolution, ticks) in [
        (None, 1_500_000),
        (Some(6), 1_500_000),
        (Some(9), 1_500_000_000),
        (Some(3), 1_500),
        (Some(0x81), 3),
    ] {
        write_pcapng(&file, resolution, DataLink::ETHERNET, &[ticks]);
        assert_eq!(
            times(&file),
            [Duration::from_millis(1500)],
            "{resolution:?}"
        );
    }
    for endianness in [Endianness::Big, Endianness::Little] {
        for (resolution, half) in [
            (TsResolution::MicroSecond, 500_000),
            (TsResolution::NanoSecond, 500_000_000),
        ] {
            write_pcap(&file, endianness, resolution, &[(1, half)]);
            assert_eq!(
                times(&file),
                [Duration::from_millis(1500)],
                "{endianness:?} {resolution:?}"
            );
        }
    }
    write_pcapng(&file, Some(127), DataLink::ETHERNET, &[u64::MAX]);
    assert_eq!(times(&file), [Duration::ZERO]);
}

#[test]
fn a_simple_packet_is_read_without_its_padding() {
    let (_directory, file) = directory();
    let mut writer = PcapNgWriter::new(File::create(&file).unwrap()).unwrap();
    writer
        .write_pcapng_block(InterfaceDescriptionBlock::new(DataLink::ETHERNET, 0))
        .unwrap();
    writer
        .write_pcapng_block(SimplePacketBlock {
            original_len: 61,
            data: Cow::Owned(vec![7; 61]),
        })
        .unwrap();
    drop(writer);
    assert_eq!(
        packets(&file),
        [Captured {
            at: None,
            bytes: vec![7; 61]
        }]
    );
}

#[test]
fn recorded_speed_keeps_the_pauses() {
    let (_directory, file) = directory();
    // One pause, two packets at once, one whose time goes backwards.
    write_pcapng(
        &file,
        Some(3),
        DataLink::ETHERNET,
        &[5_000, 5_060, 5_060, 4_000],
    );
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
    write_pcapng(&file, Some(0), DataLink::ETHERNET, &[0, 3600, u64::MAX]);
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
fn a_write_that_fails_half_way_leaves_whole_packets() {
    let namespace = testbed::Namespace::with_mounts().unwrap();
    let packets = namespace.run(|| {
        let none: Option<&str> = None;
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(none, "/mnt", Some("tmpfs"), flags, Some("size=8192")).unwrap();
        let file = PathBuf::from("/mnt/x.pcap");
        let port = record(&Recording::new(file.clone())).unwrap();
        let answers: Vec<_> = (0..8).map(|_| send(&port, &[1; 1500])).collect();
        assert_eq!(
            answers.iter().filter(|answer| answer.is_ok()).count(),
            5,
            "{answers:?}"
        );
        assert_eq!(answers[7], Err(DropReason::TxFull));
        packets(&file)
    });
    assert_eq!(packets.len(), 5);
}

#[test]
fn what_is_not_a_capture_of_ethernet_is_refused_by_name() {
    let (_directory, file) = directory();
    let refused = |file: &PathBuf| replay(file, Speed::Full).unwrap_err().to_string();
    assert!(
        refused(&file).contains("No such file"),
        "{}",
        refused(&file)
    );
    std::fs::write(&file, b"abc").unwrap();
    assert!(refused(&file).contains("too short"), "{}", refused(&file));
    std::fs::write(&file, [0x41; 400]).unwrap();
    assert!(
        refused(&file).contains("neither pcap nor pcapng"),
        "{}",
        refused(&file)
    );
    write_pcapng(&file, None, DataLink::RAW, &[0]);
    assert!(
        refused(&file).contains("not of Ethernet"),
        "{}",
        refused(&file)
    );
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
