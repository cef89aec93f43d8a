//! The store's own pool: a queue of idle connections, and as many permits as there may be connections. Who asks gets the one that was
//! idle for longest, which is tested if that is a while: the first request after a quiet time does not meet one that fell silent.
//!
//! A connection that is given back is not asked whether it still answers, which would cost the server a packet for each statement; nor
//! need it be: what broke in the middle of an answer is never given back ([`Lease`](super::Lease)). One that lies idle is looked at before it
//! is lent ([`Doubts`]). What is dropped instead of being given back is closed, without a word to a server that may not listen.

use std::cmp::min;
use std::collections::VecDeque;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor, MySqlConnection};
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use crate::doubt::{Doubts, TEST};
use crate::server::SESSION;

/// Connections at most. A unit of work holds one for some milliseconds, and none while a password is hashed.
const CONNECTIONS: usize = 10;

/// How long a connection may lie idle and is used without being tested.
const TRUSTED: Duration = Duration::from_secs(1);

/// How long a connection may lie idle, and how old it may become, before it is closed.
const IDLE: Duration = Duration::from_mins(10);
const AGE: Duration = Duration::from_mins(30);

/// How often somebody looks for those.
const SWEEP: Duration = Duration::from_mins(1);

/// How long a server that refuses a connection is left alone: longer each time.
const BACKOFF: Duration = Duration::from_millis(10);

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// A pool of the store's own.
pub(super) struct OwnPool {
    options: MySqlConnectOptions,
    permits: Arc<Semaphore>,
    /// The one that was used last at the end.
    idle: Mutex<VecDeque<Idle>>,
    /// One was given back, or is no more.
    free: Notify,
    pub(super) doubts: Doubts,
}

/// A connection that nobody uses.
struct Idle {
    connection: MySqlConnection,
    opened_at: Instant,
    since: Instant,
}

/// A connection that somebody uses. Dropped, it is closed.
pub(super) struct Used {
    connection: MySqlConnection,
    opened_at: Instant,
    permit: Permit,
}

/// The right to one connection.
struct Permit {
    permit: Option<OwnedSemaphorePermit>,
    pool: Arc<OwnPool>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.pool.free.notify_waiters();
    }
}

impl Deref for Used {
    type Target = MySqlConnection;

    fn deref(&self) -> &MySqlConnection {
        &self.connection
    }
}

impl DerefMut for Used {
    fn deref_mut(&mut self) -> &mut MySqlConnection {
        &mut self.connection
    }
}

impl Used {
    /// For the next one who asks: what was asked was answered to its end, and no transaction is open.
    pub(super) fn give_back(self) {
        let Self { connection, opened_at, permit } = self;
        let pool = Arc::clone(&permit.pool);
        if pool.permits.is_closed() || opened_at.elapsed() > AGE {
            say_goodbye(connection, Some(permit));
        } else {
            pool.idle().push_back(Idle { connection, opened_at, since: Instant::now() });
        }
    }
}

/// Closes a connection as the protocol asks, beside everything else. What goes on for it counts until it is done.
fn say_goodbye(connection: MySqlConnection, permit: Option<Permit>) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(async move {
            let _ = timeout(GOODBYE, connection.close()).await;
            drop(permit);
        });
    }
}

impl OwnPool {
    /// Opens nothing yet.
    pub(super) fn new(options: MySqlConnectOptions) -> Arc<Self> {
        let pool = Arc::new(Self {
            options,
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
            idle: Mutex::default(),
            free: Notify::new(),
            doubts: Doubts::new(),
        });
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(sweep(Arc::downgrade(&pool)));
        }
        pool
    }

    pub(super) const fn options(&self) -> &MySqlConnectOptions {
        &self.options
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that may be used, and whether it has just been opened. To be called where connections are driven, with a time limit.
    pub(super) async fn lend(self: &Arc<Self>) -> Result<(Used, bool), sqlx::Error> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
        let permit = Permit { permit: Some(permit), pool: Arc::clone(self) };
        loop {
            // In a statement of its own: the queue is not locked while a connection is looked at.
            let idle = self.idle().pop_front();
            let Some(Idle { mut connection, opened_at, since }) = idle else { break };
            if self.doubts.cover(opened_at, since) {
                continue;
            }
            if since.elapsed() < TRUSTED || self.answers(&mut connection).await {
                return Ok((Used { connection, opened_at, permit }, false));
            }
        }
        // Seldom, and much to keep: not in the future of every statement.
        let connection = Box::pin(self.open()).await?;
        Ok((Used { connection, opened_at: Instant::now(), permit }, true))
    }

    async fn answers(&self, connection: &mut MySqlConnection) -> bool {
        let asked = Instant::now();
        let answer = timeout(TEST, connection.ping()).await;
        if answer.is_err() {
            self.doubts.fell_silent(asked);
        }
        matches!(answer, Ok(Ok(())))
    }

    /// Opens a connection. A server that refuses one is probably about to start: it is asked again, for as long as the caller waits.
    async fn open(&self) -> Result<MySqlConnection, sqlx::Error> {
        let mut backoff = BACKOFF;
        loop {
            match self.options.connect().await {
                Ok(mut connection) => match connection.execute(SESSION).await {
                    Ok(_) => return Ok(connection),
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(
                            error,
                            "a connection to the database was opened, and could not be set up"
                        );
                    }
                },
                Err(sqlx::Error::Io(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error),
            }
            sleep(backoff).await;
            backoff = min(backoff * 2, 50 * BACKOFF);
        }
    }

    /// Lends nothing more, waits for what is under way, and closes all that is idle.
    pub(super) async fn close(&self) {
        self.permits.close();
        loop {
            // Made before the look: it hears of all that comes after it.
            let free = self.free.notified();
            if self.permits.available_permits() >= CONNECTIONS {
                break;
            }
            free.await;
        }
        let idle = std::mem::take(&mut *self.idle());
        for Idle { connection, .. } in idle {
            let _ = timeout(GOODBYE, connection.close()).await;
        }
    }

    /// Takes out what has been idle for too long, or is too old.
    fn outdated(&self) -> Vec<MySqlConnection> {
        let is_outdated = |idle: &Idle| idle.since.elapsed() > IDLE || idle.opened_at.elapsed() > AGE;
        let mut idle = self.idle();
        let (outdated, kept): (VecDeque<_>, _) =
            std::mem::take(&mut *idle).into_iter().partition(is_outdated);
        *idle = kept;
        outdated.into_iter().map(|idle| idle.connection).collect()
    }
}

/// Closes idle connections in time, for as long as there is the pool.
async fn sweep(pool: Weak<OwnPool>) {
    loop {
        sleep(SWEEP).await;
        let Some(pool) = pool.upgrade().filter(|pool| !pool.permits.is_closed()) else { return };
        for connection in pool.outdated() {
            say_goodbye(connection, None);
        }
    }
}
