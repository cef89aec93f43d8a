//! A try at a password, wherever one is taken: counted before anything is hashed, compared with the same work whatever there is to
//! compare with, and given back or counted as a failure.
//!
//! A password meets a stored hash in [`Iam::compare_password`] and nowhere else: [`Hashing`](crate::password::Hashing) asks for a
//! [`CountedTry`], which is a [`Reserved`], made by [`Iam::reserve`] alone.

use crate::audit::{Event, LoginFailure, Subject};
use crate::base::clock::Timestamp;
use crate::base::id::AccountId;
use crate::delivery::Notice;
use crate::flow::{Claimant, Login};
use crate::iam::{Iam, Unit};
use crate::limits::{LimitKey, Reservation, Slot};
use crate::model::account::{Account, AccountStatus, LoginIdentifier};
use crate::model::client::Client;
use crate::model::error::Error;
use crate::model::parent::ParentStatus;
use crate::model::session_state::EndReason;
use crate::password::{Checked, CountedTry, Outdated, PlainPassword};
use crate::store::LoginCandidate;

/// The keys under which a try is counted.
pub(super) struct Counted {
    /// Of an account, or of a name that none has; of a session, for somebody who is signed in.
    tries: LimitKey,
    /// A device that had signed in before. It has tries of its own and is not kept out by what its network does.
    device: Option<Device>,
    /// All wrong passwords of the session. Like a device, it is kept out by itself alone.
    session: Option<LimitKey>,
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

impl Counted {
    /// The device that had signed in before.
    pub(super) fn device(&self) -> Option<[u8; 16]> {
        self.device.as_ref().map(|device| device.id)
    }
}

/// What was reserved before hashing.
pub(super) struct Reserved {
    tries: (LimitKey, Slot),
    /// When it was tried on a known device that may still be treated as one.
    devices: Option<(LimitKey, Slot)>,
    session: Option<(LimitKey, Slot)>,
    in_flight: Option<(LimitKey, Slot)>,
}

impl CountedTry for Reserved {}

impl Reserved {
    /// Tries within the limit's memory, this one included.
    pub(super) const fn tries(&self) -> u32 {
        self.tries.1.count
    }
}

/// A limit that refused, and until when it does.
pub(super) struct Refused {
    limit: &'static str,
    until: Timestamp,
}

impl Refused {
    pub(super) const fn new(limit: &'static str, until: Timestamp) -> Self {
        Self { limit, until }
    }
}

/// Why a password proved nothing.
pub(super) enum Unproven {
    /// It did not sign anyone in.
    Refused(LoginFailure),
    /// Nothing was checked.
    Failed(Error),
}

/// A password that was right, of somebody who is signed in. What was reserved for it is to be given back by the unit of work that it
/// leads to.
pub(super) struct Proven {
    /// The account as it was read before.
    pub(super) candidate: LoginCandidate,
    pub(super) reserved: Reserved,
    /// The owner, where they are to be told.
    pub(super) told: Option<Account>,
}

impl Iam {
    /// The keys of a sign-in.
    pub(super) fn counted(&self, login: &Login<'_>, candidate: Option<&LoginCandidate>) -> Counted {
        let device = candidate.and_then(|candidate| {
            let id = self.known_device(login.device, candidate.account, candidate.auth_version)?;
            Some(Device {
                id,
                tries: self.limit("login.device", &id),
                all: self.limit("login.devices", candidate.account.as_bytes()),
            })
        });
        let tries = match candidate {
            Some(candidate) => self.limit("login.account", candidate.account.as_bytes()),
            None => self.limit("login.identifier", login.identifier.canonical().as_bytes()),
        };
        Counted { tries, device, session: None, network: self.network(login.client) }
    }

    /// The keys of somebody who is signed in. The session has tries of its own, beside those of account and devices: whoever stole
    /// it slows down nothing but it.
    fn counted_in_session(&self, claimant: &Claimant, client: &Client) -> Counted {
        let session = claimant.session.as_bytes();
        Counted {
            tries: self.limit("session.password", session),
            device: None,
            session: Some(self.limit("session.password.all", session)),
            network: self.network(client),
        }
    }

