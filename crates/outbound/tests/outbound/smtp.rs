use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lido_domain::ports::SendError;
use lido_domain::records::Sender;
use lido_domain::{Medium, Message, Millis, PoolId, Secret, Transport};
use lido_outbound::{Smtp, SmtpSettings};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// A mail server: takes everything, except where `replies` says otherwise for a command.
#[derive(Clone, Default)]
struct Sink {
    replies: BTreeMap<&'static str, &'static str>,
    /// What EHLO announces.
    extensions: Vec<&'static str>,
    tls: Option<TlsAcceptor>,
    tls_from_start: bool,
    /// Closes the connection in place of the answer to this command.
    hangs_up_at: Option<&'static str>,
    log: Arc<Mutex<Log>>,
}

#[derive(Default)]
struct Log {
    connections: usize,
    /// Commands as sent, `TLS` where a handshake succeeded, and mails as `"mail"`.
    commands: Vec<String>,
    mails: Vec<String>,
}

impl Sink {
    fn new(extensions: &[&'static str]) -> Self {
        Self { extensions: extensions.to_vec(), ..Self::default() }
    }

    fn replying(mut self, command: &'static str, reply: &'static str) -> Self {
        self.replies.insert(command, reply);
        self
    }

    async fn start(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let sink = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                sink.log.lock().unwrap().connections += 1;
                tokio::spawn(sink.clone().accept(stream));
            }
        });
        port
    }

    async fn accept(self, stream: TcpStream) -> Option<()> {
        if self.tls_from_start {
            let stream = self.handshake(stream).await?;
            return self.talk(stream, true).await.map(|_| ());
        }
        if let Some(stream) = self.talk(stream, true).await {
            let stream = self.handshake(stream).await?;
            self.talk(stream, false).await;
        }
        Some(())
    }

    async fn handshake(&self, stream: TcpStream) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
        let stream = self.tls.clone().unwrap().accept(stream).await.ok()?;
        self.log.lock().unwrap().commands.push("TLS".to_owned());
        Some(stream)
    }

    /// Answers until the end; gives the stream back for STARTTLS.
    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, greets: bool) -> Option<S> {
        let mut stream = BufReader::new(stream);
        if greets {
            stream.write_all(b"220 sink\r\n").await.ok()?;
        }
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            let command = line.split_whitespace().next()?.to_uppercase();
            self.log.lock().unwrap().commands.push(line.trim_end().to_owned());
            if self.hangs_up_at == Some(command.as_str()) {
                return None;
            }
            let reply = match (self.replies.get(command.as_str()), command.as_str()) {
                (Some(reply), _) => (*reply).to_owned(),
                (None, "EHLO") => {
                    let lines = self.extensions.iter().map(|extension| format!("250-{extension}\r\n"));
                    format!("250-sink\r\n{}250 HELP", lines.collect::<String>())
                }
                (None, "AUTH") => "235 welcome".to_owned(),
                (None, "STARTTLS") => "220 go ahead".to_owned(),
                (None, "DATA") => "354 go on".to_owned(),
                (None, "QUIT") => "221 bye".to_owned(),
                (None, _) => "250 fine".to_owned(),
            };
            stream.write_all(format!("{reply}\r\n").as_bytes()).await.ok()?;
            match command.as_str() {
                "STARTTLS" => return Some(stream.into_inner()),
                "DATA" if reply.starts_with("354") => {
                    let mut mail = String::new();
                    while !mail.ends_with("\r\n.\r\n") {
                        stream.read_line(&mut mail).await.ok()?;
                    }
                    self.log.lock().unwrap().mails.push(mail);
                    let reply = self.replies.get("mail").copied().unwrap_or("250 taken");
                    stream.write_all(format!("{reply}\r\n").as_bytes()).await.ok()?;
                }
                _ => {}
            }
        }
    }

    fn commands(&self) -> Vec<String> {
        self.log.lock().unwrap().commands.clone()
    }

    fn connections(&self) -> usize {
        self.log.lock().unwrap().connections
    }

    fn mail(&self) -> String {
        self.log.lock().unwrap().mails.last().unwrap().clone()
    }
}

fn message() -> Message {
    Message {
        id: "00000000000000000042".to_owned(),
        created: Millis(1_700_000_000_000),
        pool: PoolId::new("us-east-1_Example01"),
        client: None,
        username: "ana".to_owned(),
        medium: Medium::Email,
        destination: "ana@example.com".to_owned(),
        source: "CustomMessage_SignUp".to_owned(),
        subject: Some("Tu código ✓".to_owned()),
        body: "<p>Tu código es <b>123456</b></p>".to_owned(),
        code: Some("123456".to_owned()),
        sender: Sender::default(),
    }
}

fn smtp(url: &str) -> Smtp {
    Smtp::new(SmtpSettings::new(url, "Lido <no-reply@example.com>")).unwrap()
}

