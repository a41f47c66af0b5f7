//! Multi-factor authentication: what a pool asks for, a user's software token, what a user has turned on.

use lido_crypto::totp;
use lido_domain::{MfaFactor, User, UserStatus};
use lido_store::users;
use lido_wire::ops::{
    AdminDeleteSoftwareToken, AdminGetUserAuthFactors, AdminSetUserMFAPreference, AdminSetUserSettings,
    AssociateSoftwareToken, GetUserAuthFactors, GetUserPoolMfaConfig, SetUserMFAPreference,
    SetUserPoolMfaConfig, SetUserSettings, VerifySoftwareToken,
};
use lido_wire::types::{
    AdminDeleteSoftwareTokenResponse, AdminGetUserAuthFactorsResponse, AdminSetUserMFAPreferenceResponse,
    AdminSetUserSettingsResponse, AssociateSoftwareTokenResponse, AuthFactorType, DeliveryMediumType,
    EmailMfaSettingsType, EmailSendingAccountType, GetUserAuthFactorsResponse, GetUserPoolMfaConfigResponse,
    MFAOptionType, SMSMfaSettingsType, SetUserMFAPreferenceResponse, SetUserPoolMfaConfigResponse,
    SetUserSettingsResponse, SmsMfaConfigType, SoftwareTokenMfaSettingsType, UserPoolMfaType,
    UserPoolTierType, UserPoolType, VerifySoftwareTokenResponse, VerifySoftwareTokenResponseType,
};

use crate::Operation;
use crate::auth::mfa::{self, has};
use crate::caller::{Iam, SignedIn, TokenOrSession};
use crate::cx::Cx;
use crate::fault::{self, Error, Fault, Result};
use crate::ops::user_pools::{self, settings};
use crate::ops::users::save;
use crate::pool::{MfaConfig, Pool};

// ---- The pool's configuration ----------------------------------------------------------------

/// Replaces the configuration: what is left out is switched off, the passkey settings included. Only the SMS sender
/// stays with the pool, which verifies phone numbers by it as well.
///
/// Errors: [`fault::mfa_off_with_factors`], [`fault::mfa_without_factors`], [`fault::sms_required_for_mfa`],
/// [`fault::email_mfa_needs_developer_account`], [`fault::feature_unavailable_in_tier`].
/// Source: API reference, SetUserPoolMfaConfig; that left out means off is inferred.
impl Operation for SetUserPoolMfaConfig {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let mut settings = pool.settings.clone();
        let mfa = MfaConfig {
            sms: input.sms_mfa_configuration.is_some(),
            software_token: input.software_token_mfa_configuration,
            email: input.email_mfa_configuration,
            web_authn: input.web_authn_configuration,
        };
        let mode = input.mfa_configuration.unwrap_or(UserPoolMfaType::Off);
        match (mode, mfa.factors().next()) {
            (UserPoolMfaType::Off, Some(_)) => return Err(fault::mfa_off_with_factors().into()),
            (UserPoolMfaType::On | UserPoolMfaType::Optional, None) => {
                return Err(fault::mfa_without_factors().into());
            }
            _ => {}
        }
        settings.mfa_configuration = Some(mode);
        if let Some(sms) = input.sms_mfa_configuration {
            if let Some(mut sender) = sms.sms_configuration {
                settings::sms_sender(&mut sender, pool.record.id.region())?;
                settings.sms_configuration = Some(sender);
            }
            settings.sms_authentication_message =
                sms.sms_authentication_message.or(settings.sms_authentication_message);
        }
        check(&settings, &mfa)?;
        let mut record = pool.record.clone();
        record.settings = user_pools::stored(&settings);
        record.mfa = mfa.to_json();
        record.updated = cx.now();
        user_pools::put(cx, record).await?;
        Ok(SetUserPoolMfaConfigResponse {
            sms_mfa_configuration: sms_config(&settings, &mfa),
            software_token_mfa_configuration: mfa.software_token,
            email_mfa_configuration: mfa.email,
            mfa_configuration: Some(mode),
            web_authn_configuration: mfa.web_authn,
        })
    }
}

