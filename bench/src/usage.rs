//! What a process uses, from Linux's `/proc`.

use std::fs;
use std::iter::Sum;
use std::ops::{Add, Sub};
use std::time::Duration;

/// What threads got of the processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// They ran.
    pub running: Duration,
    /// They had work and waited for a processor.
    pub waiting: Duration,
}

/// The processor time of a process so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Of the threads that hash passwords.
    pub hashing: CpuTime,
    /// Of all others.
    pub others: CpuTime,
}

/// The resident memory of a process, in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Now.
    pub now: u32,
    /// The most there ever was.
    pub peak: u32,
}

/// Reads the processor time, to the nanosecond (`stat` has it in hundredths of a second, too coarse for what is left without
/// the hashes). Threads that have ended are missing: a server under test keeps its threads.
pub fn cpu(process: u32) -> Cpu {
    let mut hashing = Vec::new();
    let mut others = Vec::new();
    for thread in fs::read_dir(format!("/proc/{process}/task")).unwrap() {
        let thread = thread.unwrap().path();
        // One that ends between the listing and here is missing like those that ended before.
        let (Ok(name), Ok(times)) =
            (fs::read_to_string(thread.join("comm")), fs::read_to_string(thread.join("schedstat")))
        else {
            continue;
        };
        let group = if name.starts_with("iam-hash-") { &mut hashing } else { &mut others };
        group.push(CpuTime::parse(&times));
    }
    Cpu { hashing: hashing.into_iter().sum(), others: others.into_iter().sum() }
}

/// Reads the memory.
pub fn memory(process: u32) -> Memory {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    Memory { now: kib(&status, "VmRSS:"), peak: kib(&status, "VmHWM:") }
}

fn kib(status: &str, name: &str) -> u32 {
    let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    value.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

impl CpuTime {
    /// `schedstat`: nanoseconds that ran, nanoseconds that waited, and how often.
    fn parse(schedstat: &str) -> Self {
        let mut fields = schedstat.split_whitespace();
        let mut next = || Duration::from_nanos(fields.next().unwrap().parse().unwrap());
        Self { running: next(), waiting: next() }
    }
}

impl Add for CpuTime {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { running: self.running + other.running, waiting: self.waiting + other.waiting }
    }
}

impl Sub for CpuTime {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        let since = |now: Duration, before| now.checked_sub(before).unwrap();
        Self { running: since(self.running, before.running), waiting: since(self.waiting, before.waiting) }
    }
}

impl Sum for CpuTime {
    fn sum<I: Iterator<Item = Self>>(times: I) -> Self {
        times.fold(Self::default(), Add::add)
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { hashing: self.hashing - before.hashing, others: self.others - before.others }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let time = CpuTime::parse("592613887 687766 103\n");
        assert_eq!(time.running, Duration::from_nanos(592_613_887));
        assert_eq!(time.waiting, Duration::from_nanos(687_766));
        assert_eq!(kib("VmPeak:\t  9 kB\nVmHWM:\t    4600 kB\nVmRSS:\t    4596 kB\n", "VmRSS:"), 4596);
    }
}
