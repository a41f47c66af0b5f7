//! The settings of a pool: what a request leaves out is completed, and what does not fit is refused.
//!
//! Create and update come to the same: the members of the request, completed with the service's
//! defaults. An update takes nothing from the settings before it but what cannot be changed.

use std::collections::{BTreeMap, BTreeSet};

use lido_wire::types::{
    AccountRecoverySettingType, AcrLevelConfigType, AdminCreateUserConfigType, AdvancedSecurityModeType,
    AuthFactorType, CreateUserPoolRequest, DefaultEmailOptionType, DeletionProtectionType,
    EmailConfigurationType, EmailSendingAccountType, EncryptionKeyType, KeyConfigurationType,
    LambdaConfigType, PasswordPolicyType, PreTokenGenerationLambdaVersionType,
    PreTokenGenerationVersionConfigType, RecoveryOptionNameType, RecoveryOptionType, SignInPolicyType,
    SmsConfigurationType, StatusType, UpdateUserPoolRequest, UserPoolMfaType, UserPoolTierType, UserPoolType,
};

use super::schema;
use crate::fault::{self, Fault, Result};

/// Days in which a temporary password is good, and a new account must be used.
const VALIDITY_DAYS: i32 = 7;

/// The settings of a new pool in `region`.
pub(super) fn created(request: CreateUserPoolRequest, region: &str) -> Result<UserPoolType> {
    let alias_attributes = request.alias_attributes.filter(|list| !list.is_empty());
    let username_attributes = request.username_attributes.filter(|list| !list.is_empty());
    if alias_attributes.is_some() && username_attributes.is_some() {
        return Err(refused(
            "Only one of the AliasAttributes or UsernameAttributes can be set in a user pool.",
        ));
    }
    let asked = UserPoolType {
        policies: request.policies,
        deletion_protection: request.deletion_protection,
        lambda_config: request.lambda_config,
        schema_attributes: Some(schema::new(request.schema.unwrap_or_default())?),
        auto_verified_attributes: request.auto_verified_attributes,
        alias_attributes,
        username_attributes,
        sms_verification_message: request.sms_verification_message,
        email_verification_message: request.email_verification_message,
        email_verification_subject: request.email_verification_subject,
        verification_message_template: request.verification_message_template,
        sms_authentication_message: request.sms_authentication_message,
        user_attribute_update_settings: request.user_attribute_update_settings,
        mfa_configuration: request.mfa_configuration,
        device_configuration: request.device_configuration,
        email_configuration: request.email_configuration,
        sms_configuration: request.sms_configuration,
        admin_create_user_config: request.admin_create_user_config,
        user_pool_add_ons: request.user_pool_add_ons,
        dcr_configuration: request.dcr_configuration,
        username_configuration: request.username_configuration,
        account_recovery_setting: request.account_recovery_setting,
        user_pool_tier: request.user_pool_tier,
        key_configuration: request.key_configuration,
        issuer_configuration: request.issuer_configuration,
        acr_configuration: request.acr_configuration,
        ..UserPoolType::default()
    };
    completed(asked, UserPoolTierType::Essentials, region)
}

/// The settings after an update: the request alone decides, except for the schema, the sign-in names
/// and, where the request names none, the feature plan.
pub(super) fn updated(
    current: &UserPoolType,
    request: UpdateUserPoolRequest,
    region: &str,
) -> Result<UserPoolType> {
    let asked = UserPoolType {
        policies: request.policies,
        deletion_protection: request.deletion_protection,
        lambda_config: request.lambda_config,
        schema_attributes: current.schema_attributes.clone(),
        auto_verified_attributes: request.auto_verified_attributes,
        alias_attributes: current.alias_attributes.clone(),
        username_attributes: current.username_attributes.clone(),
        sms_verification_message: request.sms_verification_message,
        email_verification_message: request.email_verification_message,
        email_verification_subject: request.email_verification_subject,
        verification_message_template: request.verification_message_template,
        sms_authentication_message: request.sms_authentication_message,
        user_attribute_update_settings: request.user_attribute_update_settings,
        mfa_configuration: request.mfa_configuration,
        device_configuration: request.device_configuration,
        email_configuration: request.email_configuration,
        sms_configuration: request.sms_configuration,
        admin_create_user_config: request.admin_create_user_config,
        user_pool_add_ons: request.user_pool_add_ons,
        dcr_configuration: request.dcr_configuration,
        username_configuration: current.username_configuration.clone(),
        account_recovery_setting: request.account_recovery_setting,
        user_pool_tier: request.user_pool_tier,
        key_configuration: request.key_configuration,
        issuer_configuration: request.issuer_configuration,
        acr_configuration: request.acr_configuration,
        ..UserPoolType::default()
    };
    completed(asked, current.user_pool_tier.unwrap_or(UserPoolTierType::Essentials), region)
}