/// Whether the factors fit the pool's other settings.
///
/// Errors: [`fault::sms_required_for_mfa`], [`fault::email_mfa_needs_developer_account`],
/// [`fault::feature_unavailable_in_tier`].
pub(super) fn check(settings: &UserPoolType, mfa: &MfaConfig) -> Result<(), Fault> {
    if mfa.sms && settings.sms_configuration.is_none() {
        return Err(fault::sms_required_for_mfa());
    }
    if mfa.email.is_some() {
        let tier = settings.user_pool_tier.unwrap_or(UserPoolTierType::Essentials);
        settings::require_tier(tier, UserPoolTierType::Essentials, "EmailMfaConfiguration")?;
        let account = settings.email_configuration.as_ref().and_then(|email| email.email_sending_account);
        if account != Some(EmailSendingAccountType::Developer) {
            return Err(fault::email_mfa_needs_developer_account());
        }
    }
    Ok(())
}

/// What becomes of the factors when a pool is made or updated with `settings`. Those operations name none but SMS:
/// turning MFA on means SMS where nothing else is set up; turning it off switches the factors off.
///
/// Errors: those of [`check`], [`fault::sms_required_for_mfa`].
pub(super) fn updated(settings: &UserPoolType, current: &MfaConfig) -> Result<MfaConfig, Fault> {
    let web_authn = current.web_authn.clone();
    if settings.mfa_configuration.is_none_or(|mode| mode == UserPoolMfaType::Off) {
        return Ok(MfaConfig { web_authn, ..MfaConfig::default() });
    }
    let sms = settings.sms_configuration.is_some();
    let mut mfa = MfaConfig { sms: current.sms && sms, ..current.clone() };
    if mfa.factors().next().is_none() {
        if !sms {
            return Err(fault::sms_required_for_mfa());
        }
        mfa.sms = true;
    }
    check(settings, &mfa)?;
    Ok(mfa)
}

fn sms_config(settings: &UserPoolType, mfa: &MfaConfig) -> Option<SmsMfaConfigType> {
    mfa.sms.then(|| SmsMfaConfigType {
        sms_authentication_message: settings.sms_authentication_message.clone(),
        sms_configuration: settings.sms_configuration.clone(),
    })
}

/// Source: API reference, GetUserPoolMfaConfig.
impl Operation for GetUserPoolMfaConfig {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let mfa = pool.mfa.clone();
        Ok(GetUserPoolMfaConfigResponse {
            sms_mfa_configuration: sms_config(&pool.settings, &mfa),
            software_token_mfa_configuration: mfa.software_token,
            email_mfa_configuration: mfa.email,
            mfa_configuration: pool.settings.mfa_configuration,
            web_authn_configuration: mfa.web_authn,
        })
    }
}

// ---- Software tokens -------------------------------------------------------------------------

/// Gives out the seed of a new software token; one that is registered stays in force until this one is verified.
///
/// Errors: [`fault::software_token_not_enabled`], those of the session.
/// Source: API reference, AssociateSoftwareToken.
impl Operation for AssociateSoftwareToken {
    type Caller = TokenOrSession;

    async fn run(cx: &Cx, caller: TokenOrSession, input: Self::Input) -> Result<Self::Output> {
        let SignedIn { pool, user, .. } = match caller {
            TokenOrSession::SignedIn(caller) => *caller,
            TokenOrSession::Session => {
                let session = input.session.unwrap_or_default();
                let (secret, next) = mfa::associate(cx, session.as_str()).await?;
                return Ok(AssociateSoftwareTokenResponse {
                    secret_code: Some(secret.into()),
                    session: Some(next.into()),
                });
            }
        };
        require_software_tokens(&pool)?;
        let seed = totp::new_seed(&*cx.random);
        let mut after = user.clone();
        after.totp_pending = Some(mfa::seal_seed(cx, &user, seed.expose()));
        save(cx, &pool, user, after).await?;
        Ok(AssociateSoftwareTokenResponse {
            secret_code: Some(totp::base32(seed.expose()).into()),
            session: None,
        })
    }
}

/// Errors: [`fault::software_token_not_enabled`].
fn require_software_tokens(pool: &Pool) -> Result<(), Fault> {
    let enabled = pool.mfa_factors().contains(&MfaFactor::SoftwareTokenMfa);
    if enabled { Ok(()) } else { Err(fault::software_token_not_enabled()) }
}

/// Registers the token that makes this code. Whether it is asked for at sign-in is a preference of its own, or, in
/// a sign-in, settled by the answer to MFA_SETUP.
///
/// Errors: [`fault::software_token_not_verified`], [`fault::software_token_not_enabled`], those of the session.
/// Source: API reference, VerifySoftwareToken.
impl Operation for VerifySoftwareToken {
    type Caller = TokenOrSession;

