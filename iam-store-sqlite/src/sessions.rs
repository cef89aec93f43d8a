//! `iam_auth_session`.

use async_trait::async_trait;
use iam_core::ports::{
    AuthVersion, Changed, HeldSession, MOST_UNNOTED, NewSession, ParentOfAccount, Proofs, REPLACED_AFTER,
    Renewal, Replacement, RoleOfAccount, SessionReads, SessionRecord, SessionState, Sessions, TokenHash,
    Tokens, micros,
};
use iam_core::{
    AccountId, AccountStatus, Client, EndReason, ExternalId, ParentId, ParentKey, ParentStatus, RoleName,
    SessionId, SessionSummary, StoreError, Timestamp, Username,
};

use sqlx::SqlitePool;
use sqlx::sqlite::SqliteRow;

use crate::error::failed;
use crate::rows::Columns;
use crate::unit::{Link, Reading, Work};

/// The guard's read: one statement, a row for each role. The session is found by its token or by the one before it, each by its
/// own index: an `OR` would be planned anew with every change of the statistics.
pub(crate) const BY_TOKEN: &str =
    "SELECT s.id, s.state, s.auth_version, s.proofs, s.login_time, s.last_seen_at,
        s.long_lived, s.lapsed_at, s.token_hash, s.previous_token_hash, s.token_made_at, s.token_used_at,
        s.ended_at, s.end_reason, s.account_id, a.username, a.external_id, a.status AS account_status,
        a.auth_version AS account_auth_version, a.created_at AS account_created_at,
        a.parent_id, p.key AS parent_key, p.status AS parent_status,
        p.factor_required_at AS parent_factor_required_at, p.factor_grace AS parent_factor_grace,
        r.name AS role, g.granted_at AS role_granted_at, g.expires_at AS role_expires_at,
        r.factor_required_at AS role_factor_required_at, r.factor_grace AS role_factor_grace
    FROM iam_auth_session s
    JOIN iam_user_account a ON a.id = s.account_id
    LEFT JOIN iam_parent p ON p.id = a.parent_id
    LEFT JOIN iam_user_role g ON g.account_id = a.id
    LEFT JOIN iam_role r ON r.id = g.role_id
    WHERE s.rowid = coalesce((SELECT rowid FROM iam_auth_session WHERE token_hash = ?1),
        (SELECT rowid FROM iam_auth_session WHERE previous_token_hash = ?1))";

const UNSEEN_SINCE: &str = "SELECT id, account_id FROM iam_auth_session
    WHERE ended_at IS NULL AND long_lived = ? AND last_seen_at < ? ORDER BY last_seen_at LIMIT ?";

const FORGET_TOKENS: &str = "UPDATE iam_auth_session SET token_hash = NULL, previous_token_hash = NULL WHERE id IN
    (SELECT id FROM iam_auth_session WHERE ended_at < ? AND token_hash IS NOT NULL ORDER BY ended_at LIMIT ?)";

const DELETE_ENDED: &str = "DELETE FROM iam_auth_session WHERE id IN
    (SELECT id FROM iam_auth_session WHERE ended_at < ? ORDER BY ended_at LIMIT ?)";

pub(crate) async fn by_token(
    pool: &SqlitePool,
    token: &TokenHash,
) -> Result<Option<SessionRecord>, StoreError> {
    let query = sqlx::query(BY_TOKEN).bind(&token.as_bytes()[..]);
    let rows = query.fetch_all(pool).await.map_err(failed)?;
    let Some(first) = rows.first() else { return Ok(None) };
    let mut record = record(first)?;
    for row in &rows {
        record.roles.extend(role(row)?);
    }
    Ok(Some(record))
}

fn role(row: &SqliteRow) -> Result<Option<RoleOfAccount>, StoreError> {
    let columns = Columns { table: "iam_role", row };
    let Some(name) = columns.maybe_parsed("role", |name| RoleName::parse(name).ok())? else {
        return Ok(None);
    };
    Ok(Some(RoleOfAccount {
        name,
        granted_at: columns.time("role_granted_at")?,
        expires_at: columns.maybe_time("role_expires_at")?,
        factor_required: columns.requirement("role_factor_required_at", "role_factor_grace")?,
    }))
}

