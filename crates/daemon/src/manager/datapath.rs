//! The datapath: whether the kernel carries frames as well, and the programs at ports' interfaces.

use super::refuse::{KernelError, unavailable};
use super::writer::Writer;
use crate::config::Config;
use api::{ApiError, Datapath, DatapathKind, DatapathStatus};
use control::Uplink;
use host::Netns;
use lease::Leases;
use offload::{Interfaces, Offload, OffloadError, Room};
use pipeline::{Instant, NetworkId, PortId};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The daemon's setting, and the programs in the kernel once somebody has needed them.
#[derive(Debug)]
pub(super) struct Kernel {
    setting: Datapath,
    /// How long containers keep talking by what was decided, when the daemon is gone.
    lease: Duration,
    opened: OnceLock<Result<Programs, String>>,
}

/// The programs in the kernel, and the book of what they repeat.
#[derive(Debug)]
struct Programs {
    offload: Offload,
    leases: Arc<Leases>,
}

impl Programs {
    fn open(lease: Duration) -> Result<Self, OffloadError> {
        let offload = Offload::open(Room::default())?;
        offload.extend(lease);
        let leases = Arc::new(Leases::new(offload.kernel(), offload.room()));
        Ok(Self { offload, leases })
    }
}

impl Programs {
    /// Tells the book the time that it is `now` for the dataplane. Both clocks run alike.
    fn keep_time(&self, now: Instant) {
        let kernel = u64::try_from(self.offload.now().as_nanos()).unwrap_or(u64::MAX);
        let ahead = i128::from(now.as_nanos()) - i128::from(kernel);
        self.leases.set_clock(i64::try_from(ahead).unwrap_or(0));
    }
}

impl Kernel {
    /// Tries the programs, unless nobody may want them.
    pub(super) fn start(config: &Config) -> Self {
        let setting = config.datapath;
        let kernel = Self {
            setting,
            lease: Duration::from_secs(config.lease_seconds.into()),
            opened: OnceLock::new(),
        };
        if setting != Datapath::Userspace {
            // The outcome is kept.
            let _ = kernel.get();
        }
        kernel
    }

    /// A kernel that can do nothing.
    #[cfg(test)]
    pub(super) fn without(setting: Datapath, why: &str) -> Self {
        Self {
            setting,
            lease: Duration::ZERO,
            opened: OnceLock::from(Err(why.to_owned())),
        }
    }

    /// The programs in the kernel, or why there are none.
    pub(super) fn get(&self) -> Result<&Offload, &str> {
        self.programs().map(|programs| &programs.offload)
    }

    fn programs(&self) -> Result<&Programs, &str> {
        let open = || Programs::open(self.lease).map_err(|error| error.to_string());
        let opened = self.opened.get_or_init(open);
        opened.as_ref().map_err(String::as_str)
    }

    /// Lets what was decided hold on, while there is a daemon to take it back.
    pub(super) fn extend(&self) {
        if let Some(Ok(programs)) = self.opened.get() {
            programs.offload.extend(self.lease);
        }
    }

    /// The time after which it is to be extended again, at the latest: most of it is left then.
    pub(super) fn extended_every(&self) -> Duration {
        self.lease / 30
    }

