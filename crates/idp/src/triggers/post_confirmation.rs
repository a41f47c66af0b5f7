//! The PostConfirmation trigger: a function hears of a user who is confirmed now.

use std::collections::BTreeMap;

use lido_domain::User;
use serde_json::json;

use crate::attributes;
use crate::cx::Cx;
use crate::fault::Result;
use crate::pool::{Client, Pool};
use crate::triggers::{About, add_metadata, event, invoke};

/// What confirmed the user.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    ConfirmSignUp,
    ConfirmForgotPassword,
}

impl Source {
    fn as_str(self) -> &'static str {
        match self {
            Self::ConfirmSignUp => "PostConfirmation_ConfirmSignUp",
            Self::ConfirmForgotPassword => "PostConfirmation_ConfirmForgotPassword",
        }
    }
}

/// Fires the trigger if the pool has one, after the commit: a failure is the caller's to hear, but the user
/// stays confirmed.
///
/// Errors: those of [`crate::fault::trigger_failed`], [`crate::fault::unrecognizable_lambda_output`].
pub(crate) async fn fire(
    cx: &Cx,
    pool: &Pool,
    client: Option<&Client>,
    source: Source,
    user: &User,
    metadata: Option<&BTreeMap<String, String>>,
) -> Result<()> {
    let Some(arn) = pool.lambda().and_then(|lambda| lambda.post_confirmation.as_deref()) else {
        return Ok(());
    };
    let about = About { pool, client, username: &user.username };
    let mut request = json!({ "userAttributes": attributes::for_event(pool, user) });
    add_metadata(&mut request, metadata);
    invoke(cx, "PostConfirmation", arn, &event(about, source.as_str(), request, json!({}))).await?;
    Ok(())
}
