//! The workloads: one operation of each, and what it consists of at least.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lido_crypto::srp::client;
use lido_domain::Clock;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::drive::{Connection, Timed};
use crate::limits::Slice;
use crate::machine::System;
use crate::prepare::{PASSWORD, World, email, name};

/// What clients do all day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    GetUserAttributeVerificationCode,
    VerifyUserAttribute,
    GetUser,
    UserPasswordAuth,
    UserSrpAuth,
    RefreshTokenAuth,
    AdminGetUser,
    ListUsersByEmail,
    ListUsersByPrefix,
    SignUp,
}

/// The primitives in one operation, each so many times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    pub(crate) requests: u32,
    pub(crate) signatures: u32,
    pub(crate) verifications: u32,
    pub(crate) powers: u32,
    /// Both server halves together.
    pub(crate) exchanges: u32,
    pub(crate) commits: u32,
}

impl Parts {
    const REQUEST: Self =
        Self { requests: 1, signatures: 0, verifications: 0, powers: 0, exchanges: 0, commits: 0 };

    /// CPU microseconds of the server.
    pub(crate) fn limit(&self, slice: &Slice) -> f64 {
        f64::from(self.requests) * slice.http
            + f64::from(self.signatures) * slice.sign
            + f64::from(self.verifications) * slice.verify
            + f64::from(self.powers) * slice.power
            + f64::from(self.exchanges) * (slice.srp_start + slice.srp_finish)
            + f64::from(self.commits) * slice.commit
    }

    /// `2 HTTP + SRP + 2 sign + commit`
    pub(crate) fn describe(&self) -> String {
        let parts = [
            (self.requests, "HTTP"),
            (self.verifications, "verify"),
            (self.powers, "g^x"),
            (self.exchanges, "SRP"),
            (self.signatures, "sign"),
            (self.commits, "commit"),
        ];
        let words = parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, part)| match count {
            1 => part.to_owned(),
            _ => format!("{count} {part}"),
        });
        words.collect::<Vec<_>>().join(" + ")
    }
}

impl Workload {
    /// Those that should cost the same however many users the pool has.
    pub(crate) const FLAT: [Self; 4] =
        [Self::UserPasswordAuth, Self::AdminGetUser, Self::ListUsersByEmail, Self::ListUsersByPrefix];

    /// In the order in which they run. SignUp is the last: it makes the pool larger.
    pub(crate) const ALL: [Self; 10] = [
        Self::GetUserAttributeVerificationCode,
        Self::VerifyUserAttribute,
        Self::GetUser,
        Self::UserPasswordAuth,
        Self::UserSrpAuth,
        Self::RefreshTokenAuth,
        Self::AdminGetUser,
        Self::ListUsersByEmail,
        Self::ListUsersByPrefix,
        Self::SignUp,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::GetUserAttributeVerificationCode => "GetUserAttributeVerificationCode",
            Self::VerifyUserAttribute => "VerifyUserAttribute",
            Self::GetUser => "GetUser",
            Self::UserPasswordAuth => "USER_PASSWORD_AUTH",
            Self::UserSrpAuth => "USER_SRP_AUTH",
            Self::RefreshTokenAuth => "REFRESH_TOKEN_AUTH",
            Self::AdminGetUser => "AdminGetUser",
            Self::ListUsersByEmail => "ListUsers email =",
            Self::ListUsersByPrefix => "ListUsers username ^=",
            Self::SignUp => "SignUp",
        }
    }

    pub(crate) fn parts(self) -> Parts {
        let request = Parts::REQUEST;
        match self {
            Self::GetUserAttributeVerificationCode | Self::VerifyUserAttribute => {
                Parts { verifications: 1, commits: 1, ..request }
            }
            Self::GetUser => Parts { verifications: 1, ..request },
            Self::UserPasswordAuth => Parts { powers: 1, signatures: 2, commits: 1, ..request },
            Self::UserSrpAuth => Parts { requests: 2, exchanges: 1, signatures: 2, commits: 1, ..request },
            Self::RefreshTokenAuth => Parts { signatures: 2, ..request },
            Self::AdminGetUser | Self::ListUsersByEmail | Self::ListUsersByPrefix => request,
            Self::SignUp => Parts { powers: 1, commits: 1, ..request },
        }
    }

    /// Each of its operations needs a code that was sent before, and voids it.
    pub(crate) fn uses_up_codes(self) -> bool {
        self == Self::VerifyUserAttribute
    }

    /// Whether it needs users who have signed in.
    pub(crate) fn needs_tokens(self) -> bool {
        match self {
            Self::GetUserAttributeVerificationCode
            | Self::VerifyUserAttribute
            | Self::GetUser
            | Self::RefreshTokenAuth => true,
            Self::UserPasswordAuth
            | Self::UserSrpAuth
            | Self::AdminGetUser
            | Self::ListUsersByEmail
            | Self::ListUsersByPrefix
            | Self::SignUp => false,
        }
    }

    /// One operation, the `index`th. Gives the time that its answers took, without what the client did
    /// between them.
    ///
    /// Errors: any answer but the one that belongs to it.
    pub(crate) async fn run(
        self,
        world: &World,
        connection: &mut Connection,
        index: usize,
    ) -> Result<Duration> {
        let active = || &world.active[index % world.active.len()];
        match self {
            Self::GetUserAttributeVerificationCode => {
                let body = json!({ "AccessToken": active().access, "AttributeName": "email" });
                expect(connection.call(self.name(), &body).await?, "\"DeliveryMedium\":\"EMAIL\"")
            }
            Self::VerifyUserAttribute => {
                let code = world.code(index)?;
                let body = json!({ "AccessToken": active().access, "AttributeName": "email", "Code": code });
                Ok(connection.call(self.name(), &body).await?.took)
            }
            Self::GetUser => {
                let body = json!({ "AccessToken": active().access });
                expect(connection.call(self.name(), &body).await?, &active().name)
            }
            Self::UserPasswordAuth => {
                let body = sign_in(&world.client, &active().name);
                expect(connection.call("InitiateAuth", &body).await?, "\"RefreshToken\":\"")
            }
            Self::UserSrpAuth => srp(world, connection, &active().name).await,
            Self::RefreshTokenAuth => {
                let body = json!({
                    "ClientId": world.client,
                    "AuthFlow": "REFRESH_TOKEN_AUTH",
                    "AuthParameters": { "REFRESH_TOKEN": active().refresh },
                });
                expect(connection.call("InitiateAuth", &body).await?, "\"AccessToken\":\"")
            }
            Self::AdminGetUser => {
                let name = name(world.anyone(index));
                let body = json!({ "UserPoolId": world.pool, "Username": name });
                expect(connection.call(self.name(), &body).await?, &name)
            }
            Self::ListUsersByEmail => {
                let email = email(world.anyone(index));
                let body = json!({ "UserPoolId": world.pool, "Filter": format!("email = \"{email}\"") });
                expect(connection.call("ListUsers", &body).await?, &email)
            }
            Self::ListUsersByPrefix => {
                let name = name(world.anyone(index));
                // Without its last digit: ten users.
                let filter = format!("username ^= \"{}\"", &name[..name.len() - 1]);
                let body = json!({ "UserPoolId": world.pool, "Filter": filter });
                expect(connection.call("ListUsers", &body).await?, &name)
            }
            Self::SignUp => {
                let name = format!("new{index:08}");
                let body = json!({
                    "ClientId": world.client,
                    "Username": name,
                    "Password": PASSWORD,
                    "UserAttributes": [{ "Name": "email", "Value": format!("{name}@example.com") }],
                });
                expect(connection.call(self.name(), &body).await?, "\"UserSub\":\"")
            }
        }
    }
}

