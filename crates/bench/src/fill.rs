//! Many users in a short time: rows like those that the server made of one user, many to a transaction.

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use lido_store::transfer::{self, Field, Record, Table};
use lido_store::{Error, Store};

use crate::machine::random;

/// Users of one transaction, and transactions at once. An embedded store runs one at a time, while the next one is
/// prepared.
const BATCH: usize = 4096;
const AT_ONCE: usize = 4;

/// By this the number in a user's name follows that of the user before: a prime that is no factor of any number of
/// users that is allowed. It is not the one by which workloads go through the names: they would find the users side
/// by side.
const STRIDE: usize = 32_452_843;

/// The rows of one user.
#[derive(Clone, Debug)]
struct Template {
    user: Record,
    /// Every name that signs the user in.
    names: Vec<Record>,
    sub: String,
    name: String,
}

/// Gives the pool, in which `name(0)` is the only user, the users 1 up to but without `users`. They are that user
/// under other names: they have rows as long as anybody's, but nobody knows their password.
///
/// They are stored in the order of their subs, since most indexes have the sub in front: with each user somewhere
/// else, every page of a large index would be written once for every few users. Names and subs have nothing to do
/// with each other, as in any pool.
pub(crate) async fn fill(store: &Store, pool: &str, users: usize, name: fn(usize) -> String) -> Result<()> {
    let template = Template::read(store, pool, name(0)).await?;
    let step = (users / 10).max(BATCH);
    let mut announced = 0;
    stream::iter((1..users).step_by(BATCH))
        .map(|first| {
            if first >= announced + step {
                announced = first;
                eprintln!("users: {first} of {users}");
            }
            // Not before its turn: a batch has megabytes.
            let template = &template;
            async move {
                let batch = first..users.min(first + BATCH);
                let batch = batch.map(|place| (name(place.wrapping_mul(STRIDE) % users), sub(place, users)));
                template.write(store, batch).await
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await
}

impl Template {
    async fn read(store: &Store, pool: &str, name: String) -> Result<Self> {
        let rows: Result<_, Error> = store
            .read(pool.to_owned(), |pool, tx| {
                Box::pin(async move {
                    let users = transfer::page(tx, table("user"), pool, None, 2).await?;
                    let names = transfer::page(tx, table("sign_in_name"), pool, None, 100).await?;
                    Ok((users, names))
                })
            })
            .await;
        let (mut users, names) = rows?;
        ensure!(users.len() <= 1, "the pool has several users already");
        let user = users.pop().context("the pool has no user to begin with")?;
        let column = |column| user[table("user").position(column)].as_text().to_owned();
        ensure!(column("username") == name, "the pool's user is not {name}");
        Ok(Self { sub: column("sub"), user, names, name })
    }

    /// The same rows for somebody else: addresses follow the name.
    fn of(&self, row: &Record, name: &str, sub: &str) -> Record {
        let replaced = |field: &Field| match field {
            Field::Text(text) => Field::Text(text.replace(&self.name, name).replace(&self.sub, sub)),
            other => other.clone(),
        };
        row.iter().map(replaced).collect()
    }

    async fn write(&self, store: &Store, batch: impl Iterator<Item = (String, String)>) -> Result<()> {
        let (mut users, mut sign_in_names) = (Vec::new(), Vec::new());
        for (name, sub) in batch {
            users.push(self.of(&self.user, &name, &sub));
            sign_in_names.extend(self.names.iter().map(|row| self.of(row, &name, &sub)));
        }
        let written: Result<(), Error> = store
            .write((users, sign_in_names), |(users, names), tx| {
                Box::pin(async move {
                    transfer::insert_all(tx, table("user"), users).await?;
                    transfer::insert_all(tx, table("sign_in_name"), names).await
                })
            })
            .await;
        written.context("users cannot be stored")
    }
}

fn table(record: &str) -> &'static Table {
    transfer::table(record).expect("the store has users, and names that sign them in")
}

/// A random UUID, as users have: the one at this place when all of them are in order.
fn sub(place: usize, of: usize) -> String {
    let bytes: [u8; 16] = random();
    // Behind these 48 bits comes the version, which is the same in all.
    let front = (((place as u128) << 48) | u128::from_be_bytes(bytes) >> 80) / of as u128;
    let rest = u128::from_be_bytes(bytes) & ((1 << 80) - 1);
    let mut bytes = (front << 80 | rest).to_be_bytes();
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use lido_domain::{Attributes, Millis, PoolId, Sub, User, UserStatus};
    use lido_store::users::SignInName;
    use lido_store::{Options, users};

    use super::*;
    use crate::prepare::{email, name};

    #[tokio::test]
    async fn users_are_copies_under_other_names() {
        let store = Store::open(Options::memory()).await.unwrap();
        let pool = PoolId::new("local_pool");
        let first = User {
            pool: pool.clone(),
            sub: Sub::new(sub(0, 1)),
            username: name(0),
            attributes: Attributes::from([("email".to_owned(), email(0))]),
            pending: Attributes::new(),
            status: UserStatus::ForceChangePassword,
            enabled: true,
            created: Millis(1),
            updated: Millis(1),
            password: Some(vec![7; 100]),
            password_set: Millis(1),
            password_history: None,
            signed_out: Millis(0),
            mfa: Default::default(),
            totp_secret: None,
            totp_pending: None,
            revision: 1,
        };
        let inserted: Result<bool, Error> = store
            .write(first.clone(), |first, tx| {
                Box::pin(async move {
                    users::insert(tx, first).await?;
                    let name = SignInName { kind: "username", name: first.username.clone() };
                    users::claim(tx, &first.pool, &first.sub, &name).await
                })
            })
            .await;
        assert!(inserted.unwrap());
        let count = 2 * BATCH + 3;
        fill(&store, pool.as_str(), count, name).await.unwrap();

        let found: Result<_, Error> = store
            .read((pool, count), |(pool, count), tx| {
                Box::pin(async move {
                    let last = users::by_name(tx, pool, &name(count - 1)).await?;
                    let beyond = users::by_name(tx, pool, &name(*count)).await?;
                    let number = |row: &lido_store::Row<'_>| row.int(0);
                    let counts = [
                        tx.first("SELECT count(*) FROM users", &[], number).await?,
                        tx.first("SELECT count(DISTINCT sub) FROM user_names", &[], number).await?,
                        tx.first("SELECT count(DISTINCT value) FROM user_search", &[], number).await?,
                    ];
                    Ok((last, beyond, counts))
                })
            })
            .await;
        let (last, beyond, counts) = found.unwrap();
        let last = last.unwrap();
        assert_eq!(last.attributes["email"], email(count - 1));
        assert_ne!(last.sub, first.sub);
        let renamed =
            User { sub: first.sub.clone(), username: name(0), attributes: first.attributes.clone(), ..last };
        assert_eq!((renamed, beyond), (first, None));
        assert_eq!(counts, [Some(count as i64); 3]);
    }

    #[test]
    fn subs_look_like_subs_and_are_in_order() {
        let subs: Vec<String> = (0..1000).map(|place| sub(place, 1000)).collect();
        for sub in &subs {
            let groups: Vec<usize> = sub.split('-').map(str::len).collect();
            assert_eq!(groups, [8, 4, 4, 4, 12]);
            assert_eq!(&sub[14..15], "4");
        }
        assert!(subs.is_sorted());
        assert!(subs[0].starts_with("00") && subs[999].starts_with("ff"));
    }
}
