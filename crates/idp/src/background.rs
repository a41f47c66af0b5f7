//! What goes on without a request: queued messages, leftovers of deleted pools, rows that expired.

use std::sync::Arc;
use std::time::Duration;

use lido_store::{codes, limits, pools, sessions};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::warn;

use crate::cx::Cx;
use crate::fault::{Error, Result};
use crate::messages::delivery;

/// How often the outbox is looked at. The request that queued a message tries it first, at once.
const OUTBOX_EVERY: Duration = Duration::from_secs(1);
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Rows that one sweep removes in one transaction, so that it holds up nobody.
const BATCH: i64 = 500;

/// The running background; [`stop`](Background::stop) ends it.
#[derive(Debug)]
pub struct Background {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Background {
    /// Lets the round in progress finish.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

/// Starts the background of a server.
pub fn spawn(cx: Arc<Cx>) -> Background {
    let (stop, stopped) = watch::channel(false);
    let outbox = tokio::spawn(every(OUTBOX_EVERY, stopped.clone(), cx.clone(), |cx| async move {
        while delivery::deliver_due(&cx).await? > 0 {}
        Ok(())
    }));
    let sweep = tokio::spawn(every(SWEEP_EVERY, stopped, cx, |cx| async move { sweep(&cx).await }));
    Background { stop, tasks: vec![outbox, sweep] }
}

async fn every<F>(period: Duration, mut stopped: watch::Receiver<bool>, cx: Arc<Cx>, round: fn(Arc<Cx>) -> F)
where
    F: Future<Output = Result<()>> + Send,
{
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            () = tokio::time::sleep(period) => {}
        }
        if let Err(error) = round(cx.clone()).await {
            warn!(error = &error as &dyn std::error::Error, "a background round failed");
        }
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
                    Ok::<_, Error>(codes + sessions + limits::sweep(tx, *now, BATCH).await?)
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
    Ok(())
}
