//! Facts of the installation as a whole.

use crate::{Result, Tx, params};

/// The value stored under `name`.
pub async fn get(tx: &mut Tx, name: &str) -> Result<Option<Vec<u8>>> {
    tx.first("SELECT value FROM installation WHERE name = $1", params![name], |row| row.bytes(0)).await
}

/// Stores `value` under `name` where that raises what stands there, byte by byte, or replaces what is above
/// `far`.
pub async fn raise(tx: &mut Tx, name: &str, value: &[u8], far: &[u8]) -> Result<()> {
    tx.exec(
        "INSERT INTO installation (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET \
         value = excluded.value WHERE installation.value < excluded.value OR installation.value > $3",
        params![name, value, far],
    )
    .await?;
    Ok(())
}
