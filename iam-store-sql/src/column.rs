//! Columns, and the values in them.

use std::time::Duration;

use iam_core::{FactorRequirement, StoreError, Timestamp};

/// A column of a table, as errors name it.
#[derive(Clone, Copy, Debug)]
pub struct Column(pub &'static str, pub &'static str);

impl Column {
    /// The error of a value that can't be read.
    pub fn corrupt(self) -> StoreError {
        StoreError::corrupt(self.0, self.1)
    }

    /// A value that must be there, though the type says that it may not (a row of an outer join).
    pub fn needed<T>(self, value: Option<T>) -> Result<T, StoreError> {
        value.ok_or_else(|| self.corrupt())
    }

    /// An id.
    pub fn id(self, bytes: &[u8]) -> Result<[u8; 16], StoreError> {
        bytes.try_into().map_err(|_| self.corrupt())
    }

    /// An id, or none.
    pub fn maybe_id(self, bytes: Option<&[u8]>) -> Result<Option<[u8; 16]>, StoreError> {
        bytes.map(|bytes| self.id(bytes)).transpose()
    }

    /// A digest of 32 bytes.
    pub fn digest(self, bytes: &[u8]) -> Result<[u8; 32], StoreError> {
        bytes.try_into().map_err(|_| self.corrupt())
    }

    /// A digest, or none.
    pub fn maybe_digest(self, bytes: Option<&[u8]>) -> Result<Option<[u8; 32]>, StoreError> {
        bytes.map(|bytes| self.digest(bytes)).transpose()
    }

    /// The requirement of a second factor, of two columns; this is the one of its grace period.
    pub fn requirement(
        self,
        since: Option<Timestamp>,
        grace: Option<i64>,
    ) -> Result<Option<FactorRequirement>, StoreError> {
        let Some(since) = since else { return Ok(None) };
        let seconds = u64::try_from(grace.unwrap_or(0)).map_err(|_| self.corrupt())?;
        Ok(Some(FactorRequirement { since, grace: Duration::from_secs(seconds) }))
    }

    /// A text that is kept as bytes.
    pub fn text(self, bytes: impl Into<Vec<u8>>) -> Result<String, StoreError> {
        String::from_utf8(bytes.into()).map_err(|_| self.corrupt())
    }

    /// A text that must have a certain form.
    pub fn parsed<T>(
        self,
        text: impl Into<Vec<u8>>,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, StoreError> {
        parse(&self.text(text)?).ok_or_else(|| self.corrupt())
    }
}

/// A grace period as stores keep it.
pub fn grace_seconds(requirement: FactorRequirement) -> i64 {
    i64::try_from(requirement.grace.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use iam_core::StoreErrorKind;

    use super::*;

    #[test]
    fn an_unreadable_value_is_corrupt_and_names_its_place() {
        let column = Column("iam_parent", "key");
        for error in [
            column.id(&[1; 15]).unwrap_err(),
            column.digest(&[1; 16]).unwrap_err(),
            column.text(vec![0xff]).unwrap_err(),
            column.parsed("text", |_| None::<()>).unwrap_err(),
            column.needed(None::<()>).unwrap_err(),
            column.requirement(Some(Timestamp::from_micros(1)), Some(-1)).unwrap_err(),
        ] {
            assert_eq!(error.kind(), StoreErrorKind::Corrupt);
            let text = format!("{error} {:?}", std::error::Error::source(&error).map(ToString::to_string));
            assert!(text.contains("iam_parent") && text.contains("key"), "{text}");
        }
    }

    #[test]
    fn a_requirement_without_a_beginning_is_none() {
        assert_eq!(Column("iam_role", "factor_grace").requirement(None, Some(-1)).unwrap(), None);
    }
}
