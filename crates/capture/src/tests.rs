use super::*;
use pcap_file::Endianness;
use pcap_file::pcap::{PcapHeader, PcapWriter, RawPcapPacket};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::simple_packet::SimplePacketBlock;
use proptest::prelude::*;
use std::borrow::Cow;
use std::path::PathBuf;
use tempfile::TempDir;

fn directory() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.pcap");
    (directory, file)
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
    std::iter::from_fn(|| capture.read().unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

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
        if let Ok(mut capture) = Capture::open(&file) {
            let sound = std::iter::from_fn(|| capture.read().ok().flatten());
            prop_assert!(sound.count() <= 3);
        }
    }
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
fn what_is_not_a_capture_of_ethernet_is_refused_by_name() {
    let (_directory, file) = directory();
    let refused = || match Capture::open(&file).map(|mut capture| capture.read()) {
        Ok(Ok(read)) => panic!("{read:?}"),
        Ok(Err(error)) | Err(error) => error.to_string(),
    };
    assert!(refused().contains("No such file"), "{}", refused());
    std::fs::write(&file, b"abc").unwrap();
    assert_eq!(refused(), "it is too short to be a capture");
    std::fs::write(&file, [0x41; 400]).unwrap();
    assert_eq!(refused(), "it is neither pcap nor pcapng");
    write_pcapng(&file, None, DataLink::RAW, &[0]);
    let raw = "it holds packets of link type 101, not of Ethernet (1)";
    assert_eq!(refused(), raw);
    write_pcapng(&file, None, DataLink::ETHERNET, &[0]);
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 8]).unwrap();
    assert_eq!(refused(), "it ends within a packet");
}
