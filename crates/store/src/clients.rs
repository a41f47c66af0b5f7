//! App clients. A client id is unique in the installation; every query names the pool as well where
//! the caller knows it.

use lido_domain::records::SealedSecret;
use lido_domain::{AppClient, ClientId, Millis, PoolId};

use crate::{Result, Row, Tx, params};

macro_rules! columns {
    () => {
        "id, pool_id, name, settings, sealed_secret, secret_ms, second_secret, second_secret_ms, created_ms, \
         updated_ms, revision"
    };
}

fn client(row: &Row<'_>) -> Result<AppClient> {
    Ok(AppClient {
        id: ClientId::new(row.text(0)?),
        pool: PoolId::new(row.text(1)?),
        name: row.text(2)?,
        settings: row.text(3)?,
        sealed_secret: row.opt_bytes(4)?,
        secret_created: row.opt_int(5)?.map(Millis),
        second_secret: match row.opt_bytes(6)? {
            Some(sealed) => Some(SealedSecret { sealed, created: row.millis(7)? }),
            None => None,
        },
        created: row.millis(8)?,
        updated: row.millis(9)?,
        revision: row.int(10)?,
    })
}

/// A client by its id alone: for the operations whose only proof of the pool is the client.
pub async fn by_id(tx: &mut Tx, id: &ClientId) -> Result<Option<AppClient>> {
    tx.first(concat!("SELECT ", columns!(), " FROM app_clients WHERE id = $1"), params![id], client).await
}

/// The revisions of a client and of its pool: what a cache compares to know that its copies are current.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revisions {
    pub pool_id: PoolId,
    pub client: i64,
    pub pool: i64,
}

pub async fn revisions(tx: &mut Tx, id: &ClientId) -> Result<Option<Revisions>> {
    tx.first(
        "SELECT c.pool_id, c.revision, p.revision FROM app_clients c JOIN user_pools p ON p.id = c.pool_id \
         WHERE c.id = $1",
        params![id],
        |row| Ok(Revisions { pool_id: PoolId::new(row.text(0)?), client: row.int(1)?, pool: row.int(2)? }),
    )
    .await
}

/// False when the id is taken.
pub async fn insert(tx: &mut Tx, client: &AppClient) -> Result<bool> {
    let inserted = tx
        .exec(
            concat!(
                "INSERT INTO app_clients (",
                columns!(),
                ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING"
            ),
            params![
                &client.id,
                &client.pool,
                &client.name,
                &client.settings,
                client.sealed_secret.as_deref(),
                client.secret_created,
                client.second_secret.as_ref().map(|secret| &secret.sealed[..]),
                client.second_secret.as_ref().map(|secret| secret.created),
                client.created,
                client.updated,
                client.revision
            ],
        )
        .await?;
    Ok(inserted == 1)
}

/// Replaces the client that was read at `client.revision`; false when it has changed since.
pub async fn put(tx: &mut Tx, client: &AppClient) -> Result<bool> {
    let changed = tx
        .exec(
            "UPDATE app_clients SET name = $1, settings = $2, sealed_secret = $3, secret_ms = $4, \
             second_secret = $5, second_secret_ms = $6, updated_ms = $7, revision = revision + 1 \
             WHERE pool_id = $8 AND id = $9 AND revision = $10",
            params![
                &client.name,
                &client.settings,
                client.sealed_secret.as_deref(),
                client.secret_created,
                client.second_secret.as_ref().map(|secret| &secret.sealed[..]),
                client.second_secret.as_ref().map(|secret| secret.created),
                client.updated,
                &client.pool,
                &client.id,
                client.revision
            ],
        )
        .await?;
    Ok(changed == 1)
}

/// Removes the client; [`sessions::purge_client`](crate::sessions::purge_client) removes the sign-ins that were
/// made through it. False when there is none.
pub async fn delete(tx: &mut Tx, pool: &PoolId, id: &ClientId) -> Result<bool> {
    let deleted =
        tx.exec("DELETE FROM app_clients WHERE pool_id = $1 AND id = $2", params![pool, id]).await?;
    Ok(deleted == 1)
}

/// Clients of a pool in the order of their ids, after `after`.
pub async fn list(tx: &mut Tx, pool: &PoolId, after: &str, limit: i64) -> Result<Vec<AppClient>> {
    tx.query(
        concat!(
            "SELECT ",
            columns!(),
            " FROM app_clients WHERE pool_id = $1 AND id > $2 ORDER BY id LIMIT $3"
        ),
        params![pool, after, limit],
        client,
    )
    .await
}

/// How many clients the pool has.
pub async fn count(tx: &mut Tx, pool: &PoolId) -> Result<i64> {
    Ok(tx
        .first("SELECT count(*) FROM app_clients WHERE pool_id = $1", params![pool], |row| row.int(0))
        .await?
        .unwrap_or_default())
}
