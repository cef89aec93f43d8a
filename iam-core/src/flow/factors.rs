//! What people do to their own factors: set one up, name it, take it away, draw new recovery codes. And what an administrator does for
//! somebody who has lost all of them.
//!
//! All of it asks for a fresh proof of what the account has (OWASP ASVS 7.5.1). A change of factors raises the account's version:
//! every other session ends, and this one gets a new token.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::audit::Event;
use crate::authz::principal::Principal;
use crate::base::clock::Timestamp;
use crate::base::code::Code;
use crate::base::id::{ChallengeId, MethodId};
use crate::base::invalid::{Invalid, Problem};
use crate::delivery::Notice;
use crate::factor::challenge::ChallengePurpose;
use crate::factor::method::{Method, MethodName};
use crate::factor::{Credential, Factor, MOST_LOOKUP, Show, TRIES};
use crate::flow::Renewed;
use crate::flow::own_account::{must_not_have_lapsed, of};
use crate::flow::second_factor::{
    Asked, Asking, Claimant, Destination, Means, is_confirmed, secret_place, strongest,
};
use crate::flow::sign_in::{Occasion, Raise};
use crate::iam::{Iam, Unit};
use crate::model::account::{Account, EmailAddress};
use crate::model::channel::Channel;
use crate::model::client::Client;
use crate::model::conflict::Conflict;
use crate::model::error::{Error, ProofKind, SecondFactorRefusal};
use crate::model::factor_kind::{FactorKind, StoredKind};
use crate::model::proof::{Proof, ProofMethod, Proofs};
use crate::model::session_state::EndReason;
use crate::model::ticket::TicketPurpose;
use crate::model::token::SessionToken;
use crate::secrets::device::DeviceToken;
use crate::store::{Confirmation, Confirmed, Inserted, Kept};

/// How fresh a proof must be for a change of factors.
const FRESH_FOR_FACTORS: Duration = Duration::from_mins(5);

/// How long a factor may be confirmed after it was begun.
const CONFIRM_WITHIN: Duration = Duration::from_mins(10);

/// How many methods an account may have, those that are not confirmed included.
const MOST_METHODS: u32 = 20;

/// The limit on changes, as the trail names it.
const CHANGED: &str = "account.changes";

/// A factor of somebody's, as they see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FactorSummary {
    /// Which one.
    pub id: MethodId,
    /// What it is.
    pub kind: StoredKind,
    /// What they call it.
    pub name: MethodName,
    /// When it was confirmed.
    pub confirmed_at: Timestamp,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
}

/// A factor that was begun. It counts for nothing until it is confirmed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Enrolled {
    /// Which one.
    pub id: MethodId,
    /// What a device needs; it is shown once.
    pub secret: Option<EnrolledSecret>,
    /// Where a code was sent.
    pub asked: Option<Asked>,
    /// Options for the browser's own dialogue, as JSON, for a factor that is set up there.
    pub options: Option<String>,
}

/// What a device needs.
pub struct EnrolledSecret {
    /// For typing (base32).
    pub typed: Zeroizing<String>,
    /// For scanning (`otpauth:` URI).
    pub uri: Zeroizing<String>,
}

/// The secret does not show.
impl std::fmt::Debug for EnrolledSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EnrolledSecret(..)")
    }
}

impl Iam {
    /// The kinds of factors that this service offers, and that can be set up.
    pub fn offered_factors(&self) -> Vec<FactorKind> {
        FactorKind::ALL.into_iter().filter(|kind| self.factor(*kind).is_some()).collect()
    }

    /// The person's confirmed factors, oldest first, and how many recovery codes they have left.
    pub async fn own_factors(&self, principal: &Principal) -> Result<(Vec<FactorSummary>, u32), Error> {
        let methods = self.inner.store.reader().await?.methods().of_account(principal.account).await?;
        let factors = methods
            .into_iter()
            .filter_map(|method| {
                Some(FactorSummary {
                    id: method.id,
                    kind: method.kind,
                    name: method.name,
                    confirmed_at: method.confirmed_at?,
                    last_used_at: method.last_used_at,
                })
            })
            .collect();
        Ok((factors, self.inner.store.reader().await?.recovery_codes().left(principal.account).await?))
    }

