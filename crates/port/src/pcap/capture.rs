//! The packets of a capture file, of either format, one after the other.
//!
//! The decoder (pcap-file 2) is used with three reservations:
//! * its checked pcap packets refuse captures that were made with a snap length, so the unchecked
//!   ones are read;
//! * it takes every pcapng timestamp for nanoseconds, so the interface's resolution is applied
//!   here;
//! * it counts the padding of a pcapng simple packet as data.
//!
//! A capture file is foreign input: whatever its bytes, the answer is a packet, the end, or an
//! error, after which nothing more is read.

use crate::PortError;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, PcapError, TsResolution};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

/// One packet of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Captured {
    /// Time since the epoch; `None` where the format has none.
    pub(super) at: Option<Duration>,
    /// What was captured of it.
    pub(super) bytes: Vec<u8>,
}

/// An open capture file.
pub(super) enum Capture<R: Read> {
    Pcap(PcapReader<R>),
    PcapNg(PcapNgReader<R>),
}

impl Capture<File> {
    /// Opens a file of either format.
    pub(super) fn open(path: &Path) -> Result<Self, PortError> {
        let failed = |error: String| PortError::Capture {
            operation: "read",
            path: path.to_owned(),
            error,
        };
        let mut file = File::open(path).map_err(|error| failed(error.to_string()))?;
        let mut magic = [0; 4];
        file.read_exact(&mut magic)
            .map_err(|_| failed("it is too short to be a capture".to_owned()))?;
        file.seek(SeekFrom::Start(0))
            .map_err(|error| failed(error.to_string()))?;
        Self::decode(file, magic).map_err(failed)
    }
}

impl<R: Read> Capture<R> {
    /// Decodes what begins with `magic`.
    pub(super) fn decode(from: R, magic: [u8; 4]) -> Result<Self, String> {
        if magic == PCAPNG_MAGIC {
            return PcapNgReader::new(from).map(Self::PcapNg).map_err(described);
        }
        let reader =
            PcapReader::new(from).map_err(|_| "it is neither pcap nor pcapng".to_owned())?;
        ethernet_only(reader.header().datalink)?;
        Ok(Self::Pcap(reader))
    }

    /// The next packet; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Captured>, String> {
        match self {
            Self::Pcap(reader) => next_of_pcap(reader),
            Self::PcapNg(reader) => next_of_pcapng(reader),
        }
    }
}

impl<R: Read> fmt::Debug for Capture<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pcap(_) => "Capture::Pcap",
            Self::PcapNg(_) => "Capture::PcapNg",
        })
    }
}

fn next_of_pcap<R: Read>(reader: &mut PcapReader<R>) -> Result<Option<Captured>, String> {
    let resolution = reader.header().ts_resolution;
    let Some(packet) = reader.next_raw_packet() else {
        return Ok(None);
    };
    let packet = packet.map_err(described)?;
    let fraction = match resolution {
        TsResolution::MicroSecond => Duration::from_micros(packet.ts_frac.into()),
        TsResolution::NanoSecond => Duration::from_nanos(packet.ts_frac.into()),
    };
    let at = Duration::from_secs(packet.ts_sec.into()) + fraction;
    Ok(Some(Captured {
        at: Some(at),
        bytes: packet.data.into_owned(),
    }))
}

fn next_of_pcapng<R: Read>(reader: &mut PcapNgReader<R>) -> Result<Option<Captured>, String> {
    loop {
        let Some(block) = reader.next_block() else {
            return Ok(None);
        };
        let (interface, ticks, bytes) = match block.map_err(described)? {
            Block::EnhancedPacket(packet) => (
                packet.interface_id,
                Some(packet.timestamp.as_nanos()),
                packet.data.into_owned(),
            ),
            Block::Packet(packet) => (
                packet.interface_id.into(),
                Some(packet.timestamp.into()),
                packet.data.into_owned(),
            ),
            Block::SimplePacket(packet) => {
                (0, None, without_padding(&packet.data, packet.original_len))
            }
            Block::SectionHeader(_)
            | Block::InterfaceDescription(_)
            | Block::InterfaceStatistics(_)
            | Block::NameResolution(_)
            | Block::SystemdJournalExport(_)
            | Block::Unknown(_) => continue,
        };
        let described = reader.interfaces().get(interface as usize);
        let interface = described
            .ok_or_else(|| format!("a packet of interface {interface}, which is not described"))?;
        ethernet_only(interface.linktype)?;
        return Ok(Some(Captured {
            at: ticks.map(|ticks| time_of(ticks, interface)),
            bytes,
        }));
    }
}

fn without_padding(data: &[u8], original: u32) -> Vec<u8> {
    data[..data.len().min(original as usize)].to_vec()
}

/// Ticks in an interface's resolution (draft-ietf-opsawg-pcapng, if_tsresol): a negative power of
/// ten, or of two where the highest bit is set; microseconds if it does not say.
fn time_of(ticks: u128, interface: &InterfaceDescriptionBlock<'_>) -> Duration {
    let resolution = interface.options.iter().find_map(|option| {
        if let InterfaceDescriptionOption::IfTsResol(resolution) = option {
            Some(*resolution)
        } else {
            None
        }
    });
    let resolution = resolution.unwrap_or(MICROSECONDS);
    let exponent = u32::from(resolution & 0x7f);
    let base: u128 = if resolution & 0x80 == 0 { 10 } else { 2 };
    // A unit too small for the arithmetic is one in which 64 bits of ticks are no time at all.
    let nanos = base.checked_pow(exponent).map_or(0, |per_second| {
        ticks.saturating_mul(1_000_000_000) / per_second
    });
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn ethernet_only(link: DataLink) -> Result<(), String> {
    if link == DataLink::ETHERNET {
        return Ok(());
    }
    let (got, wanted) = (u32::from(link), u32::from(DataLink::ETHERNET));
    Err(format!(
        "it holds packets of link type {got}, not of Ethernet ({wanted})"
    ))
}

fn described(error: PcapError) -> String {
    let PcapError::IoError(error) = error else {
        return error.to_string();
    };
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return "it ends within a packet".to_owned();
    }
    error.to_string()
}

const PCAPNG_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const MICROSECONDS: u8 = 6;
