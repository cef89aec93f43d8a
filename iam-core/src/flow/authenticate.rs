//! Who a request comes from: one indexed read, and a write at most once a minute.

use crate::audit::{Event, Subject};
use crate::authz::principal::Principal;
use crate::authz::requirement::Requirement;
use crate::authz::standing::{Pending, Standing};
use crate::base::clock::Timestamp;
use crate::base::id::{AccountId, SessionId};
use crate::delivery::Notice;
use crate::flow::own_account::of;
use crate::iam::{Iam, Protocol};
use crate::model::client::Client;
use crate::model::error::Error;
use crate::model::long_sessions::{Replacement, UNDER_WAY};
use crate::model::purpose::Purpose;
use crate::model::session::SessionRecord;
use crate::model::session_state::EndReason;
use crate::model::token::{SessionToken, TokenHash};

/// Whether a request shows that a person is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It does: the idle time-out begins anew.
    Active,
    /// It does not: a page that asks for news by itself keeps nobody signed in.
    Background,
}

/// What a token is worth.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Authentication {
    /// Somebody is signed in.
    SignedIn(Principal),
    /// The second factor is still due: no guard accepts that.
    PendingSecondFactor(Pending),
    /// Signed in, but a second factor is required, none that counts was proved, and the time to set one up is over: no guard accepts
    /// that, either. They may prove or set up a factor, and nothing else.
    FactorDue(Principal),
    /// Nobody.
    Anonymous,
}

/// The use of a session by a request.
struct Use {
    account: AccountId,
    session: SessionId,
    token: TokenHash,
    /// No request has come with the token before.
    is_first: bool,
    /// Whether it is to be noted as the session's use ...
    touch: bool,
    /// ... which was noted last then.
    since: Timestamp,
    /// Up to when what was proved counts no more, if that is to be noted with it.
    lapses: Option<Timestamp>,
}

/// What the trail has in place of a route that the framework does not tell.
const UNKNOWN_ROUTE: &str = "(route unknown)";

impl Protocol<'_> {
    /// Says who the owner of a token is, now.
    pub async fn authenticate(
        self,
        token: &SessionToken,
        activity: Activity,
        client: &Client,
    ) -> Result<Authentication, Error> {
        let iam = self.iam;
        let (now, shown) = (iam.now(), token.hash());
        let Some(record) = iam.read_session(&shown, now).await? else {
            return Ok(Authentication::Anonymous);
        };
        let (session, account, since) = (record.id, record.account, record.last_seen_at);
        let parent = record.parent.as_ref().map(|parent| parent.id);
        match record.standing(&iam.session_rules(), &shown, now) {
            Standing::Active { principal, touch, lapses, factor_due, first_use } => {
                let touch = touch && activity == Activity::Active;
                let used = Use { account, session, token: shown, is_first: first_use, touch, since, lapses };
                iam.note_use(&used, now).await;
                Ok(if factor_due {
                    Authentication::FactorDue(*principal)
                } else {
                    Authentication::SignedIn(*principal)
                })
            }
            Standing::Replaced(since) => {
                iam.refuse_copy(session, account, since, client).await;
                Ok(Authentication::Anonymous)
            }
            Standing::Pending(pending) => Ok(Authentication::PendingSecondFactor(pending)),
            Standing::RanOut(reason) => {
                iam.note_end(session, account, reason, client).await;
                Ok(Authentication::Anonymous)
            }
            Standing::Ended => {
                let subject = Subject { parent: parent.into(), ..Subject::own(account) };
                iam.record_refusal(&Event::SessionUsedAfterEnd(session), subject, client).await;
                Ok(Authentication::Anonymous)
            }
            Standing::Void => Ok(Authentication::Anonymous),
        }
    }

    /// The same for what outlives its request, such as a stream: who is signed in by this token now. One read. Nothing is written down but
    /// the use, if it is one: an end is no use after the end. A session that is over, or that goes on under another token, is nobody's here,
    /// and so is one of which a second factor is due.
    pub async fn still_signed_in(
        self,
        token: &TokenHash,
        activity: Activity,
    ) -> Result<Option<Principal>, Error> {
        let iam = self.iam;
        let now = iam.now();
        let Some(record) = iam.inner.store.session(token).await? else {
            return Ok(None);
        };
        let (session, account, since) = (record.id, record.account, record.last_seen_at);
        match record.standing(&iam.session_rules(), token, now) {
            Standing::Active { principal, touch, lapses, factor_due: false, first_use } => {
                let touch = touch && activity == Activity::Active;
                let used = Use { account, session, token: *token, is_first: first_use, touch, since, lapses };
                iam.note_use(&used, now).await;
                Ok(Some(*principal))
            }
            _ => Ok(None),
        }
    }

    /// Notes that somebody was refused what they asked for.
    pub async fn note_denial(self, principal: &Principal, requirement: &Requirement, client: &Client) {
        let iam = self.iam;
        iam.record_refusal(&Event::AccessDenied(requirement.to_string()), of(principal), client).await;
    }

    /// Notes that somebody was asked to prove who they are for a purpose.
    pub async fn note_step_up(self, principal: &Principal, purpose: Purpose, client: &Client) {
        let iam = self.iam;
        iam.record_refusal(&Event::StepUpRequired(purpose), of(principal), client).await;
    }

    /// Notes that a request was refused because another site may have sent it. `route` is the route as its host wrote it
    /// (`/documents/{id}`), never the path of the request: that may hold a secret.
    pub async fn note_csrf(self, principal: Option<&Principal>, route: Option<&str>, client: &Client) {
        let iam = self.iam;
        let subject = principal.map_or_else(Subject::default, |principal| Subject {
            session: Some(principal.session()),
            parent: principal.parent().into(),
            ..Subject::own(principal.account())
        });
        iam.record_refusal(&Event::CsrfRefused(route.unwrap_or(UNKNOWN_ROUTE).to_owned()), subject, client)
            .await;
    }

    /// The next token of a long session, once a day, for the answer to the request that showed this one; nothing, while it is not time, or
    /// if another request was first. The one that was shown counts until the next one is first used, so an answer may be lost.
    pub async fn replace_daily_token(
        self,
        principal: &Principal,
        token: &SessionToken,
    ) -> Result<Option<SessionToken>, Error> {
        let iam = self.iam;
        if !principal.is_token_due() {
            return Ok(None);
        }
        let new = SessionToken::generate(token.carrier(), iam.randomness())?;
        let replacement = Replacement::now(token.hash(), new.hash(), iam.now());
        let replaced = iam.inner.store.replace_token(principal.session(), &replacement).await?;
        iam.forget_cached(principal.account());
        Ok(replaced.then_some(new))
    }
}

