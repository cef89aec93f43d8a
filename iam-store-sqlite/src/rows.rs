//! Reading columns. What can't be read is named, and is nobody's panic.

use iam_core::clock::Timestamp;
use iam_core::store::StoreError;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::error::failed;

/// A row of a table, for errors that name it.
pub(crate) struct Columns<'a> {
    pub(crate) table: &'static str,
    pub(crate) row: &'a SqliteRow,
}

impl Columns<'_> {
    pub(crate) fn text(&self, column: &'static str) -> Result<String, StoreError> {
        self.row.try_get(column).map_err(failed)
    }

    pub(crate) fn maybe_text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        self.row.try_get(column).map_err(failed)
    }

    pub(crate) fn number(&self, column: &'static str) -> Result<i64, StoreError> {
        self.row.try_get(column).map_err(failed)
    }

    pub(crate) fn time(&self, column: &'static str) -> Result<Timestamp, StoreError> {
        self.number(column).map(Timestamp::from_micros)
    }

    pub(crate) fn maybe_time(&self, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
        let micros: Option<i64> = self.row.try_get(column).map_err(failed)?;
        Ok(micros.map(Timestamp::from_micros))
    }

    pub(crate) fn id(&self, column: &'static str) -> Result<[u8; 16], StoreError> {
        self.maybe_id(column)?.ok_or_else(|| self.corrupt(column))
    }

    pub(crate) fn maybe_id(&self, column: &'static str) -> Result<Option<[u8; 16]>, StoreError> {
        let bytes: Option<Vec<u8>> = self.row.try_get(column).map_err(failed)?;
        bytes.map(|bytes| <[u8; 16]>::try_from(bytes).map_err(|_| self.corrupt(column))).transpose()
    }

    /// A text that must be one of a kind.
    pub(crate) fn parsed<T>(
        &self,
        column: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, StoreError> {
        parse(&self.text(column)?).ok_or_else(|| self.corrupt(column))
    }

    pub(crate) fn maybe_parsed<T>(
        &self,
        column: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        let text = self.maybe_text(column)?;
        text.map(|text| parse(&text).ok_or_else(|| self.corrupt(column))).transpose()
    }

    fn corrupt(&self, column: &'static str) -> StoreError {
        StoreError::corrupt(self.table, column)
    }
}
