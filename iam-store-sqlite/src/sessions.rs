//! `iam_auth_session`.

use async_trait::async_trait;
use iam_core::ports::{
    Changed, HeldSession, MOST_UNNOTED, NewSession, Proofs, REPLACED_AFTER, Renewal, Replacement,
    SessionReads, SessionRecord, SessionState, Sessions, TokenHash, micros,
};
use iam_core::{AccountId, EndReason, SessionId, SessionSummary, StoreError, Timestamp};
use iam_store_sql::{Column, SessionOfRow};
use sqlx::SqlitePool;

use crate::error::failed;
use crate::rows::Micros;
use crate::unit::{Link, Reading, Work};

type SessionRow = iam_store_sql::SessionRow<Micros>;
type SummaryRow = iam_store_sql::SummaryRow<Micros>;

/// The guard's read: one statement, a row for each role. The session is found by its token or by the one before it, each by its
/// own index: an `OR` would be planned anew with every change of the statistics.
pub(crate) async fn by_token(
    pool: &SqlitePool,
    token: &TokenHash,
) -> Result<Option<SessionRecord>, StoreError> {
    let rows = sqlx::query_as!(
        SessionRow,
        r#"SELECT 0 AS "fenced!: bool",
                s.id AS "id?", s.state AS "state?", s.auth_version AS "auth_version?", s.proofs AS "proofs?",
                s.login_time AS "login_time?", s.last_seen_at AS "last_seen_at?", s.long_lived AS "long_lived?: bool",
                s.lapsed_at AS "lapsed_at?", s.token_hash AS "token_hash?", s.previous_token_hash AS "previous_token_hash?",
                s.token_made_at AS "token_made_at?", s.token_used_at AS "token_used_at?", s.ended_at AS "ended_at?",
                s.end_reason AS "end_reason?", s.account_id AS "account_id?", a.username AS "username?",
                a.external_id AS "external_id?", a.status AS "account_status?", a.auth_version AS "account_auth_version?",
                a.created_at AS "account_created_at?", a.parent_id AS "parent_id?", p.key AS "parent_key?",
                p.status AS "parent_status?", p.factor_required_at AS "parent_factor_required_at?",
                p.factor_grace AS "parent_factor_grace?", r.name AS "role?", g.granted_at AS "role_granted_at?",
                g.expires_at AS "role_expires_at?", r.factor_required_at AS "role_factor_required_at?",
                r.factor_grace AS "role_factor_grace?"
            FROM iam_auth_session s
            JOIN iam_user_account a ON a.id = s.account_id
            LEFT JOIN iam_parent p ON p.id = a.parent_id
            LEFT JOIN iam_user_role g ON g.account_id = a.id
            LEFT JOIN iam_role r ON r.id = g.role_id
            WHERE s.rowid = coalesce((SELECT rowid FROM iam_auth_session WHERE token_hash = ?1),
                (SELECT rowid FROM iam_auth_session WHERE previous_token_hash = ?1))"#,
        &token.as_bytes()[..]
    );
    iam_store_sql::session(rows.fetch_all(pool).await.map_err(failed)?)
}

pub(crate) async fn touch(
    pool: &SqlitePool,
    id: SessionId,
    now: Timestamp,
    unless_after: Timestamp,
    lapsed_at: Option<Timestamp>,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "UPDATE iam_auth_session SET last_seen_at = ?1, lapsed_at = coalesce(?4, lapsed_at)
         WHERE id = ?2 AND ended_at IS NULL AND last_seen_at <= ?3 AND last_seen_at < ?1",
        now.as_micros(),
        &id.as_bytes()[..],
        unless_after.as_micros(),
        lapsed_at.map(Timestamp::as_micros)
    )
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
    let done = sqlx::query!("UPDATE iam_auth_session SET previous_token_hash = ?1, token_hash = ?2, token_made_at = ?3, token_used_at = NULL
         WHERE id = ?4 AND ended_at IS NULL AND long_lived = 1 AND state = 'active'
           AND (token_hash = ?1 AND coalesce(token_made_at, login_time) <= ?5
                OR previous_token_hash = ?1 AND token_used_at IS NULL AND token_made_at <= ?6)", &replacement.shown.as_bytes()[..], &replacement.new.as_bytes()[..], replacement.at.as_micros(), &id.as_bytes()[..], replacement.made_by.as_micros(), replacement.unused_made_by.as_micros())
    .execute(pool)
    .await
    .map_err(failed)?;
    Ok(done.rows_affected() == 1)
}

