//! The datapath: whether the kernel carries frames as well, and the programs at ports' interfaces.

use super::open::OpenPort;
use super::refuse::{KernelError, unavailable};
use super::writer::Writer;
use api::{ApiError, Datapath, DatapathKind, DatapathStatus};
use lease::Leases;
use offload::{Interfaces, Offload, OffloadError, Room};
use pipeline::{Instant, NetworkId, PortId};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The daemon's setting, and the programs in the kernel once somebody has needed them.
#[derive(Debug)]
pub(super) struct Kernel {
    setting: Datapath,
    opened: OnceLock<Result<Programs, String>>,
}

/// The programs in the kernel, and the book of what they repeat.
#[derive(Debug)]
struct Programs {
    offload: Offload,
    leases: Arc<Leases>,
}

impl Programs {
    fn open() -> Result<Self, OffloadError> {
        let offload = Offload::open(Room::default())?;
        offload.extend(LEASE);
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

/// How long containers keep talking by what was decided, when the daemon is gone.
const LEASE: Duration = Duration::from_secs(30);

impl Kernel {
    /// Tries the programs, unless nobody may want them.
    pub(super) fn start(setting: Datapath) -> Self {
        let kernel = Self {
            setting,
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
            opened: OnceLock::from(Err(why.to_owned())),
        }
    }

    /// The programs in the kernel, or why there are none.
    pub(super) fn get(&self) -> Result<&Offload, &str> {
        self.programs().map(|programs| &programs.offload)
    }

    fn programs(&self) -> Result<&Programs, &str> {
        let open = || Programs::open().map_err(|error| error.to_string());
        let opened = self.opened.get_or_init(open);
        opened.as_ref().map_err(String::as_str)
    }

    /// Lets what was decided hold on, while there is a daemon to take it back.
    pub(super) fn extend(&self) {
        if let Some(Ok(programs)) = self.opened.get() {
            programs.offload.extend(LEASE);
        }
    }

    /// Whether one more port can have programs, or why not, when so many have them.
    fn has_room(&self, ports: usize) -> Result<(), &str> {
        match usize::try_from(self.get()?.room().ports) {
            Ok(room) if ports >= room => Err("as many ports have it as there is room for"),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Returns how it is, for people.
    pub(super) fn status(&self) -> DatapathStatus {
        let why = match self.opened.get() {
            Some(Err(why)) => Some(why.clone()),
            Some(Ok(_)) | None => None,
        };
        let in_force = self.setting.resolved(|| self.get().map(drop));
        DatapathStatus {
            setting: self.setting,
            in_force: in_force.unwrap_or(DatapathKind::Kernel),
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
        let programmed = self.open.values().filter(|open| open.programs().is_some());
        let can = || self.kernel.has_room(programmed.count());
        let resolved = asked.or(said).or(self.kernel.setting).resolved(can);
        resolved.map_err(|why| unavailable("the datapath `kernel` does not work here", &why))
    }

    /// Puts the programs where a port is, if it is to have any.
    pub(super) fn put_programs(&self, at: Option<Interfaces>) -> Result<(), KernelError> {
        let Some(at) = at else { return Ok(()) };
        let programs = self.kernel.programs();
        let programs = programs.map_err(|why| KernelError::NoKernel(why.to_owned()))?;
        programs.keep_time(self.dataplane.now());
        self.dataplane.lend_by(Arc::clone(&programs.leases));
        Ok(programs.offload.attach(at)?)
    }

    /// Takes a port's programs away.
    pub(super) fn take_programs(&self, id: PortId) {
        let at = self.open.get(&id).and_then(OpenPort::programs);
        let (Some(at), Ok(offload)) = (at, self.kernel.get()) else {
            return;
        };
        if let Err(error) = offload.detach(at) {
            tracing::warn!(port = %id, %error, "its programs were left behind");
        }
    }

    /// Puts back programs that somebody has taken away.
    pub(super) fn put_back(&self, id: PortId) -> Result<(), KernelError> {
        self.put_programs(self.open.get(&id).and_then(OpenPort::programs))?;
        tracing::warn!(port = %id, "somebody had taken its programs away; they are back");
        Ok(())
    }
}
