//! The heart of the IAM family: accounts, parents (tenants), roles, sessions, limits, audit, and the rules between them.
//!
//! There is no HTTP here, no SQL and no framework. The crate has three doors:
//!
//! - **services** use what stands at the root: [`Iam`] and its builder, accounts, policies, requirements, errors. An adapter
//!   (`iam-axum`, `iam-actix`) gives all of it out again, so that a service names an adapter and a store;
//! - **authors of stores, factors and senders** implement the traits of [`ports`];
//! - **authors of adapters** carry a request through the steps of [`protocol`].
//!
//! [`Clock`] and [`Randomness`] are the only sources of time and chance. A [`Requirement`] decides without any input or output of its
//! own, so that each adapter asks in its own way and all decide alike:
//!
//! ```
//! use iam_core::Requirement;
//! use iam_core::protocol::{Decision, Facts, Step};
//!
//! // Without anyone signed in a guard asks for nothing and refuses.
//! let asked = Requirement::AnyRole(vec!["auditor".into()]);
//! assert_eq!(asked.decide(None, &Facts::default()), Step::Done(Decision::Unauthenticated));
//! ```

mod audit;
mod authz;
mod base;
mod delivery;
mod factor;
mod flow;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod iam;
mod limits;
mod model;
mod password;
mod secrets;
mod store;

// The door for services: what they build, configure and ask.
pub use audit::{Entry, Outcome, Target};
pub use authz::actor::{Actor, Scope};
pub use authz::principal::{ObjectParent, Principal};
pub use authz::requirement::Requirement;
pub use authz::step_up::StepUp;
pub use base::base_url::{BaseUrl, InvalidBaseUrl, InvalidOrigin};
#[cfg(any(test, feature = "danger-weak-for-tests"))]
pub use base::clock::RealWork;
pub use base::clock::{
    Clock, ManualClock, ManualTime, OsTime, SteadyClock, SystemClock, TOLERATED_LEAD, TimeSource, Timestamp,
};
pub use base::id::{AccountId, InvalidId, ParentId, RoleId, SessionId};
pub use base::invalid::{Invalid, Problem};
pub use base::random::{OsRandomness, Randomness, RandomnessUnavailable};
pub use base::store_error::{StoreError, StoreErrorKind};
pub use delivery::Receipt;
pub use factor::FactorLimits;
pub use factor::method::MethodName;
pub use flow::{
    Explanation, FRESH_FOR, FactorDue, FactorSummary, FirstPassword, KeyInUse, Met, NewAccount,
    PreparedAccount, RequirementOf, Resealing, Restoration, Retirement, RuleCheck, Upkeep,
};
pub use iam::{
    Accounts, Factors, Iam, IamBuilder, Parents, Roles, SealingKeys, SessionCache, Sessions, Setup, Trail,
    UnsafeKey, Worker, unsafe_keys,
};
pub use limits::{LoginLimits, Throttle, Window};
pub use model::account::{
    Account, AccountStatus, EmailAddress, ExternalId, MAX_EXTERNAL_ID_BYTES, MAX_IDENTIFIER_BYTES, Username,
};
pub use model::channel::Channel;
pub use model::client::Client;
pub use model::conflict::{Changing, Conflict, UniqueKey};
pub use model::error::{Error, Fault, SecondFactorRefusal};
pub use model::factor_kind::{Assurance, FactorKind, StoredKind};
pub use model::long_sessions::LongSessions;
pub use model::parent::{Parent, ParentKey, ParentStatus};
pub use model::policy::{FactorPolicy, FactorRequirement, MOST_GRACE};
pub use model::proof::ProofMethod;
pub use model::purpose::{InvalidPurpose, Purpose};
pub use model::role::{AdministratorScope, PARENT_ADMIN, PLATFORM_ADMIN, RESERVED_PREFIX, Role, RoleName};
pub use model::session::SessionSummary;
pub use model::session_state::{EndReason, SessionPolicy};
pub use password::{
    Argon2Params, Argon2id, Bcrypt, BreachCheckFailed, BreachedPasswords, HashingConfig, InvalidParams,
    MAX_PASSWORD_BYTES, PasswordContext, PasswordHash, PasswordPolicy, PepperRing, PlainPassword,
};
pub use secrets::keys::Keys;
pub use secrets::seal::{CannotOpen, KeyRing};
pub use secrets::secret_key::{InvalidKey, MacKey, SecretKey};
pub use store::Readiness;

/// What people type and paste: one form for codes, one for names.
pub mod typed {
    pub use crate::base::typed::{code, is_around, name};
}

