//! Signing in with a password.
//!
//! 1. Look the account up. 2. In one unit of work: check the limits and reserve a try. 3. Hash, with no unit open.
//! 4. In one unit of work: write down what came of it. The session is conditional on the account still being what it was
//!    in step 1, and comes with its audit record or not at all.

use crate::account::{AccountStatus, LoginIdentifier};
use crate::audit::{Event, LoginFailure, Subject};
use crate::clock::Timestamp;
use crate::device::DeviceToken;
use crate::error::Error;
use crate::flow::Claimant;
use crate::iam::Iam;
use crate::id::{AccountId, SessionId};
use crate::limit::{LimitKey, Reservation, Slot};
use crate::meta::Client;
use crate::parent::ParentStatus;
use crate::password::{Checked, PlainPassword, Renewed};
use crate::session::{EndReason, NewSession, SessionState, TRUSTED_DEVICE_AMR};
use crate::store::{Insert, LoginCandidate, Ports, Rehash};
use crate::token::{Carrier, SessionToken};
use crate::trusted_device::TrustedDeviceToken;

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

/// Somebody who has just signed in.
#[derive(Debug)]
pub struct SignedIn {
    /// The account.
    pub account: AccountId,
    /// The session.
    pub session: SessionId,
    /// How far it has come. While the second factor is due the token opens nothing but that.
    pub state: SessionState,
    /// What opens it. It is nowhere else.
    pub token: SessionToken,
    /// To be kept on this device, once the sign-in is complete.
    pub device: Option<DeviceToken>,
    /// To be kept by this browser, which is trusted from now on for as long as the policy says.
    pub trusted: Option<TrustedDeviceToken>,
}

/// What was reserved before hashing.
struct Reserved {
    account: (LimitKey, Slot),
    /// When it was tried on a known device that may still be treated as one.
    devices: Option<(LimitKey, Slot)>,
    in_flight: Option<(LimitKey, Slot)>,
}

/// The keys under which a sign-in is counted.
struct Counted {
    account: LimitKey,
    /// A device that had signed in before. It has tries of its own and is not kept out by what its network does.
    device: Option<Device>,
    network: Option<Network>,
}

struct Device {
    id: [u8; 16],
    tries: LimitKey,
    /// All devices of the account together: who collects device cookies gets no further with many than with one.
    all: LimitKey,
}

struct Network {
    failures: LimitKey,
    failures_long: LimitKey,
    in_flight: LimitKey,
}

impl Iam {
    /// Signs somebody in.
    ///
    /// # Errors
    /// [`Error::Credentials`] for everything that is wrong with name, password or account, after the same work for each.
    /// [`Error::Throttled`] before anything is checked. [`Error::Busy`] when too many passwords wait to be hashed.
    pub async fn login(&self, login: Login<'_>) -> Result<SignedIn, Error> {
        let candidate = self.inner.store.login_candidate(login.identifier).await?;
        let counted = self.counted(&login, candidate.as_ref());
        let reserved = match self.retried(|| self.reserve(&counted)).await? {
            Ok(reserved) => reserved,
            Err(refused) => return Err(self.throttled(&login, candidate.as_ref(), refused).await),
        };
        let checked = self.check_password(&login.password, candidate.as_ref()).await;
        match checked {
            Ok((candidate, renewed)) => {
                self.retried(|| self.sign_in(&login, &counted, &reserved, candidate, renewed.as_ref())).await
            }
            Err(Unproven::Refused(why)) => {
                self.retried(|| self.refuse(&login, &counted, &reserved, candidate.as_ref(), why)).await
            }
            Err(Unproven::Failed(error)) => {
                // Nothing was checked, so nothing is counted.
                self.retried(|| self.give_back(&reserved)).await?;
                Err(error)
            }
        }
    }

    fn counted(&self, login: &Login<'_>, candidate: Option<&LoginCandidate>) -> Counted {
        let inner = &self.inner;
        let key = |purpose, subject: &[u8]| LimitKey::new(&inner.limit_key, purpose, subject);
        let device = candidate.zip(login.device).and_then(|(candidate, device)| {
            let (account, version) = (candidate.account, candidate.auth_version);
            let id = device.device_of(&inner.device_key, account, version, self.now())?;
            Some(Device {
                id,
                tries: key("login.device", &id),
                all: key("login.devices", account.as_bytes()),
            })
        });
        let account = match candidate {
            Some(candidate) => key("login.account", candidate.account.as_bytes()),
            None => key("login.identifier", login.identifier.canonical().as_bytes()),
        };
        let network = login.client.network().map(|network| {
            let network = network.to_string();
            Network {
                failures: key("login.network", network.as_bytes()),
                failures_long: key("login.network.long", network.as_bytes()),
                in_flight: key("login.network.in_flight", network.as_bytes()),
            }
        });
        Counted { account, device, network }
    }

