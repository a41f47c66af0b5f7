//! What goes on without a request: queued messages, leftovers of deleted pools, rows that expired.

use std::sync::Arc;
use std::time::Duration;

use lido_store::{codes, keys, limits, messages, pools, sessions};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::cx::Cx;
use crate::data_keys;
use crate::fault::{Error, Result};
use crate::messages::delivery;
use crate::tokens::keys::VERIFIES_FOR;

/// How often the outbox is looked at. The request that queued a message tries it first, at once.
const OUTBOX_EVERY: Duration = Duration::from_secs(1);
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Rows that one sweep removes in one transaction, so that it holds up nobody.
const BATCH: i64 = 500;

/// The running background; [`stop`](Background::stop) ends it.
#[derive(Debug)]
pub struct Background {
    stop: watch::Sender<bool>,
    /// The first attempts to deliver, which requests have begun.
    deliveries: TaskTracker,
    tasks: Vec<JoinHandle<()>>,
}

impl Background {
    /// Lets the deliveries and the rounds in progress finish: a message that a transport took must be recorded as
    /// sent, or the next start sends it again. To be called when there are no more requests.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        self.deliveries.close();
        self.deliveries.wait().await;
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

/// Starts the background of a server.
pub fn spawn(cx: Arc<Cx>) -> Background {
    let (stop, stopped) = watch::channel(false);
    let deliveries = cx.deliveries.clone();
    let outbox = tokio::spawn(every(OUTBOX_EVERY, stopped.clone(), cx.clone(), |cx| async move {
        Ok(if delivery::deliver_due(&cx).await? > 0 { Next::AtOnce } else { Next::Later })
    }));
    let data_keys =
        tokio::spawn(every(data_keys::RELOAD_EVERY, stopped.clone(), cx.clone(), |cx| async move {
            data_keys::reload(&cx.store, &cx.keyring).await?;
            Ok(Next::Later)
        }));
    let sweep = tokio::spawn(every(SWEEP_EVERY, stopped, cx, |cx| async move {
        sweep(&cx).await?;
        Ok(Next::Later)
    }));
    Background { stop, deliveries, tasks: vec![outbox, data_keys, sweep] }
}

/// When the next round is due.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// There is more to do.
    AtOnce,
    Later,
}

async fn every<F>(period: Duration, mut stopped: watch::Receiver<bool>, cx: Arc<Cx>, round: fn(Arc<Cx>) -> F)
where
    F: Future<Output = Result<Next>> + Send,
{
    let mut next = Next::Later;
    loop {
        let rest = match next {
            Next::AtOnce => Duration::ZERO,
            Next::Later => period,
        };
        tokio::select! {
            biased;
            _ = stopped.changed() => return,
            () = tokio::time::sleep(rest) => {}
        }
        next = round(cx.clone()).await.unwrap_or_else(|error| {
            warn!(error = &error as &dyn std::error::Error, "a background round failed");
            Next::Later
        });
    }
}

/// Removes what has expired and what deleted pools left.
pub async fn sweep(cx: &Cx) -> Result<()> {
    let now = cx.now();
    loop {
        let removed = cx
            .store
            .write(now, |now, tx| {
                Box::pin(async move {
                    let codes = codes::sweep(tx, *now, BATCH).await?;
                    let sessions = sessions::sweep(tx, *now, BATCH).await?;
                    let messages = messages::sweep(tx, *now, BATCH).await?;
                    let keys = keys::sweep(tx, *now - VERIFIES_FOR, BATCH).await?;
                    Ok::<_, Error>(codes + sessions + messages + keys + limits::sweep(tx, *now, BATCH).await?)
                })
            })
            .await?;
        if removed == 0 {
            break;
        }
    }
    let deleted = cx
        .store
        .read((), |(), tx| Box::pin(async move { Ok::<_, Error>(pools::deleted(tx).await?) }))
        .await?;
    for pool in deleted {
        loop {
            let done = cx
                .store
                .write(pool.clone(), |pool, tx| {
                    Box::pin(async move { Ok::<_, Error>(pools::purge(tx, pool, BATCH).await?) })
                })
                .await?;
            if done {
                break;
            }
        }
    }
    data_keys::tend(cx).await
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use lido_domain::ports::SendError;
    use lido_domain::records::Sender;
    use lido_domain::{Medium, Message, Millis, PoolId, Sub, Transport};
    use lido_wire::types::CodeDeliveryDetailsType;
    use tokio::sync::Notify;

    use super::*;
    use crate::cx::Channel;
    use crate::messages::delivery::Prepared;
    use crate::seed::tests::context_with;

    /// Takes a message when it is told to.
    #[derive(Debug, Default)]
    struct Held {
        begun: Notify,
        go_on: Notify,
        taken: Mutex<Vec<String>>,
    }

    #[async_trait]
    impl Transport for Held {
        async fn send(&self, message: &Message) -> Result<(), SendError> {
            self.begun.notify_one();
            self.go_on.notified().await;
            self.taken.lock().unwrap().push(message.id.clone());
            Ok(())
        }
    }

    fn message() -> Message {
        Message {
            id: "1".into(),
            created: Millis(0),
            pool: PoolId::new("local_pool"),
            client: None,
            username: "ana".into(),
            medium: Medium::Email,
            destination: "ana@example.com".into(),
            source: "CustomMessage_SignUp".into(),
            subject: None,
            body: "Hello".into(),
            code: None,
            sender: Sender::default(),
        }
    }

    #[tokio::test]
    async fn the_end_waits_for_a_delivery_that_its_caller_does_not_wait_for() {
        let held = Arc::new(Held::default());
        let cx = context_with(Channel::Transport(held.clone()), Duration::ZERO).await;
        let details = CodeDeliveryDetailsType::default();
        let prepared = Prepared::new(&cx, message(), Sub::new("ana"), None, &cx.delivery.email, details);
        cx.store
            .write(prepared.clone(), |prepared, tx| Box::pin(async move { prepared.post(tx).await }))
            .await
            .unwrap();
        let background = spawn(Arc::clone(&cx));
        prepared.deliver(&cx).await.unwrap();
        held.begun.notified().await;

        let stop = tokio::spawn(background.stop());
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!stop.is_finished());
        held.go_on.notify_one();
        stop.await.unwrap();
        assert_eq!(*held.taken.lock().unwrap(), ["1"]);
        let waiting =
            cx.store.read((), |(), tx| Box::pin(async move { messages::outbox_counts(tx).await })).await;
        assert_eq!(waiting.unwrap(), (0, 0), "it is recorded as sent");
    }
}
