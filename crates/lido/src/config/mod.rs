//! The settings: each is declared once, and is flag, `LIDO_…` variable and key of `lido.toml` by that.
//!
//! A [`Layer`] is what one source says. [`load`] lays them over each other: flag, environment, file,
//! default. What the result means is decided in [`checked`].

pub(crate) mod checked;
pub(crate) mod value;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

pub(crate) use checked::{Config, LogFormat, Storage};
use value::{Address, SecretText, Span};

/// Which server is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    Dev,
    Serve,
}

impl Mode {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Serve => "serve",
        }
    }
}

/// What one source says of the settings; what it does not say is absent.
#[derive(Clone, Debug, Default, Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Layer {
    /// Address of the API, the issuer and the pages; port 0 picks a free one [default: 127.0.0.1:5436]
    #[arg(long, env = "LIDO_LISTEN", value_name = "ADDR")]
    pub(crate) listen: Option<String>,

    /// Address of health, metrics and control [default: dev that of --listen, serve 127.0.0.1:5437]
    #[arg(long, env = "LIDO_MANAGEMENT", value_name = "ADDR")]
    pub(crate) management: Option<String>,

    /// Base of the issuer and of every advertised URL [default: http://localhost:<port>]
    #[arg(long, env = "LIDO_PUBLIC_URL", value_name = "URL")]
    #[serde(alias = "public-url")]
    pub(crate) public_url: Option<String>,

    /// Issuer of tokens: public-url, aws, or a text in which {userPoolId} is replaced [default: public-url]
    #[arg(long, env = "LIDO_ISSUER", value_name = "ISSUER")]
    pub(crate) issuer: Option<String>,

    /// 32 random bytes in base64, made on first start [default: <data>/master.key]
    #[arg(long, env = "LIDO_MASTER_KEY_FILE", value_name = "FILE")]
    #[serde(alias = "master-key-file")]
    pub(crate) master_key_file: Option<String>,

    /// Directory of the embedded store; `:memory:` keeps nothing (dev only) [default: ./lido-data]
    #[arg(long, env = "LIDO_DATA", value_name = "DIR")]
    pub(crate) data: Option<String>,

    /// postgres://… instead of the embedded store
    #[arg(long, env = "LIDO_DATABASE", value_name = "URL")]
    pub(crate) database: Option<Address>,

    /// Region of new pools, unless a request's signature names one [default: us-east-1]
    #[arg(long, env = "LIDO_REGION", value_name = "NAME")]
    pub(crate) region: Option<String>,

    /// Account id in ARNs: 12 digits [default: 000000000000]
    #[arg(long, env = "LIDO_ACCOUNT", value_name = "ID")]
    pub(crate) account: Option<String>,

    /// Pools, clients, groups and users to be there: JSON, or YAML by its ending
    #[arg(long, env = "LIDO_SEED", value_name = "FILE")]
    pub(crate) seed: Option<String>,

    /// Request rates and message counts: off, cognito [default: dev off, serve cognito]
    #[arg(long, env = "LIDO_LIMITS", value_name = "LIMITS")]
    pub(crate) limits: Option<String>,

    /// Make a pool, an app client and a user to play with, and print lines to paste (dev only)
    #[arg(long, env = "LIDO_PLAYGROUND", value_parser = BoolishValueParser::new())]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) playground: Option<bool>,

    /// Form of the log: text, json [default: text]
    #[arg(long, env = "LIDO_LOG_FORMAT", value_name = "FORMAT")]
    pub(crate) log: Option<String>,

    /// Where the configuration file lies; the processes of functions are started there.
    #[arg(skip)]
    #[serde(skip)]
    pub(crate) directory: Option<PathBuf>,
    #[arg(skip)]
    pub(crate) delivery: Delivery,
    #[arg(skip)]
    pub(crate) functions: BTreeMap<String, Function>,
    #[arg(skip)]
    pub(crate) aws: Aws,
    #[arg(skip)]
    pub(crate) iam: Iam,
    #[arg(skip)]
    pub(crate) kms: Kms,
}

