//! A mail server that keeps what it is given, or refuses it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

/// A message that arrived.
#[derive(Clone, Debug)]
pub struct Mail {
    pub from: String,
    pub to: String,
    /// Header and body, as sent.
    pub data: String,
}

#[derive(Debug, Default)]
struct Inner {
    mails: Mutex<Vec<Mail>>,
    arrived: Notify,
    /// What every recipient is answered, unless accepted.
    refusal: Mutex<Option<String>>,
    /// While true, recipients are not answered.
    holding: watch::Sender<bool>,
    /// How many recipients were named so far.
    named: watch::Sender<usize>,
}

/// Speaks SMTP on a port of its own for as long as the test's runtime lives.
#[derive(Clone, Debug)]
pub struct MailServer {
    inner: Arc<Inner>,
    port: u16,
}

impl MailServer {
    pub async fn start() -> Self {
        let inner = Arc::<Inner>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = inner.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, shared.clone()));
            }
        });
        Self { inner, port }
    }

    /// The section of `lido.toml` that sends e-mail here.
    pub fn config(&self) -> String {
        format!(
            "[delivery.email]\ntransport = \"smtp\"\nurl = \"smtp://127.0.0.1:{}\"\n\
             from = \"Lido <no-reply@example.com>\"\n",
            self.port
        )
    }

    /// Answers recipients with this line from now on (`550 no such mailbox`); with none, accepts them.
    pub fn refuse(&self, with: Option<&str>) {
        *self.inner.refusal.lock().unwrap_or_else(PoisonError::into_inner) = with.map(str::to_owned);
    }

    /// Leaves recipients without an answer from now on, or answers all who wait for one.
    pub fn hold(&self, holding: bool) {
        self.inner.holding.send_replace(holding);
    }

    /// Waits until so many recipients were named, whatever was answered.
    pub async fn named(&self, count: usize) {
        let mut named = self.inner.named.subscribe();
        let waiting = named.wait_for(|named| *named >= count);
        let patience = std::time::Duration::from_secs(30);
        let outcome = tokio::time::timeout(patience, waiting).await.expect("a recipient is named in time");
        outcome.expect("the server lives as long as its handle");
    }

    /// The messages so far.
    pub fn mails(&self) -> Vec<Mail> {
        self.inner.mails.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many messages have arrived.
    pub async fn wait_for(&self, count: usize) -> Vec<Mail> {
        loop {
            let arrived = self.inner.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            let mails = self.mails();
            if mails.len() >= count {
                return mails;
            }
            let patience = std::time::Duration::from_secs(30);
            tokio::time::timeout(patience, arrived).await.expect("a mail arrives in time");
        }
    }
}

async fn converse(stream: TcpStream, inner: Arc<Inner>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 sink\r\n").await?;
    let (mut from, mut to) = (String::new(), String::new());
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let command = line.trim_end();
        let verb = command.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let address = || {
            command
                .split_once('<')
                .and_then(|(_, rest)| rest.split_once('>'))
                .map_or("", |(text, _)| text)
                .to_owned()
        };
        let answer = match verb.as_str() {
            "EHLO" | "HELO" => "250-sink\r\n250 8BITMIME".to_owned(),
            "MAIL" => {
                from = address();
                "250 ok".to_owned()
            }
            "RCPT" => {
                to = address();
                inner.named.send_modify(|named| *named += 1);
                let free = inner.holding.subscribe().wait_for(|holding| !holding).await.is_ok();
                debug_assert!(free, "the sender is in `inner`");
                let refusal = inner.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone();
                refusal.unwrap_or_else(|| "250 ok".to_owned())
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                let data = read_data(&mut stream).await?;
                let mail = Mail { from: from.clone(), to: to.clone(), data };
                inner.mails.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
                inner.arrived.notify_waiters();
                "250 taken".to_owned()
            }
            "RSET" | "NOOP" => "250 ok".to_owned(),
            "QUIT" => {
                stream.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => "502 not known".to_owned(),
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
}

async fn read_data(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut data = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 || line == ".\r\n" {
            return Ok(data);
        }
        data.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}
