//! What tests make in a server: pools, app clients, users.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lido_crypto::secret_hash::secret_hash;
use lido_crypto::srp::client;
use serde_json::{Map, Value, json};

use crate::{Answer, Inbox, Lido, SystemRandom, Tokens, merged};

/// A password that every policy of the tests takes, unless they are about policies.
pub const PASSWORD: &str = "Correct-horse-7";

/// `{"email": "a@b"}` as the API lists attributes.
pub fn attributes(map: Value) -> Value {
    let map = map.as_object().expect("attributes are an object").clone();
    map.into_iter().map(|(name, value)| json!({ "Name": name, "Value": value })).collect()
}

/// A list of attributes of the API as a map.
pub fn pairs(list: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().expect("names and values are strings").to_owned();
    let list = list.as_array().expect("attributes are a list");
    list.iter().map(|attribute| (text(&attribute["Name"]), text(&attribute["Value"]))).collect()
}

/// A pool to be made.
#[derive(Clone, Debug)]
pub struct PoolBuilder {
    lido: Lido,
    request: Value,
}

impl PoolBuilder {
    pub(crate) fn new(lido: Lido) -> Self {
        Self { lido, request: json!({ "PoolName": "pool" }) }
    }

    /// Members of CreateUserPool.
    pub fn with(mut self, members: Value) -> Self {
        self.request = merged(self.request, members);
        self
    }

    fn auto_verify(mut self, attribute: &str) -> Self {
        let list = &mut self.request["AutoVerifiedAttributes"];
        if list.is_null() {
            *list = json!([]);
        }
        list.as_array_mut().expect("the member is a list").push(attribute.into());
        self
    }

    pub fn verify_email(self) -> Self {
        self.auto_verify("email")
    }

    pub fn verify_phone_number(self) -> Self {
        self.auto_verify("phone_number")
    }

    /// Addresses wait for their verification before they replace the old ones.
    pub fn verify_before_update(self) -> Self {
        let attributes = self.request["AutoVerifiedAttributes"].clone();
        let settings = json!({ "AttributesRequireVerificationBeforeUpdate": attributes });
        self.with(json!({ "UserAttributeUpdateSettings": settings }))
    }

    /// `email` and others as names to sign in with, beside the user name.
    pub fn aliases(self, names: &[&str]) -> Self {
        self.with(json!({ "AliasAttributes": names }))
    }

    /// `email` or `phone_number` instead of user names.
    pub fn sign_in_by(self, names: &[&str]) -> Self {
        self.with(json!({ "UsernameAttributes": names }))
    }

    pub async fn create(self) -> Pool {
        let pool = self.lido.call("CreateUserPool", self.request).await.ok()["UserPool"].clone();
        let text = |name: &str| pool[name].as_str().expect("a pool has it").to_owned();
        Pool { lido: self.lido, id: text("Id"), arn: text("Arn") }
    }

    /// The pool and a client of it that allows every flow.
    pub async fn app_client(self) -> App {
        self.create().await.app_client().await
    }
}

/// A user pool.
#[derive(Clone, Debug)]
pub struct Pool {
    pub lido: Lido,
    pub id: String,
    pub arn: String,
}

impl Pool {
    /// The same pool, by way of another server: one that was started anew, or another node.
    pub fn at(&self, lido: &Lido) -> Self {
        Self { lido: lido.clone(), ..self.clone() }
    }

    /// Calls an operation with the pool's id.
    pub async fn call(&self, operation: &str, body: Value) -> Answer {
        self.lido.call(operation, merged(json!({ "UserPoolId": self.id }), body)).await
    }

    pub async fn describe(&self) -> Value {
        self.call("DescribeUserPool", json!({})).await.ok()["UserPool"].clone()
    }

    pub fn client(&self) -> ClientBuilder {
        ClientBuilder {
            pool: self.clone(),
            request: json!({
                "ClientName": "client",
                "ExplicitAuthFlows": [
                    "ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH", "ALLOW_ADMIN_USER_PASSWORD_AUTH",
                    "ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_CUSTOM_AUTH",
                ],
            }),
        }
    }

