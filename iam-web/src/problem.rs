//! What a request is told when it is not carried out: one table of cases, as a page or as a problem document (RFC 9457).

use std::time::Duration;

use iam_core::{Assurance, Error, SecondFactorRefusal};
use serde_json::{Map, Value, json};

use crate::fields::FieldError;

/// How old a proof may be, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MaxAge(pub(crate) u64);

/// A request that is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    BadRequest,
    Unauthenticated,
    /// The same for something that would have changed something.
    UnauthenticatedUnsafe,
    InvalidCredentials,
    /// Their password was right, their second factor is due.
    SecondFactorRequired,
    /// A code was wrong.
    InvalidCode,
    /// No challenge waits for this code.
    ChallengeSpent,
    /// They can't use this method.
    NoMethod,
    /// Too many codes were wrong.
    SecondFactorLocked,
    /// They proved who they are too long ago.
    ReauthenticationRequired(MaxAge),
    /// They proved a second factor too long ago.
    SecondFactorStale(MaxAge),
    /// They have to prove who they are for this alone.
    StepUpRequired(Assurance, MaxAge),
    /// They have to set up a factor first.
    EnrolmentRequired,
    /// They have to show first that the account is theirs, to set up the factor that it must have.
    EnrolmentProofRequired(MaxAge),
    /// What they go on with was sent before, or is too old.
    SentBefore,
    Forbidden,
    Csrf,
    /// The same from a page of this site, of somebody who is signed in: it is of before their session was renewed.
    OldForm,
    NotFound,
    MethodNotAllowed,
    Conflict,
    Timeout,
    BodyTooLarge,
    UnsupportedMediaType,
    /// The body would have to be unpacked first.
    UnsupportedEncoding,
    Invalid,
    Throttled,
    Internal,
    Busy,
    Unavailable,
}

impl Case {
    /// The one mapping from a fault to an answer.
    pub(crate) fn of(error: &Error) -> Self {
        use iam_core::Fault;
        use iam_core::protocol::ProofKind;
        match error {
            Error::Stale { proof, max_age } => {
                let max_age = MaxAge(max_age.as_secs());
                return match proof {
                    ProofKind::Password => Self::ReauthenticationRequired(max_age),
                    ProofKind::FirstFactor => Self::EnrolmentProofRequired(max_age),
                    _ => Self::SecondFactorStale(max_age),
                };
            }
            Error::SecondFactor(refusal) => {
                return match refusal {
                    SecondFactorRefusal::Spent => Self::ChallengeSpent,
                    SecondFactorRefusal::NoMethod => Self::NoMethod,
                    SecondFactorRefusal::Gone => Self::Unauthenticated,
                    SecondFactorRefusal::Locked { .. } => Self::SecondFactorLocked,
                    _ => Self::InvalidCode,
                };
            }
            _ => {}
        }
        match error.fault() {
            Fault::Input => Self::Invalid,
            Fault::Credentials => Self::InvalidCredentials,
            Fault::Limit => Self::Throttled,
            Fault::Permission => Self::Forbidden,
            Fault::Conflict => Self::Conflict,
            Fault::Absent => Self::NotFound,
            Fault::Overload => Self::Busy,
            Fault::Configuration => Self::Internal,
            // Fault is non-exhaustive: a kind of fault that this version does not know is no denial and no allowance.
            _ => Self::Unavailable,
        }
    }