    async fn run(cx: &Cx, caller: TokenOrSession, input: Self::Input) -> Result<Self::Output> {
        let code = input.user_code.as_str();
        let status = Some(VerifySoftwareTokenResponseType::Success);
        let before = match caller {
            TokenOrSession::SignedIn(caller) => {
                caller.require_settled()?;
                require_software_tokens(&caller.pool)?;
                caller.user
            }
            TokenOrSession::Session => {
                let session = input.session.unwrap_or_default();
                let next = mfa::verify(cx, session.as_str(), code, input.friendly_device_name).await?;
                return Ok(VerifySoftwareTokenResponse { status, session: Some(next.into()) });
            }
        };
        let pending = before.totp_pending.clone().ok_or_else(fault::software_token_not_verified)?;
        let seed = mfa::open_seed(cx, &before, &pending)?;
        let step =
            totp::matching_step(&seed, code, cx.now()).ok_or_else(fault::software_token_not_verified)?;
        let mut after = before.clone();
        after.totp_secret = after.totp_pending.take();
        after.mfa.token_name = input.friendly_device_name;
        after.updated = cx.now();
        cx.store
            .write((before, after, step), |(before, after, step), tx| {
                Box::pin(async move {
                    if !users::put(tx, before, after).await? {
                        return Err(Error::Conflict);
                    }
                    // The code that showed it is used up: it does not sign in as well.
                    users::set_totp_step(tx, &after.pool, &after.sub, *step).await?;
                    Ok(())
                })
            })
            .await?;
        Ok(VerifySoftwareTokenResponse { status, session: None })
    }
}

/// Without a token nothing changes, which is no error.
///
/// Errors: [`fault::user_not_found`], [`fault::user_not_confirmed`].
/// Source: API reference, AdminDeleteSoftwareToken; that the preference goes with the token is inferred.
impl Operation for AdminDeleteSoftwareToken {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let before = cx.user(&pool, &input.username).await?;
        if before.status == UserStatus::Unconfirmed {
            return Err(fault::user_not_confirmed().into());
        }
        let mut after = before.clone();
        after.totp_secret = None;
        after.totp_pending = None;
        after.mfa.token_name = None;
        after.mfa.disable(MfaFactor::SoftwareTokenMfa);
        save_change(cx, &pool, before, after).await?;
        Ok(AdminDeleteSoftwareTokenResponse {})
    }
}

async fn save_change(cx: &Cx, pool: &Pool, before: User, mut after: User) -> Result<()> {
    if before == after {
        return Ok(());
    }
    after.updated = cx.now();
    save(cx, pool, before, after).await
}

// ---- What a user has turned on ---------------------------------------------------------------

/// What a request says of one factor.
struct Wish {
    factor: MfaFactor,
    /// Left out, it stays.
    enabled: Option<bool>,
    preferred: bool,
}

fn wishes(
    sms: Option<SMSMfaSettingsType>,
    email: Option<EmailMfaSettingsType>,
    token: Option<SoftwareTokenMfaSettingsType>,
) -> Vec<Wish> {
    let wish = |factor, (enabled, preferred): (Option<bool>, Option<bool>)| Wish {
        factor,
        enabled,
        preferred: preferred == Some(true),
    };
    let sms = sms.map(|sms| wish(MfaFactor::SmsMfa, (sms.enabled, sms.preferred_mfa)));
    let email = email.map(|email| wish(MfaFactor::EmailOtp, (email.enabled, email.preferred_mfa)));
    let token = token.map(|token| wish(MfaFactor::SoftwareTokenMfa, (token.enabled, token.preferred_mfa)));
    [sms, email, token].into_iter().flatten().collect()
}

