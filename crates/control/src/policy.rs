//! What an endpoint may send and receive.

use crate::{Change, Endpoint, Error, State};
use model::Policy;

impl State {
    /// Checks an endpoint's rules.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ambiguous`], [`Error::Invalid`].
    pub fn set_policy(&self, endpoint: &str, policy: Policy) -> Result<(Endpoint, Change), Error> {
        let endpoint = self.endpoint_named(endpoint)?;
        policy.check()?;
        let port = self
            .port(endpoint.port)
            .ok_or_else(|| Error::Contradiction(format!("{} has no port", endpoint.id)))?;
        let endpoint = Endpoint {
            policy,
            ..endpoint.clone()
        };
        let both = Box::new((endpoint.clone(), port.clone()));
        Ok((endpoint, Change::PutEndpoint(both)))
    }
}
