//! E-mail through a mail server.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use lettre::Address;
use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use lido_domain::ports::SendError;
use lido_domain::{Medium, Message, Millis, Secret, Transport};
use percent_encoding::percent_decode_str;
use tokio::time::{Instant, timeout};
use url::Url;

use crate::{SettingError, plain_text};

/// Until the connection stands, its TLS handshake included.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Until a command is answered.
const COMMAND_LIMIT: Duration = Duration::from_secs(10);
/// Until the message is taken after its last byte. Giving up earlier would only send it twice, since
/// the server may have taken it already (RFC 5321 §4.5.3.2.6 asks for as much as ten minutes).
const ACCEPT_LIMIT: Duration = Duration::from_secs(60);

/// Mail servers close a connection that says nothing for long; one that rests longer is not used again.
const REST_LIMIT: Duration = Duration::from_secs(60);
const MAX_RESTING: usize = 4;

/// What `[delivery.email]` says of a mail server.
#[derive(Clone)]
pub struct SmtpSettings {
    /// `smtp://user:pass@host:587?tls=required|opportunistic` or `smtps://…`; user and password
    /// percent-encoded. Default ports: 25, with STARTTLS 587, `smtps` 465.
    pub url: String,
    /// The content of `password_file`; it wins over a password in the URL.
    pub password: Option<Secret<String>>,
    /// PEM certificates of the authorities to trust instead of the platform's.
    pub ca_file: Option<PathBuf>,
    /// The sender where the pool's EmailConfiguration names none, `Lido <no-reply@example.com>`.
    pub from: String,
    /// The name said in EHLO; the machine's own if absent.
    pub ehlo: Option<String>,
}

impl SmtpSettings {
    pub fn new(url: impl Into<String>, from: impl Into<String>) -> Self {
        Self { url: url.into(), password: None, ca_file: None, from: from.into(), ehlo: None }
    }
}

impl fmt::Debug for SmtpSettings {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpSettings")
            .field("ca_file", &self.ca_file)
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

/// Hands e-mail to a mail server and keeps a few connections to it.
#[derive(Debug)]
pub struct Smtp {
    server: Server,
    from: Mailbox,
    resting: Mutex<Vec<Resting>>,
}

/// A connection between two messages.
struct Resting {
    connection: AsyncSmtpConnection,
    since: Instant,
}

impl fmt::Debug for Resting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resting").field("since", &self.since).finish_non_exhaustive()
    }
}

impl Smtp {
    /// Reads the settings; connects to nothing.
    /// Errors: a URL of another form, an unreadable `ca_file`, a sender that is no address.
    pub fn new(settings: SmtpSettings) -> Result<Self, SettingError> {
        let from = settings
            .from
            .parse()
            .map_err(|error| SettingError::new("delivery.email.from", format!("{error}")))?;
        Ok(Self { server: Server::new(&settings)?, from, resting: Mutex::default() })
    }

    fn compose(&self, message: &Message) -> Result<lettre::Message, SendError> {
        let mailbox = |what: &str, text: &str| {
            text.parse::<Mailbox>()
                .map_err(|error| refused(format!("the {what} address is not valid: {error}")))
        };
        let from = match &message.sender.from {
            Some(from) => mailbox("sender's", from)?,
            None => self.from.clone(),
        };
        let destination = message
            .destination
            .parse()
            .map_err(|error| refused(format!("the address is not valid: {error}")))?;
        let subject = message.subject.as_deref().unwrap_or_default().replace(char::is_control, " ");
        let mut mail = lettre::Message::builder()
            .date(system_time(message.created))
            .message_id(Some(message_id(message, from.email.domain())))
            .from(from)
            .to(Mailbox::new(None, destination))
            .subject(subject);
        if let Some(reply_to) = &message.sender.reply_to {
            mail = mail.reply_to(mailbox("reply-to", reply_to)?);
        }
        let body =
            MultiPart::alternative_plain_html(plain_text::of_html(&message.body), message.body.clone());
        let mut mail = mail.multipart(body).map_err(|error| refused(error.to_string()))?;
        // Out-of-office replies to a code help nobody (RFC 3834).
        let automatic =
            HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
        mail.headers_mut().insert_raw(automatic);
        Ok(mail)
    }