    fn network(&self, client: &Client) -> Option<Network> {
        let network = client.network()?.to_string();
        Some(Network {
            failures: self.limit("login.network", network.as_bytes()),
            failures_long: self.limit("login.network.long", network.as_bytes()),
            in_flight: self.limit("login.network.in_flight", network.as_bytes()),
        })
    }

    fn limit(&self, purpose: &'static str, subject: &[u8]) -> LimitKey {
        LimitKey::new(&self.inner.limit_key, purpose, subject)
    }

    /// Reserves a try, or says which limit refused and until when. A refusal leaves nothing counted.
    pub(super) async fn reserve(&self, counted: &Counted) -> Result<Result<Reserved, Refused>, Error> {
        let limits = &self.inner.login_limits;
        let now = self.now();
        let mut unit = self.begin().await?;
        let (mut devices, mut session, mut in_flight) = (None, None, None);
        let mut tries = counted.tries;
        if let Some(device) = &counted.device
            && let Reservation::Granted(slot) =
                unit.limits().reserve_in_window(&device.all, &limits.devices, now).await?
        {
            (devices, tries) = (Some((device.all, slot)), device.tries);
        }
        if let Some(all) = &counted.session {
            match unit.limits().reserve_in_window(all, &limits.session, now).await? {
                Reservation::Granted(slot) => session = Some((*all, slot)),
                Reservation::Refused(until) => return Ok(Err(Refused { limit: "reauthenticate", until })),
            }
        }
        // Who has signed in on this device before is not kept out by what others do behind the same address.
        let is_known = devices.is_some() || session.is_some();
        if let Some(network) = counted.network.as_ref().filter(|_| !is_known) {
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
        match unit.limits().reserve(&tries, &limits.account, now).await? {
            Reservation::Granted(slot) => {
                // Twice as many as one sign-in can add, so that strangers can't fill the disk.
                unit.limits().purge(now, 8).await?;
                unit.commit().await?;
                Ok(Ok(Reserved { tries: (tries, slot), devices, session, in_flight }))
            }
            Reservation::Refused(until) => {
                let limit = if session.is_some() { "reauthenticate" } else { "login.account" };
                Ok(Err(Refused { limit, until }))
            }
        }
    }

    /// What a limit has refused, written down, as an error.
    pub(super) async fn throttled(&self, refused: Refused, subject: Subject, client: &Client) -> Error {
        self.record_refusal(&Event::LimitExceeded(refused.limit), subject, client).await;
        Error::Throttled { retry_after: refused.until.since(self.now()) }
    }

    /// The same work whatever there is to compare with. No unit of work is open here. Says how the hash is outdated.
    pub(super) async fn compare_password<'c>(
        &self,
        reserved: &Reserved,
        password: &PlainPassword,
        candidate: Option<&'c LoginCandidate>,
    ) -> Result<(&'c LoginCandidate, Outdated), Unproven> {
        let stored = candidate.and_then(|candidate| candidate.password.clone());
        let checked =
            self.inner.hashing.check(reserved, password.clone(), stored).await.map_err(Unproven::Failed)?;
        let candidate = candidate.ok_or(Unproven::Refused(LoginFailure::UnknownAccount))?;
        let outdated = match checked {
            Checked::Match { outdated } => outdated,
            Checked::Mismatch => return Err(Unproven::Refused(LoginFailure::WrongPassword)),
            Checked::NoHash => return Err(Unproven::Refused(LoginFailure::NoPassword)),
            Checked::Unusable => return Err(Unproven::Refused(LoginFailure::UnusableHash)),
        };
        match why_not(candidate) {
            Some(failure) => Err(Unproven::Refused(failure)),
            None => Ok((candidate, outdated)),
        }
    }