/// Fills in the defaults and checks what stands then.
fn completed(
    mut settings: UserPoolType,
    default_tier: UserPoolTierType,
    region: &str,
) -> Result<UserPoolType> {
    // First, while the defaults cannot be taken for features that were asked for.
    tier(&mut settings, default_tier)?;
    policies(&mut settings)?;
    settings.deletion_protection.get_or_insert(DeletionProtectionType::Inactive);
    lambdas(settings.lambda_config.get_or_insert_default())?;
    messages(&mut settings)?;
    email(settings.email_configuration.get_or_insert_default())?;
    settings.sms_configuration.as_mut().map(|sms| sms_sender(sms, region)).transpose()?;
    settings.mfa_configuration.get_or_insert(UserPoolMfaType::Off);
    settings.auto_verified_attributes = settings.auto_verified_attributes.filter(|list| !list.is_empty());
    update_settings(&settings)?;
    if let Some(devices) = &mut settings.device_configuration {
        devices.challenge_required_on_new_device.get_or_insert(false);
        devices.device_only_remembered_on_user_prompt.get_or_insert(false);
    }
    recovery(settings.account_recovery_setting.get_or_insert_default())?;
    if let Some(registration) = &mut settings.dcr_configuration {
        registration.enable_status.get_or_insert(StatusType::Enabled);
        registration.open_dcr_enabled.get_or_insert(false);
    }
    settings.key_configuration.as_mut().map(key).transpose()?;
    assurance_levels(settings.acr_configuration.get_or_insert_default())?;
    Ok(settings)
}

fn refused(message: &str) -> fault::Error {
    fault::invalid_parameter(message).into()
}

fn rank(tier: UserPoolTierType) -> u8 {
    match tier {
        UserPoolTierType::Lite => 0,
        UserPoolTierType::Essentials => 1,
        UserPoolTierType::Plus => 2,
    }
}

/// Whether a plan has everything that another has.
pub(crate) fn tier_includes(tier: UserPoolTierType, other: UserPoolTierType) -> bool {
    rank(tier) >= rank(other)
}

/// Refuses a feature that the pool's plan does not have.
pub(crate) fn require_tier(
    tier: UserPoolTierType,
    least: UserPoolTierType,
    feature: &str,
) -> Result<(), Fault> {
    if tier_includes(tier, least) {
        Ok(())
    } else {
        Err(fault::feature_unavailable_in_tier(feature, tier.as_str()))
    }
}

/// Settles the feature plan and refuses what is beyond it. Source: the service's table of plans; threat
/// protection brings its plan with it where none is named.
fn tier(settings: &mut UserPoolType, default: UserPoolTierType) -> Result<()> {
    let threat_protection = settings
        .user_pool_add_ons
        .as_ref()
        .is_some_and(|add_ons| add_ons.advanced_security_mode != AdvancedSecurityModeType::Off);
    let default = if threat_protection { UserPoolTierType::Plus } else { default };
    let tier = *settings.user_pool_tier.get_or_insert(default);

    let policies = settings.policies.as_ref();
    let history = policies
        .and_then(|policies| policies.password_policy.as_ref()?.password_history_size)
        .is_some_and(|size| size > 0);
    let passwordless = policies
        .and_then(|policies| policies.sign_in_policy.as_ref()?.allowed_first_auth_factors.as_ref())
        .is_some_and(|factors| factors.iter().any(|factor| *factor != AuthFactorType::Password));
    let access_token_version = settings
        .lambda_config
        .as_ref()
        .and_then(|lambdas| lambdas.pre_token_generation_config.as_ref())
        .is_some_and(|config| config.lambda_version != PreTokenGenerationLambdaVersionType::V1_0);
    let essentials = [
        (history, "PasswordHistorySize"),
        (passwordless, "AllowedFirstAuthFactors"),
        (access_token_version, "PreTokenGenerationConfig with LambdaVersion V2_0 or V3_0"),
        (settings.acr_configuration.is_some(), "AcrConfiguration"),
        (settings.dcr_configuration.is_some(), "DcrConfiguration"),
    ];
    for (_, feature) in essentials.iter().filter(|(asked, _)| *asked) {
        require_tier(tier, UserPoolTierType::Essentials, feature)?;
    }
    if threat_protection {
        require_tier(tier, UserPoolTierType::Plus, "AdvancedSecurityMode")?;
    }
    Ok(())
}

