//! From a prepared message to the hands of a transport: queued in the commit of its code, tried once
//! while the caller waits, then by the background.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lido_crypto::keys::Purpose;
use lido_domain::ports::SendError;
use lido_domain::{Message, Sub, Transport};
use lido_store::codes::{self, Code};
use lido_store::messages::{self, Outgoing, Received};
use lido_store::{Tx, messages as outbox};
use lido_wire::types::CodeDeliveryDetailsType;
use std::sync::Arc;
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::cx::{Channel, Cx};
use crate::fault::{self, Error, Result};

/// How long one attempt may take before another node may try the message. Longer than any transport's
/// own time limits together.
const LEASE: Duration = Duration::from_secs(120);

/// A message that is written and sealed, and has not been stored yet.
#[derive(Clone, Debug)]
pub struct Prepared {
    message: Message,
    sealed: Vec<u8>,
    sub: Sub,
    code: Option<Code>,
    route: Route,
    to_inbox: bool,
    details: CodeDeliveryDetailsType,
    now: lido_domain::Millis,
}

#[derive(Clone, Debug)]
enum Route {
    /// The inbox is all there is.
    Inbox,
    /// No transport: the message will be refused.
    None,
    Transport(Arc<dyn Transport>),
}

/// Message ids grow with time, whatever the development clock says: they order the inbox.
pub(crate) fn new_id(cx: &Cx) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    #[expect(clippy::disallowed_methods, reason = "an order of arrival, not a time that anything expires by")]
    let micros = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |elapsed| u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX));
    let mut random = [0_u8; 6];
    cx.random.fill(&mut random);
    let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{micros:016x}{:08x}{random}", COUNTER.fetch_add(1, Ordering::Relaxed))
}

fn seal_context(message_id: &str) -> [&[u8]; 1] {
    [message_id.as_bytes()]
}

/// The message behind its sealed form.
pub(crate) fn open(cx: &Cx, id: &str, sealed: &[u8]) -> Result<Message> {
    let plain = cx.keyring.open(Purpose::Message, &seal_context(id), sealed).map_err(Error::internal)?;
    serde_json::from_slice(&plain).map_err(Error::internal)
}

impl Prepared {
    pub(crate) fn new(
        cx: &Cx,
        message: Message,
        sub: Sub,
        code: Option<Code>,
        channel: &Channel,
        details: CodeDeliveryDetailsType,
    ) -> Self {
        let plain = serde_json::to_vec(&message).expect("a message is always JSON");
        let sealed = cx.keyring.seal(Purpose::Message, &seal_context(&message.id), &plain, &*cx.random);
        let route = match channel {
            Channel::Inbox => Route::Inbox,
            Channel::None => Route::None,
            Channel::Transport(transport) => Route::Transport(transport.clone()),
        };
        Self { sealed, message, sub, code, route, to_inbox: cx.delivery.inbox, details, now: cx.now() }
    }

    /// Stores the code and queues the message, in the caller's transaction. A message that nothing will
    /// take brings no code: none is left valid.
    pub async fn post(&self, tx: &mut Tx) -> lido_store::Result<()> {
        let message = &self.message;
        if let (Some(code), false) = (&self.code, matches!(self.route, Route::None)) {
            codes::put(tx, &message.pool, &self.sub, code).await?;
        }
        if self.to_inbox {
            messages::receive(
                tx,
                &Received {
                    id: message.id.clone(),
                    created: message.created,
                    pool: message.pool.clone(),
                    username: message.username.clone(),
                    destination: message.destination.clone(),
                    medium: message.medium,
                    sealed: self.sealed.clone(),
                },
            )
            .await?;
        }
        if let Route::Transport(_) = self.route {
            let outgoing = Outgoing {
                id: message.id.clone(),
                pool: message.pool.clone(),
                medium: message.medium,
                sealed: self.sealed.clone(),
                attempts: 0,
            };
            outbox::push(tx, &outgoing, self.now, self.now + LEASE).await?;
        }
        Ok(())
    }

    /// Stores and delivers a message that is all there is to write. `heard`: whether the caller may learn what
    /// becomes of it.
    pub async fn send(self, cx: &Cx, heard: bool) -> Result<CodeDeliveryDetailsType> {
        cx.store
            .write(self.clone(), |message, tx| {
                Box::pin(async move { Ok::<_, Error>(message.post(tx).await?) })
            })
            .await?;
        if heard { self.deliver(cx).await } else { Ok(self.deliver_unheard(cx)) }
    }

    /// After the commit, where the caller must not learn what becomes of the message: nothing is waited for, and
    /// a failure is the log's alone.
    pub(crate) fn deliver_unheard(self, cx: &Cx) -> CodeDeliveryDetailsType {
        let details = self.details.clone();
        let cx = cx.strong();
        tokio::spawn(async move {
            if let Err(error) = self.deliver(&cx).await {
                warn!(error = &error as &dyn std::error::Error, "a message was not delivered");
            }
        });
        details
    }

