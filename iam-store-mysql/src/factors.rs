//! `iam_mfa_method`, `iam_recovery_code` and `iam_mfa_challenge`.

use async_trait::async_trait;
use iam_core::ports::{
    Challenge, ChallengeId, ChallengePurpose, ChallengeReads, Challenges, Confirmation, Confirmed, Delivery,
    Kept, LimitKey, Method, MethodId, MethodReads, Methods, NewChallenge, RecoveryCodeReads, RecoveryCodes,
    TakenPlace,
};
use iam_core::{
    AccountId, FactorKind, MethodName, ProofMethod, Purpose, SessionId, StoreError, StoredKind, Timestamp,
};
use iam_store_sql::Column;
use time::PrimitiveDateTime;

use crate::connection::{Link, Reading, all, execute, one, optional};
use crate::error::{duplicate_key, failed};
use crate::rows::{timestamp, utc};
use crate::unit::Work;

struct ChallengeRow {
    id: Vec<u8>,
    account_id: Vec<u8>,
    session_id: Vec<u8>,
    purpose: String,
    kind: String,
    method_id: Option<Vec<u8>>,
    kept: Option<Vec<u8>>,
    approval: Option<Vec<u8>>,
    sends: u32,
    tries: u32,
    created_at: PrimitiveDateTime,
    expires_at: PrimitiveDateTime,
    consumed_at: Option<PrimitiveDateTime>,
    replaced_at: Option<PrimitiveDateTime>,
    /// How far the latest message that carries its code has come.
    delivery: Option<String>,
}

/// Nothing for one of a method that only a newer program knows.
fn challenge(row: ChallengeRow) -> Result<Option<Challenge>, StoreError> {
    let column = |name| Column("iam_mfa_challenge", name);
    let Some(kind) = ProofMethod::parse_asked(&row.kind) else { return Ok(None) };
    Ok(Some(Challenge {
        new: NewChallenge {
            id: ChallengeId::from_bytes(column("id").id(&row.id)?),
            account: AccountId::from_bytes(column("account_id").id(&row.account_id)?),
            session: SessionId::from_bytes(column("session_id").id(&row.session_id)?),
            purpose: column("purpose").parsed(row.purpose, ChallengePurpose::parse)?,
            kind,
            method: column("method_id").maybe_id(row.method_id.as_deref())?.map(MethodId::from_bytes),
            kept: row.kept,
            approval: column("approval").maybe_digest(row.approval.as_deref())?,
            tries: 0,
            sends: row.sends,
            created_at: timestamp(row.created_at),
            expires_at: timestamp(row.expires_at),
        },
        tries: row.tries,
        consumed_at: row.consumed_at.map(timestamp),
        replaced_at: row.replaced_at.map(timestamp),
    }))
}

#[async_trait]
impl<L: Reading> MethodReads for Work<L> {
    async fn of_account(&mut self, account: AccountId) -> Result<Vec<Method>, StoreError> {
        let find = || {
            all(sqlx::query!(
                "SELECT id, kind, name, secret, lookup, created_at, confirmed_at, last_used_at, last_step
                FROM iam_mfa_method FORCE INDEX (iam_mfa_method_account) WHERE account_id = ? ORDER BY created_at, id",
                &account.as_bytes()[..]
            ))
        };
        let column = |name| Column("iam_mfa_method", name);
        let rows = self.0.read(find).await?;
        rows.into_iter()
            .map(|row| {
                Ok(Method {
                    id: MethodId::from_bytes(column("id").id(&row.id)?),
                    account,
                    kind: StoredKind::parse(&row.kind),
                    name: MethodName::from_stored(column("name").text(row.name)?),
                    secret: row.secret,
                    lookup: row.lookup,
                    created_at: timestamp(row.created_at),
                    confirmed_at: row.confirmed_at.map(timestamp),
                    last_used_at: row.last_used_at.map(timestamp),
                    last_step: row.last_step,
                })
            })
            .collect()
    }
}

