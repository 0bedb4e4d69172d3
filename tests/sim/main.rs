//! Tests that need no privileges: whole frames through the whole pipeline, in virtual time.

#![cfg(test)]

mod fragments;
mod offloads;
mod oracle;
mod reasons;
mod rig;
mod scenarios;
mod site;