    /// Reserves a try, or says which limit refused and until when. A refusal leaves nothing counted.
    async fn reserve(&self, counted: &Counted) -> Result<Result<Reserved, Refused>, Error> {
        let limits = &self.inner.login_limits;
        let now = self.now();
        let mut unit = self.begin().await?;
        let (mut devices, mut in_flight) = (None, None);
        let mut account = counted.account;
        if let Some(device) = &counted.device
            && let Reservation::Granted(slot) =
                unit.limits().reserve_in_window(&device.all, &limits.devices, now).await?
        {
            (devices, account) = (Some((device.all, slot)), device.tries);
        }
        // Who has signed in on this device before is not kept out by what others do behind the same address.
        if let Some(network) = counted.network.as_ref().filter(|_| devices.is_none()) {
            let short = unit.limits().full_until(&network.failures, &limits.address, now).await?;
            let long = unit.limits().full_until(&network.failures_long, &limits.address_long, now).await?;
            if let Some(until) = short.max(long) {
                return Ok(Err(Refused { limit: "login.address", until }));
            }
            match unit.limits().reserve_in_window(&network.in_flight, &limits.address_in_flight, now).await? {
                Reservation::Granted(slot) => in_flight = Some((network.in_flight, slot)),
                Reservation::Refused(until) => return Ok(Err(Refused { limit: "login.in_flight", until })),
            }
        }
        match unit.limits().reserve(&account, &limits.account, now).await? {
            Reservation::Granted(slot) => {
                // Twice as many as one sign-in can add, so that strangers can't fill the disk.
                unit.limits().purge(now, 8).await?;
                unit.commit().await?;
                Ok(Ok(Reserved { account: (account, slot), devices, in_flight }))
            }
            Reservation::Refused(until) => Ok(Err(Refused { limit: "login.account", until })),
        }
    }

    async fn throttled(
        &self,
        login: &Login<'_>,
        candidate: Option<&LoginCandidate>,
        refused: Refused,
    ) -> Error {
        let event = Event::LimitExceeded(refused.limit);
        self.record_refusal(&event, self.subject(login, candidate), login.client).await;
        Error::Throttled { retry_after: refused.until.since(self.now()) }
    }

