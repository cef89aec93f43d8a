//! Sessions that guards have read a moment ago, for services that accept that a change by another process shows up to a second later.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::id::AccountId;
use crate::model::session::SessionRecord;
use crate::model::token::TokenHash;

/// The longest age of a cached session.
const LONGEST: Duration = Duration::from_secs(1);

/// The sizes of an opt-in cache of sessions ([`IamBuilder::session_cache`](crate::IamBuilder::session_cache)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionCache {
    /// How many sessions at most. Each takes about a kilobyte.
    pub most: usize,
    /// How old one may be. At most a second.
    pub max_age: Duration,
}

/// Ten thousand sessions for a second.
impl Default for SessionCache {
    fn default() -> Self {
        Self { most: 10_000, max_age: LONGEST }
    }
}

impl SessionCache {
    /// What is wrong with it, in words, or nothing.
    pub(super) fn problem(&self) -> Option<&'static str> {
        if self.max_age.is_zero() || self.max_age > LONGEST {
            Some("a session may be at most a second old, and none is as good as no cache")
        } else if self.most < SHARDS {
            Some("fewer than 16 sessions are not worth a cache")
        } else {
            None
        }
    }
}

/// Requests at the same time seldom meet in one of these.
const SHARDS: usize = 16;

/// The cached sessions of a process.
pub(crate) struct CachedSessions {
    sizes: SessionCache,
    /// Rises with every change of this process that may concern a session.
    changes: AtomicU64,
    /// By the token's first byte.
    shards: [Mutex<HashMap<TokenHash, Cached>>; SHARDS],
}

struct Cached {
    record: SessionRecord,
    read_at: Timestamp,
}

/// The state of the cache before a session was read: what was read meanwhile is not kept if anything has changed since.
#[derive(Clone, Copy)]
pub(crate) struct BeforeRead(u64);

impl CachedSessions {
    pub(super) fn new(sizes: SessionCache) -> Self {
        Self { sizes, changes: AtomicU64::new(0), shards: Default::default() }
    }

    /// A session that was read a moment ago.
    pub(crate) fn get(&self, token: &TokenHash, now: Timestamp) -> Option<SessionRecord> {
        let shard = self.shard(token);
        let cached = shard.get(token)?;
        self.is_young(cached, now).then(|| cached.record.clone())
    }

    pub(crate) fn before_read(&self) -> BeforeRead {
        BeforeRead(self.changes.load(Ordering::SeqCst))
    }

    /// Keeps a session that was read, unless it has ended or anything has changed meanwhile. What is full forgets what is old, or else all of it.
    pub(crate) fn keep(&self, token: &TokenHash, record: &SessionRecord, before: BeforeRead, now: Timestamp) {
        if record.ended.is_some() {
            return;
        }
        let mut shard = self.shard(token);
        if shard.len() >= self.sizes.most / SHARDS {
            shard.retain(|_, cached| self.is_young(cached, now));
            if shard.len() >= self.sizes.most / SHARDS {
                shard.clear();
            }
        }
        // Within the lock: whoever changes something counts that first, and removes what is here after that.
        if self.changes.load(Ordering::SeqCst) == before.0 {
            shard.insert(*token, Cached { record: record.clone(), read_at: now });
        }
    }

    /// Forgets the sessions of an account.
    pub(crate) fn forget(&self, account: AccountId) {
        self.remove(|cached| cached.record.account == account);
    }

    /// Forgets all.
    pub(crate) fn forget_all(&self) {
        self.remove(|_| true);
    }

    fn remove(&self, which: impl Fn(&Cached) -> bool) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        for shard in &self.shards {
            lock(shard).retain(|_, cached| !which(cached));
        }
    }

    fn is_young(&self, cached: &Cached, now: Timestamp) -> bool {
        // One of the future is of before the clock was put back.
        cached.read_at <= now && now < cached.read_at.plus(self.sizes.max_age)
    }

    fn shard(&self, token: &TokenHash) -> MutexGuard<'_, HashMap<TokenHash, Cached>> {
        let [first, ..] = token.as_bytes();
        let [zero, ..] = &self.shards;
        lock(self.shards.get(usize::from(*first) % SHARDS).unwrap_or(zero))
    }
}

fn lock(shard: &Mutex<HashMap<TokenHash, Cached>>) -> MutexGuard<'_, HashMap<TokenHash, Cached>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
