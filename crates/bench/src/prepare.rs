//! The world that workloads run in: a pool, an app client, users, some of whom have signed in.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hyper::Method;
use lido_crypto::srp::client;
use lido_domain::PoolId;
use lido_store::{Location, Options, Role, Store};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::database::Database;
use crate::drive::{Connection, Endpoint, Stop, connect, drive};
use crate::fill::fill;
use crate::machine::System;
use crate::workloads::{Workload, sign_in};

/// Of every user.
pub(crate) const PASSWORD: &str = "Correct-Horse7!";

/// Users who sign in and act, spread over the pool.
const ACTIVE: usize = 4096;
/// Codes that are fetched from the inbox at once; one answer of the inbox holds 1000 messages.
const CODES: usize = 900;

/// The name of a user of the pool, of eight digits so that a prefix of seven is of ten users.
pub(crate) fn name(number: usize) -> String {
    format!("user{number:08}")
}

pub(crate) fn email(number: usize) -> String {
    format!("{}@example.com", name(number))
}

/// How users get into a pool.
#[derive(Clone, Debug)]
pub(crate) enum Filling {
    /// One by one, by the server.
    Api,
    /// Beside the server, in its store at this place. `database`: the same where it is PostgreSQL.
    Store { location: Location, database: Option<Arc<Database>> },
}

/// A prepared server.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) endpoint: Endpoint,
    pub(crate) pool: String,
    pub(crate) client: String,
    /// The pool's part in SRP: its id without the region.
    pub(crate) srp_group: String,
    /// One `A` for all exchanges. A real client makes one for each, in a tenth of what follows.
    pub(crate) srp: Arc<client::Client>,
    pub(crate) active: Vec<Active>,
    pub(crate) users: usize,
    /// How long it took to make them.
    pub(crate) filled_in: Duration,
    /// Of the active users, in their order; empty until fetched.
    codes: RefCell<Vec<String>>,
    operations: Cell<usize>,
}

