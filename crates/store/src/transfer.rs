//! Every record that moves with an installation, whichever engine it moves to: [`TABLES`] describes their tables
//! once, and one reader and one writer serve them all. A new column is one line there, a new kind of record one
//! entry; a test compares the list with the schema.
//!
//! Values are handed over as they are stored: what is sealed stays sealed, and re-sealing is the caller's.

use std::fmt::Write;
use std::sync::LazyLock;

use lido_domain::{Attributes, Millis, PoolId};

use crate::{Error, Result, Tx, Value, params, search};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// A number; milliseconds where the name ends so.
    Int,
    /// 0 or 1.
    Flag,
    /// A text that is a JSON object.
    Json,
    /// A keyed hash under the installation's digest root: worthless under another one.
    Digest,
    /// Sealed for the record it stands in.
    Sealed,
}

/// A column of a table, and a member of its record.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
    /// It may be NULL.
    pub optional: bool,
    /// The name of the record that it refers to, in the same pool.
    pub of: Option<&'static str>,
    /// Its value, in JSON, in a record of a release that did not have the column.
    pub before: Option<&'static str>,
}

impl Column {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, optional: false, of: None, before: None }
    }

    const fn optional(self) -> Self {
        Self { optional: true, ..self }
    }

    const fn of(self, record: &'static str) -> Self {
        Self { of: Some(record), ..self }
    }

    const fn before(self, value: &'static str) -> Self {
        Self { before: Some(value), ..self }
    }
}

const fn text(name: &'static str) -> Column {
    Column::new(name, Kind::Text)
}

const fn int(name: &'static str) -> Column {
    Column::new(name, Kind::Int)
}

const fn flag(name: &'static str) -> Column {
    Column::new(name, Kind::Flag)
}

const fn json(name: &'static str) -> Column {
    Column::new(name, Kind::Json)
}

const fn digest(name: &'static str) -> Column {
    Column::new(name, Kind::Digest)
}

const fn sealed(name: &'static str) -> Column {
    Column::new(name, Kind::Sealed)
}

/// A kind of record and the table it lies in.
#[derive(Debug)]
pub struct Table {
    /// What the record is called.
    pub record: &'static str,
    pub columns: &'static [Column],
    /// What tells the records of a pool apart, in order: text columns of an index that begins with the pool.
    pub key: &'static [&'static str],
    /// The column that no two records of the installation share.
    pub unique: Option<&'static str>,
    /// What the table is called.
    pub name: &'static str,
    sql: LazyLock<Statements>,
}

#[derive(Debug)]
struct Statements {
    page: String,
    insert: String,
    insert_chunk: String,
    taken: String,
}

/// Rows of one INSERT: what a network is asked to carry at once.
const CHUNK: usize = 64;

macro_rules! tables {
    ($($table:ident: $record:literal in $name:literal by $key:expr, unique $unique:expr, [$($column:expr),+ $(,)?];)+) => {
        $(
            static $table: Table = Table {
                record: $record,
                columns: &[$($column),+],
                key: &$key,
                unique: $unique,
                name: $name,
                sql: LazyLock::new(|| Statements::of(&$table)),
            };
        )+

        /// Every kind of record, in an order in which each finds what it refers to: a pool first, then what is
        /// in it.
        pub static TABLES: &[&Table] = &[$(&$table),+];
    };
}

