//! The migrations of a store, applied to an empty database: `iam-schema MIGRATIONS sqlite:FILE?mode=rwc` or `mysql://...`.
//!
//! `cargo xtask sql` runs it. It knows no store, since one whose statements have changed compiles only after they were checked against the
//! database that this program makes.

use std::error::Error;
use std::path::Path;

use sqlx::migrate::Migrator;
use sqlx::{Connection as _, MySqlConnection, SqliteConnection};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [migrations, url] = arguments.as_slice() else {
        return Err("the folder of migrations and the URL of a database".into());
    };
    let mut migrator = Migrator::new(Path::new(migrations)).await?;
    migrator.dangerous_set_table_name("iam_schema_migrations");
    if url.starts_with("sqlite:") {
        migrator.run_direct(None, &mut SqliteConnection::connect(url).await?, false).await?;
    } else {
        // The server's own URL names no database: this one is made anew.
        let (server, database) = url.rsplit_once('/').ok_or("a URL that names a database")?;
        let mut connection = MySqlConnection::connect(server).await?;
        for statement in
            [format!("DROP DATABASE IF EXISTS `{database}`"), format!("CREATE DATABASE `{database}`")]
        {
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await?;
        }
        migrator.run_direct(None, &mut MySqlConnection::connect(url).await?, false).await?;
    }
    Ok(())
}