    pub async fn app_client(&self) -> App {
        self.client().create().await
    }

    pub fn inbox(&self) -> Inbox {
        Inbox::new(self.lido.clone(), self.id.clone())
    }

    /// Calls an Admin operation about a user.
    pub async fn admin(&self, operation: &str, username: &str, body: Value) -> Answer {
        self.call(operation, merged(json!({ "Username": username }), body)).await
    }

    /// What AdminGetUser says.
    pub async fn user(&self, username: &str) -> Value {
        self.admin("AdminGetUser", username, json!({})).await.ok()
    }

    pub async fn attributes(&self, username: &str) -> BTreeMap<String, String> {
        pairs(&self.user(username).await["UserAttributes"])
    }

    pub async fn status(&self, username: &str) -> String {
        self.user(username).await["UserStatus"].as_str().expect("a user has a status").to_owned()
    }

    /// AdminUpdateUserAttributes.
    pub async fn update(&self, username: &str, values: Value) -> Answer {
        self.admin("AdminUpdateUserAttributes", username, json!({ "UserAttributes": attributes(values) }))
            .await
    }
}

/// An app client to be made.
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    pool: Pool,
    request: Value,
}

impl ClientBuilder {
    /// Members of CreateUserPoolClient.
    pub fn with(mut self, members: Value) -> Self {
        self.request = merged(self.request, members);
        self
    }

    pub fn secret(self) -> Self {
        self.with(json!({ "GenerateSecret": true }))
    }

    /// It must not tell who exists.
    pub fn discreet(self) -> Self {
        self.with(json!({ "PreventUserExistenceErrors": "ENABLED" }))
    }

    pub async fn create(self) -> App {
        let answer = self.pool.call("CreateUserPoolClient", self.request).await.ok();
        let client = &answer["UserPoolClient"];
        App {
            lido: self.pool.lido.clone(),
            id: client["ClientId"].as_str().expect("a client has an id").to_owned(),
            secret: client["ClientSecret"].as_str().map(str::to_owned),
            pool: self.pool,
        }
    }
}

/// An application: an app client of a pool.
#[derive(Clone, Debug)]
pub struct App {
    pub lido: Lido,
    pub pool: Pool,
    pub id: String,
    pub secret: Option<String>,
}

impl App {
    /// The same application, by way of another server.
    pub fn at(&self, lido: &Lido) -> Self {
        Self { lido: lido.clone(), pool: self.pool.at(lido), ..self.clone() }
    }

    /// Calls an operation with the client's id, and the secret hash if the client has a secret.
    pub async fn call(&self, operation: &str, body: Value) -> Answer {
        let mut body = merged(json!({ "ClientId": self.id }), body);
        if let (Some(hash), None) = (self.hash(body["Username"].as_str()), body.get("SecretHash")) {
            body["SecretHash"] = hash.into();
        }
        self.lido.call(operation, body).await
    }

    fn hash(&self, username: Option<&str>) -> Option<String> {
        Some(secret_hash(username?, &self.id, self.secret.as_deref()?))
    }

    pub fn inbox(&self) -> Inbox {
        self.pool.inbox()
    }

    /// Signs up; a name that is an address is the user's e-mail address too.
    pub async fn sign_up(&self, username: &str, password: &str) -> Answer {
        let email = if username.contains('@') { json!({ "email": username }) } else { json!({}) };
        self.sign_up_with(username, password, email).await
    }

    pub async fn sign_up_with(&self, username: &str, password: &str, values: Value) -> Answer {
        let body =
            json!({ "Username": username, "Password": password, "UserAttributes": attributes(values) });
        self.call("SignUp", body).await
    }

    pub async fn confirm(&self, username: &str, code: &str) -> Answer {
        self.call("ConfirmSignUp", json!({ "Username": username, "ConfirmationCode": code })).await
    }

    pub async fn resend(&self, username: &str) -> Answer {
        self.call("ResendConfirmationCode", json!({ "Username": username })).await
    }

