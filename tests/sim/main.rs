//! Tests that need no privileges: whole frames through the whole pipeline, in virtual time.

#![cfg(test)]

mod deadlines;
mod edge;
mod fragments;
mod hub;
mod leases;
mod offloads;
mod oracle;
mod overlap;
mod reasons;
mod repeater;
mod reply;
mod rig;
mod scenarios;
mod site;
mod snoop;
