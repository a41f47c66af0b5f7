//! AdminCreateUser: an administrator makes a user, who is invited with a temporary password.

use std::collections::BTreeMap;

use lido_domain::{Secret, User, UserStatus};
use lido_store::limits;
use lido_store::users::{self, SignInName};
use lido_wire::ops::AdminCreateUser;
use lido_wire::types::{AdminCreateUserResponse, DeliveryMediumType, MessageActionType};

use crate::Operation;
use crate::attributes::{self, ADDRESSES, Writer};
use crate::caller::Iam;
use crate::cx::Cx;
use crate::fault::{self, Error, Fault, Result};
use crate::messages::{self, Address, Kind, Letter, Prepared};
use crate::ops::sign_up::{allows_passwordless, insert, name_new_user, new_user, require_free, take_alias};
use crate::ops::users::user_type;
use crate::passwords;
use crate::pool::{Client, Pool};
use crate::triggers::About;
use crate::triggers::pre_sign_up::{self, Source};

type Input = lido_wire::types::AdminCreateUserRequest;

pub(crate) fn taken(name: &SignInName) -> Fault {
    match name.kind {
        "username" => fault::user_account_already_exists(),
        kind => fault::username_attribute_taken(kind),
    }
}

/// The addresses an invitation goes to. Source: DesiredDeliveryMediums, SMS when absent; a medium whose
/// address the user lacks is passed over.
fn addresses(user: &User, asked: Option<&[DeliveryMediumType]>) -> Vec<Address> {
    let asked = asked.filter(|asked| !asked.is_empty()).unwrap_or(&[DeliveryMediumType::Sms]);
    let mut addresses = Vec::new();
    for medium in asked {
        let attribute = match medium {
            DeliveryMediumType::Email => "email",
            DeliveryMediumType::Sms => "phone_number",
        };
        if let Some(address) = Address::of(&user.attributes, attribute)
            && !addresses.contains(&address)
        {
            addresses.push(address);
        }
    }
    addresses
}

/// Who is invited, and how.
pub(crate) struct Invitation<'a> {
    pub pool: &'a Pool,
    pub client: Option<&'a Client>,
    pub user: &'a User,
    pub password: &'a Secret<String>,
    /// DesiredDeliveryMediums; none or empty means the default.
    pub mediums: Option<&'a [DeliveryMediumType]>,
    pub metadata: Option<&'a BTreeMap<String, String>>,
}

/// One message for each address that the user has of those asked for.
pub(crate) async fn invitations(cx: &Cx, invitation: Invitation<'_>) -> Result<Vec<Prepared>> {
    let Invitation { pool, client, user, password, mediums, metadata } = invitation;
    let mut invitations = Vec::new();
    for address in addresses(user, mediums) {
        let letter = Letter {
            pool,
            client,
            user,
            kind: Kind::AdminCreateUser,
            address,
            secret: password,
            code: None,
            metadata,
        };
        invitations.push(messages::prepare(cx, letter).await?);
    }
    Ok(invitations)
}

/// The invitations that the input asks for: none only where it suppresses them.
async fn wanted_invitations(
    cx: &Cx,
    pool: &Pool,
    user: &User,
    password: &Secret<String>,
    input: &Input,
) -> Result<Vec<Prepared>> {
    if input.message_action == Some(MessageActionType::Suppress) {
        return Ok(Vec::new());
    }
    let invitation = Invitation {
        pool,
        client: None,
        user,
        password,
        mediums: input.desired_delivery_mediums.as_deref(),
        metadata: input.client_metadata.as_ref(),
    };
    let invitations = invitations(cx, invitation).await?;
    if invitations.is_empty() {
        return Err(fault::invalid_parameter(
            "User does not have an attribute for any of the desired delivery mediums.",
        )
        .into());
    }
    Ok(invitations)
}

/// The temporary password: the one given, under the pool's policy, or a generated one.
fn temporary_password(cx: &Cx, pool: &Pool, input: &Input) -> Result<Secret<String>> {
    match input.temporary_password.as_deref().filter(|given| !given.is_empty()) {
        Some(given) => {
            passwords::check_policy(pool, given, fault::admin_password_policy)?;
            Ok(Secret::new(given.to_owned()))
        }
        None => Ok(passwords::generate(cx, pool)),
    }
}

async fn deliver(cx: &Cx, invitations: Vec<Prepared>) -> Result<()> {
    for invitation in invitations {
        invitation.deliver(cx).await?;
    }
    Ok(())
}

