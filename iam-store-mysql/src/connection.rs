//! Connections: on loan from the pool for one statement or one unit of work, with a time limit on everything.
//!
//! A statement that was sent is read to its end by a task of its own. A caller that goes away meanwhile, as when a
//! client hangs up, leaves no half-read answer on a connection, and costs no new one. A connection that did not
//! answer in time, or that answered as the primary of before a failover does, is closed and never used again; and
//! so are those that lie idle and may have met the same fate ([`Doubts`]).
//!
//! Those tasks run where the store was connected ([`Driver`]), whoever asks.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use iam_core::StoreError;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::pool::PoolConnection;
use sqlx::{Executor, MySql, MySqlConnection, MySqlPool};
use tokio::time::{Instant, timeout, timeout_at};

mod driver;
mod pool;
mod statement;

use driver::Driver;
use pool::{OwnPool, Used};
use statement::ping;
pub(crate) use statement::{Statement, all, execute, one, optional, run, text, unless_fenced};

use crate::doubt::TEST;
use crate::error::{failed, is_conflict, is_dead, is_fenced, is_silence, spoils_connection, timed_out};
use crate::probe::Probe;

/// How long a read, or one statement of a unit of work, may take in all: waiting for a connection, and trying again.
pub(crate) const STATEMENT: Duration = Duration::from_secs(3);

/// How long a unit of work may be open.
const UNIT: Duration = Duration::from_secs(10);

/// How long to wait for a connection to be clean again after its use.
const GIVE_BACK: Duration = Duration::from_secs(1);

/// How often something that lost against another unit of work is tried again.
const RETRIES: u32 = 3;

/// What is lent: of the store's own pool, or of the host's, which asks it whether it answers when it is given back.
enum Borrowed {
    Own(Used),
    Hosts(PoolConnection<MySql>),
}

impl Borrowed {
    fn connection(&mut self) -> &mut MySqlConnection {
        match self {
            Self::Own(used) => used,
            Self::Hosts(connection) => connection,
        }
    }

    /// Closed at once, without a word to a server that may not listen.
    fn discard(self) {
        match self {
            Self::Own(used) => drop(used),
            Self::Hosts(connection) => drop(connection.detach()),
        }
    }
}

/// A connection on loan.
pub(crate) struct Lease {
    connection: Option<Borrowed>,
    from: Connections,
    /// Whether a transaction may be open.
    open: bool,
    /// Whether an answer is awaited.
    asking: bool,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        // Something broke in the middle: nobody knows what comes next on this connection.
        if self.asking {
            return connection.discard();
        }
        match (connection, self.from.driver.handle()) {
            (Borrowed::Own(used), _) if !self.open => used.give_back(),
            (connection, Some(runtime)) => {
                drop(runtime.spawn(give_back(connection, self.open, self.from.clone())));
            }
            (connection, None) => connection.discard(),
        }
    }
}

/// With time limits: a pool would wait for an answer from a server that is gone, and count the connection as its own.
async fn give_back(mut borrowed: Borrowed, open: bool, from: Connections) {
    let asked = Instant::now();
    if open {
        let answer = timeout(GIVE_BACK, borrowed.connection().execute("ROLLBACK")).await;
        if !matches!(answer, Ok(Ok(_))) {
            borrowed.discard();
            if answer.is_err() {
                from.fell_silent(asked);
            }
            return;
        }
    }
    match borrowed {
        Borrowed::Own(used) => used.give_back(),
        Borrowed::Hosts(mut connection) => {
            if timeout(GIVE_BACK, connection.return_to_pool()).await.is_err() {
                from.fell_silent(asked);
            }
        }
    }
}