    /// A connection that still answers, or a new one.
    async fn connection(&self) -> Result<AsyncSmtpConnection, DialogueError> {
        loop {
            let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut resting) = resting else { return self.server.connect().await };
            if resting.since.elapsed() < REST_LIMIT
                && timeout(COMMAND_LIMIT, resting.connection.test_connected()).await == Ok(true)
            {
                return Ok(resting.connection);
            }
        }
    }

    fn keep(&self, connection: AsyncSmtpConnection) {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        if resting.len() < MAX_RESTING && !connection.has_broken() {
            resting.push(Resting { connection, since: Instant::now() });
        }
    }
}

#[async_trait]
impl Transport for Smtp {
    async fn send(&self, message: &Message) -> Result<(), SendError> {
        if message.medium != Medium::Email {
            return Err(refused("a mail server takes no text messages".to_owned()));
        }
        let mail = self.compose(message)?;
        let hidden = |error: DialogueError| error.into_send_error(&message.destination);
        let mut connection = self.connection().await.map_err(hidden)?;
        // A connection that failed or timed out in the middle of a dialogue is dropped, never reused: an
        // answer that comes late would be taken for that of the next command.
        deliver(&mut connection, mail.envelope(), &mail.formatted()).await.map_err(hidden)?;
        self.keep(connection);
        Ok(())
    }
}

/// Where and how to connect.
struct Server {
    host: String,
    port: u16,
    security: Security,
    ehlo: ClientId,
    credentials: Option<Credentials>,
}

/// Without the credentials.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

enum Security {
    Plain,
    /// STARTTLS where the server offers it.
    Opportunistic(TlsParameters),
    /// STARTTLS, or nothing is said.
    Required(TlsParameters),
    /// TLS from the first byte.
    FromStart(TlsParameters),
}

