//! Requests and responses of Clearway's HTTP interface.
