use lido_domain::{Millis, PoolId, UserPool};
use lido_wire::ErrorCode;
use serde_json::{Value, json};

use super::*;

/// A pool whose users must have a nickname.
fn pool(tier: &str) -> Pool {
    let attribute = |name: &str, required: bool| json!({"Name": name, "Required": required});
    let settings = json!({
        "UserPoolTier": tier,
        "SchemaAttributes": [
            attribute("sub", true), attribute("email", false), attribute("email_verified", false),
            attribute("nickname", true), attribute("custom:tenant", false)
        ]
    });
    Pool::parse(UserPool {
        id: PoolId::new("eu-west-1_a"),
        name: "p".to_owned(),
        settings: settings.to_string(),
        mfa: "{}".into(),
        tags: std::collections::BTreeMap::new(),
        created: Millis(0),
        updated: Millis(0),
        revision: 1,
    })
    .unwrap()
}

fn create_in(tier: &str, mut request: Value, has_secret: bool) -> Result<Value> {
    request["UserPoolId"] = json!("eu-west-1_a");
    request["ClientName"] = json!("c");
    let settings = created(&pool(tier), serde_json::from_value(request).unwrap(), has_secret)?;
    Ok(serde_json::to_value(settings).unwrap())
}

fn create(request: Value) -> Result<Value> {
    create_in("ESSENTIALS", request, false)
}

#[track_caller]
fn refused_with(code: ErrorCode, answer: Result<Value>) {
    match answer {
        Err(Error::Fault(fault)) => assert!(fault.is(code), "{fault:?}"),
        other => panic!("not refused: {other:?}"),
    }
}

#[track_caller]
fn invalid(answer: Result<Value>) {
    refused_with(ErrorCode::InvalidParameter, answer);
}

#[test]
fn a_client_has_the_service_s_defaults_and_goes_back_to_them() {
    let defaults = json!({
        "RefreshTokenValidity": 30,
        "TokenValidityUnits": {},
        "AllowedOAuthFlowsUserPoolClient": false,
        "EnableTokenRevocation": true,
        "EnablePropagateAdditionalUserContextData": false,
        "AuthSessionValidity": 3
    });
    assert_eq!(create(json!({})).unwrap(), defaults);
    let request = json!({"UserPoolId": "eu-west-1_a", "ClientId": "c"});
    let settings = updated(&pool("LITE"), serde_json::from_value(request).unwrap(), false).unwrap();
    assert_eq!(serde_json::to_value(settings).unwrap(), defaults);
}

#[test]
fn units_are_completed_and_zero_is_the_default() {
    let settings =
        create(json!({"TokenValidityUnits": {"RefreshToken": "hours"}, "RefreshTokenValidity": 0})).unwrap();
    assert_eq!(
        settings["TokenValidityUnits"],
        json!({"AccessToken": "hours", "IdToken": "hours", "RefreshToken": "hours"})
    );
    assert_eq!(settings["RefreshTokenValidity"], json!(720));
}

#[test]
fn validities_hold_after_conversion() {
    let access = |validity: i32, unit: &str| {
        create(json!({"AccessTokenValidity": validity, "TokenValidityUnits": {"AccessToken": unit}}))
    };
    access(5, "minutes").unwrap();
    access(1, "days").unwrap();
    invalid(access(4, "minutes"));
    invalid(access(25, "hours"));
    let refresh = |validity: i32, unit: &str| {
        create(json!({"RefreshTokenValidity": validity, "TokenValidityUnits": {"RefreshToken": unit}}))
    };
    refresh(60, "minutes").unwrap();
    refresh(3650, "days").unwrap();
    invalid(refresh(59, "minutes"));
    invalid(refresh(3651, "days"));
    let longer = json!({"AccessTokenValidity": 3, "RefreshTokenValidity": 2, "TokenValidityUnits": {"RefreshToken": "hours"}});
    invalid(create(longer));
}

#[test]
fn legacy_and_new_flows_do_not_mix() {
    let flows = |flows: Value| create(json!({"ExplicitAuthFlows": flows}));
    flows(json!(["ADMIN_NO_SRP_AUTH", "USER_PASSWORD_AUTH"])).unwrap();
    flows(json!(["ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"])).unwrap();
    invalid(flows(json!(["ADMIN_NO_SRP_AUTH", "ALLOW_USER_SRP_AUTH"])));
}

#[test]
fn choice_based_sign_in_needs_essentials() {
    let request = json!({"ExplicitAuthFlows": ["ALLOW_USER_AUTH"]});
    create(request.clone()).unwrap();
    refused_with(ErrorCode::FeatureUnavailableInTier, create_in("LITE", request, false));
}

