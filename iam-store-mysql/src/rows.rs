//! Between columns and the family's types. What can't be read is named, and is nobody's panic.

use std::time::Duration;

use iam_core::{FactorRequirement, StoreError, Timestamp};
use time::macros::datetime;
use time::{OffsetDateTime, PrimitiveDateTime};

/// What DATETIME can hold.
const FIRST: PrimitiveDateTime = datetime!(1000-01-01 00:00);
const LAST: PrimitiveDateTime = datetime!(9999-12-31 23:59:59.999_999);

/// A time as DATETIME(6) holds it, in UTC: no zone of a session or server ever changes it. One beyond the years that
/// DATETIME has is the nearest that it has.
pub(crate) fn utc(time: Timestamp) -> PrimitiveDateTime {
    match OffsetDateTime::from_unix_timestamp_nanos(i128::from(time.as_micros()) * 1000) {
        Ok(time) => PrimitiveDateTime::new(time.date(), time.time()).clamp(FIRST, LAST),
        Err(_) if time.as_micros() < 0 => FIRST,
        Err(_) => LAST,
    }
}

/// The same, read.
pub(crate) fn timestamp(time: PrimitiveDateTime) -> Timestamp {
    let nanos = time.assume_utc().unix_timestamp_nanos();
    Timestamp::from_micros(i64::try_from(nanos.div_euclid(1000)).unwrap_or(i64::MAX))
}

/// A grace period as it is kept.
pub(crate) fn grace_seconds(requirement: FactorRequirement) -> i64 {
    i64::try_from(requirement.grace.as_secs()).unwrap_or(i64::MAX)
}

/// The place that errors name.
#[derive(Clone, Copy)]
pub(crate) struct Column(pub(crate) &'static str, pub(crate) &'static str);

impl Column {
    pub(crate) fn corrupt(self) -> StoreError {
        StoreError::corrupt(self.0, self.1)
    }

    pub(crate) fn id(self, bytes: &[u8]) -> Result<[u8; 16], StoreError> {
        bytes.try_into().map_err(|_| self.corrupt())
    }

    pub(crate) fn maybe_id(self, bytes: Option<&[u8]>) -> Result<Option<[u8; 16]>, StoreError> {
        bytes.map(|bytes| self.id(bytes)).transpose()
    }

    pub(crate) fn maybe_digest(self, bytes: Option<&[u8]>) -> Result<Option<[u8; 32]>, StoreError> {
        bytes.map(|bytes| bytes.try_into().map_err(|_| self.corrupt())).transpose()
    }

    /// That a second factor is required, which takes two columns; this is the one of its grace.
    pub(crate) fn requirement(
        self,
        since: Option<PrimitiveDateTime>,
        grace: Option<i64>,
    ) -> Result<Option<FactorRequirement>, StoreError> {
        let Some(since) = since else { return Ok(None) };
        let seconds = u64::try_from(grace.unwrap_or(0)).map_err(|_| self.corrupt())?;
        Ok(Some(FactorRequirement { since: timestamp(since), grace: Duration::from_secs(seconds) }))
    }

    /// Text that is kept as bytes.
    pub(crate) fn text(self, bytes: Vec<u8>) -> Result<String, StoreError> {
        String::from_utf8(bytes).map_err(|_| self.corrupt())
    }

    /// What must be one of a kind.
    pub(crate) fn parsed<T>(
        self,
        text: impl AsRef<[u8]>,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, StoreError> {
        let text = std::str::from_utf8(text.as_ref()).map_err(|_| self.corrupt())?;
        parse(text).ok_or_else(|| self.corrupt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_to_the_microsecond() {
        for micros in [0, 1, -1, 1_767_225_600_000_001, -62_000_000_000, 253_402_300_799_999_999] {
            let time = Timestamp::from_micros(micros);
            assert_eq!(timestamp(utc(time)), time);
        }
    }

    #[test]
    fn times_beyond_the_calendar_are_the_nearest() {
        assert_eq!(utc(Timestamp::from_micros(i64::MAX)), LAST);
        assert_eq!(utc(Timestamp::from_micros(253_402_300_800_000_000)), LAST);
        assert_eq!(utc(Timestamp::from_micros(i64::MIN)), FIRST);
        assert_eq!(utc(Timestamp::from_micros(-62_000_000_000_000_000)), FIRST);
    }
}