/// `[delivery]`: how messages leave.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Delivery {
    /// How long a call waits for the first attempt; `2s`.
    pub(crate) answer_within: Option<Span>,
    /// The times between attempts; `["1s", "5s", "30s", "2m", "10m", "1h", "6h"]`.
    pub(crate) retry: Option<Vec<Span>>,
    pub(crate) email: Email,
    pub(crate) sms: Sms,
}

/// Declares a section that may have the region and the key of its calls to AWS, beside its own settings.
macro_rules! aws_section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Deserialize, Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub(crate) struct $name {
            $($(#[$field_doc])* pub(crate) $field: Option<$type>,)*
            pub(crate) region: Option<String>,
            pub(crate) access_key_id: Option<String>,
            pub(crate) secret_access_key: Option<SecretText>,
            pub(crate) secret_access_key_file: Option<String>,
            pub(crate) session_token: Option<SecretText>,
        }

        /// What the section says of signing its calls.
        impl From<&$name> for Aws {
            fn from(section: &$name) -> Self {
                Self {
                    region: section.region.clone(),
                    access_key_id: section.access_key_id.clone(),
                    secret_access_key: section.secret_access_key.clone(),
                    secret_access_key_file: section.secret_access_key_file.clone(),
                    session_token: section.session_token.clone(),
                }
            }
        }
    };
}

aws_section! {
    /// `[aws]`: for every section that says nothing of its own.
    Aws {}
}

aws_section! {
    /// `[delivery.email]`
    Email {
        /// `inbox` (dev only, its default), `smtp`, `ses`, `none` (the default of serve).
        transport: String,
        /// The sender where the pool names none: `Lido <no-reply@example.com>`.
        from: String,
        /// smtp: `smtp://user:pass@host:587?tls=required`, `smtps://…`.
        url: Address,
        /// smtp: wins over the password in the URL.
        password: SecretText,
        password_file: String,
        /// smtp: PEM certificates of the authorities to trust instead of the system's.
        ca_file: String,
        /// ses: the service's address.
        endpoint: String,
    }
}

aws_section! {
    /// `[delivery.sms]`
    Sms {
        /// `inbox` (dev only, its default), `sns`, `pinpoint`, `webhook`, `none` (the default of serve).
        transport: String,
        /// webhook: where messages are POSTed to.
        url: Address,
        /// webhook: the key of its signatures.
        secret: SecretText,
        secret_file: String,
        /// sns, pinpoint: the service's address.
        endpoint: String,
    }
}

aws_section! {
    /// `[functions."<arn>"]` and `[functions.default]`: one of the first three.
    Function {
        /// A process that speaks the Lambda Runtime API, started in the configuration file's directory.
        command: Vec<String>,
        /// The event is POSTed as JSON, the JSON answer is the result.
        url: Address,
        /// The Lambda Invoke API.
        invoke_endpoint: Address,
        /// The limit of one attempt; `5s`.
        timeout: Span,
    }
}

aws_section! {
    /// `[kms]`: the key of custom senders.
    Kms {
        /// `local`.
        provider: String,
        /// aws: the service's address.
        endpoint: String,
    }
}

/// `[iam]`: who may call the operations that IAM authorizes.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Iam {
    /// Whether signatures and policies count; dev `false`, serve `true`.
    pub(crate) enforce: Option<bool>,
    pub(crate) principals: Vec<Principal>,
}

/// `[[iam.principals]]`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Principal {
    pub(crate) arn: Option<String>,
    pub(crate) access_key_id: Option<String>,
    pub(crate) secret_access_key: Option<SecretText>,
    pub(crate) secret_access_key_file: Option<String>,
    /// An IAM identity policy, JSON.
    pub(crate) policy: Option<String>,
}

