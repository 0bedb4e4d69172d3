//! One test a requirement, named by its number; fairness; then properties, and a slow reference.

mod fair;
mod oracle;
mod properties;
mod rfc4787;
mod rfc5382;
mod rfc5508;
mod rig;
mod state;