    /// Whether the person may change their factors now, or what they have to prove again before: the password, and a factor as strong
    /// as the strongest that the account has.
    ///
    /// # Errors
    /// [`Error::Stale`] names it.
    pub async fn may_change_factors(&self, principal: &Principal) -> Result<(), Error> {
        let now = self.now();
        let stale = |proof| Err(Error::Stale { proof, max_age: FRESH_FOR_FACTORS });
        let counts = |at: Timestamp| principal.still_proves(at) && at.is_within(FRESH_FOR_FACTORS, now);
        if !counts(principal.authenticated_at()) {
            return stale(ProofKind::Password);
        }
        let methods = self.inner.store.reader().await?.methods().of_account(principal.account).await?;
        let Some(needed) = strongest(&methods) else { return self.may_set_up_first(principal).await };
        if !principal.proofs.has_fresh_factor(needed, FRESH_FOR_FACTORS, now) {
            return stale(ProofKind::SecondFactor);
        }
        Ok(())
    }

    /// Begins to set up a factor. An address is the account's own; without one, `email` says which, and confirming it verifies it.
    ///
    /// # Errors
    /// [`Error::Stale`] as [`may_change_factors`](Self::may_change_factors); [`Error::SecondFactor`] for a kind that this service does
    /// not offer; [`Error::Invalid`] for a missing or a second address.
    pub async fn enrol_factor(
        &self,
        token: &SessionToken,
        principal: &Principal,
        kind: FactorKind,
        name: &MethodName,
        email: Option<&EmailAddress>,
        client: &Client,
    ) -> Result<Enrolled, Error> {
        self.may_change_factors(principal).await?;
        let factor = self.factor(kind).ok_or(SecondFactorRefusal::NoMethod)?;
        let known = self
            .inner
            .store
            .reader()
            .await?
            .accounts()
            .by_id(principal.account)
            .await?
            .ok_or(Error::Credentials)?;
        let methods = self.inner.store.reader().await?.methods().of_account(principal.account).await?;
        let challenge = ChallengeId::generate(self.now(), self.randomness())?;
        let cx = self.factor_context(principal.account, principal.username(), Some(challenge));
        let begun = factor.begin_enrolment(&cx)?;
        if matches!(begun.show, Show::Codes(_)) {
            return Err(SecondFactorRefusal::NoMethod.into());
        }
        if kind.is_single() && methods.iter().any(|method| method.kind == kind && is_confirmed(method)) {
            return Err(Conflict::HasFactor.into());
        }
        let (method, destination) = self.new_method(&known, kind, name, email)?;
        let id = method.id;
        let asking = Asking { id: challenge, method: kind.into(), of: Some(id), tries: 0, begun: &begun };
        let asked = self.begin_in_one_unit(token, principal, &method, &asking, &destination, client).await;
        let limit = if kind.channel().is_some() { "otp.send" } else { CHANGED };
        self.note_throttled(&asked, limit, &enrolling(principal), client).await;
        let asked = asked?;
        let options = asked.options.clone();
        let secret = match begun.show {
            Show::Secret { typed, uri } => Some(EnrolledSecret { typed, uri }),
            Show::Nothing | Show::Codes(_) | Show::Options(_) => None,
        };
        Ok(Enrolled { id, secret, asked: asked.destination.is_some().then_some(asked), options })
    }

    /// A method that is about to be set up, and where its codes go. What its factor keeps until it is confirmed lies with the challenge.
    fn new_method(
        &self,
        account: &Account,
        kind: FactorKind,
        name: &MethodName,
        email: Option<&EmailAddress>,
    ) -> Result<(Method, Destination), Error> {
        let id = MethodId::generate(self.now(), self.randomness())?;
        let (secret, destination) = match kind.channel() {
            None => (None, Destination::None),
            Some(_) => {
                let address = address_of(account, email)?;
                let (kept, place) = (address.as_str().as_bytes(), secret_place(&account.id, &id));
                let sealed = self.inner.keys.ring.seal(place, kept, self.randomness())?;
                (Some(sealed), Destination::email(address.as_str()))
            }
        };
        let method = Method {
            id,
            account: account.id,
            kind: kind.into(),
            name: name.clone(),
            secret,
            lookup: None,
            created_at: self.now(),
            confirmed_at: None,
            last_used_at: None,
            last_step: None,
        };
        Ok((method, destination))
    }