    /// The status code.
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthenticated
            | Self::UnauthenticatedUnsafe
            | Self::InvalidCredentials
            | Self::SecondFactorRequired
            | Self::InvalidCode
            | Self::ChallengeSpent
            | Self::ReauthenticationRequired(_)
            | Self::SecondFactorStale(_)
            | Self::StepUpRequired(..)
            | Self::EnrolmentRequired
            | Self::EnrolmentProofRequired(_) => 401,
            Self::Forbidden | Self::Csrf | Self::OldForm => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Timeout => 408,
            Self::Conflict | Self::SentBefore => 409,
            Self::BodyTooLarge => 413,
            Self::UnsupportedMediaType | Self::UnsupportedEncoding => 415,
            Self::Invalid | Self::NoMethod => 422,
            Self::Throttled | Self::SecondFactorLocked => 429,
            Self::Internal => 500,
            Self::Busy | Self::Unavailable => 503,
        }
    }

    /// The stable code, which is also the end of the problem's type.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthenticated | Self::UnauthenticatedUnsafe => "unauthenticated",
            Self::InvalidCredentials => "invalid_credentials",
            Self::SecondFactorRequired => "mfa_required",
            Self::InvalidCode => "invalid_code",
            Self::ChallengeSpent => "challenge_spent",
            Self::NoMethod => "no_method",
            Self::SecondFactorLocked => "mfa_locked",
            Self::ReauthenticationRequired(_) => "reauthentication_required",
            Self::SecondFactorStale(_) => "mfa_reauthentication_required",
            Self::StepUpRequired(..) => "step_up_required",
            Self::EnrolmentRequired => "enrolment_required",
            Self::EnrolmentProofRequired(_) => "enrolment_proof_required",
            Self::SentBefore => "sent_before",
            Self::Forbidden => "forbidden",
            Self::Csrf | Self::OldForm => "csrf",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Conflict => "conflict",
            Self::Timeout => "timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::UnsupportedEncoding => "unsupported_encoding",
            Self::Invalid => "invalid",
            Self::Throttled => "throttled",
            Self::Internal => "internal",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
        }
    }

    /// The case's name in the catalogue of texts.
    pub(crate) const fn text_key(self) -> &'static str {
        match self {
            Self::UnauthenticatedUnsafe => "unauthenticated_unsafe",
            Self::InvalidCredentials
            | Self::SecondFactorRequired
            | Self::InvalidCode
            | Self::ChallengeSpent
            | Self::ReauthenticationRequired(_)
            | Self::EnrolmentProofRequired(_)
            | Self::SecondFactorStale(_) => "unauthenticated",
            Self::SecondFactorLocked => "throttled",
            Self::Conflict | Self::NoMethod => "invalid",
            Self::Busy => "unavailable",
            Self::OldForm => "old_form",
            other => other.code(),
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "The request can't be read",
            Self::Unauthenticated | Self::UnauthenticatedUnsafe => "Not signed in",
            Self::InvalidCredentials => "Name or password is not right",
            Self::SecondFactorRequired => "A second factor is due",
            Self::InvalidCode => "The code is not right",
            Self::ChallengeSpent => "No code is waited for",
            Self::NoMethod => "This method can't be used",
            Self::SecondFactorLocked => "Too many wrong codes",
            Self::ReauthenticationRequired(_) | Self::SecondFactorStale(_) | Self::StepUpRequired(..) => {
                "Prove again who you are"
            }
            Self::EnrolmentRequired => "Set up a second factor",
            Self::EnrolmentProofRequired(_) => "Show that the account is yours",
            Self::SentBefore => "Sent before",
            Self::Forbidden => "Not allowed",
            Self::Csrf => "The request may come from another site",
            Self::OldForm => "The form is out of date",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "Method not allowed",
            Self::Conflict => "Conflict",
            Self::Timeout => "The request took too long",
            Self::BodyTooLarge => "The body is too large",
            Self::UnsupportedMediaType => "Unsupported media type",
            Self::UnsupportedEncoding => "Unsupported content coding",
            Self::Invalid => "A field is not right",
            Self::Throttled => "Too many tries",
            Self::Internal => "Internal error",
            Self::Busy => "Too busy",
            Self::Unavailable => "Unavailable",
        }
    }

    const fn detail(self) -> &'static str {
        match self {
            Self::BadRequest => "Check the syntax of what is sent.",
            Self::Unauthenticated | Self::UnauthenticatedUnsafe => "Sign in, then send the request again.",
            Self::InvalidCredentials => "The user name or the password is not right.",
            Self::ReauthenticationRequired(_) => {
                "Send the password to auth/reauthenticate, then send the request again."
            }
            Self::SecondFactorRequired => {
                "Send a code to auth/mfa/verify; auth/mfa/challenge asks for one to be sent."
            }
            Self::InvalidCode => "Check the code, or wait for the next one. A code works once.",
            Self::ChallengeSpent => {
                "It was tried too often, or too late. Ask for another one (for a purpose at auth/step-up, otherwise at auth/mfa/challenge), or sign in again."
            }
            Self::NoMethod => "Choose one of the methods that the sign-in listed.",
            Self::SecondFactorLocked => {
                "Right codes are refused as well. Wait as long as Retry-After says; without it, ask an administrator."
            }
            Self::SecondFactorStale(_) => "Send a code to auth/mfa/verify, then send the request again.",
            Self::StepUpRequired(..) => {
                "Ask by auth/step-up for one of the methods, send its code to auth/mfa/verify, then send the request again."
            }
            Self::EnrolmentRequired => {
                "None of the account's factors will do. Set one up at account/factors, then send the request again."
            }
            Self::EnrolmentProofRequired(_) => {
                "Ask by auth/step-up with purpose iam:enrol: for a code to the verified address, or to give an administrator's \
                 invitation. Send what you have to auth/mfa/verify, then send the request again."
            }
            Self::SentBefore => {
                "It was sent before, another one took its place, or it is too old. Look at what came of it."
            }
            Self::Forbidden => "This account may not do this.",
            Self::Csrf => {
                "Send the Origin header of an allowed origin, or a token of GET auth/csrf in the header X-CSRF-Token."
            }
            Self::OldForm => {
                "Its token is from before this session was renewed. What was sent first may have been carried out: look, before you \
                 send it again with a token of GET auth/csrf."
            }
            Self::NotFound => "There is nothing here.",
            Self::MethodNotAllowed => "The header Allow lists the methods.",
            Self::Conflict => "The state of things has changed. Read it again.",
            Self::Timeout => "Send the whole request sooner.",
            Self::BodyTooLarge => "Send less.",
            Self::UnsupportedMediaType => {
                "Send the media type that this address takes, such as application/json."
            }
            Self::UnsupportedEncoding => "Send the body as it is, without Content-Encoding.",
            Self::Invalid => "The list of errors names each field.",
            Self::Throttled => "Wait as long as Retry-After says, then try again.",
            Self::Internal => "The fault is ours and was logged.",
            Self::Busy => "Nothing was checked. Try again as Retry-After says.",
            Self::Unavailable => "Nothing was changed. Try again as Retry-After says.",
        }
    }
}