tables! {
    POOLS: "pool" in "user_pools" by ["id"], unique Some("id"), [
        text("id"), text("name"), json("settings"), json("mfa").before("{}"), json("tags"), int("created_ms"),
        int("updated_ms"), int("revision"),
    ];
    CLIENTS: "app_client" in "app_clients" by ["id"], unique Some("id"), [
        text("pool_id"), text("id"), text("name"), json("settings"), sealed("sealed_secret").optional(),
        int("secret_ms").optional(), sealed("second_secret").optional(), int("second_secret_ms").optional(),
        int("created_ms"), int("updated_ms"), int("revision"),
    ];
    KEYS: "signing_key" in "signing_keys" by ["kid"], unique Some("kid"), [
        text("pool_id"), text("kid"), text("token_use"), text("modulus"), sealed("sealed_private"),
        int("created_ms"), int("active_ms").optional(), int("retired_ms").optional(),
    ];
    USERS: "user" in "users" by ["sub"], unique None, [
        text("pool_id"), text("sub"), text("username"), json("attributes"), json("pending"), text("status"),
        flag("enabled"), int("created_ms"), int("updated_ms"), sealed("password").optional(),
        int("password_set_ms"), sealed("password_history").optional(), int("signed_out_ms"),
        json("mfa").before("{}"), sealed("totp_secret").optional(), sealed("totp_pending").optional(),
        int("totp_step").before("0"), int("revision"),
    ];
    NAMES: "sign_in_name" in "user_names" by ["name", "kind"], unique None, [
        text("pool_id"), text("name"), text("kind"), text("sub").of("user"),
    ];
    GROUPS: "group" in "groups" by ["name"], unique None, [
        text("pool_id"), text("name"), text("description").optional(), text("role_arn").optional(),
        int("precedence").optional(), int("created_ms"), int("updated_ms"), int("revision"),
    ];
    MEMBERS: "group_member" in "group_members" by ["group_name", "sub"], unique None, [
        text("pool_id"), text("group_name").of("group"), text("sub").of("user"),
    ];
    LOCKOUTS: "lockout" in "lockouts" by ["subject"], unique None, [
        text("pool_id"), text("subject"), int("failures"), int("last_failure_ms"), int("locked_until_ms"),
    ];
    CODES: "code" in "codes" by ["sub", "purpose"], unique None, [
        text("pool_id"), text("sub").of("user"), text("purpose"), digest("digest"), text("target"),
        int("expires_ms"), int("attempts"),
    ];
    SESSIONS: "token_session" in "token_sessions" by ["origin_jti"], unique None, [
        text("pool_id"), text("origin_jti"), digest("digest"), text("client_id"), text("sub").of("user"),
        int("auth_time_ms"), text("scope"), int("expires_ms"), int("revoked_ms").optional(),
        int("used_ms").optional(),
    ];
    ROTATED: "rotated_token" in "rotated_tokens" by ["origin_jti", "id"], unique None, [
        text("pool_id"), text("origin_jti").of("token_session"), text("id"), digest("digest"),
        int("used_ms").optional(),
    ];
}

/// Tables whose rows do not move, each with the reason.
pub const LEFT_OUT: &[(&str, &str)] = &[
    ("installation", "facts of this installation"),
    ("data_keys", "what seals in this installation; records are sealed anew where they go"),
    ("wrapped_keys", "the same; of them the digest root moves, which is not a record"),
    ("schema_migrations", "the history of this database"),
    ("deleted_pools", "pools that are gone; what is left of them is not exported either"),
    ("user_search", "made anew from the users"),
    ("redeemed", "marks on sealed sessions, which only the installation that sealed them can open"),
    ("hourly_counts", "counts of the running hour"),
    ("outbox", "messages on their way: the installation that queued them sends them"),
    ("inbox", "development mode's copy of messages"),
];

/// The name of a table's record, by which a file calls it.
pub fn table(record: &str) -> Option<&'static Table> {
    TABLES.iter().copied().find(|table| table.record == record)
}

impl Table {
    /// Whether the record is a pool: every other one belongs to a pool.
    pub fn is_pool(&self) -> bool {
        std::ptr::eq(self, &POOLS)
    }

    /// Whether its rows can only be there together with their pool. Others are out of reach as long as their
    /// pool is not there.
    pub fn goes_with_pool(&self) -> bool {
        [&POOLS, &CLIENTS, &KEYS].iter().any(|table| std::ptr::eq(self, *table))
    }

    /// Whether its rows are worthless under another digest root.
    pub fn is_digest_bound(&self) -> bool {
        self.columns.iter().any(|column| column.kind == Kind::Digest)
    }