#[async_trait]
impl<L: Link> Methods for Work<L> {
    async fn insert(&mut self, method: &Method, most: u32) -> Result<Kept, StoreError> {
        let insert = || {
            execute(sqlx::query!(
                "INSERT INTO iam_mfa_method (id, account_id, kind, name, secret, lookup, created_at, confirmed_at, last_used_at, last_step)
                 SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM DUAL
                 WHERE (SELECT COUNT(*) FROM iam_mfa_method WHERE account_id = ? LOCK IN SHARE MODE) < ?",
                &method.id.as_bytes()[..],
                &method.account.as_bytes()[..],
                method.kind.as_str(),
                method.name.as_str().as_bytes(),
                method.secret,
                method.lookup,
                utc(method.created_at),
                method.confirmed_at.map(utc),
                method.last_used_at.map(utc),
                method.last_step,
                &method.account.as_bytes()[..],
                most
            ))
        };
        Ok(if self.0.write(insert).await? == 1 { Kept::Done } else { Kept::Full })
    }

    async fn confirm(
        &mut self,
        account: AccountId,
        id: MethodId,
        confirmation: &Confirmation<'_>,
        made_after: Timestamp,
        now: Timestamp,
    ) -> Result<Confirmed, StoreError> {
        let confirm = || {
            execute(sqlx::query!(
                "UPDATE iam_mfa_method FORCE INDEX (PRIMARY)
                 SET confirmed_at = ?, last_step = ?, secret = COALESCE(?, secret), lookup = ?
                 WHERE id = ? AND account_id = ? AND confirmed_at IS NULL AND created_at > ?",
                utc(now),
                confirmation.step,
                confirmation.secret,
                confirmation.lookup,
                &id.as_bytes()[..],
                &account.as_bytes()[..],
                utc(made_after)
            ))
        };
        match self.0.try_write(confirm).await {
            Ok(1) => Ok(Confirmed::Done),
            Ok(_) => Ok(Confirmed::Stale),
            Err(error) => match duplicate_key(&error) {
                Some(key) => Ok(Confirmed::Taken(key)),
                None => Err(failed(error)),
            },
        }
    }

    async fn note_use(
        &mut self,
        account: AccountId,
        id: MethodId,
        step: Option<i64>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let note = || {
            execute(sqlx::query!(
                "UPDATE iam_mfa_method FORCE INDEX (PRIMARY) SET last_used_at = ?, last_step = COALESCE(?, last_step)
                 WHERE id = ? AND account_id = ? AND confirmed_at IS NOT NULL
                   AND (? IS NULL OR last_step IS NULL OR last_step < ?)",
                utc(now),
                step,
                &id.as_bytes()[..],
                &account.as_bytes()[..],
                step,
                step
            ))
        };
        Ok(self.0.write(note).await? == 1)
    }

    async fn rewrite(
        &mut self,
        account: AccountId,
        id: MethodId,
        old: &[u8],
        new: &[u8],
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let rewrite = || {
            execute(sqlx::query!(
                "UPDATE iam_mfa_method FORCE INDEX (PRIMARY) SET secret = ?, last_used_at = ?
                 WHERE id = ? AND account_id = ? AND confirmed_at IS NOT NULL AND secret = ?",
                new,
                utc(now),
                &id.as_bytes()[..],
                &account.as_bytes()[..],
                old
            ))
        };
        Ok(self.0.write(rewrite).await? == 1)
    }

    async fn move_on(&mut self, account: AccountId, kind: FactorKind, step: i64) -> Result<u64, StoreError> {
        let note = || {
            execute(sqlx::query!(
                "UPDATE iam_mfa_method FORCE INDEX (iam_mfa_method_account) SET last_step = ?
                 WHERE account_id = ? AND kind = ? AND (last_step IS NULL OR last_step < ?)",
                step,
                &account.as_bytes()[..],
                kind.as_str(),
                step
            ))
        };
        self.0.write(note).await
    }

    async fn rename(
        &mut self,
        account: AccountId,
        id: MethodId,
        name: &MethodName,
    ) -> Result<bool, StoreError> {
        let rename = || {
            execute(sqlx::query!(
                "UPDATE iam_mfa_method FORCE INDEX (PRIMARY) SET name = ? WHERE id = ? AND account_id = ?",
                name.as_str().as_bytes(),
                &id.as_bytes()[..],
                &account.as_bytes()[..]
            ))
        };
        Ok(self.0.write(rename).await? == 1)
    }

