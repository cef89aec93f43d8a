//! The memory of all hashes together.

use super::HashMemory;

/// Memory in KiB: what running hashes were granted and what is kept for the next ones never exceed `most` together.
#[derive(Debug)]
pub(super) struct Budget {
    most: usize,
    /// That of a hash at today's cost. What takes less is granted as much.
    usual: usize,
    running: usize,
    /// Of at most the usual size each.
    idle: Vec<HashMemory>,
    #[cfg(test)]
    peak: usize,
}

impl Budget {
    /// A budget of `most`, which must be enough for the largest hash alone.
    pub(super) fn new(most: usize, usual: usize) -> Self {
        Self {
            most,
            usual,
            running: 0,
            idle: Vec::new(),
            #[cfg(test)]
            peak: 0,
        }
    }

    /// Grants memory, if there is as much; for that, what is kept is given up first.
    pub(super) fn take(&mut self, wanted: usize) -> Option<HashMemory> {
        if self.running + wanted > self.most {
            return None;
        }
        let memory = if wanted == self.usual { self.idle.pop() } else { None }.unwrap_or_default();
        self.running += wanted;
        while self.running + self.kept() > self.most && self.idle.pop().is_some() {}
        #[cfg(test)]
        {
            self.peak = self.peak.max(self.running + self.kept());
        }
        Some(memory)
    }

    /// Takes back what was granted. Only memory of the usual size is kept; a larger one was freed by its hash.
    pub(super) fn put_back(&mut self, granted: usize, memory: HashMemory) {
        self.running = self.running.saturating_sub(granted);
        if granted == self.usual {
            self.idle.push(memory);
        }
    }

    /// The memory that is kept for the next hashes.
    pub(super) fn kept(&self) -> usize {
        self.idle.len() * self.usual
    }

    #[cfg(test)]
    pub(super) fn running(&self) -> usize {
        self.running
    }

    #[cfg(test)]
    pub(super) fn peak(&self) -> usize {
        self.peak
    }
}