    /// Whether one more port can have programs, or why not, when so many have them.
    fn has_room(&self, ports: usize) -> Result<(), &str> {
        match usize::try_from(self.get()?.room().ports) {
            Ok(room) if ports >= room => Err("as many ports have it as there is room for"),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The datapath of whatever has no setting of its own, or why it does not work.
    fn resolved(&self) -> Result<DatapathKind, &str> {
        self.setting.resolved(|| self.get().map(drop))
    }

    /// Returns how it is, for people.
    pub(super) fn status(&self) -> DatapathStatus {
        let why = match self.opened.get() {
            Some(Err(why)) => Some(why.clone()),
            Some(Ok(_)) | None => None,
        };
        DatapathStatus {
            setting: self.setting,
            in_force: self.resolved().unwrap_or(DatapathKind::Kernel),
            why,
        }
    }

    /// Returns what a person should know of it, if anything.
    pub(super) fn warning(&self) -> Option<String> {
        let DatapathStatus { why, in_force, .. } = self.status();
        let what = match in_force {
            DatapathKind::Userspace => "frames are carried in userspace alone",
            DatapathKind::Kernel => "containers are refused",
        };
        Some(format!("{what}: the kernel cannot: {}", why?))
    }
}

impl Writer {
    /// The datapath of an endpoint of a network that gets its interface now.
    pub(super) fn datapath(
        &self,
        network: Option<NetworkId>,
        asked: Datapath,
    ) -> Result<DatapathKind, ApiError> {
        let network = network.and_then(|id| self.state.network(id));
        let said = network.map_or(Datapath::Auto, |network| network.routing.datapath);
        let programmed = self.open.values().filter(|open| open.programs.is_some());
        let can = || self.kernel.has_room(programmed.count());
        let resolved = asked.or(said).or(self.kernel.setting).resolved(can);
        resolved.map_err(|why| unavailable("the datapath `kernel` does not work here", &why))
    }

    /// Puts the programs where a port is, if it is to have any.
    pub(super) fn put_programs(&self, at: Option<Interfaces>) -> Result<(), KernelError> {
        let Some(at) = at else { return Ok(()) };
        let programs = self.kernel.programs();
        let programs = programs.map_err(|why| KernelError::NoKernel(why.to_owned()))?;
        self.lend_by(programs);
        programs.offload.attach(at)?;
        self.dataplane.tell_program(at.host);
        Ok(())
    }

    /// Where an uplink's program is to be: nowhere, unless the kernel is to carry frames and can.
    pub(super) fn place_of_program(
        &self,
        uplink: &Uplink,
    ) -> Result<Option<Interfaces>, host::Error> {
        let Ok(DatapathKind::Kernel) = self.kernel.resolved() else {
            return Ok(None);
        };
        let Ok(programs) = self.kernel.programs() else {
            return Ok(None);
        };
        self.lend_by(programs);
        let nic = Netns::with_own_links(|links| links.state(&uplink.dev))?;
        Ok(nic.map(|nic| Interfaces::nic(nic.index)))
    }

    /// Lets the workers lend what they decide. Before a port with programs is opened.
    fn lend_by(&self, programs: &Programs) {
        programs.keep_time(self.dataplane.now());
        let begun = || programs.offload.begun_fd();
        self.dataplane.lend_by(&programs.leases, begun);
    }

    /// Puts the program of an uplink that was opened at its NIC, if it is to have one; else takes away one that an
    /// earlier daemon left. Without it workers read all that is for containers.
    pub(super) fn program_uplink(&mut self, uplink: &Uplink, nic: u32) {
        let at = self.open.get(&uplink.place.port);
        let at = at.and_then(|open| open.programs);
        let done = match at {
            Some(at) => self.put_programs(Some(at)),
            None => {
                let removed = offload::remove_leftover(nic);
                removed.map(drop).map_err(KernelError::from)
            }
        };
        if let Err(error) = done {
            if let Some(open) = self.open.get_mut(&uplink.place.port) {
                open.programs = None;
            }
            self.warn(format!(
                "uplink {}: the kernel repeats nothing of what arrives there: {error}",
                uplink.name
            ));
        }
    }

    /// Takes a port's programs away.
    pub(super) fn take_programs(&mut self, id: PortId) {
        let open = self.open.get_mut(&id);
        let Some(at) = open.and_then(|open| open.programs.take()) else {
            return;
        };
        if let Ok(offload) = self.kernel.get()
            && let Err(error) = offload.detach(at)
        {
            tracing::warn!(port = %id, %error, "its programs were left behind");
        }
    }

    /// Puts back programs that somebody has taken away, unless the port was closed in this round.
    pub(super) fn put_back(&self, id: PortId) -> Result<(), KernelError> {
        let Some(at) = self.open.get(&id).and_then(|open| open.programs) else {
            return Ok(());
        };
        self.put_programs(Some(at))?;
        tracing::warn!(port = %id, "somebody had taken its programs away; they are back");
        Ok(())
    }
}
