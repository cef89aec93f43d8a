//! `iam_auth_session`.

use async_trait::async_trait;
use iam_core::ports::{
    Changed, HeldSession, MOST_UNNOTED, NewSession, Proofs, REPLACED_AFTER, Renewal, Replacement,
    SessionReads, SessionRecord, SessionState, Sessions, TokenHash, micros,
};
use iam_core::{AccountId, EndReason, SessionId, SessionSummary, StoreError, Timestamp};
use iam_store_sql::Column;
use iam_store_sql::SessionOfRow;
use time::PrimitiveDateTime;

use crate::connection::{Connections, Link, Reading, all, execute, optional, unless_fenced};
use crate::rows::{DateTimes, utc};
use crate::unit::Work;

const fn column(name: &'static str) -> Column {
    Column("iam_auth_session", name)
}

type SessionRow = iam_store_sql::SessionRow<DateTimes>;
type SummaryRow = iam_store_sql::SummaryRow<DateTimes>;

/// The guard's read: one statement, a row for each role. There is a row though there be no session, since the primary of before may not know of one that there is. The session is found by its token or by the one before it,
/// each by its own index: an `OR` would be planned anew with every change of the statistics.
pub(crate) async fn by_token(
    connections: &Connections,
    token: &TokenHash,
) -> Result<Option<SessionRecord>, StoreError> {
    let find = || {
        // `read_only` is a number or a word, according to the server.
        let find = all(sqlx::query_as!(
            SessionRow,
            r#"SELECT CAST(@@GLOBAL.read_only AS CHAR) NOT IN ('0', 'OFF') AS "fenced!: bool",
                s.id AS "id?", s.state AS "state?", s.auth_version AS "auth_version?", s.proofs AS "proofs?", s.login_time AS "login_time?",
                s.last_seen_at AS "last_seen_at?",
                s.long_lived AS "long_lived?: bool", s.lapsed_at AS "lapsed_at?", s.token_hash AS "token_hash?",
                s.previous_token_hash AS "previous_token_hash?", s.token_made_at AS "token_made_at?", s.token_used_at AS "token_used_at?",
                s.ended_at AS "ended_at?", s.end_reason AS "end_reason?", s.account_id AS "account_id?",
                a.username AS "username?", a.external_id AS "external_id?", a.status AS "account_status?",
                a.auth_version AS "account_auth_version?", a.created_at AS "account_created_at?", a.parent_id AS "parent_id?",
                p.`key` AS "parent_key?", p.status AS "parent_status?",
                p.factor_required_at AS "parent_factor_required_at?", p.factor_grace AS "parent_factor_grace?",
                r.name AS "role?", g.granted_at AS "role_granted_at?", g.expires_at AS "role_expires_at?",
                r.factor_required_at AS "role_factor_required_at?", r.factor_grace AS "role_factor_grace?"
            FROM (SELECT 1 AS one) server
            LEFT JOIN (iam_auth_session s JOIN iam_user_account a ON a.id = s.account_id)
                ON s.id = COALESCE((SELECT own.id FROM iam_auth_session own WHERE own.token_hash = ?),
                    (SELECT before_it.id FROM iam_auth_session before_it WHERE before_it.previous_token_hash = ?))
            LEFT JOIN iam_parent p ON p.id = a.parent_id
            LEFT JOIN iam_user_role g ON g.account_id = a.id
            LEFT JOIN iam_role r ON r.id = g.role_id"#,
            &token.as_bytes()[..],
            &token.as_bytes()[..]
        ));
        unless_fenced(find, |row| row.fenced)
    };
    iam_store_sql::session(connections.read(find).await?)
}

pub(crate) async fn touch(
    connections: &Connections,
    id: SessionId,
    now: Timestamp,
    unless_after: Timestamp,
    lapsed_at: Option<Timestamp>,
) -> Result<bool, StoreError> {
    let touch = || {
        execute(sqlx::query!(
            "UPDATE iam_auth_session SET last_seen_at = ?, lapsed_at = COALESCE(?, lapsed_at)
             WHERE id = ? AND ended_at IS NULL AND last_seen_at <= ? AND last_seen_at < ?",
            utc(now),
            lapsed_at.map(utc),
            &id.as_bytes()[..],
            utc(unless_after),
            utc(now)
        ))
    };
    Ok(connections.write(touch).await? == 1)
}

