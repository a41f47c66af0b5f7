//! Groups of a pool's users, and who is in them. A membership goes with its group and with its user; groups go
//! after their pool, see [`pools::purge`](crate::pools::purge).

use lido_domain::{Group, PoolId, Sub, User};

use crate::users::{columns as user_columns, user};
use crate::{Error, Result, Row, Tx, params};

macro_rules! columns {
    ($of:literal) => {
        concat!(
            $of,
            "pool_id, ",
            $of,
            "name, ",
            $of,
            "description, ",
            $of,
            "role_arn, ",
            $of,
            "precedence, ",
            $of,
            "created_ms, ",
            $of,
            "updated_ms, ",
            $of,
            "revision"
        )
    };
}

fn group(row: &Row<'_>) -> Result<Group> {
    Ok(Group {
        pool: PoolId::new(row.text(0)?),
        name: row.text(1)?,
        description: row.opt_text(2)?,
        role_arn: row.opt_text(3)?,
        precedence: row.opt_int(4)?.map(i32::try_from).transpose().map_err(Error::corrupt)?,
        created: row.millis(5)?,
        updated: row.millis(6)?,
        revision: row.int(7)?,
    })
}

pub async fn get(tx: &mut Tx, pool: &PoolId, name: &str) -> Result<Option<Group>> {
    tx.first(
        concat!("SELECT ", columns!(""), " FROM groups WHERE pool_id = $1 AND name = $2"),
        params![pool, name],
        group,
    )
    .await
}

/// False when the name is taken.
pub async fn insert(tx: &mut Tx, group: &Group) -> Result<bool> {
    let inserted = tx
        .exec(
            concat!(
                "INSERT INTO groups (",
                columns!(""),
                ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (pool_id, name) DO NOTHING"
            ),
            params![
                &group.pool,
                &group.name,
                group.description.as_deref(),
                group.role_arn.as_deref(),
                group.precedence,
                group.created,
                group.updated,
                group.revision
            ],
        )
        .await?;
    Ok(inserted == 1)
}

/// Replaces the group that was read at `group.revision`; false when it has changed since, or is gone.
pub async fn put(tx: &mut Tx, group: &Group) -> Result<bool> {
    let changed = tx
        .exec(
            "UPDATE groups SET description = $1, role_arn = $2, precedence = $3, updated_ms = $4, \
             revision = revision + 1 WHERE pool_id = $5 AND name = $6 AND revision = $7",
            params![
                group.description.as_deref(),
                group.role_arn.as_deref(),
                group.precedence,
                group.updated,
                &group.pool,
                &group.name,
                group.revision
            ],
        )
        .await?;
    Ok(changed == 1)
}

/// Removes the group and its memberships; false when there is none. A large group is emptied with
/// [`remove_members`] first.
pub async fn delete(tx: &mut Tx, pool: &PoolId, name: &str) -> Result<bool> {
    let deleted = tx.exec("DELETE FROM groups WHERE pool_id = $1 AND name = $2", params![pool, name]).await?;
    Ok(deleted == 1)
}

/// Groups of a pool in the order of their names, after `after`.
pub async fn list(tx: &mut Tx, pool: &PoolId, after: &str, limit: i64) -> Result<Vec<Group>> {
    tx.query(
        concat!(
            "SELECT ",
            columns!(""),
            " FROM groups WHERE pool_id = $1 AND name > $2 ORDER BY name LIMIT $3"
        ),
        params![pool, after, limit],
        group,
    )
    .await
}

/// How many groups the pool has.
pub async fn count(tx: &mut Tx, pool: &PoolId) -> Result<i64> {
    Ok(tx
        .first("SELECT count(*) FROM groups WHERE pool_id = $1", params![pool], |row| row.int(0))
        .await?
        .unwrap_or_default())
}

// ---- Members ---------------------------------------------------------------------------------

/// Makes the user a member; true when it was none. False, without an error, when it is one already, and when
/// the group or the user is gone.
pub async fn join(tx: &mut Tx, pool: &PoolId, name: &str, sub: &Sub) -> Result<bool> {
    let joined = tx
        .exec(
            "INSERT INTO group_members (pool_id, group_name, sub) SELECT g.pool_id, g.name, u.sub \
             FROM groups g JOIN users u ON u.pool_id = g.pool_id \
             WHERE g.pool_id = $1 AND g.name = $2 AND u.sub = $3 \
             ON CONFLICT (pool_id, group_name, sub) DO NOTHING",
            params![pool, name, sub],
        )
        .await?;
    Ok(joined == 1)
}

