//! The outbox, from which transports are fed, and development mode's inbox. Content is sealed.

use lido_domain::{Medium, Millis, PoolId};

use crate::{Error, Result, Row, Tx, bounded, params};

/// A message that waits for its transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub id: String,
    pub pool: PoolId,
    pub medium: Medium,
    pub sealed: Vec<u8>,
    pub attempts: i64,
}

/// Queues a message and leases it to the caller until `leased_until`.
pub async fn push(tx: &mut Tx, message: &Outgoing, now: Millis, leased_until: Millis) -> Result<()> {
    tx.exec(
        "INSERT INTO outbox (id, pool_id, medium, sealed, attempts, due_ms, leased_until_ms, last_error) \
         VALUES ($1, $2, $3, $4, 0, $5, $6, '')",
        params![&message.id, &message.pool, message.medium.as_str(), &message.sealed, now, leased_until],
    )
    .await?;
    Ok(())
}

/// Whether there is something to lease: a look costs less than a write that finds nothing.
pub async fn is_due(tx: &mut Tx, now: Millis) -> Result<bool> {
    let found = tx
        .first(
            "SELECT 1 FROM outbox WHERE due_ms <= $1 AND leased_until_ms <= $1 AND dead_ms IS NULL LIMIT 1",
            params![now],
            |_| Ok(()),
        )
        .await?;
    Ok(found.is_some())
}

/// Leases due messages to the caller: nobody else gets them before `leased_until`.
pub async fn lease(tx: &mut Tx, now: Millis, leased_until: Millis, limit: i64) -> Result<Vec<Outgoing>> {
    tx.query(
        "UPDATE outbox SET leased_until_ms = $1 WHERE id IN (SELECT id FROM outbox WHERE due_ms <= $2 \
         AND leased_until_ms <= $2 AND dead_ms IS NULL ORDER BY due_ms LIMIT $3) \
         AND leased_until_ms <= $2 RETURNING id, pool_id, medium, sealed, attempts",
        params![leased_until, now, limit],
        outgoing,
    )
    .await
}

fn outgoing(row: &Row<'_>) -> Result<Outgoing> {
    Ok(Outgoing {
        id: row.text(0)?,
        pool: PoolId::new(row.text(1)?),
        medium: Medium::parse(&row.text(2)?).ok_or_else(|| Error::corrupt("unknown medium"))?,
        sealed: row.bytes(3)?,
        attempts: row.int(4)?,
    })
}

/// Removes a message: it was sent, or refused while its caller still waited.
pub async fn remove(tx: &mut Tx, id: &str) -> Result<()> {
    tx.exec("DELETE FROM outbox WHERE id = $1", params![id]).await?;
    Ok(())
}

/// Puts a message back for a later attempt.
pub async fn postpone(tx: &mut Tx, id: &str, due: Millis, error: &str) -> Result<()> {
    tx.exec(
        "UPDATE outbox SET attempts = attempts + 1, due_ms = $1, leased_until_ms = 0, last_error = $2 \
         WHERE id = $3",
        params![due, error, id],
    )
    .await?;
    Ok(())
}

/// How long a message that was given up stays. Milliseconds.
pub const DEAD_KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// Gives a message up; it stays for a while to be looked at. It is never due again, so that [`lease`] does not
/// come across it.
pub async fn bury(tx: &mut Tx, id: &str, now: Millis, error: &str) -> Result<()> {
    tx.exec(
        "UPDATE outbox SET attempts = attempts + 1, due_ms = $1, dead_ms = $2, last_error = $3 WHERE id = $4",
        params![Millis(i64::MAX), now, error, id],
    )
    .await?;
    Ok(())
}

/// Drops messages that were given up [`DEAD_KEPT_MS`] before `now`, at most `batch`; returns how many.
pub async fn sweep(tx: &mut Tx, now: Millis, batch: i64) -> Result<u64> {
    tx.exec(
        "DELETE FROM outbox WHERE id IN \
         (SELECT id FROM outbox WHERE dead_ms < $1 ORDER BY dead_ms LIMIT $2)",
        params![Millis(now.0 - DEAD_KEPT_MS), batch],
    )
    .await
}

/// How many messages wait, and how many were given up.
pub async fn outbox_counts(tx: &mut Tx) -> Result<(i64, i64)> {
    let counts = tx
        .first(
            "SELECT count(CASE WHEN dead_ms IS NULL THEN 1 END), count(dead_ms) FROM outbox",
            params![],
            |row| Ok((row.int(0)?, row.int(1)?)),
        )
        .await?;
    Ok(counts.unwrap_or_default())
}

