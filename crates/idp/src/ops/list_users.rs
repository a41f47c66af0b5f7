//! ListUsers: one condition on one attribute, answered from an index whatever the size of the pool.

use lido_domain::{PoolId, User, UserStatus};
use lido_store::search::{self, After, Range};
use lido_store::{Tx, bounded};
use lido_wire::ops::ListUsers;
use lido_wire::types::{ListUsersResponse, UserType};
use serde::{Deserialize, Serialize};

use crate::caller::Iam;
use crate::cx::Cx;
use crate::fault::{self, Fault, Result};
use crate::ops::users::user_type;
use crate::pool::Pool;
use crate::{Operation, paging};

/// Bytes of the longest character in UTF-8.
const MOST_BYTES: usize = 4;

/// Users in a page when the request does not say, or says 0; also the most. Source: QueryLimitType.
const PAGE: usize = 60;

/// Users of a pool, those that match the filter, by the value of its attribute; without a filter by sub.
/// A page is followed by a token only when there is more.
///
/// `AttributesToGet` without a name in it asks for all attributes. Differs: a user without one of the
/// requested attributes is listed without it, where the service's documentation speaks of an error.
/// Errors: [`fault::filter_syntax`], [`fault::not_searchable`], [`fault::attributes_do_not_exist`],
/// [`fault::invalid_pagination_token`].
/// Source: API reference, ListUsers; developer guide, searching for users.
impl Operation for ListUsers {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let wanted = input.attributes_to_get.filter(|names| !names.is_empty());
        if wanted.iter().flatten().any(|name| pool.schema(name).is_none()) {
            return Err(fault::attributes_do_not_exist().into());
        }
        let text = input.filter.unwrap_or_default();
        let ranges = match Filter::parse(&text)? {
            None => vec![Indexed::All],
            Some(filter) => filter.ranges(&pool)?,
        };
        let scope = ["ListUsers", pool.record.id.as_str(), text.trim()];
        let from = match &input.pagination_token {
            None => Position::default(),
            Some(token) => paging::decode(cx, &scope, token)?,
        };
        let size = match usize::try_from(input.limit.unwrap_or_default()) {
            Ok(0) | Err(_) => PAGE,
            Ok(limit) => limit.min(PAGE),
        };
        let mut found = cx
            .store
            .read((pool.record.id.clone(), ranges, from), move |(pool, ranges, from), tx| {
                Box::pin(page(tx, pool, ranges, from, size + 1))
            })
            .await?;
        let more = found.len() > size;
        found.truncate(size);
        let pagination_token = match found.last() {
            Some((position, _)) if more => Some(paging::encode(cx, &scope, position)),
            _ => None,
        };
        let users = found.iter().map(|(_, user)| listed(user, wanted.as_deref())).collect();
        Ok(ListUsersResponse { users: Some(users), pagination_token })
    }
}

fn listed(user: &User, wanted: Option<&[String]>) -> UserType {
    let mut listed = user_type(user);
    if let (Some(wanted), Some(attributes)) = (wanted, &mut listed.attributes) {
        attributes.retain(|attribute| wanted.contains(&attribute.name));
    }
    listed
}

// ---- Pages -----------------------------------------------------------------------------------

/// A user in a list: which of the ranges it was found in, and where there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    range: usize,
    value: String,
    sub: String,
}

/// A range of an index. A filter may stand for several, which follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Indexed {
    All,
    Sub(Range),
    Username(Range),
    /// With what the whole value must match, where that is longer than what the index holds.
    Attribute(&'static str, Range, Option<(Operator, String)>),
    Status(UserStatus),
    Enabled(bool),
}

/// Up to `limit` users after `from`.
async fn page(
    tx: &mut Tx,
    pool: &PoolId,
    ranges: &[Indexed],
    from: &Position,
    limit: usize,
) -> Result<Vec<(Position, User)>> {
    let mut found = Vec::new();
    let mut after = After { value: from.value.clone(), sub: from.sub.clone() };
    for (range, indexed) in ranges.iter().enumerate().skip(from.range) {
        loop {
            let left = limit - found.len();
            let rows = indexed.rows(tx, pool, &after, i64::try_from(left).expect("a page is short")).await?;
            let is_last = rows.len() < left;
            if let Some((value, user)) = rows.last() {
                after = After { value: value.clone(), sub: user.sub.to_string() };
            }
            found.extend(
                rows.into_iter()
                    .filter(|(_, user)| indexed.holds(user))
                    .map(|(value, user)| (Position { range, value, sub: user.sub.to_string() }, user)),
            );
            if found.len() >= limit {
                return Ok(found);
            }
            if is_last {
                break;
            }
        }
        after = After::default();
    }
    Ok(found)
}

