//! Lambda triggers: one typed function for each, over one way to invoke them.
//!
//! No transaction is open and no thread is held while a function runs. Its answer counts for
//! `response` alone; what else it changed is ignored, except `userName`, which must not change.

pub mod custom_message;

use lido_wire::types::LambdaConfigType;
use serde_json::{Value, json};

use crate::cx::Cx;
use crate::fault::{self, Result};
use crate::pool::{Client, Pool};

/// Who and what an event is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    pub pool: &'a Pool,
    /// None for operations that no app client calls.
    pub client: Option<&'a Client>,
    pub username: &'a str,
}

/// The members that every event has. Source: common trigger event, version 1.
pub(crate) fn event(about: About<'_>, source: &str, request: Value, response: Value) -> Value {
    json!({
        "version": "1",
        "region": about.pool.record.id.region(),
        "userPoolId": about.pool.record.id.as_str(),
        "userName": about.username,
        "callerContext": {
            "awsSdkVersion": "aws-sdk-unknown-unknown",
            "clientId": about.client.map_or("CLIENT_ID_NOT_APPLICABLE", |client| client.record.id.as_str()),
        },
        "triggerSource": source,
        "request": request,
        "response": response,
    })
}

/// Runs the function of `trigger` (`CustomMessage`) and returns the `response` of its answer.
pub(crate) async fn invoke(cx: &Cx, trigger: &str, arn: &str, event: &Value) -> Result<Value> {
    let answer =
        cx.functions.invoke(arn, event).await.map_err(|error| fault::trigger_failed(trigger, &error))?;
    let Value::Object(mut answer) = answer else { return Err(fault::unrecognizable_lambda_output().into()) };
    if answer.get("userName").is_some_and(|name| *name != event["userName"]) {
        return Err(fault::lambda_changed_username().into());
    }
    match answer.remove("response") {
        Some(response @ Value::Object(_)) => Ok(response),
        _ => Err(fault::unrecognizable_lambda_output().into()),
    }
}

/// Refuses to go on where the pool names a trigger that Lido cannot run yet: leaving it out in silence
/// could let in whom it would have refused.
pub(crate) fn refuse_unbuilt(pool: &Pool, fired: &[Unbuilt]) -> Result<()> {
    let Some(lambda) = pool.lambda() else { return Ok(()) };
    for trigger in fired {
        if trigger.is_set(lambda) {
            return Err(fault::feature_not_implemented(&format!("the {trigger:?} trigger")).into());
        }
    }
    Ok(())
}

/// Triggers without behaviour so far.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unbuilt {
    PreSignUp,
    PostConfirmation,
    PreAuthentication,
    PostAuthentication,
    PreTokenGeneration,
    UserMigration,
    CustomEmailSender,
    CustomSMSSender,
}

impl Unbuilt {
    fn is_set(self, lambda: &LambdaConfigType) -> bool {
        match self {
            Self::PreSignUp => lambda.pre_sign_up.is_some(),
            Self::PostConfirmation => lambda.post_confirmation.is_some(),
            Self::PreAuthentication => lambda.pre_authentication.is_some(),
            Self::PostAuthentication => lambda.post_authentication.is_some(),
            Self::PreTokenGeneration => {
                lambda.pre_token_generation.is_some() || lambda.pre_token_generation_config.is_some()
            }
            Self::UserMigration => lambda.user_migration.is_some(),
            Self::CustomEmailSender => lambda.custom_email_sender.is_some(),
            Self::CustomSMSSender => lambda.custom_sms_sender.is_some(),
        }
    }
}
