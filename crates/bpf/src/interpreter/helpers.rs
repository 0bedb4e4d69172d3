//! The kernel's helpers.

use super::arithmetic::low;
use super::tables::errno::{EAGAIN, EFAULT, EINVAL, ENOMEM};
use super::value::{Pointer, Region, Value};
use super::{Redirect, Run, Way, Wrong, checksum};
use crate::{Helper, MapKind, Register, verdict};
use Register::{R0, R1, R2, R3, R4, R5};

/// `BPF_F_INGRESS`.
const INGRESS: u64 = 1;
/// `BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH`.
const STORE_FLAGS: u64 = 3;
/// Of `l4_csum_replace`: the field's size, and what else it takes.
const FIELD_SIZE: u64 = 0x0f;
const PSEUDO_HEADER: u64 = 0x10;
const MARK_MANGLED_0: u64 = 0x20;
const MARK_ENFORCE: u64 = 0x40;
const IPV6: u64 = 0x80;
/// A packet is for this host, for all, for some, or for another host.
const TYPES: std::ops::RangeInclusive<u64> = 0..=3;
/// `struct bpf_sock_tuple`, for IPv4 and IPv6.
const TUPLES: [u64; 2] = [12, 36];

/// The answer of a helper: a number that may be an error, or an address.
type Answer = Result<Value, Wrong>;

fn code(code: i64) -> Answer {
    Ok(Value::Number(code.cast_unsigned()))
}

fn done(result: Result<(), i64>) -> Answer {
    code(result.err().unwrap_or(0))
}

fn address(found: Option<Pointer>) -> Answer {
    Ok(found.map_or(Value::Number(0), Value::Pointer))
}

impl Run<'_, '_> {
    pub(super) fn call(&mut self, helper: Helper) -> Result<(), Wrong> {
        for register in Register::ALL
            .into_iter()
            .skip(1)
            .take(helper.arguments().into())
        {
            self.get(register)?;
        }
        let answer = self.helper(helper)?;
        [R1, R2, R3, R4, R5]
            .into_iter()
            .for_each(|lost| self.set(lost, Value::Unwritten));
        self.set(R0, answer);
        if helper.moves_packet() {
            self.memory.packet_moved();
        }
        Ok(())
    }

    fn helper(&mut self, helper: Helper) -> Answer {
        match helper {
            Helper::MapLookup => self.map_lookup(helper),
            Helper::MapUpdate => self.map_update(helper),
            Helper::MapDelete => {
                let map = self.map_argument(helper, R1)?;
                let key = self.bytes(helper, R2, self.machine.tables[map].spec.key as usize)?;
                done(self.machine.tables[map].delete(&key))
            }
            Helper::KtimeGetNs | Helper::KtimeGetCoarseNs => {
                Ok(Value::Number(self.machine.nanoseconds))
            }
            Helper::GetPrandomU32 => Ok(Value::Number(self.random())),
            Helper::GetSmpProcessorId => Ok(Value::Number(self.machine.processor.into())),
            Helper::SkbStoreBytes => self.store_bytes(helper),
            Helper::SkbLoadBytes => self.load_bytes(helper),
            Helper::SkbPullData => self.pull_data(helper),
            Helper::L3CsumReplace => self.l3_csum_replace(helper),
            Helper::L4CsumReplace => self.l4_csum_replace(helper),
            Helper::SkbVlanPush => {
                self.context_argument(helper)?;
                let (protocol, tci) = (self.number(R2)?, self.number(R3)?);
                let protocol = u16::from_be(half(protocol));
                self.memory.packet.push_tag(protocol, half(tci));
                code(0)
            }
            Helper::SkbVlanPop => {
                self.context_argument(helper)?;
                self.memory.packet.pop_tag();
                code(0)
            }
            Helper::SkbChangeType => self.change_type(helper),
            Helper::Redirect | Helper::RedirectPeer => self.redirect(helper),
            Helper::SkLookupTcp | Helper::SkLookupUdp => self.socket(helper),
            Helper::SkRelease => {
                let socket = self.pointer(R1, 0)?;
                if !self.memory.release_socket(socket) {
                    return Err(argument(helper, R1));
                }
                code(0)
            }
            Helper::RingbufReserve => self.reserve(helper),
            Helper::RingbufOutput => self.output(helper),
            Helper::RingbufSubmit | Helper::RingbufDiscard => self.give_back(helper),
        }
    }

    fn map_argument(&self, helper: Helper, register: Register) -> Result<usize, Wrong> {
        if let Value::Pointer(Pointer {
            region: Region::Map(map),
            ..
        }) = self.get(register)?
            && (self.machine.tables[map].spec.kind == MapKind::Ring) == wants_ring(helper)
        {
            return Ok(map);
        }
        Err(argument(helper, register))
    }

