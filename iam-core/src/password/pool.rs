//! The hashing threads.
//!
//! A password hash takes tens of milliseconds of a core and tens of mebibytes, so there are few threads for it, each with
//! memory that is used again, behind a bounded queue. Work keeps its place in the queue until a thread has dealt with it,
//! also when whoever asked has gone: hanging up frees nothing early.
//!
//! The memory of all of them together is bounded, too (`budget.rs`): a hash that takes more than today's waits until there is
//! enough, and what comes behind it waits with it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use futures_channel::oneshot;

use super::budget::Budget;
use super::{Argon2Params, Checked, HashMemory, PasswordHash, PlainPassword, Registry};
use crate::base::random::{Randomness, RandomnessUnavailable};
use crate::model::error::Error;

/// How much hashing there may be.
///
/// All hashes that are computed at the same time take 256 MiB of memory at most, or what `threads` hashes at today's cost take if
/// that is more. An imported hash that is dearer counts for what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashingConfig {
    /// Threads. By default one per core, as far as 256 MiB suffice for their memory.
    pub threads: usize,
    /// Hashes that may wait for a thread; more are refused as [`Error::Busy`]. Default 256.
    pub queue: usize,
    /// The longest wait; what waited longer is refused when its turn comes. Default 4 seconds.
    pub max_wait: Duration,
}

impl HashingConfig {
    /// The default for hashes of this cost on this machine.
    pub fn for_params(params: &Argon2Params) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let affordable = MEMORY_KIB / (params.memory_kib() as usize).max(1);
        Self { threads: cores.min(affordable).max(1), queue: 256, max_wait: Duration::from_secs(4) }
    }
}

/// The memory of all hashes together. No hash that is computed at all takes more (`argon2id::MAX_MEMORY_KIB`).
const MEMORY_KIB: usize = 256 * 1024;

/// Dropping it lets the threads finish what they are at, and end.
pub(crate) struct HashingThreads {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    registry: Registry,
    random: Arc<dyn Randomness>,
    config: HashingConfig,
}

struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
    budget: Budget,
    /// A thread waits for memory, and not for work.
    short_of_memory: bool,
}

struct Job {
    task: Task,
    queued_at: Instant,
    /// The memory that it takes, in KiB.
    memory_kib: usize,
}

impl Job {
    /// Whether nobody waits for it any more, or for too long: then it takes no memory.
    fn is_over(&self, max_wait: Duration) -> bool {
        let is_canceled = match &self.task {
            Task::Check { reply, .. } => reply.is_canceled(),
            Task::Hash { reply, .. } => reply.is_canceled(),
        };
        is_canceled || self.queued_at.elapsed() > max_wait
    }
}

enum Task {
    Check {
        password: PlainPassword,
        stored: Option<PasswordHash>,
        reply: oneshot::Sender<Result<Checked, Overdue>>,
    },
    Hash {
        password: PlainPassword,
        reply: oneshot::Sender<Result<HashResult, Overdue>>,
    },
}

type HashResult = Result<PasswordHash, RandomnessUnavailable>;

/// The work waited longer than it may.
struct Overdue;

impl HashingThreads {
    pub(crate) fn start(
        registry: Registry,
        random: Arc<dyn Randomness>,
        config: HashingConfig,
    ) -> std::io::Result<Self> {
        Self::start_within(MEMORY_KIB, registry, random, config)
    }

    fn start_within(
        memory_kib: usize,
        registry: Registry,
        random: Arc<dyn Randomness>,
        config: HashingConfig,
    ) -> std::io::Result<Self> {
        let usual = registry.usual_memory();
        let most = memory_kib.max(usual.saturating_mul(config.threads.max(1)));
        let queue = Queue {
            jobs: VecDeque::new(),
            closed: false,
            budget: Budget::new(most, usual),
            short_of_memory: false,
        };
        let shared =
            Arc::new(Shared { queue: Mutex::new(queue), wake: Condvar::new(), registry, random, config });
        // From here on, an early return drops `threads`, which ends those that have started.
        let threads = Self { shared };
        for n in 0..config.threads.max(1) {
            let shared = Arc::clone(&threads.shared);
            thread::Builder::new().name(format!("iam-hash-{n}")).spawn(move || shared.work())?;
        }
        Ok(threads)
    }

    /// Compares a password with a stored hash, or does the same work without one.
    pub(crate) async fn check(
        &self,
        password: PlainPassword,
        stored: Option<PasswordHash>,
    ) -> Result<Checked, Error> {
        #[cfg(any(test, feature = "danger-weak-for-tests"))]
        let _real = crate::base::clock::RealWork::begin();
        let (reply, answer) = oneshot::channel();
        self.submit(Task::Check { password, stored, reply })?;
        answer.await.map_err(|_| self.busy())?.map_err(|Overdue| self.busy())
    }

