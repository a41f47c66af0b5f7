//! Groups of a pool: create, describe, update, delete, list; who is in them.

use lido_domain::{Group, PoolId, Sub};
use lido_store::{Tx, groups, pools};
use lido_wire::ops::{
    AdminAddUserToGroup, AdminListGroupsForUser, AdminRemoveUserFromGroup, CreateGroup, DeleteGroup,
    GetGroup, ListGroups, ListUsersInGroup, UpdateGroup,
};
use lido_wire::types::{
    AdminListGroupsForUserResponse, CreateGroupRequest, CreateGroupResponse, GetGroupResponse, GroupType,
    ListGroupsResponse, ListUsersInGroupResponse, Timestamp, UpdateGroupResponse,
};

use crate::caller::Iam;
use crate::cx::Cx;
use crate::fault::{self, Error, Result};
use crate::ops::user_pools::first_revision;
use crate::ops::users::user_type;
use crate::pool::Pool;
use crate::{Operation, paging};

/// Groups of a pool. Source: the service's quotas.
const MOST_GROUPS: i64 = 10_000;

/// Groups that a user can be in. Source: the service's quotas.
const MOST_GROUPS_OF_USER: i64 = 100;

/// Memberships that DeleteGroup ends in one write, so that it holds up nobody.
const REMOVED_AT_ONCE: i64 = 500;

/// Entries of a page when the request does not say, or says 0; also the most. Source: QueryLimitType.
const PAGE: usize = 60;

// ---- Groups ----------------------------------------------------------------------------------

/// Errors: [`fault::group_exists`], [`fault::quota_exceeded`].
/// Source: API reference, CreateGroup.
impl Operation for CreateGroup {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let group = create(cx, &pool, input).await?;
        Ok(CreateGroupResponse { group: Some(group_type(&group)) })
    }
}

/// Errors: [`fault::group_not_found`].
/// Source: API reference, GetGroup.
impl Operation for GetGroup {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let group = group(cx, &pool, &input.group_name).await?;
        Ok(GetGroupResponse { group: Some(group_type(&group)) })
    }
}

/// What is left out stays, unlike with pools and clients: a description, role or precedence cannot be taken
/// away again, only replaced.
/// Errors: [`fault::group_not_found`].
/// Source: observed.
impl Operation for UpdateGroup {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let before = group(cx, &pool, &input.group_name).await?;
        let after = Group {
            description: input.description.or(before.description),
            role_arn: input.role_arn.or(before.role_arn),
            precedence: input.precedence.or(before.precedence),
            updated: cx.now(),
            ..before
        };
        let group = cx
            .store
            .write(after, |group, tx| {
                Box::pin(async move {
                    if groups::put(tx, group).await? { Ok(group.clone()) } else { Err(Error::Conflict) }
                })
            })
            .await?;
        Ok(UpdateGroupResponse { group: Some(group_type(&group)) })
    }
}

/// Ends the memberships, too; the users stay. A large group is emptied in several writes before it goes: should
/// that be interrupted, it is there with fewer members, and deleting it again goes on.
/// Errors: [`fault::group_not_found`].
/// Source: API reference, DeleteGroup.
impl Operation for DeleteGroup {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        while !delete_some(cx, &pool.record.id, &input.group_name).await? {}
        Ok(())
    }
}

/// Groups in the order of their names; the service promises none.
/// Errors: [`fault::invalid_pagination_token`].
/// Source: API reference, ListGroups.
impl Operation for ListGroups {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let scope = ["ListGroups", pool.record.id.as_str()];
        let page = Page::of(cx, &scope, input.limit, input.next_token.as_deref())?;
        let found = cx
            .store
            .read((pool.record.id.clone(), page.after.clone(), page.fetch()), |(pool, after, limit), tx| {
                Box::pin(async move { Ok::<_, Error>(groups::list(tx, pool, after, *limit).await?) })
            })
            .await?;
        let (found, next_token) = page.cut(cx, found, |group| &group.name);
        Ok(ListGroupsResponse { groups: Some(found.iter().map(group_type).collect()), next_token })
    }
}

// ---- Members ---------------------------------------------------------------------------------

