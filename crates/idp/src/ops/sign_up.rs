//! SignUp, ConfirmSignUp, ResendConfirmationCode, AdminConfirmSignUp: a user comes in by itself.

use lido_domain::{Attributes, Medium, Millis, Sub, User, UserStatus};
use lido_store::users::{self, SignInName};
use lido_store::{Tx, codes as stored_codes, pools};
use lido_wire::ops::{AdminConfirmSignUp, ConfirmSignUp, ResendConfirmationCode, SignUp};
use lido_wire::types::{ResendConfirmationCodeResponse, SignUpResponse};

use crate::Operation;
use crate::attributes::{self, ADDRESSES, Writer, is_email, is_phone_number, verified_flag};
use crate::caller::{Iam, PublicClient};
use crate::codes::{self, Counted, NewCode, Purpose};
use crate::cx::Cx;
use crate::fault::{self, Error, Fault, Result};
use crate::messages::{self, Address, Kind, Letter, mask};
use crate::ops::users::alias_as_parameter;
use crate::passwords;
use crate::pool::Pool;
use crate::triggers::pre_sign_up::Verdict;
use crate::triggers::{About, post_confirmation, pre_sign_up};

/// The names of a user who is about to be made.
pub(crate) struct NewName {
    pub sub: Sub,
    pub username: String,
}

/// Checks the name that was asked for, and puts it among the attributes in pools that sign in by address.
///
/// Errors: [`fault::username_should_be`], [`fault::username_of_alias_format`].
pub(crate) fn name_new_user(
    cx: &Cx,
    pool: &Pool,
    asked: &str,
    attributes: &mut Attributes,
) -> Result<NewName> {
    let sub = Sub::new(cx.uuid());
    if pool.has_username_attributes() {
        let (by_email, by_phone) =
            (pool.is_username_attribute("email"), pool.is_username_attribute("phone_number"));
        let attribute = if by_email && is_email(asked) {
            "email"
        } else if by_phone && is_phone_number(asked) {
            "phone_number"
        } else {
            let expected = match (by_email, by_phone) {
                (true, true) => "either an email or a phone number",
                (true, false) => "an email",
                _ => "a phone number",
            };
            return Err(fault::username_should_be(expected).into());
        };
        attributes.insert(attribute.to_owned(), asked.to_owned());
        return Ok(NewName { username: sub.to_string(), sub });
    }
    if pool.is_alias("email") && is_email(asked) {
        return Err(fault::username_of_alias_format("email").into());
    }
    if pool.is_alias("phone_number") && is_phone_number(asked) {
        return Err(fault::username_of_alias_format("phone_number").into());
    }
    Ok(NewName { sub, username: pool.fold(asked) })
}

/// A user as it begins.
pub(crate) fn new_user(
    pool: &Pool,
    name: NewName,
    attributes: Attributes,
    status: UserStatus,
    now: Millis,
) -> User {
    User {
        pool: pool.record.id.clone(),
        sub: name.sub,
        username: name.username,
        attributes,
        pending: Attributes::new(),
        status,
        enabled: true,
        created: now,
        updated: now,
        password: None,
        password_set: now,
        password_history: None,
        signed_out: Millis::default(),
        mfa: Default::default(),
        totp_secret: None,
        totp_pending: None,
        revision: 1,
    }
}

/// Stores a new user with its names; `taken` words the refusal of a name that is held.
pub(crate) async fn insert(
    tx: &mut Tx,
    user: &User,
    names: &[SignInName],
    taken: fn(&SignInName) -> Fault,
) -> Result<()> {
    // Deleted while a function ran: run again, the pool is not found.
    if pools::revision(tx, &user.pool).await?.is_none() {
        return Err(Error::Conflict);
    }
    users::insert(tx, user).await?;
    for name in names {
        if !users::claim(tx, &user.pool, &user.sub, name).await? {
            return Err(taken(name).into());
        }
    }
    Ok(())
}

