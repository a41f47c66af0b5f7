//! Which function an ARN is, how long it may take, and how often it is tried.

mod client;
mod command;
mod invoke;
mod runtime_api;
mod url;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lido_domain::ports::InvokeError;
use lido_domain::{Clock, TriggerHost};
use serde_json::Value;
use tracing::warn;

use crate::{AwsSettings, Credentials};
use client::HttpClient;
use command::Supervisor;

/// A function is tried this often in all.
/// Source: the user pool guide, triggers: on a time-out "may retry"; three in its text of 2023.
const ATTEMPTS: u32 = 3;

/// Before a connection that failed is tried again, times the number of attempts made.
const RECONNECT_AFTER: Duration = Duration::from_millis(100);

/// The greatest answer of a synchronous invocation: 6 MB and a little for its envelope, as in Lambda.
const MAX_ANSWER: usize = 6_291_556;

/// What `[functions."<arn>"]` or `[functions.default]` says.
#[derive(Clone, Debug)]
pub struct FunctionSettings {
    pub target: Target,
    /// The limit of one attempt.
    pub timeout: Duration,
}

impl FunctionSettings {
    /// Cognito's limit of a trigger.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

    pub fn new(target: Target) -> Self {
        Self { target, timeout: Self::DEFAULT_TIMEOUT }
    }

    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }
}

/// How a function runs.
#[derive(Clone, Debug)]
pub enum Target {
    /// A process that speaks the Lambda Runtime API.
    Command {
        /// Program and arguments; a relative path with a `/` is looked up in `cwd`.
        argv: Vec<String>,
        /// The working directory: that of the configuration file. Absent: Lido's own.
        cwd: Option<PathBuf>,
    },
    /// The event is POSTed as JSON; the JSON answer is the result.
    Url(::url::Url),
    /// The Lambda Invoke API.
    InvokeEndpoint {
        /// The service's address. One whose path ends in `/invocations` is called as it stands.
        endpoint: ::url::Url,
        /// The section's own key, before that of [`AwsSettings`].
        credentials: Option<Credentials>,
        /// The section's own region for the signature.
        region: Option<String>,
    },
}

/// The functions behind Lambda triggers.
#[derive(Debug)]
pub struct Functions {
    by_arn: BTreeMap<String, FunctionSettings>,
    default: Option<FunctionSettings>,
    aws: AwsSettings,
    clock: Arc<dyn Clock>,
    http: HttpClient,
    running: Mutex<Running>,
}

/// The supervisors of command functions, by the ARN that they were started for.
#[derive(Debug, Default)]
struct Running {
    supervisors: HashMap<String, Arc<Supervisor>>,
    closed: bool,
}

/// Why an attempt gave no answer, and whether another may be made.
#[derive(Debug)]
enum Failure {
    /// Time-outs and connection errors.
    Again(InvokeError),
    Final(InvokeError),
}

impl Functions {
    /// `by_arn`: what each ARN is, qualified or not. `default`: what every other ARN is.
    ///
    /// `aws`: `[aws]`; call [`AwsSettings::or_environment`] on it for the `AWS_…` variables to count.
    ///
    /// `clock`: the real time, not one that development mode moves: a signature must agree with
    /// AWS's clock, and a function compares its deadline with its own.
    pub fn new(
        by_arn: BTreeMap<String, FunctionSettings>,
        default: Option<FunctionSettings>,
        aws: AwsSettings,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { by_arn, default, aws, clock, http: HttpClient::default(), running: Mutex::default() }
    }

    /// Ends every process of every function, and returns when they are gone. Later invocations of
    /// command functions fail as unreachable.
    pub async fn shutdown(&self) {
        let supervisors = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.closed = true;
            std::mem::take(&mut running.supervisors)
        };
        for supervisor in supervisors.values() {
            supervisor.stop();
        }
        for supervisor in supervisors.into_values() {
            supervisor.stopped().await;
        }
    }

    /// The settings of `arn`, and the ARN under which its processes are kept: an alias or version
    /// without an entry of its own shares those of the function.
    fn resolve<'a>(&'a self, arn: &'a str) -> Option<(&'a str, &'a FunctionSettings)> {
        let unqualified = unqualified(arn);
        self.by_arn.get(arn).map(|settings| (arn, settings)).or_else(|| {
            self.by_arn.get(unqualified).or(self.default.as_ref()).map(|found| (unqualified, found))
        })
    }

    fn supervisor(
        &self,
        arn: &str,
        argv: &[String],
        cwd: Option<&PathBuf>,
        limit: Duration,
    ) -> Option<Arc<Supervisor>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.closed {
            return None;
        }
        let supervisor = running.supervisors.entry(arn.to_owned()).or_insert_with(|| {
            Arc::new(Supervisor::new(arn, argv.to_vec(), cwd.cloned(), limit, Arc::clone(&self.clock)))
        });
        Some(Arc::clone(supervisor))
    }

    async fn attempt(
        &self,
        arn: &str,
        (home, settings): (&str, &FunctionSettings),
        event: &Bytes,
    ) -> Result<Value, Failure> {
        match &settings.target {
            Target::Command { argv, cwd } => {
                let supervisor = self
                    .supervisor(home, argv, cwd.as_ref(), settings.timeout)
                    .ok_or_else(|| Failure::Final(unreachable("ServiceException")))?;
                supervisor.invoke(arn, event.clone()).await
            }
            Target::Url(url) => limited(settings.timeout, url::post(&self.http, url, event.clone())).await,
            Target::InvokeEndpoint { endpoint, credentials, region } => {
                let call = invoke::Call {
                    arn,
                    endpoint,
                    credentials: self.aws.credentials_or(credentials.as_ref()),
                    region: self.aws.region_or(region.as_deref(), region_of(arn)),
                    now: self.clock.now(),
                };
                limited(settings.timeout, invoke::invoke(&self.http, &call, event.clone())).await
            }
        }
    }
}

