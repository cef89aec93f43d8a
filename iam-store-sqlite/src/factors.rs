//! `iam_mfa_method`, `iam_recovery_code` and `iam_mfa_challenge`.

use async_trait::async_trait;
use iam_core::ports::{
    Challenge, ChallengeId, ChallengePurpose, ChallengeReads, Challenges, Confirmation, Confirmed, Delivery,
    Inserted, Kept, LimitKey, Method, MethodId, MethodReads, Methods, NewChallenge, RecoveryCodeReads,
    RecoveryCodes, TakenPlace,
};
use iam_core::{
    AccountId, FactorKind, MethodName, ProofMethod, Purpose, SessionId, StoreError, StoredKind, Timestamp,
};
use sqlx::sqlite::SqliteRow;

use crate::error::{failed, unless_taken};
use crate::rows::Columns;
use crate::unit::{Link, Reading, Work};

const METHODS_OF: &str =
    "SELECT id, account_id, kind, name, secret, lookup, created_at, confirmed_at, last_used_at, last_step
    FROM iam_mfa_method WHERE account_id = ? ORDER BY created_at, id";

const CODES_LEFT: &str = "SELECT count(*) FROM iam_recovery_code WHERE account_id = ? AND used_at IS NULL";

/// Each with the latest message that carries its code.
const OPEN_CHALLENGES: &str =
    "SELECT c.id, c.account_id, c.session_id, c.purpose, c.kind, c.method_id, c.kept, c.approval, c.sends, c.tries, c.created_at,
        c.expires_at, c.consumed_at, c.replaced_at,
        (SELECT o.state FROM iam_outbox o WHERE o.challenge_id = c.id ORDER BY o.created_at DESC, o.id DESC LIMIT 1) AS state
    FROM iam_mfa_challenge c
    WHERE c.session_id = ? AND c.purpose = ? AND c.consumed_at IS NULL AND c.replaced_at IS NULL
    ORDER BY c.created_at, c.id";

/// ?1 session, ?2 purpose, ?3 kind, ?4 method or nothing.
const OPEN: &str =
    "SELECT id, account_id, session_id, purpose, kind, method_id, kept, approval, sends, tries, created_at, expires_at, consumed_at,
        replaced_at
    FROM iam_mfa_challenge
    WHERE session_id = ?1 AND purpose = ?2 AND kind = ?3 AND (?4 IS NULL OR method_id = ?4)
        AND consumed_at IS NULL AND replaced_at IS NULL
    ORDER BY created_at DESC, id DESC LIMIT 1";

const ASKED_LAST: &str =
    "SELECT id, account_id, session_id, purpose, kind, method_id, kept, approval, sends, tries, created_at, expires_at, consumed_at,
        replaced_at
    FROM iam_mfa_challenge
    WHERE session_id = ?1 AND purpose NOT IN ('sign_in', 'enrol') AND (?2 IS NULL OR purpose = ?2)
        AND consumed_at IS NULL AND replaced_at IS NULL AND expires_at > ?3
    ORDER BY created_at DESC, id DESC LIMIT 1";

const PURGE_UNCONFIRMED: &str = "DELETE FROM iam_mfa_method WHERE id IN
    (SELECT id FROM iam_mfa_method WHERE confirmed_at IS NULL AND created_at < ? ORDER BY created_at LIMIT ?)";

const PURGE_UNANSWERED: &str = "DELETE FROM iam_mfa_challenge WHERE id IN
    (SELECT id FROM iam_mfa_challenge WHERE consumed_at IS NULL AND expires_at < ? ORDER BY expires_at LIMIT ?)";

const PURGE: &str = "DELETE FROM iam_mfa_challenge WHERE id IN
    (SELECT id FROM iam_mfa_challenge WHERE expires_at < ? ORDER BY expires_at LIMIT ?)";

