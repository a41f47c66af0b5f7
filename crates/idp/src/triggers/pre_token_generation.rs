//! The PreTokenGeneration trigger: a function changes what tokens say before they are signed.

use std::collections::BTreeMap;

use lido_wire::types::PreTokenGenerationLambdaVersionType as Version;
use serde_json::{Map, Value, json};

use crate::attributes;
use crate::cx::Cx;
use crate::fault::{self, Result};
use crate::pool::{Client, Pool};
use crate::tokens::groups::GroupClaims;
use crate::tokens::issue::Issue;
use crate::triggers::{About, add_metadata, event, invoke, map, text, texts};

/// Claims that no function changes. Source: claims and scopes reference; a forbidden change is passed over.
const FIXED: [&str; 19] = [
    "acr",
    "amr",
    "at_hash",
    "auth_time",
    "azp",
    "exp",
    "iat",
    "iss",
    "jti",
    "nbf",
    "nonce",
    "origin_jti",
    "sub",
    "token_use",
    "identities",
    "client_id",
    "event_id",
    "device_key",
    "version",
];

/// Claims of an ID token that stay strings, numbers or booleans.
const SIMPLE: [&str; 4] = ["phone_number_verified", "email_verified", "updated_at", "address"];

const GROUPS: &str = "cognito:groups";
const SCOPE: &str = "scope";

/// What the function wants of the claims of one token.
#[derive(Clone, Debug, Default, PartialEq)]
struct Claims {
    set: Map<String, Value>,
    suppress: Vec<String>,
}

/// What the function wants of the tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Changes {
    /// In place of the groups that the user is in; None leaves them.
    pub groups: Option<GroupClaims>,
    id: Claims,
    access: Claims,
    add_scopes: Vec<String>,
    suppress_scopes: Vec<String>,
}

/// The function of a pool and the version of the event that it knows.
fn function(pool: &Pool) -> Option<(&str, Version)> {
    let lambda = pool.lambda()?;
    match (&lambda.pre_token_generation_config, &lambda.pre_token_generation) {
        (Some(config), _) => Some((config.lambda_arn.as_str(), config.lambda_version)),
        (None, Some(arn)) => Some((arn.as_str(), Version::V1_0)),
        (None, None) => None,
    }
}

/// Fires the trigger for the tokens of a user, if the pool has one.
///
/// Errors: those of [`fault::trigger_failed`], [`fault::unrecognizable_lambda_output`].
pub(crate) async fn for_user(cx: &Cx, issue: Issue<'_>, groups: &GroupClaims) -> Result<Changes> {
    let Some((arn, version)) = function(issue.pool) else { return Ok(Changes::default()) };
    let about = About { pool: issue.pool, client: Some(issue.client), username: &issue.user.username };
    let scopes: Vec<&str> = issue.session.scope.split_whitespace().collect();
    let subject = Subject {
        source: issue.source.as_str(),
        attributes: attributes::for_event(issue.pool, issue.user),
        groups,
        scopes: &scopes,
    };
    fire(cx, about, arn, version, subject, issue.metadata).await
}

/// Fires the trigger for the token of an application itself, where the pool's function knows such tokens:
/// from V3_0 on. `scopes`: those that the token is going to have. What it answers is applied with
/// [`Changes::apply_to_access_token`]; the groups mean nothing there.
///
/// Errors: as [`for_user`].
pub(crate) async fn for_machine(
    cx: &Cx,
    pool: &Pool,
    client: &Client,
    scopes: &[&str],
    metadata: Option<&BTreeMap<String, String>>,
) -> Result<Changes> {
    let Some((arn, version @ Version::V3_0)) = function(pool) else { return Ok(Changes::default()) };
    let about = About { pool, client: Some(client), username: client.record.id.as_str() };
    let subject = Subject {
        source: "TokenGeneration_ClientCredentials",
        attributes: BTreeMap::new(),
        groups: &GroupClaims::default(),
        scopes,
    };
    fire(cx, about, arn, version, subject, metadata).await
}

/// What the event says of whom the tokens are for.
struct Subject<'a> {
    source: &'a str,
    attributes: BTreeMap<String, String>,
    groups: &'a GroupClaims,
    scopes: &'a [&'a str],
}

async fn fire(
    cx: &Cx,
    about: About<'_>,
    arn: &str,
    version: Version,
    subject: Subject<'_>,
    metadata: Option<&BTreeMap<String, String>>,
) -> Result<Changes> {
    let mut request = json!({
        "userAttributes": subject.attributes,
        "groupConfiguration": {
            "groupsToOverride": subject.groups.groups,
            "iamRolesToOverride": subject.groups.roles,
            "preferredRole": subject.groups.preferred_role,
        },
    });
    add_metadata(&mut request, metadata);
    let (number, details) = match version {
        Version::V1_0 => ("1", "claimsOverrideDetails"),
        Version::V2_0 => ("2", "claimsAndScopeOverrideDetails"),
        Version::V3_0 => ("3", "claimsAndScopeOverrideDetails"),
    };
    if version != Version::V1_0 {
        request["scopes"] = json!(subject.scopes);
    }
    let mut event = event(about, subject.source, request, json!({ details: null }));
    event["version"] = number.into();
    let response = invoke(cx, "PreTokenGeneration", arn, &event).await?;
    match map(&response, details)? {
        None => Ok(Changes::default()),
        Some(_) if version == Version::V1_0 => read_v1(&response[details]),
        Some(_) => read_v2(&response[details]),
    }
}