/// The problem document; `more` are members of this case alone.
pub(crate) fn document(
    case: Case,
    request_id: &str,
    errors: &[FieldError],
    more: Map<String, Value>,
) -> Value {
    let mut document = Map::new();
    document.insert("type".into(), format!("urn:iam:problem:{}", case.code()).into());
    document.insert("title".into(), case.title().into());
    document.insert("status".into(), case.status().into());
    document.insert("detail".into(), case.detail().into());
    document.insert("code".into(), case.code().into());
    document.insert("request_id".into(), request_id.into());
    if !errors.is_empty() {
        let list = errors.iter().map(|e| json!({"field": e.field, "code": e.code, "detail": e.detail}));
        document.insert("errors".into(), Value::Array(list.collect()));
    }
    document.extend(more);
    Value::Object(document)
}

/// How long to wait, if the error says so.
pub(crate) fn retry_after(error: &Error) -> Option<Duration> {
    match error {
        Error::Throttled { retry_after } | Error::Busy { retry_after } => Some(*retry_after),
        Error::SecondFactor(SecondFactorRefusal::Locked { retry_after }) => *retry_after,
        Error::Store(_) | Error::Randomness(_) => Some(Duration::from_secs(5)),
        _ => None,
    }
}

/// Whole seconds, rounded up: never too early.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
