//! What tokens say of the groups that a user is in.

use lido_domain::{Group, User};
use lido_store::groups;
use serde_json::{Map, Value};

use crate::cx::Cx;
use crate::fault::{Error, Result};

/// The values of the claims; an empty one is left out of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupClaims {
    /// `cognito:groups`: by precedence, those without one last; among equals by name.
    pub groups: Vec<String>,
    /// `cognito:roles`: in the order of the groups, each once.
    pub roles: Vec<String>,
    /// `cognito:preferred_role`
    pub preferred_role: Option<String>,
}

impl GroupClaims {
    /// Reads the user's groups as they are now: one read over an index, which at sign-in runs beside the write
    /// that records it.
    pub async fn read(cx: &Cx, user: &User) -> Result<Self> {
        let groups = cx
            .store
            .read((user.pool.clone(), user.sub.clone()), |(pool, sub), tx| {
                // The quota of groups bounds the answer.
                Box::pin(async move { Ok::<_, Error>(groups::of_user(tx, pool, sub, "", i64::MAX).await?) })
            })
            .await?;
        Ok(Self::of(groups))
    }

    /// The role that is preferred is that of the group with the lowest precedence. Several with the lowest
    /// must have the same one, or there is none; no precedence is the highest, and compared alike.
    ///
    /// Source: GroupType in the API reference; that a group without a role, or several without a precedence,
    /// follow the same rule is inferred, and so is the order of the groups.
    fn of(mut groups: Vec<Group>) -> Self {
        groups.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.name.cmp(&b.name)));
        let mut roles: Vec<String> = Vec::new();
        for role in groups.iter().filter_map(|group| group.role_arn.as_ref()) {
            if !roles.contains(role) {
                roles.push(role.clone());
            }
        }
        let preferred_role = groups.first().and_then(|first| {
            let agreed = groups
                .iter()
                .take_while(|group| group.precedence == first.precedence)
                .all(|group| group.role_arn == first.role_arn);
            first.role_arn.clone().filter(|_| agreed)
        });
        Self { groups: groups.into_iter().map(|group| group.name).collect(), roles, preferred_role }
    }

    /// `cognito:groups`, which both tokens have.
    pub fn add_groups(&self, claims: &mut Map<String, Value>) {
        if !self.groups.is_empty() {
            claims.insert("cognito:groups".into(), self.groups.clone().into());
        }
    }

    /// `cognito:roles` and `cognito:preferred_role`, which only ID tokens have.
    pub fn add_roles(&self, claims: &mut Map<String, Value>) {
        if !self.roles.is_empty() {
            claims.insert("cognito:roles".into(), self.roles.clone().into());
        }
        if let Some(role) = &self.preferred_role {
            claims.insert("cognito:preferred_role".into(), role.as_str().into());
        }
    }
}

/// The lowest goes first, none last.
fn rank(group: &Group) -> (bool, Option<i32>) {
    (group.precedence.is_none(), group.precedence)
}

#[cfg(test)]
mod tests {
    use lido_domain::{Millis, PoolId};
    use serde_json::json;

    use super::*;

    fn claims(groups: &[(&str, Option<i32>, Option<&str>)]) -> GroupClaims {
        GroupClaims::of(
            groups
                .iter()
                .map(|(name, precedence, role)| Group {
                    pool: PoolId::new("local_pool"),
                    name: (*name).to_owned(),
                    description: None,
                    role_arn: role.map(str::to_owned),
                    precedence: *precedence,
                    created: Millis(0),
                    updated: Millis(0),
                    revision: 0,
                })
                .collect(),
        )
    }

    #[test]
    fn groups_are_ordered_by_precedence_then_by_name() {
        let all = [
            ("d", None, None),
            ("c", Some(2), None),
            ("a", None, None),
            ("b", Some(0), None),
            ("B", Some(2), None),
        ];
        assert_eq!(claims(&all).groups, ["b", "B", "c", "a", "d"]);
    }

    #[test]
    fn roles_follow_their_groups_and_are_named_once() {
        let all = [
            ("a", None, Some("y")),
            ("b", Some(1), Some("x")),
            ("c", Some(2), Some("y")),
            ("d", Some(0), None),
        ];
        assert_eq!(claims(&all).roles, ["x", "y"]);
    }

    #[test]
    fn the_preferred_role_is_the_best_group_s_unless_equals_differ() {
        let preferred = |groups: &[_]| claims(groups).preferred_role;
        let (x, y) = (Some("x"), Some("y"));
        assert_eq!(preferred(&[]), None);
        assert_eq!(preferred(&[("a", Some(2), y), ("b", Some(1), x), ("c", None, y)]), Some("x".into()));
        assert_eq!(preferred(&[("a", Some(1), x), ("b", Some(1), x), ("c", Some(2), y)]), Some("x".into()));
        assert_eq!(preferred(&[("a", Some(1), x), ("b", Some(1), y)]), None);
        assert_eq!(preferred(&[("a", Some(1), x), ("b", Some(1), None)]), None);
        assert_eq!(preferred(&[("a", Some(0), None), ("b", Some(1), x)]), None);
        assert_eq!(preferred(&[("a", None, x)]), Some("x".into()));
        assert_eq!(preferred(&[("a", None, x), ("b", None, y)]), None);
        assert_eq!(preferred(&[("a", None, x), ("b", Some(2_147_483_647), y)]), Some("y".into()));
    }

    #[test]
    fn what_is_empty_is_no_claim() {
        let both = |claims: GroupClaims| {
            let mut added = Map::new();
            claims.add_groups(&mut added);
            claims.add_roles(&mut added);
            Value::Object(added)
        };
        assert_eq!(both(claims(&[])), json!({}));
        assert_eq!(both(claims(&[("a", None, None)])), json!({ "cognito:groups": ["a"] }));
        assert_eq!(
            both(claims(&[("a", Some(1), Some("x")), ("b", Some(1), Some("y"))])),
            json!({ "cognito:groups": ["a", "b"], "cognito:roles": ["x", "y"] })
        );
        assert_eq!(
            both(claims(&[("a", Some(1), Some("x"))])),
            json!({ "cognito:groups": ["a"], "cognito:roles": ["x"], "cognito:preferred_role": "x" })
        );
    }
}