#[async_trait]
impl TriggerHost for Functions {
    async fn invoke(&self, arn: &str, event: &Value) -> Result<Value, InvokeError> {
        let Some(function) = self.resolve(arn) else {
            warn!(function.arn = %arn, "no function is configured for {arn}");
            return Err(unreachable("ResourceNotFoundException"));
        };
        let event = Bytes::from(event.to_string());
        let mut made = 0;
        loop {
            made += 1;
            match self.attempt(arn, function, &event).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Again(error)) if made == ATTEMPTS => {
                    warn!(function.arn = %arn, ?error, "{arn} failed in {made} attempts");
                    return Err(error);
                }
                Err(Failure::Again(InvokeError::Timeout)) => {}
                Err(Failure::Again(_)) => tokio::time::sleep(RECONNECT_AFTER * made).await,
            }
        }
    }
}

async fn limited(
    limit: Duration,
    attempt: impl Future<Output = Result<Value, Failure>>,
) -> Result<Value, Failure> {
    tokio::time::timeout(limit, attempt).await.unwrap_or(Err(Failure::Again(InvokeError::Timeout)))
}

fn unreachable(code: impl Into<String>) -> InvokeError {
    InvokeError::Unreachable { code: code.into() }
}

/// The result of a function whose answer is `body`.
fn answer(body: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(body).map_err(|_| Failure::Final(InvokeError::NotJson))
}

fn function_error(message: impl Into<String>) -> Failure {
    Failure::Final(InvokeError::Function { message: message.into() })
}

fn answer_too_large() -> String {
    format!("Response payload size exceeded maximum allowed payload size ({MAX_ANSWER} bytes).")
}

/// What an error object says: its `errorMessage`, or its `errorType` where that is missing or empty.
fn error_message(body: &[u8]) -> Option<String> {
    let error: Value = serde_json::from_slice(body).ok()?;
    let text = |member| error.get(member).and_then(Value::as_str).filter(|text| !text.is_empty());
    text("errorMessage").or_else(|| text("errorType")).map(str::to_owned)
}

/// The parts of `arn:aws:lambda:{region}:{account}:function:{name}[:{qualifier}]`; `None` for other texts.
fn parts(arn: &str) -> Option<[&str; 7]> {
    let mut parts = arn.splitn(8, ':');
    let parts: [Option<&str>; 7] = std::array::from_fn(|_| parts.next());
    match parts {
        [
            Some(arn @ "arn"),
            Some(aws),
            Some(lambda),
            Some(region),
            Some(account),
            Some(function),
            Some(name),
        ] => Some([arn, aws, lambda, region, account, function, name]),
        _ => None,
    }
}

fn region_of(arn: &str) -> Option<&str> {
    parts(arn).map(|parts| parts[3]).filter(|region| !region.is_empty())
}

fn name_of(arn: &str) -> &str {
    parts(arn).map_or(arn, |parts| parts[6])
}

/// The ARN without alias or version.
fn unqualified(arn: &str) -> &str {
    parts(arn).map_or(arn, |parts| &arn[..parts.iter().map(|part| part.len() + 1).sum::<usize>() - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:lambda:eu-west-1:000000000000:function:greet";

    #[test]
    fn an_arn_is_taken_apart() {
        let qualified = format!("{ARN}:live");
        assert_eq!(unqualified(&qualified), ARN);
        assert_eq!(unqualified(ARN), ARN);
        assert_eq!(unqualified("greet:live"), "greet:live");
        assert_eq!((name_of(&qualified), name_of("greet")), ("greet", "greet"));
        assert_eq!((region_of(&qualified), region_of("greet")), (Some("eu-west-1"), None));
    }

    #[test]
    fn an_error_object_gives_its_message_or_its_type() {
        assert_eq!(error_message(br#"{"errorMessage":"no","errorType":"Error"}"#).as_deref(), Some("no"));
        assert_eq!(error_message(br#"{"errorMessage":"","errorType":"Error"}"#).as_deref(), Some("Error"));
        assert_eq!(error_message(br#"{"errorType":"Error"}"#).as_deref(), Some("Error"));
        assert_eq!(error_message(b"<html>"), None);
    }
}