fn record(row: &SqliteRow) -> Result<SessionRecord, StoreError> {
    let columns = Columns { table: "iam_auth_session", row };
    let account = Columns { table: "iam_user_account", row };
    Ok(SessionRecord {
        id: SessionId::from_bytes(columns.id("id")?),
        state: columns.parsed("state", SessionState::parse)?,
        auth_version: AuthVersion::from_i64(columns.number("auth_version")?),
        proofs: Proofs::parse(&columns.text("proofs")?),
        login_at: columns.time("login_time")?,
        last_seen_at: columns.time("last_seen_at")?,
        long: columns.number("long_lived")? == 1,
        lapsed_at: columns.maybe_time("lapsed_at")?,
        tokens: tokens(&columns)?,
        ended: ended(&columns)?,
        account: AccountId::from_bytes(columns.id("account_id")?),
        username: Username::from_stored(account.text("username")?),
        external_id: account.maybe_text("external_id")?.map(ExternalId::from_stored),
        account_status: account.parsed("account_status", AccountStatus::parse)?,
        account_auth_version: AuthVersion::from_i64(account.number("account_auth_version")?),
        account_created_at: account.time("account_created_at")?,
        parent: parent(row)?,
        roles: Vec::new(),
    })
}

fn tokens(columns: &Columns<'_>) -> Result<Tokens, StoreError> {
    Ok(Tokens::new(
        columns.maybe_digest("token_hash")?.map(TokenHash::from_bytes),
        columns.maybe_digest("previous_token_hash")?.map(TokenHash::from_bytes),
        columns.time("login_time")?,
        columns.maybe_time("token_made_at")?,
        columns.maybe_time("token_used_at")?,
    ))
}

/// An end without a readable reason is still no session that lives.
fn ended(columns: &Columns<'_>) -> Result<Option<(Timestamp, EndReason)>, StoreError> {
    let Some(at) = columns.maybe_time("ended_at")? else { return Ok(None) };
    Ok(Some((at, EndReason::parse(&columns.maybe_text("end_reason")?.unwrap_or_default()))))
}

fn parent(row: &SqliteRow) -> Result<Option<ParentOfAccount>, StoreError> {
    let columns = Columns { table: "iam_parent", row };
    let Some(id) = columns.maybe_id("parent_id")? else { return Ok(None) };
    Ok(Some(ParentOfAccount {
        id: ParentId::from_bytes(id),
        key: columns.parsed("parent_key", |key| ParentKey::parse(key).ok())?,
        status: columns.parsed("parent_status", ParentStatus::parse)?,
        factor_required: columns.requirement("parent_factor_required_at", "parent_factor_grace")?,
    }))
}

fn summary(row: &SqliteRow) -> Result<SessionSummary, StoreError> {
    let columns = Columns { table: "iam_auth_session", row };
    let mut client = Client::default();
    client.address = columns.maybe_parsed("client_address", |text| text.parse().ok())?;
    client.user_agent = columns.maybe_text("user_agent")?;
    Ok(SessionSummary {
        id: SessionId::from_bytes(columns.id("id")?),
        login_at: columns.time("login_time")?,
        proofs: Proofs::parse(&columns.text("proofs")?),
        last_seen_at: columns.time("last_seen_at")?,
        lapsed_at: columns.maybe_time("lapsed_at")?,
        long: columns.number("long_lived")? == 1,
        client,
    })
}

pub(crate) async fn touch(
    pool: &SqlitePool,
    id: SessionId,
    now: Timestamp,
    unless_after: Timestamp,
    lapsed_at: Option<Timestamp>,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE iam_auth_session SET last_seen_at = ?1, lapsed_at = coalesce(?4, lapsed_at)
         WHERE id = ?2 AND ended_at IS NULL AND last_seen_at <= ?3 AND last_seen_at < ?1",
    )
    .bind(now.as_micros())
    .bind(&id.as_bytes()[..])
    .bind(unless_after.as_micros())
    .bind(lapsed_at.map(Timestamp::as_micros))
    .execute(pool)
    .await
    .map_err(failed)?;
    Ok(done.rows_affected() == 1)
}