    /// Where a column stands in a row.
    ///
    /// # Panics
    ///
    /// When the table has no such column.
    pub fn position(&self, column: &str) -> usize {
        self.columns.iter().position(|other| other.name == column).expect("the column is one of the table")
    }

    /// The pool that a row belongs to, or is.
    pub fn pool<'r>(&self, row: &'r [Field]) -> &'r str {
        row[self.position(if self.is_pool() { "id" } else { "pool_id" })].as_text()
    }

    /// What tells the row apart from others of its pool.
    pub fn key_of<'r>(&self, row: &'r [Field]) -> Vec<&'r str> {
        self.key.iter().map(|column| row[self.position(column)].as_text()).collect()
    }
}

impl Statements {
    fn of(table: &Table) -> Self {
        let Table { name, columns, key, .. } = table;
        let list = columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
        let keys = key.join(", ");
        let mut placeholder = 0;
        let mut next = || {
            placeholder += 1;
            format!("${placeholder}")
        };
        let in_pool = if table.is_pool() { String::new() } else { format!("pool_id = {} AND ", next()) };
        let after = key.iter().map(|_| next()).collect::<Vec<_>>().join(", ");
        let limit = next();
        let page = format!(
            "SELECT {list} FROM {name} WHERE {in_pool}({keys}) > ({after}) ORDER BY {keys} LIMIT {limit}"
        );
        let unique = table.unique.unwrap_or("pool_id");
        Self {
            page,
            insert: insert(name, &list, columns.len(), 1),
            insert_chunk: insert(name, &list, columns.len(), CHUNK),
            taken: format!("SELECT 1 FROM {name} WHERE {unique} = $1"),
        }
    }
}

/// `INSERT INTO table (columns) VALUES ($1, …), …`
fn insert(table: &str, columns: &str, width: usize, rows: usize) -> String {
    let mut sql = format!("INSERT INTO {table} ({columns}) VALUES ");
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..width {
            let comma = if column == 0 { "" } else { ", " };
            write!(sql, "{comma}${}", row * width + column + 1).expect("a string can be written to");
        }
        sql.push(')');
    }
    sql
}

/// A value as it is stored. Flags are numbers, JSON is text.
#[derive(Clone, PartialEq)]
pub enum Field {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Field {
    /// The text of a column that always has one; empty for anything else.
    pub fn as_text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }
}

impl std::fmt::Debug for Field {
    /// Without the value: it may be what no log should hold.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Value::from(self).fmt(f)
    }
}

impl<'a> From<&'a Field> for Value<'a> {
    fn from(field: &'a Field) -> Self {
        match field {
            Field::Null => Self::Null,
            Field::Int(int) => Self::Int(*int),
            Field::Text(text) => Self::Text(text),
            Field::Bytes(bytes) => Self::Bytes(bytes),
        }
    }
}

/// The values of a record in the order of its table's columns.
pub type Record = Vec<Field>;

// ---- Reading ----------------------------------------------------------------------------------

/// Up to `limit` rows of a pool in the order of their keys, behind the row `after`. For the table of pools
/// `pool` does not matter.
pub async fn page(
    tx: &mut Tx,
    table: &'static Table,
    pool: &str,
    after: Option<&Record>,
    limit: i64,
) -> Result<Vec<Record>> {
    // Every key is greater than empty texts.
    let after = after.map_or_else(|| vec![""; table.key.len()], |row| table.key_of(row));
    let mut parameters: Vec<Value<'_>> = Vec::with_capacity(after.len() + 2);
    if !table.is_pool() {
        parameters.push(Value::Text(pool));
    }
    parameters.extend(after.into_iter().map(Value::Text));
    parameters.push(Value::Int(limit));
    tx.query(&table.sql.page, &parameters, |row| {
        let fields = table.columns.iter().enumerate().map(|(index, column)| {
            Ok(match column.kind {
                Kind::Text | Kind::Json => row.opt_text(index)?.map_or(Field::Null, Field::Text),
                Kind::Int | Kind::Flag => row.opt_int(index)?.map_or(Field::Null, Field::Int),
                Kind::Digest | Kind::Sealed => row.opt_bytes(index)?.map_or(Field::Null, Field::Bytes),
            })
        });
        fields.collect()
    })
    .await
}

