//! The flows that send the password: USER_PASSWORD_AUTH, ADMIN_USER_PASSWORD_AUTH.

use lido_wire::types::{AuthFlowType, ExplicitAuthFlowsType};

use crate::auth::subject::Subject;
use crate::auth::{Entrance, Parameters, Step, finish, lockout, require_flow};
use crate::cx::Cx;
use crate::fault::Result;
use crate::passwords;
use crate::triggers::{self, Unbuilt};

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
    triggers::refuse_unbuilt(&entrance.pool, &[Unbuilt::UserMigration, Unbuilt::PreAuthentication])?;
    finish::refuse_unbuilt(&entrance.pool)?;
    let subject = Subject::find(cx, entrance, name, parameters.get("SECRET_HASH")).await?;
    subject.require_unlocked()?;

    let verifier = subject.verifier(cx, &entrance.pool)?;
    let right =
        passwords::matches(cx, &entrance.pool.record.id, &subject.identity, verifier, password).await?;
    match (right, subject.user.as_ref()) {
        (true, Some(user)) => finish::first_factor_proven(cx, entrance, user, None).await,
        _ => Err(lockout::failure(cx, &entrance.pool, &subject).await?),
    }
}
