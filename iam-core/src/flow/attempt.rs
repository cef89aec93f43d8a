//! A try at a password, wherever one is taken: counted before anything is hashed, compared with the same work whatever there is to
//! compare with, and given back or counted as a failure.
//!
//! A password meets a stored hash in [`Iam::compare_password`] and nowhere else: [`Hashing`](crate::password::Hashing) asks for a
//! [`CountedTry`], which is a [`Reserved`], made by [`Iam::reserve`] alone.

use crate::audit::{Event, LoginFailure, Subject};
use crate::base::clock::Timestamp;
use crate::base::id::AccountId;
use crate::base::random;
use crate::delivery::Notice;
use crate::flow::{Claimant, Login};
use crate::iam::{Iam, Unit};
use crate::limits::{Change, Held, LimitKey, Refusal, Slot, Window};
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
    /// Its sign-ins under way, in several counters of which each one takes one at random: a counter is held until its unit of work is kept, and
    /// people behind one address would wait for each other. Together they grant as many as the limit. Each is blocked while the network has
    /// failed too often, so that a sign-in has to look nowhere else.
    in_flight: Vec<LimitKey>,
    /// The counter that is tried first.
    first: usize,
}

/// How many forgotten counters a try removes that may have made some: more than it can have made, so that strangers can't fill the disk.
pub(super) const MOST_PURGED: u32 = 24;

/// How many counters the sign-ins under way of one network have.
const IN_FLIGHT_COUNTERS: u32 = 16;

impl Network {
    /// The counter of its sign-ins under way that is tried first, and which one that is.
    fn first(&self) -> Option<(&LimitKey, u32)> {
        let key = self.in_flight.get(self.first)?;
        Some((key, u32::try_from(self.first).ok()?))
    }
}

/// What came of a try to reserve.
enum Tried {
    Reserved(Reserved),
    Refused(Refused),
    /// The counter of the network that was looked at has no room, until this time. Another one may have.
    Full(Timestamp),
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
    /// A try that has taken no other place. Its slot is the last one.
    fn of(tries: &LimitKey, slots: &[Slot]) -> Self {
        let none = Slot { count: 1, since: Timestamp::from_micros(0), number: 1 };
        let slot = slots.last().copied().unwrap_or(none);
        Self { tries: (*tries, slot), devices: None, session: None, in_flight: None }
    }

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
    pub(super) fn counted(
        &self,
        login: &Login<'_>,
        candidate: Option<&LoginCandidate>,
    ) -> Result<Counted, Error> {
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
        Ok(Counted { tries, device, session: None, network: self.network(login.client)? })
    }

    /// The keys of somebody who is signed in. The session has tries of its own, beside those of account and devices: whoever stole
    /// it slows down nothing but it.
    fn counted_in_session(&self, claimant: &Claimant, client: &Client) -> Result<Counted, Error> {
        let session = claimant.session.id.as_bytes();
        Ok(Counted {
            tries: self.limit("session.password", session),
            device: None,
            session: Some(self.limit("session.password.all", session)),
            network: self.network(client)?,
        })
    }

    fn network(&self, client: &Client) -> Result<Option<Network>, Error> {
        let Some(network) = client.network() else { return Ok(None) };
        let network = network.to_string();
        let in_flight = (0..IN_FLIGHT_COUNTERS).map(|counter| {
            let subject = [network.as_bytes(), &counter.to_be_bytes()].concat();
            self.limit("login.network.in_flight", &subject)
        });
        let in_flight: Vec<LimitKey> = in_flight.collect();
        let [chance] = random::bytes(self.randomness())?;
        Ok(Some(Network {
            failures: self.limit("login.network", network.as_bytes()),
            failures_long: self.limit("login.network.long", network.as_bytes()),
            first: usize::from(chance).checked_rem(in_flight.len()).unwrap_or(0),
            in_flight,
        }))
    }

    fn limit(&self, purpose: &'static str, subject: &[u8]) -> LimitKey {
        LimitKey::new(&self.inner.limit_key, purpose, subject)
    }

