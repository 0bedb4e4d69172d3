//! Writing a capture.
//!
//! Each packet is encoded in memory and given to the file in one write(2), so whoever reads the
//! file while it grows sees whole packets. Where the disk is full the file is cut back to its
//! last whole packet: the capture stays readable, the packet is dropped as `tx_full`, and the
//! next one is tried anew.

use crate::{Offloads, PortError, Tx};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, PcapError};
use pipeline::{Destination, DropReason, Frame};
use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where to write a capture, and how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// The file, which is made anew.
    pub path: PathBuf,
    /// Bytes after which further packets are dropped as `tx_full`.
    pub max_bytes: u64,
}

impl Recording {
    /// A gibibyte: room for a look at something, not for a forgotten recording to fill the disk.
    pub const DEFAULT_MAX_BYTES: u64 = 1 << 30;

    /// A recording of at most [`Recording::DEFAULT_MAX_BYTES`].
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self {
            path,
            max_bytes: Self::DEFAULT_MAX_BYTES,
        }
    }
}

#[derive(Debug)]
pub(super) struct Recorder {
    file: Mutex<Output>,
}

struct Output {
    file: File,
    /// Bytes of whole packets in the file.
    written: u64,
    max_bytes: u64,
    /// Encodes one packet at a time into memory that is used again.
    encoder: PcapNgWriter<Vec<u8>>,
}

impl Recorder {
    pub(super) fn create(recording: &Recording) -> Result<Self, PortError> {
        let created = File::create(&recording.path).map_err(|error| error.to_string());
        let output = created.and_then(|file| Output::new(file, recording.max_bytes));
        let output = output.map_err(|error| PortError::Capture {
            operation: "write",
            path: recording.path.clone(),
            error,
        })?;
        Ok(Self {
            file: Mutex::new(output),
        })
    }

    #[cfg(test)]
    pub(super) fn onto(file: File) -> Self {
        let mut output = Output::new(tempfile::tempfile().unwrap(), u64::MAX).unwrap();
        output.file = file;
        Self {
            file: Mutex::new(output),
        }
    }
}

impl Tx for Recorder {
    fn offloads(&self) -> Offloads {
        Offloads::NONE
    }

    fn transmit(&self, frame: &mut Frame<'_>, _: Destination) -> Result<(), DropReason> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        // A thread that panicked while holding the lock left at worst one packet unwritten.
        let mut output = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        output.write(frame.bytes(), now)
    }
}

impl Output {
    fn new(file: File, max_bytes: u64) -> Result<Self, String> {
        let mut encoder = PcapNgWriter::new(Vec::new()).map_err(|error| error.to_string())?;
        let nanoseconds = InterfaceDescriptionOption::IfTsResol(9);
        let interface = InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: SNAP_LENGTH,
            options: vec![nanoseconds],
        };
        encoder
            .write_pcapng_block(interface)
            .map_err(|error| error.to_string())?;
        let mut output = Self {
            file,
            written: 0,
            max_bytes,
            encoder,
        };
        output.flush().map_err(|error| error.to_string())?;
        Ok(output)
    }

    fn write(&mut self, bytes: &[u8], at: Duration) -> Result<(), DropReason> {
        let packet = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: at,
            original_len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            data: Cow::Borrowed(bytes),
            options: Vec::new(),
        };
        let encoded = self.encoder.write_pcapng_block(packet);
        match encoded.and_then(|_| self.flush().map_err(PcapError::IoError)) {
            Ok(()) => Ok(()),
            Err(PcapError::IoError(error)) if is_full(&error) => Err(DropReason::TxFull),
            Err(_) => Err(DropReason::TxRefused),
        }
    }

    /// Gives what was encoded to the file: all of it or nothing.
    fn flush(&mut self) -> io::Result<()> {
        let encoded = self.encoder.get_mut();
        let length = encoded.len() as u64;
        let answer = if self.written + length > self.max_bytes {
            Err(io::ErrorKind::FileTooLarge.into())
        } else {
            self.file.write_all(encoded)
        };
        encoded.clear();
        match &answer {
            Ok(()) => self.written += length,
            Err(_) => self.cut_back(),
        }
        answer
    }

    fn cut_back(&mut self) {
        use std::io::{Seek, SeekFrom};
        // Where even this fails, what follows cannot be written either.
        let _ = self.file.set_len(self.written);
        let _ = self.file.seek(SeekFrom::Start(self.written));
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("file", &self.file)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// What tcpdump writes; every frame is shorter.
const SNAP_LENGTH: u32 = 262_144;
