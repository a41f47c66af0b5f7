//! What ListUsers finds: rows in lower case, kept in step with the users they describe.
//!
//! A page is a range of an index, whatever the size of the pool. Rows hold the beginning of a long value
//! ([`bounded::prefix`]), so whoever searches for a longer one has to look at the users that are found.

use lido_domain::{Attributes, PoolId, Sub, User};

use crate::users::{COLUMNS, columns, user};
use crate::{Result, Tx, bounded, params};

/// Attributes that have search rows. `username`, `sub`, `status` and `cognito:user_status` are columns.
pub const ATTRIBUTES: [&str; 6] =
    ["email", "phone_number", "name", "given_name", "family_name", "preferred_username"];

/// Where a page begins: after the row with this value and sub.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct After {
    pub value: String,
    pub sub: String,
}

/// Values from `low` up to but without `high`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub low: String,
    pub high: String,
}

impl Range {
    /// Exactly this value, or the values that begin as it does where it is too long for an index.
    pub fn exactly(value: &str) -> Self {
        let value = bounded::prefix(value);
        Self { low: value.to_owned(), high: format!("{value}\u{1}") }
    }

    /// Every value that begins with `prefix`, or with its beginning where it is too long for an index.
    pub fn prefix(prefix: &str) -> Self {
        let prefix = bounded::prefix(prefix);
        Self { low: prefix.to_owned(), high: format!("{prefix}\u{10FFFF}") }
    }
}

fn indexed(value: &str) -> String {
    let mut value = value.to_lowercase();
    value.truncate(bounded::prefix(&value).len());
    value
}

/// The attributes and values that are searched of a user.
pub(crate) fn rows(attributes: &Attributes) -> impl Iterator<Item = (&'static str, String)> {
    ATTRIBUTES.into_iter().filter_map(|name| Some((name, indexed(attributes.get(name)?))))
}

pub(crate) async fn put(
    tx: &mut Tx,
    pool: &PoolId,
    sub: &Sub,
    before: &Attributes,
    now: &Attributes,
) -> Result<()> {
    for attribute in ATTRIBUTES {
        let old = before.get(attribute).map(|value| indexed(value));
        let new = now.get(attribute).map(|value| indexed(value));
        if old == new {
            continue;
        }
        if let Some(old) = old {
            tx.exec(
                "DELETE FROM user_search WHERE pool_id = $1 AND attribute = $2 AND value = $3 AND sub = $4",
                params![pool, attribute, &old, sub],
            )
            .await?;
        }
        if let Some(new) = new {
            tx.exec(
                "INSERT INTO user_search (pool_id, attribute, value, sub) VALUES ($1, $2, $3, $4)",
                params![pool, attribute, &new, sub],
            )
            .await?;
        }
    }
    Ok(())
}

/// Users of a pool by sub.
pub async fn all(tx: &mut Tx, pool: &PoolId, after: &After, limit: i64) -> Result<Vec<(String, User)>> {
    tx.query(
        concat!("SELECT ", columns!(""), " FROM users WHERE pool_id = $1 AND sub > $2 ORDER BY sub LIMIT $3"),
        params![pool, &after.sub, limit],
        |row| Ok((String::new(), user(row)?)),
    )
    .await
}

/// Users whose sub lies in the range.
pub async fn by_sub(
    tx: &mut Tx,
    pool: &PoolId,
    range: &Range,
    after: &After,
    limit: i64,
) -> Result<Vec<(String, User)>> {
    tx.query(
        concat!(
            "SELECT ",
            columns!(""),
            " FROM users WHERE pool_id = $1 AND sub >= $2 AND sub < $3 AND sub > $4 ORDER BY sub LIMIT $5"
        ),
        params![pool, &range.low, &range.high, &after.sub, limit],
        |row| Ok((String::new(), user(row)?)),
    )
    .await
}

/// Users with this status (`CONFIRMED`).
pub async fn by_status(
    tx: &mut Tx,
    pool: &PoolId,
    status: &str,
    after: &After,
    limit: i64,
) -> Result<Vec<(String, User)>> {
    tx.query(
        concat!(
            "SELECT ",
            columns!(""),
            " FROM users WHERE pool_id = $1 AND status = $2 AND sub > $3 ORDER BY sub LIMIT $4"
        ),
        params![pool, status, &after.sub, limit],
        |row| Ok((String::new(), user(row)?)),
    )
    .await
}

/// Users that are enabled, or those that are not.
pub async fn by_enabled(
    tx: &mut Tx,
    pool: &PoolId,
    enabled: bool,
    after: &After,
    limit: i64,
) -> Result<Vec<(String, User)>> {
    tx.query(
        concat!(
            "SELECT ",
            columns!(""),
            " FROM users WHERE pool_id = $1 AND enabled = $2 AND sub > $3 ORDER BY sub LIMIT $4"
        ),
        params![pool, enabled, &after.sub, limit],
        |row| Ok((String::new(), user(row)?)),
    )
    .await
}

/// Users whose user name lies in the range; the first of each pair is the name.
pub async fn by_username(
    tx: &mut Tx,
    pool: &PoolId,
    range: &Range,
    after: &After,
    limit: i64,
) -> Result<Vec<(String, User)>> {
    tx.query(
        concat!(
            "SELECT ",
            columns!("u."),
            ", n.name FROM user_names n JOIN users u ON u.pool_id = n.pool_id AND u.sub = n.sub \
             WHERE n.pool_id = $1 AND n.name >= $2 AND n.name < $3 AND n.name > $4 AND n.kind = 'username' \
             ORDER BY n.name LIMIT $5"
        ),
        params![pool, &range.low, &range.high, &after.value, limit],
        |row| Ok((row.text(COLUMNS)?, user(row)?)),
    )
    .await
}

/// Users with a value of `attribute` in the range, by that value; the first of each pair is the value.
pub async fn by_attribute(
    tx: &mut Tx,
    pool: &PoolId,
    attribute: &str,
    range: &Range,
    after: &After,
    limit: i64,
) -> Result<Vec<(String, User)>> {
    // One lower bound: of two, PostgreSQL begins its scan at whichever it likes, and may read half of the index.
    let (value, sub) =
        if after.value < range.low { (&range.low, "") } else { (&after.value, after.sub.as_str()) };
    tx.query(
        concat!(
            "SELECT ",
            columns!("u."),
            ", s.value FROM user_search s JOIN users u ON u.pool_id = s.pool_id AND u.sub = s.sub \
             WHERE s.pool_id = $1 AND s.attribute = $2 AND (s.value, s.sub) > ($3, $4) AND s.value < $5 \
             ORDER BY s.value, s.sub LIMIT $6"
        ),
        params![pool, attribute, value, sub, &range.high, limit],
        |row| Ok((row.text(COLUMNS)?, user(row)?)),
    )
    .await
}
