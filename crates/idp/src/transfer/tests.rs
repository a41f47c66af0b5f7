//! What a running server cannot show: an import that ends midway, and what it leaves.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use lido_domain::ClientId;
use lido_store::{Options, clients};

use super::*;
use crate::data_keys;

/// Random enough for keys that protect nothing.
#[derive(Debug)]
struct Counting(AtomicU64);

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let next = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            chunk.copy_from_slice(&next.to_le_bytes()[..chunk.len()]);
        }
    }
}

const USERS: usize = 3 * BATCH / 2;

/// An installation of its own, and the keys to move from it or to it.
async fn installation(seed: u64, export: &MasterKey) -> (Store, Keys) {
    let random = Arc::new(Counting(AtomicU64::new(seed * 1_000_000)));
    let store = Store::open(Options::memory()).await.unwrap();
    let master = MasterKey::generate(&*random);
    let installation = data_keys::open(&store, &master, &*random, Millis(1)).await.unwrap().unwrap();
    (store, Keys { installation, export: export.clone(), random })
}

fn table(record: &str) -> &'static Table {
    transfer::table(record).unwrap()
}

/// A record with these texts, and something of its type in every other column. What is sealed is `plain`.
fn record(keys: &Keys, table: &'static Table, texts: &[(&str, &str)], plain: &[u8]) -> Record {
    let mut record: Record = table
        .columns
        .iter()
        .map(|column| match column.kind {
            Kind::Text => {
                let given = texts.iter().find(|(name, _)| *name == column.name);
                Field::Text(given.map_or("text", |(_, text)| text).to_owned())
            }
            Kind::Int | Kind::Flag => Field::Int(1),
            Kind::Json => Field::Text("{}".into()),
            Kind::Digest => Field::Bytes(vec![7; 32]),
            Kind::Sealed => Field::Bytes(Vec::new()),
        })
        .collect();
    let context = [table.pool(&record), &table.key_of(&record).join("")].map(str::to_owned);
    for (position, column) in
        table.columns.iter().enumerate().filter(|(_, column)| column.kind == Kind::Sealed)
    {
        let purpose = purpose(table, column.name).unwrap();
        let context = context.each_ref().map(|part| part.as_bytes());
        record[position] = Field::Bytes(keys.installation.seal(purpose, &context, plain, &*keys.random));
    }
    record
}

/// A pool with a client, a key, many users and a session.
async fn fill(store: &Store, keys: &Keys) {
    const POOL: (&str, &str) = ("pool_id", "local_pool");
    let one = |kind, texts: &[(&str, &str)], plain: &[u8]| {
        (table(kind), vec![record(keys, table(kind), &[&[POOL], texts].concat(), plain)])
    };
    let users = (0..USERS)
        .map(|number| record(keys, table("user"), &[POOL, ("sub", &format!("{number:05}"))], b"verifier"))
        .collect();
    let rows = vec![
        one("pool", &[("id", "local_pool")], b""),
        one("app_client", &[("id", "client")], b"the secret"),
        one("signing_key", &[("kid", "key")], b"the private key"),
        (table("user"), users),
        one("token_session", &[("sub", "00000"), ("client_id", "client")], b""),
    ];
    insert(store, rows).await.unwrap();
}

async fn exported(store: &Store, keys: &Keys) -> File {
    let file = tempfile::tempfile().unwrap();
    let counts = export(store, keys.clone(), Millis(5), file.try_clone().unwrap()).await.unwrap();
    assert_eq!(counts["user"], USERS as u64);
    file
}

