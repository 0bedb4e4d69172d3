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

use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, PcapError, TsResolution};
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek};
use std::path::Path;
use std::time::Duration;

/// One packet of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// Time since the epoch; `None` where the format has none.
    pub at: Option<Duration>,
    /// The bytes that were captured of it.
    pub bytes: Vec<u8>,
}

/// An open capture file.
pub enum Capture<R: Read> {
    /// In the older format.
    Pcap(PcapReader<R>),
    /// In the newer one.
    PcapNg(PcapNgReader<R>),
}

/// Why a capture cannot be read, or not any further.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// There is not even the first word.
    #[error("it is too short to be a capture")]
    TooShort,
    /// The first word is no capture's.
    #[error("it is neither pcap nor pcapng")]
    NotACapture,
    /// The packets are of another kind.
    #[error("it holds packets of link type {0}, not of Ethernet (1)")]
    NotEthernet(u32),
    /// A packet names an interface that the file says nothing about.
    #[error("a packet of interface {0}, which is not described")]
    UnknownInterface(u32),
    /// The file was cut off.
    #[error("it ends within a packet")]
    CutOff,
    /// The decoder refused.
    #[error("{0}")]
    Malformed(PcapError),
}

impl Capture<File> {
    /// Opens a file of either format.
    ///
    /// # Errors
    /// [`CaptureError`]: it cannot be read, or does not begin as a capture of Ethernet does.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        let mut file = File::open(path)?;
        let mut magic = [0; 4];
        file.read_exact(&mut magic)
            .map_err(|_| CaptureError::TooShort)?;
        file.rewind()?;
        Self::decode(file, magic)
    }
}

impl<R: Read> Capture<R> {
    /// Decodes what begins with `magic`.
    fn decode(from: R, magic: [u8; 4]) -> Result<Self, CaptureError> {
        if magic == PCAPNG_MAGIC {
            return Ok(Self::PcapNg(PcapNgReader::new(from).map_err(described)?));
        }
        let reader = PcapReader::new(from).map_err(|_| CaptureError::NotACapture)?;
        ethernet_only(reader.header().datalink)?;
        Ok(Self::Pcap(reader))
    }

    /// Reads the next packet; `None` at the end.
    ///
    /// # Errors
    /// [`CaptureError`]: there is nothing sound beyond.
    pub fn read(&mut self) -> Result<Option<Captured>, CaptureError> {
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

fn next_of_pcap<R: Read>(reader: &mut PcapReader<R>) -> Result<Option<Captured>, CaptureError> {
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

fn next_of_pcapng<R: Read>(reader: &mut PcapNgReader<R>) -> Result<Option<Captured>, CaptureError> {
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
        let interface = described.ok_or(CaptureError::UnknownInterface(interface))?;
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

fn ethernet_only(link: DataLink) -> Result<(), CaptureError> {
    if link == DataLink::ETHERNET {
        Ok(())
    } else {
        Err(CaptureError::NotEthernet(link.into()))
    }
}

fn described(error: PcapError) -> CaptureError {
    let PcapError::IoError(error) = error else {
        return CaptureError::Malformed(error);
    };
    if error.kind() == ErrorKind::UnexpectedEof {
        return CaptureError::CutOff;
    }
    CaptureError::Io(error)
}

const PCAPNG_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const MICROSECONDS: u8 = 6;

#[cfg(test)]
mod tests;
