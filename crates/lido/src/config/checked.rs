//! What the settings mean: typed, and safe for the command that they are meant for.
//!
//! Every refusal is one sentence that begins with the name of the setting. A setting that needs something
//! that Lido does not have yet is refused too, and never ignored.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use lido_domain::Secret;
use lido_idp::cx::Issuer;
use lido_idp::policy::{Policy, Principal};
use lido_outbound::{AwsSettings, Credentials, FunctionSettings, Smtp, SmtpSettings, Target};
use lido_server::sigv4::AccessKey;
use lido_store::Location;
use url::{Host, Url};

use super::value::{SecretText, Span};
use super::{Aws, Email, Function, Iam, Kms, Layer, MEMORY, Mode, Sms};

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Where the messages of a medium go.
#[derive(Debug)]
pub(crate) enum Transport {
    Inbox,
    None,
    Smtp(Arc<Smtp>),
}

/// Where the data lies and the key to it: what commands beside the server need.
#[derive(Debug)]
pub(crate) struct Storage {
    pub(crate) location: Location,
    /// Absent: the data is not kept, and neither is its key.
    pub(crate) master_key_file: Option<PathBuf>,
}

impl Storage {
    pub(crate) fn check(layer: &Layer, mode: Mode) -> Result<Self> {
        let data = location(layer.data.as_deref().unwrap_or_default(), mode)?;
        let master_key_file = match (&layer.master_key_file, &data) {
            (Some(file), _) => Some(PathBuf::from(file)),
            (None, Location::Directory(directory)) => Some(directory.join("master.key")),
            (None, _) if layer.database.is_some() => {
                bail!("master_key_file: data in a database needs a key that is kept: name its file")
            }
            (None, _) => None,
        };
        let location = match &layer.database {
            Some(url) => Location::postgres(&url.0).context("database")?,
            None => data,
        };
        Ok(Self { location, master_key_file })
    }
}

/// Settings that a server can be started with.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) mode: Mode,
    pub(crate) listen: SocketAddr,
    /// Absent: the same address.
    pub(crate) management: Option<SocketAddr>,
    /// Absent: `http://localhost:<port>`, where the port may not be known yet. Without a slash at the end.
    pub(crate) public_url: Option<String>,
    pub(crate) issuer: Issuer,
    pub(crate) storage: Storage,
    pub(crate) region: String,
    pub(crate) account: String,
    pub(crate) seed: Option<PathBuf>,
    /// Whether rates and counts are limited.
    pub(crate) limits: bool,
    pub(crate) playground: bool,
    pub(crate) log: LogFormat,
    pub(crate) email: Transport,
    pub(crate) sms: Transport,
    pub(crate) answer_within: Duration,
    pub(crate) retry: Vec<Duration>,
    pub(crate) functions: BTreeMap<String, FunctionSettings>,
    pub(crate) default_function: Option<FunctionSettings>,
    pub(crate) aws: AwsSettings,
    /// Absent: signatures and policies do not count.
    pub(crate) access_keys: Option<Vec<AccessKey>>,
}

impl Config {
    /// `layer`: as [`load`](super::load) gives it, with every default.
    pub(crate) fn check(layer: Layer, mode: Mode) -> Result<Self> {
        let listen = address("listen", layer.listen.as_deref().unwrap_or_default())?;
        // The same free port cannot be meant twice: two addresses with port 0 are two.
        let management = layer
            .management
            .as_deref()
            .map(|text| address("management", text))
            .transpose()?
            .filter(|management| *management != listen || management.port() == 0);

        let storage = Storage::check(&layer, mode)?;

        let playground = layer.playground.unwrap_or_default();
        ensure!(!playground || mode == Mode::Dev, "playground: this setting is for lido dev alone");

        let region = layer.region.unwrap_or_default();
        let of_region = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ensure!(
            (1..=32).contains(&region.len()) && region.bytes().all(of_region),
            "region: `{region}` is not a region like `us-east-1`"
        );
        let account = layer.account.unwrap_or_default();
        ensure!(
            account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()),
            "account: `{account}` does not have 12 digits"
        );
        let limits = match layer.limits.as_deref() {
            Some("off") => false,
            Some("cognito") => true,
            other => bail!("limits: `{}` is neither off nor cognito", other.unwrap_or_default()),
        };
        let log = match layer.log.as_deref() {
            Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            other => bail!("log: `{}` is neither text nor json", other.unwrap_or_default()),
        };