    pub async fn forgot(&self, username: &str) -> Answer {
        self.call("ForgotPassword", json!({ "Username": username })).await
    }

    pub async fn reset(&self, username: &str, code: &str, password: &str) -> Answer {
        let body = json!({ "Username": username, "ConfirmationCode": code, "Password": password });
        self.call("ConfirmForgotPassword", body).await
    }

    fn with_hash(&self, parameters: Value) -> Value {
        let mut parameters = parameters.as_object().expect("parameters are an object").clone();
        if let (Some(hash), None) =
            (self.hash(parameters.get("USERNAME").and_then(Value::as_str)), parameters.get("SECRET_HASH"))
        {
            parameters.insert("SECRET_HASH".to_owned(), hash.into());
        }
        Value::Object(parameters)
    }

    pub async fn initiate(&self, flow: &str, parameters: Value) -> Answer {
        let parameters = self.with_hash(parameters);
        self.call("InitiateAuth", json!({ "AuthFlow": flow, "AuthParameters": parameters })).await
    }

    pub async fn admin_initiate(&self, flow: &str, parameters: Value) -> Answer {
        let parameters = self.with_hash(parameters);
        let body = json!({ "ClientId": self.id, "AuthFlow": flow, "AuthParameters": parameters });
        self.pool.call("AdminInitiateAuth", body).await
    }

    fn answering(&self, challenge: &str, session: Option<&str>, responses: Value) -> Value {
        let mut body = json!({
            "ClientId": self.id,
            "ChallengeName": challenge,
            "ChallengeResponses": self.with_hash(responses),
        });
        if let Some(session) = session {
            body["Session"] = session.into();
        }
        body
    }

    pub async fn respond(&self, challenge: &str, session: Option<&str>, responses: Value) -> Answer {
        self.lido.call("RespondToAuthChallenge", self.answering(challenge, session, responses)).await
    }

    pub async fn admin_respond(&self, challenge: &str, session: Option<&str>, responses: Value) -> Answer {
        self.pool.call("AdminRespondToAuthChallenge", self.answering(challenge, session, responses)).await
    }

    /// USER_PASSWORD_AUTH.
    pub async fn sign_in(&self, username: &str, password: &str) -> Answer {
        self.initiate("USER_PASSWORD_AUTH", json!({ "USERNAME": username, "PASSWORD": password })).await
    }

    /// The tokens of a sign-in that succeeds.
    pub async fn tokens(&self, username: &str, password: &str) -> Tokens {
        Tokens::of(&self.lido, &self.sign_in(username, password).await)
    }

    pub async fn refresh(&self, token: &str) -> Answer {
        self.initiate("REFRESH_TOKEN_AUTH", json!({ "REFRESH_TOKEN": token })).await
    }

    pub async fn revoke(&self, token: &str) -> Answer {
        let mut body = json!({ "ClientId": self.id, "Token": token });
        if let Some(secret) = &self.secret {
            body["ClientSecret"] = secret.as_str().into();
        }
        self.lido.call("RevokeToken", body).await
    }

    /// The answer to PASSWORD_VERIFIER for a challenge that was given, with the password as the client
    /// believes it to be.
    pub fn srp_responses(
        &self,
        exchange: &client::Client,
        parameters: &Value,
        password: &str,
        timestamp: &str,
    ) -> Value {
        let text = |name: &str| match &parameters[name] {
            Value::String(text) => text.as_str(),
            _ => panic!("{name} is not in {parameters}"),
        };
        let group = self.pool.id.split_once('_').expect("a pool id has a name").1;
        let user = text("USER_ID_FOR_SRP");
        let key = exchange
            .session_key(group, user, password, text("SALT"), text("SRP_B"))
            .expect("the server's values are in the group");
        let block = STANDARD.decode(text("SECRET_BLOCK")).expect("the block is base64");
        json!({
            "USERNAME": user,
            "PASSWORD_CLAIM_SECRET_BLOCK": text("SECRET_BLOCK"),
            "PASSWORD_CLAIM_SIGNATURE": client::claim(key.expose(), group, user, &block, timestamp),
            "TIMESTAMP": timestamp,
        })
    }