    /// The same work whatever there is to compare with. No unit of work is open here.
    async fn check_password<'c>(
        &self,
        password: &PlainPassword,
        candidate: Option<&'c LoginCandidate>,
    ) -> Result<(&'c LoginCandidate, Option<Renewed>), Unproven> {
        let stored = candidate.and_then(|candidate| candidate.password.clone());
        let checked = self.inner.hashing.check(password.clone(), stored).await.map_err(Unproven::Failed)?;
        let candidate = candidate.ok_or(Unproven::Refused(LoginFailure::UnknownAccount))?;
        let outdated = match checked {
            Checked::Match { outdated } => outdated,
            Checked::Mismatch => return Err(Unproven::Refused(LoginFailure::WrongPassword)),
            Checked::NoHash => return Err(Unproven::Refused(LoginFailure::NoPassword)),
            Checked::Unusable => return Err(Unproven::Refused(LoginFailure::UnusableHash)),
        };
        if let Some(failure) = why_not(candidate) {
            return Err(Unproven::Refused(failure));
        }
        let Some(unchanged_since) = outdated.is_due(candidate.password_changed_at, self.now()) else {
            return Ok((candidate, None));
        };
        // A hash that can't be renewed now is renewed next time: no reason to keep anyone out.
        let hash = self.inner.hashing.hash(password.clone()).await.ok();
        Ok((candidate, hash.map(|hash| Renewed { hash, unchanged_since })))
    }

    async fn refuse(
        &self,
        login: &Login<'_>,
        counted: &Counted,
        reserved: &Reserved,
        candidate: Option<&LoginCandidate>,
        why: LoginFailure,
    ) -> Result<SignedIn, Error> {
        let limits = &self.inner.login_limits;
        let now = self.now();
        let mut unit = self.begin().await?;
        if let Some(network) = &counted.network {
            unit.limits().count_in_window(&network.failures, &limits.address, now).await?;
            unit.limits().count_in_window(&network.failures_long, &limits.address_long, now).await?;
        }
        release_in_flight(unit.as_mut(), reserved).await?;
        let event = Event::LoginFailed(why);
        self.audit(unit.as_mut(), &event, self.subject(login, candidate), login.client).await?;
        unit.commit().await?;
        Err(Error::Credentials)
    }

    async fn sign_in(
        &self,
        login: &Login<'_>,
        counted: &Counted,
        reserved: &Reserved,
        candidate: &LoginCandidate,
        renewed: Option<&Renewed>,
    ) -> Result<SignedIn, Error> {
        let now = self.now();
        let token = SessionToken::generate(login.carrier, self.randomness())?;
        let by_trust = self.is_trusted(login, candidate, now).await?;
        let session = NewSession {
            id: SessionId::generate(now, self.randomness())?,
            account: candidate.account,
            auth_version: candidate.auth_version,
            token: token.hash(),
            state: if candidate.second_factor && !by_trust {
                SessionState::PendingSecondFactor
            } else {
                SessionState::Active
            },
            // Not what was proved on the browser before: nothing but the password was proved now.
            amr: if by_trust { format!("pwd {TRUSTED_DEVICE_AMR}") } else { "pwd".to_owned() },
            login_at: now,
            client: login.client.clone(),
        };
        let device = match session.state {
            SessionState::Active => Some(self.device_token(counted, candidate, now)?),
            SessionState::PendingSecondFactor => None,
        };
        let replaced = match login.replaces {
            Some(Replaced::Of(claimant)) => Some((claimant.session, claimant.account)),
            Some(Replaced::By(token)) => {
                self.inner.store.session(&token.hash(), now).await?.map(|record| (record.id, record.account))
            }
            None => None,
        };
        let mut unit = self.begin().await?;
        if unit.sessions().insert(&session).await? == Insert::Taken {
            drop(unit);
            return self.changed_meanwhile(login, reserved, candidate).await;
        }
        let mut subject = self.subject(login, Some(candidate));
        subject.actor = Some(candidate.account);
        subject.amr = Some(session.amr.clone());
        if let Some(renewed) = renewed {
            self.renew_hash(unit.as_mut(), login, candidate, renewed, &subject).await?;
        }
        if let Some((id, account)) = replaced
            && unit.sessions().end(id, EndReason::Replaced, now).await?
        {
            let event = Event::SessionEnded(id, EndReason::Replaced);
            self.audit(unit.as_mut(), &event, Subject::own(account), login.client).await?;
        }
        self.evict(unit.as_mut(), candidate.account, session.state, session.id, login.client).await?;
        self.release(unit.as_mut(), reserved).await?;
        // Known only to who knows the password: a guesser learns nothing from it.
        if let Some(until) = self.count_sign_in(unit.as_mut(), reserved, candidate.account).await? {
            drop(unit);
            self.retried(|| self.give_back(reserved)).await?;
            let refused = Refused { limit: "login.sign_ins", until };
            return Err(self.throttled(login, Some(candidate), refused).await);
        }
        let tries = reserved.account.1.count;
        let event = match session.state {
            SessionState::Active => Event::LoginSucceeded { session: session.id, tries },
            SessionState::PendingSecondFactor => Event::FirstFactorAccepted { session: session.id, tries },
        };
        self.audit(unit.as_mut(), &event, subject.clone(), login.client).await?;
        self.audit(unit.as_mut(), &Event::SessionCreated(session.id), subject, login.client).await?;
        unit.commit().await?;
        Ok(SignedIn {
            account: candidate.account,
            session: session.id,
            state: session.state,
            token,
            device,
            trusted: None,
        })
    }

    /// Puts a hash of today's policy in the place of the one that was right, unless somebody has changed it meanwhile.
    async fn renew_hash(
        &self,
        unit: &mut dyn Ports,
        login: &Login<'_>,
        candidate: &LoginCandidate,
        renewed: &Renewed,
        subject: &Subject,
    ) -> Result<(), Error> {
        let Some(old) = &candidate.password else { return Ok(()) };
        let unchanged_since = renewed.unchanged_since;
        let rehash = Rehash { old, new: &renewed.hash, unchanged_since, at: self.now() };
        if unit.accounts().rehash(candidate.account, candidate.auth_version, &rehash).await? {
            self.audit(unit, &Event::PasswordRehashed, subject.clone(), login.client).await?;
        }
        Ok(())
    }

    /// Counts a right password, whatever comes of it; says until when there are too many. Known devices are counted apart: who has only
    /// found out the password does not keep its owner out of them.
    async fn count_sign_in(
        &self,
        unit: &mut dyn Ports,
        reserved: &Reserved,
        account: AccountId,
    ) -> Result<Option<Timestamp>, Error> {
        let purpose = if reserved.devices.is_some() { "login.sign_ins.devices" } else { "login.sign_ins" };
        let key = LimitKey::new(&self.inner.limit_key, purpose, account.as_bytes());
        let limit = &self.inner.login_limits.sign_ins;
        match unit.limits().reserve_in_window(&key, limit, self.now()).await? {
            Reservation::Granted(_) => Ok(None),
            Reservation::Refused(until) => Ok(Some(until)),
        }
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
        Ok(self.inner.store.is_trusted_device(&shown.hash(), account, version, now).await?)
    }

    /// The password was right when it was looked up: no guess, and nobody is signed in.
    async fn changed_meanwhile(
        &self,
        login: &Login<'_>,
        reserved: &Reserved,
        candidate: &LoginCandidate,
    ) -> Result<SignedIn, Error> {
        let mut unit = self.begin().await?;
        self.release(unit.as_mut(), reserved).await?;
        let event = Event::LoginFailed(LoginFailure::ChangedMeanwhile);
        self.audit(unit.as_mut(), &event, self.subject(login, Some(candidate)), login.client).await?;
        unit.commit().await?;
        Err(Error::Credentials)
    }

    /// A session more than there may be ends the oldest of its state. The caller holds the account.
    pub(super) async fn evict(
        &self,
        unit: &mut dyn Ports,
        account: AccountId,
        state: SessionState,
        new: SessionId,
        client: &Client,
    ) -> Result<(), Error> {
        let (most, now) = (self.inner.most_sessions, self.now());
        let evicted =
            unit.sessions().end_oldest_beyond(account, state, new, most, EndReason::Evicted, now).await?;
        for id in evicted {
            let event = Event::SessionEnded(id, EndReason::Evicted);
            self.audit(unit, &event, Subject::own(account), client).await?;
        }
        Ok(())
    }

    fn device_token(
        &self,
        counted: &Counted,
        candidate: &LoginCandidate,
        now: Timestamp,
    ) -> Result<DeviceToken, Error> {
        let key = &self.inner.device_key;
        let (account, version) = (candidate.account, candidate.auth_version);
        Ok(match counted.device {
            Some(Device { id, .. }) => DeviceToken::renewed(key, account, version, id, now),
            None => DeviceToken::issue(key, account, version, now, self.randomness())?,
        })
    }

    async fn give_back(&self, reserved: &Reserved) -> Result<(), Error> {
        let mut unit = self.begin().await?;
        self.release(unit.as_mut(), reserved).await?;
        Ok(unit.commit().await?)
    }

    /// A success gives back its own try and nobody else's.
    async fn release(&self, unit: &mut dyn Ports, reserved: &Reserved) -> Result<(), Error> {
        // In the order in which they were reserved: two sign-ins that hold each other's limits would wait for ever.
        if let Some((key, slot)) = &reserved.devices {
            unit.limits().give_back_in_window(key, slot).await?;
        }
        release_in_flight(unit, reserved).await?;
        let (key, slot) = &reserved.account;
        Ok(unit.limits().give_back(key, slot, &self.inner.login_limits.account).await?)
    }

    fn subject(&self, login: &Login<'_>, candidate: Option<&LoginCandidate>) -> Subject {
        match candidate {
            Some(candidate) => Subject {
                account: Some(candidate.account),
                parent: candidate.parent.map(|(id, _)| id),
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

struct Refused {
    limit: &'static str,
    until: Timestamp,
}

enum Unproven {
    Refused(LoginFailure),
    Failed(Error),
}

/// Why an account may not sign in though its password was right.
fn why_not(candidate: &LoginCandidate) -> Option<LoginFailure> {
    match (candidate.status, candidate.parent) {
        (AccountStatus::Active, None | Some((_, ParentStatus::Active))) => None,
        (AccountStatus::Active, Some(_)) => Some(LoginFailure::ParentSuspended),
        (AccountStatus::Disabled, _) => Some(LoginFailure::AccountDisabled),
        (AccountStatus::Locked, _) => Some(LoginFailure::AccountLocked),
    }
}

async fn release_in_flight(unit: &mut dyn Ports, reserved: &Reserved) -> Result<(), Error> {
    if let Some((key, slot)) = &reserved.in_flight {
        unit.limits().give_back_in_window(key, slot).await?;
    }
    Ok(())
}
