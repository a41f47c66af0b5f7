//! The PreAuthentication trigger: a function may refuse a sign-in before its proof is looked at.

use std::collections::BTreeMap;

use lido_domain::User;
use serde_json::json;

use crate::attributes;
use crate::cx::Cx;
use crate::fault::Result;
use crate::pool::{Client, Pool};
use crate::triggers::{About, event, invoke};

/// Fires the trigger; false if the pool has none. `user`: none for a name that nobody has and whose absence
/// the client must not tell; `name` is the name that the event carries then, as it was typed.
///
/// Errors: those of [`crate::fault::trigger_failed`], [`crate::fault::unrecognizable_lambda_output`].
pub(crate) async fn fire(
    cx: &Cx,
    pool: &Pool,
    client: &Client,
    name: &str,
    user: Option<&User>,
    validation_data: Option<&BTreeMap<String, String>>,
) -> Result<bool> {
    let Some(arn) = pool.lambda().and_then(|lambda| lambda.pre_authentication.as_deref()) else {
        return Ok(false);
    };
    let username = user.map_or(name, |user| user.username.as_str());
    let attributes = user.map(|user| attributes::for_event(pool, user)).unwrap_or_default();
    let mut request = json!({ "userAttributes": attributes, "validationData": validation_data });
    if !client.tells_user_existence() {
        request["userNotFound"] = user.is_none().into();
    }
    let about = About { pool, client: Some(client), username };
    let event = event(about, "PreAuthentication_Authentication", request, json!({}));
    invoke(cx, "PreAuthentication", arn, &event).await?;
    Ok(true)
}
