//! [`calls!`], which makes of each row of the table in `calls.rs` all that a call needs.
//!
//! ```text
//!                      ┌─> Client::call(...)                  asks
//!   a row of the table ┼─> route of server::router            carries
//!                      ├─> method of a trait, `Service` whole answers
//!                      ├─> entry of server::openapi           describes
//!                      └─> Stub, which stands for the daemon in tests
//! ```
//! A row's parts have keywords, so that the macro sees which of them are there:
//! `path NAME: "description"`, `query NAME: TYPE`, `body NAME: TYPE`, in this order.

/// Declares all calls; see `calls.rs`.
macro_rules! calls {
    ($(
        $(#[doc = $about:literal])*
        $group:ident $tag:literal {$(
            $(#[doc = $doc:literal])*
            $verb:ident $path:literal $call:ident(
                $(path $name:ident: $named:literal $(,)?)?
                $(query $query:ident: $Query:ident)?
                $(body $body:ident: $Body:ident)?
            ) -> $answer:ident $($value:ty)? $(| $refusal:ident)*;
        )*}
    )*) => {
        /// Every call of the table: its name, method and path.
        pub const CALLS: &[(&str, $crate::Method, &str)] = &[$($(
            (stringify!($call), $crate::declare::method!($verb), $path),
        )*)*];

        /// The calls. Each answers [`ClientError::Refused`](crate::ClientError::Refused) when the
        /// daemon says no.
        #[expect(clippy::missing_errors_doc, reason = "said once, above")]
        impl $crate::Client {$($(
            $(#[doc = $doc])*
            pub fn $call(
                &self,
                $($name: &$crate::Name,)?
                $($query: &$Query,)?
                $($body: &$Body,)?
            ) -> Result<$crate::declare::received!($answer $($value)?), $crate::ClientError> {
                let request = self.request($crate::declare::method!($verb), $path)
                    $(.named($name))?
                    $(.query($query)?)?
                    $(.body($body)?)?;
                $crate::declare::receive!($answer request)
            }
        )*)*}

        $(
            $(#[doc = $about])*
            ///
            /// Each call has been compared with the ranges its fields name, and may block: it runs
            /// on a thread of its own, and to its end, even if who asked hangs up.
            #[cfg(feature = "server")]
            #[expect(clippy::missing_errors_doc, reason = "the table names each call's refusals")]
            pub trait $group: Send + Sync + 'static {$(
                $(#[doc = $doc])*
                fn $call(
                    &self,
                    $($name: &$crate::Name,)?
                    $($query: &$Query,)?
                    $($body: &$Body,)?
                ) -> Result<$crate::declare::served!($answer $($value)?), $crate::ApiError>;
            )*}
        )*

        /// Answers every call of the table.
        #[cfg(feature = "server")]
        pub trait Service: $($group +)* {}

        #[cfg(feature = "server")]
        impl<T: $($group +)*> Service for T {}

        /// A route for each call.
        #[cfg(feature = "server")]
        pub(crate) fn routes<S: Service>() -> axum::Router<std::sync::Arc<S>> {
            use $crate::server::{Checked, Named, Queried, reply};
            axum::Router::new()$($(.route($path, axum::routing::$verb(
                |axum::extract::State(service): axum::extract::State<std::sync::Arc<S>>,
                 $(Named($name): Named,)?
                 $(Queried($query): Queried<$Query>,)?
                 $(Checked($body): Checked<$Body>,)?| {
                    reply::$answer(move || service.$call($(&$name,)? $(&$query,)? $(&$body,)?))
                },
            )))*)*
        }

        /// The calls' descriptions; the functions only carry their attributes.
        #[cfg(feature = "server")]
        #[expect(dead_code, reason = "utoipa takes the description from a function")]
        pub(crate) mod described {
            use super::*;
            use $crate::ApiError;

            $($($crate::declare::describe! {
                [] [$($refusal)*] $answer ($($value)?)
                [$verb, path = $path, tag = $tag,
                    $(params(("name" = String, Path, description = $named)),)?
                    $(params($Query),)?
                    $(request_body = $Body,)?]
                $(#[doc = $doc])*
                fn $call() {}
            })*)*

            #[derive(utoipa::OpenApi)]
            #[openapi(paths($($($call,)*)*))]
            pub(crate) struct Calls;
        }

        $(
            #[cfg(feature = "stub")]
            impl $group for $crate::Stub {$(
                fn $call(
                    &self,
                    $($name: &$crate::Name,)?
                    $($query: &$Query,)?
                    $($body: &$Body,)?
                ) -> Result<$crate::declare::served!($answer $($value)?), $crate::ApiError> {
                    let asked = $crate::stub::Asked::new(stringify!($call))
                        $(.named($name))?
                        $(.request($query))?
                        $(.request($body))?;
                    self.$answer(&asked)
                }
            )*}
        )*
    };
}

/// The method of a verb.
macro_rules! method {
    (get) => {
        $crate::Method::GET
    };
    (post) => {
        $crate::Method::POST
    };
    (patch) => {
        $crate::Method::PATCH
    };
    (delete) => {
        $crate::Method::DELETE
    };
}

/// The type that the service answers with.
#[cfg(feature = "server")]
macro_rules! served {
    (done) => { () };
    (stream $value:ty) => { tokio::sync::mpsc::Receiver<$value> };
    ($answer:ident $value:ty) => { $value };
}

/// The type that the client gives.
macro_rules! received {
    (done) => { () };
    (stream $value:ty) => { $crate::Stream<$value> };
    ($answer:ident $value:ty) => { $value };
}

/// How the client gets it.
macro_rules! receive {
    (stream $request:ident) => {
        $request.stream()
    };
    ($answer:ident $request:ident) => {
        $request.answer()
    };
}

/// Describes a call: turns its refusals, one by one, and its answer into utoipa's `responses`.
#[cfg(feature = "server")]
macro_rules! describe {
    ([$($told:tt)*] [invalid $($more:ident)*] $($rest:tt)*) => {
        $crate::declare::describe! {
            [$($told)* (status = 400, body = ApiError, description = "a value is outside its range"),]
            [$($more)*] $($rest)*
        }
    };
    ([$($told:tt)*] [missing $($more:ident)*] $($rest:tt)*) => {
        $crate::declare::describe! {
            [$($told)* (status = 404, body = ApiError, description = "what was named does not exist"),]
            [$($more)*] $($rest)*
        }
    };
    ([$($told:tt)*] [taken $($more:ident)*] $($rest:tt)*) => {
        $crate::declare::describe! {
            [$($told)* (status = 409, body = ApiError, description = "taken, or still in use"),]
            [$($more)*] $($rest)*
        }
    };
    ([$($told:tt)*] [unavailable $($more:ident)*] $($rest:tt)*) => {
        $crate::declare::describe! {
            [$($told)* (status = 503, body = ApiError, description = "not possible now"),]
            [$($more)*] $($rest)*
        }
    };
    ([$($told:tt)*] [] ok ($value:ty) $($rest:tt)*) => {
        $crate::declare::describe! { @ [(status = 200, body = $value), $($told)*] $($rest)* }
    };
    ([$($told:tt)*] [] created ($value:ty) $($rest:tt)*) => {
        $crate::declare::describe! { @ [(status = 201, body = $value), $($told)*] $($rest)* }
    };
    ([$($told:tt)*] [] done () $($rest:tt)*) => {
        $crate::declare::describe! { @ [(status = 204, description = "done"), $($told)*] $($rest)* }
    };
    ([$($told:tt)*] [] stream ($value:ty) $($rest:tt)*) => {
        $crate::declare::describe! {
            @ [(status = 200, body = $value, content_type = "application/x-ndjson"), $($told)*]
            $($rest)*
        }
    };
    (@ [$($responses:tt)*] [$($attribute:tt)*] $($function:tt)*) => {
        #[utoipa::path($($attribute)* responses($($responses)*))]
        $($function)*
    };
}

pub(crate) use {calls, method, receive, received};
#[cfg(feature = "server")]
pub(crate) use {describe, served};