    /// Reserves a try, or says which limit refused and until when. A refusal leaves nothing counted.
    pub(super) async fn reserve(&self, counted: &Counted) -> Result<Result<Reserved, Refused>, Error> {
        let mut unit = self.begin().await?;
        let tried = match &counted.session {
            Some(all) => self.reserve_in_session(&mut unit, all, &counted.tries).await?,
            None => self.reserve_sign_in(&mut unit, counted).await?,
        };
        Ok(match (tried, &counted.network) {
            (Tried::Reserved(reserved), _) => {
                unit.commit().await?;
                Ok(reserved)
            }
            (Tried::Refused(refused), _) => Err(refused),
            (Tried::Full(_), Some(network)) => {
                drop(unit);
                self.reserve_anywhere(counted, network).await?
            }
            (Tried::Full(until), None) => Err(Refused::new("login.in_flight", until)),
        })
    }

    async fn reserve_in_session(
        &self,
        unit: &mut Unit<'_>,
        all: &LimitKey,
        tries: &LimitKey,
    ) -> Result<Tried, Error> {
        let limits = &self.inner.login_limits;
        let changes = [(*all, Change::Take(limits.session)), (*tries, Change::Try(limits.account))];
        Ok(match unit.limits().change(&changes, self.now()).await? {
            Ok(slots) => {
                let session = slots.first().map(|slot| (*all, *slot));
                Tried::Reserved(Reserved { session, ..Reserved::of(tries, &slots) })
            }
            Err((_, refusal)) => Tried::Refused(Refused::new("reauthenticate", refusal.until)),
        })
    }

    /// On a device that has signed in before, or else for its network.
    async fn reserve_sign_in(&self, unit: &mut Unit<'_>, counted: &Counted) -> Result<Tried, Error> {
        let (limits, now) = (&self.inner.login_limits, self.now());
        let tried = Change::Try(limits.account);
        if let Some(device) = &counted.device {
            let changes = [(device.all, Change::Take(limits.devices)), (device.tries, tried)];
            match unit.limits().change(&changes, now).await? {
                Ok(slots) => {
                    let devices = slots.first().map(|slot| (device.all, *slot));
                    return Ok(Tried::Reserved(Reserved { devices, ..Reserved::of(&device.tries, &slots) }));
                }
                // All devices together have failed too often: this one is as a stranger's.
                Err((key, _)) if key == device.all => {}
                Err((_, refusal)) => return Ok(Tried::Refused(Refused::new("login.account", refusal.until))),
            }
        }
        let place =
            counted.network.as_ref().and_then(Network::first).map(|(key, part)| {
                (*key, Change::Take(limits.address_in_flight.part(part, IN_FLIGHT_COUNTERS)))
            });
        let changes: Vec<_> = place.into_iter().chain([(counted.tries, tried)]).collect();
        Ok(match unit.limits().change(&changes, now).await? {
            Ok(slots) => {
                let in_flight = place.and_then(|(key, _)| slots.first().map(|slot| (key, *slot)));
                Tried::Reserved(Reserved { in_flight, ..Reserved::of(&counted.tries, &slots) })
            }
            Err((key, refusal)) if key == counted.tries => {
                Tried::Refused(Refused::new("login.account", refusal.until))
            }
            Err((_, refusal)) if refusal.is_block => {
                Tried::Refused(Refused::new("login.address", refusal.until))
            }
            Err((_, refusal)) => Tried::Full(refusal.until),
        })
    }