/// Errors: [`fault::user_account_already_exists`], [`fault::username_attribute_taken`],
/// [`fault::resend_not_possible`], [`fault::admin_password_policy`], those of the attributes, those of the
/// PreSignUp and CustomMessage triggers, [`fault::code_delivery_failed`] (the user exists then).
impl Operation for AdminCreateUser {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let user = if input.message_action == Some(MessageActionType::Resend) {
            resend(cx, &pool, &input).await?
        } else {
            create(cx, &pool, &input).await?
        };
        Ok(AdminCreateUserResponse { user: Some(user_type(&user)) })
    }
}

async fn create(cx: &Cx, pool: &Pool, input: &Input) -> Result<User> {
    let sent = input.user_attributes.clone().unwrap_or_default();
    let mut attributes = attributes::for_new_user(pool, Writer::Administrator, &sent)?;
    let name = name_new_user(cx, pool, &input.username, &mut attributes)?;
    let mut user = new_user(pool, name, attributes, UserStatus::ForceChangePassword, cx.now());
    let names = pool.sign_in_names(&user);
    // Only an alias that is vouched for as verified can be taken from another user.
    let force = input.force_alias_creation == Some(true);
    let is_forced = |name: &SignInName| force && pool.is_alias(name.kind) && ADDRESSES.contains(&name.kind);
    let (forced, plain): (Vec<SignInName>, Vec<SignInName>) = names.into_iter().partition(is_forced);
    require_free(cx, &user, &plain, taken).await?;
    let has_invitation = input.message_action != Some(MessageActionType::Suppress);
    let is_passwordless = allows_passwordless(pool) && input.temporary_password.is_none() && !has_invitation;
    let password = if is_passwordless { None } else { Some(temporary_password(cx, pool, input)?) };
    let about = About { pool, client: None, username: &user.username };
    let validation_data = input.validation_data.as_deref();
    let metadata = input.client_metadata.as_ref();
    // What it decides counts for users who sign themselves up; here it can only refuse.
    pre_sign_up::fire(cx, about, Source::AdminCreateUser, &user.attributes, validation_data, metadata)
        .await?;

    let messages = match password {
        // Source: observed; nobody was told a password, and a one-time code signs in.
        None => {
            user.status = UserStatus::Confirmed;
            Vec::new()
        }
        Some(password) => {
            passwords::set(cx, pool, &mut user, password.expose(), UserStatus::ForceChangePassword).await?;
            wanted_invitations(cx, pool, &user, &password, input).await?
        }
    };
    store(cx, &user, plain, forced, &messages, None).await?;
    deliver(cx, messages).await?;
    Ok(user)
}

/// Makes the user with its names and messages, in one write. `forced`: names that are taken from whoever holds them.
///
/// `guessed_by`: for what guesses are counted, where the user is made because of one.
///
/// Errors: [`taken`] for one of the `plain` names, [`fault::locked_out`], [`Error::Conflict`].
pub(crate) async fn store(
    cx: &Cx,
    user: &User,
    plain: Vec<SignInName>,
    forced: Vec<SignInName>,
    messages: &[Prepared],
    guessed_by: Option<&str>,
) -> Result<()> {
    let captures = (user.clone(), plain, forced, messages.to_vec(), guessed_by.map(str::to_owned));
    cx.store
        .write(captures, |(user, plain, forced, messages, guessed_by), tx| {
            Box::pin(async move {
                if let Some(subject) = guessed_by
                    && limits::locked_until(tx, &user.pool, subject, user.created).await?.is_some()
                {
                    return Err(fault::locked_out().into());
                }
                for name in forced {
                    take_alias(tx, user, name, user.created).await?;
                }
                insert(tx, user, plain, taken).await?;
                for name in forced {
                    if !users::claim(tx, &user.pool, &user.sub, name).await? {
                        return Err(Error::Conflict);
                    }
                }
                for message in messages {
                    message.post(tx).await?;
                }
                Ok(())
            })
        })
        .await
}

/// Invites again, with a new temporary password whose validity begins anew.
async fn resend(cx: &Cx, pool: &Pool, input: &Input) -> Result<User> {
    let before = cx.user(pool, &input.username).await?;
    if before.status != UserStatus::ForceChangePassword {
        return Err(fault::resend_not_possible(&input.username).into());
    }
    let password = temporary_password(cx, pool, input)?;
    let mut user = before.clone();
    passwords::set(cx, pool, &mut user, password.expose(), UserStatus::ForceChangePassword).await?;
    user.updated = cx.now();
    let messages = wanted_invitations(cx, pool, &user, &password, input).await?;
    cx.store
        .write((before, user.clone(), messages.clone()), |(before, user, messages), tx| {
            Box::pin(async move {
                if !users::put(tx, before, user).await? {
                    return Err(Error::Conflict);
                }
                for message in messages {
                    message.post(tx).await?;
                }
                Ok::<_, Error>(())
            })
        })
        .await?;
    deliver(cx, messages).await?;
    Ok(user)
}
