use std::path::PathBuf;

/// Why the store did not do what it was asked.
///
/// Cloneable, because one failed commit is the answer to every write that rode in it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The writer's queue is full; nothing was tried. The caller sheds load: TooManyRequests.
    #[error("the store has more writes waiting than it takes")]
    Busy,
    /// The store is closed, or its writer has died.
    #[error("the store is closed")]
    Closed,
    /// Another process works in this data directory.
    #[error("the data directory {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// A newer release has migrated this database; going back is not possible.
    #[error(
        "the database has schema version {found}, this release knows versions up to {known}: run the newer release"
    )]
    SchemaTooNew { found: i64, known: i64 },
    /// There is no database yet, or an older release's, and the process may not change that.
    #[error(
        "the database has schema version {found}, this release works with version {known}: start its server once"
    )]
    SchemaTooOld { found: i64, known: i64 },
    /// A file that is not to be replaced.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// A file that is no database of Lido's, or a damaged one; and why.
    #[error("{} is no database of lido: {}", .0.display(), .1)]
    NotADatabase(PathBuf, String),
    /// The applied migrations are not the ones of this release, or one failed.
    #[error("{0}")]
    Migration(String),
    /// The row exists already, or the row it refers to does not. In the engine's words.
    #[error("{0}")]
    Constraint(String),
    /// No space is left for the database.
    #[error("the disk of the database is full")]
    Full,
    /// The database cannot be written: permissions, or a read-only file system.
    #[error("the database is read-only")]
    ReadOnly,
    /// The database's address is none, or names certificates that cannot be read. Without the password.
    #[error("{0}")]
    Address(String),
    /// The database cannot be reached, or takes no work for now. A write that was under way may be stored or not.
    #[error("{0}")]
    Unavailable(String),
    /// Anything else, with the engine's text: a broken statement, a damaged file, a failing disk.
    #[error("{0}")]
    Engine(String),
}

impl Error {
    /// A row that no release of Lido writes: the data was changed by something else.
    pub(crate) fn corrupt(what: impl std::fmt::Display) -> Self {
        Self::Engine(format!("a stored row is not readable: {what}"))
    }
}