/// The settings in force. `file`: the configuration file; without one `lido.toml` counts if it exists.
/// `flags`: flags and the variables that go with them. `variables`: the environment, for the sections.
///
/// Errors: a file that cannot be read, an unknown key, a value of another kind, each with its place.
pub(crate) fn load(
    file: Option<PathBuf>,
    flags: Layer,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    mode: Mode,
) -> Result<Layer> {
    let (mut table, directory) = read(file)?;
    for (name, value) in section_variables(variables) {
        overlay(&mut table, &name, &value)?;
        parse(&table).map_err(|error| anyhow!("{name}: {}", one_line(error.message())))?;
    }
    let file = parse(&table).map_err(|error| anyhow!("{}", one_line(error.message())))?;
    Ok(Layer { directory, ..flags.without_empty_texts().over(file).or_default(mode) })
}

fn parse(table: &Table) -> Result<Layer, toml::de::Error> {
    Layer::deserialize(table.clone())
}

fn one_line(text: &str) -> String {
    text.trim().replace('\n', " ")
}

/// The file's table and directory; paths in it count from there.
fn read(file: Option<PathBuf>) -> Result<(Table, Option<PathBuf>)> {
    let is_default = file.is_none();
    let file = file.unwrap_or_else(|| PathBuf::from("lido.toml"));
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if is_default && error.kind() == ErrorKind::NotFound => return Ok((Table::new(), None)),
        Err(error) => return Err(error).with_context(|| format!("config: {}", file.display())),
    };
    let place = |error: toml::de::Error| {
        let line =
            error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        anyhow!("{} line {line}: {}", file.display(), one_line(error.message()))
    };
    // Once for keys and kinds of values with their lines, once for the table.
    toml::from_str::<Layer>(&text).map_err(place)?;
    let mut table: Table = toml::from_str(&text).map_err(place)?;
    let directory = file.parent().filter(|directory| !directory.as_os_str().is_empty());
    if let Some(directory) = directory {
        anchor(&mut table, directory);
    }
    Ok((table, directory.map(Path::to_owned)))
}

fn is_path(key: &str) -> bool {
    key.ends_with("_file") || key.ends_with("-file") || key == "seed" || key == "data"
}

/// Makes the relative paths of a file count from its directory.
fn anchor(table: &mut Table, directory: &Path) {
    for (key, value) in table {
        match value {
            Value::Table(section) => anchor(section, directory),
            Value::Array(list) => {
                list.iter_mut()
                    .filter_map(Value::as_table_mut)
                    .for_each(|section| anchor(section, directory));
            }
            // Joining an absolute path gives that path.
            Value::String(path) if is_path(key) && path != MEMORY => {
                *path = directory.join(&*path).to_string_lossy().into_owned();
            }
            _ => {}
        }
    }
}

/// The data directory that is none.
pub(crate) const MEMORY: &str = ":memory:";

/// Sections whose settings have variables too, as variables spell them; the last has a number next.
const SECTIONS: [(&str, &[&str]); 6] = [
    ("LIDO_DELIVERY_EMAIL_", &["delivery", "email"]),
    ("LIDO_DELIVERY_SMS_", &["delivery", "sms"]),
    ("LIDO_DELIVERY_", &["delivery"]),
    ("LIDO_AWS_", &["aws"]),
    ("LIDO_KMS_", &["kms"]),
    ("LIDO_IAM_", &["iam"]),
];
const PRINCIPALS: &str = "LIDO_IAM_PRINCIPALS_";

/// The variables of sections that hold something, in the order of their names.
fn section_variables(variables: impl IntoIterator<Item = (OsString, OsString)>) -> BTreeMap<String, String> {
    variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, value)| {
            !value.is_empty() && SECTIONS.iter().any(|(prefix, _)| name.starts_with(prefix))
        })
        .collect()
}