pub(crate) async fn replace_token(
    connections: &Connections,
    id: SessionId,
    replacement: &Replacement,
) -> Result<bool, StoreError> {
    // By the row itself, as every renewal.
    let replace = || {
        let shown = &replacement.shown.as_bytes()[..];
        execute(sqlx::query!(
            "UPDATE iam_auth_session FORCE INDEX (PRIMARY)
             SET previous_token_hash = ?, token_hash = ?, token_made_at = ?, token_used_at = NULL
             WHERE id = ? AND ended_at IS NULL AND long_lived = 1 AND state = 'active'
               AND (token_hash = ? AND COALESCE(token_made_at, login_time) <= ?
                    OR previous_token_hash = ? AND token_used_at IS NULL AND token_made_at <= ?)",
            shown,
            &replacement.new.as_bytes()[..],
            utc(replacement.at),
            &id.as_bytes()[..],
            shown,
            utc(replacement.made_by),
            shown,
            utc(replacement.unused_made_by)
        ))
    };
    Ok(connections.write(replace).await? == 1)
}

#[async_trait]
impl<L: Reading> SessionReads for Work<L> {
    async fn of_account(&mut self, account: AccountId) -> Result<Vec<SessionSummary>, StoreError> {
        let find = || {
            all(sqlx::query_as!(
                SummaryRow,
                r#"SELECT id, login_time, proofs, last_seen_at, long_lived AS "long_lived: bool", lapsed_at,
                    client_address, user_agent
                 FROM iam_auth_session FORCE INDEX (iam_auth_session_live)
                 WHERE live_account_id = ? AND state = 'active' ORDER BY login_time DESC, id DESC"#,
                &account.as_bytes()[..]
            ))
        };
        self.0.read(find).await?.into_iter().map(SummaryRow::read).collect()
    }

    async fn unseen_since(
        &mut self,
        before: Timestamp,
        long: bool,
        most: u32,
    ) -> Result<Vec<(SessionId, AccountId)>, StoreError> {
        let find = || {
            all(sqlx::query_as!(
                SessionOfRow,
                "SELECT id, account_id FROM iam_auth_session FORCE INDEX (iam_auth_session_unseen)
                 WHERE ended_at IS NULL AND long_lived = ? AND last_seen_at < ? ORDER BY last_seen_at LIMIT ?",
                i8::from(long),
                utc(before),
                most
            ))
        };
        self.0.read(find).await?.iter().map(SessionOfRow::read).collect()
    }
}

#[async_trait]
impl<L: Link> Sessions for Work<L> {
    async fn insert(&mut self, session: &NewSession) -> Result<Changed, StoreError> {
        // What the session is conditional on is locked until the unit is over: whoever changes it at this moment
        // comes before or after, as a whole. For update, since a lock that is shared could not be raised later
        // without a deadlock.
        let insert = || {
            let address = session.client.address.map(|address| address.to_string());
            execute(sqlx::query!(
                "INSERT INTO iam_auth_session
                    (id, account_id, token_hash, state, auth_version, amr, proofs, tries, login_time, last_seen_at, client_address,
                        user_agent, long_lived)
                 SELECT ?, a.id, ?, ?, a.auth_version, ?, ?, ?, ?, ?, ?, ?, ?
                 FROM iam_user_account a
                 WHERE a.id = ? AND a.auth_version = ? AND a.status = 'active'
                   AND (a.parent_id IS NULL OR EXISTS
                       (SELECT 1 FROM iam_parent p WHERE p.id = a.parent_id AND p.status = 'active' LOCK IN SHARE MODE))
                 FOR UPDATE",
                &session.id.as_bytes()[..],
                &session.token.as_bytes()[..],
                session.state.as_str(),
                session.proofs.amr_text(),
                session.proofs.to_string(),
                session.tries,
                utc(session.login_at),
                utc(session.login_at),
                address,
                session.client.user_agent,
                i8::from(session.long),
                &session.account.as_bytes()[..],
                session.auth_version.as_i64()
            ))
        };
        Ok(if self.0.write(insert).await? == 1 { Changed::Done } else { Changed::Stale })
    }

