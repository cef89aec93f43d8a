//! Between columns and the family's types.

use iam_core::Timestamp;
use iam_store_sql::Dialect;
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

/// MySQL's types: times are DATETIME(6), and texts that are compared byte by byte VARBINARY.
pub(crate) struct DateTimes;

impl Dialect for DateTimes {
    type Time = PrimitiveDateTime;
    type Text = Vec<u8>;

    fn timestamp(time: PrimitiveDateTime) -> Timestamp {
        timestamp(time)
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