    /// Reserves a try wherever one of the network's counters has room. All of them are held, in a unit of work of its own: whoever holds
    /// one already would wait for those that hold another.
    async fn reserve_anywhere(
        &self,
        counted: &Counted,
        network: &Network,
    ) -> Result<Result<Reserved, Refused>, Error> {
        let (limits, now) = (&self.inner.login_limits, self.now());
        let keys: Vec<LimitKey> = network.in_flight.iter().copied().chain([counted.tries]).collect();
        let mut unit = self.begin().await?;
        loop {
            let mut held = Held::new(unit.limits().lock(&keys).await?);
            let place = match take_any(&mut held, &network.in_flight, &limits.address_in_flight, now) {
                Ok(place) => place,
                Err(refused) => return Ok(Err(refused)),
            };
            let slot = match held.change(&counted.tries, &Change::Try(limits.account), now) {
                Ok(slot) => slot,
                Err(refusal) => return Ok(Err(Refused::new("login.account", refusal.until))),
            };
            let [locked, new] = held.changed();
            if unit.limits().write(&locked, &new).await? {
                unit.commit().await?;
                return Ok(Ok(Reserved { in_flight: Some(place), ..Reserved::of(&counted.tries, &[slot]) }));
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
        let identifier = LoginIdentifier::Username(claimant.session.username.clone());
        let candidate = self.inner.store.reader().await?.accounts().login_candidate(&identifier).await?;
        let candidate = candidate.filter(|found| found.account == claimant.session.account);
        let counted = self.counted_in_session(claimant, client)?;
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

    /// What is left to look at when the password of somebody who is signed in was right; gives the owner, if they are to be told.
    async fn admit_proof(
        &self,
        reserved: &Reserved,
        claimant: &Claimant,
        client: &Client,
    ) -> Result<Option<Account>, Error> {
        match self.count_proof(claimant.session.account).await? {
            None => self.to_be_told(reserved, claimant.session.account).await,
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
            match unit.limits().change(&[(key, Change::Take(*limit))], self.now()).await? {
                Ok(_) => {
                    unit.commit().await?;
                    Ok(None)
                }
                Err((_, refusal)) => Ok(Some(refusal.until)),
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
            self.inner.store.reader().await?.accounts().by_id(claimant.session.account).await.ok().flatten()
        } else {
            None
        };
        self.retried(|| async {
            let mut unit = self.begin().await?;
            let mut ended = false;
            if is_last {
                // HeldSession in the order of all others; whether it is still what it was is no matter here.
                let _ = unit.accounts().hold(claimant.session.account, claimant.session.auth_version).await?;
                ended =
                    unit.sessions().end(claimant.session.id, EndReason::WrongPasswords, self.now()).await?;
            }
            self.count_failure(&mut unit, counted, reserved).await?;
            if let Some(owner) = owner.as_ref().filter(|_| ended) {
                self.notify(&mut unit, owner, Notice::SessionEndedByFailures, client).await?;
            }
            unit.record(&Event::ReauthenticationFailed, claimant.subject(), client).await?;
            if ended {
                let event = Event::SessionEnded(claimant.session.id, EndReason::WrongPasswords);
                unit.record(&event, claimant.subject(), client).await?;
            }
            Ok(unit.commit().await?)
        })
        .await?;
        Ok(())
    }

    /// Counts a failure for the network that it came from. The try itself stays counted. With one too many no sign-in is looked at until the
    /// window is over. The failures are held first: all that hold several counters of a network wait there, and not for each other.
    pub(super) async fn count_failure(
        &self,
        unit: &mut Unit<'_>,
        counted: &Counted,
        reserved: &Reserved,
    ) -> Result<(), Error> {
        let (limits, now) = (&self.inner.login_limits, self.now());
        let Some(network) = &counted.network else { return release_in_flight(unit, reserved, now).await };
        let (short, long) = (&limits.address, &limits.address_long);
        let counts =
            [(network.failures, Change::Count(*short)), (network.failures_long, Change::Count(*long))];
        let counted = unit.limits().change(&counts, now).await?.unwrap_or_default();
        let is_full = counted.iter().zip([short, long]).any(|(slot, window)| slot.count >= window.limit);
        if !is_full {
            return release_in_flight(unit, reserved, now).await;
        }
        let ends = unit.limits().look(&[network.failures, network.failures_long]).await?;
        let full = ends.iter().filter_map(|(key, counter)| {
            counter.full_until(if *key == network.failures { short } else { long }, now)
        });
        let Some(until) = full.max() else { return release_in_flight(unit, reserved, now).await };
        release_in_flight(unit, reserved, now).await?;
        let blocks: Vec<_> = network.in_flight.iter().map(|key| (*key, Change::Block(until))).collect();
        let _ = unit.limits().change(&blocks, now).await?;
        Ok(())
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
        self.tell_of_failures(unit, told, client).await
    }

    /// The same for a sign-in, of which an account has so many in some time; says until when there are too many. Each leaves a session and
    /// records behind. Known devices are counted apart: knowing the password alone does not keep the owner out of them.
    pub(super) async fn accept_sign_in(
        &self,
        unit: &mut Unit<'_>,
        reserved: &Reserved,
        account: AccountId,
    ) -> Result<Option<Timestamp>, Error> {
        let purpose = if reserved.devices.is_some() { "login.sign_ins.devices" } else { "login.sign_ins" };
        let one_more = Change::Take(self.inner.login_limits.sign_ins);
        let mut changes = self.given_back(reserved);
        changes.push((self.limit(purpose, account.as_bytes()), one_more));
        Ok(unit.limits().change(&changes, self.now()).await?.err().map(|(_, refusal)| refusal.until))
    }

    pub(super) async fn tell_of_failures(
        &self,
        unit: &mut Unit<'_>,
        told: Option<&Account>,
        client: &Client,
    ) -> Result<(), Error> {
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
            // Names that anyone made up leave counters behind.
            unit.limits().purge(self.now(), MOST_PURGED).await?;
            Ok(unit.commit().await?)
        })
        .await
    }

    /// A success gives back its own try and nobody else's.
    pub(super) async fn release(&self, unit: &mut Unit<'_>, reserved: &Reserved) -> Result<(), Error> {
        let _ = unit.limits().change(&self.given_back(reserved), self.now()).await?;
        Ok(())
    }

    fn given_back(&self, reserved: &Reserved) -> Vec<(LimitKey, Change)> {
        let places = [&reserved.devices, &reserved.session, &reserved.in_flight];
        let places = places.into_iter().flatten().map(|(key, slot)| (*key, Change::Leave(*slot)));
        let (tries, slot) = reserved.tries;
        places.chain([(tries, Change::GiveBack(slot, self.inner.login_limits.account))]).collect()
    }
}

/// Takes a place under the first of a network's counters that has room.
fn take_any(
    held: &mut Held,
    counters: &[LimitKey],
    limit: &Window,
    now: Timestamp,
) -> Result<(LimitKey, Slot), Refused> {
    let mut soonest: Option<Refused> = None;
    for (part, key) in (0..).zip(counters) {
        match held.change(key, &Change::Take(limit.part(part, IN_FLIGHT_COUNTERS)), now) {
            Ok(slot) => return Ok((*key, slot)),
            Err(Refusal { until, is_block }) => {
                let limit = if is_block { "login.address" } else { "login.in_flight" };
                if soonest.as_ref().is_none_or(|refused| until < refused.until) {
                    soonest = Some(Refused::new(limit, until));
                }
            }
        }
    }
    Err(soonest.unwrap_or(Refused::new("login.in_flight", now)))
}

async fn release_in_flight(unit: &mut Unit<'_>, reserved: &Reserved, now: Timestamp) -> Result<(), Error> {
    if let Some((key, slot)) = &reserved.in_flight {
        let _ = unit.limits().change(&[(*key, Change::Leave(*slot))], now).await?;
    }
    Ok(())
}

/// Why an account may not sign in though its password was right.
fn why_not(candidate: &LoginCandidate) -> Option<LoginFailure> {
    match (candidate.status, candidate.parent) {
        (AccountStatus::Active, None | Some((_, ParentStatus::Active))) => None,
        (AccountStatus::Active, Some(_)) => Some(LoginFailure::ParentSuspended),
        (AccountStatus::Disabled | AccountStatus::Unknown, _) => Some(LoginFailure::AccountDisabled),
        (AccountStatus::Locked, _) => Some(LoginFailure::AccountLocked),
    }
}