    async fn hold(&mut self, id: SessionId, token: &TokenHash) -> Result<Option<HeldSession>, StoreError> {
        // Whose it is never changes, so to read that takes no lock. The account comes first: what is then written for it refers
        // to it, and who changes it ends its sessions after that.
        let whose = || {
            optional(sqlx::query!("SELECT account_id FROM iam_auth_session WHERE id = ?", &id.as_bytes()[..]))
        };
        let Some(row) = self.0.read(whose).await? else { return Ok(None) };
        self.hold_account(AccountId::from_bytes(column("account_id").id(&row.account_id)?)).await?;
        let hold = || {
            optional(sqlx::query!(
                "SELECT proofs, tries FROM iam_auth_session FORCE INDEX (PRIMARY)
                 WHERE id = ? AND (token_hash = ? OR previous_token_hash = ? AND token_used_at IS NULL) AND ended_at IS NULL FOR UPDATE",
                &id.as_bytes()[..],
                &token.as_bytes()[..],
                &token.as_bytes()[..]
            ))
        };
        let row = self.0.lock(hold).await?;
        Ok(row.map(|row| HeldSession { proofs: Proofs::parse(&row.proofs), tries: row.tries }))
    }

    async fn renew(&mut self, id: SessionId, old: &TokenHash, renewal: &Renewal) -> Result<bool, StoreError> {
        // By the row itself: who locks the token first, which this takes away, and then the row, meets it head on.
        let same = renewal.token == *old;
        let renew = || {
            execute(sqlx::query!(
                "UPDATE iam_auth_session FORCE INDEX (PRIMARY) SET token_hash = IF(?, token_hash, ?),
                    previous_token_hash = IF(?, previous_token_hash, NULL), token_made_at = IF(?, token_made_at, ?),
                    token_used_at = IF(?, token_used_at, NULL), state = ?, amr = ?, proofs = ?, auth_version = ?,
                    last_seen_at = GREATEST(last_seen_at, ?), lapsed_at = COALESCE(?, lapsed_at)
                 WHERE id = ? AND (token_hash = ? OR previous_token_hash = ? AND token_used_at IS NULL)
                   AND state = ? AND auth_version = ? AND ended_at IS NULL",
                same,
                &renewal.token.as_bytes()[..],
                same,
                same,
                utc(renewal.at),
                same,
                renewal.state.as_str(),
                renewal.proofs.amr_text(),
                renewal.proofs.to_string(),
                renewal.to_version.as_i64(),
                utc(renewal.at),
                renewal.lapsed_at.map(utc),
                &id.as_bytes()[..],
                &old.as_bytes()[..],
                &old.as_bytes()[..],
                renewal.from_state.as_str(),
                renewal.from_version.as_i64()
            ))
        };
        Ok(self.0.write(renew).await? == 1)
    }

    async fn use_token(
        &mut self,
        id: SessionId,
        token: &TokenHash,
        now: Timestamp,
        seen_at: Option<Timestamp>,
        lapsed_at: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let note = || {
            execute(sqlx::query!(
                "UPDATE iam_auth_session FORCE INDEX (PRIMARY)
                 SET token_used_at = ?, last_seen_at = GREATEST(last_seen_at, COALESCE(?, last_seen_at)),
                    lapsed_at = COALESCE(?, lapsed_at)
                 WHERE id = ? AND token_hash = ? AND token_made_at IS NOT NULL AND token_used_at IS NULL AND ended_at IS NULL",
                utc(now),
                seen_at.map(utc),
                lapsed_at.map(utc),
                &id.as_bytes()[..],
                &token.as_bytes()[..]
            ))
        };
        Ok(self.0.write(note).await? == 1)
    }

    async fn lengthen(
        &mut self,
        id: SessionId,
        account: AccountId,
        token: &TokenHash,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        // By the row itself, as every renewal.
        let lengthen = || {
            execute(sqlx::query!(
                "UPDATE iam_auth_session FORCE INDEX (PRIMARY) SET long_lived = 1, token_made_at = ?, token_used_at = ?
                 WHERE id = ? AND account_id = ? AND token_hash = ? AND state = 'active' AND ended_at IS NULL AND long_lived = 0",
                utc(now.minus(REPLACED_AFTER)),
                utc(now),
                &id.as_bytes()[..],
                &account.as_bytes()[..],
                &token.as_bytes()[..]
            ))
        };
        Ok(self.0.write(lengthen).await? == 1)
    }