/// Whether nothing is in the installation, and nothing is being removed from it.
pub async fn is_empty(tx: &mut Tx) -> Result<bool> {
    for sql in
        ["SELECT 1 FROM deleted_pools LIMIT 1", "SELECT 1 FROM users LIMIT 1", "SELECT 1 FROM groups LIMIT 1"]
    {
        if tx.first(sql, params![], |_| Ok(())).await?.is_some() {
            return Ok(false);
        }
    }
    has_no_pools(tx).await
}

/// Whether there is no pool, whatever else there is.
pub async fn has_no_pools(tx: &mut Tx) -> Result<bool> {
    Ok(tx.first("SELECT 1 FROM user_pools LIMIT 1", params![], |_| Ok(())).await?.is_none())
}

/// Whether the row cannot be added because the installation has one that it must differ from.
pub async fn is_taken(tx: &mut Tx, table: &'static Table, row: &Record) -> Result<bool> {
    let Some(unique) = table.unique else { return Ok(false) };
    let value = Value::from(&row[table.position(unique)]);
    Ok(tx.first(&table.sql.taken, &[value], |_| Ok(())).await?.is_some())
}

/// Whether a deleted pool's users are still being removed.
pub async fn is_being_removed(tx: &mut Tx, pool: &PoolId) -> Result<bool> {
    let found = tx.first("SELECT 1 FROM deleted_pools WHERE pool_id = $1", params![pool], |_| Ok(())).await?;
    Ok(found.is_some())
}

// ---- Writing ----------------------------------------------------------------------------------

/// Adds rows of one table, and what is made from them.
///
/// Errors: [`Error::Constraint`] when one is there already, or what it refers to is not.
pub async fn insert_all(tx: &mut Tx, table: &'static Table, rows: &[Record]) -> Result<()> {
    insert_chunks(tx, &table.sql.insert, &table.sql.insert_chunk, rows).await?;
    if std::ptr::eq(table, &USERS) {
        insert_search(tx, rows).await?;
    }
    Ok(())
}

async fn insert_search(tx: &mut Tx, users: &[Record]) -> Result<()> {
    static INSERT: LazyLock<[String; 2]> = LazyLock::new(|| {
        [1, CHUNK].map(|rows| insert("user_search", "pool_id, attribute, value, sub", 4, rows))
    });
    let [pool, sub, attributes] = ["pool_id", "sub", "attributes"].map(|column| USERS.position(column));
    let mut rows = Vec::new();
    for user in users {
        let values: Attributes = serde_json::from_str(user[attributes].as_text()).map_err(Error::corrupt)?;
        rows.extend(search::rows(&values).map(|(attribute, value)| {
            vec![user[pool].clone(), Field::Text(attribute.to_owned()), Field::Text(value), user[sub].clone()]
        }));
    }
    insert_chunks(tx, &INSERT[0], &INSERT[1], &rows).await
}

async fn insert_chunks(tx: &mut Tx, one: &'static str, chunk: &'static str, rows: &[Record]) -> Result<()> {
    let chunks = rows.chunks_exact(CHUNK);
    let rest = chunks.remainder();
    for rows in chunks {
        let values: Vec<Value<'_>> = rows.iter().flatten().map(Value::from).collect();
        tx.exec(chunk, &values).await?;
    }
    for row in rest {
        let values: Vec<Value<'_>> = row.iter().map(Value::from).collect();
        tx.exec(one, &values).await?;
    }
    Ok(())
}

// ---- An import under way ----------------------------------------------------------------------

/// The name under which the installation keeps what an import has begun and not completed.
const MARK: &str = "importing";

/// What an import that was not completed has left for the next one, if there is such an import. No server may
/// work with the installation until it is completed or given up.
pub async fn mark(tx: &mut Tx) -> Result<Option<Vec<u8>>> {
    crate::installation::get(tx, MARK).await
}