impl Indexed {
    async fn rows(
        &self,
        tx: &mut Tx,
        pool: &PoolId,
        after: &After,
        limit: i64,
    ) -> lido_store::Result<Vec<(String, User)>> {
        match self {
            Self::All => search::all(tx, pool, after, limit).await,
            Self::Sub(range) => search::by_sub(tx, pool, range, after, limit).await,
            Self::Username(range) => search::by_username(tx, pool, range, after, limit).await,
            Self::Attribute(name, range, _) => {
                search::by_attribute(tx, pool, name, range, after, limit).await
            }
            Self::Status(status) => search::by_status(tx, pool, status.as_str(), after, limit).await,
            Self::Enabled(enabled) => search::by_enabled(tx, pool, *enabled, after, limit).await,
        }
    }

    /// Whether a user of the range is meant: the index holds only the beginning of a long value.
    fn holds(&self, user: &User) -> bool {
        let Self::Attribute(name, _, Some((operator, wanted))) = self else { return true };
        user.attributes.get(*name).is_some_and(|value| operator.matches(&value.to_lowercase(), wanted))
    }
}

// ---- Filters ---------------------------------------------------------------------------------

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equals,
    StartsWith,
}

impl Operator {
    fn matches(self, text: &str, value: &str) -> bool {
        match self {
            Self::Equals => text == value,
            Self::StartsWith => text.starts_with(value),
        }
    }
}

/// `attribute = "value"` or `attribute ^= "value"`, with any white space between the three. In the value
/// `\"` is a quotation mark and `\\` a backslash; before anything else a backslash is itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Filter<'a> {
    attribute: &'a str,
    operator: Operator,
    value: String,
}

impl<'a> Filter<'a> {
    /// None for an empty text: everybody.
    fn parse(text: &'a str) -> Result<Option<Self>, Fault> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let name_ends = text.find(|c: char| c.is_whitespace() || "^=\"".contains(c));
        let (attribute, rest) = text.split_at(name_ends.ok_or_else(fault::filter_syntax)?);
        let rest = rest.trim_start();
        let (operator, rest) = if let Some(rest) = rest.strip_prefix("^=") {
            (Operator::StartsWith, rest)
        } else if let Some(rest) = rest.strip_prefix('=') {
            (Operator::Equals, rest)
        } else {
            return Err(fault::filter_syntax());
        };
        let quoted = rest.trim_start().strip_prefix('"').ok_or_else(fault::filter_syntax)?;
        let value = unquote(quoted).ok_or_else(fault::filter_syntax)?;
        if attribute.is_empty() {
            return Err(fault::filter_syntax());
        }
        Ok(Some(Self { attribute, operator, value }))
    }

    fn matches(&self, text: &str) -> bool {
        self.operator.matches(text, &self.value)
    }

    /// The texts that match, of an index whose values are `value`'s kind of text.
    fn range(&self, value: &str) -> Range {
        match self.operator {
            Operator::Equals => Range::exactly(value),
            Operator::StartsWith => Range::prefix(value),
        }
    }

    /// Where the users are that match. No range: nobody does.
    ///
    /// `status` is told apart by case, and `username` where the pool does; everything else is not.
    /// A prefix of `status` or `cognito:user_status` stands for every state that begins with it.
    fn ranges(&self, pool: &Pool) -> Result<Vec<Indexed>, Fault> {
        let folded = self.value.to_lowercase();
        Ok(match self.attribute {
            "username" => vec![Indexed::Username(self.range(&pool.fold(&self.value)))],
            "sub" => vec![Indexed::Sub(self.range(&folded))],
            "cognito:user_status" => {
                let upper = Filter { value: self.value.to_uppercase(), ..self.clone() };
                let mut statuses: Vec<_> =
                    UserStatus::ALL.into_iter().filter(|status| upper.matches(status.as_str())).collect();
                statuses.sort_unstable_by_key(|status| status.as_str());
                statuses.into_iter().map(Indexed::Status).collect()
            }
            "status" => [("Disabled", false), ("Enabled", true)]
                .into_iter()
                .filter(|(name, _)| self.matches(name))
                .map(|(_, enabled)| Indexed::Enabled(enabled))
                .collect(),
            name => match search::ATTRIBUTES.into_iter().find(|searchable| *searchable == name) {
                Some(attribute) => {
                    let range = self.range(&folded);
                    // As long as an index may hold, a value may stand for longer ones.
                    let is_long = folded.len() + MOST_BYTES > bounded::LONGEST;
                    vec![Indexed::Attribute(attribute, range, is_long.then_some((self.operator, folded)))]
                }
                None => return Err(fault::not_searchable(name)),
            },
        })
    }
}