impl Lease {
    /// Asks on this connection. It comes back when it may be used again.
    async fn ask<T: Send + 'static>(
        self,
        deadline: Instant,
        statement: Statement<T>,
    ) -> (Option<Self>, Result<T, sqlx::Error>) {
        let driver = Arc::clone(&self.from.driver);
        // On the heap once, and not moved whole into the task.
        let finished = driver.run(deadline, Box::pin(self.finish(deadline, statement))).await;
        finished.unwrap_or_else(|error| (None, Err(error)))
    }

    async fn finish<T>(
        mut self,
        deadline: Instant,
        statement: Statement<T>,
    ) -> (Option<Self>, Result<T, sqlx::Error>) {
        let Some(connection) = &mut self.connection else { return (None, Err(sqlx::Error::WorkerCrashed)) };
        self.asking = true;
        let asked = Instant::now();
        let answer = timeout_at(deadline, statement(connection.connection())).await;
        let answer = answer.unwrap_or_else(|_| Err(timed_out()));
        self.asking = false;
        let Err(error) = &answer else { return (Some(self), answer) };
        self.from.probe.hear_of(error);
        if !spoils_connection(error) {
            return (Some(self), answer);
        }
        if let Some(connection) = self.connection.take() {
            connection.discard();
        }
        if is_silence(error) {
            self.from.fell_silent(asked);
        } else if is_fenced(error) {
            self.from.was_fenced();
        }
        (None, answer)
    }
}

/// A transaction on loan, until its time is over.
pub(crate) struct Open {
    lease: Option<Lease>,
    deadline: Instant,
    /// Whether its owner was told of something that it wrote or locked: then it can't be begun anew behind the
    /// owner's back.
    bound: bool,
}

impl Open {
    /// What lost against another transaction before it held anything is tried again, in the same transaction begun
    /// anew. Later the server has undone what the owner believes written, so nothing can go on.
    async fn ask<T: Send + 'static>(
        &mut self,
        statement: impl Fn() -> Statement<T> + Send,
    ) -> Result<T, sqlx::Error> {
        let deadline = self.deadline.min(Instant::now() + STATEMENT);
        let mut tried = 0;
        loop {
            let lease = self.lease.take().ok_or_else(over)?;
            let (lease, answer) = lease.ask(deadline, statement()).await;
            match answer {
                Err(error) if is_conflict(&error) => {
                    tried += 1;
                    let Some(lease) = lease.filter(|_| !self.bound && tried <= RETRIES) else {
                        return Err(error);
                    };
                    tracing::debug!(tried, "lost against another unit of work: tried again");
                    pause(tried).await;
                    let (lease, begun) = lease.ask(deadline, text("ROLLBACK; START TRANSACTION")).await;
                    begun?;
                    self.lease = lease;
                }
                answer => {
                    self.lease = lease;
                    return answer;
                }
            }
        }
    }

    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        self.try_commit().await.map_err(failed)
    }

    pub(crate) async fn try_commit(mut self) -> Result<(), sqlx::Error> {
        let lease = self.lease.take().ok_or_else(over)?;
        let (lease, answer) = lease.ask(Instant::now() + STATEMENT, text("COMMIT")).await;
        answer?;
        if let Some(mut lease) = lease {
            lease.open = false;
        }
        Ok(())
    }
}

/// What can be asked for what was written.
pub(crate) trait Reading: Send {
    /// Asks for something that takes no lock.
    fn read<T: Send + 'static>(
        &mut self,
        statement: impl Fn() -> Statement<T> + Send,
    ) -> impl Future<Output = Result<T, StoreError>> + Send;
}

impl Reading for Connections {
    async fn read<T: Send + 'static>(
        &mut self,
        statement: impl Fn() -> Statement<T> + Send,
    ) -> Result<T, StoreError> {
        Self::read(self, statement).await
    }
}

impl Reading for Open {
    async fn read<T: Send + 'static>(
        &mut self,
        statement: impl Fn() -> Statement<T> + Send,
    ) -> Result<T, StoreError> {
        self.try_read(statement).await.map_err(failed)
    }
}

impl Reading for &mut MySqlConnection {
    async fn read<T: Send + 'static>(
        &mut self,
        statement: impl Fn() -> Statement<T> + Send,
    ) -> Result<T, StoreError> {
        self.try_read(statement).await.map_err(failed)
    }
}