/// Marks the installation.
pub async fn put_mark(tx: &mut Tx, note: &[u8]) -> Result<()> {
    tx.exec(
        "INSERT INTO installation (name, value) VALUES ($1, $2) \
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        params![MARK, note],
    )
    .await?;
    Ok(())
}

/// Takes the mark away. False when there is none: somebody else has completed the import or given it up.
pub async fn remove_mark(tx: &mut Tx) -> Result<bool> {
    Ok(tx.exec("DELETE FROM installation WHERE name = $1", params![MARK]).await? == 1)
}

/// The digest root as this master key wraps it. `name`: that of the digest root; `master`: see
/// [`data_keys`](crate::data_keys).
pub async fn digest_root(tx: &mut Tx, name: &str, master: &str) -> Result<Option<Vec<u8>>> {
    tx.first(
        "SELECT wrapped FROM wrapped_keys WHERE name = $1 AND master = $2",
        params![name, master],
        |row| row.bytes(0),
    )
    .await
}

/// Puts another digest root in place of the installation's, after which every digest in it is worthless. False
/// while another master key wraps the earlier one as well: the two would no longer agree.
pub async fn adopt_digest_root(tx: &mut Tx, name: &str, master: &str, wrapped: &[u8]) -> Result<bool> {
    let adopted = tx
        .exec(
            "UPDATE wrapped_keys SET wrapped = $1 WHERE name = $2 AND master = $3 AND NOT EXISTS \
             (SELECT 1 FROM wrapped_keys other WHERE other.name = $2 AND other.master <> $3)",
            params![wrapped, name, master],
        )
        .await?;
    Ok(adopted == 1)
}

/// The version of the schema that the records are of.
pub async fn schema(tx: &mut Tx) -> Result<i64> {
    let version = tx.first("SELECT max(version) FROM schema_migrations", params![], |row| row.int(0)).await?;
    version.ok_or_else(|| Error::corrupt("the schema has no version"))
}