/// Refuses names that are held before any function runs or message is written. The write checks again.
pub(crate) async fn require_free(
    cx: &Cx,
    user: &User,
    names: &[SignInName],
    taken: fn(&SignInName) -> Fault,
) -> Result<()> {
    cx.store
        .read((user.pool.clone(), names.to_vec()), move |(pool, names), tx| {
            Box::pin(async move {
                for name in names {
                    if users::holder(tx, pool, name).await?.is_some() {
                        return Err(taken(name).into());
                    }
                }
                Ok(())
            })
        })
        .await
}

/// Takes an address from its holder, to whom it is no longer verified. Source: ForceAliasCreation.
pub(crate) async fn take_alias(tx: &mut Tx, user: &User, name: &SignInName, now: Millis) -> Result<()> {
    let Some(holder) = users::holder(tx, &user.pool, name).await? else { return Ok(()) };
    if holder == user.sub {
        return Ok(());
    }
    if let Some(before) = users::by_sub(tx, &user.pool, &holder).await? {
        let mut after = before.clone();
        after.attributes.insert(verified_flag(name.kind), "false".to_owned());
        after.updated = now;
        if !users::put(tx, &before, &after).await? {
            return Err(Error::Conflict);
        }
    }
    users::release(tx, &user.pool, name).await?;
    Ok(())
}

fn taken_at_sign_up(name: &SignInName) -> Fault {
    match name.kind {
        "username" => fault::user_already_exists(),
        kind => fault::username_attribute_taken(kind),
    }
}

/// Where a confirmation code goes: the auto-verified address that the user has; of two, the phone.
/// Source: SignUp sends one message.
fn confirmation_address(pool: &Pool, attributes: &Attributes) -> Option<Address> {
    ["phone_number", "email"]
        .into_iter()
        .filter(|name| pool.is_auto_verified(name))
        .find_map(|name| Address::of(attributes, name))
}

fn confirmation_code(cx: &Cx, user: &User, address: &Address) -> NewCode {
    codes::new(cx, &user.pool, &user.sub, Purpose::SignUp, address)
}

/// A password may be missing only where users can sign in without one.
fn require_password<'i>(pool: &Pool, password: Option<&'i str>) -> Result<Option<&'i str>> {
    let password = password.filter(|password| !password.is_empty());
    if password.is_none() && !allows_passwordless(pool) {
        return Err(fault::invalid_parameter(
            "1 validation error detected: Value at 'password' failed to satisfy constraint: Member must not be null",
        )
        .into());
    }
    Ok(password)
}

/// Whether a one-time code may stand for the password. Source: SignInPolicy.
pub(crate) fn allows_passwordless(pool: &Pool) -> bool {
    pool.settings
        .policies
        .as_ref()
        .and_then(|policies| policies.sign_in_policy.as_ref())
        .and_then(|policy| policy.allowed_first_auth_factors.as_ref())
        .is_some_and(|factors| {
            factors.iter().any(|factor| matches!(factor.as_str(), "EMAIL_OTP" | "SMS_OTP"))
        })
}

/// Does to a new user what PreSignUp decided. Returns the addresses that the function vouched for: as aliases
/// they are taken from whoever has them.
///
/// Errors: [`fault::unrecognizable_lambda_output`] for an address that the user does not have.
fn apply(verdict: Verdict, user: &mut User) -> Result<Vec<&'static str>> {
    let mut verified = Vec::new();
    for (address, is_verified) in
        [("email", verdict.verify_email), ("phone_number", verdict.verify_phone_number)]
    {
        if is_verified {
            if !user.attributes.contains_key(address) {
                return Err(fault::unrecognizable_lambda_output().into());
            }
            user.attributes.insert(verified_flag(address), "true".to_owned());
            verified.push(address);
        }
    }
    if verdict.confirm {
        user.status = UserStatus::Confirmed;
    }
    Ok(verified)
}

/// Errors: [`fault::sign_up_not_permitted`], the secret hash, [`fault::password_policy`], those of
/// [`name_new_user`] and [`attributes::for_new_user`], [`fault::required_attributes_missing`],
/// [`fault::user_already_exists`], those of the PreSignUp and CustomMessage triggers; the user exists already when
/// it is [`fault::code_delivery_failed`] or one of PostConfirmation.
impl Operation for SignUp {
    type Caller = PublicClient;

