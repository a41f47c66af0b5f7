//! Data keys, which seal, and the copies of them and of the digest root that a master key wraps.
//!
//! A data key goes through three states, each told by a column: it is known (nodes load it, nobody seals with it),
//! active (the youngest active one seals), retired (it only opens, and will be removed). While a master key is
//! being replaced there are copies for two.

use lido_domain::Millis;

use crate::{Result, Tx, params};

/// A data key without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataKey {
    /// As sealed values name it.
    pub id: String,
    /// Counts up from 1: the greatest is the youngest.
    pub generation: i64,
    /// Fingerprint of the master key that it was made with: each brings one.
    pub made_for: String,
    pub active: Option<Millis>,
    pub retired: Option<Millis>,
}

/// A copy of a key, wrapped by a master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapped {
    /// The id of a data key, or the name of the digest root.
    pub name: String,
    pub wrapped: Vec<u8>,
}

/// All data keys, the oldest first.
pub async fn all(tx: &mut Tx) -> Result<Vec<DataKey>> {
    tx.query(
        "SELECT id, generation, made_for, active_ms, retired_ms FROM data_keys ORDER BY generation, id",
        params![],
        |row| {
            Ok(DataKey {
                id: row.text(0)?,
                generation: row.int(1)?,
                made_for: row.text(2)?,
                active: row.opt_millis(3)?,
                retired: row.opt_millis(4)?,
            })
        },
    )
    .await
}

/// The copies that a master key wraps.
pub async fn wrapped(tx: &mut Tx, master: &str) -> Result<Vec<Wrapped>> {
    tx.query(
        "SELECT name, wrapped FROM wrapped_keys WHERE master = $1 ORDER BY name",
        params![master],
        |row| Ok(Wrapped { name: row.text(0)?, wrapped: row.bytes(1)? }),
    )
    .await
}

/// Fingerprints of the master keys that open this database.
pub async fn masters(tx: &mut Tx) -> Result<Vec<String>> {
    tx.query("SELECT DISTINCT master FROM wrapped_keys ORDER BY master", params![], |row| row.text(0)).await
}

pub async fn insert(tx: &mut Tx, key: &DataKey) -> Result<()> {
    tx.exec(
        "INSERT INTO data_keys (id, generation, made_for, active_ms, retired_ms) VALUES ($1, $2, $3, $4, $5)",
        params![&key.id, key.generation, &key.made_for, key.active, key.retired],
    )
    .await?;
    Ok(())
}

/// Adds a copy for a master key.
pub async fn wrap(tx: &mut Tx, master: &str, copy: &Wrapped) -> Result<()> {
    tx.exec(
        "INSERT INTO wrapped_keys (name, master, wrapped) VALUES ($1, $2, $3)",
        params![&copy.name, master, &copy.wrapped],
    )
    .await?;
    Ok(())
}

/// From now on the key seals, unless a younger one does. Doing it again changes nothing.
pub async fn activate(tx: &mut Tx, id: &str, now: Millis) -> Result<()> {
    tx.exec("UPDATE data_keys SET active_ms = $1 WHERE id = $2 AND active_ms IS NULL", params![now, id])
        .await?;
    Ok(())
}

/// Retires every data key older than this generation.
pub async fn retire_before(tx: &mut Tx, generation: i64, now: Millis) -> Result<()> {
    tx.exec(
        "UPDATE data_keys SET retired_ms = $1 WHERE generation < $2 AND retired_ms IS NULL",
        params![now, generation],
    )
    .await?;
    Ok(())
}

/// Takes away every copy that another master key wraps.
pub async fn keep_only(tx: &mut Tx, master: &str) -> Result<()> {
    tx.exec("DELETE FROM wrapped_keys WHERE master <> $1", params![master]).await?;
    Ok(())
}

/// Removes a retired data key with its copies: nothing that it sealed can be opened any more.
pub async fn remove(tx: &mut Tx, id: &str) -> Result<()> {
    tx.exec("DELETE FROM wrapped_keys WHERE name = $1", params![id]).await?;
    tx.exec("DELETE FROM data_keys WHERE id = $1", params![id]).await?;
    Ok(())
}
