//! Columns that hold sealed values, and how to walk through them and replace a value by the same one under
//! another data key. What a value is sealed for is the room above's to know.

use crate::{Result, Tx, Value, params};

/// A column of sealed values.
#[derive(Debug)]
pub struct Column {
    pub table: &'static str,
    pub column: &'static str,
    /// How many columns tell its rows apart.
    key: usize,
    page: &'static str,
    replace: &'static str,
}

/// A row of such a column.
#[derive(Clone, Debug)]
pub struct Cell {
    /// What tells it apart, in the order of the table's key.
    pub key: Vec<String>,
    pub sealed: Option<Vec<u8>>,
}

/// `and`: what else changes with the value, so that whoever has read the row notices before writing it back.
macro_rules! column {
    ($table:literal, $column:literal by $key:literal) => {
        Column {
            table: $table,
            column: $column,
            key: 1,
            page: concat!(
                "SELECT ", $column, ", ", $key, " FROM ", $table, " WHERE ", $key, " > $1 ORDER BY ", $key,
                " LIMIT $2"
            ),
            replace: concat!(
                "UPDATE ", $table, " SET ", $column, " = $1 WHERE ", $key, " = $2 AND ", $column, " = $3"
            ),
        }
    };
    ($table:literal, $column:literal by $first:literal, $second:literal $(and $more:literal)?) => {
        Column {
            table: $table,
            column: $column,
            key: 2,
            page: concat!(
                "SELECT ", $column, ", ", $first, ", ", $second, " FROM ", $table, " WHERE (", $first, ", ",
                $second, ") > ($1, $2) ORDER BY ", $first, ", ", $second, " LIMIT $3"
            ),
            replace: concat!(
                "UPDATE ", $table, " SET ", $column, " = $1", $(", ", $more,)? " WHERE ", $first, " = $2 AND ",
                $second, " = $3 AND ", $column, " = $4"
            ),
        }
    };
}

pub static USER_PASSWORD: Column =
    column!("users", "password" by "pool_id", "sub" and "revision = revision + 1");
pub static USER_PASSWORD_HISTORY: Column =
    column!("users", "password_history" by "pool_id", "sub" and "revision = revision + 1");
pub static USER_TOTP_SECRET: Column =
    column!("users", "totp_secret" by "pool_id", "sub" and "revision = revision + 1");
pub static USER_TOTP_PENDING: Column =
    column!("users", "totp_pending" by "pool_id", "sub" and "revision = revision + 1");
// The revision matters most here: nodes keep clients, sealed secret and all, for as long as it stands.
pub static CLIENT_SECRET: Column =
    column!("app_clients", "sealed_secret" by "pool_id", "id" and "revision = revision + 1");
pub static SECOND_CLIENT_SECRET: Column =
    column!("app_clients", "second_secret" by "pool_id", "id" and "revision = revision + 1");
pub static SIGNING_KEY: Column = column!("signing_keys", "sealed_private" by "pool_id", "kid");
pub static OUTBOX: Column = column!("outbox", "sealed" by "id");
pub static INBOX: Column = column!("inbox", "sealed" by "id");

impl Column {
    /// The key before every row.
    pub fn start(&self) -> Vec<String> {
        vec![String::new(); self.key]
    }
}

/// Up to `limit` rows in the order of their keys, after the key `after`.
pub async fn page(tx: &mut Tx, column: &'static Column, after: &[String], limit: i64) -> Result<Vec<Cell>> {
    let mut values: Vec<Value<'_>> = after.iter().map(Value::from).collect();
    values.push(limit.into());
    tx.query(column.page, &values, |row| {
        let key = (1..=column.key).map(|index| row.text(index)).collect::<Result<_>>()?;
        Ok(Cell { key, sealed: row.opt_bytes(0)? })
    })
    .await
}

/// Puts `after` in place of `before`. False when the row is gone or has another value by now, which then stays.
pub async fn replace(
    tx: &mut Tx,
    column: &'static Column,
    key: &[String],
    before: &[u8],
    after: &[u8],
) -> Result<bool> {
    let mut values = params![after].to_vec();
    values.extend(key.iter().map(Value::from));
    values.push(before.into());
    Ok(tx.exec(column.replace, &values).await? == 1)
}
