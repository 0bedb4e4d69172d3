//! Leases in the kernel: the programs at the ports' interfaces, and the maps that they share with us.
//!
//! ```text
//!   container's eth0 <-- veth --> host end, ingress: `lease`
//!                                   | a lease: to the receiver's eth0
//!                                   | none: to the port's TAP, where a worker reads it
//!   container's eth0 <-- veth --> host end <-- `deliver` at the TAP's ingress <-- a worker writes
//! ```
//! At an uplink's NIC hangs `lease` alone, before the uplink's own filters: what has no lease goes on to them.
//!
//! Both are filters of a `clsact` qdisc, so they stay when the daemon is killed: containers keep talking by
//! their leases until these end ([`Offload::extend`]), and the next daemon replaces the programs in place.

mod tables;

pub use lease::program::Room;
use lease::{Kernel, deliver, program};
use loader::clsact::{self, Slot};
use loader::{LoadError, Loaded, Maps, Side};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tables::Tables;

/// The interfaces of a port in the namespace where we are, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interfaces {
    /// The host's end of the container's veth, or the NIC.
    pub host: u32,
    /// The TAP beside a veth's end; the program at a NIC hands none what it leaves.
    pub tap: Option<u32>,
}

impl Interfaces {
    /// Those of an uplink's port.
    #[must_use]
    pub const fn nic(index: u32) -> Self {
        Self {
            host: index,
            tap: None,
        }
    }
}

/// Why the kernel cannot repeat decisions here.
#[derive(Debug, thiserror::Error)]
pub enum OffloadError {
    /// The kernel refused something.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The program does something else here than where it was written.
    #[error("the program answered {answer} to a frame without a lease, expected a redirect (7)")]
    Trial {
        /// Its answer.
        answer: i32,
    },
}

/// The programs and maps of one daemon.
#[derive(Debug)]
pub struct Offload {
    lease: Loaded,
    deliver: Loaded,
    taps: Maps,
    tables: Arc<Tables>,
    room: Room,
}

/// Our filters' priority beside a container: before those of others, who find the frames that we have left.
const AT_CONTAINER: u16 = 1;
/// Theirs at a NIC: behind those that others put before, and just before the uplink's own.
const AT_NIC: u16 = 6;
const HANDLE: u32 = 0xc1ea;

const fn slot(interface: u32, priority: u16) -> Slot {
    Slot {
        interface,
        side: Side::Ingress,
        priority,
        handle: HANDLE,
    }
}

impl Offload {
    /// Loads the programs and tries them on a frame of our own.
    ///
    /// # Errors
    /// Why the kernel cannot repeat decisions here.
    pub fn open(room: Room) -> Result<Self, OffloadError> {
        match Self::try_open(room) {
            Err(error) if room.grants > 0 => {
                tracing::info!(%error, "the kernel's datapath is tried without grants");
                Self::try_open(Room { grants: 0, ..room })
            }
            opened => opened,
        }
    }

    fn try_open(room: Room) -> Result<Self, OffloadError> {
        let program = program::program(room);
        let maps = Maps::create(&program)?;
        let lease = Loaded::load(&program, &maps)?;
        let program = deliver::program(room.ports);
        let taps = Maps::create(&program)?;
        let deliver = Loaded::load(&program, &taps)?;
        let offload = Self {
            lease,
            deliver,
            taps,
            tables: Arc::new(Tables::new(maps, room.grants > 0)?),
            room,
        };
        offload.try_out()?;
        Ok(offload)
    }

    /// Lets a frame without a lease arrive at the loopback interface, which every namespace has.
    fn try_out(&self) -> Result<(), OffloadError> {
        const LOOPBACK: u32 = 1;
        let interfaces = Interfaces {
            host: LOOPBACK,
            tap: Some(LOOPBACK),
        };
        self.tables.put_port(interfaces)?;
        let context = bpf::SkBuff {
            ifindex: LOOPBACK,
            ..bpf::SkBuff::default()
        };
        let run = self.lease.test_run(&[2; 60], &context);
        self.tables.remove_port(LOOPBACK)?;
        match run?.verdict {
            bpf::verdict::REDIRECT => Ok(()),
            answer => Err(OffloadError::Trial { answer }),
        }
    }

    /// How much there is room for.
    #[must_use]
    pub const fn room(&self) -> Room {
        self.room
    }

    /// The maps, for the book of leases.
    #[must_use]
    pub fn kernel(&self) -> Arc<dyn Kernel> {
        Arc::clone(&self.tables) as Arc<dyn Kernel>
    }

