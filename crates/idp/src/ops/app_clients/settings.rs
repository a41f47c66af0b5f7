//! The settings of an app client: what a request leaves out is completed, and what does not fit the client,
//! its pool or itself is refused.
//!
//! Create and update come to the same: an update takes nothing from the settings before it.

use lido_wire::types::{
    CreateUserPoolClientRequest, ExplicitAuthFlowsType, FeatureType, OAuthFlowType, TimeUnitsType,
    TokenValidityUnitsType, UpdateUserPoolClientRequest, UserPoolClientType, UserPoolTierType,
};

use crate::fault::{self, Error, Result};
use crate::ops::user_pools::settings::require_tier;
use crate::pool::{PROFILE_ATTRIBUTES, Pool, STANDARD_SCOPES};

const HOUR: i64 = 60 * 60;
const DAY: i64 = 24 * HOUR;

/// Days that a refresh token is good for, unless the client says otherwise.
const REFRESH_DAYS: i64 = 30;

/// The settings of a new client. `has_secret`: whether it gets one.
pub(super) fn created(
    pool: &Pool,
    request: CreateUserPoolClientRequest,
    has_secret: bool,
) -> Result<UserPoolClientType> {
    let asked = UserPoolClientType {
        refresh_token_validity: request.refresh_token_validity,
        access_token_validity: request.access_token_validity,
        id_token_validity: request.id_token_validity,
        token_validity_units: request.token_validity_units,
        read_attributes: request.read_attributes,
        write_attributes: request.write_attributes,
        explicit_auth_flows: request.explicit_auth_flows,
        supported_identity_providers: request.supported_identity_providers,
        callback_urls: request.callback_urls,
        logout_urls: request.logout_urls,
        default_redirect_uri: request.default_redirect_uri,
        allowed_oauth_flows: request.allowed_oauth_flows,
        allowed_oauth_scopes: request.allowed_oauth_scopes,
        allowed_oauth_flows_user_pool_client: request.allowed_oauth_flows_user_pool_client,
        analytics_configuration: request.analytics_configuration,
        prevent_user_existence_errors: request.prevent_user_existence_errors,
        enable_token_revocation: request.enable_token_revocation,
        enable_propagate_additional_user_context_data: request.enable_propagate_additional_user_context_data,
        auth_session_validity: request.auth_session_validity,
        refresh_token_rotation: request.refresh_token_rotation,
        ..UserPoolClientType::default()
    };
    completed(pool, asked, has_secret)
}

/// The settings after an update: the request alone decides.
pub(super) fn updated(
    pool: &Pool,
    request: UpdateUserPoolClientRequest,
    has_secret: bool,
) -> Result<UserPoolClientType> {
    let asked = UserPoolClientType {
        refresh_token_validity: request.refresh_token_validity,
        access_token_validity: request.access_token_validity,
        id_token_validity: request.id_token_validity,
        token_validity_units: request.token_validity_units,
        read_attributes: request.read_attributes,
        write_attributes: request.write_attributes,
        explicit_auth_flows: request.explicit_auth_flows,
        supported_identity_providers: request.supported_identity_providers,
        callback_urls: request.callback_urls,
        logout_urls: request.logout_urls,
        default_redirect_uri: request.default_redirect_uri,
        allowed_oauth_flows: request.allowed_oauth_flows,
        allowed_oauth_scopes: request.allowed_oauth_scopes,
        allowed_oauth_flows_user_pool_client: request.allowed_oauth_flows_user_pool_client,
        analytics_configuration: request.analytics_configuration,
        prevent_user_existence_errors: request.prevent_user_existence_errors,
        enable_token_revocation: request.enable_token_revocation,
        enable_propagate_additional_user_context_data: request.enable_propagate_additional_user_context_data,
        auth_session_validity: request.auth_session_validity,
        refresh_token_rotation: request.refresh_token_rotation,
        ..UserPoolClientType::default()
    };
    completed(pool, asked, has_secret)
}

