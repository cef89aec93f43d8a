//! Small file systems for the tests of disks that are full or read-only: whether any can be mounted.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::report::Outcome;
use crate::trouble::{Result, Trouble};

/// A mount that is taken away again, made as the tests do: by root, or by `sudo` without a password.
pub(crate) fn can_be_mounted() -> Result<Outcome> {
    let place = env::temp_dir().join(format!("iam-disk-{}", std::process::id()));
    fs::create_dir(&place).map_err(|error| Trouble::new(format!("{}: {error}", place.display())))?;
    let by = [&[][..], &["sudo", "-n"][..]];
    let mounted = by.into_iter().any(|by| {
        run(by, &["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs"], &place) && run(by, &["umount"], &place)
    });
    // What is still mounted is not removed.
    let _ = fs::remove_dir(&place);
    Ok(if mounted {
        Outcome::Passed
    } else {
        Outcome::skipped(
            "No file system can be mounted here, so the tests of full and of read-only disks do nothing.",
            "Run them as root, or where `sudo -n mount` works.",
        )
    })
}

fn run(by: &[&str], words: &[&str], place: &Path) -> bool {
    let words: Vec<&str> = by.iter().chain(words).copied().collect();
    let Some((program, arguments)) = words.split_first() else { return false };
    let done = Command::new(program).args(arguments).arg(place).output();
    done.is_ok_and(|done| done.status.success())
}