/// A message in the inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub id: String,
    pub created: Millis,
    pub pool: PoolId,
    pub username: String,
    /// To search by: at most [`bounded::LONGEST`] bytes come back.
    pub destination: String,
    pub medium: Medium,
    pub sealed: Vec<u8>,
}

/// Which messages to list; an empty field matches all.
#[derive(Clone, Debug, Default)]
pub struct InboxQuery {
    pub pool: String,
    pub username: String,
    pub destination: String,
    pub medium: String,
    /// Only messages after this id.
    pub after: String,
    pub limit: i64,
}

pub async fn receive(tx: &mut Tx, message: &Received) -> Result<()> {
    tx.exec(
        "INSERT INTO inbox (id, created_ms, pool_id, username, destination, medium, sealed) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        params![
            &message.id,
            message.created,
            &message.pool,
            &message.username,
            bounded::prefix(&message.destination),
            message.medium.as_str(),
            &message.sealed
        ],
    )
    .await?;
    Ok(())
}

/// Messages of the inbox, newest first.
pub async fn inbox(tx: &mut Tx, query: &InboxQuery) -> Result<Vec<Received>> {
    tx.query(
        "SELECT id, created_ms, pool_id, username, destination, medium, sealed FROM inbox \
         WHERE ($1 = '' OR pool_id = $1) AND ($2 = '' OR username = $2) AND ($3 = '' OR destination = $3) \
         AND ($4 = '' OR medium = $4) AND id > $5 ORDER BY id DESC LIMIT $6",
        params![
            &query.pool,
            &query.username,
            bounded::prefix(&query.destination),
            &query.medium,
            &query.after,
            query.limit
        ],
        |row| {
            Ok(Received {
                id: row.text(0)?,
                created: row.millis(1)?,
                pool: PoolId::new(row.text(2)?),
                username: row.text(3)?,
                destination: row.text(4)?,
                medium: Medium::parse(&row.text(5)?).ok_or_else(|| Error::corrupt("unknown medium"))?,
                sealed: row.bytes(6)?,
            })
        },
    )
    .await
}

/// The id of the newest message; empty when there is none.
pub async fn newest(tx: &mut Tx) -> Result<String> {
    Ok(tx
        .first("SELECT id FROM inbox ORDER BY id DESC LIMIT 1", params![], |row| row.text(0))
        .await?
        .unwrap_or_default())
}

pub async fn empty_inbox(tx: &mut Tx) -> Result<u64> {
    tx.exec("DELETE FROM inbox", params![]).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, Store};

    async fn push_one(tx: &mut Tx, id: &str) -> Result<()> {
        let message = Outgoing {
            id: id.into(),
            pool: PoolId::new("local_pool"),
            medium: Medium::Email,
            sealed: vec![1, 2, 3],
            attempts: 0,
        };
        push(tx, &message, Millis(0), Millis(0)).await
    }

    #[tokio::test]
    async fn what_was_given_up_is_not_due_and_goes_after_a_month() {
        let store = Store::open(Options::memory()).await.unwrap();
        let done: Result<()> = store
            .write((), |(), tx| {
                Box::pin(async move {
                    for id in ["a", "b", "c"] {
                        push_one(tx, id).await?;
                    }
                    bury(tx, "a", Millis(5), "refused").await?;
                    bury(tx, "b", Millis(6), "refused").await?;
                    let due = lease(tx, Millis(i64::MAX - 1), Millis(i64::MAX), 10).await?;
                    assert_eq!(due.iter().map(|message| message.id.as_str()).collect::<Vec<_>>(), ["c"]);
                    assert_eq!(outbox_counts(tx).await?, (1, 2));
                    let due = tx
                        .query("SELECT due_ms FROM outbox WHERE dead_ms = 5", params![], |row| row.int(0))
                        .await?;
                    assert_eq!(due, [i64::MAX]);
                    assert_eq!(sweep(tx, Millis(5 + DEAD_KEPT_MS), 10).await?, 0);
                    assert_eq!(sweep(tx, Millis(7 + DEAD_KEPT_MS), 1).await?, 1);
                    assert_eq!(sweep(tx, Millis(7 + DEAD_KEPT_MS), 10).await?, 1);
                    assert_eq!(outbox_counts(tx).await?, (1, 0));
                    Ok(())
                })
            })
            .await;
        done.unwrap();
    }
}