impl Server {
    fn new(settings: &SmtpSettings) -> Result<Self, SettingError> {
        const SETTING: &str = "delivery.email.url";
        // The parser's own words could repeat the URL, and with it the password.
        let bad = |reason: &str| SettingError::new(SETTING, reason);
        let url = Url::parse(&settings.url).map_err(|_| bad("not a URL"))?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| bad("has no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let mut tls = None;
        for (name, value) in url.query_pairs() {
            match name.as_ref() {
                "tls" => tls = Some(value.into_owned()),
                _ => return Err(bad("has a parameter other than tls")),
            }
        }
        let parameters = || tls_parameters(&host, settings.ca_file.as_ref());
        let (security, port) = match (url.scheme(), tls.as_deref()) {
            ("smtp", None) => (Security::Plain, 25),
            ("smtp", Some("opportunistic")) => (Security::Opportunistic(parameters()?), 587),
            ("smtp", Some("required")) => (Security::Required(parameters()?), 587),
            ("smtps", None | Some("required")) => (Security::FromStart(parameters()?), 465),
            ("smtp" | "smtps", Some(_)) => return Err(bad("tls is required or opportunistic")),
            _ => return Err(bad("does not start with smtp:// or smtps://")),
        };
        let decoded = |text: &str| {
            let text =
                percent_decode_str(text).decode_utf8().map_err(|_| bad("user or password is not UTF-8"))?;
            Ok(text.into_owned())
        };
        let password = match (&settings.password, url.password()) {
            (Some(password), _) => Some(password.expose().clone()),
            (None, Some(password)) => Some(decoded(password)?),
            (None, None) => None,
        };
        let credentials = match (url.username(), password) {
            ("", None) => None,
            ("", Some(_)) => return Err(bad("has a password and no user")),
            (_, None) => return Err(bad("has a user and no password")),
            (user, Some(password)) => Some(Credentials::new(decoded(user)?, password)),
        };
        let ehlo = settings.ehlo.clone().map_or_else(ClientId::default, ClientId::Domain);
        Ok(Self { host, port: url.port().unwrap_or(port), security, ehlo, credentials })
    }

    /// A connection ready for a message: encrypted and authenticated as the settings ask.
    async fn connect(&self) -> Result<AsyncSmtpConnection, DialogueError> {
        let from_start = match &self.security {
            Security::FromStart(tls) => Some(tls.clone()),
            _ => None,
        };
        let connected = AsyncSmtpConnection::connect_tokio1(
            (self.host.as_str(), self.port),
            Some(CONNECT_LIMIT),
            &self.ehlo,
            from_start,
            None,
        );
        // It reads the greeting and says EHLO as well.
        let mut connection = within(CONNECT_LIMIT + COMMAND_LIMIT, Step::Connect, connected).await?;
        match &self.security {
            Security::Required(_) if !connection.can_starttls() => {
                let reason = "the server does not offer STARTTLS, which tls=required asks for";
                return Err(DialogueError::Unavailable(reason.to_owned()));
            }
            Security::Required(tls) => self.start_tls(&mut connection, tls).await?,
            Security::Opportunistic(tls) if connection.can_starttls() => {
                self.start_tls(&mut connection, tls).await?;
            }
            _ => {}
        }
        if let Some(credentials) = &self.credentials {
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            within(COMMAND_LIMIT, Step::Authenticate, connection.auth(&mechanisms, credentials)).await?;
        }
        Ok(connection)
    }

    async fn start_tls(
        &self,
        connection: &mut AsyncSmtpConnection,
        tls: &TlsParameters,
    ) -> Result<(), DialogueError> {
        within(COMMAND_LIMIT, Step::StartTls, connection.starttls(tls.clone(), &self.ehlo)).await
    }
}

/// `ca_file` replaces the platform's authorities: a private mail server is not vouched for by others.
fn tls_parameters(host: &str, ca_file: Option<&PathBuf>) -> Result<TlsParameters, SettingError> {
    let mut tls = TlsParameters::builder(host.to_owned());
    if let Some(file) = ca_file {
        let bad = |reason: String| {
            SettingError::new("delivery.email.ca_file", format!("{}: {reason}", file.display()))
        };
        let pem = fs::read(file).map_err(|error| bad(error.to_string()))?;
        let certificates = Certificate::from_pem(&pem).map_err(|error| bad(error.to_string()))?;
        tls = tls.certificate_store(CertificateStore::None).add_root_certificate(certificates);
    }
    tls.build_rustls().map_err(|error| SettingError::new("delivery.email.url", error.to_string()))
}

/// Sends one message over a connection that is ready.
async fn deliver(
    connection: &mut AsyncSmtpConnection,
    envelope: &Envelope,
    mail: &[u8],
) -> Result<(), DialogueError> {
    let mut parameters = Vec::new();
    let is_ascii = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
    if !envelope.from().into_iter().chain(envelope.to()).all(is_ascii) {
        if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            return Err(DialogueError::Refused(
                "the server takes only ASCII addresses (no SMTPUTF8)".to_owned(),
            ));
        }
        parameters.push(MailParameter::SmtpUtfEight);
    }
    let sender = Mail::new(envelope.from().cloned(), parameters);
    within(COMMAND_LIMIT, Step::Sender, connection.command(sender)).await?;
    for recipient in envelope.to() {
        let recipient = Rcpt::new(recipient.clone(), Vec::new());
        within(COMMAND_LIMIT, Step::Recipient, connection.command(recipient)).await?;
    }
    within(COMMAND_LIMIT, Step::Data, connection.command(Data)).await?;
    within(ACCEPT_LIMIT, Step::Content, connection.message(mail)).await?;
    Ok(())
}

/// Where in the dialogue an error arose.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Connect,
    StartTls,
    Authenticate,
    Sender,
    Recipient,
    Data,
    Content,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::StartTls => "STARTTLS",
            Self::Authenticate => "AUTH",
            Self::Sender => "MAIL FROM",
            Self::Recipient => "RCPT TO",
            Self::Data => "DATA",
            Self::Content => "end of message",
        }
    }
}

/// A dialogue that came to nothing.
#[derive(Debug)]
enum DialogueError {
    Refused(String),
    Unavailable(String),
}

impl DialogueError {
    /// Servers repeat the address in their replies; it does not belong into a log.
    fn into_send_error(self, destination: &str) -> SendError {
        let hidden = |reason: String| reason.replace(destination, "…");
        match self {
            Self::Refused(reason) => refused(hidden(reason)),
            Self::Unavailable(reason) => SendError::Unavailable { reason: hidden(reason) },
        }
    }
}

