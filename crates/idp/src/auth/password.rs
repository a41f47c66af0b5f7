//! The flows that send the password: USER_PASSWORD_AUTH, ADMIN_USER_PASSWORD_AUTH.

use lido_wire::types::{AuthFlowType, ExplicitAuthFlowsType};

use crate::auth::migration::Migration;
use crate::auth::subject::Subject;
use crate::auth::{Entrance, Parameters, Step, finish, lockout, migration, require_flow};
use crate::cx::Cx;
use crate::fault::{self, Error, Result};
use crate::passwords;
use crate::triggers::user_migration::Asked;

pub(super) async fn begin(
    cx: &Cx,
    entrance: &Entrance,
    flow: AuthFlowType,
    parameters: &Parameters,
) -> Result<Step> {
    let name = parameters.require("USERNAME")?;
    let password = parameters.require("PASSWORD")?;
    let allowed_by = match flow {
        AuthFlowType::UserPasswordAuth => ExplicitAuthFlowsType::AllowUserPasswordAuth,
        _ => ExplicitAuthFlowsType::AllowAdminUserPasswordAuth,
    };
    require_flow(&entrance.client, flow, allowed_by)?;
    let mut subject = Subject::look(cx, entrance, name, parameters.get("SECRET_HASH")).await?;
    if subject.user.is_none() {
        subject = migrate(cx, entrance, subject, name, password).await?;
    }
    let subject = subject.admit(cx, entrance, name).await?;

    let verifier = subject.verifier(cx, &entrance.pool)?;
    let right =
        passwords::matches(cx, &entrance.pool.record.id, &subject.identity, verifier, password).await?;
    match (right, subject.user.as_ref()) {
        (true, Some(user)) => finish::first_factor_proven(cx, entrance, user, None).await,
        _ => Err(lockout::failure(cx, &entrance.pool, &subject).await?),
    }
}

/// Asks another directory for a user whom the pool does not know. What it refuses is counted as a wrong
/// password is: it is no way around the lockout.
async fn migrate(
    cx: &Cx,
    entrance: &Entrance,
    subject: Subject,
    name: &str,
    password: &str,
) -> Result<Subject> {
    let Entrance { pool, client, validation_data, metadata, .. } = entrance;
    if !migration::is_configured(pool) {
        return Ok(subject);
    }
    subject.require_unlocked()?;
    let validation_data = validation_data.as_ref();
    let metadata = metadata.as_ref().or(validation_data);
    let asked = Asked::SignIn { password, guessed_by: &subject.lockout };
    let outcome = migration::bring_in(cx, pool, client, name, asked, validation_data, metadata).await?;
    let refused = match outcome {
        Migration::Done(user) => return Ok(Subject::of(*user)),
        Migration::Nobody => fault::user_not_found(),
        Migration::Failed => fault::migration_failed(client.record.id.as_str()),
    };
    if !client.tells_user_existence() {
        // It goes on, and fails where a wrong password fails.
        return Ok(subject);
    }
    match lockout::failure(cx, pool, &subject).await? {
        Error::Fault(fault) if fault == fault::locked_out() => Err(fault.into()),
        _ => Err(refused.into()),
    }
}