    /// Checks the password of somebody who is signed in.
    ///
    /// # Errors
    /// [`Error::Credentials`] when it is wrong, [`Error::Throttled`] before anything is checked. With the last wrong one that
    /// [`LoginLimits::session`](crate::limits::LoginLimits::session) allows the session ends.
    pub(super) async fn prove(
        &self,
        claimant: &Claimant,
        password: &PlainPassword,
        client: &Client,
    ) -> Result<Proven, Error> {
        let identifier = LoginIdentifier::Username(claimant.username.clone());
        let candidate = self.inner.store.reader().await?.accounts().login_candidate(&identifier).await?;
        let candidate = candidate.filter(|found| found.account == claimant.account);
        let counted = self.counted_in_session(claimant, client);
        let reserved = match self.retried(|| self.reserve(&counted)).await? {
            Ok(reserved) => reserved,
            Err(refused) => return Err(self.throttled(refused, claimant.subject(), client).await),
        };
        match self.compare_password(&reserved, password, candidate.as_ref()).await {
            Ok((candidate, _)) => match self.admit_proof(&reserved, claimant, client).await {
                Ok(told) => Ok(Proven { candidate: candidate.clone(), reserved, told }),
                Err(error) => {
                    // It was no guess, whatever else stands in its way.
                    self.give_back(&reserved).await?;
                    Err(error)
                }
            },
            Err(Unproven::Refused(_)) => {
                self.refuse_in_session(claimant, &counted, &reserved, client).await?;
                Err(Error::Credentials)
            }
            Err(Unproven::Failed(error)) => {
                // Nothing was checked, so nothing is counted.
                self.give_back(&reserved).await?;
                Err(error)
            }
        }
    }

    /// Counts a right password of a sign-in; says until when there are too many. Each leaves a session and records behind. Known devices are
    /// counted apart: knowing the password alone does not keep the owner out of them.
    pub(super) async fn count_sign_in(
        &self,
        unit: &mut Unit<'_>,
        reserved: &Reserved,
        account: AccountId,
    ) -> Result<Option<Timestamp>, Error> {
        let purpose = if reserved.devices.is_some() { "login.sign_ins.devices" } else { "login.sign_ins" };
        let key = self.limit(purpose, account.as_bytes());
        let limit = &self.inner.login_limits.sign_ins;
        match unit.limits().reserve_in_window(&key, limit, self.now()).await? {
            Reservation::Granted(_) => Ok(None),
            Reservation::Refused(until) => Ok(Some(until)),
        }
    }

    /// What is left to look at when the password of somebody who is signed in was right; gives the owner, if they are to be told.
    async fn admit_proof(
        &self,
        reserved: &Reserved,
        claimant: &Claimant,
        client: &Client,
    ) -> Result<Option<Account>, Error> {
        match self.count_proof(claimant.account).await? {
            None => self.to_be_told(reserved, claimant.account).await,
            Some(until) => {
                let refused = Refused::new("reauthenticate.all", until);
                Err(self.throttled(refused, claimant.subject(), client).await)
            }
        }
    }

    /// The same for a right password of somebody who is signed in. Wrong ones are not counted here, or a stolen session could keep the
    /// owner from proving anything.
    async fn count_proof(&self, account: AccountId) -> Result<Option<Timestamp>, Error> {
        let key = self.limit("reauthenticate.all", account.as_bytes());
        self.retried(|| async {
            let mut unit = self.begin().await?;
            let limit = &self.inner.login_limits.sign_ins;
            match unit.limits().reserve_in_window(&key, limit, self.now()).await? {
                Reservation::Granted(_) => {
                    unit.commit().await?;
                    Ok(None)
                }
                Reservation::Refused(until) => Ok(Some(until)),
            }
        })
        .await
    }

