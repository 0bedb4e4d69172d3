//! Findings: interfaces of ours in the host's network, ports that died, and whether the kernel can
//! carry frames.
//!
//! A port is dead when its interface was removed from within, or could not be taken up after a
//! restart. It counts nothing and holds its name and its addresses. What a running daemon has in
//! the host's network is in use: it is shown, and goes with its uplink or with the daemon.

use super::snapshot::Snapshot;
use super::translate;
use super::writer::Writer;
use crate::leftovers;
use api::{ApiError, Cleaned, Datapath, DatapathStatus, Detach, Finding, PortState};
use control::Port;

impl Snapshot {
    /// Returns what is in use of the host's network, and what is not as it should be.
    pub(super) fn doctor(&self) -> Result<Vec<Finding>, ApiError> {
        let mut findings = leftovers::inspect()?;
        findings.extend(self.dead().map(|port| self.finding(port)));
        findings.extend(self.trial());
        Ok(findings)
    }

    /// Returns what the trial of the kernel's datapath found, unless nobody wanted one.
    fn trial(&self) -> Option<Finding> {
        let DatapathStatus { setting, why, .. } = &self.datapath;
        let what = match why {
            Some(why) => format!("the kernel cannot carry frames: {why}"),
            None if *setting == Datapath::Userspace => return None,
            None => "the kernel carries frames: it was tried and can".to_owned(),
        };
        Some(Finding {
            what,
            r#where: "datapath".to_owned(),
            undo: "clearway daemon --datapath userspace".to_owned(),
        })
    }

    fn dead(&self) -> impl Iterator<Item = &Port> + '_ {
        self.state
            .ports()
            .filter(|port| self.port_state(port).0 == PortState::Dead)
    }

    fn finding(&self, port: &Port) -> Finding {
        let why = self.port_state(port).1.unwrap_or_default();
        let undo = match self.state.endpoint_of(port) {
            Some(_) => format!("clearway detach {}", port.name),
            None => format!("clearway port rm {}", port.name),
        };
        Finding {
            what: format!("the port is dead: {why}"),
            r#where: format!("port {}", port.name),
            undo,
        }
    }
}

impl Writer {
    /// Takes away what is dead.
    pub(super) fn doctor_clean(&mut self) -> Vec<Cleaned> {
        let before = self.show();
        let clean = |port: &Port| {
            let finding = before.finding(port);
            let name = translate::name(&port.name);
            let done = match self.state.endpoint_of(port) {
                Some(_) => self.detach(&Detach::Endpoint(name)).map(drop),
                None => self.port_remove(&name),
            };
            Cleaned {
                finding,
                failed: done.err().map(|error| error.message),
            }
        };
        before.dead().map(clean).collect()
    }
}
