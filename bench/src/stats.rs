//! Samples of time.

use std::cmp::Ordering;
use std::time::Duration;

/// The middle of the samples; of the two in the middle, the longer one.
pub fn median(samples: &[Duration]) -> Duration {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    *sorted.get(sorted.len() / 2).unwrap()
}

/// How well one sample tells which of the two groups it comes from: the chance that one of `a` is shorter than one of `b`,
/// equal ones counted half. 0.5 tells nothing, 0 and 1 tell everything.
pub fn auc(a: &[Duration], b: &[Duration]) -> f64 {
    let halves = |a: &Duration, b: &Duration| match a.cmp(b) {
        Ordering::Less => 2_u32,
        Ordering::Equal => 1,
        Ordering::Greater => 0,
    };
    let won: u32 = a.iter().flat_map(|a| b.iter().map(move |b| halves(a, b))).sum();
    let pairs = u32::try_from(a.len() * b.len()).unwrap();
    f64::from(won) / f64::from(2 * pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(millis: &[u64]) -> Vec<Duration> {
        millis.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn the_median_does_not_mind_the_order() {
        assert_eq!(median(&samples(&[9, 1, 5])), Duration::from_millis(5));
        assert_eq!(median(&samples(&[4, 1, 2, 3])), Duration::from_millis(3));
    }

    #[test]
    fn what_a_sample_tells() {
        let close = |value: f64, expected: f64| (value - expected).abs() < 1e-9;
        assert!(close(auc(&samples(&[1, 2]), &samples(&[3, 4])), 1.0));
        assert!(close(auc(&samples(&[3, 4]), &samples(&[1, 2])), 0.0));
        assert!(close(auc(&samples(&[1, 2]), &samples(&[1, 2])), 0.5));
        assert!(close(auc(&samples(&[1, 4]), &samples(&[2, 3])), 0.5));
    }
}