/// What leads to a transaction.
pub(crate) trait Link: Reading {
    /// Asks for something that takes no lock: nothing is lost when a transaction of our own is begun anew after it.
    fn try_read<T: Send + 'static>(
        &mut self,
        statement: impl Fn() -> Statement<T> + Send,
    ) -> impl Future<Output = Result<T, sqlx::Error>> + Send;

    /// Asks for something that writes. Says how many rows it met.
    fn try_write(
        &mut self,
        statement: impl Fn() -> Statement<u64> + Send,
    ) -> impl Future<Output = Result<u64, sqlx::Error>> + Send;

    /// Asks for something that locks what it reads.
    fn try_lock<T: Send + 'static>(
        &mut self,
        statement: impl Fn() -> Statement<T> + Send,
    ) -> impl Future<Output = Result<T, sqlx::Error>> + Send;

    /// The same for any number of rows. Where there is none nothing is locked that the owner relies on.
    fn try_lock_rows<T: Send + 'static>(
        &mut self,
        statement: impl Fn() -> Statement<Vec<T>> + Send,
    ) -> impl Future<Output = Result<Vec<T>, sqlx::Error>> + Send;

    fn write(
        &mut self,
        statement: impl Fn() -> Statement<u64> + Send,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send {
        async { self.try_write(statement).await.map_err(failed) }
    }

    fn lock<T: Send + 'static>(
        &mut self,
        statement: impl Fn() -> Statement<T> + Send,
    ) -> impl Future<Output = Result<T, StoreError>> + Send {
        async { self.try_lock(statement).await.map_err(failed) }
    }

    fn lock_rows<T: Send + 'static>(
        &mut self,
        statement: impl Fn() -> Statement<Vec<T>> + Send,
    ) -> impl Future<Output = Result<Vec<T>, StoreError>> + Send {
        async { self.try_lock_rows(statement).await.map_err(failed) }
    }
}

impl Link for Open {
    async fn try_read<T: Send + 'static>(
        &mut self,
        statement: impl Fn() -> Statement<T> + Send,
    ) -> Result<T, sqlx::Error> {
        self.ask(statement).await
    }

    async fn try_write(&mut self, statement: impl Fn() -> Statement<u64> + Send) -> Result<u64, sqlx::Error> {
        let answer = self.ask(statement).await;
        // What met no row left nothing behind that anyone relies on; what failed may have.
        self.bound |= !matches!(answer, Ok(0));
        answer
    }

    async fn try_lock<T: Send + 'static>(
        &mut self,
        statement: impl Fn() -> Statement<T> + Send,
    ) -> Result<T, sqlx::Error> {
        let answer = self.ask(statement).await;
        self.bound = true;
        answer
    }

    async fn try_lock_rows<T: Send + 'static>(
        &mut self,
        statement: impl Fn() -> Statement<Vec<T>> + Send,
    ) -> Result<Vec<T>, sqlx::Error> {
        let answer = self.ask(statement).await;
        self.bound |= !matches!(&answer, Ok(rows) if rows.is_empty());
        answer
    }
}

/// The host's own: it is asked where the host is, waits as long as the host lets it, and is never begun anew.
impl Link for &mut MySqlConnection {
    async fn try_read<T: Send + 'static>(
        &mut self,
        statement: impl Fn() -> Statement<T> + Send,
    ) -> Result<T, sqlx::Error> {
        statement()(self).await
    }

    async fn try_write(&mut self, statement: impl Fn() -> Statement<u64> + Send) -> Result<u64, sqlx::Error> {
        statement()(self).await
    }

    async fn try_lock<T: Send + 'static>(
        &mut self,
        statement: impl Fn() -> Statement<T> + Send,
    ) -> Result<T, sqlx::Error> {
        statement()(self).await
    }

    async fn try_lock_rows<T: Send + 'static>(
        &mut self,
        statement: impl Fn() -> Statement<Vec<T>> + Send,
    ) -> Result<Vec<T>, sqlx::Error> {
        statement()(self).await
    }
}