    /// Whether a hash is one that passwords could be compared with; nothing is computed.
    pub(crate) fn can_verify(&self, stored: &PasswordHash) -> bool {
        self.shared.registry.can_verify(stored)
    }

    /// Makes a hash at today's cost.
    pub(crate) async fn hash(&self, password: PlainPassword) -> Result<PasswordHash, Error> {
        #[cfg(any(test, feature = "danger-weak-for-tests"))]
        let _real = crate::base::clock::RealWork::begin();
        let (reply, answer) = oneshot::channel();
        self.submit(Task::Hash { password, reply })?;
        Ok(answer.await.map_err(|_| self.busy())?.map_err(|Overdue| self.busy())??)
    }

    fn submit(&self, task: Task) -> Result<(), Error> {
        let memory_kib = match &task {
            Task::Check { stored, .. } => self.shared.registry.memory_of(stored.as_ref()),
            Task::Hash { .. } => self.shared.registry.usual_memory(),
        };
        let mut queue = self.shared.lock();
        if queue.jobs.len() >= self.shared.config.queue {
            return Err(self.busy());
        }
        queue.jobs.push_back(Job { task, queued_at: Instant::now(), memory_kib });
        drop(queue);
        self.shared.wake.notify_one();
        Ok(())
    }

    fn busy(&self) -> Error {
        Error::Busy { retry_after: self.shared.config.max_wait }
    }
}

impl Drop for HashingThreads {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_all();
    }
}

