//! A frame out of a capture file.

use crate::failure::Failure;
use capture::Capture;
use std::fmt::Display;
use std::path::Path;

/// Reads the `nth` frame of `file`, counted from 1.
pub(super) fn nth_frame(file: &Path, nth: u64) -> Result<Vec<u8>, Failure> {
    let wrong = |why: &dyn Display| Failure::File(format!("{}: {why}", file.display()));
    let mut capture = Capture::open(file).map_err(|error| wrong(&error))?;
    let mut count = 0;
    while let Some(packet) = capture.read().map_err(|error| wrong(&error))? {
        count += 1;
        if count == nth {
            return Ok(packet.bytes);
        }
    }
    let why = format!("holds {count} frames; there is none number {nth}");
    Err(wrong(&why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_file::pcap::{PcapPacket, PcapWriter};
    use std::fs::File;
    use std::time::Duration;

    #[test]
    fn frames_are_counted_from_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.pcap");
        let mut writer = PcapWriter::new(File::create(&file).unwrap()).unwrap();
        for data in [b"first", b"other"] {
            let packet = PcapPacket::new(Duration::ZERO, 5, data);
            writer.write_packet(&packet).unwrap();
        }
        assert_eq!(nth_frame(&file, 2).unwrap(), b"other");
        let error = nth_frame(&file, 3).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("{}: holds 2 frames; there is none number 3", file.display())
        );
    }

    #[test]
    fn a_file_that_is_no_capture_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        std::fs::write(&file, "").unwrap();
        let error = nth_frame(&file, 1).unwrap_err().to_string();
        let why = "it is too short to be a capture";
        assert_eq!(error, format!("{}: {why}", file.display()));
    }
}