/// Sets what a variable says, `LIDO_DELIVERY_EMAIL_FROM` the key `from` of `[delivery.email]`, and
/// `LIDO_IAM_PRINCIPALS_0_ARN` the key `arn` of the first of `[[iam.principals]]`. Whether there is such a
/// key is found when the table is parsed.
fn overlay(table: &mut Table, name: &str, text: &str) -> Result<()> {
    let (section, key) = if let Some(rest) = name.strip_prefix(PRINCIPALS) {
        let numbered =
            rest.split_once('_').and_then(|(number, key)| Some((number.parse::<usize>().ok()?, key)));
        let Some((number, key)) = numbered else {
            bail!("{name}: a number and a key are expected after PRINCIPALS")
        };
        let iam = section(table, &["iam"]).with_context(|| name.to_owned())?;
        let list = iam.entry("principals").or_insert_with(|| Value::Array(Vec::new()));
        let list = list.as_array_mut().with_context(|| name.to_owned())?;
        if number > list.len() {
            bail!("{name}: principals are numbered from 0 without gaps, there are {}", list.len());
        }
        if number == list.len() {
            list.push(Value::Table(Table::new()));
        }
        (list[number].as_table_mut().with_context(|| name.to_owned())?, key)
    } else {
        let known = SECTIONS.iter().find_map(|(prefix, path)| Some((path, name.strip_prefix(prefix)?)));
        let (path, key) = known.with_context(|| name.to_owned())?;
        (section(table, path).with_context(|| name.to_owned())?, key)
    };
    let value = match (key, text) {
        ("RETRY", list) => {
            list.split(',').map(|span| Value::String(span.trim().to_owned())).collect::<Vec<_>>().into()
        }
        ("ENFORCE", "true") => Value::Boolean(true),
        ("ENFORCE", "false") => Value::Boolean(false),
        (_, text) => Value::String(text.to_owned()),
    };
    section.insert(key.to_ascii_lowercase(), value);
    Ok(())
}

fn section<'t>(table: &'t mut Table, path: &[&str]) -> Option<&'t mut Table> {
    path.iter().try_fold(table, |table, name| {
        table.entry(*name).or_insert_with(|| Value::Table(Table::new())).as_table_mut()
    })
}

impl Layer {
    /// A variable that is set to nothing says nothing.
    fn without_empty_texts(self) -> Self {
        let said = |text: Option<String>| text.filter(|text| !text.is_empty());
        Self {
            listen: said(self.listen),
            management: said(self.management),
            public_url: said(self.public_url),
            issuer: said(self.issuer),
            master_key_file: said(self.master_key_file),
            data: said(self.data),
            database: self.database.filter(|url| !url.0.is_empty()),
            region: said(self.region),
            account: said(self.account),
            seed: said(self.seed),
            limits: said(self.limits),
            log: said(self.log),
            ..self
        }
    }

    /// What this layer says, and where it says nothing, what the one below says. Only a file says
    /// anything of the sections.
    fn over(self, file: Self) -> Self {
        Self {
            listen: self.listen.or(file.listen),
            management: self.management.or(file.management),
            public_url: self.public_url.or(file.public_url),
            issuer: self.issuer.or(file.issuer),
            master_key_file: self.master_key_file.or(file.master_key_file),
            data: self.data.or(file.data),
            database: self.database.or(file.database),
            region: self.region.or(file.region),
            account: self.account.or(file.account),
            seed: self.seed.or(file.seed),
            limits: self.limits.or(file.limits),
            playground: self.playground.or(file.playground),
            log: self.log.or(file.log),
            ..file
        }
    }