/// The door for authors of stores, factors, senders and password schemes: what they implement, and what is handed to them.
pub mod ports {
    pub use crate::audit::Record;
    pub use crate::base::clock::micros;
    pub use crate::base::code::Code;
    pub use crate::base::id::{
        ChallengeId, DeviceId, InterruptedId, MessageId, MethodId, StepUpProofId, TicketId,
    };
    pub use crate::delivery::{
        Accepted, AttemptOutcome, Claimed, Content, Delivery, DeliveryAttempt, Message, NewMessage, Notice,
        OtpSender, SendError, Settled,
    };
    pub use crate::factor::challenge::{Challenge, ChallengePurpose, NewChallenge};
    pub use crate::factor::method::Method;
    pub use crate::factor::{
        Credential, Digest, Factor, FactorBegun, FactorContext, MOST_KEPT, MOST_LOOKUP, OpenedMethod, Show,
        Spend, TRIES, Verdict, WrongAnswer,
    };
    pub use crate::limits::{Change, Counter, LimitKey, Refusal, Reservation, Slot, TakenPlace};
    pub use crate::model::account::{AuthVersion, LoginIdentifier};
    pub use crate::model::interrupted::{Interrupted, NewInterrupted};
    pub use crate::model::long_sessions::{REPLACED_AFTER, Replacement, Tokens};
    pub use crate::model::proof::{Proof, ProofMethod, Proofs};
    pub use crate::model::repeat::{Claim, ClaimOutcome, KeptAnswer, KeptRequest, MOST_OF_A_SESSION};
    pub use crate::model::role::{GrantSource, RoleGrant};
    pub use crate::model::session::{
        HeldSession, NewSession, ParentOfAccount, Renewal, RoleOfAccount, SessionRecord,
    };
    pub use crate::model::session_state::{MOST_UNNOTED, SessionState};
    pub use crate::model::step_up_proof::StepUpProof;
    pub use crate::model::ticket::{Ticket, TicketPurpose};
    pub use crate::model::token::TokenHash;
    pub use crate::model::trusted_device::NewTrustedDevice;
    pub use crate::password::{HashMemory, HashVerdict, PasswordScheme};
    pub use crate::secrets::seal::{Place, key_id};
    pub use crate::store::{
        AccountReads, Accounts, AuditLog, AuditReads, AuditRetention, ChallengeReads, Challenges, Changed,
        Confirmation, Confirmed, Holders, Inserted, InterruptedRequestReads, InterruptedRequests, Kept,
        KeyCanaries, KeyCanaryReads, Limits, LoginCandidate, MethodReads, Methods, Outbox, OutboxReads,
        ParentReads, Parents, Ports, Reads, RecoveryCodeReads, RecoveryCodes, Rehash, RepeatableAnswerReads,
        RepeatableAnswers, RoleReads, Roles, SealedColumn, SealedRow, SealedValueReads, SealedValues,
        SeenTime, SessionReads, Sessions, StepUpProofReads, StepUpProofs, Store, TicketReads, Tickets,
        TrustedDeviceReads, TrustedDevices, UnitOfWork,
    };
}

/// The door for authors of adapters: the steps of a request, and what is carried from one to the next.
pub mod protocol {
    pub use crate::authz::requirement::{Decision, Facts, Step};
    pub use crate::authz::standing::Pending;
    pub use crate::authz::step_up::{Approval, MOST_WITHIN, WITHIN};
    pub use crate::base::base_url::Origin;
    pub use crate::base::code::Code;
    pub use crate::base::id::{ChallengeId, InterruptedId, MethodId, StepUpProofId};
    pub use crate::base::text::is_seen;
    pub use crate::flow::{
        Activity, Asked, Authentication, Begun, Claimant, Enrolled, First, INTERRUPTED_FOR, LedOn, Login,
        LoginAgain, Offer, REPEATABLE_FOR, Renewed, Replaced, SignedIn, Used,
    };
    pub use crate::model::account::LoginIdentifier;
    pub use crate::model::error::ProofKind;
    pub use crate::model::interrupted::{Interrupted, NewInterrupted};
    pub use crate::model::repeat::Repeatable;
    pub use crate::model::session_state::SessionState;
    pub use crate::model::step_up_proof::StepUpProof;
    pub use crate::model::ticket::TicketToken;
    pub use crate::model::token::{Carrier, SessionToken, TokenHash};
    pub use crate::model::trusted_device::TrustedDeviceToken;
    pub use crate::secrets::device::DeviceToken;
}
