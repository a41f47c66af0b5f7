//! Users, the names that sign them in, and the rows that ListUsers searches.

use lido_domain::{Attributes, Millis, PoolId, Sub, User, UserStatus};

use crate::{Error, Result, Row, Tx, bounded, params, search};

macro_rules! columns {
    ($of:literal) => {
        concat!(
            $of,
            "pool_id, ",
            $of,
            "sub, ",
            $of,
            "username, ",
            $of,
            "attributes, ",
            $of,
            "pending, ",
            $of,
            "status, ",
            $of,
            "enabled, ",
            $of,
            "created_ms, ",
            $of,
            "updated_ms, ",
            $of,
            "password, ",
            $of,
            "password_set_ms, ",
            $of,
            "password_history, ",
            $of,
            "signed_out_ms, ",
            $of,
            "mfa, ",
            $of,
            "totp_secret, ",
            $of,
            "totp_pending, ",
            $of,
            "revision"
        )
    };
}
pub(crate) use columns;

/// How many columns that are: what a statement selects besides begins at this index.
pub(crate) const COLUMNS: usize = 17;

/// A name that signs a user in. Names are folded to lower case by the caller where the pool is not
/// case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignInName {
    /// `username`, `email`, `phone_number` or `preferred_username`.
    pub kind: &'static str,
    pub name: String,
}

pub(crate) fn user(row: &Row<'_>) -> Result<User> {
    let attributes =
        |index| -> Result<Attributes> { serde_json::from_str(&row.text(index)?).map_err(Error::corrupt) };
    Ok(User {
        pool: PoolId::new(row.text(0)?),
        sub: Sub::new(row.text(1)?),
        username: row.text(2)?,
        attributes: attributes(3)?,
        pending: attributes(4)?,
        status: UserStatus::parse(&row.text(5)?).ok_or_else(|| Error::corrupt("unknown user status"))?,
        enabled: row.flag(6)?,
        created: row.millis(7)?,
        updated: row.millis(8)?,
        password: row.opt_bytes(9)?,
        password_set: row.millis(10)?,
        password_history: row.opt_bytes(11)?,
        signed_out: row.millis(12)?,
        mfa: serde_json::from_str(&row.text(13)?).map_err(Error::corrupt)?,
        totp_secret: row.opt_bytes(14)?,
        totp_pending: row.opt_bytes(15)?,
        revision: row.int(16)?,
    })
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("maps and lists of strings are always JSON")
}

pub async fn by_sub(tx: &mut Tx, pool: &PoolId, sub: &Sub) -> Result<Option<User>> {
    tx.first(
        concat!("SELECT ", columns!(""), " FROM users WHERE pool_id = $1 AND sub = $2"),
        params![pool, sub],
        user,
    )
    .await
}

/// The user whom `name` signs in: the user name goes before aliases, as `username` sorts last of the kinds.
pub async fn by_name(tx: &mut Tx, pool: &PoolId, name: &str) -> Result<Option<User>> {
    tx.first(
        concat!(
            "SELECT ",
            columns!("u."),
            " FROM user_names n JOIN users u ON u.pool_id = n.pool_id AND u.sub = n.sub \
             WHERE n.pool_id = $1 AND n.name = $2 \
             ORDER BY n.kind DESC LIMIT 1"
        ),
        params![pool, &bounded::distinct(name)],
        user,
    )
    .await
}

/// The user name of a kind is held by this user; none when it is free.
pub async fn holder(tx: &mut Tx, pool: &PoolId, name: &SignInName) -> Result<Option<Sub>> {
    tx.first(
        "SELECT sub FROM user_names WHERE pool_id = $1 AND name = $2 AND kind = $3",
        params![pool, &bounded::distinct(&name.name), name.kind],
        |row| Ok(Sub::new(row.text(0)?)),
    )
    .await
}

/// Stores a new user with no names yet: give them with [`claim`] in the same transaction.
pub async fn insert(tx: &mut Tx, user: &User) -> Result<()> {
    tx.exec(
        concat!(
            "INSERT INTO users (",
            columns!(""),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)"
        ),
        params![
            &user.pool,
            &user.sub,
            &user.username,
            &json(&user.attributes),
            &json(&user.pending),
            user.status.as_str(),
            user.enabled,
            user.created,
            user.updated,
            user.password.as_deref(),
            user.password_set,
            user.password_history.as_deref(),
            user.signed_out,
            &json(&user.mfa),
            user.totp_secret.as_deref(),
            user.totp_pending.as_deref(),
            user.revision
        ],
    )
    .await?;
    search::put(tx, &user.pool, &user.sub, &Attributes::new(), &user.attributes).await
}