    async fn run(cx: &Cx, caller: PublicClient, input: Self::Input) -> Result<Self::Output> {
        let pool = &caller.pool;
        caller.check_secret_hash(input.secret_hash.as_deref(), &[&input.username])?;
        let admin_only = pool
            .settings
            .admin_create_user_config
            .as_ref()
            .is_some_and(|configuration| configuration.allow_admin_create_user_only == Some(true));
        if admin_only {
            return Err(fault::sign_up_not_permitted().into());
        }
        let password = require_password(pool, input.password.as_deref())?;
        if let Some(password) = password {
            passwords::check_policy(pool, password, fault::password_policy)?;
        }
        let sent = input.user_attributes.unwrap_or_default();
        let mut attributes = attributes::for_new_user(pool, Writer::Client(&caller.client), &sent)?;
        let name = name_new_user(cx, pool, &input.username, &mut attributes)?;
        let missing = attributes::missing_required(pool, &attributes);
        if !missing.is_empty() {
            return Err(fault::required_attributes_missing(&missing).into());
        }
        let mut user = new_user(pool, name, attributes, UserStatus::Unconfirmed, cx.now());
        require_free(cx, &user, &pool.sign_in_names(&user), taken_at_sign_up).await?;

        let client = Some(&*caller.client);
        let metadata = input.client_metadata.as_ref();
        let about = About { pool, client, username: &user.username };
        let validation_data = input.validation_data.as_deref();
        let source = pre_sign_up::Source::SignUp;
        let verdict =
            pre_sign_up::fire(cx, about, source, &user.attributes, validation_data, metadata).await?;
        let verified = apply(verdict, &mut user)?;
        user.attributes = attributes::with_verified_flags(std::mem::take(&mut user.attributes));
        let (taken_over, names): (Vec<SignInName>, Vec<SignInName>) = pool
            .sign_in_names(&user)
            .into_iter()
            .partition(|name| pool.is_alias(name.kind) && verified.contains(&name.kind));
        let status = user.status;
        if let Some(password) = password {
            passwords::set(cx, pool, &mut user, password, status).await?;
        }
        let message = match confirmation_address(pool, &user.attributes) {
            _ if verdict.confirm => None,
            None => None,
            Some(address) => {
                let code = confirmation_code(cx, &user, &address);
                let letter = Letter {
                    pool,
                    client,
                    user: &user,
                    kind: Kind::SignUp,
                    address,
                    secret: &code.text,
                    code: Some(code.record),
                    metadata,
                };
                Some(messages::prepare(cx, letter).await?)
            }
        };
        let captures = (user.clone(), names, taken_over, message.clone());
        cx.store
            .write(captures, |(user, names, taken_over, message), tx| {
                Box::pin(async move {
                    for name in taken_over {
                        take_alias(tx, user, name, user.created).await?;
                    }
                    insert(tx, user, names, taken_at_sign_up).await?;
                    for name in taken_over {
                        if !users::claim(tx, &user.pool, &user.sub, name).await? {
                            return Err(Error::Conflict);
                        }
                    }
                    if let Some(message) = message {
                        message.post(tx).await?;
                    }
                    Ok::<_, Error>(())
                })
            })
            .await?;
        let details = match message {
            None => None,
            Some(message) => Some(message.deliver(cx).await?),
        };
        if verdict.confirm {
            let source = post_confirmation::Source::ConfirmSignUp;
            post_confirmation::fire(cx, pool, client, source, &user, metadata).await?;
        }
        Ok(SignUpResponse {
            user_confirmed: verdict.confirm,
            code_delivery_details: details,
            user_sub: user.sub.to_string(),
            ..SignUpResponse::default()
        })
    }
}

/// Errors where the client may tell who exists: [`fault::username_client_combination_not_found`],
/// [`fault::user_cannot_be_confirmed`], [`fault::expired_code`], [`fault::attempt_limit_exceeded`]. Where it may
/// not, each of them is [`fault::code_mismatch`], but for the hourly limit, which nobody meets as well.
impl Operation for ConfirmSignUp {
    type Caller = PublicClient;