#[async_trait]
impl<C: Reading> SessionReads for Work<C> {
    async fn of_account(&mut self, account: AccountId) -> Result<Vec<SessionSummary>, StoreError> {
        let rows = sqlx::query_as!(
            SummaryRow,
            r#"SELECT id, login_time, proofs, last_seen_at, long_lived AS "long_lived: bool", lapsed_at, client_address, user_agent
             FROM iam_auth_session
             WHERE account_id = ? AND ended_at IS NULL AND state = 'active' ORDER BY login_time DESC, id DESC"#,
            &account.as_bytes()[..]
        );
        let rows = rows.fetch_all(self.connection()).await.map_err(failed)?;
        rows.into_iter().map(SummaryRow::read).collect()
    }

    async fn unseen_since(
        &mut self,
        before: Timestamp,
        long: bool,
        most: u32,
    ) -> Result<Vec<(SessionId, AccountId)>, StoreError> {
        let rows = sqlx::query_as!(
            SessionOfRow,
            "SELECT id, account_id FROM iam_auth_session
             WHERE ended_at IS NULL AND long_lived = ? AND last_seen_at < ? ORDER BY last_seen_at LIMIT ?",
            long,
            before.as_micros(),
            most
        );
        let rows = rows.fetch_all(self.connection()).await.map_err(failed)?;
        rows.iter().map(SessionOfRow::read).collect()
    }
}