fn read_v1(details: &Value) -> Result<Changes> {
    let id = claims(details)?;
    if id.set.values().any(|value| !value.is_string()) {
        return Err(fault::unrecognizable_lambda_output().into());
    }
    Ok(Changes { groups: groups(details)?, id, ..Changes::default() })
}

fn read_v2(details: &Value) -> Result<Changes> {
    let part = |name: &str| Ok::<_, fault::Error>(map(details, name)?.map(|_| &details[name]));
    let id = part("idTokenGeneration")?.map(claims).transpose()?.unwrap_or_default();
    let mut changes = Changes { groups: groups(details)?, id, ..Changes::default() };
    if let Some(access) = part("accessTokenGeneration")? {
        changes.access = claims(access)?;
        changes.add_scopes = texts(access, "scopesToAdd")?;
        changes.suppress_scopes = texts(access, "scopesToSuppress")?;
    }
    if [&changes.id, &changes.access].into_iter().any(|claims| claims.set.values().any(Value::is_null)) {
        return Err(fault::unrecognizable_lambda_output().into());
    }
    Ok(changes)
}

fn claims(part: &Value) -> Result<Claims> {
    Ok(Claims {
        set: map(part, "claimsToAddOrOverride")?.cloned().unwrap_or_default(),
        suppress: texts(part, "claimsToSuppress")?,
    })
}

/// Source: an empty or null groupOverrideDetails suppresses the groups; that an absent one leaves them is
/// inferred.
fn groups(details: &Value) -> Result<Option<GroupClaims>> {
    const NAME: &str = "groupOverrideDetails";
    if details.get(NAME).is_none() {
        return Ok(None);
    }
    if map(details, NAME)?.is_none() {
        return Ok(Some(GroupClaims::default()));
    }
    let details = &details[NAME];
    Ok(Some(GroupClaims {
        groups: texts(details, "groupsToOverride")?,
        roles: texts(details, "iamRolesToOverride")?,
        preferred_role: text(details, "preferredRole")?.filter(|role| !role.is_empty()).map(str::to_owned),
    }))
}

fn is_fixed(claim: &str) -> bool {
    FIXED.contains(&claim) || claim == "username" || claim.starts_with("cognito:")
}

impl Claims {
    /// A claim that is both set and suppressed is suppressed. `may`: whether a claim that is not fixed may
    /// have this value; None asks whether it may be suppressed.
    fn apply(&self, token: &mut Map<String, Value>, may: impl Fn(&str, Option<&Value>) -> bool) {
        for (name, value) in &self.set {
            if !is_fixed(name) && !name.starts_with("dev:") && may(name, Some(value)) {
                token.insert(name.clone(), value.clone());
            }
        }
        for name in &self.suppress {
            if name == GROUPS {
                for claim in [GROUPS, "cognito:roles", "cognito:preferred_role"] {
                    token.remove(claim);
                }
            } else if !is_fixed(name) && may(name, None) {
                token.remove(name);
            }
        }
    }
}

impl Changes {
    pub(crate) fn apply_to_id_token(&self, token: &mut Map<String, Value>) {
        self.id.apply(token, |name, value| {
            let is_complex = value.is_some_and(|value| value.is_object() || value.is_array());
            name != "aud" && !(is_complex && SIMPLE.contains(&name))
        });
    }

