//! The memory that a program sees: its context, its stack, the packet, values, records.

use super::tables::Table;
use super::value::{Pointer, Region, Value};
use super::{Packet, Wrong};
use crate::{Field, Size, SkBuff, field};
use std::collections::BTreeMap;
use zerocopy::IntoBytes;

const STACK: usize = 512;

/// Bytes of which each is known to be written or not.
#[derive(Debug)]
pub(super) struct Room {
    bytes: Vec<Option<u8>>,
}

impl Room {
    fn new(bytes: usize) -> Self {
        Self {
            bytes: vec![None; bytes],
        }
    }
}

/// A record of a ring, or its place after it was given back.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) map: usize,
    room: Option<Room>,
}

/// All memory of one run but the maps.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) packet: Packet,
    /// How often a helper may have moved the packet.
    moves: u32,
    stack: Room,
    /// Pointers on the stack, by the place of their first byte.
    spilled: BTreeMap<usize, Pointer>,
    records: Vec<Record>,
    /// Sockets, and whether each is still held.
    sockets: Vec<bool>,
}

impl Memory {
    pub(super) fn new(packet: Packet) -> Self {
        let mut it = Self {
            packet,
            moves: 0,
            stack: Room::new(STACK),
            spilled: BTreeMap::new(),
            records: Vec::new(),
            sockets: Vec::new(),
        };
        it.follow_packet();
        it
    }

    /// Brings the context's length up to date.
    fn follow_packet(&mut self) {
        self.packet.context.len = u32::try_from(self.packet.bytes.len()).unwrap_or(u32::MAX);
    }

    pub(super) fn packet_moved(&mut self) {
        self.moves += 1;
        self.follow_packet();
    }

    pub(super) fn into_packet(self) -> Packet {
        self.packet
    }

    pub(super) fn check_given_back(&self) -> Result<(), Wrong> {
        let held = self.records.iter().any(|it| it.room.is_some()) || self.sockets.contains(&true);
        if held {
            return Err(Wrong::NotGivenBack);
        }
        Ok(())
    }

    pub(super) fn reserve(&mut self, map: usize, bytes: usize) -> Pointer {
        let room = Some(Room::new(bytes));
        self.records.push(Record { map, room });
        Pointer::to(Region::Record(self.records.len() - 1))
    }

    /// Takes a record back, with its ring and its bytes as far as they were written.
    pub(super) fn give_back(&mut self, record: Pointer) -> Option<(usize, Vec<Option<u8>>)> {
        let Pointer {
            region: Region::Record(index),
            offset: 0,
        } = record
        else {
            return None;
        };
        let record = self.records.get_mut(index)?;
        Some((record.map, record.room.take()?.bytes))
    }

    pub(super) fn hold_socket(&mut self) -> Pointer {
        self.sockets.push(true);
        Pointer::to(Region::Socket(self.sockets.len() - 1))
    }

    /// Releases a socket; says whether it was held.
    pub(super) fn release_socket(&mut self, socket: Pointer) -> bool {
        let Region::Socket(index) = socket.region else {
            return false;
        };
        std::mem::replace(&mut self.sockets[index], false)
    }

    pub(super) fn load(&self, tables: &[Table], from: Pointer, size: Size) -> Result<Value, Wrong> {
        if from.region == Region::Context {
            return self.load_context(from.offset, size);
        }
        if from.region == Region::Stack
            && let Some(pointer) = self.spilled_at(from.offset, size)
        {
            return Ok(Value::Pointer(pointer));
        }
        let bytes = self.read(tables, from, size.bytes())?;
        Ok(Value::Number(number(&bytes)))
    }

    pub(super) fn store(
        &mut self,
        tables: &mut [Table],
        to: Pointer,
        size: Size,
        value: Value,
    ) -> Result<(), Wrong> {
        let number = match (to.region, value) {
            (Region::Stack, Value::Pointer(pointer)) => {
                return self.spill(to.offset, size, pointer);
            }
            (_, Value::Pointer(_)) => return Err(Wrong::Leak),
            (_, value) => value.number()?,
        };
        let bytes = bytes_of(number, size);
        if to.region == Region::Context {
            return self.store_context(to.offset, &bytes);
        }
        self.write(tables, to, &bytes)
    }

