//! The PreSignUp trigger: a function decides about a user who is not there yet.

use std::collections::BTreeMap;

use lido_domain::Attributes;
use lido_wire::types::AttributeType;
use serde_json::{Value, json};

use crate::cx::Cx;
use crate::fault::Result;
use crate::triggers::{About, add_metadata, event, flag, invoke};

/// How the user comes in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    SignUp,
    AdminCreateUser,
}

impl Source {
    fn as_str(self) -> &'static str {
        match self {
            Self::SignUp => "PreSignUp_SignUp",
            Self::AdminCreateUser => "PreSignUp_AdminCreateUser",
        }
    }
}

/// What the function decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub confirm: bool,
    pub verify_email: bool,
    pub verify_phone_number: bool,
}

/// Fires the trigger if the pool has one. `attributes`: as they were sent; there is neither sub nor status.
///
/// Errors: those of [`crate::fault::trigger_failed`], [`crate::fault::unrecognizable_lambda_output`].
pub(crate) async fn fire(
    cx: &Cx,
    about: About<'_>,
    source: Source,
    attributes: &Attributes,
    validation_data: Option<&[AttributeType]>,
    metadata: Option<&BTreeMap<String, String>>,
) -> Result<Verdict> {
    let Some(arn) = about.pool.lambda().and_then(|lambda| lambda.pre_sign_up.as_deref()) else {
        return Ok(Verdict::default());
    };
    let mut request = json!({ "userAttributes": attributes, "validationData": as_map(validation_data) });
    add_metadata(&mut request, metadata);
    let response = json!({ "autoConfirmUser": false, "autoVerifyEmail": false, "autoVerifyPhone": false });
    let response = invoke(cx, "PreSignUp", arn, &event(about, source.as_str(), request, response)).await?;
    Ok(Verdict {
        confirm: flag(&response, "autoConfirmUser")?,
        verify_email: flag(&response, "autoVerifyEmail")?,
        verify_phone_number: flag(&response, "autoVerifyPhone")?,
    })
}

/// ValidationData, a list of names and values, as the event has it: a map, null when there is none.
fn as_map(data: Option<&[AttributeType]>) -> Value {
    data.map(|data| {
        data.iter()
            .map(|entry| (entry.name.clone(), entry.value.as_ref().map(|value| value.as_str())))
            .collect::<BTreeMap<_, _>>()
    })
    .map_or(Value::Null, |map| json!(map))
}