fn method(row: &SqliteRow) -> Result<Method, StoreError> {
    let columns = Columns { table: "iam_mfa_method", row };
    Ok(Method {
        id: MethodId::from_bytes(columns.id("id")?),
        account: AccountId::from_bytes(columns.id("account_id")?),
        kind: columns.parsed("kind", |kind| Some(StoredKind::parse(kind)))?,
        name: MethodName::from_stored(columns.text("name")?),
        secret: columns.maybe_bytes("secret")?.map(<[u8]>::to_vec),
        lookup: columns.maybe_bytes("lookup")?.map(<[u8]>::to_vec),
        created_at: columns.time("created_at")?,
        confirmed_at: columns.maybe_time("confirmed_at")?,
        last_used_at: columns.maybe_time("last_used_at")?,
        last_step: columns.maybe_number("last_step")?,
    })
}

/// Nothing for one of a method that only a newer program knows.
fn challenge(row: &SqliteRow) -> Result<Option<Challenge>, StoreError> {
    let columns = Columns { table: "iam_mfa_challenge", row };
    let Some(kind) = ProofMethod::parse_asked(&columns.text("kind")?) else { return Ok(None) };
    Ok(Some(Challenge {
        new: NewChallenge {
            id: ChallengeId::from_bytes(columns.id("id")?),
            account: AccountId::from_bytes(columns.id("account_id")?),
            session: SessionId::from_bytes(columns.id("session_id")?),
            purpose: columns.parsed("purpose", ChallengePurpose::parse)?,
            kind,
            method: columns.maybe_id("method_id")?.map(MethodId::from_bytes),
            kept: columns.maybe_bytes("kept")?.map(<[u8]>::to_vec),
            approval: columns.maybe_digest("approval")?,
            tries: 0,
            sends: columns.count("sends")?,
            created_at: columns.time("created_at")?,
            expires_at: columns.time("expires_at")?,
        },
        tries: columns.count("tries")?,
        consumed_at: columns.maybe_time("consumed_at")?,
        replaced_at: columns.maybe_time("replaced_at")?,
    }))
}

#[async_trait]
impl<C: Reading> MethodReads for Work<C> {
    async fn of_account(&mut self, account: AccountId) -> Result<Vec<Method>, StoreError> {
        let query = sqlx::query(METHODS_OF).bind(&account.as_bytes()[..]);
        let rows = query.fetch_all(self.connection()).await.map_err(failed)?;
        rows.iter().map(method).collect()
    }
}

#[async_trait]
impl<C: Link> Methods for Work<C> {
    async fn insert(&mut self, method: &Method, most: u32) -> Result<Kept, StoreError> {
        let done = sqlx::query(
            "INSERT INTO iam_mfa_method (id, account_id, kind, name, secret, created_at, confirmed_at, last_used_at, last_step, lookup)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?11
             WHERE (SELECT count(*) FROM iam_mfa_method WHERE account_id = ?2) < ?10",
        )
        .bind(&method.id.as_bytes()[..])
        .bind(&method.account.as_bytes()[..])
        .bind(method.kind.as_str())
        .bind(method.name.as_str())
        .bind(method.secret.as_deref())
        .bind(method.created_at.as_micros())
        .bind(method.confirmed_at.map(Timestamp::as_micros))
        .bind(method.last_used_at.map(Timestamp::as_micros))
        .bind(method.last_step)
        .bind(most)
        .bind(method.lookup.as_deref())
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(if done.rows_affected() == 1 { Kept::Done } else { Kept::Full })
    }

    async fn confirm(
        &mut self,
        account: AccountId,
        id: MethodId,
        confirmation: &Confirmation<'_>,
        made_after: Timestamp,
        now: Timestamp,
    ) -> Result<Confirmed, StoreError> {
        let done = sqlx::query(
            "UPDATE iam_mfa_method SET confirmed_at = ?, last_step = ?, secret = coalesce(?, secret), lookup = ?
             WHERE id = ? AND account_id = ? AND confirmed_at IS NULL AND created_at > ?",
        )
        .bind(now.as_micros())
        .bind(confirmation.step)
        .bind(confirmation.secret)
        .bind(confirmation.lookup)
        .bind(&id.as_bytes()[..])
        .bind(&account.as_bytes()[..])
        .bind(made_after.as_micros())
        .execute(self.connection())
        .await;
        let confirmed = done.as_ref().is_ok_and(|done| done.rows_affected() == 1);
        Ok(match unless_taken(done)? {
            Inserted::Taken(key) => Confirmed::Taken(key),
            Inserted::Done if confirmed => Confirmed::Done,
            Inserted::Done => Confirmed::Stale,
        })
    }

