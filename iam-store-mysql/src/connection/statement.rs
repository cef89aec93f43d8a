//! What is asked on a connection.

use futures_core::future::BoxFuture;
use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::query::{Map, Query};
use sqlx::{Connection, Executor, MySql, MySqlConnection, QueryBuilder};
use tokio::time::timeout;

use crate::doubt::TEST;
use crate::error::{fenced, timed_out};

/// Something to ask on a connection, once.
pub(crate) type Statement<T> =
    Box<dyn for<'c> FnOnce(&'c mut MySqlConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send>;

/// A statement whose answer is how many rows it met.
pub(crate) fn execute(query: Query<'static, MySql, MySqlArguments>) -> Statement<u64> {
    Box::new(move |connection| Box::pin(async move { Ok(query.execute(connection).await?.rows_affected()) }))
}

/// The same, of a text that depends on how many values it has.
pub(crate) fn run(mut statement: QueryBuilder<MySql>) -> Statement<u64> {
    Box::new(move |connection| {
        Box::pin(async move { Ok(statement.build().execute(connection).await?.rows_affected()) })
    })
}

/// A statement whose answer is at most one row. It is read to its end, as every answer: nothing of it is left on the connection for whoever asks
/// next.
pub(crate) fn optional<T, F>(query: Map<'static, MySql, F, MySqlArguments>) -> Statement<Option<T>>
where
    F: FnMut(MySqlRow) -> Result<T, sqlx::Error> + Send + 'static,
    T: Send + Unpin + 'static,
{
    Box::new(move |connection| {
        Box::pin(async move { Ok(query.fetch_all(connection).await?.into_iter().next()) })
    })
}

/// A statement whose answer is exactly one row, likewise.
pub(crate) fn one<T, F>(query: Map<'static, MySql, F, MySqlArguments>) -> Statement<T>
where
    F: FnMut(MySqlRow) -> Result<T, sqlx::Error> + Send + 'static,
    T: Send + Unpin + 'static,
{
    Box::new(move |connection| {
        Box::pin(async move {
            query.fetch_all(connection).await?.into_iter().next().ok_or(sqlx::Error::RowNotFound)
        })
    })
}

/// A statement whose answer is any number of rows.
pub(crate) fn all<T, F>(query: Map<'static, MySql, F, MySqlArguments>) -> Statement<Vec<T>>
where
    F: FnMut(MySqlRow) -> Result<T, sqlx::Error> + Send + 'static,
    T: Send + Unpin + 'static,
{
    Box::new(move |connection| Box::pin(query.fetch_all(connection)))
}

/// A statement whose rows say whether their server can't write any more: then nothing in them counts. It may be the primary
/// of before, which no longer learns of what is done.
pub(crate) fn unless_fenced<T: Send + 'static>(
    statement: Statement<Vec<T>>,
    is_fenced: fn(&T) -> bool,
) -> Statement<Vec<T>> {
    Box::new(move |connection| {
        Box::pin(async move {
            let rows = statement(connection).await?;
            if rows.iter().any(is_fenced) { Err(fenced()) } else { Ok(rows) }
        })
    })
}

/// Statements without parameters and answer, sent in one go.
pub(crate) fn text(sql: &'static str) -> Statement<()> {
    Box::new(move |connection| Box::pin(async move { connection.execute(sql).await.map(drop) }))
}

/// Whether anybody answers, which has a time of its own. It runs from here on, however long the connection was in coming.
pub(super) fn ping() -> Statement<()> {
    Box::new(|connection| {
        Box::pin(async { timeout(TEST, connection.ping()).await.unwrap_or_else(|_| Err(timed_out())) })
    })
}