    /// A wrong password of somebody who is signed in. The last one of a session ends it: whoever stole that has no more tries.
    async fn refuse_in_session(
        &self,
        claimant: &Claimant,
        counted: &Counted,
        reserved: &Reserved,
        client: &Client,
    ) -> Result<(), Error> {
        let most = self.inner.login_limits.session.limit;
        let is_last = reserved.session.as_ref().is_some_and(|(_, slot)| slot.count >= most);
        // That the session ends does not hang on whether somebody can be told.
        let owner = if is_last {
            self.inner.store.reader().await?.accounts().by_id(claimant.account).await.ok().flatten()
        } else {
            None
        };
        self.retried(|| async {
            let mut unit = self.begin().await?;
            let mut ended = false;
            if is_last {
                // HeldSession in the order of all others; whether it is still what it was is no matter here.
                let _ = unit.accounts().hold(claimant.account, claimant.auth_version).await?;
                ended = unit.sessions().end(claimant.session, EndReason::WrongPasswords, self.now()).await?;
            }
            self.count_failure(&mut unit, counted, reserved).await?;
            if let Some(owner) = owner.as_ref().filter(|_| ended) {
                self.notify(&mut unit, owner, Notice::SessionEndedByFailures, client).await?;
            }
            unit.record(&Event::ReauthenticationFailed, claimant.subject(), client).await?;
            if ended {
                let event = Event::SessionEnded(claimant.session, EndReason::WrongPasswords);
                unit.record(&event, claimant.subject(), client).await?;
            }
            Ok(unit.commit().await?)
        })
        .await?;
        Ok(())
    }

    /// Counts a failure for the network that it came from. The try itself stays counted.
    pub(super) async fn count_failure(
        &self,
        unit: &mut Unit<'_>,
        counted: &Counted,
        reserved: &Reserved,
    ) -> Result<(), Error> {
        let (limits, now) = (&self.inner.login_limits, self.now());
        if let Some(network) = &counted.network {
            unit.limits().count_in_window(&network.failures, &limits.address, now).await?;
            unit.limits().count_in_window(&network.failures_long, &limits.address_long, now).await?;
        }
        release_in_flight(unit, reserved).await
    }

    /// The owner, if a right password comes after so many wrong ones that tries were slowed down (OWASP ASVS 6.3.5).
    pub(super) async fn to_be_told(
        &self,
        reserved: &Reserved,
        account: AccountId,
    ) -> Result<Option<Account>, Error> {
        if reserved.tries() <= self.inner.login_limits.account.free {
            return Ok(None);
        }
        Ok(self.inner.store.reader().await?.accounts().by_id(account).await?)
    }

    /// Gives back what was reserved for a password that was right, and tells its owner where that is due. In the unit of work that it
    /// leads to, which holds the account if somebody is told.
    pub(super) async fn accept(
        &self,
        unit: &mut Unit<'_>,
        reserved: &Reserved,
        told: Option<&Account>,
        client: &Client,
    ) -> Result<(), Error> {
        self.release(unit, reserved).await?;
        match told {
            Some(owner) => self.tell_of(unit, owner, Notice::PasswordAfterFailures, client).await,
            None => Ok(()),
        }
    }

    /// Gives back what was reserved for a try that was no guess.
    pub(super) async fn give_back(&self, reserved: &Reserved) -> Result<(), Error> {
        self.retried(|| async {
            let mut unit = self.begin().await?;
            self.release(&mut unit, reserved).await?;
            Ok(unit.commit().await?)
        })
        .await
    }

    /// A success gives back its own try and nobody else's.
    pub(super) async fn release(&self, unit: &mut Unit<'_>, reserved: &Reserved) -> Result<(), Error> {
        // In the order in which they were reserved: two sign-ins that hold each other's limits would wait for ever.
        for (key, slot) in [&reserved.devices, &reserved.session].into_iter().flatten() {
            unit.limits().give_back_in_window(key, slot).await?;
        }
        release_in_flight(unit, reserved).await?;
        let (key, slot) = &reserved.tries;
        Ok(unit.limits().give_back(key, slot, &self.inner.login_limits.account).await?)
    }
}

async fn release_in_flight(unit: &mut Unit<'_>, reserved: &Reserved) -> Result<(), Error> {
    if let Some((key, slot)) = &reserved.in_flight {
        unit.limits().give_back_in_window(key, slot).await?;
    }
    Ok(())
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