/// A user who acts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Active {
    pub(crate) name: String,
    /// Tokens; empty where no workload needs them.
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl World {
    pub(crate) async fn prepare(
        endpoint: Endpoint,
        users: u32,
        filling: &Filling,
        clients: u16,
        workloads: &[Workload],
    ) -> Result<Self> {
        let users = usize::try_from(users)?;
        let mut connection = connect(&endpoint, 1).await?.pop().context("one connection was opened")?;
        let request = json!({
            "PoolName": "bench",
            "AutoVerifiedAttributes": ["email"],
            "Policies": { "PasswordPolicy": { "MinimumLength": 8 } },
        });
        let created = answer(&mut connection, "CreateUserPool", &request).await?;
        let pool = text(&created, "/UserPool/Id")?;
        let request = json!({
            "UserPoolId": pool,
            "ClientName": "bench",
            "ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
        });
        let created = answer(&mut connection, "CreateUserPoolClient", &request).await?;
        let mut world = Self {
            endpoint,
            client: text(&created, "/UserPoolClient/ClientId")?,
            srp_group: PoolId::new(&pool).srp_name().to_owned(),
            pool,
            srp: Arc::new(client::Client::new(&System)),
            active: Vec::new(),
            users,
            filled_in: Duration::ZERO,
            codes: RefCell::default(),
            operations: Cell::new(0),
        };
        let began = Instant::now();
        world.fill(filling, clients).await?;
        world.filled_in = began.elapsed();
        eprintln!("users: {users} in {:.1} s", world.filled_in.as_secs_f64());
        world.active =
            world.activate(clients, workloads.iter().any(|workload| workload.needs_tokens())).await?;
        Ok(world)
    }

    async fn fill(&self, filling: &Filling, clients: u16) -> Result<()> {
        let Filling::Store { location, database } = filling else {
            return self.create_users(clients, self.users).await;
        };
        self.create_users(1, 1).await?;
        let store = Store::open(Options::at(location.clone(), Role::Tool)).await?;
        let filled = fill(&store, &self.pool, self.users, name).await;
        store.close().await;
        filled?;
        match database {
            Some(database) => database.settle().await,
            None => Ok(()),
        }
    }

    /// The first `count` users, by the API.
    async fn create_users(&self, clients: u16, count: usize) -> Result<()> {
        let mut connections = connect(&self.endpoint, clients).await?;
        let step = (self.users / 10).max(1);
        let create = async |connection: &mut Connection, number: usize| {
            if number.is_multiple_of(step) && number > 0 {
                eprintln!("users: {number} of {}", self.users);
            }
            let body = json!({
                "UserPoolId": self.pool,
                "Username": name(number),
                "MessageAction": "SUPPRESS",
                "TemporaryPassword": PASSWORD,
                "UserAttributes": [
                    { "Name": "email", "Value": email(number) },
                    { "Name": "email_verified", "Value": "true" },
                ],
            });
            Ok(connection.call("AdminCreateUser", &body).await?.took)
        };
        drive(&mut connections, Stop::Operations(count), create).await.require_success()?;
        Ok(())
    }

    /// Gives some of the users a permanent password, and signs them in if tokens are needed.
    async fn activate(&self, clients: u16, tokens: bool) -> Result<Vec<Active>> {
        let count = self.users.min(ACTIVE);
        eprintln!("active users: {count}");
        let mut connections = connect(&self.endpoint, clients).await?;
        let active = RefCell::new(vec![Active::default(); count]);
        let activate = async |connection: &mut Connection, number: usize| {
            let name = name(number * self.users / count);
            let body = json!({
                "UserPoolId": self.pool,
                "Username": name,
                "Password": PASSWORD,
                "Permanent": true,
            });
            connection.call("AdminSetUserPassword", &body).await?;
            let mut user = Active { name, ..Active::default() };
            if tokens {
                let signed_in =
                    answer(connection, "InitiateAuth", &sign_in(&self.client, &user.name)).await?;
                user.access = text(&signed_in, "/AuthenticationResult/AccessToken")?;
                user.refresh = text(&signed_in, "/AuthenticationResult/RefreshToken")?;
            }
            active.borrow_mut()[number] = user;
            Ok(Duration::ZERO)
        };
        drive(&mut connections, Stop::Operations(count), activate).await.require_success()?;
        Ok(active.into_inner())
    }

    /// The number of the next operation of any workload.
    pub(crate) fn next(&self) -> usize {
        self.operations.replace(self.operations.get() + 1)
    }

    /// A user of the whole pool, another one for each index until all had their turn.
    pub(crate) fn anyone(&self, index: usize) -> usize {
        /// A prime that is not a factor of any number of users that is allowed.
        const STRIDE: usize = 15_485_863;
        index.wrapping_mul(STRIDE) % self.users
    }

    /// The code that was fetched for an active user.
    pub(crate) fn code(&self, index: usize) -> Result<String> {
        let codes = self.codes.borrow();
        codes.get(index).cloned().context("no code was fetched for this user")
    }

    /// Has a code sent to each of the active users and takes it from the inbox.
    pub(crate) async fn fetch_codes(&self, clients: u16) -> Result<()> {
        let mut connections = connect(&self.endpoint, clients).await?;
        let mut codes = Vec::with_capacity(self.active.len());
        for users in self.active.chunks(CODES) {
            inbox(&mut connections[0], Method::DELETE, "/_lido/messages").await?;
            let send = async |connection: &mut Connection, number: usize| {
                let user: &Active = &users[number];
                let body = json!({ "AccessToken": user.access, "AttributeName": "email" });
                Ok(connection.call("GetUserAttributeVerificationCode", &body).await?.took)
            };
            drive(&mut connections, Stop::Operations(users.len()), send).await.require_success()?;
            let path = format!("/_lido/messages?userPoolId={}", self.pool);
            let list = inbox(&mut connections[0], Method::GET, &path).await?;
            let mut received: HashMap<String, String> =
                list.messages.into_iter().map(|message| (message.username, message.code)).collect();
            for user in users {
                let code = received.remove(&user.name);
                codes.push(code.with_context(|| format!("{} has no message in the inbox", user.name))?);
            }
        }
        self.codes.replace(codes);
        Ok(())
    }

    /// Removes the pool. A large one's users go in the background.
    pub(crate) async fn remove(&self) -> Result<()> {
        let mut connection = connect(&self.endpoint, 1).await?.pop().context("one connection was opened")?;
        connection.call("DeleteUserPool", &json!({ "UserPoolId": self.pool })).await?;
        Ok(())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Inbox {
    messages: Vec<Received>,
}

#[derive(Debug, Deserialize)]
struct Received {
    username: String,
    code: String,
}

async fn inbox(connection: &mut Connection, method: Method, path: &str) -> Result<Inbox> {
    serde_json::from_slice(&connection.control(method, path).await?).context("the inbox's answer")
}

async fn answer(connection: &mut Connection, operation: &'static str, body: &Value) -> Result<Value> {
    serde_json::from_slice(&connection.call(operation, body).await?.body).context(operation)
}

/// A text in an answer, by its JSON pointer.
fn text(answer: &Value, pointer: &str) -> Result<String> {
    let text = answer.pointer(pointer).and_then(Value::as_str);
    text.map(str::to_owned).with_context(|| format!("{pointer} is missing in an answer"))
}