    async fn note_use(
        &mut self,
        account: AccountId,
        id: MethodId,
        step: Option<i64>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE iam_mfa_method SET last_used_at = ?1, last_step = coalesce(?2, last_step)
             WHERE id = ?3 AND account_id = ?4 AND confirmed_at IS NOT NULL
               AND (?2 IS NULL OR last_step IS NULL OR last_step < ?2)",
        )
        .bind(now.as_micros())
        .bind(step)
        .bind(&id.as_bytes()[..])
        .bind(&account.as_bytes()[..])
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn rewrite(
        &mut self,
        account: AccountId,
        id: MethodId,
        old: &[u8],
        new: &[u8],
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE iam_mfa_method SET secret = ?, last_used_at = ?
             WHERE id = ? AND account_id = ? AND confirmed_at IS NOT NULL AND secret = ?",
        )
        .bind(new)
        .bind(now.as_micros())
        .bind(&id.as_bytes()[..])
        .bind(&account.as_bytes()[..])
        .bind(old)
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn move_on(&mut self, account: AccountId, kind: FactorKind, step: i64) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "UPDATE iam_mfa_method SET last_step = ?1
             WHERE account_id = ?2 AND kind = ?3 AND (last_step IS NULL OR last_step < ?1)",
        )
        .bind(step)
        .bind(&account.as_bytes()[..])
        .bind(kind.as_str())
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected())
    }

    async fn rename(
        &mut self,
        account: AccountId,
        id: MethodId,
        name: &MethodName,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query("UPDATE iam_mfa_method SET name = ? WHERE id = ? AND account_id = ?")
            .bind(name.as_str())
            .bind(&id.as_bytes()[..])
            .bind(&account.as_bytes()[..])
            .execute(self.connection())
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn remove(&mut self, account: AccountId, id: MethodId) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM iam_mfa_method WHERE id = ? AND account_id = ?")
            .bind(&id.as_bytes()[..])
            .bind(&account.as_bytes()[..])
            .execute(self.connection())
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn remove_unconfirmed(&mut self, account: AccountId, id: MethodId) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "DELETE FROM iam_mfa_method WHERE id = ? AND account_id = ? AND confirmed_at IS NULL",
        )
        .bind(&id.as_bytes()[..])
        .bind(&account.as_bytes()[..])
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn remove_all(&mut self, account: AccountId) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM iam_mfa_method WHERE account_id = ?")
            .bind(&account.as_bytes()[..])
            .execute(self.connection())
            .await
            .map_err(failed)?;
        Ok(done.rows_affected())
    }

    async fn purge_unconfirmed(&mut self, made_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        self.remove_before(PURGE_UNCONFIRMED, made_before, most).await
    }
}

#[async_trait]
impl<C: Reading> RecoveryCodeReads for Work<C> {
    async fn left(&mut self, account: AccountId) -> Result<u32, StoreError> {
        let query = sqlx::query_scalar::<_, i64>(CODES_LEFT).bind(&account.as_bytes()[..]);
        let left = query.fetch_one(self.connection()).await.map_err(failed)?;
        Ok(u32::try_from(left).unwrap_or(u32::MAX))
    }
}