#[async_trait]
impl<C: Link> Sessions for Work<C> {
    async fn insert(&mut self, session: &NewSession) -> Result<Changed, StoreError> {
        let done = sqlx::query!("INSERT INTO iam_auth_session
                (id, account_id, token_hash, state, auth_version, amr, login_time, last_seen_at, client_address, user_agent, long_lived,
                    proofs, tries)
             SELECT ?1, a.id, ?2, ?3, a.auth_version, ?4, ?5, ?5, ?6, ?7, ?10, ?11, ?12
             FROM iam_user_account a
             WHERE a.id = ?8 AND a.auth_version = ?9 AND a.status = 'active'
               AND (a.parent_id IS NULL
                    OR EXISTS (SELECT 1 FROM iam_parent p WHERE p.id = a.parent_id AND p.status = 'active'))", &session.id.as_bytes()[..], &session.token.as_bytes()[..], session.state.as_str(), session.proofs.amr_text(), session.login_at.as_micros(), session.client.address.map(|address| address.to_string()), session.client.user_agent.as_deref(), &session.account.as_bytes()[..], session.auth_version.as_i64(), session.long, session.proofs.to_string(), i64::from(session.tries))
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(if done.rows_affected() == 1 { Changed::Done } else { Changed::Stale })
    }

    async fn hold(&mut self, id: SessionId, token: &TokenHash) -> Result<Option<HeldSession>, StoreError> {
        // There is one writer, and it is this unit.
        let row = sqlx::query!(
            "SELECT proofs, tries FROM iam_auth_session WHERE id = ?1 AND ended_at IS NULL
                AND (token_hash = ?2 OR previous_token_hash = ?2 AND token_used_at IS NULL)",
            &id.as_bytes()[..],
            &token.as_bytes()[..]
        )
        .fetch_optional(self.connection())
        .await
        .map_err(failed)?;
        Ok(row.map(|row| HeldSession {
            proofs: Proofs::parse(&row.proofs),
            tries: u32::try_from(row.tries).unwrap_or(u32::MAX),
        }))
    }

    async fn renew(&mut self, id: SessionId, old: &TokenHash, renewal: &Renewal) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            "UPDATE iam_auth_session SET token_hash = CASE WHEN ?1 = ?9 THEN token_hash ELSE ?1 END,
                previous_token_hash = CASE WHEN ?1 = ?9 THEN previous_token_hash END,
                token_made_at = CASE WHEN ?1 = ?9 THEN token_made_at ELSE ?7 END,
                token_used_at = CASE WHEN ?1 = ?9 THEN token_used_at END,
                state = ?2, amr = ?3, auth_version = ?4, proofs = ?5, lapsed_at = coalesce(?6, lapsed_at),
                last_seen_at = max(last_seen_at, ?7)
             WHERE id = ?8 AND (token_hash = ?9 OR previous_token_hash = ?9 AND token_used_at IS NULL)
               AND state = ?10 AND auth_version = ?11 AND ended_at IS NULL",
            &renewal.token.as_bytes()[..],
            renewal.state.as_str(),
            renewal.proofs.amr_text(),
            renewal.to_version.as_i64(),
            renewal.proofs.to_string(),
            renewal.lapsed_at.map(Timestamp::as_micros),
            renewal.at.as_micros(),
            &id.as_bytes()[..],
            &old.as_bytes()[..],
            renewal.from_state.as_str(),
            renewal.from_version.as_i64()
        )
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
        let done = sqlx::query!("UPDATE iam_auth_session SET token_used_at = ?1, last_seen_at = max(last_seen_at, coalesce(?2, last_seen_at)),
                lapsed_at = coalesce(?3, lapsed_at)
             WHERE id = ?4 AND token_hash = ?5 AND token_made_at IS NOT NULL AND token_used_at IS NULL AND ended_at IS NULL", now.as_micros(), seen_at.map(Timestamp::as_micros), lapsed_at.map(Timestamp::as_micros), &id.as_bytes()[..], &token.as_bytes()[..])
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
        let done = sqlx::query!("UPDATE iam_auth_session SET long_lived = 1, token_made_at = ?, token_used_at = ?
             WHERE id = ? AND account_id = ? AND token_hash = ? AND state = 'active' AND ended_at IS NULL AND long_lived = 0", now.minus(REPLACED_AFTER).as_micros(), now.as_micros(), &id.as_bytes()[..], &account.as_bytes()[..], &token.as_bytes()[..])
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn end(&mut self, id: SessionId, reason: EndReason, now: Timestamp) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            "UPDATE iam_auth_session SET ended_at = ?1, end_reason = ?2,
                logout_time = CASE WHEN ?2 = 'logout' THEN ?1 END
             WHERE id = ?3 AND ended_at IS NULL",
            now.as_micros(),
            reason.as_str(),
            &id.as_bytes()[..]
        )
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
        let done = sqlx::query!(
            "UPDATE iam_auth_session SET ended_at = ?1, end_reason = ?2,
                logout_time = CASE WHEN ?2 = 'logout' THEN ?1 END
             WHERE account_id = ?3 AND ended_at IS NULL",
            now.as_micros(),
            reason.as_str(),
            &account.as_bytes()[..]
        )
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
        let done = sqlx::query!("UPDATE iam_auth_session SET ended_at = ?1, end_reason = ?2 WHERE account_id = ?3 AND id <> ?4 AND ended_at IS NULL", now.as_micros(), reason.as_str(), &account.as_bytes()[..], &kept.as_bytes()[..])
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
        let rows = sqlx::query!("UPDATE iam_auth_session SET ended_at = ?1, end_reason = ?2 WHERE id IN
                (SELECT id FROM iam_auth_session WHERE account_id = ?3 AND state = ?4 AND id <> ?5 AND ended_at IS NULL
                 ORDER BY last_seen_at + CASE WHEN last_seen_at > login_time THEN ?7 ELSE 0 END DESC, login_time DESC, id DESC
                 LIMIT -1 OFFSET ?6)
             RETURNING id AS \"id!\"", now.as_micros(), reason.as_str(), &account.as_bytes()[..], state.as_str(), &new.as_bytes()[..], i64::from(keep.saturating_sub(1)), micros(MOST_UNNOTED))
        .fetch_all(self.connection())
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| Column("iam_auth_session", "id").id(&row.id).map(SessionId::from_bytes))
            .collect()
    }

    async fn forget_tokens(&mut self, ended_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        let done = sqlx::query!("UPDATE iam_auth_session SET token_hash = NULL, previous_token_hash = NULL WHERE id IN
    (SELECT id FROM iam_auth_session WHERE ended_at < ? AND token_hash IS NOT NULL ORDER BY ended_at LIMIT ?)", ended_before.as_micros(), most).execute(self.connection()).await.map_err(failed)?;
        Ok(done.rows_affected())
    }

    async fn delete_ended(&mut self, ended_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        let done = sqlx::query!(
            "DELETE FROM iam_auth_session WHERE id IN
    (SELECT id FROM iam_auth_session WHERE ended_at < ? ORDER BY ended_at LIMIT ?)",
            ended_before.as_micros(),
            most
        )
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected())
    }
}