#[test]
fn client_tokens_are_for_clients_with_a_secret_alone() {
    let alone = json!({"ExplicitAuthFlows": ["ALLOW_CLIENT_TOKEN_AUTH"]});
    create_in("LITE", alone.clone(), true).unwrap();
    invalid(create(alone));
    let more = json!({"ExplicitAuthFlows": ["ALLOW_CLIENT_TOKEN_AUTH", "ALLOW_USER_SRP_AUTH"]});
    invalid(create_in("LITE", more, true));
}

#[test]
fn rotation_and_the_refresh_flow_exclude_each_other() {
    let with = |flow: &str| {
        create(json!({"ExplicitAuthFlows": [flow], "RefreshTokenRotation": {"Feature": "ENABLED"}}))
    };
    with("ALLOW_USER_SRP_AUTH").unwrap();
    invalid(with("ALLOW_REFRESH_TOKEN_AUTH"));
}

#[test]
fn oauth_flows_come_with_scopes() {
    let client = |flows: Value, scopes: Value, secret: bool| {
        let request = json!({"AllowedOAuthFlowsUserPoolClient": true, "AllowedOAuthFlows": flows, "AllowedOAuthScopes": scopes});
        create_in("LITE", request, secret)
    };
    client(json!(["code", "implicit"]), json!(["openid", "email"]), false).unwrap();
    refused_with(ErrorCode::InvalidOAuthFlow, client(json!(["code"]), json!([]), false));
    refused_with(ErrorCode::InvalidOAuthFlow, client(json!([]), json!(["openid"]), false));
    refused_with(
        ErrorCode::InvalidOAuthFlow,
        client(json!(["client_credentials"]), json!(["openid"]), false),
    );
    refused_with(
        ErrorCode::InvalidOAuthFlow,
        client(json!(["client_credentials", "code"]), json!(["openid"]), true),
    );
    refused_with(ErrorCode::ScopeDoesNotExist, client(json!(["code"]), json!(["api/read"]), false));
    invalid(create(json!({"AllowedOAuthFlows": ["code"]})));
}

#[test]
fn redirect_urls_are_absolute_and_encrypted_or_local() {
    for good in [
        "https://example.com",
        "https://example.com:8443/callback?x=1",
        "http://localhost:3000/cb",
        "http://127.0.0.1",
        "http://[::1]:80/",
        "HTTP://LocalHost/",
        "myapp://callback",
        "com.example.app:/cb",
    ] {
        assert!(is_redirect_url(good), "{good}");
    }
    for bad in [
        "example.com/cb",
        "/cb",
        "https://example.com/#x",
        "https:///cb",
        "https:example.com",
        "http://example.com",
        "http://localhost.example.com",
        "http://localhost@example.com",
        "http://localhost:80@example.com",
        "http://localhost:x",
        "1app://cb",
        "myapp:",
    ] {
        assert!(!is_redirect_url(bad), "{bad}");
    }
}

#[test]
fn the_default_redirect_is_one_of_the_callbacks() {
    let request =
        |default: &str| json!({"CallbackURLs": ["https://a.example/"], "DefaultRedirectURI": default});
    create(request("https://a.example/")).unwrap();
    invalid(create(request("https://b.example/")));
}

#[test]
fn providers_exist() {
    create(json!({"SupportedIdentityProviders": ["COGNITO"]})).unwrap();
    let refused = create(json!({"SupportedIdentityProviders": ["Google"]})).unwrap_err().to_string();
    assert!(refused.ends_with("The provider Google does not exist for User Pool eu-west-1_a."), "{refused}");
}

#[test]
fn permissions_name_attributes_of_the_pool() {
    let read = |names: Value| create(json!({"ReadAttributes": names}));
    read(json!(["email", "email_verified", "custom:tenant", "oidc:profile"])).unwrap();
    invalid(read(json!(["custom:unknown"])));
    let write = |names: Value| create(json!({"WriteAttributes": names}));
    write(json!(["email", "nickname", "custom:tenant"])).unwrap();
    write(json!(["oidc:profile"])).unwrap();
    invalid(write(json!(["email"])));
    invalid(write(json!(["nickname", "email_verified"])));
    invalid(write(json!(["nickname", "sub"])));
}

#[test]
fn context_data_is_for_clients_with_a_secret() {
    let request = json!({"EnablePropagateAdditionalUserContextData": true});
    invalid(create(request.clone()));
    create_in("LITE", request, true).unwrap();
}