/// Where the pool requires MFA, turning a factor off changes nothing but the preference.
///
/// Errors: [`fault::several_preferred_factors`], [`fault::preferred_factor_not_enabled`],
/// [`fault::no_delivery_config`].
/// Source: API reference, SetUserMFAPreference.
fn wished(pool: &Pool, user: &User, wishes: &[Wish]) -> Result<User, Fault> {
    if wishes.iter().filter(|wish| wish.preferred).count() > 1 {
        return Err(fault::several_preferred_factors());
    }
    let is_required = pool.settings.mfa_configuration == Some(UserPoolMfaType::On);
    let mut after = user.clone();
    for Wish { factor, enabled, preferred } in wishes {
        let mfa = &mut after.mfa;
        match enabled {
            Some(true) if !has(user, *factor) => return Err(fault::no_delivery_config(factor.as_str())),
            Some(true) => {
                mfa.enabled.insert(*factor);
            }
            Some(false) if *preferred => return Err(fault::preferred_factor_not_enabled(factor.as_str())),
            Some(false) if !is_required => mfa.disable(*factor),
            _ => {}
        }
        if *preferred {
            if !mfa.enabled.contains(factor) {
                return Err(fault::preferred_factor_not_enabled(factor.as_str()));
            }
            mfa.preferred = Some(*factor);
        } else if mfa.preferred == Some(*factor) {
            mfa.preferred = None;
        }
    }
    Ok(after)
}

/// Refuses to turn on a second factor that is not built. Source: WebAuthnMfaSettings.
fn refuse_passkeys(wish: Option<&lido_wire::types::WebAuthnMfaSettingsType>) -> Result<()> {
    match wish.and_then(|wish| wish.enabled) {
        Some(true) => Err(fault::feature_not_implemented("WebAuthnMfaSettings").into()),
        _ => Ok(()),
    }
}

/// Errors: those of [`wished`].
impl Operation for SetUserMFAPreference {
    type Caller = SignedIn;

    async fn run(cx: &Cx, caller: SignedIn, input: Self::Input) -> Result<Self::Output> {
        caller.require_settled()?;
        refuse_passkeys(input.web_authn_mfa_settings.as_ref())?;
        let wishes =
            wishes(input.sms_mfa_settings, input.email_mfa_settings, input.software_token_mfa_settings);
        let after = wished(&caller.pool, &caller.user, &wishes)?;
        save_change(cx, &caller.pool, caller.user, after).await?;
        Ok(SetUserMFAPreferenceResponse {})
    }
}

/// Errors: [`fault::user_not_found`], those of [`wished`].
impl Operation for AdminSetUserMFAPreference {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let user = cx.user(&pool, &input.username).await?;
        refuse_passkeys(input.web_authn_mfa_settings.as_ref())?;
        let wishes =
            wishes(input.sms_mfa_settings, input.email_mfa_settings, input.software_token_mfa_settings);
        let after = wished(&pool, &user, &wishes)?;
        save_change(cx, &pool, user, after).await?;
        Ok(AdminSetUserMFAPreferenceResponse {})
    }
}

/// The older way to turn SMS on, or off with an empty list.
///
/// Errors: [`fault::only_sms_mfa_option`], [`fault::no_delivery_config`].
fn by_options(pool: &Pool, user: &User, options: &[MFAOptionType]) -> Result<User, Fault> {
    let is_sms = |option: &MFAOptionType| {
        option.delivery_medium == Some(DeliveryMediumType::Sms)
            && option.attribute_name.as_deref().is_none_or(|name| name == "phone_number")
    };
    if !options.iter().all(is_sms) {
        return Err(fault::only_sms_mfa_option());
    }
    let factor = MfaFactor::SmsMfa;
    let preferred = user.mfa.preferred == Some(factor) && !options.is_empty();
    wished(pool, user, &[Wish { factor, enabled: Some(!options.is_empty()), preferred }])
}

/// Errors: those of [`by_options`].
/// Source: API reference, SetUserSettings; withdrawn, and still answered.
impl Operation for SetUserSettings {
    type Caller = SignedIn;

    async fn run(cx: &Cx, caller: SignedIn, input: Self::Input) -> Result<Self::Output> {
        caller.require_settled()?;
        let after = by_options(&caller.pool, &caller.user, &input.mfa_options)?;
        save_change(cx, &caller.pool, caller.user, after).await?;
        Ok(SetUserSettingsResponse {})
    }
}

/// Errors: [`fault::user_not_found`], those of [`by_options`].
impl Operation for AdminSetUserSettings {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let user = cx.user(&pool, &input.username).await?;
        let after = by_options(&pool, &user, &input.mfa_options)?;
        save_change(cx, &pool, user, after).await?;
        Ok(AdminSetUserSettingsResponse {})
    }
}

// ---- What is shown of a user -----------------------------------------------------------------

/// `UserMFASettingList`; absent for a user who has turned on nothing.
pub(crate) fn setting_list(user: &User) -> Option<Vec<String>> {
    let list: Vec<_> = user.mfa.enabled.iter().map(|factor| factor.as_str().to_owned()).collect();
    (!list.is_empty()).then_some(list)
}

