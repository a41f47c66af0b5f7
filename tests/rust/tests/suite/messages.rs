//! Messages: texts, media, and the way out by SMTP.

use lido_tests::{App, Lido, MailServer, PASSWORD, attributes};
use serde_json::{Value, json};

use super::*;

const EMAIL: &str = "ana@example.com";
const PHONE_NUMBER: &str = "+15550001234";

#[tokio::test]
async fn a_pool_has_texts_of_its_own() {
    let lido = Lido::shared().await;
    let template = json!({
        "EmailMessage": "<b>{####}</b> &amp; {username}", "EmailSubject": "Verify", "SmsMessage": "SMS {####} {####}",
    });
    let invitation = json!({ "InviteMessageTemplate": {
        "EmailMessage": "Dear {username}, {####}", "EmailSubject": "Welcome", "SMSMessage": "{username}: {####}",
    } });
    let app = lido
        .pool()
        .verify_email()
        .verify_phone_number()
        .with(json!({ "VerificationMessageTemplate": template, "AdminCreateUserConfig": invitation }))
        .app_client()
        .await;
    let (_, tokens) = app.user("ana").email(EMAIL).phone_number(PHONE_NUMBER).signed_in().await;
    tokens.request_code("email").await.ok();
    let mail = app.inbox().newest_for(EMAIL).await;
    let code = mail["code"].as_str().unwrap();
    assert_eq!(mail["subject"], "Verify");
    assert_eq!(mail["body"], format!("<b>{code}</b> &amp; ana"));
    tokens.request_code("phone_number").await.ok();
    let sms = app.inbox().newest_for(PHONE_NUMBER).await;
    let code = sms["code"].as_str().unwrap();
    assert_eq!(sms["body"], format!("SMS {code} {code}"));

    let body = json!({
        "DesiredDeliveryMediums": ["EMAIL", "SMS"], "TemporaryPassword": "<Temp&\"1>x",
        "UserAttributes": attributes(json!({ "email": "bo@example.com", "phone_number": "+15550009999" })),
    });
    app.pool.admin("AdminCreateUser", "bo<i>", body).await.ok();
    let mail = app.inbox().newest_for("bo@example.com").await;
    assert_eq!(mail["subject"], "Welcome");
    assert_eq!(mail["body"], "Dear bo&lt;i&gt;, &lt;Temp&amp;&quot;1&gt;x", "an e-mail is HTML");
    assert_eq!(mail["code"], "<Temp&\"1>x");
    let sms = app.inbox().newest_for("+15550009999").await;
    assert_eq!(sms["body"], "bo<i>: <Temp&\"1>x");
}

#[tokio::test]
async fn an_invitation_names_what_the_user_signs_in_with() {
    let lido = Lido::shared().await;
    let app = lido.pool().sign_in_by(&["email"]).app_client().await;
    let body = json!({ "DesiredDeliveryMediums": ["EMAIL"], "TemporaryPassword": "Temporary-1" });
    app.pool.admin("AdminCreateUser", EMAIL, body).await.ok();
    let mail = app.inbox().newest_for(EMAIL).await;
    assert_eq!(mail["body"], format!("Your username is {EMAIL} and temporary password is Temporary-1. "));
}

#[tokio::test]
async fn a_medium_without_a_transport_is_refused() {
    let config = "[delivery.email]\ntransport = \"none\"\n[delivery.sms]\ntransport = \"none\"\n";
    let lido = Lido::setup().config(config).start().await;
    let app = lido.pool().verify_email().app_client().await;
    let (_, tokens) = app.user("ana").email(EMAIL).phone_number(PHONE_NUMBER).signed_in().await;
    refused(&tokens.request_code("email").await, DELIVERY_FAILED);
    tokens.request_code("phone_number").await.fails(
        "CodeDeliveryFailureException",
        "Invalid phone number provided/Unable to send the SMS message",
    );
    refused(&app.sign_up_with("bo", PASSWORD, json!({ "email": "bo@example.com" })).await, DELIVERY_FAILED);
    assert_eq!(app.pool.status("bo").await, "UNCONFIRMED", "the user is there");
    for (username, message) in lido_inbox(&app).await {
        // The inbox of development has its copy, but the codes in it are void.
        let code = message["code"].as_str().unwrap();
        match username.as_str() {
            "ana" if message["medium"] == "EMAIL" => {
                refused(&tokens.verify("email", code).await, CODE_EXPIRED)
            }
            "ana" => refused(&tokens.verify("phone_number", code).await, CODE_EXPIRED),
            _ => refused(&app.confirm("bo", code).await, CODE_EXPIRED),
        }
    }
}

async fn lido_inbox(app: &App) -> Vec<(String, Value)> {
    let messages = app.inbox().messages(&[]).await;
    messages.into_iter().map(|message| (message["username"].as_str().unwrap().to_owned(), message)).collect()
}

// ---- SMTP ------------------------------------------------------------------------------------

async fn mailing() -> (MailServer, App) {
    let server = MailServer::start().await;
    let retry = ["\"1s\""; 20].join(", ");
    let config = format!("[delivery]\nretry = [{retry}]\n{}", server.config());
    let lido = Lido::setup().config(config).start().await;
    let app = lido.pool().verify_email().app_client().await;
    (server, app)
}