    /// USER_SRP_AUTH up to the challenge.
    pub async fn srp_begin(&self, username: &str) -> (client::Client, Answer) {
        let exchange = client::Client::new(&SystemRandom);
        let parameters = json!({ "USERNAME": username, "SRP_A": exchange.public_hex() });
        let answer = self.initiate("USER_SRP_AUTH", parameters).await;
        (exchange, answer)
    }

    /// USER_SRP_AUTH from beginning to end.
    pub async fn srp_sign_in(&self, username: &str, password: &str) -> Answer {
        let (exchange, challenge) = self.srp_begin(username).await;
        let challenge = challenge.ok();
        assert_eq!(challenge["ChallengeName"], "PASSWORD_VERIFIER");
        let responses = self.srp_responses(
            &exchange,
            &challenge["ChallengeParameters"],
            password,
            &self.timestamp().await,
        );
        self.respond("PASSWORD_VERIFIER", challenge["Session"].as_str(), responses).await
    }

    /// The time as clients stamp it.
    pub async fn timestamp(&self) -> String {
        client::format_timestamp(self.lido.clock().now().await)
    }

    /// A confirmed user with [`PASSWORD`].
    pub fn user(&self, username: &str) -> UserBuilder {
        UserBuilder { app: self.clone(), username: username.to_owned(), attributes: Map::new() }
    }
}

/// A confirmed user to be made.
#[derive(Clone, Debug)]
pub struct UserBuilder {
    app: App,
    username: String,
    attributes: Map<String, Value>,
}

impl UserBuilder {
    pub fn attribute(mut self, name: &str, value: &str) -> Self {
        self.attributes.insert(name.to_owned(), value.into());
        self
    }

    pub fn email(self, value: &str) -> Self {
        self.attribute("email", value)
    }

    pub fn verified_email(self, value: &str) -> Self {
        self.email(value).attribute("email_verified", "true")
    }

    pub fn phone_number(self, value: &str) -> Self {
        self.attribute("phone_number", value)
    }

    pub fn verified_phone_number(self, value: &str) -> Self {
        self.phone_number(value).attribute("phone_number_verified", "true")
    }

    pub async fn create(self) -> User {
        let pool = &self.app.pool;
        let created = pool
            .admin(
                "AdminCreateUser",
                &self.username,
                json!({
                    "MessageAction": "SUPPRESS",
                    "UserAttributes": attributes(Value::Object(self.attributes)),
                }),
            )
            .await
            .ok();
        let password = json!({ "Password": PASSWORD, "Permanent": true });
        pool.admin("AdminSetUserPassword", &self.username, password).await.ok_empty();
        let username = created["User"]["Username"].as_str().expect("a user has a name").to_owned();
        User { app: self.app, username }
    }

    /// The user, and the tokens of a sign-in.
    pub async fn signed_in(self) -> (User, Tokens) {
        let user = self.create().await;
        let tokens = user.tokens().await;
        (user, tokens)
    }
}

/// A confirmed user.
#[derive(Clone, Debug)]
pub struct User {
    pub app: App,
    /// The immutable name.
    pub username: String,
}

impl User {
    pub async fn sign_in(&self) -> Answer {
        self.app.sign_in(&self.username, PASSWORD).await
    }

    pub async fn tokens(&self) -> Tokens {
        Tokens::of(&self.app.lido, &self.sign_in().await)
    }

    pub async fn attributes(&self) -> BTreeMap<String, String> {
        self.app.pool.attributes(&self.username).await
    }

    pub async fn attribute(&self, name: &str) -> Option<String> {
        self.attributes().await.remove(name)
    }

    pub async fn sub(&self) -> String {
        self.attribute("sub").await.expect("every user has a sub")
    }

    /// Calls an Admin operation about this user.
    pub async fn admin(&self, operation: &str, body: Value) -> Answer {
        self.app.pool.admin(operation, &self.username, body).await
    }
}
