//! Facts of the installation as a whole.

use crate::{Result, Tx, params};

/// The value stored under `name`.
pub async fn get(tx: &mut Tx, name: &str) -> Result<Option<Vec<u8>>> {
    tx.first("SELECT value FROM installation WHERE name = $1", params![name], |row| row.bytes(0)).await
}

/// Stores `value` under `name` unless something stands there; returns what stands there now.
pub async fn put_once(tx: &mut Tx, name: &str, value: &[u8]) -> Result<Vec<u8>> {
    tx.exec(
        "INSERT INTO installation (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
        params![name, value],
    )
    .await?;
    Ok(get(tx, name).await?.unwrap_or_else(|| value.to_vec()))
}