/// Checks that the answer is of the right kind.
fn expect(answer: Timed, part: &str) -> Result<Duration> {
    let text = std::str::from_utf8(&answer.body)?;
    ensure!(text.contains(part), "{part} is missing in {text}");
    Ok(answer.took)
}

/// InitiateAuth with a password.
pub(crate) fn sign_in(client: &str, name: &str) -> Value {
    json!({
        "ClientId": client,
        "AuthFlow": "USER_PASSWORD_AUTH",
        "AuthParameters": { "USERNAME": name, "PASSWORD": PASSWORD },
    })
}

/// Both calls of USER_SRP_AUTH. What the client computes between them runs on another thread, since it takes
/// as long as the server's half.
async fn srp(world: &World, connection: &mut Connection, name: &str) -> Result<Duration> {
    let body = json!({
        "ClientId": world.client,
        "AuthFlow": "USER_SRP_AUTH",
        "AuthParameters": { "USERNAME": name, "SRP_A": world.srp.public_hex() },
    });
    let first = connection.call("InitiateAuth", &body).await?;
    let challenge: Challenge = serde_json::from_slice(&first.body).context("the challenge")?;
    let challenge = challenge.parameters;
    let (srp, group, identity) = (world.srp.clone(), world.srp_group.clone(), challenge.identity.clone());
    let (timestamp, claim, challenge) = tokio::task::spawn_blocking(move || {
        let key = srp
            .session_key(&group, &identity, PASSWORD, &challenge.salt, &challenge.b)
            .context("the challenge holds no SRP values")?;
        let timestamp = client::format_timestamp(System.now().seconds());
        let block = STANDARD.decode(&challenge.block)?;
        let claim = client::claim(key.expose(), &group, &identity, &block, &timestamp);
        Ok::<_, anyhow::Error>((timestamp, claim, challenge))
    })
    .await??;
    let body = json!({
        "ClientId": world.client,
        "ChallengeName": "PASSWORD_VERIFIER",
        "ChallengeResponses": {
            "USERNAME": challenge.identity,
            "PASSWORD_CLAIM_SIGNATURE": claim,
            "PASSWORD_CLAIM_SECRET_BLOCK": challenge.block,
            "TIMESTAMP": timestamp,
        },
    });
    let second = expect(connection.call("RespondToAuthChallenge", &body).await?, "\"RefreshToken\":\"")?;
    Ok(first.took + second)
}

#[derive(Deserialize)]
struct Challenge {
    #[serde(rename = "ChallengeParameters")]
    parameters: ChallengeParameters,
}

#[derive(Deserialize)]
struct ChallengeParameters {
    #[serde(rename = "USER_ID_FOR_SRP")]
    identity: String,
    #[serde(rename = "SALT")]
    salt: String,
    #[serde(rename = "SRP_B")]
    b: String,
    #[serde(rename = "SECRET_BLOCK")]
    block: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_the_sum_of_its_parts() {
        let slice = Slice {
            sign: 700.0,
            verify: 20.0,
            power: 200.0,
            srp_start: 190.0,
            srp_finish: 1300.0,
            http: 30.0,
            http_client: 20.0,
            http_per_second: 40_000.0,
            commit: 25.0,
            commits_per_second: 20_000.0,
            commit_p50_ms: 1.5,
            read: 10.0,
            reads_per_second: 100_000.0,
        };
        let parts = Workload::UserSrpAuth.parts();
        assert_eq!(parts.describe(), "2 HTTP + SRP + 2 sign + commit");
        assert_eq!(parts.limit(&slice), 60.0 + 1490.0 + 1400.0 + 25.0);
        assert_eq!(Workload::AdminGetUser.parts().limit(&slice), 30.0);
    }
}