/// Ends the user's membership; false when there was none.
pub async fn leave(tx: &mut Tx, pool: &PoolId, name: &str, sub: &Sub) -> Result<bool> {
    let left = tx
        .exec(
            "DELETE FROM group_members WHERE pool_id = $1 AND group_name = $2 AND sub = $3",
            params![pool, name, sub],
        )
        .await?;
    Ok(left == 1)
}

/// Ends up to `batch` memberships of the group; returns how many.
pub async fn remove_members(tx: &mut Tx, pool: &PoolId, name: &str, batch: i64) -> Result<u64> {
    tx.exec(
        "DELETE FROM group_members WHERE pool_id = $1 AND group_name = $2 AND sub IN \
         (SELECT sub FROM group_members WHERE pool_id = $1 AND group_name = $2 ORDER BY sub LIMIT $3)",
        params![pool, name, batch],
    )
    .await
}

/// Groups that the user is in, in the order of their names, after `after`.
pub async fn of_user(tx: &mut Tx, pool: &PoolId, sub: &Sub, after: &str, limit: i64) -> Result<Vec<Group>> {
    tx.query(
        concat!(
            "SELECT ",
            columns!("g."),
            " FROM group_members m JOIN groups g ON g.pool_id = m.pool_id AND g.name = m.group_name \
             WHERE m.pool_id = $1 AND m.sub = $2 AND m.group_name > $3 ORDER BY m.group_name LIMIT $4"
        ),
        params![pool, sub, after, limit],
        group,
    )
    .await
}

/// How many groups the user is in.
pub async fn count_of_user(tx: &mut Tx, pool: &PoolId, sub: &Sub) -> Result<i64> {
    Ok(tx
        .first(
            "SELECT count(*) FROM group_members WHERE pool_id = $1 AND sub = $2",
            params![pool, sub],
            |row| row.int(0),
        )
        .await?
        .unwrap_or_default())
}