pub(crate) async fn replace_token(
    pool: &SqlitePool,
    id: SessionId,
    replacement: &Replacement,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE iam_auth_session SET previous_token_hash = ?1, token_hash = ?2, token_made_at = ?3, token_used_at = NULL
         WHERE id = ?4 AND ended_at IS NULL AND long_lived = 1 AND state = 'active'
           AND (token_hash = ?1 AND coalesce(token_made_at, login_time) <= ?5
                OR previous_token_hash = ?1 AND token_used_at IS NULL AND token_made_at <= ?6)",
    )
    .bind(&replacement.shown.as_bytes()[..])
    .bind(&replacement.new.as_bytes()[..])
    .bind(replacement.at.as_micros())
    .bind(&id.as_bytes()[..])
    .bind(replacement.made_by.as_micros())
    .bind(replacement.unused_made_by.as_micros())
    .execute(pool)
    .await
    .map_err(failed)?;
    Ok(done.rows_affected() == 1)
}

#[async_trait]
impl<C: Reading> SessionReads for Work<C> {
    async fn of_account(&mut self, account: AccountId) -> Result<Vec<SessionSummary>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, login_time, proofs, last_seen_at, long_lived, lapsed_at, client_address, user_agent
             FROM iam_auth_session
             WHERE account_id = ? AND ended_at IS NULL AND state = 'active' ORDER BY login_time DESC, id DESC",
        )
        .bind(&account.as_bytes()[..])
        .fetch_all(self.connection())
        .await
        .map_err(failed)?;
        rows.iter().map(summary).collect()
    }

    async fn unseen_since(
        &mut self,
        before: Timestamp,
        long: bool,
        most: u32,
    ) -> Result<Vec<(SessionId, AccountId)>, StoreError> {
        let query = sqlx::query(UNSEEN_SINCE).bind(long).bind(before.as_micros()).bind(i64::from(most));
        let rows = query.fetch_all(self.connection()).await.map_err(failed)?;
        rows.iter()
            .map(|row| {
                let columns = Columns { table: "iam_auth_session", row };
                let (id, account) = (columns.id("id")?, columns.id("account_id")?);
                Ok((SessionId::from_bytes(id), AccountId::from_bytes(account)))
            })
            .collect()
    }
}

#[async_trait]
impl<C: Link> Sessions for Work<C> {
    async fn insert(&mut self, session: &NewSession) -> Result<Changed, StoreError> {
        let done = sqlx::query(
            "INSERT INTO iam_auth_session
                (id, account_id, token_hash, state, auth_version, amr, login_time, last_seen_at, client_address, user_agent, long_lived,
                    proofs, tries)
             SELECT ?1, a.id, ?2, ?3, a.auth_version, ?4, ?5, ?5, ?6, ?7, ?10, ?11, ?12
             FROM iam_user_account a
             WHERE a.id = ?8 AND a.auth_version = ?9 AND a.status = 'active'
               AND (a.parent_id IS NULL
                    OR EXISTS (SELECT 1 FROM iam_parent p WHERE p.id = a.parent_id AND p.status = 'active'))",
        )
        .bind(&session.id.as_bytes()[..])
        .bind(&session.token.as_bytes()[..])
        .bind(session.state.as_str())
        .bind(session.proofs.amr_text())
        .bind(session.login_at.as_micros())
        .bind(session.client.address.map(|address| address.to_string()))
        .bind(session.client.user_agent.as_deref())
        .bind(&session.account.as_bytes()[..])
        .bind(session.auth_version.as_i64())
        .bind(session.long)
        .bind(session.proofs.to_string())
        .bind(i64::from(session.tries))
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(if done.rows_affected() == 1 { Changed::Done } else { Changed::Stale })
    }

