//! GetUserAttributeVerificationCode and VerifyUserAttribute: a signed-in user proves an address.

use lido_domain::User;
use lido_store::users;
use lido_wire::ops::{GetUserAttributeVerificationCode, VerifyUserAttribute};
use lido_wire::types::{GetUserAttributeVerificationCodeResponse, VerifyUserAttributeResponse};

use crate::Operation;
use crate::attributes::verified_flag;
use crate::caller::SignedIn;
use crate::codes::{self, Counted, Purpose};
use crate::cx::Cx;
use crate::fault::{self, Error, Result};
use crate::messages::{self, Address, Kind, Letter};
use crate::ops::users::rename;

/// Errors: [`fault::attribute_not_verifiable`].
fn require_verifiable(attribute: &str) -> Result<()> {
    match attribute {
        "email" | "phone_number" => Ok(()),
        _ => Err(fault::attribute_not_verifiable().into()),
    }
}

/// The address that a code is sent to and proves: the value that waits for it, else the present one.
fn address(user: &User, attribute: &str) -> Option<Address> {
    Address::of(&user.pending, attribute).or_else(|| Address::of(&user.attributes, attribute))
}

/// Sends a code for `email` or `phone_number`; an earlier one for the same attribute is void. An attribute
/// that is verified already gets a code as well.
///
/// Authorized by the access token alone. Errors: [`fault::attribute_not_verifiable`],
/// [`fault::no_registered_address`], [`fault::attempt_limit_exceeded`], those of the CustomMessage trigger,
/// [`fault::code_delivery_failed`].
impl Operation for GetUserAttributeVerificationCode {
    type Caller = SignedIn;

    async fn run(cx: &Cx, caller: SignedIn, input: Self::Input) -> Result<Self::Output> {
        caller.require_settled()?;
        require_verifiable(&input.attribute_name)?;
        let user = &caller.user;
        let address = address(user, &input.attribute_name)
            .ok_or_else(|| fault::no_registered_address(&input.attribute_name))?;
        codes::count(cx, &user.pool, &user.sub, Counted::GetUserAttributeVerificationCode).await?;
        let purpose = Purpose::verifying(&input.attribute_name);
        let code = codes::new(cx, &user.pool, &user.sub, purpose, &address);
        let letter = Letter {
            pool: &caller.pool,
            client: Some(&caller.client),
            user,
            kind: Kind::VerifyUserAttribute,
            address,
            secret: &code.text,
            code: Some(code.record),
            metadata: input.client_metadata.as_ref(),
        };
        let message = messages::prepare(cx, letter).await?;
        let details = message.send(cx, true).await?;
        Ok(GetUserAttributeVerificationCodeResponse { code_delivery_details: Some(details) })
    }
}

/// Redeems a code: the attribute is verified, and a value that waited becomes the value.
///
/// Errors: [`fault::attribute_not_verifiable`], [`fault::code_mismatch`], [`fault::expired_code`],
/// [`fault::attempt_limit_exceeded`], [`fault::alias_exists`].
impl Operation for VerifyUserAttribute {
    type Caller = SignedIn;

    async fn run(cx: &Cx, caller: SignedIn, input: Self::Input) -> Result<Self::Output> {
        caller.require_settled()?;
        let attribute = input.attribute_name.as_str();
        require_verifiable(attribute)?;
        let before = caller.user;
        codes::count(cx, &before.pool, &before.sub, Counted::VerifyUserAttribute).await?;
        let Some(address) = address(&before, attribute) else { return Err(fault::expired_code().into()) };
        let attempt = codes::attempt(
            cx,
            &before.pool,
            &before.sub,
            Purpose::verifying(attribute),
            address.target(),
            &input.code,
        );
        let mut after = before.clone();
        after.pending.remove(attribute);
        after.attributes.insert(attribute.to_owned(), address.value);
        after.attributes.insert(verified_flag(attribute), "true".to_owned());
        after.updated = cx.now();
        let names = (caller.pool.sign_in_names(&before), caller.pool.sign_in_names(&after));
        cx.store
            .write((attempt, before, after, names), |(attempt, before, after, names), tx| {
                Box::pin(async move {
                    if let Err(fault) = codes::redeem(tx, &before.pool, &before.sub, attempt).await? {
                        // A value, so that the counted attempt is committed.
                        return Ok(Err(fault));
                    }
                    if !users::put(tx, before, after).await? {
                        return Err(Error::Conflict);
                    }
                    rename(tx, &after.pool, &after.sub, &names.0, &names.1).await?;
                    Ok(Ok(()))
                })
            })
            .await??;
        Ok(VerifyUserAttributeResponse::default())
    }
}