    async fn begin_in_one_unit(
        &self,
        token: &SessionToken,
        principal: &Principal,
        method: &Method,
        asking: &Asking<'_>,
        destination: &Destination,
        client: &Client,
    ) -> Result<Asked, Error> {
        let claimant = enrolling(principal);
        self.retried(|| async {
            let mut unit = self.begin().await?;
            self.hold(&mut unit, &claimant, token).await?;
            self.count_change(&mut unit, method.account).await?;
            if unit.methods().insert(method, MOST_METHODS).await? == Kept::Full {
                return Err(Conflict::TooManyFactors.into());
            }
            let asked = self.issue(&mut unit, &claimant, asking, destination, client).await?;
            unit.commit().await?;
            Ok(asked)
        })
        .await
    }

    /// Confirms a factor by a right code: from now on it counts, this session has proved it, and all others end. Notes of known devices
    /// are void then, and this device gets a new one. `device` is the note that it has.
    ///
    /// # Errors
    /// [`Error::SecondFactor`] when the code is wrong, or it is too late; [`Error::Invalid`] for `code`, when it can't be one: that is no
    /// try; [`Error::Stale`] as [`rename_factor`](Self::rename_factor).
    pub async fn confirm_factor(
        &self,
        token: &SessionToken,
        principal: &Principal,
        id: MethodId,
        response: &str,
        device: Option<&DeviceToken>,
        client: &Client,
    ) -> Result<Renewed, Error> {
        must_not_have_lapsed(principal)?;
        let account = principal.account;
        let methods = self.inner.store.reader().await?.methods().of_account(account).await?;
        let found = methods.iter().find(|method| method.id == id && !is_confirmed(method));
        let method = found.ok_or(Error::NotFound("factor"))?;
        let kind = method.kind.known().ok_or(SecondFactorRefusal::NoMethod)?;
        let factor = self.factor(kind).ok_or(SecondFactorRefusal::NoMethod)?;
        let response = Means::Factor(factor).read(response)?;
        let response = response.expose();
        // One address, one factor. What is confirmed after this read raises the version, and then nothing holds below.
        let is_there = |other: &Method| other.kind == kind && is_confirmed(other);
        if kind.is_single() && methods.iter().any(is_there) {
            return Err(Conflict::HasFactor.into());
        }
        // It may have come to be required since this was begun.
        if !methods.iter().any(is_confirmed) {
            self.may_set_up_first(principal).await?;
        }
        let known =
            self.inner.store.reader().await?.accounts().by_id(account).await?.ok_or(Error::Credentials)?;
        let claimant = enrolling(principal);
        let renewed = self
            .retried(|| async {
                let now = self.now();
                let mut unit = self.begin().await?;
                let held = self.hold(&mut unit, &claimant, token).await?;
                let answer = (factor, response);
                if let Err(rejected) = self.confirm_by(&mut unit, principal, method, answer, client).await? {
                    unit.commit().await?;
                    return Err(rejected.into());
                }
                self.note_confirmed(&mut unit, &known, method, principal, client).await?;
                let proofs = held.proofs.with(Proof::new(kind, now));
                let renewed =
                    self.renew_after_change(&mut unit, token, principal, proofs, device, client).await?;
                unit.commit().await?;
                Ok(renewed)
            })
            .await?;
        Ok(renewed)
    }

    /// What goes with a method that was confirmed in this unit.
    async fn note_confirmed(
        &self,
        unit: &mut Unit<'_>,
        known: &Account,
        method: &Method,
        principal: &Principal,
        client: &Client,
    ) -> Result<(), Error> {
        let now = self.now();
        let verified = self.verify_address(unit, known, method, principal, client).await?;
        // News go to what was proved just now, if there was nothing before.
        let known = match verified {
            Some(address) => Account { email: Some(address), email_verified_at: Some(now), ..known.clone() },
            None => known.clone(),
        };
        // It was for the first factor, and there is one now.
        unit.tickets().void(TicketPurpose::Invitation, known.id, now).await?;
        let event = Event::FactorAdded(method.kind.clone(), method.id, method.name.as_str().to_owned());
        unit.record(&event, of(principal), client).await?;
        self.notify(unit, &known, Notice::FactorAdded, client).await
    }

