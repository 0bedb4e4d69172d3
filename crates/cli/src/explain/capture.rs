//! A frame out of a capture file, pcap or pcapng.

use crate::failure::Failure;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, PcapError};
use std::fmt::Write;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

/// The `nth` frame of `file`, counted from 1.
pub(super) fn nth_frame(file: &Path, nth: u64) -> Result<Vec<u8>, Failure> {
    let wrong = |why: &dyn std::fmt::Display| Failure::File(format!("{}: {why}", file.display()));
    let mut open = File::open(file).map_err(|error| wrong(&error))?;
    let mut magic = [0; 4];
    open.read_exact(&mut magic)
        .map_err(|_| wrong(&"shorter than a capture file's first word"))?;
    open.rewind().map_err(|error| wrong(&error))?;
    let found = if magic == PCAPNG {
        from_pcapng(open, nth)
    } else {
        from_pcap(open, nth)
    };
    match found {
        Ok(Found::Frame(bytes)) => Ok(bytes),
        Ok(Found::OnlyThese(count)) => Err(wrong(&format!(
            "holds {count} frames; there is none number {nth}"
        ))),
        Ok(Found::NotEthernet(link)) => Err(wrong(&format!(
            "its link type is {link:?}; only Ethernet frames can be explained"
        ))),
        Err(error) => Err(wrong(&error)),
    }
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a String takes every write");
            text
        })
}

enum Found {
    Frame(Vec<u8>),
    OnlyThese(u64),
    NotEthernet(DataLink),
}

fn from_pcap(file: File, nth: u64) -> Result<Found, PcapError> {
    let mut reader = PcapReader::new(file)?;
    if reader.header().datalink != DataLink::ETHERNET {
        return Ok(Found::NotEthernet(reader.header().datalink));
    }
    let mut count = 0;
    while let Some(packet) = reader.next_packet() {
        let packet = packet?;
        count += 1;
        if count == nth {
            return Ok(Found::Frame(packet.data.into_owned()));
        }
    }
    Ok(Found::OnlyThese(count))
}

fn from_pcapng(file: File, nth: u64) -> Result<Found, PcapError> {
    let mut reader = PcapNgReader::new(file)?;
    let mut links = Vec::new();
    let mut count = 0;
    while let Some(block) = reader.next_block() {
        let (interface, data) = match block? {
            Block::SectionHeader(_) => {
                links.clear();
                continue;
            }
            Block::InterfaceDescription(interface) => {
                links.push(interface.linktype);
                continue;
            }
            Block::EnhancedPacket(packet) => (packet.interface_id, packet.data.into_owned()),
            Block::SimplePacket(packet) => (0, packet.data.into_owned()),
            Block::Packet(_)
            | Block::NameResolution(_)
            | Block::InterfaceStatistics(_)
            | Block::SystemdJournalExport(_)
            | Block::Unknown(_) => continue,
        };
        count += 1;
        if count == nth {
            let link = usize::try_from(interface)
                .ok()
                .and_then(|index| links.get(index))
                .copied();
            return Ok(match link {
                Some(link) if link != DataLink::ETHERNET => Found::NotEthernet(link),
                Some(_) | None => Found::Frame(data),
            });
        }
    }
    Ok(Found::OnlyThese(count))
}

/// A pcapng file's first block type, the same in either byte order.
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_file::pcap::{PcapPacket, PcapWriter};
    use pcap_file::pcapng::PcapNgWriter;
    use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
    use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionBlock;
    use std::time::Duration;

    #[test]
    fn either_format_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("a.pcap"), dir.path().join("a.pcapng"));
        let mut writer = PcapWriter::new(File::create(&old).unwrap()).unwrap();
        for data in [b"first", b"other"] {
            writer
                .write_packet(&PcapPacket::new(Duration::ZERO, 5, data))
                .unwrap();
        }
        let mut writer = PcapNgWriter::new(File::create(&new).unwrap()).unwrap();
        let interface = InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: 0,
            options: Vec::new(),
        };
        writer.write_pcapng_block(interface).unwrap();
        for data in [b"first", b"other"] {
            let packet = EnhancedPacketBlock {
                interface_id: 0,
                timestamp: Duration::ZERO,
                original_len: 5,
                data: data[..].into(),
                options: Vec::new(),
            };
            writer.write_pcapng_block(packet).unwrap();
        }
        for file in [old, new] {
            assert_eq!(nth_frame(&file, 2).unwrap(), b"other");
            let error = nth_frame(&file, 3).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("{}: holds 2 frames; there is none number 3", file.display())
            );
        }
    }

    #[test]
    fn what_is_no_capture_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        std::fs::write(&file, "not a capture file").unwrap();
        assert!(matches!(nth_frame(&file, 1), Err(Failure::File(_))));
        std::fs::write(&file, "").unwrap();
        assert!(matches!(nth_frame(&file, 1), Err(Failure::File(_))));
        assert!(
            nth_frame(&dir.path().join("none"), 1)
                .unwrap_err()
                .to_string()
                .contains("No such file")
        );
        assert_eq!(hex(&[0, 0xab]), "00ab");
    }
}
