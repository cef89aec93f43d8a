//! The steps of a chore, and the summary at its end.

use std::fmt;
use std::time::{Duration, Instant};

use crate::trouble::{Result, Trouble};

/// How a step ended when nothing was wrong.
#[derive(Debug)]
pub(crate) enum Outcome {
    Passed,
    /// Passed, with a word on what came of it.
    Got(String),
    /// It could not be run.
    Skipped {
        /// What was missing.
        missing: String,
        /// How to get it.
        remedy: String,
    },
}

impl Outcome {
    pub(crate) fn skipped(missing: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Skipped { missing: missing.into(), remedy: remedy.into() }
    }
}

/// A step that only succeeds or fails has passed when it succeeded.
impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::Passed
    }
}

/// The steps so far. A step that fails does not keep the next ones from running.
#[derive(Debug, Default)]
pub(crate) struct Report {
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    name: &'static str,
    took: Duration,
    outcome: Result<Outcome>,
}

impl Report {
    /// Runs a step under its name.
    pub(crate) fn step<T: Into<Outcome>>(&mut self, name: &'static str, step: impl FnOnce() -> Result<T>) {
        println!("\n== {name} ==");
        let start = Instant::now();
        let outcome = step().map(Into::into);
        if let Err(trouble) = &outcome {
            println!("{trouble}");
        }
        self.steps.push(Step { name, took: start.elapsed(), outcome });
    }

    /// Makes a failure of everything that was skipped.
    pub(crate) fn fail_what_was_skipped(&mut self) {
        for step in &mut self.steps {
            if let Ok(Outcome::Skipped { missing, remedy }) = &step.outcome {
                step.outcome = Err(Trouble::new(format!("could not run: {missing} {remedy}")));
            }
        }
    }

    /// Prints the summary; fails when a step did.
    pub(crate) fn finish(self) -> Result<()> {
        println!("\n{self}");
        match self.count(Result::is_err) {
            0 => Ok(()),
            1 => Err(Trouble::new("One step failed; its complaints stand above.")),
            failed => Err(Trouble::new(format!("{failed} steps failed; their complaints stand above."))),
        }
    }

    fn count(&self, of: impl Fn(&Result<Outcome>) -> bool) -> usize {
        self.steps.iter().filter(|step| of(&step.outcome)).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Step { name, took, outcome } in &self.steps {
            let seconds = took.as_secs_f32();
            match outcome {
                Ok(Outcome::Passed) => writeln!(f, "passed   {name} ({seconds:.1} s)")?,
                Ok(Outcome::Got(what)) => writeln!(f, "passed   {name}: {what} ({seconds:.1} s)")?,
                Ok(Outcome::Skipped { missing, remedy }) => {
                    writeln!(f, "skipped  {name}: {missing}\n         {remedy}")?;
                }
                Err(trouble) => {
                    let sentence = trouble.to_string();
                    let first = sentence.lines().next().unwrap_or_default();
                    writeln!(f, "FAILED   {name}: {first} ({seconds:.1} s)")?;
                }
            }
        }
        let failed = self.count(Result::is_err);
        let skipped = self.count(|outcome| matches!(outcome, Ok(Outcome::Skipped { .. })));
        let passed = self.steps.len() - failed - skipped;
        write!(f, "\n{passed} passed, {failed} failed, {skipped} skipped")?;
        if skipped > 0 { write!(f, "; what helps stands beside what was skipped") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Report {
        let mut report = Report::default();
        report.step("one", || Ok(()));
        report.step("two", || Ok(Outcome::skipped("No browser.", "`cargo xtask setup` installs one.")));
        report
    }

    #[test]
    fn what_was_skipped_is_named_with_its_remedy_and_is_no_failure() {
        let report = sample();
        let shown = report.to_string();
        assert!(
            shown.contains("skipped  two: No browser.\n         `cargo xtask setup` installs one."),
            "{shown}"
        );
        assert!(
            shown.ends_with("\n1 passed, 0 failed, 1 skipped; what helps stands beside what was skipped"),
            "{shown}"
        );
        assert!(report.finish().is_ok());
    }

    #[test]
    fn what_was_skipped_can_be_made_a_failure() {
        let mut report = sample();
        report.fail_what_was_skipped();
        assert!(report.to_string().ends_with("\n1 passed, 1 failed, 0 skipped"));
        assert!(report.finish().is_err());
    }

    #[test]
    fn a_failed_step_does_not_keep_the_next_one_from_running() {
        let mut report = Report::default();
        report.step("one", || Err::<(), _>(Trouble::new("It broke.\nIn detail.")));
        report.step("two", || Ok(()));
        let shown = report.to_string();
        assert!(shown.contains("FAILED   one: It broke. ("), "{shown}");
        assert!(shown.ends_with("\n1 passed, 1 failed, 0 skipped"), "{shown}");
        assert!(report.finish().is_err());
    }
}