    async fn remove(&mut self, account: AccountId, id: MethodId) -> Result<bool, StoreError> {
        let remove = || {
            execute(sqlx::query!(
                "DELETE FROM iam_mfa_method WHERE id = ? AND account_id = ?",
                &id.as_bytes()[..],
                &account.as_bytes()[..]
            ))
        };
        Ok(self.0.write(remove).await? == 1)
    }

    async fn remove_unconfirmed(&mut self, account: AccountId, id: MethodId) -> Result<bool, StoreError> {
        let remove = || {
            execute(sqlx::query!(
                "DELETE FROM iam_mfa_method WHERE id = ? AND account_id = ? AND confirmed_at IS NULL",
                &id.as_bytes()[..],
                &account.as_bytes()[..]
            ))
        };
        Ok(self.0.write(remove).await? == 1)
    }

    async fn remove_all(&mut self, account: AccountId) -> Result<u64, StoreError> {
        let remove = || {
            execute(sqlx::query!("DELETE FROM iam_mfa_method WHERE account_id = ?", &account.as_bytes()[..]))
        };
        self.0.write(remove).await
    }

    async fn purge_unconfirmed(&mut self, made_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        let purge = || {
            execute(sqlx::query!(
                "DELETE m FROM
                    (SELECT id FROM iam_mfa_method FORCE INDEX (iam_mfa_method_unconfirmed)
                     WHERE confirmed_at IS NULL AND created_at < ? ORDER BY created_at LIMIT ? FOR UPDATE SKIP LOCKED) old
                 STRAIGHT_JOIN iam_mfa_method m FORCE INDEX (PRIMARY) ON m.id = old.id",
                utc(made_before),
                most
            ))
        };
        self.0.write(purge).await
    }
}

#[async_trait]
impl<L: Reading> RecoveryCodeReads for Work<L> {
    async fn left(&mut self, account: AccountId) -> Result<u32, StoreError> {
        let count = || {
            one(sqlx::query!(
                "SELECT COUNT(*) AS left_over FROM iam_recovery_code FORCE INDEX (PRIMARY) WHERE account_id = ? AND used_at IS NULL",
                &account.as_bytes()[..]
            ))
        };
        Ok(u32::try_from(self.0.read(count).await?.left_over).unwrap_or(u32::MAX))
    }
}

#[async_trait]
impl<L: Link> RecoveryCodes for Work<L> {
    async fn replace(
        &mut self,
        account: AccountId,
        digests: &[[u8; 32]],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        // Of two who make codes at once the one comes after the other: each would not see what the other one adds.
        self.hold_account(account).await?;
        let remove = || {
            execute(sqlx::query!(
                "DELETE FROM iam_recovery_code WHERE account_id = ?",
                &account.as_bytes()[..]
            ))
        };
        self.0.write(remove).await?;
        for digest in digests {
            let insert = || {
                execute(sqlx::query!(
                    "INSERT INTO iam_recovery_code (account_id, digest, created_at) VALUES (?, ?, ?)",
                    &account.as_bytes()[..],
                    &digest[..],
                    utc(now)
                ))
            };
            self.0.write(insert).await?;
        }
        Ok(())
    }

    async fn consume(
        &mut self,
        account: AccountId,
        digest: &[u8; 32],
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let consume = || {
            execute(sqlx::query!(
                "UPDATE iam_recovery_code SET used_at = ? WHERE account_id = ? AND digest = ? AND used_at IS NULL",
                utc(now),
                &account.as_bytes()[..],
                &digest[..]
            ))
        };
        Ok(self.0.write(consume).await? == 1)
    }
}