/// Replaces the user that was read as `before`; false when it has changed since, or is gone.
pub async fn put(tx: &mut Tx, before: &User, user: &User) -> Result<bool> {
    let changed = tx
        .exec(
            "UPDATE users SET attributes = $1, pending = $2, status = $3, enabled = $4, updated_ms = $5, \
             password = $6, password_set_ms = $7, password_history = $8, signed_out_ms = $9, \
             mfa = $10, totp_secret = $11, totp_pending = $12, revision = revision + 1 \
             WHERE pool_id = $13 AND sub = $14 AND revision = $15",
            params![
                &json(&user.attributes),
                &json(&user.pending),
                user.status.as_str(),
                user.enabled,
                user.updated,
                user.password.as_deref(),
                user.password_set,
                user.password_history.as_deref(),
                user.signed_out,
                &json(&user.mfa),
                user.totp_secret.as_deref(),
                user.totp_pending.as_deref(),
                &user.pool,
                &user.sub,
                before.revision
            ],
        )
        .await?;
    if changed == 0 {
        return Ok(false);
    }
    search::put(tx, &user.pool, &user.sub, &before.attributes, &user.attributes).await?;
    Ok(true)
}

/// Uses up a time step of the user's software token and all before it. False when it was used up already.
pub async fn use_totp_step(tx: &mut Tx, pool: &PoolId, sub: &Sub, step: i64) -> Result<bool> {
    let used = tx
        .exec(
            "UPDATE users SET totp_step = $1 WHERE pool_id = $2 AND sub = $3 AND totp_step < $1",
            params![step, pool, sub],
        )
        .await?;
    Ok(used == 1)
}

/// The last step that was used up, for a look before there is something to write.
pub async fn totp_step(tx: &mut Tx, pool: &PoolId, sub: &Sub) -> Result<Option<i64>> {
    tx.first("SELECT totp_step FROM users WHERE pool_id = $1 AND sub = $2", params![pool, sub], |row| {
        row.int(0)
    })
    .await
}

/// Begins anew with the step whose code verified a new software token.
pub async fn set_totp_step(tx: &mut Tx, pool: &PoolId, sub: &Sub, step: i64) -> Result<()> {
    tx.exec("UPDATE users SET totp_step = $1 WHERE pool_id = $2 AND sub = $3", params![step, pool, sub])
        .await?;
    Ok(())
}

/// Gives the user a name; false when it would sign in another user as well: one who holds it as a name of any
/// kind, or whose sub it is. Claiming one's own name again is fine.
pub async fn claim(tx: &mut Tx, pool: &PoolId, sub: &Sub, name: &SignInName) -> Result<bool> {
    let claimed = tx
        .exec(
            "INSERT INTO user_names (pool_id, name, kind, sub) SELECT $1, $2, $3, $4 WHERE NOT EXISTS \
             (SELECT 1 FROM user_names n WHERE n.pool_id = $1 AND n.name = $2 AND n.sub <> $4) AND NOT EXISTS \
             (SELECT 1 FROM users u WHERE u.pool_id = $1 AND u.sub = $2 AND u.sub <> $4) \
             ON CONFLICT (pool_id, name, kind) DO UPDATE SET sub = excluded.sub \
             WHERE user_names.sub = excluded.sub",
            params![pool, &bounded::distinct(&name.name), name.kind, sub],
        )
        .await?;
    Ok(claimed == 1)
}

/// Takes a name from whoever holds it.
pub async fn release(tx: &mut Tx, pool: &PoolId, name: &SignInName) -> Result<()> {
    tx.exec(
        "DELETE FROM user_names WHERE pool_id = $1 AND name = $2 AND kind = $3",
        params![pool, &bounded::distinct(&name.name), name.kind],
    )
    .await?;
    Ok(())
}

/// Takes the name of a kind from the user, whatever it is.
pub async fn release_kind(tx: &mut Tx, pool: &PoolId, sub: &Sub, kind: &str) -> Result<()> {
    tx.exec("DELETE FROM user_names WHERE pool_id = $1 AND sub = $2 AND kind = $3", params![pool, sub, kind])
        .await?;
    Ok(())
}

/// Removes the user and everything that hangs on it.
pub async fn delete(tx: &mut Tx, pool: &PoolId, sub: &Sub) -> Result<bool> {
    let deleted = tx.exec("DELETE FROM users WHERE pool_id = $1 AND sub = $2", params![pool, sub]).await?;
    tx.exec("DELETE FROM lockouts WHERE pool_id = $1 AND subject = $2", params![pool, sub]).await?;
    Ok(deleted == 1)
}

/// Marks every token of the user that was issued up to `now` as signed out.
pub async fn sign_out(tx: &mut Tx, pool: &PoolId, sub: &Sub, now: Millis) -> Result<()> {
    tx.exec(
        "UPDATE users SET signed_out_ms = $1, revision = revision + 1 WHERE pool_id = $2 AND sub = $3",
        params![now, pool, sub],
    )
    .await?;
    Ok(())
}