/// What a unit of work says after its connection or its transaction was lost.
fn over() -> sqlx::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "this unit of work failed before").into()
}

/// Some milliseconds, more each time, and never the same for two.
async fn pause(tried: u32) {
    let random = RandomState::new().hash_one(tried) % 16;
    tokio::time::sleep(Duration::from_millis((random + 1) << tried)).await;
}

/// Where connections come from.
#[derive(Clone)]
enum Source {
    Own(Arc<OwnPool>),
    Hosts(MySqlPool),
}

/// A pool with time limits.
#[derive(Clone)]
pub(crate) struct Connections {
    source: Source,
    driver: Arc<Driver>,
    /// Hears of everything that failed.
    pub(crate) probe: Arc<Probe>,
}

impl Connections {
    /// Of the store's own, driven by the runtime that this is called on.
    pub(crate) fn own(options: MySqlConnectOptions) -> Self {
        Self::of(Source::Own(OwnPool::new(options)))
    }

    /// Of a pool of the host's. Driven by the runtime that this is called on, if there is one.
    pub(crate) fn hosts(pool: MySqlPool) -> Self {
        Self::of(Source::Hosts(pool))
    }

    fn of(source: Source) -> Self {
        Self { source, driver: Arc::new(Driver::here()), probe: Arc::default() }
    }

    /// How to reach the server.
    pub(crate) fn options(&self) -> MySqlConnectOptions {
        match &self.source {
            Source::Own(pool) => pool.options().clone(),
            Source::Hosts(pool) => (*pool.connect_options()).clone(),
        }
    }

    /// Closes what is the store's own, after what is under way. What is the host's is left to the host.
    pub(crate) async fn close(&self) {
        if let Source::Own(pool) = &self.source {
            pool.close().await;
        }
    }

    /// One that was asked at this moment did not answer. What else was not heard of since is not used any more, unless the wait
    /// was so short, as little was left of a statement's or a unit's time, that it says nothing.
    fn fell_silent(&self, asked: Instant) {
        if asked.elapsed() < TEST {
            return;
        }
        match &self.source {
            Source::Own(pool) => pool.doubts.fell_silent(asked),
            Source::Hosts(pool) => forget_idle(pool),
        }
    }

    /// One leads to a server that can't write any more. What else is there already is not used any more.
    fn was_fenced(&self) {
        match &self.source {
            Source::Own(pool) => pool.doubts.was_fenced(),
            Source::Hosts(pool) => forget_idle(pool),
        }
    }

