//! Each step of a flow goes to another node, and what ends on one has ended on all.

use lido_tests::{Lido, PASSWORD, Tokens, pairs};
use serde_json::json;

use super::*;

#[tokio::test]
async fn each_step_of_a_flow_may_go_to_another_node() {
    let Some(nodes) = Nodes::start(Lido::setup(), 3).await else { return };
    let app = nodes.all[0].pool().aliases(&["email"]).verify_email().create().await;
    let app = app.at(nodes.next()).client().secret().create().await;
    let here = || app.at(nodes.next());

    here().sign_up_with("ana", PASSWORD, json!({ "email": EMAIL })).await.ok();
    refused(&here().sign_in("ana", PASSWORD).await, NOT_CONFIRMED);
    here().resend("ana").await.ok();
    let code = here().inbox().code_for(EMAIL).await;
    here().confirm("ana", &code).await.ok_empty();
    assert_eq!(here().pool.user(EMAIL).await["Username"], "ana");

    // By SRP, and with the tokens that come of it.
    let (exchange, challenge) = here().srp_begin(EMAIL).await;
    let timestamp = app.timestamp().await;
    let parameters = &challenge.ok()["ChallengeParameters"];
    let responses = app.srp_responses(&exchange, parameters, PASSWORD, &timestamp);
    let answer = here().respond("PASSWORD_VERIFIER", None, responses).await;
    let tokens = Tokens::of(nodes.next(), &answer);
    let own = || tokens.at(nodes.next());
    own().get_user().await.ok();
    let hash = lido_crypto::secret_hash::secret_hash("ana", &app.id, app.secret.as_deref().unwrap());
    let parameters = json!({ "REFRESH_TOKEN": tokens.refresh, "SECRET_HASH": hash });
    let refreshed = here().initiate("REFRESH_TOKEN_AUTH", parameters).await.ok();
    let access = refreshed["AuthenticationResult"]["AccessToken"].clone();
    nodes.next().call("GetUser", json!({ "AccessToken": access })).await.ok();

    // Attributes and their codes.
    let answer = own().update(json!({ "email": "new@example.com", "nickname": "an" })).await.ok();
    assert_eq!(answer["CodeDeliveryDetailsList"][0]["AttributeName"], "email");
    assert_eq!(pairs(&own().get_user().await.ok()["UserAttributes"])["nickname"], "an");
    own().request_code("email").await.ok();
    let code = here().inbox().code_for("new@example.com").await;
    refused(&own().verify("email", another_code(&code)).await, CODE_MISMATCH);
    own().verify("email", &code).await.ok_empty();
    refused(&own().verify("email", &code).await, CODE_EXPIRED);
    here().tokens("new@example.com", PASSWORD).await;
    refused(&here().sign_in(EMAIL, PASSWORD).await, USER_NOT_FOUND);

    // A forgotten password.
    here().forgot("ana").await.ok();
    let message = &here().inbox().messages(&[("destination", "new@example.com")]).await[0];
    assert_eq!(message["source"], "CustomMessage_ForgotPassword");
    here().reset("ana", message["code"].as_str().unwrap(), NEW_PASSWORD).await.ok_empty();
    refused(&here().sign_in("ana", PASSWORD).await, WRONG_CREDENTIALS);
    here().tokens("ana", NEW_PASSWORD).await;

    // Groups, and a temporary password.
    here().pool.call("CreateGroup", json!({ "GroupName": "admins" })).await.ok();
    let invitation = json!({ "TemporaryPassword": "Temporary-1", "MessageAction": "SUPPRESS" });
    here().pool.admin("AdminCreateUser", "bo", invitation).await.ok();
    here().pool.admin("AdminAddUserToGroup", "bo", json!({ "GroupName": "admins" })).await.ok();
    let challenge = here().sign_in("bo", "Temporary-1").await.ok();
    assert_eq!(challenge["ChallengeName"], "NEW_PASSWORD_REQUIRED");
    let responses = json!({ "USERNAME": "bo", "NEW_PASSWORD": NEW_PASSWORD });
    let answer = here().respond("NEW_PASSWORD_REQUIRED", challenge["Session"].as_str(), responses).await;
    let tokens = Tokens::of(nodes.next(), &answer);
    assert_eq!(lido_tests::claims(&tokens.access)["cognito:groups"], json!(["admins"]));
    tokens.at(nodes.next()).call("DeleteUser", json!({})).await.ok();
    refused(&here().pool.admin("AdminGetUser", "bo", json!({})).await, USER_NOT_FOUND);
    nodes.failed_nowhere_inside();
}