async fn within<T>(
    limit: Duration,
    step: Step,
    dialogue: impl Future<Output = Result<T, SmtpError>>,
) -> Result<T, DialogueError> {
    match timeout(limit, dialogue).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(judge(step, &error)),
        Err(_) => Err(DialogueError::Unavailable(format!("{}: no answer within {limit:?}", step.name()))),
    }
}

/// A permanent reply is a refusal, and so is a server that offers no way to authenticate; everything
/// else may pass: a temporary reply, a broken connection, a certificate that someone will renew.
fn judge(step: Step, error: &SmtpError) -> DialogueError {
    let name = step.name();
    let reason = match (step, error.status()) {
        // Replies to AUTH may repeat what was sent.
        (Step::Authenticate, Some(code)) => format!("{name}: the server answers {code}"),
        (Step::Authenticate, None) if error.is_client() => {
            format!("{name}: the server offers neither PLAIN nor LOGIN")
        }
        _ => format!("{name}: {error}"),
    };
    let cannot_authenticate = step == Step::Authenticate && error.is_client();
    if error.is_permanent() || cannot_authenticate {
        DialogueError::Refused(reason)
    } else {
        DialogueError::Unavailable(reason)
    }
}

fn refused(reason: String) -> SendError {
    SendError::Refused { reason }
}

fn system_time(moment: Millis) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(moment.0.unsigned_abs())
}

/// The same in every attempt, so that a mailbox can tell a repeated message.
fn message_id(message: &Message, domain: &str) -> String {
    let local: String = format!("{}.{}", message.id, message.pool)
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '-' })
        .collect();
    format!("<{local}@{domain}>")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(url: &str) -> String {
        Smtp::new(SmtpSettings::new(url, "Lido <no-reply@example.com>")).unwrap_err().to_string()
    }

    #[test]
    fn a_bad_url_is_named_and_not_repeated() {
        for url in [
            "no url with s3cret",
            "http://user:s3cret@localhost",
            "smtp://user:s3cret@localhost?tls=maybe",
            "smtp://:s3cret@localhost",
            "smtp://user@localhost",
            "smtp://user:s3cret@localhost?ehlo=x",
        ] {
            let message = error(url);
            assert!(message.starts_with("delivery.email.url: "), "{message}");
            assert!(!message.contains("s3cret"), "{message}");
        }
    }

    #[test]
    fn ports_and_credentials_follow_the_url() {
        let server = |url: &str| Smtp::new(SmtpSettings::new(url, "a@example.com")).unwrap().server;
        assert_eq!(server("smtp://localhost").port, 25);
        assert_eq!(server("smtp://localhost?tls=required").port, 587);
        assert_eq!(server("smtps://localhost").port, 465);
        assert_eq!(server("smtp://localhost:2525").port, 2525);
        assert_eq!(server("smtp://[::1]:2525").host, "::1");
        let with_user = server("smtp://us%40er:p%20w@localhost");
        assert_eq!(with_user.credentials, Some(Credentials::new("us@er".to_owned(), "p w".to_owned())));
        assert!(!format!("{with_user:?}").contains("p w"));

        let mut settings = SmtpSettings::new("smtp://user:url@localhost", "a@example.com");
        settings.password = Some(Secret::new("file".to_owned()));
        let expected = Credentials::new("user".to_owned(), "file".to_owned());
        assert_eq!(Smtp::new(settings).unwrap().server.credentials, Some(expected));
    }

    #[test]
    fn a_bad_sender_or_authority_file_is_a_setting_error() {
        let error = Smtp::new(SmtpSettings::new("smtp://localhost", "nobody")).unwrap_err();
        assert_eq!(error.setting, "delivery.email.from");
        let mut settings = SmtpSettings::new("smtps://localhost", "a@example.com");
        settings.ca_file = Some(PathBuf::from("/nonexistent/ca.pem"));
        assert_eq!(Smtp::new(settings).unwrap_err().setting, "delivery.email.ca_file");
    }
}
