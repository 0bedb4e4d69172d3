//! Capture files, on a disk that fills up and in the eyes of another program.

use super::{next, transmit};
use pipeline::{DropReason, MAX_FRAME};
use port::pcap::{Recording, Speed, record, replay};
use std::path::Path;
use std::process::Command;
use testbed::Namespace;
use wire::VnetHeader;

#[test]
fn tcpdump_reads_the_longest_frame() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.pcap");
    let port = record(&Recording::new(file.clone())).unwrap();
    let mut frame = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1], &[0x88, 0xb5]].concat();
    frame.resize(MAX_FRAME - 1, 3);
    transmit(&*port.tx, &frame, VnetHeader::default()).unwrap();
    let output = Command::new("tcpdump").arg("-enr").arg(&file).output();
    let output = output.expect("tcpdump is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("length 65557"),
        "{output:?}"
    );
}

#[test]
fn a_write_that_fails_half_way_leaves_whole_packets() {
    Namespace::with_mounts().unwrap().run(|| {
        let none: Option<&str> = None;
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(none, "/mnt", Some("tmpfs"), flags, Some("size=8192")).unwrap();
        let file = Path::new("/mnt/x.pcap");
        let port = record(&Recording::new(file.into())).unwrap();
        let send = |_| transmit(&*port.tx, &[1; 1500], VnetHeader::default());
        let sent: Vec<_> = (0..8).map(send).collect();
        let whole = sent.iter().filter(|sent| sent.is_ok()).count();
        assert_eq!((whole, sent[7]), (5, Err(DropReason::TxFull)), "{sent:?}");
        let mut port = replay(file, Speed::Full).unwrap();
        let read = std::iter::from_fn(|| next(&mut *port.queues[0], |_| true).ok());
        assert_eq!(read.count(), whole);
    });
}
