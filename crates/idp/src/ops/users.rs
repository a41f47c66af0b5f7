//! Users as such: reading one, enabling, disabling and deleting it, taking attributes from it; and how
//! a changed user is stored.

use lido_domain::{PoolId, Sub, User, UserStatus};
use lido_store::users::SignInName;
use lido_store::{Tx, sessions, users};
use lido_wire::Timestamp;
use lido_wire::ops::{
    AdminDeleteUser, AdminDeleteUserAttributes, AdminDisableUser, AdminEnableUser, AdminGetUser, DeleteUser,
    DeleteUserAttributes, GetUser,
};
use lido_wire::types::{
    AdminDeleteUserAttributesResponse, AdminDisableUserResponse, AdminEnableUserResponse,
    AdminGetUserResponse, DeleteUserAttributesResponse, GetUserResponse, UserStatusType, UserType,
};

use crate::Operation;
use crate::attributes::{self, Writer};
use crate::caller::{Iam, SignedIn};
use crate::cx::Cx;
use crate::fault::{self, Error, Fault, Result};
use crate::ops::mfa;
use crate::pool::Pool;

// ---- Storing a changed user ------------------------------------------------------------------

/// Stores a changed user together with the names that sign it in. `before` is the user as it was read.
///
/// Errors: [`Error::Conflict`] when somebody changed the user in between; [`fault::alias_exists`] when
/// another user holds one of the new names.
pub(crate) async fn save(cx: &Cx, pool: &Pool, before: User, after: User) -> Result<()> {
    let names_before = pool.sign_in_names(&before);
    let names_after = pool.sign_in_names(&after);
    cx.store
        .write(
            (before, after, names_before, names_after),
            |(before, after, names_before, names_after), tx| {
                Box::pin(async move {
                    if !users::put(tx, before, after).await? {
                        return Err(Error::Conflict);
                    }
                    rename(tx, &after.pool, &after.sub, names_before, names_after).await
                })
            },
        )
        .await
}

/// Gives the user the names of `after` that `before` does not have, and takes those that are gone. Both
/// are what [`Pool::sign_in_names`] tells, so that there is at most one of a kind.
///
/// Errors: [`fault::alias_exists`] when another user holds one of them; the caller's write is undone.
pub(crate) async fn rename(
    tx: &mut Tx,
    pool: &PoolId,
    sub: &Sub,
    before: &[SignInName],
    after: &[SignInName],
) -> Result<()> {
    for gone in before.iter().filter(|name| !after.contains(name)) {
        // By kind, not by name: what was moved to another user by force stays there.
        users::release_kind(tx, pool, sub, gone.kind).await?;
    }
    for new in after.iter().filter(|name| !before.contains(name)) {
        if !users::claim(tx, pool, sub, new).await? {
            return Err(fault::alias_exists(new.kind).into());
        }
    }
    Ok(())
}

/// For the operations that do not know AliasExistsException: a taken alias is a bad parameter.
pub(crate) fn alias_as_parameter(error: Error) -> Error {
    match error {
        Error::Fault(Fault { code: "AliasExistsException", message: Some(message), .. }) => {
            fault::invalid_parameter(message).into()
        }
        other => other,
    }
}

// ---- What a client sees of a user ------------------------------------------------------------

pub(crate) fn status(status: UserStatus) -> UserStatusType {
    match status {
        UserStatus::Unconfirmed => UserStatusType::Unconfirmed,
        UserStatus::Confirmed => UserStatusType::Confirmed,
        UserStatus::ExternalProvider => UserStatusType::ExternalProvider,
        UserStatus::ResetRequired => UserStatusType::ResetRequired,
        UserStatus::ForceChangePassword => UserStatusType::ForceChangePassword,
    }
}

/// A user as AdminCreateUser and the lists answer it, with all attributes.
pub(crate) fn user_type(user: &User) -> UserType {
    UserType {
        username: Some(user.username.as_str().into()),
        attributes: Some(attributes::to_wire(user)),
        user_create_date: Some(Timestamp::from_millis(user.created.0)),
        user_last_modified_date: Some(Timestamp::from_millis(user.updated.0)),
        enabled: Some(user.enabled),
        user_status: Some(status(user.status)),
        mfa_options: mfa::options(user),
    }
}

