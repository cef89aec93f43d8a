//! Signing in with a password.
//!
//! 1. Look the account up. 2. In one unit of work: check the limits and reserve a try. 3. Hash, with no unit open.
//! 4. In one unit of work: write down what came of it. The session is conditional on the account still being what it was
//!    in step 1, and comes with its audit record or not at all.

use crate::audit::{Event, LoginFailure, Subject};
use crate::base::clock::Timestamp;
use crate::base::id::{AccountId, SessionId};
use crate::flow::attempt::{Counted, MOST_PURGED, Refused, Reserved, Unproven};
use crate::flow::sign_in::Opening;
use crate::flow::{Claimant, SignedIn};
use crate::iam::{Iam, Protocol, Unit};
use crate::model::account::LoginIdentifier;
use crate::model::client::Client;
use crate::model::error::Error;
use crate::model::long_sessions::LongSessions;
use crate::model::proof::{Proof, ProofMethod, Proofs};
use crate::model::token::{Carrier, SessionToken};
use crate::model::trusted_device::TrustedDeviceToken;
use crate::password::{PlainPassword, RenewedHash};
use crate::secrets::device::DeviceToken;
use crate::store::{LoginCandidate, Rehash};

/// A sign-in as it was sent.
#[derive(Debug)]
pub struct Login<'a> {
    /// Who they say they are.
    pub identifier: &'a LoginIdentifier,
    /// Their password.
    pub password: PlainPassword,
    /// The note of an earlier sign-in on this device.
    pub device: Option<&'a DeviceToken>,
    /// What says that this browser is trusted, so that no second factor is asked for. What is wrong, somebody else's or too old is as
    /// none, and so is any with a token that a browser does not carry.
    pub trusted: Option<&'a TrustedDeviceToken>,
    /// How the session's token will be carried.
    pub carrier: Carrier,
    /// They want to stay signed in beyond the ordinary limits. A wish: it is granted to those for whom
    /// [`IamBuilder::long_sessions`](crate::IamBuilder::long_sessions) names it.
    pub stay_signed_in: bool,
    /// The session that this browser has now; signing in ends it.
    pub replaces: Option<Replaced<'a>>,
    /// From where.
    pub client: &'a Client,
}

/// The session that a sign-in replaces.
#[derive(Clone, Copy, Debug)]
pub enum Replaced<'a> {
    /// That of somebody who is signed in, or about to be, whatever its token is by now: another request may renew it meanwhile.
    Of(&'a Claimant),
    /// That of a token.
    By(&'a SessionToken),
}

impl Protocol<'_> {
    /// Signs somebody in.
    ///
    /// # Errors
    /// [`Error::Credentials`] for everything that is wrong with name, password or account, after the same work for each.
    /// [`Error::Throttled`] before anything is checked. [`Error::Busy`] when too many passwords wait to be hashed.
    pub async fn login(self, login: Login<'_>) -> Result<SignedIn, Error> {
        let iam = self.iam;
        let candidate = iam.inner.store.reader().await?.accounts().login_candidate(login.identifier).await?;
        let counted = iam.counted(&login, candidate.as_ref())?;
        let reserved = match iam.retried(|| iam.reserve(&counted)).await? {
            Ok(reserved) => reserved,
            Err(refused) => {
                let subject = iam.subject(&login, candidate.as_ref());
                return Err(iam.throttled(refused, subject, login.client).await);
            }
        };
        let checked = iam.check_password(&reserved, &login.password, candidate.as_ref()).await;
        match checked {
            Ok((candidate, renewed)) => {
                iam.retried(|| iam.sign_in(&login, &counted, &reserved, candidate, renewed.as_ref())).await
            }
            Err(Unproven::Refused(why)) => {
                iam.retried(|| iam.refuse(&login, &counted, &reserved, candidate.as_ref(), why)).await
            }
            Err(Unproven::Failed(error)) => {
                // Nothing was checked, so nothing is counted.
                iam.give_back(&reserved).await?;
                Err(error)
            }
        }
    }
}