    /// Confirms a method by its code. A wrong one is counted, and written down with the unit.
    async fn confirm_by(
        &self,
        unit: &mut Unit<'_>,
        principal: &Principal,
        method: &Method,
        (factor, response): (&dyn Factor, &str),
        client: &Client,
    ) -> Result<Result<(), SecondFactorRefusal>, Error> {
        let (now, account, id) = (self.now(), principal.account, method.id);
        let (purpose, by) = (ChallengePurpose::Enrol, ProofMethod::from(factor.kind()));
        let open = unit.challenges().open(principal.session, purpose, by, Some(id)).await?;
        let challenge = open.filter(|open| open.is_open(now)).ok_or(SecondFactorRefusal::Spent)?;
        if !unit.challenges().count_try(challenge.new.id, TRIES, now).await? {
            return Err(SecondFactorRefusal::Spent.into());
        }
        let cx = self.factor_context(account, principal.username(), Some(challenge.new.id));
        let Ok(credential) = factor.finish_enrolment(&cx, &self.kept(&challenge.new), response) else {
            unit.record(&Event::SecondFactorRefused(by, purpose), of(principal), client).await?;
            let tries_left = TRIES.saturating_sub(challenge.tries + 1);
            return Ok(Err(SecondFactorRefusal::Rejected { tries_left }));
        };
        if !unit.challenges().consume(challenge.new.id, Some(id), now).await? {
            return Err(SecondFactorRefusal::Spent.into());
        }
        self.confirm_with(unit, method, &credential).await?;
        self.give_back_send(unit, challenge.new.id).await?;
        Ok(Ok(()))
    }

    /// Confirms a method with what its factor made of the answer.
    async fn confirm_with(
        &self,
        unit: &mut Unit<'_>,
        method: &Method,
        credential: &Credential,
    ) -> Result<(), Error> {
        let (now, place) = (self.now(), secret_place(&method.account, &method.id));
        if credential.lookup.as_ref().is_some_and(|lookup| lookup.len() > MOST_LOOKUP) {
            return Err(SecondFactorRefusal::NoMethod.into());
        }
        let seal = |secret: &Zeroizing<Vec<u8>>| self.inner.keys.ring.seal(place, secret, self.randomness());
        let sealed = credential.secret.as_ref().map(seal).transpose()?;
        let confirmation = Confirmation {
            secret: sealed.as_deref(),
            lookup: credential.lookup.as_deref(),
            step: credential.step,
        };
        let made_after = now.minus(CONFIRM_WITHIN);
        match unit.methods().confirm(method.account, method.id, &confirmation, made_after, now).await? {
            Confirmed::Done => Ok(()),
            Confirmed::Stale => Err(SecondFactorRefusal::Spent.into()),
            Confirmed::Taken(key) => Err(Conflict::Taken(key).into()),
        }
    }

    /// An address that a code came back from is its owner's.
    async fn verify_address(
        &self,
        unit: &mut Unit<'_>,
        known: &Account,
        method: &Method,
        principal: &Principal,
        client: &Client,
    ) -> Result<Option<EmailAddress>, Error> {
        if method.kind.known().and_then(FactorKind::channel) != Some(Channel::Email) {
            return Ok(None);
        }
        let place = secret_place(&known.id, &method.id);
        let kept = method.secret.as_ref().and_then(|sealed| self.inner.keys.ring.open(place, sealed).ok());
        let address = kept.as_ref().and_then(|kept| std::str::from_utf8(kept).ok());
        let address = address.and_then(|address| EmailAddress::parse(address).ok());
        let address = address.ok_or(SecondFactorRefusal::NoMethod)?;
        if known.email_verified_at.is_some() && known.email.as_ref() == Some(&address) {
            return Ok(None);
        }
        // Changed by somebody else meanwhile: what was confirmed is not the account's address any more.
        if known.email_verified_at.is_some() {
            return Err(SecondFactorRefusal::Spent.into());
        }
        if unit.accounts().verify_email(known.id, &address, self.now()).await? != Inserted::Done {
            return Err(Invalid::new("email", Problem::Taken).into());
        }
        unit.record(&Event::EmailVerified, of(principal), client).await?;
        Ok(Some(address))
    }