    /// Reads bytes for a load or a helper.
    pub(super) fn read(
        &self,
        tables: &[Table],
        from: Pointer,
        bytes: usize,
    ) -> Result<Vec<u8>, Wrong> {
        match from.region {
            Region::Stack => {
                let at = bounds("the stack", from.offset, bytes, STACK, STACK)?;
                if self.spills(at, bytes).next().is_some() {
                    return Err(Wrong::PartOfPointer);
                }
                written(&self.stack.bytes[at..at + bytes], from.offset)
            }
            Region::Packet { moves } => {
                let linear = self.linear(moves)?;
                let at = bounds("the packet", from.offset, bytes, 0, linear)?;
                Ok(self.packet.bytes[at..at + bytes].to_vec())
            }
            Region::Value { map, place } => {
                let value = tables[map].value(place);
                let at = bounds("a map's value", from.offset, bytes, 0, value.len())?;
                Ok(value[at..at + bytes].to_vec())
            }
            Region::Record(index) => {
                let room = self.records[index].room.as_ref();
                let room = &room.ok_or(Wrong::NotGivenBack)?.bytes;
                let at = bounds("a record", from.offset, bytes, 0, room.len())?;
                written(&room[at..at + bytes], from.offset)
            }
            Region::Context | Region::PacketEnd { .. } | Region::Map(_) | Region::Socket(_) => {
                Err(opaque(from, bytes))
            }
        }
    }

    /// Writes bytes for a store or a helper.
    pub(super) fn write(
        &mut self,
        tables: &mut [Table],
        to: Pointer,
        bytes: &[u8],
    ) -> Result<(), Wrong> {
        let count = bytes.len();
        match to.region {
            Region::Stack => {
                let at = bounds("the stack", to.offset, count, STACK, STACK)?;
                self.forget_spills(at, count);
                fill(&mut self.stack.bytes[at..at + count], bytes);
            }
            Region::Packet { moves } => {
                let linear = self.linear(moves)?;
                let at = bounds("the packet", to.offset, count, 0, linear)?;
                self.packet.bytes[at..at + count].copy_from_slice(bytes);
            }
            Region::Value { map, place } => {
                let value = tables[map].value_mut(place);
                let at = bounds("a map's value", to.offset, count, 0, value.len())?;
                value[at..at + count].copy_from_slice(bytes);
            }
            Region::Record(index) => {
                let room = self.records[index].room.as_mut();
                let room = &mut room.ok_or(Wrong::NotGivenBack)?.bytes;
                let at = bounds("a record", to.offset, count, 0, room.len())?;
                fill(&mut room[at..at + count], bytes);
            }
            Region::Context | Region::PacketEnd { .. } | Region::Map(_) | Region::Socket(_) => {
                return Err(opaque(to, count));
            }
        }
        Ok(())
    }

    /// How many bytes a pointer from after so many moves may reach.
    fn linear(&self, moves: u32) -> Result<usize, Wrong> {
        if moves != self.moves {
            return Err(Wrong::MovedPacket);
        }
        Ok(self.packet.linear)
    }

    fn load_context(&self, offset: i64, size: Size) -> Result<Value, Wrong> {
        let refused = Wrong::Context {
            offset,
            bytes: size.bytes(),
        };
        let field = ContextField::at(offset, size).ok_or(refused)?;
        let moves = self.moves;
        match field {
            ContextField::Data => Ok(Value::Pointer(Pointer::to(Region::Packet { moves }))),
            ContextField::DataEnd => {
                let end = Pointer::to(Region::PacketEnd { moves });
                Ok(Value::Pointer(
                    end.plus(self.packet.linear.cast_signed() as i64),
                ))
            }
            ContextField::Number(at) | ContextField::Writable(at) => {
                let bytes = &self.packet.context.as_bytes()[at..at + size.bytes()];
                Ok(Value::Number(number(bytes)))
            }
        }
    }