/// The value of a quoted text, from behind its opening mark; none when it does not end with the closing one.
fn unquote(text: &str) -> Option<String> {
    let mut value = String::with_capacity(text.len());
    let mut rest = text.chars();
    loop {
        match rest.next()? {
            '"' => return rest.as_str().is_empty().then_some(value),
            '\\' if rest.as_str().starts_with(['"', '\\']) => value.extend(rest.next()),
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lido_domain::{Attributes, Millis, Sub, UserPool};
    use lido_store::users::{self, SignInName};
    use lido_store::{Options, Store};
    use serde_json::json;

    use super::*;

    fn pool(case_sensitive: bool) -> Pool {
        Pool::parse(UserPool {
            id: PoolId::new("local_pool"),
            name: "pool".into(),
            settings: json!({ "UsernameConfiguration": { "CaseSensitive": case_sensitive } }).to_string(),
            mfa: "{}".into(),
            tags: BTreeMap::new(),
            created: Millis(0),
            updated: Millis(0),
            revision: 0,
        })
        .unwrap()
    }

    fn ranges(text: &str) -> Result<Vec<Indexed>, Fault> {
        Filter::parse(text).unwrap().unwrap().ranges(&pool(true))
    }

    fn parsed(text: &str) -> Option<(&str, Operator, String)> {
        Filter::parse(text).unwrap().map(|filter| (filter.attribute, filter.operator, filter.value))
    }

    #[test]
    fn a_filter_is_an_attribute_an_operator_and_a_quoted_value() {
        use Operator::{Equals, StartsWith};
        assert_eq!(parsed(""), None);
        assert_eq!(parsed("  "), None);
        assert_eq!(parsed(r#"email="a@b.c""#), Some(("email", Equals, "a@b.c".into())));
        assert_eq!(parsed(r#" given_name ^= "Jo" "#), Some(("given_name", StartsWith, "Jo".into())));
        assert_eq!(parsed(r#"cognito:user_status = "x""#), Some(("cognito:user_status", Equals, "x".into())));
        assert_eq!(parsed(r#"name = "a = \"b\" ^= c""#), Some(("name", Equals, r#"a = "b" ^= c"#.into())));
        assert_eq!(parsed(r#"name = "a\\""#), Some(("name", Equals, r"a\".into())));
        assert_eq!(parsed(r#"username = "DOMAIN\ana""#), Some(("username", Equals, r"DOMAIN\ana".into())));
        assert_eq!(parsed(r#"name = """#), Some(("name", Equals, String::new())));
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for text in [
            "name",
            "name =",
            "name = x",
            r#"name "x""#,
            r#"= "x""#,
            r#"name = "x"#,
            r#"name = "x\""#,
            r#"name = "x" y"#,
            r#"name == "x""#,
            r#"name ^ = "x""#,
            r#"name = "x" and email = "y""#,
            r#"name != "x""#,
            r#"na"me = "x""#,
        ] {
            assert_eq!(Filter::parse(text), Err(fault::filter_syntax()), "{text}");
        }
        assert_eq!(fault::filter_syntax().message.as_deref(), Some("Error while parsing filter"));
    }

    #[test]
    fn only_some_attributes_are_searched() {
        for name in ["custom:tenant", "address", "Email", "enabled"] {
            let fault = ranges(&format!("{name} = \"x\"")).unwrap_err();
            assert_eq!(fault.message, Some(format!("Invalid search attribute: {name}")));
        }
    }

    #[test]
    fn values_are_folded_as_their_attribute_is_compared() {
        assert_eq!(ranges(r#"username = "Ana""#), Ok(vec![Indexed::Username(Range::exactly("Ana"))]));
        let filter = Filter::parse(r#"username ^= "Ana""#).unwrap().unwrap();
        assert_eq!(filter.ranges(&pool(false)), Ok(vec![Indexed::Username(Range::prefix("ana"))]));
        assert_eq!(
            ranges(r#"email ^= "Ana""#),
            Ok(vec![Indexed::Attribute("email", Range::prefix("ana"), None)])
        );
        assert_eq!(ranges(r#"sub = "0A""#), Ok(vec![Indexed::Sub(Range::exactly("0a"))]));
    }

    #[test]
    fn states_are_found_by_name_or_by_its_beginning() {
        use UserStatus::{Confirmed, ForceChangePassword, ResetRequired};
        let status = |status: UserStatus| Indexed::Status(status);
        assert_eq!(ranges(r#"cognito:user_status = "confirmed""#), Ok(vec![status(Confirmed)]));
        assert_eq!(ranges(r#"cognito:user_status ^= "Force""#), Ok(vec![status(ForceChangePassword)]));
        assert_eq!(ranges(r#"cognito:user_status ^= "r""#), Ok(vec![status(ResetRequired)]));
        assert_eq!(ranges(r#"cognito:user_status = "no such""#), Ok(vec![]));
        let all = ranges(r#"cognito:user_status ^= """#).unwrap();
        assert_eq!((all.len(), all.first()), (UserStatus::ALL.len(), Some(&status(Confirmed))));
        assert_eq!(ranges(r#"status = "Enabled""#), Ok(vec![Indexed::Enabled(true)]));
        assert_eq!(ranges(r#"status = "Disabled""#), Ok(vec![Indexed::Enabled(false)]));
        assert_eq!(ranges(r#"status = "enabled""#), Ok(vec![]));
        assert_eq!(ranges(r#"status ^= """#), Ok(vec![Indexed::Enabled(false), Indexed::Enabled(true)]));
    }

    fn user(number: usize) -> User {
        let email = format!("User{}@example.com", number % 2);
        User {
            pool: PoolId::new("local_pool"),
            sub: Sub::new(format!("{number:02}")),
            username: format!("name{:02}", 50 - number),
            attributes: Attributes::from([("email".to_owned(), email)]),
            pending: Attributes::new(),
            status: UserStatus::ALL[number % 5],
            enabled: number.is_multiple_of(3),
            created: Millis(0),
            updated: Millis(0),
            password: None,
            password_set: Millis(0),
            password_history: None,
            signed_out: Millis(0),
            mfa: Default::default(),
            totp_secret: None,
            totp_pending: None,
            revision: 0,
        }
    }

    /// The user names of the whole list, read in pages of `size`.
    async fn listed_in_pages(store: &Store, text: &str, size: usize) -> Vec<String> {
        let ranges = match Filter::parse(text).unwrap() {
            None => vec![Indexed::All],
            Some(filter) => filter.ranges(&pool(true)).unwrap(),
        };
        let (mut from, mut names) = (Position::default(), Vec::new());
        loop {
            let rows: Vec<(Position, User)> = store
                .read(
                    (PoolId::new("local_pool"), ranges.clone(), from.clone()),
                    move |(pool, ranges, from), tx| Box::pin(page(tx, pool, ranges, from, size)),
                )
                .await
                .unwrap();
            assert!(rows.len() <= size);
            let Some((last, _)) = rows.last() else { return names };
            from = last.clone();
            names.extend(rows.into_iter().map(|(_, user)| user.username));
        }
    }

    #[tokio::test]
    async fn pages_follow_each_other_without_gap_or_repetition() {
        let store = Store::open(Options::memory()).await.unwrap();
        store
            .write((), |(), tx| {
                Box::pin(async move {
                    for number in 0..20 {
                        let user = user(number);
                        users::insert(tx, &user).await?;
                        let name = SignInName { kind: "username", name: user.username.clone() };
                        users::claim(tx, &user.pool, &user.sub, &name).await?;
                    }
                    Ok::<_, lido_store::Error>(())
                })
            })
            .await
            .unwrap();
        for (text, count) in [
            ("", 20),
            (r#"email = "USER1@example.com""#, 10),
            (r#"email ^= "user""#, 20),
            (r#"email ^= "user2""#, 0),
            (r#"username ^= "name4""#, 10),
            (r#"username = "name45""#, 1),
            (r#"sub ^= "1""#, 10),
            (r#"cognito:user_status = "Confirmed""#, 4),
            (r#"cognito:user_status ^= """#, 20),
            (r#"status = "Enabled""#, 7),
            (r#"status ^= """#, 20),
        ] {
            let whole = listed_in_pages(&store, text, 60).await;
            assert_eq!(whole.len(), count, "{text}");
            for size in 1..8 {
                assert_eq!(listed_in_pages(&store, text, size).await, whole, "{text} in pages of {size}");
            }
        }
        let by_name = listed_in_pages(&store, r#"username ^= "name""#, 7).await;
        assert!(by_name.is_sorted(), "{by_name:?}");
    }
}