/// Members of a group in the order of their subs, after `after`.
pub async fn members(tx: &mut Tx, pool: &PoolId, name: &str, after: &str, limit: i64) -> Result<Vec<User>> {
    tx.query(
        concat!(
            "SELECT ",
            user_columns!("u."),
            " FROM group_members m JOIN users u ON u.pool_id = m.pool_id AND u.sub = m.sub \
             WHERE m.pool_id = $1 AND m.group_name = $2 AND m.sub > $3 ORDER BY m.sub LIMIT $4"
        ),
        params![pool, name, after, limit],
        user,
    )
    .await
}

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;
    use lido_domain::{Attributes, Millis, UserPool, UserStatus};

    use super::*;
    use crate::{Options, Store, pools, users};

    fn id() -> PoolId {
        PoolId::new("local_pool")
    }

    fn named(name: &str) -> Group {
        Group {
            pool: id(),
            name: name.into(),
            description: None,
            role_arn: None,
            precedence: Some(3),
            created: Millis(1),
            updated: Millis(1),
            revision: 7,
        }
    }

    fn user(sub: &str) -> User {
        User {
            pool: id(),
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

    /// A pool with the groups a, b, c and the users 1, 2, 3.
    async fn filled() -> Store {
        let store = Store::open(Options::memory()).await.unwrap();
        write(&store, |tx| {
            Box::pin(async move {
                let pool = UserPool {
                    id: id(),
                    name: "pool".into(),
                    settings: "{}".into(),
                    mfa: "{}".into(),
                    tags: Default::default(),
                    created: Millis(0),
                    updated: Millis(0),
                    revision: 1,
                };
                assert!(pools::insert(tx, &pool).await?);
                for name in ["b", "a", "c"] {
                    assert!(insert(tx, &named(name)).await?);
                }
                for sub in ["2", "1", "3"] {
                    users::insert(tx, &user(sub)).await?;
                }
                Ok(())
            })
        })
        .await;
        store
    }

    async fn write<T: Send + 'static>(
        store: &Store,
        body: impl for<'a> Fn(&'a mut Tx) -> BoxFuture<'a, Result<T>> + Send + Sync + 'static,
    ) -> T {
        store.write((), move |(), tx| body(tx)).await.unwrap()
    }

    fn names(groups: &[Group]) -> Vec<&str> {
        groups.iter().map(|group| group.name.as_str()).collect()
    }

    fn subs(users: &[User]) -> Vec<&str> {
        users.iter().map(|user| user.sub.as_str()).collect()
    }

    #[tokio::test]
    async fn a_name_is_given_once_and_a_stale_change_is_refused() {
        let store = filled().await;
        write(&store, |tx| {
            Box::pin(async move {
                assert!(!insert(tx, &named("a")).await?);
                let changed = Group { precedence: None, role_arn: Some("arn".into()), ..named("a") };
                assert!(put(tx, &changed).await?);
                assert!(!put(tx, &changed).await?);
                assert_eq!(get(tx, &id(), "a").await?, Some(Group { revision: 8, ..changed }));
                assert_eq!(count(tx, &id()).await?, 3);
                assert_eq!(names(&list(tx, &id(), "", 2).await?), ["a", "b"]);
                assert_eq!(names(&list(tx, &id(), "b", 2).await?), ["c"]);
                Ok(())
            })
        })
        .await;
    }

    #[tokio::test]
    async fn members_join_once_and_are_listed_in_order() {
        let store = filled().await;
        write(&store, |tx| {
            Box::pin(async move {
                for (group, sub) in [("b", "3"), ("b", "1"), ("b", "2"), ("a", "1"), ("c", "1")] {
                    assert!(join(tx, &id(), group, &Sub::new(sub)).await?);
                }
                assert!(!join(tx, &id(), "b", &Sub::new("1")).await?, "again");
                assert!(!join(tx, &id(), "none", &Sub::new("1")).await?);
                assert!(!join(tx, &id(), "b", &Sub::new("none")).await?);
                assert_eq!(subs(&members(tx, &id(), "b", "", 2).await?), ["1", "2"]);
                assert_eq!(subs(&members(tx, &id(), "b", "2", 2).await?), ["3"]);
                assert_eq!(names(&of_user(tx, &id(), &Sub::new("1"), "", 2).await?), ["a", "b"]);
                assert_eq!(names(&of_user(tx, &id(), &Sub::new("1"), "b", 2).await?), ["c"]);
                assert_eq!(count_of_user(tx, &id(), &Sub::new("1")).await?, 3);
                assert!(leave(tx, &id(), "b", &Sub::new("1")).await?);
                assert!(!leave(tx, &id(), "b", &Sub::new("1")).await?);
                assert_eq!(subs(&members(tx, &id(), "b", "", 9).await?), ["2", "3"]);
                Ok(())
            })
        })
        .await;
    }

    #[tokio::test]
    async fn memberships_go_with_the_user_and_the_group() {
        let store = filled().await;
        write(&store, |tx| {
            Box::pin(async move {
                for (group, sub) in [("a", "1"), ("a", "2"), ("b", "1"), ("b", "2"), ("c", "3")] {
                    join(tx, &id(), group, &Sub::new(sub)).await?;
                }
                users::delete(tx, &id(), &Sub::new("1")).await?;
                assert_eq!(subs(&members(tx, &id(), "a", "", 9).await?), ["2"]);
                assert!(delete(tx, &id(), "a").await?);
                assert!(!delete(tx, &id(), "a").await?);
                assert_eq!(names(&of_user(tx, &id(), &Sub::new("2"), "", 9).await?), ["b"]);
                Ok(())
            })
        })
        .await;
    }

    #[tokio::test]
    async fn a_group_is_emptied_in_batches_and_no_other_with_it() {
        let store = filled().await;
        write(&store, |tx| {
            Box::pin(async move {
                for (group, sub) in [("a", "1"), ("a", "2"), ("a", "3"), ("b", "1")] {
                    join(tx, &id(), group, &Sub::new(sub)).await?;
                }
                assert_eq!(remove_members(tx, &id(), "a", 2).await?, 2);
                assert_eq!(subs(&members(tx, &id(), "a", "", 9).await?), ["3"]);
                assert_eq!(remove_members(tx, &id(), "a", 2).await?, 1);
                assert_eq!(remove_members(tx, &id(), "a", 2).await?, 0);
                assert_eq!(subs(&members(tx, &id(), "b", "", 9).await?), ["1"]);
                assert!(get(tx, &id(), "a").await?.is_some());
                Ok(())
            })
        })
        .await;
    }
}
