//! What an IAM principal may do: identity policies, parsed once at start and asked on every signed request.
//!
//! Source: the IAM reference of policy elements and of their evaluation. `Condition` and policy variables
//! are not built; a document with either is refused when it is read, and never taken for a weaker one.

use std::fmt;

use serde::de::{IgnoredAny, SeqAccess, Visitor, value::SeqAccessDeserializer};
use serde::{Deserialize, Deserializer};

use crate::fault::{self, Fault};

/// A principal of the account: who signs, and what it may do.
#[derive(Clone, Debug)]
pub struct Principal {
    /// `arn:aws:iam::{account}:user/{name}`, as the refusals show it.
    pub arn: String,
    policy: Policy,
}

impl Principal {
    pub fn new(arn: impl Into<String>, policy: Policy) -> Self {
        Self { arn: arn.into(), policy }
    }

    /// `action`: `cognito-idp:{Operation}`. `resource`: the user pool's ARN, or `*` for what has none.
    ///
    /// Errors: [`fault::access_denied`].
    pub fn allows(&self, action: &str, resource: &str) -> Result<(), Fault> {
        match self.policy.evaluate(action, resource) {
            Verdict::Allowed => Ok(()),
            Verdict::Denied { explicit } => Err(fault::access_denied(&self.arn, action, resource, explicit)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allowed,
    Denied { explicit: bool },
}

/// An identity policy.
#[derive(Clone, Debug)]
pub struct Policy {
    statements: Vec<Statement>,
}

/// Why a text is no policy that can be enforced, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(String);

#[derive(Clone, Debug)]
struct Statement {
    effect: Effect,
    actions: Entries,
    resources: Entries,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Effect {
    Allow,
    Deny,
}

/// `Action` or `NotAction`, `Resource` or `NotResource`.
#[derive(Clone, Debug)]
enum Entries {
    Any(Vec<String>),
    NoneOf(Vec<String>),
}

impl Entries {
    fn match_with(&self, matches: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Any(entries) => entries.iter().any(|entry| matches(entry)),
            Self::NoneOf(entries) => !entries.iter().any(|entry| matches(entry)),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        let (Self::Any(entries) | Self::NoneOf(entries)) = self;
        entries.iter().map(String::as_str)
    }
}

impl Policy {
    /// Reads a policy document.
    ///
    /// Errors: text that is not JSON, a member that is unknown or stands twice, and what cannot be enforced.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let document: Document =
            serde_json::from_str(text).map_err(|error| PolicyError(error.to_string()))?;
        let variables = match document.version.as_deref() {
            Some("2012-10-17") => true,
            Some("2008-10-17") | None => false,
            Some(other) => return Err(PolicyError(format!("Version: `{other}` is not a policy version"))),
        };
        if document.statement.is_empty() {
            return Err(PolicyError("Statement: a policy needs at least one".to_owned()));
        }
        let statements = document
            .statement
            .into_iter()
            .enumerate()
            .map(|(index, statement)| {
                statement
                    .check(variables)
                    .map_err(|reason| PolicyError(format!("Statement {}: {reason}", index + 1)))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { statements })
    }

    fn evaluate(&self, action: &str, resource: &str) -> Verdict {
        // Source: the API reference, DescribeTermsByClient: a Deny on DescribeTerms blocks it too.
        let also = action
            .eq_ignore_ascii_case("cognito-idp:DescribeTermsByClient")
            .then_some("cognito-idp:DescribeTerms");
        let denies = |action: &str| self.matching(Effect::Deny, action, resource);
        if denies(action) || also.is_some_and(denies) {
            Verdict::Denied { explicit: true }
        } else if self.matching(Effect::Allow, action, resource) {
            Verdict::Allowed
        } else {
            Verdict::Denied { explicit: false }
        }
    }

    fn matching(&self, effect: Effect, action: &str, resource: &str) -> bool {
        self.statements.iter().any(|statement| {
            statement.effect == effect
                && statement.actions.match_with(|pattern| action_matches(pattern, action))
                && statement.resources.match_with(|pattern| resource_matches(pattern, resource))
        })
    }
}

/// Source: actions are compared without case.
fn action_matches(pattern: &str, action: &str) -> bool {
    glob(pattern.to_ascii_lowercase().as_bytes(), action.to_ascii_lowercase().as_bytes())
}

/// Source: ARNs are compared part by part, with case; a wildcard does not cross `:` in the first five
/// parts. Only a bare `*` matches what has no ARN.
fn resource_matches(pattern: &str, resource: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    match (arn_parts(pattern), arn_parts(resource)) {
        (Some(pattern), Some(resource)) => {
            pattern.iter().zip(resource).all(|(pattern, part)| glob(pattern.as_bytes(), part.as_bytes()))
        }
        _ => false,
    }
}

/// The six parts of an ARN; the last may hold further colons.
fn arn_parts(text: &str) -> Option<[&str; 6]> {
    text.splitn(6, ':').collect::<Vec<_>>().try_into().ok()
}

/// `*`: any run of characters, also none. `?`: any one.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when a later character does not match: behind the last `*`, one character further.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(&letter) if letter == b'?' || letter == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((after_star, from)) => {
                    retry = Some((after_star, from + 1));
                    (p, t) = (after_star, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|letter| *letter == b'*')
}

// ---- The document ------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Document {
    version: Option<String>,
    #[expect(dead_code, reason = "allowed in a document, without meaning here")]
    id: Option<IgnoredAny>,
    #[serde(deserialize_with = "one_or_many")]
    statement: Vec<StatementDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct StatementDocument {
    #[expect(dead_code, reason = "allowed in a statement, without meaning here")]
    sid: Option<String>,
    effect: Effect,
    #[serde(default, deserialize_with = "one_or_many_texts")]
    action: Option<Vec<String>>,
    #[serde(default, deserialize_with = "one_or_many_texts")]
    not_action: Option<Vec<String>>,
    #[serde(default, deserialize_with = "one_or_many_texts")]
    resource: Option<Vec<String>>,
    #[serde(default, deserialize_with = "one_or_many_texts")]
    not_resource: Option<Vec<String>>,
    condition: Option<IgnoredAny>,
}

impl StatementDocument {
    fn check(self, variables: bool) -> Result<Statement, String> {
        if self.condition.is_some() {
            return Err("Condition is not supported yet".to_owned());
        }
        let statement = Statement {
            effect: self.effect,
            actions: entries("Action", self.action, "NotAction", self.not_action)?,
            resources: entries("Resource", self.resource, "NotResource", self.not_resource)?,
        };
        if let Some(wrong) = statement.actions.iter().find(|action| *action != "*" && !action.contains(':')) {
            return Err(format!("`{wrong}` is not an action like `cognito-idp:SignUp`, and not `*`"));
        }
        for resource in statement.resources.iter() {
            if resource != "*" && arn_parts(resource).is_none() {
                return Err(format!("`{resource}` is not an ARN of six parts, and not `*`"));
            }
            if variables && resource.contains("${") {
                return Err(format!("`{resource}` holds a policy variable, which is not supported yet"));
            }
        }
        Ok(statement)
    }
}

fn entries(
    name: &str,
    any: Option<Vec<String>>,
    not_name: &str,
    none_of: Option<Vec<String>>,
) -> Result<Entries, String> {
    match (any, none_of) {
        (Some(entries), None) => Ok(Entries::Any(entries)),
        (None, Some(entries)) => Ok(Entries::NoneOf(entries)),
        _ => Err(format!("exactly one of {name} and {not_name} is needed")),
    }
}

/// One statement, or a list of them.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<StatementDocument>, D::Error> {
    struct OneOrMany;

    impl<'de> Visitor<'de> for OneOrMany {
        type Value = Vec<StatementDocument>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a statement or a list of statements")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            let statement = serde::de::value::MapAccessDeserializer::new(map);
            Ok(vec![StatementDocument::deserialize(statement)?])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(list))
        }
    }