    async fn run(cx: &Cx, caller: PublicClient, input: Self::Input) -> Result<Self::Output> {
        let pool = &caller.pool;
        let tells = caller.client.tells_user_existence();
        let found = known(cx, &caller, &input.username, input.secret_hash.as_deref()).await?;
        codes::count_discreetly(cx, &caller, &input.username, found.as_ref(), Counted::ConfirmSignUp).await?;
        let vague = move |fault: Fault| if tells { fault } else { fault::code_mismatch() };
        let confirmable = match found {
            None => Err(fault::username_client_combination_not_found()),
            Some(user) if !user.enabled => Err(fault::user_disabled()),
            Some(user) if user.status != UserStatus::Unconfirmed => {
                Err(fault::user_cannot_be_confirmed(user.status.as_str()))
            }
            Some(user) => Ok(user),
        };
        let before = match confirmable {
            Ok(user) => user,
            Err(fault) => {
                if !tells {
                    codes::as_for_a_user(cx, pool, &input.username).await?;
                }
                return Err(vague(fault).into());
            }
        };
        if tells {
            codes::count(cx, &before.pool, &before.sub, Counted::ConfirmSignUp).await?;
        }
        let attempt = codes::attempt(
            cx,
            &before.pool,
            &before.sub,
            Purpose::SignUp,
            String::new(),
            &input.confirmation_code,
        );
        let force = input.force_alias_creation == Some(true);
        let captures = (before, pool.clone(), attempt);
        let after = cx
            .store
            .write(captures, move |(before, pool, attempt), tx| {
                Box::pin(async move {
                    let mut attempt = attempt.clone();
                    codes::aim(tx, before, &mut attempt).await?;
                    if let Err(fault) = codes::redeem(tx, &before.pool, &before.sub, &attempt).await? {
                        return Ok(Err(vague(fault)));
                    }
                    let mut after = before.clone();
                    after.status = UserStatus::Confirmed;
                    after.updated = attempt.now;
                    if let Some((attribute, _)) = attempt.target.split_once('=') {
                        after.attributes.insert(verified_flag(attribute), "true".to_owned());
                    }
                    confirm(tx, pool, before, &after, force, attempt.now).await?;
                    Ok::<_, Error>(Ok(after))
                })
            })
            .await??;
        let (client, metadata) = (Some(&*caller.client), input.client_metadata.as_ref());
        let source = post_confirmation::Source::ConfirmSignUp;
        post_confirmation::fire(cx, pool, client, source, &after, metadata).await?;
        Ok(Self::Output::default())
    }
}

/// Writes a user who is confirmed now; aliases come into force.
async fn confirm(
    tx: &mut Tx,
    pool: &Pool,
    before: &User,
    after: &User,
    force: bool,
    now: Millis,
) -> Result<()> {
    let held = pool.sign_in_names(before);
    let new: Vec<SignInName> =
        pool.sign_in_names(after).into_iter().filter(|name| !held.contains(name)).collect();
    if force {
        for name in new.iter().filter(|name| ADDRESSES.contains(&name.kind)) {
            take_alias(tx, after, name, now).await?;
        }
    }
    if !users::put(tx, before, after).await? {
        return Err(Error::Conflict);
    }
    for name in &new {
        if !users::claim(tx, &after.pool, &after.sub, name).await? {
            return Err(fault::alias_exists(name.kind).into());
        }
    }
    Ok(())
}

/// The user whom a public operation names, once the secret hash is right.
pub(crate) async fn known(
    cx: &Cx,
    caller: &PublicClient,
    name: &str,
    secret_hash: Option<&str>,
) -> Result<Option<User>> {
    let found = cx.find_user(&caller.pool, name).await?;
    let stands_for = found.as_ref().map_or(name, |user| user.username.as_str());
    caller.check_secret_hash(secret_hash, &[name, stands_for])?;
    Ok(found)
}