    async fn hold(&mut self, id: SessionId, token: &TokenHash) -> Result<Option<HeldSession>, StoreError> {
        // There is one writer, and it is this unit.
        let row = sqlx::query(
            "SELECT proofs, tries FROM iam_auth_session WHERE id = ?1 AND ended_at IS NULL
                AND (token_hash = ?2 OR previous_token_hash = ?2 AND token_used_at IS NULL)",
        )
        .bind(&id.as_bytes()[..])
        .bind(&token.as_bytes()[..])
        .fetch_optional(self.connection())
        .await
        .map_err(failed)?;
        let held = |row: &SqliteRow| {
            let columns = Columns { table: "iam_auth_session", row };
            let proofs = Proofs::parse(&columns.text("proofs")?);
            Ok(HeldSession { proofs, tries: u32::try_from(columns.number("tries")?).unwrap_or(u32::MAX) })
        };
        row.as_ref().map(held).transpose()
    }

    async fn renew(&mut self, id: SessionId, old: &TokenHash, renewal: &Renewal) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE iam_auth_session SET token_hash = CASE WHEN ?1 = ?9 THEN token_hash ELSE ?1 END,
                previous_token_hash = CASE WHEN ?1 = ?9 THEN previous_token_hash END,
                token_made_at = CASE WHEN ?1 = ?9 THEN token_made_at ELSE ?7 END,
                token_used_at = CASE WHEN ?1 = ?9 THEN token_used_at END,
                state = ?2, amr = ?3, auth_version = ?4, proofs = ?5, lapsed_at = coalesce(?6, lapsed_at),
                last_seen_at = max(last_seen_at, ?7)
             WHERE id = ?8 AND (token_hash = ?9 OR previous_token_hash = ?9 AND token_used_at IS NULL)
               AND state = ?10 AND auth_version = ?11 AND ended_at IS NULL",
        )
        .bind(&renewal.token.as_bytes()[..])
        .bind(renewal.state.as_str())
        .bind(renewal.proofs.amr_text())
        .bind(renewal.to_version.as_i64())
        .bind(renewal.proofs.to_string())
        .bind(renewal.lapsed_at.map(Timestamp::as_micros))
        .bind(renewal.at.as_micros())
        .bind(&id.as_bytes()[..])
        .bind(&old.as_bytes()[..])
        .bind(renewal.from_state.as_str())
        .bind(renewal.from_version.as_i64())
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn use_token(
        &mut self,
        id: SessionId,
        token: &TokenHash,
        now: Timestamp,
        seen_at: Option<Timestamp>,
        lapsed_at: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE iam_auth_session SET token_used_at = ?1, last_seen_at = max(last_seen_at, coalesce(?2, last_seen_at)),
                lapsed_at = coalesce(?3, lapsed_at)
             WHERE id = ?4 AND token_hash = ?5 AND token_made_at IS NOT NULL AND token_used_at IS NULL AND ended_at IS NULL",
        )
        .bind(now.as_micros())
        .bind(seen_at.map(Timestamp::as_micros))
        .bind(lapsed_at.map(Timestamp::as_micros))
        .bind(&id.as_bytes()[..])
        .bind(&token.as_bytes()[..])
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn lengthen(
        &mut self,
        id: SessionId,
        account: AccountId,
        token: &TokenHash,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE iam_auth_session SET long_lived = 1, token_made_at = ?, token_used_at = ?
             WHERE id = ? AND account_id = ? AND token_hash = ? AND state = 'active' AND ended_at IS NULL AND long_lived = 0",
        )
        .bind(now.minus(REPLACED_AFTER).as_micros())
        .bind(now.as_micros())
        .bind(&id.as_bytes()[..])
        .bind(&account.as_bytes()[..])
        .bind(&token.as_bytes()[..])
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn end(&mut self, id: SessionId, reason: EndReason, now: Timestamp) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE iam_auth_session SET ended_at = ?1, end_reason = ?2,
                logout_time = CASE WHEN ?2 = 'logout' THEN ?1 END
             WHERE id = ?3 AND ended_at IS NULL",
        )
        .bind(now.as_micros())
        .bind(reason.as_str())
        .bind(&id.as_bytes()[..])
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn end_all(
        &mut self,
        account: AccountId,
        reason: EndReason,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "UPDATE iam_auth_session SET ended_at = ?1, end_reason = ?2,
                logout_time = CASE WHEN ?2 = 'logout' THEN ?1 END
             WHERE account_id = ?3 AND ended_at IS NULL",
        )
        .bind(now.as_micros())
        .bind(reason.as_str())
        .bind(&account.as_bytes()[..])
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected())
    }

    async fn end_others(
        &mut self,
        account: AccountId,
        kept: SessionId,
        reason: EndReason,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "UPDATE iam_auth_session SET ended_at = ?1, end_reason = ?2 WHERE account_id = ?3 AND id <> ?4 AND ended_at IS NULL",
        )
        .bind(now.as_micros())
        .bind(reason.as_str())
        .bind(&account.as_bytes()[..])
        .bind(&kept.as_bytes()[..])
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected())
    }

    async fn end_longest_unused_beyond(
        &mut self,
        account: AccountId,
        state: SessionState,
        new: SessionId,
        keep: u32,
        reason: EndReason,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, StoreError> {
        let rows = sqlx::query(
            "UPDATE iam_auth_session SET ended_at = ?1, end_reason = ?2 WHERE id IN
                (SELECT id FROM iam_auth_session WHERE account_id = ?3 AND state = ?4 AND id <> ?5 AND ended_at IS NULL
                 ORDER BY last_seen_at + CASE WHEN last_seen_at > login_time THEN ?7 ELSE 0 END DESC, login_time DESC, id DESC
                 LIMIT -1 OFFSET ?6)
             RETURNING id",
        )
        .bind(now.as_micros())
        .bind(reason.as_str())
        .bind(&account.as_bytes()[..])
        .bind(state.as_str())
        .bind(&new.as_bytes()[..])
        .bind(i64::from(keep.saturating_sub(1)))
        .bind(micros(MOST_UNNOTED))
        .fetch_all(self.connection())
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| Columns { table: "iam_auth_session", row }.id("id").map(SessionId::from_bytes))
            .collect()
    }

    async fn forget_tokens(&mut self, ended_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        self.remove_before(FORGET_TOKENS, ended_before, most).await
    }

    async fn delete_ended(&mut self, ended_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        self.remove_before(DELETE_ENDED, ended_before, most).await
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Row;

    use super::{BY_TOKEN, DELETE_ENDED, FORGET_TOKENS, UNSEEN_SINCE};
    use crate::SqliteStore;

    #[tokio::test]
    async fn the_guards_read_uses_indexes_only() {
        let store = SqliteStore::open_in_memory().await.unwrap();
        store.migrate().await.unwrap();
        let sql = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {BY_TOKEN}"));
        let rows = sqlx::query(sql).bind(&[1; 32][..]).fetch_all(store.reader()).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        let (sub, steps): (Vec<_>, Vec<_>) =
            plan.iter().partition(|step| step.starts_with("SCALAR SUBQUERY "));
        assert_eq!(sub.len(), 2, "one for each of a session's tokens: {plan:#?}");
        assert_eq!(steps.len(), 7, "a step for each of them and for each table, and no sorting: {plan:#?}");
        assert!(steps.iter().all(|step| step.starts_with("SEARCH ")), "{plan:#?}");
    }

    #[tokio::test]
    async fn upkeep_finds_its_rows_by_index() {
        let store = SqliteStore::open_in_memory().await.unwrap();
        store.migrate().await.unwrap();
        for (sql, index) in [
            (UNSEEN_SINCE, "iam_auth_session_unseen"),
            (FORGET_TOKENS, "iam_auth_session_secret"),
            (DELETE_ENDED, "iam_auth_session_ended"),
        ] {
            let sql = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
            let rows = sqlx::query(sql).bind(1).bind(1).bind(1).fetch_all(store.reader()).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
            assert!(plan.iter().any(|step| step.contains(index)), "{index}: {plan:#?}");
            assert!(
                !plan.iter().any(|step| step.starts_with("SCAN ") || step.contains("TEMP B-TREE FOR ORDER")),
                "{plan:#?}"
            );
        }
    }
}