    deserializer.deserialize_any(OneOrMany)
}

/// One text, or a list of them.
fn one_or_many_texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    struct OneOrMany;

    impl<'de> Visitor<'de> for OneOrMany {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string or a list of strings")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(vec![text.to_owned()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(list))
        }
    }

    deserializer.deserialize_any(OneOrMany).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: &str = "arn:aws:cognito-idp:us-east-1:000000000000:userpool/us-east-1_Example01";

    fn verdict(policy: &str, action: &str, resource: &str) -> Verdict {
        Policy::parse(policy).unwrap().evaluate(action, resource)
    }

    fn statement(rest: &str) -> String {
        format!(r#"{{"Version":"2012-10-17","Statement":{{{rest}}}}}"#)
    }

    fn allows(rest: &str, action: &str, resource: &str) -> bool {
        verdict(&statement(&format!(r#""Effect":"Allow",{rest}"#)), action, resource) == Verdict::Allowed
    }

    fn refusal(policy: &str) -> String {
        Policy::parse(policy).unwrap_err().to_string()
    }

    #[test]
    fn everything_is_denied_unless_a_statement_allows_it() {
        let list_only = r#""Action":"cognito-idp:ListUserPools","Resource":"*""#;
        assert!(allows(list_only, "cognito-idp:ListUserPools", "*"));
        assert!(!allows(list_only, "cognito-idp:CreateUserPool", "*"));
    }

    #[test]
    fn a_denial_wins_over_every_allowance() {
        let policy = r#"{"Version":"2012-10-17","Statement":[
            {"Effect":"Allow","Action":"*","Resource":"*"},
            {"Effect":"Deny","Action":["cognito-idp:AdminDelete*"],"Resource":"*"}]}"#;
        assert_eq!(verdict(policy, "cognito-idp:AdminGetUser", POOL), Verdict::Allowed);
        assert_eq!(verdict(policy, "cognito-idp:AdminDeleteUser", POOL), Verdict::Denied { explicit: true });
    }

    #[test]
    fn actions_match_without_case_and_with_wildcards() {
        for pattern in ["cognito-idp:*", "COGNITO-IDP:signup", "*", "cognito-idp:S?gnUp", "cognito-idp:*Up"] {
            assert!(
                allows(&format!(r#""Action":"{pattern}","Resource":"*""#), "cognito-idp:SignUp", POOL),
                "{pattern}"
            );
        }
        for pattern in ["cognito-idp:Sign", "s3:*", "cognito-idp:?SignUp"] {
            assert!(
                !allows(&format!(r#""Action":"{pattern}","Resource":"*""#), "cognito-idp:SignUp", POOL),
                "{pattern}"
            );
        }
    }

    #[test]
    fn resources_match_part_by_part_and_with_case() {
        let on = |pattern: &str, resource: &str| {
            allows(&format!(r#""Action":"*","Resource":"{pattern}""#), "cognito-idp:ListUsers", resource)
        };
        assert!(on(POOL, POOL));
        assert!(on("arn:aws:cognito-idp:*:*:userpool/*", POOL));
        assert!(on("arn:aws:cognito-idp:us-east-1:000000000000:userpool/us-east-1_Example0?", POOL));
        assert!(!on("arn:aws:cognito-idp:eu-*:*:userpool/*", POOL));
        assert!(!on("arn:aws:cognito-idp:us-east-1:000000000000:userpool/us-east-1_example01", POOL));
        assert!(
            !on("arn:aws:*:000000000000:::userpool/us-east-1_Example01", POOL),
            "a wildcard crossed a colon"
        );
        assert!(!on("arn:aws:cognito-idp:*:*:userpool/*", "*"), "only a bare star matches what has no ARN");
    }

    #[test]
    fn not_action_and_not_resource_match_what_no_entry_matches() {
        let all_but = r#""NotAction":["cognito-idp:Admin*","cognito-idp:Delete*"],"Resource":"*""#;
        assert!(allows(all_but, "cognito-idp:ListUsers", POOL));
        assert!(!allows(all_but, "cognito-idp:AdminGetUser", POOL));
        let elsewhere = format!(r#""Action":"*","NotResource":"{POOL}""#);
        assert!(!allows(&elsewhere, "cognito-idp:ListUsers", POOL));
        assert!(allows(&elsewhere, "cognito-idp:ListUsers", &POOL.replace("Example01", "Other")));
    }

    #[test]
    fn a_denial_of_describe_terms_covers_its_twin() {
        let policy = r#"{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},
            {"Effect":"Deny","Action":"cognito-idp:DescribeTerms","Resource":"*"}]}"#;
        assert_eq!(
            verdict(policy, "cognito-idp:DescribeTermsByClient", POOL),
            Verdict::Denied { explicit: true }
        );
    }

    #[test]
    fn what_cannot_be_enforced_is_refused_with_its_place() {
        let with = |rest: &str| {
            refusal(&statement(&format!(r#""Effect":"Allow","Action":"*","Resource":"*",{rest}"#)))
        };
        assert_eq!(with(r#""Condition":{"Bool":{}}"#), "Statement 1: Condition is not supported yet");
        assert!(with(r#""Principal":"*""#).starts_with("unknown field `Principal`"));
        assert!(with(r#""Principal":"*""#).contains("line 1 column"));
        assert!(with(r#""Effect":"Deny""#).starts_with("duplicate field `Effect`"));
        assert_eq!(with(r#""NotAction":"*""#), "Statement 1: exactly one of Action and NotAction is needed");
    }

    #[test]
    fn malformed_documents_are_refused() {
        assert!(refusal(r#"{"Version":"2020-01-01","Statement":[]}"#).starts_with("Version: "));
        assert!(refusal(r#"{"Statement":[]}"#).starts_with("Statement: "));
        assert!(refusal(r#"{"Version":"2012-10-17"}"#).starts_with("missing field `Statement`"));
        assert!(refusal(r#"{"Rules":[]}"#).starts_with("unknown field `Rules`"));
        assert!(refusal(&statement(r#""Effect":"allow","Action":"*","Resource":"*""#)).contains("`allow`"));
        assert!(
            refusal(&statement(r#""Effect":"Allow","Action":"ListUsers","Resource":"*""#))
                .contains("`ListUsers`")
        );
        assert!(
            refusal(&statement(r#""Effect":"Allow","Action":"*","Resource":"us-east-1_x""#)).contains("ARN")
        );
        let variable =
            r#""Effect":"Allow","Action":"*","Resource":"arn:aws:cognito-idp:*:*:userpool/${aws:username}""#;
        assert!(refusal(&statement(variable)).contains("policy variable"));
    }

    #[test]
    fn a_refusal_names_principal_action_and_resource() {
        let policy = Policy::parse(&statement(r#""Effect":"Deny","Action":"*","Resource":"*""#)).unwrap();
        let principal = Principal::new("arn:aws:iam::123456789012:user/deploy", policy);
        let fault = principal.allows("cognito-idp:ListUserPools", "*").unwrap_err();
        assert_eq!(fault.code, "AccessDeniedException");
        assert_eq!(
            fault.message.unwrap(),
            "User: arn:aws:iam::123456789012:user/deploy is not authorized to perform: \
             cognito-idp:ListUserPools on resource: * with an explicit deny in an identity-based policy"
        );
    }
}