    /// Gives a factor another name. Says whether there is one.
    ///
    /// # Errors
    /// [`Error::Stale`] in a long session in which the password was proved too long ago.
    pub async fn rename_factor(
        &self,
        principal: &Principal,
        id: MethodId,
        name: &MethodName,
        client: &Client,
    ) -> Result<bool, Error> {
        must_not_have_lapsed(principal)?;
        let methods = self.inner.store.reader().await?.methods().of_account(principal.account).await?;
        let Some(method) = methods.iter().find(|method| method.id == id) else { return Ok(false) };
        let renamed = self
            .retried(|| async {
                let mut unit = self.begin().await?;
                self.count_change(&mut unit, principal.account).await?;
                if !unit.methods().rename(principal.account, id, name).await? {
                    return Ok(false);
                }
                let event =
                    Event::FactorRenamed(id, method.name.as_str().to_owned(), name.as_str().to_owned());
                unit.record(&event, of(principal), client).await?;
                unit.commit().await?;
                Ok(true)
            })
            .await;
        self.note_throttled(&renamed, CHANGED, &principal.into(), client).await;
        renamed
    }

    /// Takes a factor away. With the last one the recovery codes go, too, and the password alone signs in again. Notes of known devices
    /// are as after [`confirm_factor`](Self::confirm_factor); where the factor was never confirmed, they stay as they are.
    ///
    /// # Errors
    /// [`Error::Stale`] as [`may_change_factors`](Self::may_change_factors); [`Error::NotFound`] when there is no such factor.
    pub async fn remove_factor(
        &self,
        token: &SessionToken,
        principal: &Principal,
        id: MethodId,
        device: Option<&DeviceToken>,
        client: &Client,
    ) -> Result<Renewed, Error> {
        self.may_change_factors(principal).await?;
        let account = principal.account;
        let methods = self.inner.store.reader().await?.methods().of_account(account).await?;
        let method = methods.iter().find(|method| method.id == id).ok_or(Error::NotFound("factor"))?;
        let known =
            self.inner.store.reader().await?.accounts().by_id(account).await?.ok_or(Error::Credentials)?;
        if !is_confirmed(method) {
            // It counted for nothing, so nothing changes.
            return self.drop_unconfirmed(token, principal, id).await;
        }
        let is_last = !methods.iter().any(|other| other.id != id && is_confirmed(other));
        let renewed = self
            .retried(|| async {
                let mut unit = self.begin().await?;
                let held = self.hold(&mut unit, &Claimant::from(principal), token).await?;
                if !unit.methods().remove(account, id).await? {
                    return Err(Error::NotFound("factor"));
                }
                if is_last {
                    unit.recovery_codes().replace(account, &[], self.now()).await?;
                }
                let event = Event::FactorRemoved(method.kind.clone(), id, method.name.as_str().to_owned());
                unit.record(&event, of(principal), client).await?;
                self.notify(&mut unit, &known, Notice::FactorRemoved, client).await?;
                // What is gone satisfies nothing any more; another device of the kind does.
                let has_another = methods
                    .iter()
                    .any(|other| other.id != id && other.kind == method.kind && is_confirmed(other));
                let proofs = match (is_last, has_another) {
                    (true, _) => held.proofs.without_factors(),
                    (false, true) => held.proofs,
                    (false, false) => match method.kind.known() {
                        Some(kind) => held.proofs.without(kind.into()),
                        None => held.proofs,
                    },
                };
                let renewed =
                    self.renew_after_change(&mut unit, token, principal, proofs, device, client).await?;
                unit.commit().await?;
                Ok(renewed)
            })
            .await?;
        Ok(renewed)
    }

    async fn drop_unconfirmed(
        &self,
        token: &SessionToken,
        principal: &Principal,
        id: MethodId,
    ) -> Result<Renewed, Error> {
        self.retried(|| async {
            let mut unit = self.begin().await?;
            self.hold(&mut unit, &Claimant::from(principal), token).await?;
            if !unit.methods().remove_unconfirmed(principal.account, id).await? {
                return Err(Error::NotFound("factor"));
            }
            unit.commit().await?;
            Ok(Renewed { token: token.clone(), device: None })
        })
        .await
    }