#[tokio::test]
async fn what_ends_on_one_node_has_ended_on_all() {
    let Some(nodes) = Nodes::start(Lido::setup(), 3).await else { return };
    let app = nodes.all[0].pool().app_client().await;
    let apps = nodes.each(&app);
    for (index, here) in apps.iter().enumerate() {
        let user = here.user(&format!("user{index}")).create().await;
        let name = user.username.clone();
        let signed_in = async || {
            let tokens = here.tokens(&name, PASSWORD).await;
            // Whatever a node keeps, it has it now.
            for app in &apps {
                tokens.at(&app.lido).get_user().await.ok();
                app.refresh(&tokens.refresh).await.ok();
            }
            tokens
        };
        let has_ended = async |tokens: &Tokens, access: Refusal, refresh: Refusal| {
            for app in &apps {
                refused(&tokens.at(&app.lido).get_user().await, access);
                refused(&app.refresh(&tokens.refresh).await, refresh);
            }
        };
        let tokens = signed_in().await;
        let other = signed_in().await;
        here.revoke(&tokens.refresh).await.ok_empty();
        has_ended(&tokens, ACCESS_TOKEN_REVOKED, REFRESH_TOKEN_REVOKED).await;
        other.at(nodes.next()).get_user().await.ok();

        other.at(nodes.next()).call("GlobalSignOut", json!({})).await.ok_empty();
        has_ended(&other, ACCESS_TOKEN_REVOKED, REFRESH_TOKEN_REVOKED).await;
        let tokens = signed_in().await;
        user.admin("AdminUserGlobalSignOut", json!({})).await.ok_empty();
        has_ended(&tokens, ACCESS_TOKEN_REVOKED, REFRESH_TOKEN_REVOKED).await;

        let tokens = signed_in().await;
        let change = json!({ "PreviousPassword": PASSWORD, "ProposedPassword": NEW_PASSWORD });
        tokens.call("ChangePassword", change).await.ok_empty();
        for app in &apps {
            refused(&app.sign_in(&name, PASSWORD).await, WRONG_CREDENTIALS);
            app.tokens(&name, NEW_PASSWORD).await;
        }
        let back = json!({ "Password": PASSWORD, "Permanent": true });
        user.admin("AdminSetUserPassword", back).await.ok_empty();
        for app in &apps {
            refused(&app.sign_in(&name, NEW_PASSWORD).await, WRONG_CREDENTIALS);
            app.tokens(&name, PASSWORD).await;
        }

        let tokens = signed_in().await;
        user.admin("AdminDisableUser", json!({})).await.ok_empty();
        for app in &apps {
            refused(&app.sign_in(&name, PASSWORD).await, USER_DISABLED);
            assert!(!tokens.at(&app.lido).get_user().await.is_ok());
            assert!(!app.refresh(&tokens.refresh).await.is_ok());
        }
        user.admin("AdminEnableUser", json!({})).await.ok_empty();
        let tokens = signed_in().await;
        user.admin("AdminDeleteUser", json!({})).await.ok();
        for app in &apps {
            refused(&app.sign_in(&name, PASSWORD).await, USER_NOT_FOUND);
            assert!(!tokens.at(&app.lido).get_user().await.is_ok());
            assert!(!app.refresh(&tokens.refresh).await.is_ok());
            refused(&app.pool.admin("AdminGetUser", &name, json!({})).await, USER_NOT_FOUND);
        }
    }
    nodes.failed_nowhere_inside();
}