/// Leaves what was imported of a pool to [`pools::purge`](crate::pools::purge), unless the pool is there.
pub async fn give_up(tx: &mut Tx, pool: &PoolId, now: Millis) -> Result<()> {
    tx.exec(
        "INSERT INTO deleted_pools (pool_id, deleted_ms) SELECT $1, $2 WHERE NOT EXISTS \
         (SELECT 1 FROM user_pools p WHERE p.id = $1) ON CONFLICT (pool_id) DO NOTHING",
        params![pool, now],
    )
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{Options, Store};

    /// Fails when a migration adds a table or a column that nobody has decided about.
    #[tokio::test]
    async fn every_table_and_every_column_moves_or_is_left_out_on_purpose() {
        let store = Store::open(Options::memory()).await.unwrap();
        let schema: Result<Vec<(String, String, bool)>> = store
            .read((), |(), tx| {
                Box::pin(async move {
                    tx.query(
                        "SELECT t.name, c.name, c.\"notnull\" FROM sqlite_schema t \
                         JOIN pragma_table_info(t.name) c WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'",
                        &[],
                        |row| Ok((row.text(0)?, row.text(1)?, !row.flag(2)?)),
                    )
                    .await
                })
            })
            .await;
        let left_out = |table: &str| LEFT_OUT.iter().any(|(name, _)| *name == table);
        let schema: BTreeSet<_> =
            schema.unwrap().into_iter().filter(|(table, ..)| !left_out(table)).collect();
        let described: BTreeSet<_> = TABLES
            .iter()
            .flat_map(|table| {
                let own = |column: &Column| (table.name.to_owned(), column.name.to_owned(), column.optional);
                table.columns.iter().map(own)
            })
            .collect();
        assert_eq!(described, schema);
    }

    #[test]
    fn what_is_referred_to_comes_first() {
        for (index, table) in TABLES.iter().enumerate() {
            assert_eq!(table.is_pool(), index == 0);
            for record in table.columns.iter().filter_map(|column| column.of) {
                assert!(TABLES[..index].iter().any(|earlier| earlier.record == record), "{record}");
            }
            for key in table.key {
                assert_eq!(table.columns[table.position(key)].kind, Kind::Text, "{key}");
            }
        }
    }

    #[test]
    fn statements_number_their_placeholders_in_order() {
        assert_eq!(
            NAMES.sql.page,
            "SELECT pool_id, name, kind, sub FROM user_names WHERE pool_id = $1 AND (name, kind) > ($2, $3) \
             ORDER BY name, kind LIMIT $4"
        );
        assert_eq!(insert("t", "a, b", 2, 2), "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4)");
    }

    fn user(index: usize) -> Record {
        USERS
            .columns
            .iter()
            .map(|column| match (column.name, column.kind) {
                ("pool_id", _) => Field::Text("local_pool".into()),
                ("sub" | "username", _) => Field::Text(format!("{index:03}")),
                ("attributes", _) => Field::Text(format!("{{\"email\":\"U{index}@Example.com\"}}")),
                ("status", _) => Field::Text("CONFIRMED".into()),
                (_, Kind::Json) => Field::Text("{}".into()),
                (_, Kind::Sealed) => Field::Bytes(vec![1, 2, 3]),
                _ => Field::Int(1),
            })
            .collect()
    }

    #[tokio::test]
    async fn rows_come_back_as_they_went_in_and_are_searched() {
        let store = Store::open(Options::memory()).await.unwrap();
        let users: Vec<Record> = (0..150).map(user).collect();
        let found: Result<Vec<Record>> = store
            .write(users.clone(), |users, tx| {
                Box::pin(async move {
                    assert!(is_empty(tx).await?);
                    insert_all(tx, &USERS, users).await?;
                    assert!(!is_empty(tx).await?);
                    let searched = tx
                        .first(
                            "SELECT count(*) FROM user_search WHERE attribute = 'email' AND value LIKE 'u%@example.com'",
                            &[],
                            |row| row.int(0),
                        )
                        .await?;
                    assert_eq!(searched, Some(150));
                    let mut found = page(tx, &USERS, "local_pool", None, 100).await?;
                    assert_eq!(found.len(), 100);
                    let rest = page(tx, &USERS, "local_pool", found.last(), 100).await?;
                    found.extend(rest);
                    assert!(page(tx, &USERS, "local_pool", found.last(), 100).await?.is_empty());
                    assert!(page(tx, &USERS, "local_other", None, 100).await?.is_empty());
                    Ok(found)
                })
            })
            .await;
        assert_eq!(found.unwrap(), users);
    }

    /// Every page and every look-up is a statement that the engine takes.
    #[tokio::test]
    async fn every_statement_is_one() {
        let store = Store::open(Options::memory()).await.unwrap();
        let done: Result<()> = store
            .read((), |(), tx| {
                Box::pin(async move {
                    for table in TABLES {
                        assert!(page(tx, table, "local_pool", None, 1).await?.is_empty(), "{}", table.record);
                        let row = vec![Field::Text("any".into()); table.columns.len()];
                        assert!(!is_taken(tx, table, &row).await?);
                    }
                    assert_eq!(mark(tx).await?, None);
                    Ok(())
                })
            })
            .await;
        done.unwrap();
    }

    #[tokio::test]
    async fn what_was_given_up_is_purged() {
        let store = Store::open(Options::memory()).await.unwrap();
        let done: Result<()> = store
            .write((), |(), tx| {
                Box::pin(async move {
                    let pool = PoolId::new("local_pool");
                    put_mark(tx, b"one").await?;
                    put_mark(tx, b"two").await?;
                    assert_eq!(mark(tx).await?, Some(b"two".to_vec()));
                    insert_all(tx, &USERS, &[user(1)]).await?;
                    give_up(tx, &pool, Millis(1)).await?;
                    assert!(is_being_removed(tx, &pool).await?);
                    while !crate::pools::purge(tx, &pool, 10).await? {}
                    assert!(is_empty(tx).await?);
                    assert!(remove_mark(tx).await?);
                    assert!(!remove_mark(tx).await?);
                    Ok(())
                })
            })
            .await;
        done.unwrap();
    }
}