        let (functions, default_function) = functions(layer.functions, layer.directory.as_ref())?;
        check_kms(&layer.kms)?;
        let aws =
            AwsSettings::new(layer.aws.region.clone(), credentials("aws", &layer.aws)?).or_environment();
        let span = |span: Option<Span>| span.map_or(Duration::ZERO, |span| span.0);

        Ok(Self {
            mode,
            listen,
            management,
            public_url: layer.public_url.map(|text| public_url(&text, mode)).transpose()?,
            issuer: issuer(layer.issuer.as_deref().unwrap_or_default())?,
            storage,
            region,
            account,
            seed: layer.seed.map(PathBuf::from),
            limits,
            playground,
            log,
            email: email(layer.delivery.email, mode)?,
            sms: sms(&layer.delivery.sms, mode)?,
            answer_within: span(layer.delivery.answer_within),
            retry: layer.delivery.retry.unwrap_or_default().into_iter().map(|span| span.0).collect(),
            functions,
            default_function,
            aws,
            access_keys: access_keys(layer.iam, listen, mode)?,
        })
    }
}

fn address(setting: &str, text: &str) -> Result<SocketAddr> {
    // A bare port means every interface in other programs, and nothing here.
    let mut found = text
        .to_socket_addrs()
        .map_err(|_| anyhow!("{setting}: `{text}` is not an address like `127.0.0.1:5436`"))?;
    found.next().ok_or_else(|| anyhow!("{setting}: `{text}` has no address"))
}

fn location(data: &str, mode: Mode) -> Result<Location> {
    match (data, mode) {
        (MEMORY, Mode::Serve) => bail!("data: `{MEMORY}` is for lido dev alone"),
        (MEMORY, Mode::Dev) => Ok(Location::Memory),
        (directory, _) => Ok(Location::Directory(PathBuf::from(directory))),
    }
}