#[async_trait]
impl<L: Reading> ChallengeReads for Work<L> {
    async fn all_open(
        &mut self,
        session: SessionId,
        purpose: ChallengePurpose,
    ) -> Result<Vec<(Challenge, Option<Delivery>)>, StoreError> {
        let find = || {
            all(sqlx::query_as!(
                ChallengeRow,
                r#"SELECT c.id, c.account_id, c.session_id, c.purpose, c.kind, c.method_id, c.kept, c.approval, c.sends, c.tries, c.created_at,
                    c.expires_at, c.consumed_at, c.replaced_at,
                    (SELECT o.state FROM iam_outbox o FORCE INDEX (iam_outbox_challenge) WHERE o.challenge_id = c.id
                     ORDER BY o.created_at DESC, o.id DESC LIMIT 1) AS "delivery?"
                FROM iam_mfa_challenge c FORCE INDEX (iam_mfa_challenge_session)
                WHERE c.session_id = ? AND c.purpose = ? AND c.consumed_at IS NULL AND c.replaced_at IS NULL
                ORDER BY c.created_at, c.id"#,
                &session.as_bytes()[..],
                purpose.as_str()
            ))
        };
        let rows = self.0.read(find).await?;
        rows.into_iter()
            .map(|mut row| {
                let state = Column("iam_outbox", "state");
                let delivery =
                    row.delivery.take().map(|name| state.parsed(name, Delivery::parse)).transpose()?;
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
        let find = || {
            optional(sqlx::query_as!(
                ChallengeRow,
                r#"SELECT id, account_id, session_id, purpose, kind, method_id, kept, approval, sends, tries, created_at, expires_at,
                    consumed_at, replaced_at, NULL AS "delivery?: String"
                FROM iam_mfa_challenge FORCE INDEX (iam_mfa_challenge_session)
                WHERE session_id = ? AND purpose NOT IN ('sign_in', 'enrol') AND (? IS NULL OR purpose = ?)
                    AND consumed_at IS NULL AND replaced_at IS NULL AND expires_at > ?
                ORDER BY created_at DESC, id DESC LIMIT 1"#,
                &session.as_bytes()[..],
                purpose.clone(),
                purpose.clone(),
                utc(now)
            ))
        };
        Ok(self.0.read(find).await?.map(challenge).transpose()?.flatten())
    }
}

#[async_trait]
impl<L: Link> Challenges for Work<L> {
    async fn issue(&mut self, challenge: &NewChallenge) -> Result<(), StoreError> {
        let method = challenge.method.map(|id| id.as_bytes().to_vec());
        let replace = || {
            execute(sqlx::query!(
                "UPDATE iam_mfa_challenge FORCE INDEX (iam_mfa_challenge_session) SET replaced_at = ?, kept = NULL
                 WHERE session_id = ? AND purpose = ? AND kind = ? AND (? IS NULL OR method_id = ?)
                   AND consumed_at IS NULL AND replaced_at IS NULL",
                utc(challenge.created_at),
                &challenge.session.as_bytes()[..],
                challenge.purpose.as_str(),
                challenge.kind.as_str(),
                method.clone(),
                method.clone()
            ))
        };
        self.0.write(replace).await?;
        let insert = || {
            execute(sqlx::query!(
                "INSERT INTO iam_mfa_challenge
                    (id, account_id, session_id, purpose, kind, method_id, kept, approval, sends, tries, created_at, expires_at)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                &challenge.id.as_bytes()[..],
                &challenge.account.as_bytes()[..],
                &challenge.session.as_bytes()[..],
                challenge.purpose.as_str(),
                challenge.kind.as_str(),
                method.clone(),
                challenge.kept.clone(),
                challenge.approval.map(Vec::from),
                challenge.sends,
                challenge.tries,
                utc(challenge.created_at),
                utc(challenge.expires_at)
            ))
        };
        self.0.write(insert).await.map(drop)
    }

    async fn open(
        &mut self,
        session: SessionId,
        purpose: ChallengePurpose,
        kind: ProofMethod,
        method: Option<MethodId>,
    ) -> Result<Option<Challenge>, StoreError> {
        // Whoever asks goes on to try it or to replace it. A locking read sees what is, whatever the isolation.
        let method = method.map(|id| id.as_bytes().to_vec());
        let find = || {
            optional(sqlx::query_as!(
                ChallengeRow,
                r#"SELECT id, account_id, session_id, purpose, kind, method_id, kept, approval, sends, tries, created_at,
                    expires_at, consumed_at, replaced_at, NULL AS "delivery?: String"
                FROM iam_mfa_challenge FORCE INDEX (iam_mfa_challenge_session)
                WHERE session_id = ? AND purpose = ? AND kind = ? AND (? IS NULL OR method_id = ?)
                    AND consumed_at IS NULL AND replaced_at IS NULL
                ORDER BY created_at DESC, id DESC LIMIT 1 FOR UPDATE"#,
                &session.as_bytes()[..],
                purpose.as_str(),
                kind.as_str(),
                method.clone(),
                method.clone()
            ))
        };
        Ok(self.0.lock(find).await?.map(self::challenge).transpose()?.flatten())
    }

    async fn count_try(&mut self, id: ChallengeId, most: u32, now: Timestamp) -> Result<bool, StoreError> {
        let count = || {
            execute(sqlx::query!(
                "UPDATE iam_mfa_challenge FORCE INDEX (PRIMARY) SET tries = tries + 1
                 WHERE id = ? AND tries < ? AND consumed_at IS NULL AND replaced_at IS NULL AND expires_at > ?",
                &id.as_bytes()[..],
                most,
                utc(now)
            ))
        };
        Ok(self.0.write(count).await? == 1)
    }

    async fn consume(
        &mut self,
        id: ChallengeId,
        method: Option<MethodId>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let consume = || {
            execute(sqlx::query!(
                "UPDATE iam_mfa_challenge SET consumed_at = ?, kept = NULL, method_id = COALESCE(?, method_id)
                 WHERE id = ? AND consumed_at IS NULL AND replaced_at IS NULL",
                utc(now),
                method.map(|id| id.as_bytes().to_vec()),
                &id.as_bytes()[..]
            ))
        };
        Ok(self.0.write(consume).await? == 1)
    }

    async fn note_place(&mut self, id: ChallengeId, place: &TakenPlace) -> Result<(), StoreError> {
        let note = || {
            execute(sqlx::query!(
                "UPDATE iam_mfa_challenge SET place_key = ?, place_since = ? WHERE id = ?",
                &place.key.as_bytes()[..],
                place.since.as_micros(),
                &id.as_bytes()[..]
            ))
        };
        self.0.write(note).await.map(drop)
    }

    async fn take_place(&mut self, id: ChallengeId) -> Result<Option<TakenPlace>, StoreError> {
        let find = || {
            optional(sqlx::query!(
                r#"SELECT place_key AS "key!: Vec<u8>", place_since AS "since!" FROM iam_mfa_challenge
                   WHERE id = ? AND place_key IS NOT NULL AND place_since IS NOT NULL AND consumed_at IS NOT NULL FOR UPDATE"#,
                &id.as_bytes()[..]
            ))
        };
        let Some(row) = self.0.lock(find).await? else { return Ok(None) };
        let corrupt = || Column("iam_mfa_challenge", "place_key").corrupt();
        let key = <[u8; 32]>::try_from(row.key.as_slice()).map_err(|_| corrupt())?;
        let take = || {
            execute(sqlx::query!(
                "UPDATE iam_mfa_challenge SET place_key = NULL, place_since = NULL WHERE id = ? AND place_key IS NOT NULL",
                &id.as_bytes()[..]
            ))
        };
        let taken = self.0.write(take).await? == 1;
        let place = TakenPlace { key: LimitKey::from_bytes(key), since: Timestamp::from_micros(row.since) };
        Ok(taken.then_some(place))
    }

    async fn purge_unanswered(&mut self, expired_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        let purge = || {
            execute(sqlx::query!(
                "DELETE c FROM
                    (SELECT id FROM iam_mfa_challenge FORCE INDEX (iam_mfa_challenge_unanswered)
                     WHERE consumed_at IS NULL AND expires_at < ? ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED) old
                 STRAIGHT_JOIN iam_mfa_challenge c FORCE INDEX (PRIMARY) ON c.id = old.id",
                utc(expired_before),
                most
            ))
        };
        self.0.write(purge).await
    }

    async fn purge(&mut self, expired_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        let purge = || {
            execute(sqlx::query!(
                "DELETE c FROM
                    (SELECT id FROM iam_mfa_challenge FORCE INDEX (iam_mfa_challenge_expiry)
                     WHERE expires_at < ? ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED) old
                 STRAIGHT_JOIN iam_mfa_challenge c FORCE INDEX (PRIMARY) ON c.id = old.id",
                utc(expired_before),
                most
            ))
        };
        self.0.write(purge).await
    }
}
