//! The UserMigration trigger: a function looks up a user whom the pool does not know in another directory.

use std::collections::BTreeMap;

use lido_domain::UserStatus;
use lido_wire::types::{AttributeType, DeliveryMediumType};
use serde_json::{Value, json};

use crate::cx::Cx;
use crate::fault::{self, Result};
use crate::triggers::{About, add_metadata, event, flag, invoke, map, text, texts};

/// What an unknown user asked for.
#[derive(Clone, Copy)]
pub(crate) enum Asked<'a> {
    SignIn {
        password: &'a str,
        /// For what failures of the sign-in are counted.
        guessed_by: &'a str,
    },
    ForgotPassword,
}

/// The user as the other directory has it.
#[derive(Debug, PartialEq)]
pub(crate) struct Found {
    /// The user name, where it is not the name that was typed.
    pub username: Option<String>,
    pub attributes: Vec<AttributeType>,
    pub status: UserStatus,
    pub is_welcomed: bool,
    /// Empty means the default.
    pub mediums: Vec<DeliveryMediumType>,
    pub force_alias_creation: bool,
    pub enable_sms_mfa: bool,
}

/// Fires the trigger if the pool has one. `about.username`: the name as it was typed. None when the function
/// knows nobody either: its answer has no attributes.
///
/// Errors: those of [`fault::trigger_failed`], [`fault::unrecognizable_lambda_output`].
pub(crate) async fn fire(
    cx: &Cx,
    about: About<'_>,
    asked: Asked<'_>,
    validation_data: Option<&BTreeMap<String, String>>,
    metadata: Option<&BTreeMap<String, String>>,
) -> Result<Option<Found>> {
    let Some(arn) = about.pool.lambda().and_then(|lambda| lambda.user_migration.as_deref()) else {
        return Ok(None);
    };
    let mut request = json!({ "validationData": validation_data });
    let source = match asked {
        Asked::SignIn { password, .. } => {
            request["password"] = password.into();
            "UserMigration_Authentication"
        }
        Asked::ForgotPassword => "UserMigration_ForgotPassword",
    };
    add_metadata(&mut request, metadata);
    let response = json!({
        "userAttributes": null,
        "forceAliasCreation": null,
        "enableSMSMFA": null,
        "finalUserStatus": null,
        "messageAction": null,
        "desiredDeliveryMediums": null,
    });
    read(&invoke(cx, "UserMigration", arn, &event(about, source, request, response)).await?)
}

fn read(response: &Value) -> Result<Option<Found>> {
    let attributes = match map(response, "userAttributes")? {
        None => return Ok(None),
        Some(attributes) if attributes.is_empty() => return Ok(None),
        Some(attributes) => attributes,
    };
    let mut username = None;
    let mut sent = Vec::new();
    for (name, value) in attributes {
        let value = value.as_str().ok_or_else(fault::unrecognizable_lambda_output)?;
        if name == "username" {
            username = Some(value.to_owned()).filter(|name| !name.is_empty());
        } else {
            sent.push(AttributeType { name: name.clone(), value: Some(value.into()) });
        }
    }
    let status = match text(response, "finalUserStatus")? {
        Some("CONFIRMED") => UserStatus::Confirmed,
        Some("RESET_REQUIRED") | None => UserStatus::ResetRequired,
        Some(_) => return Err(fault::unrecognizable_lambda_output().into()),
    };
    let is_welcomed = match text(response, "messageAction")? {
        Some("SUPPRESS") => false,
        None => true,
        Some(_) => return Err(fault::unrecognizable_lambda_output().into()),
    };
    let mediums = texts(response, "desiredDeliveryMediums")?
        .iter()
        .map(|medium| match medium.as_str() {
            "EMAIL" => Some(DeliveryMediumType::Email),
            "SMS" => Some(DeliveryMediumType::Sms),
            _ => None,
        })
        .collect::<Option<_>>()
        .ok_or_else(fault::unrecognizable_lambda_output)?;
    Ok(Some(Found {
        username,
        attributes: sent,
        status,
        is_welcomed,
        mediums,
        force_alias_creation: flag(response, "forceAliasCreation")?,
        enable_sms_mfa: flag(response, "enableSMSMFA")?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_found_without_attributes() {
        assert_eq!(read(&json!({ "userAttributes": null, "finalUserStatus": "CONFIRMED" })).unwrap(), None);
        assert_eq!(read(&json!({ "userAttributes": {} })).unwrap(), None);
        assert_eq!(read(&json!({})).unwrap(), None);
    }

    #[test]
    fn every_member_of_the_answer_is_read() {
        let found = read(&json!({
            "userAttributes": { "username": "ana", "email": "ana@example.com" },
            "finalUserStatus": "CONFIRMED",
            "messageAction": "SUPPRESS",
            "desiredDeliveryMediums": ["EMAIL", "SMS"],
            "forceAliasCreation": true,
            "enableSMSMFA": true,
        }))
        .unwrap()
        .unwrap();
        let email = AttributeType { name: "email".into(), value: Some("ana@example.com".into()) };
        let expected = Found {
            username: Some("ana".into()),
            attributes: vec![email],
            status: UserStatus::Confirmed,
            is_welcomed: false,
            mediums: vec![DeliveryMediumType::Email, DeliveryMediumType::Sms],
            force_alias_creation: true,
            enable_sms_mfa: true,
        };
        assert_eq!(found, expected);
        let least = read(&json!({ "userAttributes": { "name": "Ana" } })).unwrap().unwrap();
        assert_eq!((least.status, least.is_welcomed), (UserStatus::ResetRequired, true));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for odd in [
            json!({ "userAttributes": [] }),
            json!({ "userAttributes": { "email": 3 } }),
            json!({ "userAttributes": { "email": "a" }, "finalUserStatus": "UNCONFIRMED" }),
            json!({ "userAttributes": { "email": "a" }, "messageAction": "RESEND" }),
            json!({ "userAttributes": { "email": "a" }, "desiredDeliveryMediums": ["POST"] }),
            json!({ "userAttributes": { "email": "a" }, "desiredDeliveryMediums": "SMS" }),
            json!({ "userAttributes": { "email": "a" }, "forceAliasCreation": "yes" }),
        ] {
            assert!(read(&odd).is_err(), "{odd}");
        }
    }
}