/// `PreferredMfaSetting`.
pub(crate) fn preferred(user: &User) -> Option<String> {
    user.mfa.preferred.map(|factor| factor.as_str().to_owned())
}

/// `MFAOptions`, which knows only SMS.
pub(crate) fn options(user: &User) -> Option<Vec<MFAOptionType>> {
    user.mfa.enabled.contains(&MfaFactor::SmsMfa).then(|| {
        vec![MFAOptionType {
            delivery_medium: Some(DeliveryMediumType::Sms),
            attribute_name: Some("phone_number".to_owned()),
        }]
    })
}

/// What the user can sign in with here, as a first factor or as a second one.
fn auth_factors(pool: &Pool, user: &User) -> Vec<AuthFactorType> {
    let first = pool
        .settings
        .policies
        .as_ref()
        .and_then(|policies| policies.sign_in_policy.as_ref()?.allowed_first_auth_factors.clone())
        .unwrap_or_else(|| vec![AuthFactorType::Password]);
    let second = pool.mfa_factors();
    let allows =
        |first_factor, second_factor| first.contains(&first_factor) || second.contains(&second_factor);
    [
        (AuthFactorType::Password, user.password.is_some()),
        (
            AuthFactorType::EmailOtp,
            has(user, MfaFactor::EmailOtp) && allows(AuthFactorType::EmailOtp, MfaFactor::EmailOtp),
        ),
        (
            AuthFactorType::SmsOtp,
            has(user, MfaFactor::SmsMfa) && allows(AuthFactorType::SmsOtp, MfaFactor::SmsMfa),
        ),
        (
            AuthFactorType::SoftwareToken,
            has(user, MfaFactor::SoftwareTokenMfa) && second.contains(&MfaFactor::SoftwareTokenMfa),
        ),
    ]
    .into_iter()
    .filter_map(|(factor, usable)| usable.then_some(factor))
    .collect()
}

/// Source: API reference, GetUserAuthFactors.
impl Operation for GetUserAuthFactors {
    type Caller = SignedIn;

    async fn run(_cx: &Cx, caller: SignedIn, _input: Self::Input) -> Result<Self::Output> {
        caller.require_settled()?;
        let SignedIn { pool, user, .. } = &caller;
        Ok(GetUserAuthFactorsResponse {
            username: user.username.as_str().into(),
            preferred_mfa_setting: preferred(user),
            user_mfa_setting_list: setting_list(user),
            configured_user_auth_factors: Some(auth_factors(pool, user)),
        })
    }
}

/// Errors: [`fault::user_not_found`].
impl Operation for AdminGetUserAuthFactors {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let user = cx.user(&pool, &input.username).await?;
        Ok(AdminGetUserAuthFactorsResponse {
            username: user.username.as_str().into(),
            preferred_mfa_setting: preferred(&user),
            user_mfa_setting_list: setting_list(&user),
            configured_user_auth_factors: Some(auth_factors(&pool, &user)),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(mode: UserPoolMfaType, with_sms: bool) -> UserPoolType {
        let sms = with_sms.then(|| json!({ "SnsCallerArn": "arn:aws:iam::000000000000:role/sms" }));
        serde_json::from_value(json!({ "MfaConfiguration": mode.as_str(), "SmsConfiguration": sms })).unwrap()
    }

    fn config(value: serde_json::Value) -> MfaConfig {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn turning_mfa_on_means_sms_where_nothing_else_is_set_up() {
        use UserPoolMfaType::{Off, On, Optional};
        let nothing = MfaConfig::default();
        let token = config(json!({ "softwareToken": { "Enabled": true } }));
        let sms = config(json!({ "sms": true }));
        assert_eq!(updated(&settings(Off, true), &nothing), Ok(nothing.clone()));
        assert_eq!(updated(&settings(On, true), &nothing), Ok(sms.clone()));
        for current in [&nothing, &sms] {
            assert_eq!(updated(&settings(Optional, false), current), Err(fault::sms_required_for_mfa()));
        }
        // What SetUserPoolMfaConfig has set up stays, as long as MFA is on.
        assert_eq!(updated(&settings(Optional, false), &token), Ok(token.clone()));
        assert_eq!(updated(&settings(Optional, true), &token), Ok(token.clone()));
        assert_eq!(updated(&settings(Off, true), &token), Ok(nothing));
    }
}
