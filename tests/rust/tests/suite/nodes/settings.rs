//! Settings of pools and clients hold on all nodes with the next request.

use lido_tests::{Lido, PASSWORD};
use serde_json::json;

use super::*;

#[tokio::test]
async fn a_setting_holds_on_all_nodes_with_the_next_request() {
    let Some(nodes) = Nodes::start(Lido::setup(), 3).await else { return };
    let app = nodes.all[0].pool().app_client().await;
    let apps = nodes.each(&app);
    let (_, tokens) = app.user("ana").email(EMAIL).signed_in().await;
    for here in &apps {
        let flows = |flows: &[&str]| json!({ "ClientId": app.id, "ExplicitAuthFlows": flows });
        let none = flows(&["ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]);
        here.pool.call("UpdateUserPoolClient", none).await.ok();
        for app in &apps {
            app.sign_in("ana", PASSWORD)
                .await
                .is_invalid("USER_PASSWORD_AUTH flow not enabled for this client");
        }
        let all = flows(&["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]);
        here.pool.call("UpdateUserPoolClient", all).await.ok();
        for app in &apps {
            app.tokens("ana", PASSWORD).await;
        }

        let policy = |length: u32| json!({ "Policies": { "PasswordPolicy": { "MinimumLength": length } } });
        here.pool.call("UpdateUserPool", policy(40)).await.ok();
        for app in &apps {
            assert_eq!(app.sign_up("bo", PASSWORD).await.code(), Some("InvalidPasswordException"));
        }
        here.pool.call("UpdateUserPool", policy(8)).await.ok();
        let change = json!({ "PreviousPassword": PASSWORD, "ProposedPassword": PASSWORD });
        for app in &apps {
            app.tokens("ana", PASSWORD).await.call("ChangePassword", change.clone()).await.ok_empty();
        }

        // A client that is gone.
        let other = here.pool.app_client().await;
        let others = nodes.each(&other);
        let signed_in = other.tokens("ana", PASSWORD).await;
        for other in &others {
            signed_in.at(&other.lido).get_user().await.ok();
        }
        here.pool.call("DeleteUserPoolClient", json!({ "ClientId": other.id })).await.ok();
        for other in &others {
            let gone = format!("User pool client {} does not exist.", other.id);
            other.sign_in("ana", PASSWORD).await.fails("ResourceNotFoundException", &gone);
            assert!(!other.refresh(&signed_in.refresh).await.is_ok());
            assert!(!signed_in.at(&other.lido).get_user().await.is_ok());
        }
    }
    // And the pool.
    apps[1].pool.call("DeleteUserPool", json!({})).await.ok();
    for app in &apps {
        app.pool.call("DescribeUserPool", json!({})).await.fails_with("ResourceNotFoundException");
        app.sign_in("ana", PASSWORD).await.fails_with("ResourceNotFoundException");
        assert!(!tokens.at(&app.lido).get_user().await.is_ok());
        let keys = app.lido.request(http::Method::GET, &format!("/{}/.well-known/jwks.json", app.pool.id));
        assert_eq!(keys.send().await.unwrap().status(), 404);
    }
    nodes.failed_nowhere_inside();
}