#[async_trait]
impl<C: Link> RecoveryCodes for Work<C> {
    async fn replace(
        &mut self,
        account: AccountId,
        digests: &[[u8; 32]],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM iam_recovery_code WHERE account_id = ?")
            .bind(&account.as_bytes()[..])
            .execute(self.connection())
            .await
            .map_err(failed)?;
        for digest in digests {
            sqlx::query("INSERT INTO iam_recovery_code (account_id, digest, created_at) VALUES (?, ?, ?)")
                .bind(&account.as_bytes()[..])
                .bind(&digest[..])
                .bind(now.as_micros())
                .execute(self.connection())
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    async fn consume(
        &mut self,
        account: AccountId,
        digest: &[u8; 32],
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE iam_recovery_code SET used_at = ? WHERE account_id = ? AND digest = ? AND used_at IS NULL",
        )
        .bind(now.as_micros())
        .bind(&account.as_bytes()[..])
        .bind(&digest[..])
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }
}

#[async_trait]
impl<C: Reading> ChallengeReads for Work<C> {
    async fn all_open(
        &mut self,
        session: SessionId,
        purpose: ChallengePurpose,
    ) -> Result<Vec<(Challenge, Option<Delivery>)>, StoreError> {
        let query = sqlx::query(OPEN_CHALLENGES).bind(&session.as_bytes()[..]).bind(purpose.as_str());
        let rows = query.fetch_all(self.connection()).await.map_err(failed)?;
        rows.iter()
            .map(|row| {
                let delivery = Columns { table: "iam_outbox", row }.maybe_parsed("state", Delivery::parse)?;
                Ok(challenge(row)?.map(|challenge| (challenge, delivery)))
            })
            .filter_map(Result::transpose)
            .collect()
    }