impl fmt::Debug for HashingThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashingThreads").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl Shared {
    /// A panic elsewhere leaves the queue whole: nothing under the lock is ever half done.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some((job, granted, mut memory)) = self.next() {
            // A foreign scheme that panics costs its own sign-in, not the thread: the reply's sender is dropped.
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.run(job, &mut memory)));
            if done.is_err() {
                tracing::error!("a password scheme panicked");
                memory = HashMemory::default();
            }
            self.done(granted, memory);
        }
    }

    /// The next job, with the memory that it was granted, in KiB. In the order of the queue: what takes much would else never have
    /// its turn.
    fn next(&self) -> Option<(Job, usize, HashMemory)> {
        let mut queue = self.lock();
        loop {
            if queue.closed {
                return None;
            }
            if let Some(job) = queue.jobs.front() {
                let wanted = if job.is_over(self.config.max_wait) { 0 } else { job.memory_kib };
                if let Some(memory) = queue.budget.take(wanted) {
                    let job = queue.jobs.pop_front()?;
                    return Some((job, wanted, memory));
                }
                queue.short_of_memory = true;
            }
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self, granted: usize, memory: HashMemory) {
        let mut queue = self.lock();
        queue.budget.put_back(granted, memory);
        let others_wait = std::mem::take(&mut queue.short_of_memory);
        drop(queue);
        if others_wait {
            self.wake.notify_all();
        }
    }

    /// Nobody left to tell, or too late: the place is free again, without the work. A reply that can't be delivered is nobody's
    /// loss.
    fn run(&self, job: Job, memory: &mut HashMemory) {
        let overdue = job.queued_at.elapsed() > self.config.max_wait;
        match job.task {
            Task::Check { reply, .. } if reply.is_canceled() => {}
            Task::Hash { reply, .. } if reply.is_canceled() => {}
            Task::Check { reply, .. } if overdue => drop(reply.send(Err(Overdue))),
            Task::Hash { reply, .. } if overdue => drop(reply.send(Err(Overdue))),
            Task::Check { password, stored, reply } => {
                let checked = self.registry.check(password.expose(), stored.as_ref(), memory);
                drop(reply.send(Ok(checked)));
            }
            Task::Hash { password, reply } => {
                let hash = self.registry.hash(password.expose(), self.random.as_ref(), memory);
                drop(reply.send(Ok(hash)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::base::random::OsRandomness;
    use crate::password::{Argon2id, HashVerdict, Outdated, PasswordScheme};

    /// Waits inside the verification until it is told to go on.
    #[derive(Debug)]
    struct Parked {
        arrived: mpsc::Sender<()>,
        go_on: Mutex<mpsc::Receiver<()>>,
    }

    impl PasswordScheme for Parked {
        fn prefixes(&self) -> &[&'static str] {
            &["$parked$"]
        }
        fn verify(&self, _: &[u8], stored: &str, _: &mut HashMemory) -> HashVerdict {
            self.arrived.send(()).unwrap();
            self.go_on.lock().unwrap().recv().unwrap();
            assert!(!stored.ends_with("panic"), "as asked");
            HashVerdict::Match { outdated: false }
        }
    }

    fn pool(queue: usize, max_wait: Duration) -> (Arc<HashingThreads>, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (arrived, has_arrived) = mpsc::channel();
        let (tell, go_on) = mpsc::channel();
        let registry = Registry::new(
            Argon2id::new(Argon2Params::danger_weak_for_tests()),
            None,
            vec![Box::new(Parked { arrived, go_on: Mutex::new(go_on) })],
        );
        let config = HashingConfig { threads: 1, queue, max_wait };
        (
            Arc::new(HashingThreads::start(registry, Arc::new(OsRandomness), config).unwrap()),
            has_arrived,
            tell,
        )
    }

    const MATCH: Checked = Checked::Match { outdated: Outdated::No };

    fn password() -> PlainPassword {
        PlainPassword::new("x").unwrap()
    }

    fn check(pool: &Arc<HashingThreads>, stored: &str) -> tokio::task::JoinHandle<Result<Checked, Error>> {
        let (pool, stored) = (Arc::clone(pool), PasswordHash::from_stored(stored));
        tokio::spawn(async move { pool.check(password(), Some(stored)).await })
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn hanging_up_frees_no_place_early() {
        let (pool, arrived, go_on) = pool(1, Duration::from_mins(1));
        let first = check(&pool, "$parked$");
        arrived.recv().unwrap();
        // One place in the queue, taken by somebody who hangs up at once.
        let mut waiting = Box::pin(pool.check(password(), None));
        let polled =
            std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await;
        assert!(polled);
        drop(waiting);
        assert!(matches!(pool.check(password(), None).await, Err(Error::Busy { .. })));
        go_on.send(()).unwrap();
        assert_eq!(first.await.unwrap().unwrap(), MATCH);
        // The thread has dealt with the abandoned work, the place is free again.
        let hash = loop {
            match pool.hash(password()).await {
                Ok(hash) => break hash,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        assert_eq!(pool.check(password(), Some(hash)).await.unwrap(), MATCH);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_waited_too_long_is_refused() {
        let (pool, arrived, go_on) = pool(8, Duration::ZERO);
        let first = check(&pool, "$parked$");
        // With no patience at all even the first is late: it never arrives.
        assert!(matches!(first.await.unwrap(), Err(Error::Busy { .. })));
        assert!(arrived.try_recv().is_err());
        drop(go_on);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_panicking_scheme_costs_one_sign_in() {
        let (pool, arrived, go_on) = pool(8, Duration::from_mins(1));
        let first = check(&pool, "$parked$panic");
        arrived.recv().unwrap();
        go_on.send(()).unwrap();
        assert!(matches!(first.await.unwrap(), Err(Error::Busy { .. })));
        assert_eq!(pool.check(password(), None).await.unwrap(), Checked::NoHash);
        let garbage = PasswordHash::from_stored("garbage");
        assert_eq!(pool.check(password(), Some(garbage)).await.unwrap(), Checked::Unusable);
    }
    /// PW-07: whatever hashes were brought over.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn dearer_hashes_stay_within_the_memory_of_all() {
        const MOST: usize = 1024;
        let today = Argon2id::new(Argon2Params::danger_weak_for_tests());
        let config = HashingConfig { threads: 8, queue: 100, max_wait: Duration::from_mins(1) };
        let registry = Registry::new(today, None, Vec::new());
        let pool = HashingThreads::start_within(MOST, registry, Arc::new(OsRandomness), config).unwrap();
        let pool = Arc::new(pool);
        let tag = "c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        let stored = [64, 300, 512, 1000, 65].map(|kib| format!("$argon2id$v=19$m={kib},t=1,p=1${tag}"));
        let checks: Vec<_> = stored.iter().cycle().take(60).map(|stored| check(&pool, stored)).collect();
        for done in checks {
            assert_eq!(done.await.unwrap().unwrap(), Checked::Mismatch);
        }
        // Every reply was sent by a thread that may not have put its memory back yet.
        while pool.shared.lock().budget.running() > 0 {
            tokio::task::yield_now().await;
        }
        let queue = pool.shared.lock();
        assert!((1000..=MOST).contains(&queue.budget.peak()), "{} KiB", queue.budget.peak());
        assert!(queue.budget.kept() <= 8 * 64, "no large one is kept");
    }
}
