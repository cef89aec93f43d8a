//! One body that is read in two ways.

/// As it stands a form with amount 100 and payee bob, and unpacked (brotli) one with amount 9999 and payee eve: a block that brotli passes
/// over, and two that it takes as they are.
pub(crate) const TWOFOLD: &[u8] =
    b",\x0c=&amount=100&payee=bob&z=p\x00\x08amount=9999&pay(\x00\x08ee=eve\x03";

/// What names an encoding, or may be taken to, each with the lines of the header.
pub(crate) const ENCODED: &[&[&str]] = &[
    &["br"],
    &["BR"],
    &["gzip"],
    &["deflate"],
    &["zstd"],
    &["x-gzip"],
    &["identity, br"],
    &["br, identity"],
    &["identity", "br"],
    &["identity", "identity"],
    &["identity;q=1"],
    &["nothing-known"],
    &[","],
    &[""],
];

/// What says that a body is as it stands.
pub(crate) const PLAIN: &[&[&str]] = &[&[], &["identity"], &["Identity"], &[" identity "]];