/// Password and sign-in policy, and how long a temporary password is good: a number with two names.
fn policies(settings: &mut UserPoolType) -> Result<()> {
    let policies = settings.policies.get_or_insert_default();
    let password = policies.password_policy.get_or_insert_with(|| PasswordPolicyType {
        require_uppercase: Some(true),
        require_lowercase: Some(true),
        require_numbers: Some(true),
        require_symbols: Some(true),
        ..PasswordPolicyType::default()
    });
    password.minimum_length.get_or_insert(8);
    for require in [
        &mut password.require_uppercase,
        &mut password.require_lowercase,
        &mut password.require_numbers,
        &mut password.require_symbols,
    ] {
        require.get_or_insert(false);
    }

    let admin = settings.admin_create_user_config.get_or_insert_with(AdminCreateUserConfigType::default);
    admin.allow_admin_create_user_only.get_or_insert(false);
    // 0 stands for the default.
    let temporary = password.temporary_password_validity_days.filter(|days| *days != 0);
    let unused = admin.unused_account_validity_days.filter(|days| *days != 0);
    if let (Some(temporary), Some(unused)) = (temporary, unused)
        && temporary != unused
    {
        return Err(fault::unused_account_validity_days().into());
    }
    let days = temporary.or(unused).unwrap_or(VALIDITY_DAYS);
    password.temporary_password_validity_days = Some(days);
    admin.unused_account_validity_days = Some(days);

    let sign_in = policies.sign_in_policy.get_or_insert_with(SignInPolicyType::default);
    let factors = sign_in.allowed_first_auth_factors.get_or_insert_with(|| vec![AuthFactorType::Password]);
    if !factors.contains(&AuthFactorType::Password) {
        return Err(refused("AllowedFirstAuthFactors must contain PASSWORD."));
    }
    if factors.contains(&AuthFactorType::SoftwareToken) {
        return Err(refused("SOFTWARE_TOKEN is not supported in AllowedFirstAuthFactors."));
    }
    Ok(())
}

/// The function before token generation has two places, and both show it.
fn lambdas(lambdas: &mut LambdaConfigType) -> Result<()> {
    match (&lambdas.pre_token_generation, &lambdas.pre_token_generation_config) {
        (Some(arn), Some(config)) if *arn != config.lambda_arn => {
            return Err(refused(
                "PreTokenGeneration and the LambdaArn of PreTokenGenerationConfig must be the same.",
            ));
        }
        (Some(arn), None) => {
            lambdas.pre_token_generation_config = Some(PreTokenGenerationVersionConfigType {
                lambda_version: PreTokenGenerationLambdaVersionType::V1_0,
                lambda_arn: arn.clone(),
            });
        }
        (None, Some(config)) => lambdas.pre_token_generation = Some(config.lambda_arn.clone()),
        _ => {}
    }
    let custom_sender = lambdas.custom_sms_sender.is_some() || lambdas.custom_email_sender.is_some();
    if custom_sender && lambdas.kms_key_id.is_none() {
        return Err(refused("KMSKeyID is required with CustomSMSSender or CustomEmailSender."));
    }
    Ok(())
}

/// The verification texts stand in the template and, under older names, in the pool itself.
fn messages(settings: &mut UserPoolType) -> Result<()> {
    let template = settings.verification_message_template.get_or_insert_default();
    template.default_email_option.get_or_insert(DefaultEmailOptionType::ConfirmWithCode);
    for (name, older, newer) in [
        ("SmsVerificationMessage", &mut settings.sms_verification_message, &mut template.sms_message),
        ("EmailVerificationMessage", &mut settings.email_verification_message, &mut template.email_message),
        ("EmailVerificationSubject", &mut settings.email_verification_subject, &mut template.email_subject),
    ] {
        match (&older, &newer) {
            (Some(one), Some(other)) if one != other => {
                return Err(refused(&format!("{name} and VerificationMessageTemplate must not differ.")));
            }
            (Some(text), None) => *newer = Some(text.clone()),
            (None, Some(text)) => *older = Some(text.clone()),
            _ => {}
        }
    }
    Ok(())
}

