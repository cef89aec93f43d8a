//! What is wrong with a field of a request.

use iam_core::error::{Invalid, Problem};

/// A field that can't be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldError {
    pub(crate) field: String,
    pub(crate) code: &'static str,
    pub(crate) detail: String,
}

impl From<&Invalid> for FieldError {
    fn from(invalid: &Invalid) -> Self {
        let code = match invalid.problem {
            Problem::Required => "required",
            Problem::TooLong { .. } => "too_long",
            Problem::TooShort { .. } => "too_short",
            _ => "invalid",
        };
        Self { field: invalid.field.to_owned(), code, detail: invalid.problem.to_string() }
    }
}

/// A body that can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// Another media type than the address takes.
    UnsupportedMediaType,
    /// Not readable at all; why.
    Malformed(&'static str),
    /// Readable, with fields that can't be accepted.
    Fields(Vec<FieldError>),
}