    async fn asked_last(
        &mut self,
        session: SessionId,
        purpose: Option<Purpose>,
        now: Timestamp,
    ) -> Result<Option<Challenge>, StoreError> {
        let purpose = purpose.map(|purpose| purpose.to_string());
        let query = sqlx::query(ASKED_LAST).bind(&session.as_bytes()[..]).bind(purpose).bind(now.as_micros());
        let row = query.fetch_optional(self.connection()).await.map_err(failed)?;
        Ok(row.as_ref().map(challenge).transpose()?.flatten())
    }
}

#[async_trait]
impl<C: Link> Challenges for Work<C> {
    async fn issue(&mut self, challenge: &NewChallenge) -> Result<(), StoreError> {
        let method = challenge.method.map(|id| id.as_bytes().to_vec());
        sqlx::query(
            "UPDATE iam_mfa_challenge SET replaced_at = ?1, kept = NULL
             WHERE session_id = ?2 AND purpose = ?3 AND kind = ?4 AND (?5 IS NULL OR method_id = ?5)
               AND consumed_at IS NULL AND replaced_at IS NULL",
        )
        .bind(challenge.created_at.as_micros())
        .bind(&challenge.session.as_bytes()[..])
        .bind(challenge.purpose.as_str())
        .bind(challenge.kind.as_str())
        .bind(method.clone())
        .execute(self.connection())
        .await
        .map_err(failed)?;
        sqlx::query(
            "INSERT INTO iam_mfa_challenge
                (id, account_id, session_id, purpose, kind, method_id, kept, approval, sends, tries, created_at, expires_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&challenge.id.as_bytes()[..])
        .bind(&challenge.account.as_bytes()[..])
        .bind(&challenge.session.as_bytes()[..])
        .bind(challenge.purpose.as_str())
        .bind(challenge.kind.as_str())
        .bind(method)
        .bind(challenge.kept.as_deref())
        .bind(challenge.approval.as_ref().map(|approval| &approval[..]))
        .bind(i64::from(challenge.sends))
        .bind(i64::from(challenge.tries))
        .bind(challenge.created_at.as_micros())
        .bind(challenge.expires_at.as_micros())
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn open(
        &mut self,
        session: SessionId,
        purpose: ChallengePurpose,
        kind: ProofMethod,
        method: Option<MethodId>,
    ) -> Result<Option<Challenge>, StoreError> {
        let row = sqlx::query(OPEN)
            .bind(&session.as_bytes()[..])
            .bind(purpose.as_str())
            .bind(kind.as_str())
            .bind(method.map(|id| id.as_bytes().to_vec()))
            .fetch_optional(self.connection())
            .await
            .map_err(failed)?;
        Ok(row.as_ref().map(self::challenge).transpose()?.flatten())
    }

    async fn count_try(&mut self, id: ChallengeId, most: u32, now: Timestamp) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE iam_mfa_challenge SET tries = tries + 1
             WHERE id = ? AND tries < ? AND consumed_at IS NULL AND replaced_at IS NULL AND expires_at > ?",
        )
        .bind(&id.as_bytes()[..])
        .bind(i64::from(most))
        .bind(now.as_micros())
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn consume(
        &mut self,
        id: ChallengeId,
        method: Option<MethodId>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE iam_mfa_challenge SET consumed_at = ?, kept = NULL, method_id = coalesce(?, method_id)
             WHERE id = ? AND consumed_at IS NULL AND replaced_at IS NULL",
        )
        .bind(now.as_micros())
        .bind(method.map(|id| id.as_bytes().to_vec()))
        .bind(&id.as_bytes()[..])
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn note_place(&mut self, id: ChallengeId, place: &TakenPlace) -> Result<(), StoreError> {
        sqlx::query("UPDATE iam_mfa_challenge SET place_key = ?, place_since = ? WHERE id = ?")
            .bind(&place.key.as_bytes()[..])
            .bind(place.since.as_micros())
            .bind(&id.as_bytes()[..])
            .execute(self.connection())
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn take_place(&mut self, id: ChallengeId) -> Result<Option<TakenPlace>, StoreError> {
        let row = sqlx::query("SELECT place_key, place_since FROM iam_mfa_challenge WHERE id = ?")
            .bind(&id.as_bytes()[..])
            .fetch_optional(self.connection())
            .await
            .map_err(failed)?;
        let Some(row) = row else { return Ok(None) };
        let columns = Columns { table: "iam_mfa_challenge", row: &row };
        let place = columns.maybe_digest("place_key")?.zip(columns.maybe_time("place_since")?);
        let done = sqlx::query(
            "UPDATE iam_mfa_challenge SET place_key = NULL, place_since = NULL
             WHERE id = ? AND place_key IS NOT NULL AND consumed_at IS NOT NULL",
        )
        .bind(&id.as_bytes()[..])
        .execute(self.connection())
        .await
        .map_err(failed)?;
        let place = place.filter(|_| done.rows_affected() == 1);
        Ok(place.map(|(key, since)| TakenPlace { key: LimitKey::from_bytes(key), since }))
    }

    async fn purge_unanswered(&mut self, expired_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        self.remove_before(PURGE_UNANSWERED, expired_before, most).await
    }

    async fn purge(&mut self, expired_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        self.remove_before(PURGE, expired_before, most).await
    }
}

#[cfg(test)]
mod tests {
    use super::{
        ASKED_LAST, CODES_LEFT, METHODS_OF, OPEN, OPEN_CHALLENGES, PURGE, PURGE_UNANSWERED, PURGE_UNCONFIRMED,
    };
    use crate::store::plans::assert_by_index;

    #[tokio::test]
    async fn reads_and_upkeep_find_their_rows_by_index() {
        assert_by_index(&[
            (METHODS_OF, &["iam_mfa_method_account"]),
            (CODES_LEFT, &["PRIMARY KEY"]),
            (OPEN_CHALLENGES, &["iam_mfa_challenge_session", "iam_outbox_challenge"]),
            (OPEN, &["iam_mfa_challenge_session"]),
            (ASKED_LAST, &["iam_mfa_challenge_session"]),
            (PURGE_UNCONFIRMED, &["iam_mfa_method_unconfirmed"]),
            (PURGE_UNANSWERED, &["iam_mfa_challenge_unanswered"]),
            (PURGE, &["iam_mfa_challenge_expiry"]),
        ])
        .await;
    }
}