    /// The token has its `client_id` and `scope`.
    pub(crate) fn apply_to_access_token(&self, token: &mut Map<String, Value>) {
        let client = token.get("client_id").cloned();
        self.access.apply(token, |name, value| match name {
            SCOPE => false,
            // Only as the client itself.
            "aud" => value.is_none_or(|value| Some(value) == client.as_ref()),
            _ => true,
        });
        if self.add_scopes.is_empty() && self.suppress_scopes.is_empty() {
            return;
        }
        let scope = token.get(SCOPE).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut scopes: Vec<&str> = scope.split_whitespace().collect();
        for added in &self.add_scopes {
            // Source: a scope has no blanks.
            let is_scope = !added.is_empty() && !added.contains(char::is_whitespace);
            if is_scope && !scopes.contains(&added.as_str()) {
                scopes.push(added);
            }
        }
        scopes.retain(|scope| !self.suppress_scopes.iter().any(|suppressed| suppressed == scope));
        token.insert(SCOPE.to_owned(), scopes.join(" ").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: Value) -> Map<String, Value> {
        claims.as_object().unwrap().clone()
    }

    fn id(details: &Value, claims: Value) -> Value {
        let mut token = token(claims);
        read_v2(details).unwrap().apply_to_id_token(&mut token);
        Value::Object(token)
    }

    fn access(details: &Value, claims: Value) -> Value {
        let mut token = token(claims);
        read_v2(details).unwrap().apply_to_access_token(&mut token);
        Value::Object(token)
    }

    #[test]
    fn fixed_claims_stay() {
        let mut all: Vec<&str> = FIXED.to_vec();
        all.extend(["username", "cognito:username", "cognito:roles", "cognito:made_up", "aud"]);
        let claims: Map<String, Value> =
            all.iter().map(|name| ((*name).to_owned(), "as it was".into())).collect();
        let set: Map<String, Value> = all.iter().map(|name| ((*name).to_owned(), "changed".into())).collect();
        let change = json!({ "claimsToAddOrOverride": set, "claimsToSuppress": all });
        let before = Value::Object(claims.clone());
        assert_eq!(id(&json!({ "idTokenGeneration": change }), before.clone()), before);
        // An access token has no `aud` of its own.
        let mut expected = before.clone();
        expected.as_object_mut().unwrap().remove("aud");
        assert_eq!(access(&json!({ "accessTokenGeneration": change }), expected.clone()), expected);
        let mut kept = token(before.clone());
        read_v1(&change).unwrap().apply_to_id_token(&mut kept);
        assert_eq!(Value::Object(kept), before);
    }

    #[test]
    fn a_claim_that_is_set_and_suppressed_is_suppressed() {
        let details = json!({ "idTokenGeneration": {
            "claimsToAddOrOverride": { "a": 1, "b": [1], "dev:x": "y" }, "claimsToSuppress": ["a", "email", "dev:z"],
        } });
        let before = json!({ "email": "a@b", "dev:x": "x", "dev:z": "z" });
        assert_eq!(id(&details, before), json!({ "b": [1], "dev:x": "x" }));
    }

    #[test]
    fn some_claims_of_an_id_token_stay_simple() {
        let details = json!({ "idTokenGeneration": { "claimsToAddOrOverride": {
            "address": { "formatted": "x" }, "email_verified": [true], "updated_at": 3, "other": { "a": 1 },
        } } });
        let before = json!({ "address": "a", "email_verified": true, "updated_at": 1 });
        let after = json!({ "address": "a", "email_verified": true, "updated_at": 3, "other": { "a": 1 } });
        assert_eq!(id(&details, before), after);
    }

    #[test]
    fn the_audience_of_an_access_token_is_its_client_or_none() {
        let with =
            |aud: &str| json!({ "accessTokenGeneration": { "claimsToAddOrOverride": { "aud": aud } } });
        let before = json!({ "client_id": "c", "scope": "s" });
        assert_eq!(access(&with("other"), before.clone()), before);
        assert_eq!(access(&with("c"), before)["aud"], "c");
    }

    #[test]
    fn scopes_change_through_their_lists_alone() {
        let details = json!({ "accessTokenGeneration": {
            "claimsToAddOrOverride": { "scope": "all" },
            "claimsToSuppress": ["scope"],
            "scopesToAdd": ["c", "a", "d e", "", "f"],
            "scopesToSuppress": ["b", "f", "none"],
        } });
        assert_eq!(access(&details, json!({ "scope": "a b" })), json!({ "scope": "a c" }));
    }

    #[test]
    fn groups_are_replaced_suppressed_or_left() {
        assert_eq!(groups(&json!({})).unwrap(), None);
        for empty in [json!(null), json!({}), json!({ "groupsToOverride": null, "preferredRole": "" })] {
            let details = json!({ "groupOverrideDetails": empty });
            assert_eq!(groups(&details).unwrap(), Some(GroupClaims::default()));
        }
        let details = json!({ "groupOverrideDetails": {
            "groupsToOverride": ["g"], "iamRolesToOverride": ["r"], "preferredRole": "p",
        } });
        let expected = GroupClaims {
            groups: vec!["g".into()],
            roles: vec!["r".into()],
            preferred_role: Some("p".into()),
        };
        assert_eq!(groups(&details).unwrap(), Some(expected));
        let suppressed = json!({ "idTokenGeneration": { "claimsToSuppress": ["cognito:groups"] } });
        let before =
            json!({ "cognito:groups": ["g"], "cognito:roles": ["r"], "cognito:preferred_role": "p" });
        assert_eq!(id(&suppressed, before), json!({}));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for odd in [
            json!({ "claimsToAddOrOverride": { "a": 1 } }),
            json!({ "claimsToAddOrOverride": [] }),
            json!({ "claimsToSuppress": "email" }),
            json!({ "groupOverrideDetails": [] }),
            json!({ "groupOverrideDetails": { "groupsToOverride": [1] } }),
        ] {
            assert!(read_v1(&odd).is_err(), "{odd}");
        }
        for odd in [
            json!({ "idTokenGeneration": 1 }),
            json!({ "idTokenGeneration": { "claimsToAddOrOverride": { "a": null } } }),
            json!({ "accessTokenGeneration": { "scopesToAdd": "a" } }),
            json!({ "accessTokenGeneration": { "claimsToSuppress": [null] } }),
        ] {
            assert!(read_v2(&odd).is_err(), "{odd}");
        }
    }
}