    /// Hangs the programs at a port's interfaces, in the calling thread's namespace. Programs that an earlier
    /// daemon left there are replaced: no frame passes between. A NIC has its qdisc from its uplink.
    ///
    /// # Errors
    /// The kernel's refusal; what was done is undone then.
    pub fn attach(&self, at: Interfaces) -> Result<(), OffloadError> {
        let attached = self.try_attach(at);
        if attached.is_err()
            && let Err(error) = self.detach(at)
        {
            tracing::warn!(%error, "programs were left at an interface");
        }
        attached
    }

    fn try_attach(&self, at: Interfaces) -> Result<(), OffloadError> {
        if let Some(tap) = at.tap {
            self.taps[deliver::map::TAPS].insert(&tap, &at.host)?;
        }
        self.tables.put_port(at)?;
        for (program, slot) in self.programs(at) {
            if slot.priority == AT_CONTAINER {
                clsact::add_qdisc(slot.interface)?;
            }
            clsact::put(program, slot)?;
        }
        Ok(())
    }

    /// The programs of a port, each with its place. What delivers is there before anything is sent to it.
    fn programs(&self, at: Interfaces) -> impl Iterator<Item = (&Loaded, Slot)> {
        let priority = at.tap.map_or(AT_NIC, |_| AT_CONTAINER);
        let deliver = at.tap.map(|tap| (&self.deliver, slot(tap, priority)));
        deliver
            .into_iter()
            .chain([(&self.lease, slot(at.host, priority))])
    }

    /// Returns whether the programs hang where [`Offload::attach`] put them: somebody may have removed one.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn is_attached(&self, at: Interfaces) -> Result<bool, OffloadError> {
        for (program, slot) in self.programs(at) {
            let id = program.id()?;
            let ours = |it: &clsact::Found| it.slot == slot && it.program == Some(id);
            if !found(slot.interface)?.iter().any(ours) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes the programs, and the qdiscs if nobody else uses them; a NIC's goes with its uplink.
    /// Interfaces that are gone took theirs along.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn detach(&self, at: Interfaces) -> Result<(), OffloadError> {
        for (_, slot) in self.programs(at) {
            match remove(slot) {
                Ok(()) | Err(LoadError::Gone { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.tables.remove_port(at.host)?;
        if let Some(tap) = at.tap {
            self.taps[deliver::map::TAPS].remove(&tap)?;
        }
        Ok(())
    }

    /// The time on the program's clock.
    #[must_use]
    pub fn now(&self) -> Duration {
        tables::now()
    }

    /// Returns a descriptor that is readable when there are begun flows that [`Kernel::begun`] has not told of, and
    /// there were none before; `None` where the kernel begins none.
    #[must_use]
    pub fn begun_fd(&self) -> Option<OwnedFd> {
        self.tables.begun_fd()
    }

    /// Lets all leases hold for so long from now on.
    pub fn extend(&self, by: Duration) {
        self.tables.extend(by);
    }
}

/// Removes a program, and the qdisc beside a container if nobody else uses it.
fn remove(slot: Slot) -> Result<(), LoadError> {
    clsact::remove(slot)?;
    if slot.priority == AT_CONTAINER {
        clsact::remove_empty_qdisc(slot.interface)?;
    }
    Ok(())
}

/// Removes a program that an earlier daemon left at an interface in the calling thread's namespace. Returns
/// whether there was one.
///
/// # Errors
/// The kernel's refusal.
pub fn remove_leftover(interface: u32) -> Result<bool, OffloadError> {
    let found = found(interface)?;
    for it in &found {
        remove(it.slot)?;
    }
    Ok(!found.is_empty())
}

/// Returns what one would type to remove the programs that any daemon has at an interface in the calling
/// thread's namespace, `ifname` there: one command each.
///
/// # Errors
/// The kernel's refusal.
pub fn removing_commands(interface: u32, ifname: &str) -> Result<Vec<String>, OffloadError> {
    let found = found(interface)?.into_iter().map(|it| it.slot.priority);
    let command = |priority| {
        format!(
            "tc filter delete dev {ifname} ingress protocol all pref {priority} handle {HANDLE:#x} bpf"
        )
    };
    Ok(found.map(command).collect())
}

/// The programs that any daemon has at an interface's ingress; an interface that is gone has none.
fn found(interface: u32) -> Result<Vec<clsact::Found>, LoadError> {
    let is_ours = |it: &clsact::Found| {
        it.slot.handle == HANDLE
            && [AT_CONTAINER, AT_NIC].contains(&it.slot.priority)
            && matches!(it.name.as_deref(), Some("lease" | "deliver"))
    };
    match clsact::list(interface, Side::Ingress) {
        Err(LoadError::Gone { .. }) => Ok(Vec::new()),
        filters => Ok(filters?.into_iter().filter(is_ours).collect()),
    }
}