impl Iam {
    /// The session of a token: the one statement of a guarded request, unless a [cache](crate::IamBuilder::session_cache) has it.
    async fn read_session(&self, token: &TokenHash, now: Timestamp) -> Result<Option<SessionRecord>, Error> {
        let Some(cache) = &self.inner.cached_sessions else {
            return Ok(self.inner.store.session(token).await?);
        };
        if let Some(record) = cache.get(token, now) {
            return Ok(Some(record));
        }
        let before = cache.before_read();
        let record = self.inner.store.session(token).await?;
        if let Some(record) = &record {
            cache.keep(token, record, before, now);
        }
        Ok(record)
    }

    /// A use that is not noted only shortens the session: reported, not refused. The first one of a token is always written down, before
    /// anything is answered: from then on nobody gets that token by a repeated request, and the one before it is dead.
    async fn note_use(&self, used: &Use, now: Timestamp) {
        let noted = if used.is_first {
            self.note_first_use(used, now).await
        } else if used.touch {
            let touched = self.inner.store.touch_session(used.session, now, used.since, used.lapses).await;
            touched.map(drop).map_err(Error::from)
        } else {
            return;
        };
        self.forget_cached(used.account);
        if let Err(error) = noted {
            tracing::error!(error = &error as &dyn std::error::Error, "a session's use was not noted");
        }
    }

    /// What was written of an account's session without an event.
    fn forget_cached(&self, account: AccountId) {
        if let Some(cache) = &self.inner.cached_sessions {
            cache.forget(account);
        }
    }

    async fn note_first_use(&self, used: &Use, now: Timestamp) -> Result<(), Error> {
        let (seen_at, lapses) = if used.touch { (Some(now), used.lapses) } else { (None, None) };
        self.retried(|| async {
            let mut unit = self.begin().await?;
            if unit.sessions().use_token(used.session, &used.token, now, seen_at, lapses).await? {
                unit.repeatable_answers().forget(used.session).await?;
                unit.commit().await?;
            }
            Ok(())
        })
        .await
    }

    /// A token that was replaced, and whose successor is in use: somebody has a copy of one of them, and which is the owner's can't be told.
    /// What may have been under way is refused, and nothing more.
    async fn refuse_copy(&self, session: SessionId, account: AccountId, since: Timestamp, client: &Client) {
        if since.is_within(UNDER_WAY, self.now()) {
            return;
        }
        if let Err(error) = self.end_for_copy(session, account, client).await {
            tracing::error!(error = &error as &dyn std::error::Error, "a copied session was not ended");
        }
    }

    async fn end_for_copy(
        &self,
        session: SessionId,
        account: AccountId,
        client: &Client,
    ) -> Result<(), Error> {
        // That the session ends does not hang on whether somebody can be told.
        let owner = self.inner.store.reader().await?.accounts().by_id(account).await.ok().flatten();
        self.retried(|| async {
            let mut unit = self.begin().await?;
            if let Some(owner) = &owner {
                // HeldSession in the order of all others; whether it is still what it was is no matter here.
                let _ = unit.accounts().hold(account, owner.auth_version).await?;
            }
            if unit.sessions().end(session, EndReason::TokenReused, self.now()).await? {
                if let Some(owner) = &owner {
                    self.notify(&mut unit, owner, Notice::SessionCopied, client).await?;
                }
                // Whoever it was: the owner, or who has the copy.
                let subject = Subject { account: Some(account), ..Subject::default() };
                let event = Event::SessionEnded(session, EndReason::TokenReused);
                unit.record(&event, subject, client).await?;
                unit.commit().await?;
            }
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// It is over already, whether or not that is written down: a failure is reported, nothing more.
    async fn note_end(&self, session: SessionId, account: AccountId, reason: EndReason, client: &Client) {
        let noted = self.retried(|| async {
            let mut unit = self.begin().await?;
            if unit.sessions().end(session, reason, self.now()).await? {
                let event = Event::SessionEnded(session, reason);
                unit.record(&event, Subject::own(account), client).await?;
                unit.commit().await?;
            }
            Ok(())
        });
        if let Err(error) = noted.await {
            tracing::error!(error = &error as &dyn std::error::Error, "the end of a session was not noted");
        }
    }
}