fn public_url(text: &str, mode: Mode) -> Result<String> {
    let url = Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    let Some(url) = url else { bail!("public_url: `{text}` is not an http or https URL without query") };
    if mode == Mode::Serve && url.scheme() == "http" && !is_loopback(&url) {
        bail!("public_url: `{text}` is plain http and not loopback: tokens and passwords need https");
    }
    // As it was given: verifiers compare the issuer byte by byte.
    Ok(text.trim_end_matches('/').to_owned())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn issuer(text: &str) -> Result<Issuer> {
    match text {
        "public-url" => Ok(Issuer::PublicUrl),
        "aws" => Ok(Issuer::Aws),
        fixed if fixed.contains(':') && !fixed.contains(char::is_whitespace) => {
            Ok(Issuer::Fixed(fixed.to_owned()))
        }
        other => bail!("issuer: `{other}` is not public-url, aws or a URL"),
    }
}

/// The secret that stands in the settings, or in the file that they name. `setting`: without `_file`.
fn secret(setting: &str, text: Option<SecretText>, file: Option<&str>) -> Result<Option<Secret<String>>> {
    match (text, file) {
        (Some(_), Some(_)) => bail!("{setting}: give either this or {setting}_file"),
        (Some(text), None) => Ok(Some(text.into_secret())),
        (None, Some(file)) => {
            let text = fs::read_to_string(file).with_context(|| format!("{setting}_file: {file}"))?;
            let text = text.trim_end_matches(['\r', '\n']).to_owned();
            ensure!(!text.is_empty(), "{setting}_file: {file} is empty");
            Ok(Some(Secret::new(text)))
        }
        (None, None) => Ok(None),
    }
}

/// The key of a section for calls to AWS, if it has one.
fn credentials(section: &str, aws: &Aws) -> Result<Option<Credentials>> {
    let setting = format!("{section}.secret_access_key");
    let secret = secret(&setting, aws.secret_access_key.clone(), aws.secret_access_key_file.as_deref())?;
    match (&aws.access_key_id, secret) {
        (Some(id), Some(secret)) => {
            let session_token = aws.session_token.clone().map(SecretText::into_secret);
            Ok(Some(Credentials::new(id, secret, session_token)))
        }
        (None, None) if aws.session_token.is_none() => Ok(None),
        (None, _) => bail!("{section}.access_key_id: it belongs to the secret, and is missing"),
        (Some(_), None) => bail!("{setting}: it belongs to the access key, and is missing"),
    }
}

/// The settings of a section that are there, though what they are for is not built yet.
fn refuse_unbuilt(section: &str, settings: &[(&str, bool)]) -> Result<()> {
    match settings.iter().find(|(_, is_set)| *is_set) {
        Some((name, _)) => bail!("{section}.{name}: this belongs to a transport that is not in use"),
        None => Ok(()),
    }
}

fn aws_keys(aws: &Aws) -> [(&'static str, bool); 5] {
    [
        ("region", aws.region.is_some()),
        ("access_key_id", aws.access_key_id.is_some()),
        ("secret_access_key", aws.secret_access_key.is_some()),
        ("secret_access_key_file", aws.secret_access_key_file.is_some()),
        ("session_token", aws.session_token.is_some()),
    ]
}

/// The transports that need no settings.
fn plain_transport(section: &str, transport: &str, mode: Mode) -> Result<Option<Transport>> {
    match (transport, mode) {
        ("none", _) => Ok(Some(Transport::None)),
        ("inbox", Mode::Dev) => Ok(Some(Transport::Inbox)),
        ("inbox", Mode::Serve) => bail!("{section}.transport: `inbox` is for lido dev alone"),
        _ => Ok(None),
    }
}

fn email(email: Email, mode: Mode) -> Result<Transport> {
    let section = "delivery.email";
    let transport = email.transport.as_deref().unwrap_or_default();
    let plain = plain_transport(section, transport, mode)?;
    match transport {
        "none" | "inbox" | "smtp" => {}
        "ses" => bail!("{section}.transport: `ses` is not built yet: use smtp"),
        other => bail!("{section}.transport: `{other}` is not inbox, smtp, ses or none"),
    }
    refuse_unbuilt(section, &[("endpoint", email.endpoint.is_some())])?;
    refuse_unbuilt(section, &aws_keys(&Aws::from(&email)))?;
    if let Some(transport) = plain {
        refuse_unbuilt(
            section,
            &[
                ("url", email.url.is_some()),
                ("password", email.password.is_some()),
                ("password_file", email.password_file.is_some()),
                ("ca_file", email.ca_file.is_some()),
            ],
        )?;
        return Ok(transport);
    }
    let Some(url) = email.url else { bail!("{section}.url: the smtp transport needs it") };
    let Some(from) = email.from else { bail!("{section}.from: the smtp transport needs it") };
    let smtp = Smtp::new(SmtpSettings {
        password: secret("delivery.email.password", email.password, email.password_file.as_deref())?,
        ca_file: email.ca_file.map(PathBuf::from),
        ..SmtpSettings::new(url.0, from)
    })?;
    Ok(Transport::Smtp(Arc::new(smtp)))
}

fn sms(sms: &Sms, mode: Mode) -> Result<Transport> {
    let section = "delivery.sms";
    let transport = sms.transport.as_deref().unwrap_or_default();
    let Some(plain) = plain_transport(section, transport, mode)? else {
        match transport {
            "sns" | "pinpoint" | "webhook" => {
                bail!("{section}.transport: `{transport}` is not built yet: use none, or inbox with lido dev")
            }
            other => bail!("{section}.transport: `{other}` is not inbox, sns, pinpoint, webhook or none"),
        }
    };
    refuse_unbuilt(
        section,
        &[
            ("url", sms.url.is_some()),
            ("secret", sms.secret.is_some()),
            ("secret_file", sms.secret_file.is_some()),
            ("endpoint", sms.endpoint.is_some()),
        ],
    )?;
    refuse_unbuilt(section, &aws_keys(&Aws::from(sms)))?;
    Ok(plain)
}

fn check_kms(kms: &Kms) -> Result<()> {
    match kms.provider.as_deref() {
        Some("local") => {}
        Some("aws") => bail!("kms.provider: `aws` is not built yet: use local"),
        other => bail!("kms.provider: `{}` is neither local nor aws", other.unwrap_or_default()),
    }
    let unused = |(name, is_set): (&str, bool)| {
        if is_set {
            Err(anyhow!("kms.{name}: this belongs to the provider aws, which is not built yet"))
        } else {
            Ok(())
        }
    };
    unused(("endpoint", kms.endpoint.is_some()))?;
    aws_keys(&Aws::from(kms)).into_iter().try_for_each(unused)
}

type ByArn = BTreeMap<String, FunctionSettings>;

fn functions(
    functions: BTreeMap<String, Function>,
    directory: Option<&PathBuf>,
) -> Result<(ByArn, Option<FunctionSettings>)> {
    let mut by_arn = ByArn::new();
    let mut default = None;
    for (name, section) in functions {
        if name == "default" {
            default = Some(function("functions.default", section, directory)?);
        } else {
            let setting = format!("functions.\"{name}\"");
            ensure!(
                name.starts_with("arn:"),
                "{setting}: the name of the section is neither an ARN nor `default`"
            );
            by_arn.insert(name, function(&setting, section, directory)?);
        }
    }
    Ok((by_arn, default))
}

fn function(setting: &str, section: Function, directory: Option<&PathBuf>) -> Result<FunctionSettings> {
    let aws = Aws::from(&section);
    let endpoint = |key: &str, text: &str| {
        let url =
            Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        url.with_context(|| format!("{setting}.{key}: this is not an http or https URL"))
    };
    if section.invoke_endpoint.is_none()
        && let Some((name, _)) = aws_keys(&aws).iter().find(|(_, is_set)| *is_set)
    {
        bail!("{setting}.{name}: this belongs to invoke_endpoint");
    }
    let target = match (section.command, section.url, section.invoke_endpoint) {
        (Some(argv), None, None) => {
            ensure!(!argv.is_empty() && !argv[0].is_empty(), "{setting}.command: it names no program");
            Target::Command { argv, cwd: directory.cloned() }
        }
        (None, Some(url), None) => Target::Url(endpoint("url", &url.0)?),
        (None, None, Some(url)) => Target::InvokeEndpoint {
            endpoint: endpoint("invoke_endpoint", &url.0)?,
            credentials: credentials(setting, &aws)?,
            region: aws.region,
        },
        _ => bail!("{setting}: exactly one of command, url and invoke_endpoint is needed"),
    };
    let settings = FunctionSettings::new(target);
    Ok(match section.timeout {
        Some(Span(timeout)) if timeout.is_zero() => {
            bail!("{setting}.timeout: it must be longer than nothing")
        }
        Some(Span(timeout)) => settings.with_timeout(timeout),
        None => settings,
    })
}

fn access_keys(iam: Iam, listen: SocketAddr, mode: Mode) -> Result<Option<Vec<AccessKey>>> {
    let mut known = HashSet::new();
    let mut keys = Vec::new();
    for (index, principal) in iam.principals.into_iter().enumerate() {
        let setting = |key: &str| format!("iam.principals[{index}].{key}");
        let required = |key: &str, text: Option<String>| {
            text.filter(|text| !text.is_empty()).with_context(|| format!("{}: it is missing", setting(key)))
        };
        let arn = required("arn", principal.arn)?;
        ensure!(arn.starts_with("arn:"), "{}: `{arn}` is not an ARN", setting("arn"));
        let id = required("access_key_id", principal.access_key_id)?;
        ensure!(
            !id.contains(['/', ',', ' ']),
            "{}: `{id}` cannot be an access key",
            setting("access_key_id")
        );
        ensure!(known.insert(id.clone()), "{}: `{id}` is there twice", setting("access_key_id"));
        let secret = secret(
            &setting("secret_access_key"),
            principal.secret_access_key,
            principal.secret_access_key_file.as_deref(),
        )?
        .filter(|secret| !secret.expose().is_empty())
        .with_context(|| format!("{}: it is missing", setting("secret_access_key")))?;
        let policy =
            Policy::parse(&required("policy", principal.policy)?).with_context(|| setting("policy"))?;
        keys.push(AccessKey { id, secret, principal: Arc::new(Principal::new(arn, policy)) });
    }
    if iam.enforce.unwrap_or(mode == Mode::Serve) {
        ensure!(
            !keys.is_empty(),
            "iam.principals: signatures are enforced, and there is no principal that could sign"
        );
        Ok(Some(keys))
    } else {
        let is_safe = mode == Mode::Dev || listen.ip().is_loopback();
        ensure!(
            is_safe,
            "iam.enforce: it may be false only while listen is a loopback address, not {listen}"
        );
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One principal that may do everything.
    const PRINCIPAL: &str = r#"
        [[iam.principals]]
        arn = "arn:aws:iam::123456789012:user/deploy"
        access_key_id = "AKIAEXAMPLE"
        secret_access_key = "secret"
        policy = '{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}'
    "#;

    fn check(text: &str, mode: Mode) -> Result<Config> {
        let layer: Layer = toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        Config::check(layer.or_default(mode), mode)
    }

    fn refusal(text: &str, mode: Mode) -> String {
        let refusal = format!("{:#}", check(text, mode).map(drop).unwrap_err());
        assert!(!refusal.contains('\n'), "{refusal}");
        refusal
    }

    #[test]
    fn the_defaults_of_dev_are_enough() {
        let config = check("", Mode::Dev).unwrap();
        assert_eq!(config.listen, "127.0.0.1:5436".parse().unwrap());
        assert_eq!((config.management, config.limits), (None, false));
        assert!(matches!((&config.email, &config.sms), (Transport::Inbox, Transport::Inbox)));
        assert_eq!(config.storage.master_key_file.unwrap(), PathBuf::from("./lido-data/master.key"));
        assert!(config.access_keys.is_none());
    }

    #[test]
    fn the_real_server_needs_a_principal() {
        assert!(refusal("", Mode::Serve).starts_with("iam.principals: "));
        let config = check(PRINCIPAL, Mode::Serve).unwrap();
        assert_eq!(config.access_keys.unwrap().len(), 1);
        assert_eq!(config.management, Some("127.0.0.1:5437".parse().unwrap()));
        assert!(matches!(config.email, Transport::None) && config.limits);
    }

    #[test]
    fn enforcement_may_be_off_only_at_loopback() {
        assert!(check("iam.enforce = false", Mode::Serve).is_ok());
        assert!(
            refusal("listen = \"0.0.0.0:5436\"\niam.enforce = false", Mode::Serve)
                .starts_with("iam.enforce: ")
        );
        assert!(check("listen = \"0.0.0.0:5436\"", Mode::Dev).is_ok());
        assert!(refusal("iam.enforce = true", Mode::Dev).starts_with("iam.principals: "));
    }

    #[test]
    fn what_is_for_development_is_refused_by_the_real_server() {
        for (text, setting) in [
            ("playground = true", "playground: "),
            ("data = \":memory:\"", "data: "),
            ("delivery.email.transport = \"inbox\"", "delivery.email.transport: "),
            ("delivery.sms.transport = \"inbox\"", "delivery.sms.transport: "),
        ] {
            let refused = refusal(&format!("{text}\n{PRINCIPAL}"), Mode::Serve);
            assert!(refused.starts_with(setting) && refused.contains("lido dev"), "{refused}");
            assert!(check(text, Mode::Dev).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_database_needs_an_address_and_a_key_that_is_kept() {
        let text = "database = \"postgres://lido:hunter2@localhost/lido?sslmode=maybe\"";
        let said = refusal(text, Mode::Serve);
        assert!(said.starts_with("database: ") && !said.contains("hunter2"), "{said}");
        let text = "database = \"postgres://localhost/lido\"\ndata = \":memory:\"";
        assert!(refusal(text, Mode::Dev).starts_with("master_key_file: "), "{}", refusal(text, Mode::Dev));
    }

    #[test]
    fn what_is_not_built_yet_is_refused() {
        for (text, setting) in [
            ("delivery.email.transport = \"ses\"", "delivery.email.transport: "),
            ("delivery.sms.transport = \"sns\"", "delivery.sms.transport: "),
            ("delivery.sms.transport = \"pinpoint\"", "delivery.sms.transport: "),
            ("delivery.sms.transport = \"webhook\"", "delivery.sms.transport: "),
            ("kms.provider = \"aws\"", "kms.provider: "),
            ("kms.endpoint = \"http://localhost\"", "kms.endpoint: "),
            ("delivery.email.endpoint = \"http://localhost\"", "delivery.email.endpoint: "),
            ("delivery.sms.secret = \"x\"", "delivery.sms.secret: "),
        ] {
            assert!(refusal(text, Mode::Dev).starts_with(setting), "{}", refusal(text, Mode::Dev));
        }
    }

    #[test]
    fn bad_values_are_refused_with_their_setting() {
        for (text, setting) in [
            ("listen = \"5436\"", "listen: "),
            ("management = \"nowhere\"", "management: "),
            ("public_url = \"example.com\"", "public_url: "),
            ("public_url = \"https://example.com/?a=b\"", "public_url: "),
            ("issuer = \"public\"", "issuer: "),
            ("region = \"US EAST\"", "region: "),
            ("account = \"1234\"", "account: "),
            ("limits = \"on\"", "limits: "),
            ("log = \"xml\"", "log: "),
            ("delivery.email.transport = \"pigeon\"", "delivery.email.transport: "),
            ("delivery.email.transport = \"smtp\"", "delivery.email.url: "),
            ("delivery.email.url = \"smtp://localhost\"", "delivery.email.url: "),
            (
                "delivery.email = { transport = \"smtp\", from = \"a@example.com\", url = \"http://x\" }",
                "delivery.email.url: ",
            ),
            ("functions.default.timeout = \"5s\"", "functions.default: "),
            ("functions.default.url = \"ftp://x\"", "functions.default.url: "),
            ("functions.name.url = \"http://x\"", "functions.\"name\": "),
            (
                "functions.default.url = \"http://x\"\nfunctions.default.region = \"x\"",
                "functions.default.region: ",
            ),
            ("aws.access_key_id = \"AKIA\"", "aws.secret_access_key: "),
            ("aws.secret_access_key = \"s\"", "aws.access_key_id: "),
            ("aws.secret_access_key_file = \"/does/not/exist\"", "aws.secret_access_key_file: "),
            ("iam.principals = [{ arn = \"arn:x\" }]", "iam.principals[0].access_key_id: "),
        ] {
            assert!(refusal(text, Mode::Dev).starts_with(setting), "{}", refusal(text, Mode::Dev));
        }
        let twice = format!("{PRINCIPAL}{PRINCIPAL}");
        assert!(refusal(&twice, Mode::Dev).starts_with("iam.principals[1].access_key_id: "));
        let condition = PRINCIPAL.replace("\"Action\"", "\"Condition\":{},\"Action\"");
        assert_eq!(
            refusal(&condition, Mode::Dev),
            "iam.principals[0].policy: Statement 1: Condition is not supported yet"
        );
    }

    #[test]
    fn plain_http_is_for_loopback() {
        let with = |url: &str| format!("public_url = \"{url}\"\n{PRINCIPAL}");
        assert!(refusal(&with("http://id.example.com"), Mode::Serve).starts_with("public_url: "));
        for url in
            ["https://id.example.com/", "http://localhost:5436", "http://127.0.0.1", "http://[::1]:5436"]
        {
            let config = check(&with(url), Mode::Serve).unwrap();
            assert_eq!(config.public_url.unwrap(), url.trim_end_matches('/'));
        }
        assert!(check("public_url = \"http://id.example.com\"", Mode::Dev).is_ok());
    }

    #[test]
    fn the_management_address_is_its_own_only_if_it_differs() {
        let management = |text: &str| check(text, Mode::Dev).unwrap().management;
        assert_eq!(management("listen = \"127.0.0.1:1\"\nmanagement = \"127.0.0.1:1\""), None);
        assert!(management("listen = \"127.0.0.1:0\"\nmanagement = \"127.0.0.1:0\"").is_some());
    }

    #[test]
    fn functions_are_processes_urls_or_endpoints() {
        let config = check(
            r#"
            [functions."arn:aws:lambda:us-east-1:000000000000:function:a"]
            command = ["node", "a.mjs"]
            [functions."arn:aws:lambda:us-east-1:000000000000:function:b"]
            url = "http://127.0.0.1:3000/b"
            timeout = "3s"
            [functions.default]
            invoke_endpoint = "http://127.0.0.1:3001"
            access_key_id = "AKIA"
            secret_access_key = "s"
            region = "eu-west-1"
            "#,
            Mode::Dev,
        )
        .unwrap();
        let targets: Vec<_> =
            config.functions.values().map(|function| (&function.target, function.timeout)).collect();
        assert!(matches!(targets[0], (Target::Command { cwd: None, .. }, FunctionSettings::DEFAULT_TIMEOUT)));
        assert!(matches!(targets[1], (Target::Url(_), timeout) if timeout == Duration::from_secs(3)));
        let default = config.default_function.unwrap().target;
        assert!(matches!(default, Target::InvokeEndpoint { credentials: Some(_), region: Some(_), .. }));
    }

    #[test]
    fn a_secret_may_lie_in_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        fs::write(&file, "s3cret\n").unwrap();
        let text = PRINCIPAL
            .replace("secret_access_key = \"secret\"", &format!("secret_access_key_file = {file:?}"));
        let keys = check(&text, Mode::Serve).unwrap().access_keys.unwrap();
        assert_eq!(keys[0].secret.expose(), "s3cret");
    }
}