/// All attributes of a user, under `UserAttributes` where the lists say `Attributes`.
/// Errors: [`fault::user_not_found`].
/// Source: API reference, AdminGetUser.
impl Operation for AdminGetUser {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let user = cx.user(&pool, &input.username).await?;
        Ok(AdminGetUserResponse {
            username: user.username.as_str().into(),
            user_attributes: Some(attributes::to_wire(&user)),
            user_create_date: Some(Timestamp::from_millis(user.created.0)),
            user_last_modified_date: Some(Timestamp::from_millis(user.updated.0)),
            enabled: Some(user.enabled),
            user_status: Some(status(user.status)),
            mfa_options: mfa::options(&user),
            preferred_mfa_setting: mfa::preferred(&user),
            user_mfa_setting_list: mfa::setting_list(&user),
        })
    }
}

/// The attributes that the token's client may read.
/// Source: API reference, GetUser; ReadAttributes.
impl Operation for GetUser {
    type Caller = SignedIn;

    async fn run(_cx: &Cx, caller: SignedIn, _input: Self::Input) -> Result<Self::Output> {
        caller.require_settled()?;
        Ok(GetUserResponse {
            username: caller.user.username.as_str().into(),
            user_attributes: attributes::readable(&caller.client, &caller.user),
            mfa_options: mfa::options(&caller.user),
            preferred_mfa_setting: mfa::preferred(&caller.user),
            user_mfa_setting_list: mfa::setting_list(&caller.user),
        })
    }
}

// ---- Enabling and disabling ------------------------------------------------------------------

/// Enabling a user that is enabled changes nothing and is not an error.
/// Errors: [`fault::user_not_found`].
/// Source: API reference, AdminEnableUser.
impl Operation for AdminEnableUser {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let user = cx.user(&pool, &input.username).await?;
        if !user.enabled {
            let enabled = User { enabled: true, updated: cx.now(), ..user.clone() };
            save(cx, &pool, user, enabled).await?;
        }
        Ok(AdminEnableUserResponse {})
    }
}

/// Ends every sign-in of the user and lets none begin. Disabling twice is not an error.
/// Errors: [`fault::user_not_found`].
/// Source: API reference, AdminDisableUser: access and refresh tokens are revoked.
impl Operation for AdminDisableUser {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let user = cx.user(&pool, &input.username).await?;
        if user.enabled {
            let now = cx.now();
            let disabled = User { enabled: false, updated: now, signed_out: now, ..user.clone() };
            cx.store
                .write((user, disabled), |(user, disabled), tx| {
                    Box::pin(async move {
                        if !users::put(tx, user, disabled).await? {
                            return Err(Error::Conflict);
                        }
                        sessions::revoke_all(tx, &disabled.pool, &disabled.sub, disabled.signed_out).await?;
                        Ok(())
                    })
                })
                .await?;
        }
        Ok(AdminDisableUserResponse {})
    }
}

// ---- Deleting --------------------------------------------------------------------------------

/// Errors: [`fault::user_not_found`].
/// Source: API reference, AdminDeleteUser.
impl Operation for AdminDeleteUser {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let user = cx.user(&pool, &input.username).await?;
        delete(cx, user).await
    }
}

/// Source: API reference, DeleteUser.
impl Operation for DeleteUser {
    type Caller = SignedIn;

    async fn run(cx: &Cx, caller: SignedIn, _input: Self::Input) -> Result<Self::Output> {
        caller.require_settled()?;
        delete(cx, caller.user).await
    }
}

/// The user, its names, sign-ins and codes.
async fn delete(cx: &Cx, user: User) -> Result<()> {
    cx.store
        .write((user.pool, user.sub), |(pool, sub), tx| {
            Box::pin(async move {
                if users::delete(tx, pool, sub).await? { Ok(()) } else { Err(fault::user_not_found().into()) }
            })
        })
        .await
}

// ---- Deleting attributes ---------------------------------------------------------------------

