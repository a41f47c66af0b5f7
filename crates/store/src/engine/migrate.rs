//! The schema's history: numbered SQL texts that go forward only, the same for every engine but
//! for two tokens. Which of them a database has is in its table `schema_migrations`, with the
//! SHA-256 of each text (as `sha256sum` prints it), so that an edited one is noticed.

use sha2::{Digest, Sha256};

use super::Row;
use crate::Error;

/// One step of the schema. A published one is never edited.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Counts from 1, without gaps.
    pub version: i64,
    pub name: &'static str,
    /// Any number of statements, with tokens instead of the types that differ:
    /// `{BYTES}`, and `{C}` after a text key, so that engines sort it alike.
    pub sql: &'static str,
}

/// Every migration of this release.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "pools", sql: include_str!("../../migrations/0001_pools.sql") },
    Migration { version: 2, name: "users", sql: include_str!("../../migrations/0002_users.sql") },
    Migration { version: 3, name: "credentials", sql: include_str!("../../migrations/0003_credentials.sql") },
    Migration { version: 4, name: "messages", sql: include_str!("../../migrations/0004_messages.sql") },
    Migration { version: 5, name: "groups", sql: include_str!("../../migrations/0005_groups.sql") },
    Migration { version: 6, name: "sign_in", sql: include_str!("../../migrations/0006_sign_in.sql") },
];

/// What the tokens stand for in an engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect {
    pub(super) bytes: &'static str,
    pub(super) collation: &'static str,
}

impl Migration {
    pub(super) fn checksum(&self) -> String {
        Sha256::digest(self.sql).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn text(&self, dialect: Dialect) -> String {
        self.sql.replace("{BYTES}", dialect.bytes).replace("{C}", dialect.collation)
    }
}

/// A row of `schema_migrations`.
#[derive(Clone, Debug)]
pub(super) struct Applied {
    pub(super) version: i64,
    pub(super) name: String,
    pub(super) checksum: String,
}

/// Maps a row of [`APPLIED`].
pub(super) fn applied(row: &Row<'_>) -> Result<Applied, Error> {
    Ok(Applied { version: row.int(0)?, name: row.text(1)?, checksum: row.text(2)? })
}

/// The table that remembers what was applied. Made before the first migration, never changed.
pub(super) const CREATE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version BIGINT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_ms BIGINT NOT NULL
)";

pub(super) const APPLIED: &str =
    "SELECT version, name, checksum FROM schema_migrations WHERE version > 0 ORDER BY version";

pub(super) const RECORD: &str =
    "INSERT INTO schema_migrations (version, name, checksum, applied_ms) VALUES ($1, $2, $3, $4)";

/// The migration to apply next, if any, after making sure that those applied (by version) are the
/// beginning of those known.
pub(super) fn next<'a>(applied: &[Applied], known: &'a [Migration]) -> Result<Option<&'a Migration>, Error> {
    let newest = known.last().map_or(0, |migration| migration.version);
    if let Some(last) = applied.last()
        && last.version > newest
    {
        return Err(Error::SchemaTooNew { found: last.version, known: newest });
    }
    let mut rest = known.iter();
    for row in applied {
        match rest.next() {
            Some(migration) if migration.version == row.version => {
                if migration.checksum() != row.checksum {
                    return Err(Error::Migration(format!(
                        "migration {} ({}) is not the text that this database was made with (as {})",
                        row.version, migration.name, row.name,
                    )));
                }
            }
            _ => {
                return Err(Error::Migration(format!(
                    "the database has migration {} ({}), which this release does not know",
                    row.version, row.name,
                )));
            }
        }
    }
    Ok(rest.next())
}

/// Refuses a schema that is not exactly the known one.
pub(super) fn require(applied: &[Applied], known: &[Migration]) -> Result<(), Error> {
    match next(applied, known)? {
        None => Ok(()),
        Some(_) => Err(Error::SchemaTooOld {
            found: applied.last().map_or(0, |last| last.version),
            known: known.last().map_or(0, |migration| migration.version),
        }),
    }
}

/// Milliseconds since the epoch, for the record of when the schema changed.
#[expect(
    clippy::disallowed_methods,
    reason = "a note for operators; the clock that development moves is not meant"
)]
pub(super) fn now_ms() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_without_gaps() {
        for (migration, version) in MIGRATIONS.iter().zip(1..) {
            assert_eq!(migration.version, version, "{}", migration.name);
        }
    }
}
