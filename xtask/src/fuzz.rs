//! `cargo xtask fuzz`: strangers' input without end, against what must hold for any (`fuzz/`, and `fuzzing.rs` of the crates).
//!
//! cargo alone builds it, on stable: libFuzzer comes with its crate, and LLVM's coverage needs no sanitizer. There is no
//! `unsafe` in the family for which the address sanitizer would be worth a nightly compiler.

use std::fs;
use std::path::Path;

use crate::report::{Outcome, Report};
use crate::trouble::{Result, Trouble, Trying as _};
use crate::{place, process};

const TARGETS: &[&str] =
    &["approved", "cookies", "forwarded", "identifiers", "json", "next", "phc", "proofs", "typed"];

/// The longest input, in bytes: more than any of the targets needs to show each of its branches.
const LONGEST: u32 = 512;

/// As many as a target takes minutes for.
const RUNS: u64 = 10_000_000;

/// What cargo-fuzz sets, without its sanitizer.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                     -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    targets: Vec<&'static str>,
    runs: u64,
}

impl Asked {
    fn parse(words: &[&str]) -> Result<Self> {
        let (mut targets, mut runs) = (Vec::new(), RUNS);
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            if word == "--runs" {
                let number = words.next().and_then(|text| text.parse().ok()).filter(|runs| *runs > 0);
                runs = number.ok_or_else(|| Trouble::new("`--runs` takes a number, such as 10000000."))?;
            } else {
                let known = TARGETS.iter().find(|target| **target == word);
                targets.push(*known.ok_or_else(|| {
                    Trouble::new(format!(
                        "There is nothing to fuzz named `{word}`, only: {}.",
                        TARGETS.join(", ")
                    ))
                })?);
            }
        }
        if targets.is_empty() {
            targets.extend(TARGETS);
        }
        Ok(Self { targets, runs })
    }
}

/// Fuzzes one target after the other; `arguments` go to libFuzzer.
pub(crate) fn run(words: &[&str], arguments: &[String]) -> Result<()> {
    let asked = Asked::parse(words)?;
    let mut report = Report::default();
    for target in asked.targets {
        report.step(target, || fuzz(target, asked.runs, arguments));
    }
    report.finish()
}

fn fuzz(target: &str, runs: u64, arguments: &[String]) -> Result<Outcome> {
    let seeds = place::workspace()?.join("fuzz").join("corpus").join(target);
    let folder = place::workspace()?.join("target").join("fuzz");
    // What it finds goes into the first folder, so that the seeds stay few.
    let (corpus, findings) = (folder.join("corpus").join(target), folder.join("findings").join(target));
    for made in [&corpus, &findings] {
        fs::create_dir_all(made).trying(|| format!("make the folder {}", made.display()))?;
    }
    process::run(
        process::cargo()?
            // For the machine itself, by name: so the flags are not for build scripts and macros.
            .args(["run", "--release", "--target", "host-tuple"])
            .args([
                "--manifest-path",
                "fuzz/Cargo.toml",
                "--target-dir",
                "target/fuzz",
                "--bin",
                target,
                "--",
            ])
            .args([&corpus, &seeds])
            .arg(format!("-runs={runs}"))
            .arg(format!("-artifact_prefix={}", as_folder(&findings)))
            .arg(format!("-max_len={LONGEST}"))
            .args(["-timeout=5", "-rss_limit_mb=1024", "-print_final_stats=1"])
            .args(arguments)
            .env("RUSTFLAGS", FLAGS)
            // It would win over the flags.
            .env_remove("CARGO_ENCODED_RUSTFLAGS"),
    )
    .map_err(|trouble| {
        Trouble::new(format!("{trouble}\nWhat broke it, if anything did, is in {}.", findings.display()))
    })?;
    Ok(Outcome::Got(format!("{runs} runs")))
}

/// libFuzzer puts its file's name behind it as it is.
fn as_folder(path: &Path) -> String {
    format!("{}{}", path.display(), std::path::MAIN_SEPARATOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_targets_unless_some_are_named() {
        let all = Asked::parse(&[]).unwrap();
        assert_eq!((all.targets.as_slice(), all.runs), (TARGETS, RUNS));
        let some = Asked::parse(&["next", "--runs", "5", "phc"]).unwrap();
        assert_eq!(some, Asked { targets: vec!["next", "phc"], runs: 5 });
        for wrong in [&["nxet"][..], &["--runs"], &["--runs", "0"], &["--runs", "many"]] {
            assert!(Asked::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn every_target_is_there_with_seeds_and_no_other() {
        let fuzz = place::workspace().unwrap().join("fuzz");
        let names = |folder: &str| {
            let entries = fs::read_dir(fuzz.join(folder)).unwrap().map(|entry| entry.unwrap().path());
            let mut names: Vec<_> = entries.map(|path| path.file_stem().unwrap().to_owned()).collect();
            names.sort_unstable();
            names
        };
        assert_eq!(names("fuzz_targets"), TARGETS);
        assert_eq!(names("corpus"), TARGETS);
    }
}
