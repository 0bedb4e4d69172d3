//! A request's fingerprint, kept as a label: whether a second request with an id that is known is
//! the first one again. The request itself would not do, as the map of 10,000 published ports has
//! a megabyte and labels are shown in every list.

/// FNV-1a of 64 bits, in hexadecimal. It says the same in every version, unlike the standard
/// library's hashers; nobody gains by finding two requests that share one.
pub(crate) fn fingerprint(request: &[u8]) -> String {
    let hash = request.iter().fold(OFFSET, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    });
    format!("{hash:016x}")
}

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_fnv_1a() {
        assert_eq!(fingerprint(b""), "cbf29ce484222325");
        assert_eq!(fingerprint(b"foobar"), "85944171f73967e8");
    }
}