#[tokio::test]
async fn an_e_mail_goes_out_by_smtp() {
    let (server, app) = mailing().await;
    let (user, tokens) = app.user("ana").email(EMAIL).signed_in().await;
    tokens.request_code("email").await.ok();
    let mails = server.wait_for(1).await;
    assert_eq!((mails[0].from.as_str(), mails[0].to.as_str()), ("no-reply@example.com", EMAIL));
    let copy = app.inbox().newest_for(EMAIL).await;
    let code = copy["code"].as_str().unwrap();
    let data = &mails[0].data;
    assert!(data.contains("Subject: Your verification code\r\n"), "{data}");
    assert!(data.contains(&format!("Your verification code is {code}.")), "{data}");
    assert!(data.contains("From: ") && data.contains("To: ") && data.contains("Message-ID: "), "{data}");
    tokens.verify("email", code).await.ok_empty();
    assert_eq!(user.attribute("email_verified").await.as_deref(), Some("true"));
    // A code by SMS does not go this way.
    app.pool.update("ana", json!({ "phone_number": PHONE_NUMBER })).await.ok_empty();
    tokens.request_code("phone_number").await.ok();
    assert_eq!(server.mails().len(), 1);
}

#[tokio::test]
async fn a_pool_names_its_sender() {
    let (server, app) = mailing().await;
    let sender = json!({ "EmailConfiguration": { "From": "Team <team@example.org>", "ReplyToEmailAddress": "help@example.org" } });
    let app = app.lido.pool().with(sender).app_client().await;
    let (_, tokens) = app.user("ana").email(EMAIL).signed_in().await;
    tokens.request_code("email").await.ok();
    let mail = &server.wait_for(1).await[0];
    assert_eq!(mail.from, "team@example.org");
    assert!(mail.data.contains("Reply-To: help@example.org"), "{}", mail.data);
}

#[tokio::test]
async fn a_refused_address_leaves_no_code() {
    let (server, app) = mailing().await;
    let (_, tokens) = app.user("ana").email(EMAIL).signed_in().await;
    tokens.request_code("email").await.ok();
    let earlier = app.inbox().code_for(EMAIL).await;
    server.refuse(Some("550 no such mailbox"));
    refused(&tokens.request_code("email").await, DELIVERY_FAILED);
    let refused_code = app.inbox().code_for(EMAIL).await;
    for code in [&earlier, &refused_code] {
        refused(&tokens.verify("email", code).await, CODE_EXPIRED);
    }
    server.refuse(None);
    tokens.request_code("email").await.ok();
    let code = app.inbox().code_for(EMAIL).await;
    tokens.verify("email", &code).await.ok_empty();
    assert_eq!(server.mails().len(), 2, "a refused message is not tried again");
}

#[tokio::test]
async fn each_operation_tells_of_a_refusal_as_far_as_it_can() {
    let (server, app) = mailing().await;
    let (user, tokens) = app.user("ana").verified_email(EMAIL).signed_in().await;
    app.sign_up_with("cy", PASSWORD, json!({ "email": "cy@example.com" })).await.ok();
    server.refuse(Some("550 no such mailbox"));

    refused(&app.sign_up_with("bo", PASSWORD, json!({ "email": "bo@example.com" })).await, DELIVERY_FAILED);
    assert_eq!(app.pool.status("bo").await, "UNCONFIRMED");
    refused(&app.resend("cy").await, DELIVERY_FAILED);
    refused(&app.forgot("ana").await, DELIVERY_FAILED);
    let code = app.inbox().code_for(EMAIL).await;
    refused(&app.reset("ana", &code, "Brand-new-pass-2").await, CODE_EXPIRED);
    let invite = json!({
        "DesiredDeliveryMediums": ["EMAIL"], "UserAttributes": attributes(json!({ "email": "di@example.com" })),
    });
    refused(&app.pool.admin("AdminCreateUser", "di", invite).await, DELIVERY_FAILED);
    assert_eq!(app.pool.status("di").await, "FORCE_CHANGE_PASSWORD");
    refused(&tokens.update(json!({ "email": "new@example.com" })).await, DELIVERY_FAILED);
    assert_eq!(user.attribute("email").await.as_deref(), Some("new@example.com"), "the update stands");
    // These do not know the error.
    app.pool.update("ana", json!({ "email": "third@example.com" })).await.ok_empty();
    app.pool.update("ana", json!({ "email": EMAIL, "email_verified": "true" })).await.ok_empty();
    user.admin("AdminResetUserPassword", json!({})).await.ok_empty();

    server.refuse(None);
    app.resend("bo").await.ok();
    let code = app.inbox().code_for("bo@example.com").await;
    app.confirm("bo", &code).await.ok_empty();
}

#[tokio::test]
async fn a_message_that_waits_goes_out_later_and_once() {
    let (server, app) = mailing().await;
    let (_, tokens) = app.user("ana").email(EMAIL).signed_in().await;
    server.refuse(Some("451 try again later"));
    tokens.request_code("email").await.ok();
    let code = app.inbox().code_for(EMAIL).await;
    assert_eq!(server.mails().len(), 0);
    server.refuse(None);
    app.lido.clock().advance(10).await;
    let mails = server.wait_for(1).await;
    assert!(mails[0].data.contains(&code));
    tokens.verify("email", &code).await.ok_empty();
    tokens.request_code("email").await.ok();
    assert_eq!(server.wait_for(2).await.len(), 2);
}

#[tokio::test]
async fn an_unreachable_mail_server_is_no_error_of_the_caller() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let config = format!(
        "[delivery]\nanswer_within = \"500ms\"\n[delivery.email]\ntransport = \"smtp\"\n\
         url = \"smtp://127.0.0.1:{port}\"\nfrom = \"a@example.com\"\n"
    );
    let lido = Lido::setup().config(config).start().await;
    let app = lido.pool().verify_email().app_client().await;
    app.sign_up_with("ana", PASSWORD, json!({ "email": EMAIL })).await.ok();
    let code = app.inbox().code_for(EMAIL).await;
    app.confirm("ana", &code).await.ok_empty();
}