    /// Draws new recovery codes. All earlier ones are void; these are shown once.
    ///
    /// # Errors
    /// [`Error::Stale`] as [`may_change_factors`](Self::may_change_factors); [`Error::SecondFactor`] without another factor, for
    /// which they would stand in.
    pub async fn new_recovery_codes(
        &self,
        token: &SessionToken,
        principal: &Principal,
        client: &Client,
    ) -> Result<Vec<Code>, Error> {
        self.may_change_factors(principal).await?;
        let account = principal.account;
        let mut listed = FactorKind::ALL.into_iter().filter(|kind| kind.is_list());
        let factor = listed.find_map(|kind| self.factor(kind)).ok_or(SecondFactorRefusal::NoMethod)?;
        if !self.inner.store.reader().await?.methods().of_account(account).await?.iter().any(is_confirmed) {
            return Err(SecondFactorRefusal::NoMethod.into());
        }
        let known =
            self.inner.store.reader().await?.accounts().by_id(account).await?.ok_or(Error::Credentials)?;
        let cx = self.factor_context(account, principal.username(), None);
        let Show::Codes(codes) = factor.begin_enrolment(&cx)?.show else {
            return Err(SecondFactorRefusal::NoMethod.into());
        };
        let digest = self.digest(account, None);
        let digests: Vec<[u8; 32]> = codes.iter().map(|code| digest.of_account(code.expose())).collect();
        let done = self
            .retried(|| async {
                let mut unit = self.begin().await?;
                self.hold(&mut unit, &Claimant::from(principal), token).await?;
                self.count_change(&mut unit, account).await?;
                unit.recovery_codes().replace(account, &digests, self.now()).await?;
                let event = Event::RecoveryCodesMade(digests.len());
                unit.record(&event, of(principal), client).await?;
                self.notify(&mut unit, &known, Notice::RecoveryCodesMade, client).await?;
                Ok(unit.commit().await?)
            })
            .await;
        self.note_throttled(&done, CHANGED, &principal.into(), client).await;
        done?;
        Ok(codes)
    }

    /// Raises the account's version, takes this session along under a new token, ends all others, and the trust in browsers.
    async fn renew_after_change(
        &self,
        unit: &mut Unit<'_>,
        token: &SessionToken,
        principal: &Principal,
        proofs: Proofs,
        device: Option<&DeviceToken>,
        client: &Client,
    ) -> Result<Renewed, Error> {
        let (now, account, version) = (self.now(), principal.account, principal.auth_version);
        let raise = Raise {
            session: principal.session,
            token,
            version,
            proofs,
            lapsed_at: principal.lapsed_at,
            on: Occasion::Change,
        };
        if !unit.accounts().raise_version(account, version, now).await? {
            return Err(SecondFactorRefusal::Gone.into());
        }
        let new = self.raise_session(unit, raise).await?.ok_or(SecondFactorRefusal::Gone)?;
        let ended =
            unit.sessions().end_others(account, principal.session, EndReason::FactorsChanged, now).await?;
        if ended > 0 {
            unit.record(&Event::SessionsEnded(ended), of(principal), client).await?;
        }
        self.forget_devices_in(unit, account, of(principal), client).await?;
        self.renewed_on(new, principal, device)
    }
}

fn enrolling(principal: &Principal) -> Claimant {
    Claimant { purpose: ChallengePurpose::Enrol, ..Claimant::from(principal) }
}

/// The account's own address; when it has none, the one that was typed.
fn address_of(account: &Account, typed: Option<&EmailAddress>) -> Result<EmailAddress, Error> {
    let verified = account.email.as_ref().filter(|_| account.email_verified_at.is_some());
    match (verified, typed) {
        (Some(own), None) => Ok(own.clone()),
        (Some(own), Some(typed)) if own == typed => Ok(own.clone()),
        // Another address would be a change of address, which has rules of its own.
        (Some(_), Some(_)) => Err(Invalid::new("email", Problem::Malformed).into()),
        (None, Some(typed)) => Ok(typed.clone()),
        (None, None) => account.email.clone().ok_or(Invalid::new("email", Problem::Required).into()),
    }
}