/// Delivery details for a name that must not be told apart from a user's: by the medium that the pool would
/// use, made from the name, and always the same for the same name.
pub(crate) fn simulated_details(
    cx: &Cx,
    pool: &Pool,
    name: &str,
    medium: Medium,
) -> lido_wire::types::CodeDeliveryDetailsType {
    match medium {
        Medium::Email if is_email(name) => return Address::email(name).details(),
        Medium::Sms if is_phone_number(name) => return Address::phone_number(name).details(),
        _ => {}
    }
    let seed = cx.keyring.digest(
        lido_crypto::keys::Purpose::SimulatedUser,
        &[pool.record.id.as_str().as_bytes(), b"destination", pool.fold(name).as_bytes()],
    );
    let letter = |at: usize| char::from(b'a' + seed[at] % 26);
    if medium == Medium::Sms {
        let digits: String = seed[..4].iter().map(|byte| char::from(b'0' + byte % 10)).collect();
        let mut details = Address::phone_number("+10000000000").details();
        details.destination = Some(mask::destination(Medium::Sms, &format!("+1000000{digits}")));
        details
    } else {
        Address::email(format!("{}@{}", letter(4), letter(5))).details()
    }
}

/// Sends a new code; the old one is void.
///
/// Errors where the client may tell: [`fault::username_client_combination_not_found`],
/// [`fault::user_already_confirmed`], [`fault::no_auto_verification`]. Where it may not, those answer simulated
/// details.
impl Operation for ResendConfirmationCode {
    type Caller = PublicClient;

    async fn run(cx: &Cx, caller: PublicClient, input: Self::Input) -> Result<Self::Output> {
        let pool = &caller.pool;
        let tells = caller.client.tells_user_existence();
        let answer = |details| ResendConfirmationCodeResponse { code_delivery_details: Some(details) };
        let found = known(cx, &caller, &input.username, input.secret_hash.as_deref()).await?;
        let counted = Counted::ResendConfirmationCode;
        codes::count_discreetly(cx, &caller, &input.username, found.as_ref(), counted).await?;
        let sendable = match found {
            None => Err(fault::username_client_combination_not_found()),
            Some(user) if !user.enabled => Err(fault::user_disabled()),
            Some(user) if user.status != UserStatus::Unconfirmed => Err(fault::user_already_confirmed()),
            Some(user) => match confirmation_address(pool, &user.attributes) {
                Some(address) => Ok((user, address)),
                None => Err(fault::no_auto_verification()),
            },
        };
        let (user, address) = match sendable {
            Ok(found) => found,
            Err(fault) if tells => return Err(fault.into()),
            Err(_) => {
                codes::as_for_a_user(cx, pool, &input.username).await?;
                // As for a user who has both addresses: by phone.
                let by_phone = pool.is_auto_verified("phone_number");
                let medium = if by_phone { Medium::Sms } else { Medium::Email };
                return Ok(answer(simulated_details(cx, pool, &input.username, medium)));
            }
        };
        if tells {
            codes::count(cx, &user.pool, &user.sub, counted).await?;
        }
        let code = confirmation_code(cx, &user, &address);
        let letter = Letter {
            pool,
            client: Some(&caller.client),
            user: &user,
            kind: Kind::ResendCode,
            address,
            secret: &code.text,
            code: Some(code.record),
            metadata: input.client_metadata.as_ref(),
        };
        let message = messages::prepare(cx, letter).await?;
        // Neither a failed delivery nor its time may tell that there is somebody to write to.
        Ok(answer(message.send(cx, tells).await?))
    }
}

/// Confirms without a code; nothing is verified by it.
///
/// Errors: [`fault::user_not_found`], [`fault::user_cannot_be_confirmed`]; the user is confirmed already when it
/// is one of PostConfirmation.
impl Operation for AdminConfirmSignUp {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let before = cx.user(&pool, &input.username).await?;
        if before.status != UserStatus::Unconfirmed {
            return Err(fault::user_cannot_be_confirmed(before.status.as_str()).into());
        }
        let now = cx.now();
        let mut after = before.clone();
        after.status = UserStatus::Confirmed;
        after.updated = now;
        cx.store
            .write((pool.clone(), before, after.clone(), now), |(pool, before, after, now), tx| {
                Box::pin(async move {
                    stored_codes::clear(tx, &after.pool, &after.sub, Purpose::SignUp.as_str()).await?;
                    confirm(tx, pool, before, after, false, *now).await.map_err(alias_as_parameter)
                })
            })
            .await?;
        let source = post_confirmation::Source::ConfirmSignUp;
        post_confirmation::fire(cx, &pool, None, source, &after, input.client_metadata.as_ref()).await?;
        Ok(Self::Output::default())
    }
}
