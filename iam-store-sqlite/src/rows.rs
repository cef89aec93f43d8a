//! Reading columns. What can't be read is named, and is nobody's panic.

use iam_core::{StoreError, Timestamp};
use iam_store_sql::Dialect;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row, Sqlite, Type};

use crate::error::failed;

/// SQLite's types: times are integers, in microseconds, and texts are texts.
pub(crate) struct Micros;

impl Dialect for Micros {
    type Time = i64;
    type Text = String;

    fn timestamp(time: i64) -> Timestamp {
        Timestamp::from_micros(time)
    }
}

/// A row, and the table that errors name.
pub(crate) struct Columns<'a> {
    pub(crate) table: &'static str,
    pub(crate) row: &'a SqliteRow,
}

impl<'a> Columns<'a> {
    pub(crate) fn text(&self, column: &'static str) -> Result<String, StoreError> {
        self.get(column)
    }

    pub(crate) fn maybe_text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        self.get(column)
    }

    pub(crate) fn maybe_bytes(&self, column: &'static str) -> Result<Option<&'a [u8]>, StoreError> {
        self.get(column)
    }

    pub(crate) fn number(&self, column: &'static str) -> Result<i64, StoreError> {
        self.get(column)
    }

    pub(crate) fn maybe_number(&self, column: &'static str) -> Result<Option<i64>, StoreError> {
        self.get(column)
    }

    /// A number that was counted up from zero.
    pub(crate) fn count(&self, column: &'static str) -> Result<u32, StoreError> {
        u32::try_from(self.number(column)?).map_err(|_| self.corrupt(column))
    }

    pub(crate) fn time(&self, column: &'static str) -> Result<Timestamp, StoreError> {
        self.get(column).map(Timestamp::from_micros)
    }

    pub(crate) fn maybe_time(&self, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.get::<Option<i64>>(column)?.map(Timestamp::from_micros))
    }

    pub(crate) fn id(&self, column: &'static str) -> Result<[u8; 16], StoreError> {
        self.maybe_id(column)?.ok_or_else(|| self.corrupt(column))
    }

    pub(crate) fn maybe_id(&self, column: &'static str) -> Result<Option<[u8; 16]>, StoreError> {
        let bytes: Option<&[u8]> = self.get(column)?;
        bytes.map(|bytes| bytes.try_into().map_err(|_| self.corrupt(column))).transpose()
    }

    pub(crate) fn maybe_digest(&self, column: &'static str) -> Result<Option<[u8; 32]>, StoreError> {
        let bytes: Option<&[u8]> = self.get(column)?;
        bytes.map(|bytes| bytes.try_into().map_err(|_| self.corrupt(column))).transpose()
    }

    /// A text that must be one of a kind.
    pub(crate) fn parsed<T>(
        &self,
        column: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, StoreError> {
        parse(self.get(column)?).ok_or_else(|| self.corrupt(column))
    }

    pub(crate) fn maybe_parsed<T>(
        &self,
        column: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        let text: Option<&str> = self.get(column)?;
        text.map(|text| parse(text).ok_or_else(|| self.corrupt(column))).transpose()
    }

    pub(crate) fn corrupt(&self, column: &'static str) -> StoreError {
        StoreError::corrupt(self.table, column)
    }

    fn get<T: Decode<'a, Sqlite> + Type<Sqlite>>(&self, column: &'static str) -> Result<T, StoreError> {
        self.row.try_get(column).map_err(|error| match error {
            sqlx::Error::ColumnDecode { .. } => self.corrupt(column),
            error => failed(error),
        })
    }
}