fn bytes(mut file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

async fn secret(store: &Store, keys: &Keys) -> Option<Vec<u8>> {
    let client = store
        .read((), |(), tx| Box::pin(async move { clients::by_id(tx, &ClientId::new("client")).await }))
        .await
        .unwrap()?;
    let context: [&[u8]; 2] = [b"local_pool", b"client"];
    let sealed = client.sealed_secret.unwrap();
    Some(keys.installation.open(Purpose::ClientSecret, &context, &sealed).unwrap())
}

#[test]
fn every_sealed_column_that_moves_is_sealed_for_something() {
    for table in TABLES {
        for column in table.columns {
            let is_sealed = column.kind == Kind::Sealed;
            assert_eq!(purpose(table, column.name).is_some(), is_sealed, "{} {}", table.name, column.name);
        }
    }
}

#[tokio::test]
async fn what_is_imported_is_sealed_with_the_keys_of_its_new_place_and_exported_again_as_it_was() {
    let key = MasterKey::generate(&Counting(AtomicU64::new(77)));
    let (source, from) = installation(1, &key).await;
    fill(&source, &from).await;
    let file = exported(&source, &from).await;
    let (target, to) = installation(2, &key).await;
    let checked = check(&file, &key).unwrap();
    let imported = import(&target, to.clone(), Millis(9), &file, checked).await.unwrap();
    assert!(!imported.without_sessions);
    assert_eq!(secret(&target, &to).await.unwrap(), b"the secret");
    require_finished(&target).await.unwrap();

    // But for the salts of what is sealed, the files are the same.
    let plain = |file: &File| -> Vec<(&'static str, Record)> {
        let mut reader = reader(file, &key).unwrap();
        let mut records = Vec::new();
        while let Line::Record(table, record) = reader.read().unwrap() {
            let plain = table.columns.iter().zip(record).filter(|(column, _)| column.kind != Kind::Sealed);
            records.push((table.record, plain.map(|(_, field)| field).collect()));
        }
        records
    };
    assert_eq!(plain(&exported(&target, &to).await), plain(&file));

    // A second time there is nothing to add to.
    let checked = check(&file, &key).unwrap();
    let again = import(&target, to.clone(), Millis(9), &file, checked).await.unwrap_err();
    assert!(matches!(again, Error::Taken("pool", _)), "{again}");
    require_finished(&target).await.unwrap();
}

#[tokio::test]
async fn an_import_that_ends_midway_is_out_of_reach_until_it_is_completed_or_given_up() {
    let key = MasterKey::generate(&Counting(AtomicU64::new(77)));
    let (source, from) = installation(1, &key).await;
    fill(&source, &from).await;
    let mut file = exported(&source, &from).await;
    let whole = bytes(&file);
    let (target, to) = installation(2, &key).await;

    // The file is cut between its two readings, after a batch of users.
    let checked = check(&file, &key).unwrap();
    file.set_len(whole.len() as u64 - 10).unwrap();
    let cut = import(&target, to.clone(), Millis(9), &file, checked).await.unwrap_err();
    assert!(matches!(cut, Error::Truncated), "{cut}");
    assert!(matches!(require_finished(&target).await, Err(Error::Unfinished)));
    assert!(secret(&target, &to).await.is_none(), "the pool comes last");
    let refused = export(&target, to.clone(), Millis(5), tempfile::tempfile().unwrap()).await.unwrap_err();
    assert!(matches!(refused, Error::Unfinished), "{refused}");

    // Somebody has changed it so that only its digest tells.
    file.set_len(0).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(&whole).unwrap();
    let checked = Checked { digest: [0; 32], ..check(&file, &key).unwrap() };
    let changed = import(&target, to.clone(), Millis(9), &file, checked).await.unwrap_err();
    assert!(matches!(changed, Error::Changed), "{changed}");
    assert!(abandon(&target, Millis(9)).await.unwrap());
    assert!(!abandon(&target, Millis(9)).await.unwrap());
    require_finished(&target).await.unwrap();
    let empty = target.read((), |(), tx| Box::pin(async move { transfer::is_empty(tx).await })).await;
    assert!(empty.unwrap());

    let checked = check(&file, &key).unwrap();
    let imported = import(&target, to.clone(), Millis(9), &file, checked).await.unwrap();
    assert!(!imported.without_sessions);
    assert_eq!(secret(&target, &to).await.unwrap(), b"the secret");
}

/// With two master keys in force, a digest root could only be exchanged for one of them.
#[tokio::test]
async fn a_digest_root_is_not_adopted_while_the_master_key_is_replaced() {
    let key = MasterKey::generate(&Counting(AtomicU64::new(77)));
    let (source, from) = installation(1, &key).await;
    fill(&source, &from).await;
    let file = exported(&source, &from).await;
    let (target, to) = installation(2, &key).await;
    let other = MasterKey::generate(&*to.random);
    let clock = Still;
    let rotation = data_keys::Rotation {
        store: &target,
        keyring: &to.installation,
        random: &*to.random,
        clock: &clock,
        settle: std::time::Duration::ZERO,
    };
    rotation.begin(&other).await.unwrap();
    let checked = check(&file, &key).unwrap();
    let imported = import(&target, to.clone(), Millis(9), &file, checked).await.unwrap();
    assert!(imported.without_sessions);
    assert_eq!(secret(&target, &to).await.unwrap(), b"the secret");
}

#[derive(Debug)]
struct Still;

impl lido_domain::Clock for Still {
    fn now(&self) -> Millis {
        Millis(1)
    }
}