/// Deleting what is not there is not an error.
/// Errors: [`fault::user_not_found`], and those of [`attributes::for_removal`].
/// Source: API reference, AdminDeleteUserAttributes.
impl Operation for AdminDeleteUserAttributes {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let user = cx.user(&pool, &input.username).await?;
        let names = attributes::for_removal(&pool, Writer::Administrator, &input.user_attribute_names)?;
        delete_attributes(cx, &pool, user, &names).await?;
        Ok(AdminDeleteUserAttributesResponse {})
    }
}

/// The same by the user, for attributes that the token's client may write.
/// Errors: those of [`attributes::for_removal`].
/// Source: API reference, DeleteUserAttributes.
impl Operation for DeleteUserAttributes {
    type Caller = SignedIn;

    async fn run(cx: &Cx, caller: SignedIn, input: Self::Input) -> Result<Self::Output> {
        caller.require_settled()?;
        let writer = Writer::Client(&caller.client);
        let names = attributes::for_removal(&caller.pool, writer, &input.user_attribute_names)?;
        delete_attributes(cx, &caller.pool, caller.user, &names).await?;
        Ok(DeleteUserAttributesResponse {})
    }
}

async fn delete_attributes(cx: &Cx, pool: &Pool, before: User, names: &[String]) -> Result<()> {
    let mut after = before.clone();
    attributes::remove(&mut after, names);
    if after == before {
        return Ok(());
    }
    after.updated = cx.now();
    save(cx, pool, before, after).await
}

#[cfg(test)]
mod tests {
    use lido_domain::{Attributes, Millis};
    use lido_store::{Options, Store};

    use super::*;

    fn user(sub: &str) -> User {
        User {
            pool: PoolId::new("local_pool"),
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

    fn name(kind: &'static str, name: &str) -> SignInName {
        SignInName { kind, name: name.into() }
    }

    async fn renamed(
        store: &Store,
        sub: &str,
        before: Vec<SignInName>,
        after: Vec<SignInName>,
    ) -> Result<()> {
        store
            .write(
                (PoolId::new("local_pool"), Sub::new(sub), before, after),
                |(pool, sub, before, after), tx| {
                    Box::pin(async move { rename(tx, pool, sub, before, after).await })
                },
            )
            .await
    }

    async fn holder(store: &Store, name: SignInName) -> Option<Sub> {
        store
            .read((PoolId::new("local_pool"), name), |(pool, name), tx| {
                Box::pin(async move { users::holder(tx, pool, name).await })
            })
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn names_follow_a_user_and_a_taken_one_is_refused_whole() {
        let store = Store::open(Options::memory()).await.unwrap();
        store
            .write((user("ana"), user("bo")), |(ana, bo), tx| {
                Box::pin(async move {
                    users::insert(tx, ana).await?;
                    users::insert(tx, bo).await
                })
            })
            .await
            .unwrap();
        let (ana_name, bo_name) = (name("username", "ana"), name("username", "bo"));
        let (old, new) = (name("email", "old@example.com"), name("email", "new@example.com"));
        let phone = name("phone_number", "+1");
        renamed(&store, "ana", vec![], vec![ana_name.clone(), old.clone()]).await.unwrap();
        renamed(&store, "bo", vec![], vec![bo_name.clone(), phone.clone()]).await.unwrap();

        renamed(&store, "ana", vec![ana_name.clone(), old.clone()], vec![ana_name.clone(), new.clone()])
            .await
            .unwrap();
        assert_eq!(holder(&store, old.clone()).await, None);
        assert_eq!(holder(&store, new.clone()).await, Some(Sub::new("ana")));

        let taken = vec![bo_name.clone(), new.clone()];
        match renamed(&store, "bo", vec![bo_name.clone(), phone.clone()], taken).await {
            Err(Error::Fault(fault)) => assert_eq!(fault, fault::alias_exists("email")),
            other => panic!("{other:?}"),
        }
        assert_eq!(holder(&store, phone).await, Some(Sub::new("bo")), "the write is undone as a whole");

        // A name that somebody else has taken over is not taken from them.
        renamed(&store, "bo", vec![bo_name.clone(), new.clone()], vec![bo_name]).await.unwrap();
        assert_eq!(holder(&store, new).await, Some(Sub::new("ana")));
    }

    #[test]
    fn every_status_is_spelled_alike_in_store_and_wire() {
        for each in UserStatus::ALL {
            assert_eq!(status(each).as_str(), each.as_str());
        }
    }
}
