//! From a row's columns to domain types: a value that does not fit is an error that says where it stands.

use sqlx::any::AnyRow;
use sqlx::{ColumnIndex, Row as _};
use uuid::Uuid;

use super::{Error, Result};
use crate::domain::Invalid;
use crate::domain::time::Timestamp;

/// A stored value that is not what its column holds.
#[derive(Debug, thiserror::Error)]
#[error("{table}.{column} of {row} is not valid")]
pub struct Corrupt {
    pub table: &'static str,
    pub column: &'static str,
    pub row: String,
    #[source]
    pub source: Invalid,
}

/// A row with the names that its errors need.
pub struct Record<'r> {
    row: &'r AnyRow,
    table: &'static str,
}

impl<'r> Record<'r> {
    pub const fn new(table: &'static str, row: &'r AnyRow) -> Self {
        Self { row, table }
    }

    pub fn text(&self, column: &'static str) -> Result<String> {
        self.get(column)
    }

    pub fn optional_text(&self, column: &'static str) -> Result<Option<String>> {
        self.get(column)
    }

    pub fn integer(&self, column: &'static str) -> Result<i64> {
        self.get(column)
    }

    pub fn optional_integer(&self, column: &'static str) -> Result<Option<i64>> {
        self.get(column)
    }

    pub fn bytes(&self, column: &'static str) -> Result<Vec<u8>> {
        self.get(column)
    }

    pub fn optional_bytes(&self, column: &'static str) -> Result<Option<Vec<u8>>> {
        self.get(column)
    }

    pub fn time(&self, column: &'static str) -> Result<Timestamp> {
        self.integer(column).map(Timestamp::from_millis)
    }

    pub fn optional_time(&self, column: &'static str) -> Result<Option<Timestamp>> {
        Ok(self.optional_integer(column)?.map(Timestamp::from_millis))
    }

    pub fn id(&self, column: &'static str) -> Result<Uuid> {
        let text = self.text(column)?;
        self.parsed(column, Uuid::parse_str(&text).map_err(|e| Invalid::new(e.to_string())))
    }

    pub fn optional_id(&self, column: &'static str) -> Result<Option<Uuid>> {
        self.optional_text(column)?.is_some().then(|| self.id(column)).transpose()
    }

    pub fn unsigned_u32(&self, column: &'static str) -> Result<u32> {
        let value = self.integer(column)?;
        self.parsed(column, u32::try_from(value).map_err(|_| Invalid::new(format!("{value} is out of range"))))
    }

    pub fn unsigned_u64(&self, column: &'static str) -> Result<u64> {
        let value = self.integer(column)?;
        self.parsed(column, u64::try_from(value).map_err(|_| Invalid::new(format!("{value} is out of range"))))
    }

    /// Names the column where a domain type refused the value.
    pub fn parsed<T>(&self, column: &'static str, parsed: std::result::Result<T, Invalid>) -> Result<T> {
        parsed.map_err(|source| self.corrupt(column, source))
    }

    pub fn corrupt(&self, column: &'static str, source: Invalid) -> Error {
        let row = self.row.try_get::<String, _>("id").unwrap_or_else(|_| "a row without id".to_owned());
        Error::Corrupt(Corrupt { table: self.table, column, row, source })
    }

    fn get<T>(&self, column: &'static str) -> Result<T>
    where
        T: sqlx::Decode<'r, sqlx::Any> + sqlx::Type<sqlx::Any>,
        &'static str: ColumnIndex<AnyRow>,
    {
        Ok(self.row.try_get(column)?)
    }
}

/// Times, counts and amounts go into BIGINT; nothing of ours comes near its edge.
pub fn to_bigint(value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|_| Error::Refused(format!("{value} does not fit the database")))
}