/// Adding twice is not an error.
/// Errors: [`fault::group_not_found`], [`fault::user_not_found`], [`fault::too_many_groups_of_user`].
/// Source: API reference, AdminAddUserToGroup; which of the two is looked for first is not known.
impl Operation for AdminAddUserToGroup {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let group = group(cx, &pool, &input.group_name).await?;
        let user = cx.user(&pool, &input.username).await?;
        cx.store
            .write((group, user), |(group, user), tx| {
                Box::pin(async move { join(tx, &group.pool, &group.name, &user.sub).await })
            })
            .await
    }
}

/// Removing who is not in the group is not an error.
/// Errors: [`fault::group_not_found`], [`fault::user_not_found`].
/// Source: API reference, AdminRemoveUserFromGroup.
impl Operation for AdminRemoveUserFromGroup {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let group = group(cx, &pool, &input.group_name).await?;
        let user = cx.user(&pool, &input.username).await?;
        cx.store
            .write((group, user), |(group, user), tx| {
                Box::pin(async move {
                    groups::leave(tx, &group.pool, &group.name, &user.sub).await?;
                    Ok(())
                })
            })
            .await
    }
}

/// Groups in the order of their names; the service promises none.
/// Errors: [`fault::user_not_found`], [`fault::invalid_pagination_token`].
/// Source: API reference, AdminListGroupsForUser.
impl Operation for AdminListGroupsForUser {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let user = cx.user(&pool, &input.username).await?;
        let scope = ["AdminListGroupsForUser", pool.record.id.as_str(), user.sub.as_str()];
        let page = Page::of(cx, &scope, input.limit, input.next_token.as_deref())?;
        let captures = (user.pool.clone(), user.sub.clone(), page.after.clone(), page.fetch());
        let found = cx
            .store
            .read(captures, |(pool, sub, after, limit), tx| {
                Box::pin(async move { Ok::<_, Error>(groups::of_user(tx, pool, sub, after, *limit).await?) })
            })
            .await?;
        let (found, next_token) = page.cut(cx, found, |group| &group.name);
        let groups = Some(found.iter().map(group_type).collect());
        Ok(AdminListGroupsForUserResponse { groups, next_token })
    }
}

/// Users in the order of their subs; the service promises none.
/// Errors: [`fault::group_not_found`], [`fault::invalid_pagination_token`].
/// Source: API reference, ListUsersInGroup.
impl Operation for ListUsersInGroup {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let scope = ["ListUsersInGroup", pool.record.id.as_str(), &input.group_name];
        let page = Page::of(cx, &scope, input.limit, input.next_token.as_deref())?;
        let captures = (pool.record.id.clone(), input.group_name.clone(), page.after.clone(), page.fetch());
        let found = cx
            .store
            .read(captures, |(pool, name, after, limit), tx| {
                Box::pin(async move {
                    if groups::get(tx, pool, name).await?.is_none() {
                        return Err(Error::from(fault::group_not_found()));
                    }
                    Ok(groups::members(tx, pool, name, after, *limit).await?)
                })
            })
            .await?;
        let (found, next_token) = page.cut(cx, found, |user| user.sub.as_str());
        Ok(ListUsersInGroupResponse { users: Some(found.iter().map(user_type).collect()), next_token })
    }
}

// ---- What they share -------------------------------------------------------------------------

/// The group of this name, if the pool has it.
pub(crate) async fn find(cx: &Cx, pool: &Pool, name: &str) -> Result<Option<Group>> {
    cx.store
        .read((pool.record.id.clone(), name.to_owned()), |(pool, name), tx| {
            Box::pin(async move { Ok(groups::get(tx, pool, name).await?) })
        })
        .await
}

/// Errors: [`fault::group_not_found`].
async fn group(cx: &Cx, pool: &Pool, name: &str) -> Result<Group> {
    find(cx, pool, name).await?.ok_or_else(|| fault::group_not_found().into())
}