    fn context_argument(&self, helper: Helper) -> Result<(), Wrong> {
        let context = Value::Pointer(Pointer::to(Region::Context));
        if self.get(R1)? != context {
            return Err(argument(helper, R1));
        }
        Ok(())
    }

    /// The bytes that an argument points to.
    fn bytes(&self, helper: Helper, at: Register, count: usize) -> Result<Vec<u8>, Wrong> {
        let Value::Pointer(from) = self.get(at)? else {
            return Err(argument(helper, at));
        };
        self.memory.read(&self.machine.tables, from, count)
    }

    fn map_lookup(&self, helper: Helper) -> Answer {
        let map = self.map_argument(helper, R1)?;
        let table = &self.machine.tables[map];
        let key = self.bytes(helper, R2, table.spec.key as usize)?;
        let place = table.find(&key);
        address(place.map(|place| Pointer::to(Region::Value { map, place })))
    }

    fn map_update(&mut self, helper: Helper) -> Answer {
        let map = self.map_argument(helper, R1)?;
        let spec = &self.machine.tables[map].spec;
        let key = self.bytes(helper, R2, spec.key as usize)?;
        let value = self.bytes(helper, R3, spec.value as usize)?;
        let flags = self.number(R4)?;
        done(self.machine.tables[map].update(&key, &value, flags))
    }

    /// Xorshift: any sequence will do, if it is the same each time.
    fn random(&mut self) -> u64 {
        let state = &mut self.machine.random;
        *state ^= *state << 13;
        *state ^= *state >> 17;
        *state ^= *state << 5;
        u64::from(*state)
    }

    /// An offset into the packet and so many bytes from there.
    fn span(&self, offset: Register, bytes: u64) -> Result<Option<(usize, usize)>, Wrong> {
        let start = u64::from(low(self.number(offset)?));
        let span = usize::try_from(start)
            .ok()
            .zip(usize::try_from(start + bytes).ok());
        Ok(span.filter(|(_, end)| *end <= self.memory.packet.bytes.len()))
    }

    fn store_bytes(&mut self, helper: Helper) -> Answer {
        self.context_argument(helper)?;
        let bytes = self.bytes(helper, R3, low(self.number(R4)?) as usize)?;
        if self.number(R5)? & !STORE_FLAGS != 0 {
            return code(EINVAL);
        }
        let Some((start, end)) = self.span(R2, bytes.len() as u64)? else {
            return code(EFAULT);
        };
        let packet = &mut self.memory.packet;
        packet.pull(end);
        packet.bytes[start..end].copy_from_slice(&bytes);
        code(0)
    }

    fn load_bytes(&mut self, helper: Helper) -> Answer {
        self.context_argument(helper)?;
        let count = low(self.number(R4)?);
        let span = self.span(R2, count.into())?;
        let bytes = match span {
            Some((start, end)) => self.memory.packet.bytes[start..end].to_vec(),
            None => vec![0; count as usize],
        };
        let to = self.pointer(R3, 0)?;
        self.memory.write(&mut self.machine.tables, to, &bytes)?;
        code(if span.is_some() { 0 } else { EFAULT })
    }

    fn pull_data(&mut self, helper: Helper) -> Answer {
        self.context_argument(helper)?;
        let count = low(self.number(R2)?) as usize;
        let pulled = self.memory.packet.pull(count);
        code(if pulled { 0 } else { ENOMEM })
    }

    /// A checksum in the packet, made readable.
    fn checksum(&mut self) -> Result<Option<(usize, u16)>, Wrong> {
        let Some((start, end)) = self.span(R2, 2)?.filter(|(start, _)| start % 2 == 0) else {
            return Ok(None);
        };
        let packet = &mut self.memory.packet;
        packet.pull(end);
        let sum = [packet.bytes[start], packet.bytes[start + 1]];
        Ok(Some((start, u16::from_ne_bytes(sum))))
    }

    fn put_checksum(&mut self, at: usize, sum: u16) {
        self.memory.packet.bytes[at..at + 2].copy_from_slice(&sum.to_ne_bytes());
    }

    fn l3_csum_replace(&mut self, helper: Helper) -> Answer {
        self.context_argument(helper)?;
        let (from, to, size) = (self.number(R3)?, self.number(R4)?, self.number(R5)?);
        if size & !FIELD_SIZE != 0 {
            return code(EINVAL);
        }
        let Some((at, sum)) = self.checksum()? else {
            return code(EFAULT);
        };
        let new = match size {
            0 if from == 0 => checksum::replace_by(sum, low(to)),
            2 => checksum::replace(sum, half(from).into(), half(to).into()),
            4 => checksum::replace(sum, low(from), low(to)),
            _ => return code(EINVAL),
        };
        self.put_checksum(at, new);
        code(0)
    }

