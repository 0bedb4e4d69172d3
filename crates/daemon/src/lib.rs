//! The daemon: one process that owns ports, workers and state, and answers the API.
