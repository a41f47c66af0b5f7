//! Something to try at once: a pool, an app client and a user, and the lines that use them.

use std::fmt::Write;

use anyhow::{Context, Result};
use lido_idp::seed::{self, Seed};
use lido_idp::{Cx, Error};
use serde_json::json;

const CLIENT: &str = "playgroundclient";
const USER: &str = "ana";
const EMAIL: &str = "ana@example.com";
const PASSWORD: &str = "Playground-1";

/// Makes what is missing of the playground. Returns the text that explains it.
///
/// `api`: base URL of the API. `management`: base URL of the control API.
pub(crate) async fn prepare(cx: &Cx, api: &str, management: &str) -> Result<String> {
    let pool = format!("{}_Playgrnd1", cx.settings.region);
    let seed = json!({ "UserPools": [{
        "Id": pool,
        "PoolName": "playground",
        "AutoVerifiedAttributes": ["email"],
        "Clients": [{
            "ClientId": CLIENT,
            "ClientName": "playground",
            "ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
        }],
        "Users": [{ "Username": USER, "Password": PASSWORD, "UserAttributes": { "email": EMAIL } }],
    }]});
    let seed: Seed = serde_json::from_value(seed).context("playground")?;
    seed::apply(cx, seed).await.context("playground")?;
    cx.pool(&pool).await.map_err(|error: Error| anyhow::Error::new(error).context("playground"))?;
    Ok(explain(&pool, &cx.settings.region, api, management))
}

fn explain(pool: &str, region: &str, api: &str, management: &str) -> String {
    let call = |operation: &str, body: &str| {
        format!(
            "curl -s {api}/ -H 'Content-Type: application/x-amz-json-1.1' \\\n    \
             -H 'X-Amz-Target: AWSCognitoIdentityProviderService.{operation}' \\\n    -d {body}"
        )
    };
    let inbox = format!("curl -s '{management}/_lido/messages?userPoolId={pool}'");
    let sign_in = format!(
        r#"'{{"AuthFlow":"USER_PASSWORD_AUTH","ClientId":"{CLIENT}","AuthParameters":{{"USERNAME":"{USER}","PASSWORD":"{PASSWORD}"}}}}'"#
    );
    let mut text = String::new();
    let mut section = |title: &str, lines: &str| {
        writeln!(text, "# {title}\n{lines}\n").expect("a string can be written to");
    };
    section(
        "Playground",
        &format!("# user pool {pool}, app client {CLIENT}, user {USER}, password {PASSWORD}, e-mail {EMAIL}"),
    );
    section(
        "curl: sign in, ask for a code, read it in the inbox, verify the address",
        &format!(
            "TOKEN=$({} | sed 's/.*\"AccessToken\":\"\\([^\"]*\\)\".*/\\1/')\n{}\n{inbox}\nCODE=123456\n{}",
            call("InitiateAuth", &sign_in),
            call(
                "GetUserAttributeVerificationCode",
                r#"'{"AccessToken":"'$TOKEN'","AttributeName":"email"}'"#
            ),
            call(
                "VerifyUserAttribute",
                r#"'{"AccessToken":"'$TOKEN'","AttributeName":"email","Code":"'$CODE'"}'"#
            ),
        ),
    );
    section(
        "AWS CLI",
        &format!(
            "export AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER={api} AWS_DEFAULT_REGION={region} \\\n    \
             AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any\n\
             TOKEN=$(aws cognito-idp initiate-auth --auth-flow USER_PASSWORD_AUTH --client-id {CLIENT} \\\n    \
             --auth-parameters USERNAME={USER},PASSWORD={PASSWORD} --query AuthenticationResult.AccessToken --output text)\n\
             aws cognito-idp get-user-attribute-verification-code --access-token $TOKEN --attribute-name email\n\
             {inbox}\n\
             aws cognito-idp verify-user-attribute --access-token $TOKEN --attribute-name email --code 123456"
        ),
    );
    section(
        "JavaScript (npm install @aws-sdk/client-cognito-identity-provider)",
        &format!(
            "import {{ CognitoIdentityProvider }} from \"@aws-sdk/client-cognito-identity-provider\";\n\
             const cognito = new CognitoIdentityProvider({{ endpoint: \"{api}\", region: \"{region}\" }});\n\
             const {{ AuthenticationResult }} = await cognito.initiateAuth({{ AuthFlow: \"USER_PASSWORD_AUTH\",\n  \
             ClientId: \"{CLIENT}\", AuthParameters: {{ USERNAME: \"{USER}\", PASSWORD: \"{PASSWORD}\" }} }});\n\
             const {{ AccessToken }} = AuthenticationResult;\n\
             await cognito.getUserAttributeVerificationCode({{ AccessToken, AttributeName: \"email\" }});\n\
             const inbox = await (await fetch(\"{management}/_lido/messages?userPoolId={pool}\")).json();\n\
             await cognito.verifyUserAttribute({{ AccessToken, AttributeName: \"email\", Code: inbox.messages[0].code }});"
        ),
    );
    text
}
