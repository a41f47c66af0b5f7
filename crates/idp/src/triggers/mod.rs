//! Lambda triggers: one typed function for each, over one way to invoke them.
//!
//! No transaction is open and no thread is held while a function runs. Its answer counts for
//! `response` alone; what else it changed is ignored, except `userName`, which must not change.

pub mod custom_message;
pub mod post_authentication;
pub mod post_confirmation;
pub mod pre_authentication;
pub mod pre_sign_up;
pub mod pre_token_generation;
pub mod user_migration;

use std::collections::BTreeMap;

use lido_wire::types::LambdaConfigType;
use serde_json::{Map, Value, json};

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

/// Puts ClientMetadata into a request; a caller who sent none leaves none there.
pub(crate) fn add_metadata(request: &mut Value, metadata: Option<&BTreeMap<String, String>>) {
    if let Some(metadata) = metadata {
        request["clientMetadata"] = json!(metadata);
    }
}

/// A member of an answer that is a string, null or absent.
pub(crate) fn text<'r>(response: &'r Value, name: &str) -> Result<Option<&'r str>> {
    match response.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(fault::unrecognizable_lambda_output().into()),
    }
}

/// A member of an answer that is a boolean, null or absent.
pub(crate) fn flag(response: &Value, name: &str) -> Result<bool> {
    match response.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(fault::unrecognizable_lambda_output().into()),
    }
}

/// A member of an answer that is a list of strings, null or absent.
pub(crate) fn texts(response: &Value, name: &str) -> Result<Vec<String>> {
    let Some(list) = response.get(name).filter(|list| !list.is_null()) else { return Ok(Vec::new()) };
    let list = list.as_array().ok_or_else(fault::unrecognizable_lambda_output)?;
    list.iter()
        .map(|item| item.as_str().map(str::to_owned))
        .collect::<Option<_>>()
        .ok_or_else(|| fault::unrecognizable_lambda_output().into())
}

/// A member of an answer that is a map, null or absent.
pub(crate) fn map<'r>(response: &'r Value, name: &str) -> Result<Option<&'r Map<String, Value>>> {
    match response.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(_) => Err(fault::unrecognizable_lambda_output().into()),
    }
}

/// Refuses to go on where the pool names a trigger that Lido cannot run yet: leaving it out in silence
/// could lose what it would have sent.
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
    CustomEmailSender,
    CustomSMSSender,
}

impl Unbuilt {
    fn is_set(self, lambda: &LambdaConfigType) -> bool {
        match self {
            Self::CustomEmailSender => lambda.custom_email_sender.is_some(),
            Self::CustomSMSSender => lambda.custom_sms_sender.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_an_answer_have_their_type_or_are_null() {
        let answer = json!({ "text": "t", "flag": true, "texts": ["a"], "map": {}, "null": null, "odd": 3 });
        assert_eq!(text(&answer, "text").unwrap(), Some("t"));
        assert!(flag(&answer, "flag").unwrap());
        assert_eq!(texts(&answer, "texts").unwrap(), ["a"]);
        assert_eq!(map(&answer, "map").unwrap(), Some(&Map::new()));
        for name in ["null", "absent"] {
            assert_eq!(text(&answer, name).unwrap(), None);
            assert!(!flag(&answer, name).unwrap());
            assert!(texts(&answer, name).unwrap().is_empty());
            assert_eq!(map(&answer, name).unwrap(), None);
        }
        let errors = [
            text(&answer, "odd").unwrap_err(),
            flag(&answer, "odd").unwrap_err(),
            texts(&answer, "odd").unwrap_err(),
            texts(&json!({ "odd": ["a", 1] }), "odd").unwrap_err(),
            map(&answer, "odd").unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.to_string(), "InvalidLambdaResponseException: Unrecognizable lambda output");
        }
    }
}