    fn l4_csum_replace(&mut self, helper: Helper) -> Answer {
        self.context_argument(helper)?;
        let (from, to, flags) = (self.number(R3)?, self.number(R4)?, self.number(R5)?);
        let known = FIELD_SIZE | PSEUDO_HEADER | MARK_MANGLED_0 | MARK_ENFORCE | IPV6;
        if flags & !known != 0 {
            return code(EINVAL);
        }
        let Some((at, sum)) = self.checksum()? else {
            return code(EFAULT);
        };
        let zero_stays = flags & MARK_MANGLED_0 != 0;
        if zero_stays && flags & MARK_ENFORCE == 0 && sum == 0 {
            return code(0);
        }
        let unfinished = self.memory.packet.unfinished;
        let size = flags & FIELD_SIZE;
        if !matches!((size, from), (2 | 4, _) | (0, 0)) {
            return code(EINVAL);
        }
        let operand = |it| if size == 2 { half(it).into() } else { low(it) };
        let (from, to) = (operand(from), operand(to));
        let new = match (unfinished, size) {
            (true, _) if flags & PSEUDO_HEADER == 0 => sum,
            (true, 0) => checksum::replace_unfinished_by(sum, to),
            (true, _) => checksum::replace_unfinished(sum, from, to),
            (false, 0) => checksum::replace_by(sum, to),
            (false, _) => checksum::replace(sum, from, to),
        };
        let mangled = zero_stays && new == 0;
        self.put_checksum(at, if mangled { 0xffff } else { new });
        code(0)
    }

    fn change_type(&mut self, helper: Helper) -> Answer {
        self.context_argument(helper)?;
        let new = low(self.number(R2)?);
        let old = &mut self.memory.packet.context.pkt_type;
        if !TYPES.contains(&u64::from(*old)) || !TYPES.contains(&u64::from(new)) {
            return code(EINVAL);
        }
        *old = new;
        code(0)
    }

    fn redirect(&mut self, helper: Helper) -> Answer {
        let (ifindex, flags) = (low(self.number(R1)?), self.number(R2)?);
        let way = match (helper, flags) {
            (Helper::RedirectPeer, 0) => Way::Peer,
            (Helper::Redirect, 0) => Way::Egress,
            (Helper::Redirect, INGRESS) => Way::Ingress,
            _ => return code(verdict::SHOT.into()),
        };
        self.redirect = Some(Redirect { ifindex, way });
        code(verdict::REDIRECT.into())
    }

    fn socket(&mut self, helper: Helper) -> Answer {
        self.context_argument(helper)?;
        let size = u64::from(low(self.number(R3)?));
        let tuple = self.bytes(helper, R2, usize::try_from(size).unwrap_or(usize::MAX))?;
        let asked = (helper.number(), tuple);
        let found = TUPLES.contains(&size)
            && self.number(R5)? == 0
            && self.machine.sockets.contains(&asked);
        address(found.then(|| self.memory.hold_socket()))
    }

    fn reserve(&mut self, helper: Helper) -> Answer {
        let map = self.map_argument(helper, R1)?;
        let bytes = usize::try_from(self.number(R2)?).map_err(|_| argument(helper, R2))?;
        let room = self.number(R3)? == 0 && self.machine.tables[map].reserve(bytes);
        address(room.then(|| self.memory.reserve(map, bytes)))
    }

    fn output(&mut self, helper: Helper) -> Answer {
        let map = self.map_argument(helper, R1)?;
        let bytes = usize::try_from(self.number(R3)?).map_err(|_| argument(helper, R3))?;
        let record = self.bytes(helper, R2, bytes)?;
        let table = &mut self.machine.tables[map];
        if !table.reserve(bytes) {
            return code(EAGAIN);
        }
        table.submit(record);
        code(0)
    }

    fn give_back(&mut self, helper: Helper) -> Answer {
        let record = self.pointer(R1, 0)?;
        let Some((map, room)) = self.memory.give_back(record) else {
            return Err(argument(helper, R1));
        };
        if helper == Helper::RingbufSubmit {
            let bytes = room.len();
            let record: Option<Vec<u8>> = room.into_iter().collect();
            // The kernel would hand out what lay there before.
            let record = record.ok_or(Wrong::UnwrittenMemory { offset: 0, bytes })?;
            self.machine.tables[map].submit(record);
        }
        code(0)
    }
}

const fn argument(helper: Helper, register: Register) -> Wrong {
    Wrong::Argument { helper, register }
}

const fn wants_ring(helper: Helper) -> bool {
    matches!(helper, Helper::RingbufReserve | Helper::RingbufOutput)
}

/// The low 16 bits.
#[expect(clippy::cast_possible_truncation, reason = "that is its purpose")]
const fn half(number: u64) -> u16 {
    number as u16
}