    /// After the commit: waits for the first attempt, at most as long as configured.
    ///
    /// A refusal voids the code and is [`fault::code_delivery_failed`]. No answer in time, or a provider that
    /// cannot be reached, is success: the background goes on.
    pub async fn deliver(self, cx: &Cx) -> Result<CodeDeliveryDetailsType> {
        if self.to_inbox {
            cx.inbox_arrival.notify_waiters();
        }
        match &self.route {
            Route::Inbox => Ok(self.details),
            Route::None => Err(fault::code_delivery_failed(self.message.medium).into()),
            Route::Transport(transport) => {
                let (reply, answer) = oneshot::channel();
                let (medium, details) = (self.message.medium, self.details.clone());
                let attempt =
                    FirstAttempt { cx: cx.strong(), transport: transport.clone(), prepared: self, reply };
                let wait = attempt.cx.delivery.answer_within;
                // It goes on when nobody waits any more, but the end of the server waits for it.
                cx.deliveries.spawn(attempt.run());
                match tokio::time::timeout(wait, answer).await {
                    Ok(Ok(Outcome::Refused)) => Err(fault::code_delivery_failed(medium).into()),
                    _ => Ok(details),
                }
            }
        }
    }
}

enum Outcome {
    Taken,
    Refused,
}

/// The attempt that a caller waits for.
struct FirstAttempt {
    cx: Arc<Cx>,
    transport: Arc<dyn Transport>,
    prepared: Prepared,
    reply: oneshot::Sender<Outcome>,
}

impl FirstAttempt {
    async fn run(self) {
        let Self { cx, transport, prepared, reply } = self;
        let message = prepared.message;
        let recorded = match transport.send(&message).await {
            Err(SendError::Refused { reason }) if !reply.is_closed() => {
                info!(message.id, medium = message.medium.as_str(), reason, "a message was refused");
                let captures = (message, prepared.sub, prepared.code);
                let voided = cx
                    .store
                    .write(captures, |(message, sub, code), tx| {
                        Box::pin(async move {
                            outbox::remove(tx, &message.id).await?;
                            if let Some(code) = code {
                                codes::void(tx, &message.pool, sub, &code.purpose, &code.digest).await?;
                            }
                            Ok::<_, Error>(())
                        })
                    })
                    .await;
                let _ = reply.send(Outcome::Refused);
                voided
            }
            outcome => {
                let _ = reply.send(Outcome::Taken);
                record(&cx, &message.id, 0, outcome).await
            }
        };
        if let Err(error) = recorded {
            // The lease runs out and the background tries again.
            warn!(error = &error as &dyn std::error::Error, "the outcome of a delivery was not recorded");
        }
    }
}

/// Records what became of an attempt: sent, to be tried again, or given up.
pub(crate) async fn record(cx: &Cx, id: &str, attempts: i64, outcome: Result<(), SendError>) -> Result<()> {
    let now = cx.now();
    let retry = usize::try_from(attempts).ok().and_then(|tried| cx.delivery.retry.get(tried)).copied();
    cx.store
        .write((id.to_owned(), outcome, retry, now), |(id, outcome, retry, now), tx| {
            Box::pin(async move {
                match (outcome, retry) {
                    (Ok(()), _) => outbox::remove(tx, id).await?,
                    (Err(SendError::Unavailable { reason }), Some(after)) => {
                        outbox::postpone(tx, id, *now + *after, reason).await?;
                    }
                    (Err(SendError::Unavailable { reason } | SendError::Refused { reason }), _) => {
                        warn!(message.id = id, reason, "a message was given up");
                        outbox::bury(tx, id, *now, reason).await?;
                    }
                }
                Ok::<_, Error>(())
            })
        })
        .await
}

/// One round of the background: tries every message that is due. Returns how many there were.
pub(crate) async fn deliver_due(cx: &Cx) -> Result<usize> {
    const BATCH: i64 = 32;
    let now = cx.now();
    let is_due = cx
        .store
        .read(now, |now, tx| Box::pin(async move { Ok::<_, Error>(outbox::is_due(tx, *now).await?) }))
        .await?;
    if !is_due {
        return Ok(0);
    }
    let due = cx
        .store
        .write(now, |now, tx| {
            Box::pin(async move { Ok::<_, Error>(outbox::lease(tx, *now, *now + LEASE, BATCH).await?) })
        })
        .await?;
    let count = due.len();
    futures_util::future::join_all(due.into_iter().map(|outgoing| attempt(cx, outgoing))).await;
    Ok(count)
}

async fn attempt(cx: &Cx, outgoing: Outgoing) {
    let channel = match outgoing.medium {
        lido_domain::Medium::Email => &cx.delivery.email,
        lido_domain::Medium::Sms => &cx.delivery.sms,
    };
    let outcome = match (channel, open(cx, &outgoing.id, &outgoing.sealed)) {
        (Channel::Transport(transport), Ok(message)) => transport.send(&message).await,
        (Channel::Inbox | Channel::None, Ok(_)) => {
            Err(SendError::Refused { reason: "no transport is configured any more".into() })
        }
        (_, Err(error)) => Err(SendError::Refused { reason: error.to_string() }),
    };
    if let Err(error) = record(cx, &outgoing.id, outgoing.attempts, outcome).await {
        warn!(error = &error as &dyn std::error::Error, "the outcome of a delivery was not recorded");
    }
}
