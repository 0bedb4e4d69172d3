//! One container, by its number.

use super::Engine;
use crate::Namespace;
use anyhow::{Context, Result, ensure};
use std::net::IpAddr;
use std::path::Path;

/// A container of an [`Engine`]. It is the engine's: dropping this ends nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    id: String,
}

impl Container {
    pub(super) fn new(id: String) -> Self {
        Self { id }
    }

    /// Its 64 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns what a shell script prints inside.
    ///
    /// # Errors
    /// When it fails.
    pub fn sh(&self, engine: &Engine, script: &str) -> Result<String> {
        engine.docker_words(&["exec", &self.id, "sh", "-c", script])
    }

    /// A value of `docker inspect`, by Docker's template.
    ///
    /// # Errors
    /// The error of `docker inspect`.
    pub fn inspect(&self, engine: &Engine, template: &str) -> Result<String> {
        engine.docker_words(&["inspect", "--format", template, &self.id])
    }

    /// Its network namespace. A trap: whoever holds it keeps it alive, and all interfaces in it.
    ///
    /// # Errors
    /// When it does not run.
    pub fn namespace(&self, engine: &Engine) -> Result<Namespace> {
        let key = self.inspect(engine, "{{.NetworkSettings.SandboxKey}}")?;
        ensure!(!key.is_empty(), "container {} has no sandbox", self.id);
        engine.machine().namespace_at(Path::new(&key))
    }

    /// Its IPv4 address in `network`.
    ///
    /// # Errors
    /// When it has none.
    pub fn ip(&self, engine: &Engine, network: &str) -> Result<IpAddr> {
        self.address(engine, network, "IPAddress")
    }

    /// Its IPv6 address in `network`.
    ///
    /// # Errors
    /// When it has none.
    pub fn ip6(&self, engine: &Engine, network: &str) -> Result<IpAddr> {
        self.address(engine, network, "GlobalIPv6Address")
    }

    fn address(&self, engine: &Engine, network: &str, field: &str) -> Result<IpAddr> {
        let template = format!("{{{{(index .NetworkSettings.Networks {network:?}).{field}}}}}");
        let address = self.inspect(engine, &template)?;
        address
            .parse()
            .with_context(|| format!("{field} of {} in {network} is `{address}`", self.id))
    }

    /// Ends and removes it.
    ///
    /// # Errors
    /// The error of `docker rm`.
    pub fn remove(self, engine: &Engine) -> Result<()> {
        engine.docker_words(&["rm", "--force", &self.id])?;
        Ok(())
    }
}
