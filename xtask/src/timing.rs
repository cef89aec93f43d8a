//! `cargo xtask timing`: whether timing tells why a sign-in failed.

use crate::process;
use crate::trouble::Result;

/// Measures and fails when a bound is broken. Optimised: the bounds are those of a service, not of a debug build.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    process::run(
        process::cargo()?
            .args(["run", "--release", "--package", "iam-bench", "--bin", "timing", "--"])
            .args(arguments),
    )
}
