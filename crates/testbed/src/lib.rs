//! Private network namespaces and traffic for tests, benches and the lab.