/// Fills in the defaults and checks what stands then.
fn completed(pool: &Pool, mut settings: UserPoolClientType, has_secret: bool) -> Result<UserPoolClientType> {
    token_validity(&mut settings)?;
    settings.auth_session_validity.get_or_insert(3);
    settings.enable_token_revocation.get_or_insert(true);
    let propagates = *settings.enable_propagate_additional_user_context_data.get_or_insert(false);
    if propagates && !has_secret {
        return Err(refused("EnablePropagateAdditionalUserContextData needs an app client with a secret."));
    }
    auth_flows(pool, &settings, has_secret)?;
    settings.allowed_oauth_flows_user_pool_client.get_or_insert(false);
    oauth(&settings, has_secret)?;
    urls(&settings)?;
    // Identity providers other than the pool itself cannot be made yet.
    for provider in settings.supported_identity_providers.iter().flatten() {
        if provider != "COGNITO" {
            return Err(fault::provider_not_found(provider, pool.record.id.as_str()).into());
        }
    }
    attributes(pool, &settings)?;
    Ok(settings)
}

fn refused(message: &str) -> Error {
    fault::invalid_parameter(message).into()
}

/// Source: the ranges hold after conversion to seconds; units that are given are completed.
fn token_validity(settings: &mut UserPoolClientType) -> Result<()> {
    let units = settings.token_validity_units.get_or_insert_default();
    if *units != TokenValidityUnitsType::default() {
        units.access_token.get_or_insert(TimeUnitsType::Hours);
        units.id_token.get_or_insert(TimeUnitsType::Hours);
        units.refresh_token.get_or_insert(TimeUnitsType::Days);
    }
    let refresh_unit = seconds_in(units.refresh_token.unwrap_or(TimeUnitsType::Days));
    // 0 stands for the default, which is always returned: in the client's unit.
    if settings.refresh_token_validity.is_none_or(|validity| validity == 0) {
        settings.refresh_token_validity = i32::try_from(REFRESH_DAYS * DAY / refresh_unit).ok();
    }
    let seconds = |validity: Option<i32>, unit: Option<TimeUnitsType>| match validity {
        None => HOUR,
        Some(validity) => i64::from(validity) * seconds_in(unit.unwrap_or(TimeUnitsType::Hours)),
    };
    let access = seconds(settings.access_token_validity, units.access_token);
    let id = seconds(settings.id_token_validity, units.id_token);
    let refresh = i64::from(settings.refresh_token_validity.unwrap_or_default()) * refresh_unit;
    let short = 5 * 60..=DAY;
    if !short.contains(&access) || !short.contains(&id) || !(HOUR..=3650 * DAY).contains(&refresh) {
        return Err(fault::token_validity_out_of_range().into());
    }
    if access > refresh || id > refresh {
        return Err(refused(
            "AccessTokenValidity and IdTokenValidity cannot be longer than RefreshTokenValidity.",
        ));
    }
    Ok(())
}

fn seconds_in(unit: TimeUnitsType) -> i64 {
    match unit {
        TimeUnitsType::Seconds => 1,
        TimeUnitsType::Minutes => 60,
        TimeUnitsType::Hours => HOUR,
        TimeUnitsType::Days => DAY,
    }
}

fn auth_flows(pool: &Pool, settings: &UserPoolClientType, has_secret: bool) -> Result<()> {
    use ExplicitAuthFlowsType as Flow;
    let flows = settings.explicit_auth_flows.as_deref().unwrap_or_default();
    let legacy = flows.iter().filter(|flow| !flow.as_str().starts_with("ALLOW_")).count();
    if legacy != 0 && legacy != flows.len() {
        return Err(refused(
            "ExplicitAuthFlows cannot mix values with the prefix ALLOW_ and values without it.",
        ));
    }
    if flows.contains(&Flow::AllowClientTokenAuth) {
        if flows.iter().any(|flow| *flow != Flow::AllowClientTokenAuth) {
            return Err(refused("ALLOW_CLIENT_TOKEN_AUTH cannot be combined with other ExplicitAuthFlows."));
        }
        if !has_secret {
            return Err(refused("ALLOW_CLIENT_TOKEN_AUTH needs an app client with a secret."));
        }
    }
    if flows.contains(&Flow::AllowUserAuth) {
        require_tier(pool.tier(), UserPoolTierType::Essentials, Flow::AllowUserAuth.as_str())?;
    }
    let rotates = settings
        .refresh_token_rotation
        .as_ref()
        .is_some_and(|rotation| rotation.feature == FeatureType::Enabled);
    if rotates && flows.contains(&Flow::AllowRefreshTokenAuth) {
        return Err(refused(
            "RefreshTokenRotation cannot be enabled together with ALLOW_REFRESH_TOKEN_AUTH.",
        ));
    }
    Ok(())
}