fn email(email: &mut EmailConfigurationType) -> Result<()> {
    let account = *email.email_sending_account.get_or_insert(EmailSendingAccountType::CognitoDefault);
    if account == EmailSendingAccountType::Developer && email.source_arn.is_none() {
        return Err(refused("SourceArn is required when EmailSendingAccount is DEVELOPER."));
    }
    Ok(())
}

/// Either of the two SMS services, in the pool's region unless another is named.
pub(crate) fn sms_sender(sms: &mut SmsConfigurationType, region: &str) -> Result<()> {
    match (&sms.sns_caller_arn, &mut sms.eums_sms) {
        (None, None) => Err(refused("SmsConfiguration needs either SnsCallerArn or EumsSms.")),
        (Some(_), Some(_)) => Err(refused("SmsConfiguration takes SnsCallerArn or EumsSms, not both.")),
        (Some(_), None) => {
            sms.sns_region.get_or_insert_with(|| region.to_owned());
            Ok(())
        }
        (None, Some(eums)) => {
            if eums.region.get_or_insert_with(|| region.to_owned()) == region {
                Ok(())
            } else {
                Err(refused("The Region of EumsSms must be the region of the user pool."))
            }
        }
    }
}

/// Only what is verified by the pool can be verified before it changes.
fn update_settings(settings: &UserPoolType) -> Result<()> {
    let before_update = settings
        .user_attribute_update_settings
        .iter()
        .filter_map(|settings| settings.attributes_require_verification_before_update.as_ref())
        .flatten();
    let auto_verified = settings.auto_verified_attributes.as_deref().unwrap_or_default();
    for attribute in before_update {
        if !auto_verified.contains(attribute) {
            return Err(refused(&format!(
                "{attribute} is in AttributesRequireVerificationBeforeUpdate and must be in AutoVerifiedAttributes."
            )));
        }
    }
    Ok(())
}

fn recovery(recovery: &mut AccountRecoverySettingType) -> Result<()> {
    let mechanisms = recovery.recovery_mechanisms.get_or_insert_with(|| {
        vec![
            RecoveryOptionType { priority: 1, name: RecoveryOptionNameType::VerifiedEmail },
            RecoveryOptionType { priority: 2, name: RecoveryOptionNameType::VerifiedPhoneNumber },
        ]
    });
    let names: BTreeSet<&str> = mechanisms.iter().map(|mechanism| mechanism.name.as_str()).collect();
    let priorities: BTreeSet<i32> = mechanisms.iter().map(|mechanism| mechanism.priority).collect();
    if names.len() < mechanisms.len() || priorities.len() < mechanisms.len() {
        return Err(refused("The RecoveryMechanisms must have different names and priorities."));
    }
    if mechanisms.len() > 1 && names.contains(RecoveryOptionNameType::AdminOnly.as_str()) {
        return Err(refused("The recovery mechanism admin_only cannot be combined with others."));
    }
    Ok(())
}

fn key(key: &mut KeyConfigurationType) -> Result<()> {
    let customer_managed =
        *key.key_type.get_or_insert(EncryptionKeyType::AwsOwnedKey) == EncryptionKeyType::CustomerManagedKey;
    match (customer_managed, key.kms_key_arn.is_some()) {
        (true, false) => Err(refused("KmsKeyArn is required when KeyType is CUSTOMER_MANAGED_KEY.")),
        (false, true) => Err(refused("KmsKeyArn is only for the KeyType CUSTOMER_MANAGED_KEY.")),
        _ => Ok(()),
    }
}

/// The names of the four assurance levels: the service always shows them all.
fn assurance_levels(levels: &mut BTreeMap<String, AcrLevelConfigType>) -> Result<()> {
    for level in 1..=4 {
        levels
            .entry(format!("Level{level}"))
            .or_insert_with(|| AcrLevelConfigType { acr_value: format!("urn:cognito:loa:{level}") });
    }
    let values: BTreeSet<&str> = levels.values().map(|level| level.acr_value.as_str()).collect();
    if values.len() < levels.len() {
        return Err(refused("The AcrValue of each level must be different, the default values included."));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