/// Makes a group. The pool that `request` names is not looked at.
///
/// Errors: [`fault::group_exists`], [`fault::quota_exceeded`].
pub(crate) async fn create(cx: &Cx, pool: &Pool, request: CreateGroupRequest) -> Result<Group> {
    let now = cx.now();
    let group = Group {
        pool: pool.record.id.clone(),
        name: request.group_name,
        description: request.description,
        role_arn: request.role_arn,
        precedence: request.precedence,
        created: now,
        updated: now,
        revision: first_revision(cx),
    };
    cx.store
        .write(group, |group, tx| {
            Box::pin(async move {
                // The pool may have been deleted since it was read.
                if pools::revision(tx, &group.pool).await?.is_none() {
                    return Err(Error::Conflict);
                }
                if !groups::insert(tx, group).await? {
                    return Err(fault::group_exists().into());
                }
                if groups::count(tx, &group.pool).await? > MOST_GROUPS {
                    return Err(fault::quota_exceeded("groups of a user pool").into());
                }
                Ok(group.clone())
            })
        })
        .await
}

/// Ends up to [`REMOVED_AT_ONCE`] memberships of the group, and removes it where these were all; true when it is
/// gone.
///
/// Errors: [`fault::group_not_found`].
async fn delete_some(cx: &Cx, pool: &PoolId, name: &str) -> Result<bool> {
    cx.store
        .write((pool.clone(), name.to_owned()), |(pool, name), tx| {
            Box::pin(async move {
                let removed = groups::remove_members(tx, pool, name, REMOVED_AT_ONCE).await?;
                if i64::try_from(removed).unwrap_or(i64::MAX) >= REMOVED_AT_ONCE {
                    return Ok(false);
                }
                if groups::delete(tx, pool, name).await? {
                    Ok(true)
                } else {
                    Err(fault::group_not_found().into())
                }
            })
        })
        .await
}

/// Makes the user a member of the group; nothing happens where it is one, or where the user is gone.
///
/// Errors: [`fault::group_not_found`], [`fault::too_many_groups_of_user`]; the caller's write is undone.
pub(crate) async fn join(tx: &mut Tx, pool: &PoolId, name: &str, sub: &Sub) -> Result<()> {
    if groups::join(tx, pool, name, sub).await? {
        if groups::count_of_user(tx, pool, sub).await? > MOST_GROUPS_OF_USER {
            return Err(fault::too_many_groups_of_user(MOST_GROUPS_OF_USER).into());
        }
    } else if groups::get(tx, pool, name).await?.is_none() {
        return Err(fault::group_not_found().into());
    }
    Ok(())
}

/// A group as every operation shows it; what was never set is left out.
fn group_type(group: &Group) -> GroupType {
    GroupType {
        group_name: Some(group.name.clone()),
        user_pool_id: Some(group.pool.to_string()),
        description: group.description.clone(),
        role_arn: group.role_arn.clone(),
        precedence: group.precedence,
        last_modified_date: Some(Timestamp::from_millis(group.updated.0)),
        creation_date: Some(Timestamp::from_millis(group.created.0)),
    }
}

/// Which part of a list is asked for. `scope` is what [`paging`] binds a token to.
struct Page<'a> {
    scope: &'a [&'a str],
    /// The last entry of the page before; empty for the first.
    after: String,
    size: usize,
}

impl<'a> Page<'a> {
    /// Errors: [`fault::invalid_pagination_token`].
    fn of(cx: &Cx, scope: &'a [&'a str], limit: Option<i32>, token: Option<&str>) -> Result<Self> {
        let after = match token {
            Some(token) => paging::decode(cx, scope, token)?,
            None => String::new(),
        };
        Ok(Self { scope, after, size: page_size(limit) })
    }

    /// How many entries to read: one more than the page has tells whether there is a next one.
    fn fetch(&self) -> i64 {
        i64::try_from(self.size + 1).expect("a page is short")
    }

    /// The entries of the page, and the token of the next if there is one.
    fn cut<T>(&self, cx: &Cx, mut found: Vec<T>, position: impl Fn(&T) -> &str) -> (Vec<T>, Option<String>) {
        let more = found.len() > self.size;
        found.truncate(self.size);
        let token = found.last().filter(|_| more).map(|last| paging::encode(cx, self.scope, &position(last)));
        (found, token)
    }
}

fn page_size(limit: Option<i32>) -> usize {
    match usize::try_from(limit.unwrap_or_default()) {
        Ok(0) | Err(_) => PAGE,
        Ok(limit) => limit.min(PAGE),
    }
}

#[cfg(test)]
mod tests {
    use lido_domain::{Attributes, Millis, User, UserPool, UserStatus};
    use lido_store::{Options, Store, users};
    use lido_wire::types::{CreateUserPoolRequest, DeleteGroupRequest};