    async fn end(&mut self, id: SessionId, reason: EndReason, now: Timestamp) -> Result<bool, StoreError> {
        let end = || {
            execute(sqlx::query!(
                "UPDATE iam_auth_session SET ended_at = ?, end_reason = ?, logout_time = ?
                 WHERE id = ? AND ended_at IS NULL",
                utc(now),
                reason.as_str(),
                logout_time(reason, now),
                &id.as_bytes()[..]
            ))
        };
        Ok(self.0.write(end).await? == 1)
    }

    async fn end_all(
        &mut self,
        account: AccountId,
        reason: EndReason,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let end = || {
            execute(sqlx::query!(
                "UPDATE iam_auth_session SET ended_at = ?, end_reason = ?, logout_time = ?
                 WHERE live_account_id = ?",
                utc(now),
                reason.as_str(),
                logout_time(reason, now),
                &account.as_bytes()[..]
            ))
        };
        self.0.write(end).await
    }

    async fn end_others(
        &mut self,
        account: AccountId,
        kept: SessionId,
        reason: EndReason,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let end = || {
            execute(sqlx::query!(
                "UPDATE iam_auth_session SET ended_at = ?, end_reason = ? WHERE live_account_id = ? AND id <> ?",
                utc(now),
                reason.as_str(),
                &account.as_bytes()[..],
                &kept.as_bytes()[..]
            ))
        };
        self.0.write(end).await
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
        // Who inserts or holds a session holds its account until the unit is over, so this sees all that was inserted or renewed
        // before. A locking read sees what is, whatever the isolation.
        let find = || {
            all(sqlx::query!(
                "SELECT id FROM iam_auth_session FORCE INDEX (iam_auth_session_live) WHERE live_account_id = ? AND state = ? AND id <> ?
                 ORDER BY CASE WHEN last_seen_at > login_time THEN last_seen_at + INTERVAL ? MICROSECOND ELSE last_seen_at END DESC,
                    login_time DESC, id DESC LIMIT 1000000 OFFSET ? FOR UPDATE",
                &account.as_bytes()[..],
                state.as_str(),
                &new.as_bytes()[..],
                micros(MOST_UNNOTED),
                keep.saturating_sub(1)
            ))
        };
        let mut ended = Vec::new();
        for row in self.0.lock(find).await? {
            let id = SessionId::from_bytes(column("id").id(&row.id)?);
            if self.end(id, reason, now).await? {
                ended.push(id);
            }
        }
        Ok(ended)
    }

    async fn forget_tokens(&mut self, ended_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        // What somebody else has locked is left for the next time: upkeep never waits, and never stands in a circle.
        let forget = || {
            execute(sqlx::query!(
                "UPDATE
                    (SELECT id FROM iam_auth_session FORCE INDEX (iam_auth_session_secret)
                     WHERE secret_ended_at < ? ORDER BY secret_ended_at LIMIT ? FOR UPDATE SKIP LOCKED) old
                 STRAIGHT_JOIN iam_auth_session s FORCE INDEX (PRIMARY) ON s.id = old.id
                 SET s.token_hash = NULL, s.previous_token_hash = NULL",
                utc(ended_before),
                most
            ))
        };
        self.0.write(forget).await
    }

    async fn delete_ended(&mut self, ended_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        let delete = || {
            execute(sqlx::query!(
                "DELETE s FROM
                    (SELECT id FROM iam_auth_session FORCE INDEX (iam_auth_session_unseen)
                     WHERE ended_at < ? ORDER BY ended_at LIMIT ? FOR UPDATE SKIP LOCKED) old
                 STRAIGHT_JOIN iam_auth_session s FORCE INDEX (PRIMARY) ON s.id = old.id",
                utc(ended_before),
                most
            ))
        };
        self.0.write(delete).await
    }
}

fn logout_time(reason: EndReason, now: Timestamp) -> Option<PrimitiveDateTime> {
    (reason == EndReason::Logout).then(|| utc(now))
}