fn oauth(settings: &UserPoolClientType, has_secret: bool) -> Result<()> {
    let flows = settings.allowed_oauth_flows.as_deref().unwrap_or_default();
    let scopes = settings.allowed_oauth_scopes.as_deref().unwrap_or_default();
    if flows.contains(&OAuthFlowType::ClientCredentials) {
        if flows.iter().any(|flow| *flow != OAuthFlowType::ClientCredentials) {
            return Err(fault::client_credentials_not_alone().into());
        }
        if !has_secret {
            return Err(fault::client_credentials_without_secret().into());
        }
    }
    let allowed = settings.allowed_oauth_flows_user_pool_client == Some(true);
    if allowed && (flows.is_empty() || scopes.is_empty()) {
        return Err(fault::oauth_flows_and_scopes_required().into());
    }
    if !flows.is_empty() && scopes.is_empty() {
        return Err(refused("AllowedOAuthScopes are required with AllowedOAuthFlows."));
    }
    // Resource servers, whose scopes would be the others, cannot be made yet.
    match scopes.iter().find(|scope| !STANDARD_SCOPES.contains(&scope.as_str())) {
        Some(scope) => Err(fault::scope_does_not_exist(scope).into()),
        None => Ok(()),
    }
}

fn urls(settings: &UserPoolClientType) -> Result<()> {
    let callbacks = settings.callback_urls.as_deref().unwrap_or_default();
    for url in callbacks.iter().chain(settings.logout_urls.iter().flatten()) {
        if !is_redirect_url(url) {
            return Err(refused(&format!(
                "{url} is not a valid redirect URL: it must be absolute, without a fragment, and use HTTPS, HTTP on \
                 the local host, or a scheme of the application."
            )));
        }
    }
    match &settings.default_redirect_uri {
        Some(default) if !callbacks.contains(default) => {
            Err(refused("DefaultRedirectURI must be one of the CallbackURLs."))
        }
        _ => Ok(()),
    }
}

/// Source: CallbackURLs. Web addresses have a host, and without TLS only the local one; the schemes of
/// applications are free.
fn is_redirect_url(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once(':') else { return false };
    let scheme = scheme.to_ascii_lowercase();
    let mut characters = scheme.chars();
    let is_scheme = characters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && characters.all(|next| next.is_ascii_alphanumeric() || matches!(next, '+' | '-' | '.'));
    if !is_scheme || rest.is_empty() || url.contains('#') {
        return false;
    }
    if scheme != "http" && scheme != "https" {
        return true;
    }
    let Some(rest) = rest.strip_prefix("//") else { return false };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    // A user name before the host would let `localhost@example.com` pass for the local host.
    if authority.contains(['@', '\\']) {
        return false;
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, ""),
    };
    let local = || ["localhost", "127.0.0.1", "[::1]"].contains(&host.to_ascii_lowercase().as_str());
    !host.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && (scheme == "https" || local())
}

/// Permissions name attributes of the schema; what every user must have, the client must be able to write.
fn attributes(pool: &Pool, settings: &UserPoolClientType) -> Result<()> {
    let known = |name: &String| name == "oidc:profile" || pool.schema(name).is_some();
    if settings.read_attributes.iter().flatten().any(|name| !known(name)) {
        return Err(fault::client_attributes_invalid("read").into());
    }
    let Some(writable) = &settings.write_attributes else { return Ok(()) };
    let never = ["sub", "email_verified", "phone_number_verified"];
    let misses = |required: &str| {
        let by_group =
            PROFILE_ATTRIBUTES.contains(&required) && writable.iter().any(|name| name == "oidc:profile");
        !by_group && writable.iter().all(|name| name != required)
    };
    if writable.iter().any(|name| !known(name) || never.contains(&name.as_str()))
        || pool.required_attributes().any(misses)
    {
        return Err(fault::client_attributes_invalid("write").into());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