    use super::*;
    use crate::caller::Origin;
    use crate::ops::user_pools;
    use crate::seed::tests::context;

    #[tokio::test]
    async fn a_group_of_many_goes_with_all_its_members() {
        let cx = context().await;
        let request = CreateUserPoolRequest { pool_name: "pool".into(), ..Default::default() };
        let id = PoolId::new("local_1");
        let pool = user_pools::create(&cx, Some(id.clone()), "local", request).await.unwrap();
        let request = CreateGroupRequest { group_name: "all".into(), ..Default::default() };
        create(&cx, &pool, request).await.unwrap();
        let joined: Result<()> = cx
            .store
            .write(id.clone(), |id, tx| {
                Box::pin(async move {
                    for number in 0..=2 * REMOVED_AT_ONCE {
                        let user = user(id, &number.to_string());
                        users::insert(tx, &user).await?;
                        assert!(groups::join(tx, id, "all", &user.sub).await?);
                    }
                    Ok(())
                })
            })
            .await;
        joined.unwrap();

        let delete = || {
            let input = DeleteGroupRequest { user_pool_id: id.to_string(), group_name: "all".into() };
            DeleteGroup::run(&cx, Iam { origin: Origin::default() }, input)
        };
        delete().await.unwrap();
        let left = cx
            .store
            .read(id.clone(), |id, tx| {
                Box::pin(async move { groups::count_of_user(tx, id, &Sub::new("0")).await })
            })
            .await;
        assert_eq!(left.unwrap(), 0);
        assert!(matches!(delete().await, Err(Error::Fault(fault)) if fault == fault::group_not_found()));
    }

    fn user(pool: &PoolId, sub: &str) -> User {
        User {
            pool: pool.clone(),
            sub: Sub::new(sub),
            username: sub.into(),
            attributes: Attributes::new(),
            pending: Attributes::new(),
            status: UserStatus::Confirmed,
            enabled: true,
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

    #[tokio::test]
    async fn a_user_is_in_no_more_groups_than_the_quota_and_refused_whole() {
        let store = Store::open(Options::memory()).await.unwrap();
        let id = PoolId::new("local_pool");
        let user = user(&id, "ana");
        store
            .write((id.clone(), user), |(id, user), tx| {
                Box::pin(async move {
                    let pool = UserPool {
                        id: id.clone(),
                        name: "pool".into(),
                        settings: "{}".into(),
                        mfa: "{}".into(),
                        tags: Default::default(),
                        created: Millis(0),
                        updated: Millis(0),
                        revision: 1,
                    };
                    pools::insert(tx, &pool).await?;
                    users::insert(tx, user).await?;
                    for number in 0..=MOST_GROUPS_OF_USER {
                        let group = Group {
                            pool: id.clone(),
                            name: format!("g{number:03}"),
                            description: None,
                            role_arn: None,
                            precedence: None,
                            created: Millis(0),
                            updated: Millis(0),
                            revision: 1,
                        };
                        groups::insert(tx, &group).await?;
                    }
                    Ok::<_, Error>(())
                })
            })
            .await
            .unwrap();
        let add = async |name: &str| {
            let captures = (id.clone(), name.to_owned());
            store
                .write(captures, |(id, name), tx| {
                    Box::pin(async move { join(tx, id, name, &Sub::new("ana")).await })
                })
                .await
        };
        for number in 0..MOST_GROUPS_OF_USER {
            add(&format!("g{number:03}")).await.unwrap();
        }
        let refused = |answer: Result<()>| match answer {
            Err(Error::Fault(fault)) => fault,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(add("g100").await), fault::too_many_groups_of_user(100));
        assert_eq!(refused(add("none").await), fault::group_not_found());
        add("g099").await.unwrap();
        let count = store
            .read(id.clone(), |id, tx| {
                Box::pin(async move { groups::count_of_user(tx, id, &Sub::new("ana")).await })
            })
            .await
            .unwrap();
        assert_eq!(count, 100);
    }

    #[test]
    fn no_limit_and_zero_ask_for_the_longest_page() {
        for (limit, size) in [(None, 60), (Some(0), 60), (Some(1), 1), (Some(60), 60)] {
            assert_eq!(page_size(limit), size, "{limit:?}");
        }
    }
}
