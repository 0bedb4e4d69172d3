//! A finished program.

use crate::{AtomicOp, Instruction, KernelVersion, MapId, MapKind, MapSpec, Width};

/// One instruction of a program, with what a reader wants to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number, as the kernel counts: a wide load counts twice.
    pub slot: usize,
    /// The labels that are here.
    pub labels: Vec<&'static str>,
    /// The instruction.
    pub instruction: Instruction,
    /// The label that it jumps to.
    pub target: Option<&'static str>,
    /// Its meaning; empty where it says enough itself.
    pub note: String,
}

/// A program that is complete: every label has its place and every map its description. Its
/// `Display` is the listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub(crate) name: &'static str,
    pub(crate) lines: Vec<Line>,
    pub(crate) maps: Vec<MapSpec>,
}

impl Program {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its instructions.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The maps it uses; a [`MapId`] is a place in this list.
    #[must_use]
    pub fn maps(&self) -> &[MapSpec] {
        &self.maps
    }

    /// The bytes that the kernel takes; `descriptor` says what stands for each map.
    #[must_use]
    pub fn encode(&self, descriptor: impl Fn(MapId) -> i32) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in &self.lines {
            line.instruction.encode(&descriptor, &mut bytes);
        }
        bytes
    }

    /// The first kernel that has everything the program uses.
    #[must_use]
    pub fn since(&self) -> KernelVersion {
        let by_lines = self.lines.iter().map(|line| since(line.instruction));
        let by_maps = self.maps.iter().map(|map| match map.kind {
            MapKind::Hash | MapKind::Array => KernelVersion(3, 19),
            MapKind::HashOnDemand => KernelVersion(4, 6),
            MapKind::MappedArray => KernelVersion(5, 5),
            MapKind::Ring => KernelVersion(5, 8),
        });
        // Programs of traffic control.
        let least = KernelVersion(4, 1);
        by_lines.chain(by_maps).fold(least, KernelVersion::max)
    }
}

fn since(instruction: Instruction) -> KernelVersion {
    if let Instruction::Call(helper) = instruction {
        return helper.since();
    }
    let is_fetch = matches!(instruction, Instruction::Atomic { op, .. } if op != AtomicOp::Add);
    let is_loop = instruction.jump().is_some_and(|offset| offset < 0);
    let is_narrow = matches!(
        instruction,
        Instruction::JumpIf {
            width: Width::W32,
            ..
        }
    );
    let least = KernelVersion(3, 18);
    [
        (is_fetch, KernelVersion(5, 12)),
        (is_loop, KernelVersion(5, 3)),
        (
            matches!(instruction, Instruction::LoadMapValue { .. }),
            KernelVersion(5, 2),
        ),
        (is_narrow, KernelVersion(5, 1)),
    ]
    .into_iter()
    .find_map(|(uses, since)| uses.then_some(since))
    .unwrap_or(least)
}