impl Iam {
    /// Compares, and makes a new hash if the stored one is outdated. No unit of work is open here.
    async fn check_password<'c>(
        &self,
        reserved: &Reserved,
        password: &PlainPassword,
        candidate: Option<&'c LoginCandidate>,
    ) -> Result<(&'c LoginCandidate, Option<RenewedHash>), Unproven> {
        let (candidate, outdated) = self.compare_password(reserved, password, candidate).await?;
        let Some(unchanged_since) = outdated.is_due(candidate.password_changed_at, self.now()) else {
            return Ok((candidate, None));
        };
        // A hash that can't be renewed now is renewed next time: no reason to keep anyone out.
        let hash = self.inner.hashing.hash(password.clone()).await.ok();
        Ok((candidate, hash.map(|hash| RenewedHash { hash, unchanged_since })))
    }

    async fn refuse(
        &self,
        login: &Login<'_>,
        counted: &Counted,
        reserved: &Reserved,
        candidate: Option<&LoginCandidate>,
        why: LoginFailure,
    ) -> Result<SignedIn, Error> {
        let mut unit = self.begin().await?;
        self.count_failure(&mut unit, counted, reserved).await?;
        // Names that anyone made up leave counters behind.
        unit.limits().purge(self.now(), MOST_PURGED).await?;
        let event = Event::LoginFailed(why);
        unit.record(&event, self.subject(login, candidate), login.client).await?;
        unit.commit().await?;
        Err(Error::Credentials)
    }

    async fn sign_in(
        &self,
        login: &Login<'_>,
        counted: &Counted,
        reserved: &Reserved,
        candidate: &LoginCandidate,
        renewed: Option<&RenewedHash>,
    ) -> Result<SignedIn, Error> {
        let now = self.now();
        // Not what was proved on the browser before: nothing but the password was proved now.
        let mut proofs = Proofs::of(Proof::new(ProofMethod::Password, now));
        if self.is_trusted(login, candidate, now).await? {
            proofs = proofs.with(Proof::new(ProofMethod::TrustedBrowser, now));
        }
        let long = self.may_stay(login, candidate, now).await?;
        let opening = Opening {
            candidate,
            proofs,
            tries: reserved.tries(),
            carrier: login.carrier,
            stays_until: long.map(|long| now.plus(long.absolute())),
            replaces: self.replaced(login).await?,
            device: counted.device(),
            client: login.client,
        };
        let told = self.to_be_told(reserved, candidate.account).await?;
        let mut unit = self.begin().await?;
        let Some(signed_in) = self.open_session(&mut unit, &opening).await? else {
            drop(unit);
            return self.changed_meanwhile(login, reserved, candidate).await;
        };
        if let Some(renewed) = renewed {
            let subject = Subject {
                actor: Some(candidate.account),
                amr: Some(opening.proofs.amr_text()),
                ..self.subject(login, Some(candidate))
            };
            self.renew_hash(&mut unit, login, candidate, renewed, &subject).await?;
        }
        // Known only to who knows the password: a guesser learns nothing from it.
        if let Some(until) = self.accept_sign_in(&mut unit, reserved, candidate.account).await? {
            drop(unit);
            self.give_back(reserved).await?;
            let subject = self.subject(login, Some(candidate));
            return Err(self.throttled(Refused::new("login.sign_ins", until), subject, login.client).await);
        }
        self.tell_of_failures(&mut unit, told.as_ref(), login.client).await?;
        unit.commit().await?;
        Ok(signed_in)
    }

    /// The session that a sign-in takes the place of, and whose that is.
    async fn replaced(&self, login: &Login<'_>) -> Result<Option<(SessionId, AccountId)>, Error> {
        Ok(match login.replaces {
            Some(Replaced::Of(claimant)) => Some((claimant.session.id, claimant.session.account)),
            Some(Replaced::By(token)) => {
                self.inner.store.session(&token.hash()).await?.map(|record| (record.id, record.account))
            }
            None => None,
        })
    }

    /// Puts a hash of today's policy in the place of the one that was right, unless somebody has changed it meanwhile.
    async fn renew_hash(
        &self,
        unit: &mut Unit<'_>,
        login: &Login<'_>,
        candidate: &LoginCandidate,
        renewed: &RenewedHash,
        subject: &Subject,
    ) -> Result<(), Error> {
        let Some(old) = &candidate.password else { return Ok(()) };
        let unchanged_since = renewed.unchanged_since;
        let rehash = Rehash { old, new: &renewed.hash, unchanged_since, at: self.now() };
        if unit.accounts().rehash(candidate.account, candidate.auth_version, &rehash).await? {
            unit.record(&Event::PasswordRehashed, subject.clone(), login.client).await?;
        }
        Ok(())
    }

    /// Whether the browser stands in for the second factor. Nobody asks before the password was right, so a failure neither tells
    /// anything of it nor takes longer for it.
    ///
    /// It is read before the unit that makes the session, and that is enough: the browser is trusted under the version that the
    /// account had as its password was checked, and the session is made only if the account still has that version. A change of
    /// password, factors or status in between raises it.
    async fn is_trusted(
        &self,
        login: &Login<'_>,
        candidate: &LoginCandidate,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let policy = &self.inner.factor_policy;
        let shown = login.trusted.filter(|shown| shown.may_count(policy, login.carrier));
        let Some(shown) = shown.filter(|_| candidate.second_factor) else { return Ok(false) };
        let (account, version) = (candidate.account, candidate.auth_version);
        Ok(self
            .inner
            .store
            .reader()
            .await?
            .trusted_devices()
            .is_trusted(&shown.hash(), account, version, now)
            .await?)
    }

    /// The policy by which they may stay signed in, if they want that and may. What they hold now is asked for again with every
    /// request; here it decides whether the session counts as one that was made for it.
    async fn may_stay(
        &self,
        login: &Login<'_>,
        candidate: &LoginCandidate,
        now: Timestamp,
    ) -> Result<Option<&LongSessions>, Error> {
        let Some(long) = self.inner.long_sessions.as_ref().filter(|_| login.stay_signed_in) else {
            return Ok(None);
        };
        let store = &self.inner.store;
        let roles = store.reader().await?.roles().of_account(candidate.account).await?;
        let parent = match candidate.parent {
            Some((id, _)) => store.reader().await?.parents().by_id(id).await?,
            None => None,
        };
        let held = roles.iter().filter(|role| role.counts(now)).map(|role| role.name.as_str());
        Ok(long.allows(held, parent.as_ref().map(|parent| &parent.key)).then_some(long))
    }

    /// The password was right when it was looked up: no guess, and nobody is signed in.
    async fn changed_meanwhile(
        &self,
        login: &Login<'_>,
        reserved: &Reserved,
        candidate: &LoginCandidate,
    ) -> Result<SignedIn, Error> {
        let mut unit = self.begin().await?;
        self.release(&mut unit, reserved).await?;
        let event = Event::LoginFailed(LoginFailure::ChangedMeanwhile);
        unit.record(&event, self.subject(login, Some(candidate)), login.client).await?;
        unit.commit().await?;
        Err(Error::Credentials)
    }

    fn subject(&self, login: &Login<'_>, candidate: Option<&LoginCandidate>) -> Subject {
        match candidate {
            Some(candidate) => Subject {
                account: Some(candidate.account),
                parent: candidate.parent.map(|(id, _)| id).into(),
                ..Subject::default()
            },
            None => {
                Subject { identifier: Some(self.identifier_digest(login.identifier)), ..Subject::default() }
            }
        }
    }

    /// Enough of a keyed hash to see the same name again, and not enough to guess it from.
    fn identifier_digest(&self, identifier: &LoginIdentifier) -> String {
        let tag = self.inner.identifier_key.tag(&[identifier.canonical().as_bytes()]);
        tag.first_chunk().map(|start| format!("{:016x}", u64::from_be_bytes(*start))).unwrap_or_default()
    }
}
