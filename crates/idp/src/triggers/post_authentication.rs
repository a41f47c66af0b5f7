//! The PostAuthentication trigger: a function hears of a sign-in whose every proof is right.

use std::collections::BTreeMap;

use lido_domain::User;
use serde_json::json;

use crate::attributes;
use crate::cx::Cx;
use crate::fault::Result;
use crate::pool::{Client, Pool};
use crate::triggers::{About, add_metadata, event, invoke};

/// Fires the trigger if the pool has one, before tokens are signed: a failure refuses the sign-in.
/// `new_device`: whether a device key was given out in this sign-in.
///
/// Errors: those of [`crate::fault::trigger_failed`], [`crate::fault::unrecognizable_lambda_output`].
pub(crate) async fn fire(
    cx: &Cx,
    pool: &Pool,
    client: &Client,
    user: &User,
    new_device: bool,
    metadata: Option<&BTreeMap<String, String>>,
) -> Result<()> {
    let Some(arn) = pool.lambda().and_then(|lambda| lambda.post_authentication.as_deref()) else {
        return Ok(());
    };
    let mut request =
        json!({ "userAttributes": attributes::for_event(pool, user), "newDeviceUsed": new_device });
    add_metadata(&mut request, metadata);
    let about = About { pool, client: Some(client), username: &user.username };
    let event = event(about, "PostAuthentication_Authentication", request, json!({}));
    invoke(cx, "PostAuthentication", arn, &event).await?;
    Ok(())
}
