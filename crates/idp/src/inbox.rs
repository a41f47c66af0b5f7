//! Development mode's inbox, in the shape of the control API.

use std::time::Duration;

use lido_domain::Message;
use lido_store::messages::{self, InboxQuery};
use serde_json::{Value, json};

use crate::cx::Cx;
use crate::fault::{Error, Result};
use crate::messages::delivery;

/// Which messages to list; an empty field matches all.
#[derive(Clone, Debug, Default)]
pub struct Query {
    pub user_pool_id: String,
    pub username: String,
    pub destination: String,
    pub medium: String,
    /// With `wait`: messages newer than this id count, instead of those that arrive from now on.
    pub after: Option<String>,
    /// How long to wait for a message that matches.
    pub wait: Duration,
}

/// Longest wait that is granted.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Most messages in one answer.
const MOST: i64 = 1_000;

/// Messages, newest first. With `wait`, only those that are new, as soon as there is one; none when the
/// time is up.
pub async fn list(cx: &Cx, query: &Query) -> Result<Vec<Value>> {
    let mut filter = InboxQuery {
        pool: query.user_pool_id.clone(),
        username: query.username.clone(),
        destination: query.destination.clone(),
        medium: query.medium.clone(),
        after: query.after.clone().unwrap_or_default(),
        limit: MOST,
    };
    if query.wait.is_zero() {
        return find(cx, &filter).await;
    }
    if query.after.is_none() {
        filter.after = cx
            .store
            .read((), |(), tx| Box::pin(async move { Ok::<_, Error>(messages::newest(tx).await?) }))
            .await?;
    }
    let deadline = tokio::time::Instant::now() + query.wait.min(LONGEST_WAIT);
    loop {
        // Registered before the look, so that what arrives in between is not missed.
        let arrival = cx.inbox_arrival.notified();
        tokio::pin!(arrival);
        arrival.as_mut().enable();
        let found = find(cx, &filter).await?;
        if !found.is_empty() || tokio::time::Instant::now() >= deadline {
            return Ok(found);
        }
        // What another node receives wakes nobody here.
        let look_again = deadline.min(tokio::time::Instant::now() + LOOK_EVERY);
        let _ = tokio::time::timeout_at(look_again, arrival).await;
    }
}

async fn find(cx: &Cx, filter: &InboxQuery) -> Result<Vec<Value>> {
    let received = cx
        .store
        .read(filter.clone(), |filter, tx| {
            Box::pin(async move { Ok::<_, Error>(messages::inbox(tx, filter).await?) })
        })
        .await?;
    received.iter().map(|received| Ok(shape(&delivery::open(cx, &received.id, &received.sealed)?))).collect()
}

fn shape(message: &Message) -> Value {
    let mut shape = json!({
        "id": message.id,
        "createdAt": message.created.seconds(),
        "userPoolId": message.pool.as_str(),
        "username": message.username,
        "medium": message.medium.as_str(),
        "destination": message.destination,
        "source": message.source,
        "body": message.body,
    });
    if let Some(client) = &message.client {
        shape["clientId"] = client.as_str().into();
    }
    if let Some(subject) = &message.subject {
        shape["subject"] = subject.as_str().into();
    }
    if let Some(code) = &message.code {
        shape["code"] = code.as_str().into();
    }
    shape
}

/// Empties the inbox.
pub async fn clear(cx: &Cx) -> Result<()> {
    cx.store
        .write((), |(), tx| {
            Box::pin(async move {
                messages::empty_inbox(tx).await?;
                Ok::<_, Error>(())
            })
        })
        .await
}