    /// Asks for something that changes nothing. If the connection had died in the pool, again on one that answers; if it
    /// leads to the primary of before, once on another one.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        statement: impl Fn() -> Statement<T> + Send,
    ) -> Result<T, StoreError> {
        self.try_read(statement).await.map_err(failed)
    }

    /// The same, for who wants to know the error.
    pub(crate) async fn try_read<T: Send + 'static>(
        &self,
        statement: impl Fn() -> Statement<T> + Send,
    ) -> Result<T, sqlx::Error> {
        let deadline = Instant::now() + STATEMENT;
        let mut answer = self.ask(deadline, Loan::PLAIN, statement()).await.1;
        // One whose runtime has ended may still answer a test, if that is quick, and nothing after it.
        for tried in 0..RETRIES {
            if !answer.as_ref().is_err_and(|error| is_dead(error) || is_fenced(error) && tried == 0) {
                break;
            }
            answer = self.ask(deadline, Loan::TESTED, statement()).await.1;
        }
        answer
    }

    /// One statement that is a unit of work by itself.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        statement: impl Fn() -> Statement<T> + Send,
    ) -> Result<T, StoreError> {
        let deadline = Instant::now() + STATEMENT;
        let mut tried = 0;
        loop {
            match self.ask(deadline, Loan::PLAIN, statement()).await.1 {
                Err(error) if is_conflict(&error) && tried < RETRIES => {
                    tried += 1;
                    pause(tried).await;
                }
                answer => return answer.map_err(failed),
            }
        }
    }

    pub(crate) async fn begin(&self) -> Result<Open, StoreError> {
        self.try_begin().await.map_err(failed)
    }

    /// The same, with the driver's own error.
    pub(crate) async fn try_begin(&self) -> Result<Open, sqlx::Error> {
        let begun = Instant::now();
        let deadline = begun + STATEMENT;
        let mut loan = Loan { tested: false, open: true };
        let mut tried = 0;
        loop {
            match self.ask(deadline, loan, text("START TRANSACTION")).await {
                (_, Err(error)) if is_dead(&error) && tried < RETRIES => {
                    (loan.tested, tried) = (true, tried + 1);
                }
                (_, Err(error)) => return Err(error),
                (lease, Ok(())) => return Ok(Open { lease, deadline: begun + UNIT, bound: false }),
            }
        }
    }

    /// Borrows a connection and asks on it: one task for both.
    async fn ask<T: Send + 'static>(
        &self,
        deadline: Instant,
        loan: Loan,
        statement: Statement<T>,
    ) -> (Option<Lease>, Result<T, sqlx::Error>) {
        let connections = self.clone();
        // On the heap once, and not moved whole into the task.
        let asking = Box::pin(async move {
            match connections.lend(deadline, loan).await {
                Ok(lease) => lease.finish(deadline, statement).await,
                Err(error) => (None, Err(error)),
            }
        });
        self.driver.run(deadline, asking).await.unwrap_or_else(|error| (None, Err(error)))
    }

    /// A connection, and whether it is known to have just been opened.
    async fn borrow(&self) -> Result<(Borrowed, bool), sqlx::Error> {
        match &self.source {
            Source::Own(pool) => {
                let (used, is_new) = pool.lend().await?;
                Ok((Borrowed::Own(used), is_new))
            }
            // Which of its connections it has just opened, a host's pool does not tell.
            Source::Hosts(pool) => Ok((Borrowed::Hosts(Box::pin(pool.acquire()).await?), false)),
        }
    }

    /// A connection. To be called where connections are driven.
    async fn lend(&self, deadline: Instant, Loan { tested, open }: Loan) -> Result<Lease, sqlx::Error> {
        loop {
            let begun = Instant::now();
            let lent = timeout_at(deadline, self.borrow()).await;
            let lent = lent.unwrap_or(Err(sqlx::Error::PoolTimedOut));
            if matches!(lent, Err(sqlx::Error::PoolTimedOut)) {
                // It may have waited for the answer of one that the pool tested. If all are in use, there is none to go.
                self.fell_silent(begun);
            }
            let (connection, is_new) = lent?;
            let lease = Lease { connection: Some(connection), from: self.clone(), open, asking: false };
            if !tested || is_new {
                return Ok(lease);
            }
            match lease.finish(deadline, ping()).await {
                (Some(lease), Ok(())) => return Ok(lease),
                (_, Err(error)) if !is_dead(&error) && !is_silence(&error) => return Err(error),
                // None is taken, and thrown away, that there is no time to ask.
                (_, Err(error)) if Instant::now() >= deadline => return Err(error),
                _ => {}
            }
        }
    }
}

/// A host's pool does not tell us since when its connections have been idle, so all that are go.
fn forget_idle(pool: &MySqlPool) {
    for _ in 0..pool.size() {
        let Some(connection) = pool.try_acquire() else { return };
        drop(connection.detach());
    }
}

/// What a connection is borrowed for.
#[derive(Clone, Copy)]
struct Loan {
    /// It must have answered just now.
    tested: bool,
    /// A transaction.
    open: bool,
}

impl Loan {
    const PLAIN: Self = Self { tested: false, open: false };
    const TESTED: Self = Self { tested: true, open: false };
}