    fn store_context(&mut self, offset: i64, bytes: &[u8]) -> Result<(), Wrong> {
        let field = Size::of(bytes.len()).and_then(|size| ContextField::at(offset, size));
        let Some(ContextField::Writable(at)) = field else {
            let bytes = bytes.len();
            return Err(Wrong::Context { offset, bytes });
        };
        self.packet.context.as_mut_bytes()[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    /// The pointer of which these are all bytes.
    fn spilled_at(&self, offset: i64, size: Size) -> Option<Pointer> {
        let at = bounds("the stack", offset, size.bytes(), STACK, STACK).ok()?;
        let pointer = self.spilled.get(&at).filter(|_| size == Size::U64);
        pointer.copied()
    }

    fn spill(&mut self, offset: i64, size: Size, pointer: Pointer) -> Result<(), Wrong> {
        let at = bounds("the stack", offset, size.bytes(), STACK, STACK)?;
        if size != Size::U64 || !at.is_multiple_of(8) {
            return Err(Wrong::PartOfPointer);
        }
        self.forget_spills(at, 8);
        self.spilled.insert(at, pointer);
        Ok(())
    }

    /// Pointers of which one of these bytes is a part.
    fn spills(&self, at: usize, bytes: usize) -> impl Iterator<Item = usize> {
        let first = at.saturating_sub(7);
        self.spilled.range(first..at + bytes).map(|(at, _)| *at)
    }

    /// Forgets a pointer of which a part is written.
    fn forget_spills(&mut self, at: usize, bytes: usize) {
        let gone: Vec<usize> = self.spills(at, bytes).collect();
        for at in gone {
            self.spilled.remove(&at);
            self.stack.bytes[at..at + 8].fill(None);
        }
    }
}

/// The value that a program of traffic control finds at a place of its context.
enum ContextField {
    Data,
    DataEnd,
    Number(usize),
    Writable(usize),
}

impl ContextField {
    fn at(offset: i64, size: Size) -> Option<Self> {
        let at = usize::try_from(offset).ok()?;
        let end = at + size.bytes();
        if !at.is_multiple_of(size.bytes()) || end > size_of::<SkBuff>() {
            return None;
        }
        let within = |field: Field<SkBuff>| at >= field.offset && end <= field.offset + field.bytes;
        let whole = |field: Field<SkBuff>| within(field) && size.bytes() == field.bytes;
        if whole(field!(SkBuff.data)) {
            return Some(Self::Data);
        }
        if whole(field!(SkBuff.data_end)) {
            return Some(Self::DataEnd);
        }
        // The socket's fields, the pointers, the padding.
        let hidden = at >= field!(SkBuff.family).offset && end <= field!(SkBuff.tstamp).offset;
        let refused = hidden
            || [
                field!(SkBuff.data),
                field!(SkBuff.data_end),
                field!(SkBuff.sk),
                field!(SkBuff.unused),
            ]
            .into_iter()
            .any(within);
        // Only some fields have more than 4 bytes.
        let wide = [
            field!(SkBuff.tstamp),
            field!(SkBuff.hwtstamp),
            field!(SkBuff.cb),
        ];
        if refused || (size == Size::U64 && !wide.into_iter().any(within)) {
            return None;
        }
        let writable = [
            field!(SkBuff.mark),
            field!(SkBuff.queue_mapping),
            field!(SkBuff.priority),
            field!(SkBuff.tc_index),
            field!(SkBuff.tc_classid),
            field!(SkBuff.tstamp),
        ];
        let is_writable = within(field!(SkBuff.cb)) || writable.into_iter().any(whole);
        Some(if is_writable {
            Self::Writable(at)
        } else {
            Self::Number(at)
        })
    }
}

/// Where in a region of `size` bytes, of which `before` lie before the pointer's start, so many bytes are.
fn bounds(
    region: &'static str,
    offset: i64,
    bytes: usize,
    before: usize,
    size: usize,
) -> Result<usize, Wrong> {
    let start = offset.checked_add(before.cast_signed() as i64);
    let start = start.and_then(|it| usize::try_from(it).ok());
    start
        .filter(|start| start.checked_add(bytes).is_some_and(|end| end <= size))
        .ok_or(Wrong::Bounds {
            region,
            offset,
            bytes,
            size,
        })
}

fn opaque(pointer: Pointer, bytes: usize) -> Wrong {
    let Pointer { region, offset } = pointer;
    if region == Region::Context {
        return Wrong::Context { offset, bytes };
    }
    Wrong::Bounds {
        region: "what has no bytes to be read",
        offset,
        bytes,
        size: 0,
    }
}

fn written(room: &[Option<u8>], offset: i64) -> Result<Vec<u8>, Wrong> {
    let bytes = room.len();
    let all: Option<Vec<u8>> = room.iter().copied().collect();
    all.ok_or(Wrong::UnwrittenMemory { offset, bytes })
}

fn fill(room: &mut [Option<u8>], bytes: &[u8]) {
    for (to, from) in room.iter_mut().zip(bytes) {
        *to = Some(*from);
    }
}

/// The number that so many bytes are, in the machine's order.
fn number(bytes: &[u8]) -> u64 {
    let mut all = [0; 8];
    if cfg!(target_endian = "little") {
        all[..bytes.len()].copy_from_slice(bytes);
    } else {
        all[8 - bytes.len()..].copy_from_slice(bytes);
    }
    u64::from_ne_bytes(all)
}

/// The low bytes of a number, in the machine's order.
fn bytes_of(number: u64, size: Size) -> Vec<u8> {
    let mut bytes = number.to_le_bytes()[..size.bytes()].to_vec();
    if cfg!(target_endian = "big") {
        bytes.reverse();
    }
    bytes
}