/// The sink's URL with `user` before the host and `query` after the port.
async fn url(sink: &Sink, user: &str, query: &str) -> String {
    format!("smtp://{user}127.0.0.1:{}{query}", sink.start().await)
}

fn refusal(sent: Result<(), SendError>) -> String {
    match sent {
        Err(SendError::Refused { reason }) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

fn unavailability(sent: Result<(), SendError>) -> String {
    match sent {
        Err(SendError::Unavailable { reason }) => reason,
        other => panic!("not unavailable: {other:?}"),
    }
}

/// The decoded body of the part with this content type, quoted-printable or base64.
fn part(mail: &str, kind: &str) -> String {
    let part = mail
        .split("\r\n--")
        .find(|part| part.contains(&format!("Content-Type: {kind}; charset=utf-8")))
        .unwrap();
    let (head, body) = part.split_once("\r\n\r\n").unwrap();
    if head.contains("base64") {
        let text: String = body.split_whitespace().collect();
        return String::from_utf8(STANDARD.decode(text).unwrap()).unwrap();
    }
    assert!(head.contains("quoted-printable"), "{head}");
    body.replace("=\r\n", "").replace("=C3=B3", "ó").trim_end().to_owned()
}

#[tokio::test]
async fn a_mail_has_html_and_plain_text_and_its_headers() {
    let sink = Sink::new(&[]);
    let smtp = smtp(&url(&sink, "", "").await);
    let mut message = message();
    smtp.send(&message).await.unwrap();
    let mail = sink.mail();
    for line in [
        "From: Lido <no-reply@example.com>\r\n",
        "To: ana@example.com\r\n",
        "Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n",
        "Message-ID: <00000000000000000042.us-east-1_Example01@example.com>\r\n",
        "Auto-Submitted: auto-generated\r\n",
        "MIME-Version: 1.0\r\n",
        "Content-Type: multipart/alternative;",
        "Subject: Tu =?utf-8?b?Y8OzZGlnbyDinJM=?=\r\n",
    ] {
        assert!(mail.contains(line), "{line} is not in {mail}");
    }
    assert!(!mail.contains("Reply-To"));
    assert_eq!(part(&mail, "text/plain"), "Tu código es 123456");
    assert_eq!(part(&mail, "text/html"), message.body);
    assert!(sink.commands().iter().any(|command| command == "MAIL FROM:<no-reply@example.com>"));
    assert!(sink.commands().iter().any(|command| command == "RCPT TO:<ana@example.com>"));

    message.sender.from = Some("Acme <hi@acme.example>".to_owned());
    message.sender.reply_to = Some("help@acme.example".to_owned());
    message.subject = Some("a\r\nBcc: eve@example.com".to_owned());
    smtp.send(&message).await.unwrap();
    let mail = sink.mail();
    assert!(
        mail.contains("From: Acme <hi@acme.example>\r\n") && mail.contains("Reply-To: help@acme.example\r\n")
    );
    assert!(mail.contains("@acme.example>\r\n"), "the Message-ID is the sender's");
    assert!(!mail.contains("\nBcc:"), "{mail}");
    assert_eq!(sink.connections(), 1, "the connection is used again");
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_replaced() {
    let sink = Sink { hangs_up_at: Some("NOOP"), ..Sink::new(&[]) };
    let smtp = smtp(&url(&sink, "", "").await);
    smtp.send(&message()).await.unwrap();
    smtp.send(&message()).await.unwrap();
    assert_eq!(sink.connections(), 2);
}

#[tokio::test]
async fn replies_decide_between_refused_and_unavailable() {
    for command in ["EHLO", "MAIL", "RCPT", "DATA", "mail"] {
        let sink = Sink::new(&[]).replying(command, "550 no <ana@example.com> here");
        let reason = refusal(smtp(&url(&sink, "", "").await).send(&message()).await);
        assert!(reason.contains("550") && !reason.contains("ana@example.com"), "{command}: {reason}");

        let sink = Sink::new(&[]).replying(command, "451 later");
        let reason = unavailability(smtp(&url(&sink, "", "").await).send(&message()).await);
        assert!(reason.contains("451"), "{command}: {reason}");
    }
    let sink = Sink { hangs_up_at: Some("RCPT"), ..Sink::new(&[]) };
    unavailability(smtp(&url(&sink, "", "").await).send(&message()).await);

    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    unavailability(smtp(&format!("smtp://127.0.0.1:{port}")).send(&message()).await);
}

#[tokio::test]
async fn a_failed_message_does_not_spoil_the_next() {
    let sink = Sink::new(&[]).replying("RCPT", "550 no");
    let smtp = smtp(&url(&sink, "", "").await);
    refusal(smtp.send(&message()).await);
    refusal(smtp.send(&message()).await);
    assert_eq!(sink.connections(), 2, "a dialogue that failed is not continued");
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_without_asking() {
    let sink = Sink::new(&[]);
    let smtp = smtp(&url(&sink, "", "").await);
    let altered = |alter: fn(&mut Message)| {
        let mut message = message();
        alter(&mut message);
        message
    };
    for bad in [
        altered(|message| message.medium = Medium::Sms),
        altered(|message| message.destination = "ana".to_owned()),
        altered(|message| message.destination = "ana@example.com\r\nRCPT TO:<eve@example.com>".to_owned()),
        altered(|message| message.sender.from = Some("nobody".to_owned())),
        altered(|message| message.sender.reply_to = Some("<".to_owned())),
    ] {
        refusal(smtp.send(&bad).await);
    }
    assert_eq!(sink.connections(), 0);
    let reason =
        refusal(smtp.send(&altered(|message| message.destination = "aña@example.com".to_owned())).await);
    assert!(reason.contains("SMTPUTF8"), "{reason}");
}

#[tokio::test]
async fn credentials_are_sent_and_never_told() {
    let sink = Sink::new(&["AUTH PLAIN LOGIN"]);
    smtp(&url(&sink, "us%40er:p%3Ass@", "").await).send(&message()).await.unwrap();
    let expected = format!("AUTH PLAIN {}", STANDARD.encode("\0us@er\0p:ss"));
    assert!(sink.commands().contains(&expected), "{:?}", sink.commands());

    let sink = Sink::new(&["AUTH PLAIN"]).replying("AUTH", "535 no, us@er with p:ss");
    let smtp_refused = smtp(&url(&sink, "us%40er:p%3Ass@", "").await);
    let reason = refusal(smtp_refused.send(&message()).await);
    assert!(reason.contains("535") && !reason.contains("p:ss") && !reason.contains("us@er"), "{reason}");
    assert!(!format!("{smtp_refused:?}").contains("p:ss"));

    let sink = Sink::new(&["AUTH PLAIN"]).replying("AUTH", "454 later");
    unavailability(smtp(&url(&sink, "user:pass@", "").await).send(&message()).await);

    let sink = Sink::new(&["AUTH GSSAPI"]);
    refusal(smtp(&url(&sink, "user:pass@", "").await).send(&message()).await);

    let sink = Sink::new(&["AUTH PLAIN"]);
    let mut settings = SmtpSettings::new(url(&sink, "user@", "").await, "no-reply@example.com");
    settings.password = Some(Secret::new("from a file".to_owned()));
    Smtp::new(settings).unwrap().send(&message()).await.unwrap();
    let expected = format!("AUTH PLAIN {}", STANDARD.encode("\0user\0from a file"));
    assert!(sink.commands().contains(&expected));
}

/// An authority in a file, and a server's side with a certificate of it for 127.0.0.1.
struct Authority {
    folder: tempfile::TempDir,
    acceptor: TlsAcceptor,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        Self { folder, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn smtp(&self, url: String) -> Smtp {
        let mut settings = SmtpSettings::new(url, "no-reply@example.com");
        settings.ca_file = Some(self.file());
        Smtp::new(settings).unwrap()
    }
}

#[tokio::test]
async fn starttls_comes_before_credentials_and_mail() {
    let authority = Authority::new();
    for query in ["?tls=required", "?tls=opportunistic"] {
        let sink = Sink { tls: Some(authority.acceptor.clone()), ..Sink::new(&["STARTTLS", "AUTH PLAIN"]) };
        authority.smtp(url(&sink, "user:pass@", query).await).send(&message()).await.unwrap();
        let kinds: Vec<String> =
            sink.commands().iter().map(|line| line[..4.min(line.len())].to_owned()).collect();
        assert_eq!(kinds, ["EHLO", "STAR", "TLS", "EHLO", "AUTH", "MAIL", "RCPT", "DATA"], "{query}");
        assert!(sink.mail().contains("Subject:"));
    }
}

#[tokio::test]
async fn without_starttls_only_opportunistic_goes_on() {
    let authority = Authority::new();
    let sink = Sink::new(&["AUTH PLAIN"]);
    unavailability(authority.smtp(url(&sink, "user:pass@", "?tls=required").await).send(&message()).await);
    assert!(
        !sink.commands().iter().any(|command| command.starts_with("AUTH")),
        "nothing is told in plain text"
    );
    authority.smtp(url(&sink, "", "?tls=opportunistic").await).send(&message()).await.unwrap();
}

#[tokio::test]
async fn smtps_is_tls_from_the_first_byte() {
    let authority = Authority::new();
    let sink = Sink { tls: Some(authority.acceptor.clone()), tls_from_start: true, ..Sink::new(&[]) };
    let url = url(&sink, "", "").await.replace("smtp://", "smtps://");
    authority.smtp(url.clone()).send(&message()).await.unwrap();
    assert_eq!(sink.commands()[0], "TLS");

    // The platform does not know this authority; another one does not vouch for it either.
    unavailability(smtp(&url).send(&message()).await);
    unavailability(Authority::new().smtp(url).send(&message()).await);
}