    /// Fills in every default that is not found while the server starts.
    fn or_default(mut self, mode: Mode) -> Self {
        let by_mode = |dev: &str, serve: &str| Some(if mode == Mode::Dev { dev } else { serve }.to_owned());
        let text = |text: &str| Some(text.to_owned());
        let span = |text: &str| text.parse::<Span>().ok();

        self.listen = self.listen.or_else(|| text("127.0.0.1:5436"));
        if mode == Mode::Serve {
            self.management = self.management.or_else(|| text("127.0.0.1:5437"));
        }
        self.issuer = self.issuer.or_else(|| text("public-url"));
        self.data = self.data.or_else(|| text("./lido-data"));
        self.region = self.region.or_else(|| text("us-east-1"));
        self.account = self.account.or_else(|| text("000000000000"));
        self.limits = self.limits.or_else(|| by_mode("off", "cognito"));
        self.playground = self.playground.or(Some(false));
        self.log = self.log.or_else(|| text("text"));

        let delivery = &mut self.delivery;
        delivery.answer_within = delivery.answer_within.or_else(|| span("2s"));
        delivery.retry = delivery
            .retry
            .take()
            .or_else(|| ["1s", "5s", "30s", "2m", "10m", "1h", "6h"].map(span).into_iter().collect());
        delivery.email.transport = delivery.email.transport.take().or_else(|| by_mode("inbox", "none"));
        delivery.sms.transport = delivery.sms.transport.take().or_else(|| by_mode("inbox", "none"));
        self.iam.enforce = self.iam.enforce.or(Some(mode == Mode::Serve));
        self.kms.provider = self.kms.provider.take().or_else(|| text("local"));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(list: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        list.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    fn load_text(text: &str, flags: Layer, environment: &[(&str, &str)]) -> Result<Layer> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("lido.toml");
        fs::write(&file, text).unwrap();
        load(Some(file), flags, variables(environment), Mode::Dev)
    }

    fn refusal(text: &str, environment: &[(&str, &str)]) -> String {
        format!("{:#}", load_text(text, Layer::default(), environment).unwrap_err())
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let flags =
            Layer { region: Some("eu-west-1".into()), account: Some(String::new()), ..Layer::default() };
        let text = "region = \"eu-north-1\"\naccount = \"123456789012\"\nplayground = true";
        let layer = load_text(text, flags, &[]).unwrap();
        assert_eq!(layer.region.as_deref(), Some("eu-west-1"));
        assert_eq!(layer.account.as_deref(), Some("123456789012"), "an empty variable counts as absent");
        assert_eq!(layer.playground, Some(true));
        assert_eq!(layer.listen.as_deref(), Some("127.0.0.1:5436"));
    }

    #[test]
    fn defaults_follow_the_command() {
        let none = || load(None, Layer::default(), [], Mode::Serve).unwrap();
        let layer = none();
        assert_eq!(layer.limits.as_deref(), Some("cognito"));
        assert_eq!(layer.management.as_deref(), Some("127.0.0.1:5437"));
        assert_eq!(layer.delivery.email.transport.as_deref(), Some("none"));
        assert_eq!(layer.iam.enforce, Some(true));
        let dev = Layer::default().or_default(Mode::Dev);
        assert_eq!((dev.limits.as_deref(), dev.management), (Some("off"), None));
        assert_eq!(dev.delivery.sms.transport.as_deref(), Some("inbox"));
        assert_eq!(dev.delivery.retry.unwrap().len(), 7);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let refused = refusal("region = \"eu-west-1\"\n\n[delivery.email]\ntransprt = \"smtp\"\n", &[]);
        assert!(refused.contains("lido.toml line 4: unknown field `transprt`"), "{refused}");
        assert!(refusal("regoin = \"x\"", &[]).contains("line 1: unknown field `regoin`"));
        assert!(
            refusal("[iam]\n[[iam.principals]]\nkey = \"x\"", &[]).contains("line 3: unknown field `key`")
        );
        assert!(!refused.contains('\n'));
    }

    #[test]
    fn a_bad_value_is_named_with_its_line() {
        assert!(refusal("\nregion = 5", &[]).contains("line 2: invalid type"));
        assert!(
            refusal("[delivery]\nretry = [\"1s\", \"soon\"]", &[])
                .contains("line 2: `soon` is not a duration")
        );
        assert!(refusal("region = ", &[]).contains("line 1"));
    }

    #[test]
    fn sections_have_variables() {
        let text =
            "[delivery.email]\nfrom = \"a@example.com\"\n[[iam.principals]]\naccess_key_id = \"AKIA1\"";
        let environment = [
            ("LIDO_DELIVERY_EMAIL_FROM", "b@example.com"),
            ("LIDO_DELIVERY_EMAIL_PASSWORD", "hunter2"),
            ("LIDO_DELIVERY_RETRY", "1s, 2s"),
            ("LIDO_DELIVERY_SMS_TRANSPORT", ""),
            ("LIDO_IAM_ENFORCE", "true"),
            ("LIDO_IAM_PRINCIPALS_0_SECRET_ACCESS_KEY", "sesame"),
            ("LIDO_IAM_PRINCIPALS_1_ACCESS_KEY_ID", "AKIA2"),
            ("LIDO_SERVICE_HOST", "set by an orchestrator"),
        ];
        let layer = load_text(text, Layer::default(), &environment).unwrap();
        assert_eq!(layer.delivery.email.from.as_deref(), Some("b@example.com"));
        assert_eq!(layer.delivery.email.password.unwrap().into_secret().expose(), "hunter2");
        assert_eq!(layer.delivery.retry.unwrap().len(), 2);
        assert_eq!(layer.iam.enforce, Some(true));
        let [first, second] = layer.iam.principals.try_into().unwrap();
        assert_eq!(first.access_key_id.as_deref(), Some("AKIA1"));
        assert_eq!(first.secret_access_key.unwrap().into_secret().expose(), "sesame");
        assert_eq!(second.access_key_id.as_deref(), Some("AKIA2"));
    }

    #[test]
    fn a_wrong_variable_is_named() {
        assert!(
            refusal("", &[("LIDO_DELIVERY_EMAIL_FORM", "x")])
                .starts_with("LIDO_DELIVERY_EMAIL_FORM: unknown field `form`")
        );
        assert!(refusal("", &[("LIDO_IAM_ENFORCE", "yes")]).starts_with("LIDO_IAM_ENFORCE: invalid type"));
        assert!(refusal("", &[("LIDO_IAM_PRINCIPALS_1_ARN", "x")]).contains("without gaps"));
        assert!(refusal("", &[("LIDO_DELIVERY_ANSWER_WITHIN", "2")]).contains("is not a duration"));
    }

    #[test]
    fn paths_in_the_file_count_from_its_directory() {
        let text = "data = \"d\"\nmaster_key_file = \"/etc/key\"\n[aws]\nsecret_access_key_file = \"s\"\n\
                    [[iam.principals]]\nsecret_access_key_file = \"p\"";
        let layer = load_text(text, Layer::default(), &[]).unwrap();
        let directory = layer.directory.unwrap();
        let inside = |name: &str| Some(directory.join(name).to_string_lossy().into_owned());
        assert_eq!(layer.data, inside("d"));
        assert_eq!(layer.master_key_file.as_deref(), Some("/etc/key"));
        assert_eq!(layer.aws.secret_access_key_file, inside("s"));
        assert_eq!(layer.iam.principals[0].secret_access_key_file, inside("p"));
        assert_eq!(
            load_text("data = \":memory:\"", Layer::default(), &[]).unwrap().data.as_deref(),
            Some(MEMORY)
        );
    }

    #[test]
    fn secrets_are_masked_when_printed() {
        let text = "[aws]\nsecret_access_key = \"s3cret\"\nsession_token = \"s3cret\"\n[delivery.email]\n\
                    url = \"smtp://me:s3cret@mail.example.com\"\npassword = \"s3cret\"\n[delivery.sms]\nsecret = \"s3cret\"\n\
                    [[iam.principals]]\nsecret_access_key = \"s3cret\"\n[functions.default]\nurl = \"http://a:s3cret@h\"";
        let printed = toml::to_string(&load_text(text, Layer::default(), &[]).unwrap()).unwrap();
        assert!(!printed.contains("s3cret"), "{printed}");
        assert_eq!(printed.matches(value::MASK).count(), 7, "{printed}");
        assert!(toml::from_str::<Layer>(&printed).is_ok(), "{printed}");
    }
}
