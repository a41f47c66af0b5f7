//! Every function of the record files, on every engine: each statement is prepared, bound and read there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use futures_util::future::BoxFuture;
use lido_domain::records::{SealedSecret, SigningKey, TokenSession, TokenUse};
use lido_domain::{
    AppClient, Attributes, ClientId, Group, Medium, MfaFactor, MfaSettings, Millis, PoolId, Sub, User,
    UserPool, UserStatus,
};
use lido_store::data_keys::{self, DataKey, Wrapped};
use lido_store::messages::{self, InboxQuery, Outgoing, Received};
use lido_store::search::{self, After, Range};
use lido_store::sessions::{self, Exchange, Exchanged, Proven, RefreshToken};
use lido_store::users::{self, SignInName};
use lido_store::{
    Result, Store, Tx, clients, codes, groups, installation, keys, limits, pools, sealed, transfer,
};

use crate::Place;

const HOUR: i64 = 60 * 60 * 1000;

/// Runs the test on every engine, with the schema of the release.
async fn on_each<F: Future<Output = ()>>(test: impl Fn(Store) -> F) {
    for place in Place::each().await {
        let store = Store::open(place.options.clone()).await.unwrap();
        test(store.clone()).await;
        store.close().await;
        place.remove().await;
    }
}

/// A write that succeeds. The body may run more than once.
async fn write<T: Send + 'static>(
    store: &Store,
    body: impl for<'a> Fn(&'a mut Tx) -> BoxFuture<'a, Result<T>> + Send + Sync + 'static,
) -> T {
    store.write((), move |(), tx| body(tx)).await.unwrap()
}

/// A read that succeeds.
async fn read<T: Send + 'static>(
    store: &Store,
    body: impl for<'a> Fn(&'a mut Tx) -> BoxFuture<'a, Result<T>> + Send + Sync + 'static,
) -> T {
    store.read((), move |(), tx| body(tx)).await.unwrap()
}

fn id() -> PoolId {
    PoolId::new("local_pool")
}

fn pool() -> UserPool {
    UserPool {
        id: id(),
        name: "Größe 'x'".into(),
        settings: r#"{"Policies":{"n":1}}"#.into(),
        mfa: "{}".into(),
        tags: BTreeMap::from([("k".to_owned(), "\"v\"".to_owned())]),
        created: Millis(1),
        updated: Millis(2),
        revision: 1,
    }
}

fn client(name: &str, secret: Option<Vec<u8>>) -> AppClient {
    AppClient {
        pool: id(),
        id: ClientId::new(name),
        name: name.into(),
        settings: "{}".into(),
        sealed_secret: secret,
        secret_created: None,
        second_secret: None,
        created: Millis(1),
        updated: Millis(1),
        revision: 1,
    }
}

fn user(sub: &str) -> User {
    User {
        pool: id(),
        sub: Sub::new(sub),
        username: format!("name of {sub}"),
        attributes: Attributes::from([
            ("email".to_owned(), format!("{sub}@Example.com")),
            ("name".to_owned(), "Ä\0".to_owned()),
        ]),
        pending: Attributes::new(),
        status: UserStatus::Confirmed,
        enabled: true,
        created: Millis(1),
        updated: Millis(1),
        password: Some(vec![0, 255, 7]),
        password_set: Millis(1),
        password_history: None,
        signed_out: Millis(0),
        mfa: Default::default(),
        totp_secret: None,
        totp_pending: None,
        revision: 1,
    }
}

fn named(kind: &'static str, name: &str) -> SignInName {
    SignInName { kind, name: name.into() }
}

/// A pool with the client `web` and the users 1 to 3, each with a user name.
async fn fill(store: &Store) {
    write(store, |tx| {
        Box::pin(async move {
            assert!(pools::insert(tx, &pool()).await?);
            assert!(clients::insert(tx, &client("web", None)).await?);
            for sub in ["3", "1", "2"] {
                let user = user(sub);
                users::insert(tx, &user).await?;
                assert!(users::claim(tx, &id(), &user.sub, &named("username", &user.username)).await?);
            }
            Ok(())
        })
    })
    .await;
}

fn subs(found: &[(String, User)]) -> Vec<&str> {
    found.iter().map(|(_, user)| user.sub.as_str()).collect()
}

#[tokio::test]
async fn pools_come_and_go() {
    on_each(|store| async move {
        fill(&store).await;
        write(&store, |tx| {
            Box::pin(async move {
                assert!(!pools::insert(tx, &pool()).await?, "the id is taken");
                assert_eq!(pools::get(tx, &id()).await?, Some(pool()));
                assert_eq!(pools::revision(tx, &id()).await?, Some(1));
                assert!(pools::put(tx, &UserPool { name: "other".into(), ..pool() }).await?);
                assert!(!pools::put(tx, &pool()).await?, "it has changed since");
                let other = UserPool { id: PoolId::new("local_z"), ..pool() };
                assert!(pools::insert(tx, &other).await?);
                let listed = pools::list(tx, "", 10).await?;
                assert_eq!(
                    listed.iter().map(|pool| pool.id.as_str()).collect::<Vec<_>>(),
                    ["local_pool", "local_z"]
                );
                assert_eq!(pools::list(tx, "local_pool", 10).await?.len(), 1);
                assert_eq!(pools::user_count(tx, &id()).await?, 3);
                assert!(!pools::delete(tx, &id(), 1, Millis(3)).await?);
                assert!(pools::delete(tx, &id(), 2, Millis(3)).await?);
                assert_eq!(pools::deleted(tx).await?, [id()]);
                assert!(!pools::insert(tx, &pool()).await?, "its users are still there");
                assert!(!pools::purge(tx, &id(), 2).await?);
                assert!(pools::purge(tx, &id(), 2).await?);
                assert_eq!(pools::deleted(tx).await?, []);
                assert!(pools::purge(tx, &other.id, 2).await?, "it was not deleted");
                assert!(pools::insert(tx, &pool()).await?);
                Ok(())
            })
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn clients_belong_to_a_pool() {
    on_each(|store| async move {
        fill(&store).await;
        write(&store, |tx| {
            Box::pin(async move {
                let secret = client("with", Some(vec![1, 0, 2]));
                assert!(clients::insert(tx, &secret).await?);
                assert!(!clients::insert(tx, &secret).await?);
                assert_eq!(clients::by_id(tx, &secret.id).await?, Some(secret.clone()));
                let revisions = clients::revisions(tx, &secret.id).await?.unwrap();
                assert_eq!((revisions.pool_id, revisions.client, revisions.pool), (id(), 1, 1));
                assert!(clients::put(tx, &AppClient { sealed_secret: None, ..secret.clone() }).await?);
                assert!(!clients::put(tx, &secret).await?);
                let without = clients::by_id(tx, &secret.id).await?.unwrap();
                assert_eq!(without.sealed_secret, None);
                let two = AppClient {
                    sealed_secret: Some(vec![3]),
                    secret_created: Some(Millis(4)),
                    second_secret: Some(SealedSecret { sealed: vec![5, 0], created: Millis(6) }),
                    ..without
                };
                assert!(clients::put(tx, &two).await?);
                let two = AppClient { revision: two.revision + 1, ..two };
                assert_eq!(clients::by_id(tx, &two.id).await?, Some(two.clone()));
                let other = AppClient { id: ClientId::new("with_two"), ..two };
                assert!(clients::insert(tx, &other).await?);
                assert_eq!(clients::by_id(tx, &other.id).await?, Some(other.clone()));
                assert!(clients::delete(tx, &id(), &other.id).await?);
                let listed = clients::list(tx, &id(), "web", 10).await?;
                assert_eq!(listed.iter().map(|client| client.id.as_str()).collect::<Vec<_>>(), ["with"]);
                assert_eq!(clients::count(tx, &id()).await?, 2);
                assert!(clients::delete(tx, &id(), &secret.id).await?);
                assert!(!clients::delete(tx, &id(), &secret.id).await?);
                Ok(())
            })
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn signing_keys_are_announced_promoted_and_retired() {
    fn key(kid: &str, created: i64) -> SigningKey {
        SigningKey {
            pool: id(),
            token_use: TokenUse::Access,
            kid: kid.into(),
            modulus: "AQAB".into(),
            sealed_private: vec![9, 0],
            created: Millis(created),
            active: Some(Millis(created)),
            retired: None,
        }
    }
    on_each(|store| async move {
        fill(&store).await;
        write(&store, |tx| {
            Box::pin(async move {
                assert!(keys::insert_once(tx, &key("a", 1)).await?);
                assert!(!keys::insert_once(tx, &key("b", 2)).await?, "one is current");
                assert!(!keys::promote(tx, &id(), TokenUse::Access, Millis(2)).await?);
                assert!(keys::announce(tx, &key("b", 2)).await?);
                assert!(!keys::announce(tx, &key("c", 2)).await?);
                keys::remove_announced(tx, &id(), TokenUse::Access).await?;
                assert!(keys::announce(tx, &key("b", 2)).await?);
                assert!(keys::promote(tx, &id(), TokenUse::Access, Millis(3)).await?);
                assert!(keys::changed(tx, &id()).await?);
                assert_eq!(pools::revision(tx, &id()).await?, Some(2));
                let stored = keys::of_pool(tx, &id()).await?;
                let retired = SigningKey { retired: Some(Millis(3)), ..key("a", 1) };
                assert_eq!(stored, [SigningKey { active: Some(Millis(3)), ..key("b", 2) }, retired]);
                assert_eq!(keys::sweep(tx, Millis(3), 10).await?, 0);
                assert_eq!(keys::sweep(tx, Millis(4), 10).await?, 1);
                assert!(keys::announce(tx, &key("c", 4)).await?);
                assert!(keys::promote(tx, &id(), TokenUse::Access, Millis(5)).await?);
                keys::remove_retired(tx, &id(), TokenUse::Access).await?;
                assert_eq!(keys::of_pool(tx, &id()).await?.len(), 1);
                Ok(())
            })
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn users_have_names_and_are_found() {
    on_each(|store| async move {
        fill(&store).await;
        write(&store, |tx| {
            Box::pin(async move {
                let (one, two) = (Sub::new("1"), Sub::new("2"));
                assert_eq!(users::by_sub(tx, &id(), &one).await?, Some(user("1")));
                assert_eq!(users::by_sub(tx, &id(), &Sub::new("none")).await?, None);
                let email = named("email", "1@example.com");
                assert!(users::claim(tx, &id(), &one, &email).await?);
                assert!(users::claim(tx, &id(), &one, &email).await?, "it is one's own");
                assert!(!users::claim(tx, &id(), &two, &email).await?);
                assert!(!users::claim(tx, &id(), &two, &named("email", "1")).await?, "somebody's sub");
                assert_eq!(users::holder(tx, &id(), &email).await?, Some(one.clone()));
                assert_eq!(users::by_name(tx, &id(), "1@example.com").await?, Some(user("1")));
                assert_eq!(users::by_name(tx, &id(), "name of 2").await?, Some(user("2")));
                users::release(tx, &id(), &email).await?;
                assert!(users::claim(tx, &id(), &two, &email).await?);
                users::release_kind(tx, &id(), &two, "email").await?;
                assert_eq!(users::holder(tx, &id(), &email).await?, None);

                let changed = User {
                    attributes: Attributes::from([("email".to_owned(), "b@example.com".to_owned())]),
                    pending: Attributes::from([("phone_number".to_owned(), "+1".to_owned())]),
                    status: UserStatus::ResetRequired,
                    enabled: false,
                    password: None,
                    password_history: Some(vec![0; 3]),
                    mfa: MfaSettings {
                        enabled: [MfaFactor::SmsMfa, MfaFactor::SoftwareTokenMfa].into(),
                        preferred: Some(MfaFactor::SmsMfa),
                        token_name: Some("phone".into()),
                    },
                    totp_secret: Some(vec![1, 0]),
                    totp_pending: Some(vec![2, 0]),
                    ..user("2")
                };
                assert!(users::put(tx, &user("2"), &changed).await?);
                assert!(!users::put(tx, &user("2"), &changed).await?);
                assert_eq!(users::by_sub(tx, &id(), &two).await?, Some(User { revision: 2, ..changed }));
                users::sign_out(tx, &id(), &two, Millis(9)).await?;
                let signed_out = users::by_sub(tx, &id(), &two).await?.unwrap();
                assert_eq!((signed_out.signed_out, signed_out.revision), (Millis(9), 3));

                assert_eq!(users::totp_step(tx, &id(), &two).await?, Some(0));
                assert!(users::use_totp_step(tx, &id(), &two, 7).await?);
                for used in [6, 7] {
                    assert!(!users::use_totp_step(tx, &id(), &two, used).await?, "once, and none before it");
                }
                assert!(users::use_totp_step(tx, &id(), &two, 8).await?);
                users::set_totp_step(tx, &id(), &two, 3).await?;
                assert_eq!(users::totp_step(tx, &id(), &two).await?, Some(3));
                assert_eq!(users::totp_step(tx, &id(), &Sub::new("none")).await?, None);
                assert_eq!(
                    users::by_sub(tx, &id(), &two).await?.unwrap().revision,
                    3,
                    "no change of the user"
                );
                Ok(())
            })
        })
        .await;
        read(&store, |tx| {
            Box::pin(async move {
                let start = After::default();
                let from = |sub: &str| After { sub: sub.into(), ..After::default() };
                assert_eq!(subs(&search::all(tx, &id(), &start, 2).await?), ["1", "2"]);
                assert_eq!(subs(&search::all(tx, &id(), &from("2"), 2).await?), ["3"]);
                assert_eq!(subs(&search::by_sub(tx, &id(), &Range::exactly("2"), &start, 9).await?), ["2"]);
                assert_eq!(
                    subs(&search::by_sub(tx, &id(), &Range::prefix(""), &from("1"), 9).await?),
                    ["2", "3"]
                );
                assert_eq!(subs(&search::by_status(tx, &id(), "RESET_REQUIRED", &start, 9).await?), ["2"]);
                assert_eq!(subs(&search::by_enabled(tx, &id(), true, &start, 9).await?), ["1", "3"]);
                let names = search::by_username(tx, &id(), &Range::prefix("name of "), &start, 2).await?;
                assert_eq!(subs(&names), ["1", "2"]);
                let after = After { value: names[1].0.clone(), ..start.clone() };
                let names = search::by_username(tx, &id(), &Range::prefix("name of "), &after, 2).await?;
                assert_eq!(subs(&names), ["3"]);
                let range = Range::prefix("");
                let found = search::by_attribute(tx, &id(), "email", &range, &start, 2).await?;
                assert_eq!((subs(&found), found[0].0.as_str()), (vec!["1", "3"], "1@example.com"));
                let after = After { value: found[1].0.clone(), sub: "3".into() };
                let found = search::by_attribute(tx, &id(), "email", &range, &after, 2).await?;
                assert_eq!(subs(&found), ["2"]);
                let range = Range::exactly("3@example.com");
                assert_eq!(subs(&search::by_attribute(tx, &id(), "email", &range, &start, 2).await?), ["3"]);
                Ok(())
            })
        })
        .await;
        write(&store, |tx| {
            Box::pin(async move {
                assert!(users::delete(tx, &id(), &Sub::new("1")).await?);
                assert!(!users::delete(tx, &id(), &Sub::new("1")).await?);
                assert_eq!(users::by_name(tx, &id(), "name of 1").await?, None);
                assert_eq!(
                    search::by_attribute(tx, &id(), "email", &Range::prefix("1"), &After::default(), 9)
                        .await?,
                    []
                );
                Ok(())
            })
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn groups_have_members() {
    fn group(name: &str) -> Group {
        Group {
            pool: id(),
            name: name.into(),
            description: Some("d".into()),
            role_arn: None,
            precedence: Some(0),
            created: Millis(1),
            updated: Millis(1),
            revision: 1,
        }
    }
    on_each(|store| async move {
        fill(&store).await;
        write(&store, |tx| {
            Box::pin(async move {
                for name in ["b", "a"] {
                    assert!(groups::insert(tx, &group(name)).await?);
                    assert!(!groups::insert(tx, &group(name)).await?);
                }
                assert_eq!(groups::get(tx, &id(), "a").await?, Some(group("a")));
                assert!(groups::put(tx, &Group { precedence: None, ..group("a") }).await?);
                assert!(!groups::put(tx, &group("a")).await?);
                assert_eq!(groups::list(tx, &id(), "a", 9).await?, [group("b")]);
                assert_eq!(groups::count(tx, &id()).await?, 2);
                for sub in ["1", "2", "3"] {
                    assert!(groups::join(tx, &id(), "b", &Sub::new(sub)).await?);
                    assert!(!groups::join(tx, &id(), "b", &Sub::new(sub)).await?);
                }
                assert!(!groups::join(tx, &id(), "none", &Sub::new("1")).await?);
                let members = groups::members(tx, &id(), "b", "1", 9).await?;
                assert_eq!(members, [user("2"), user("3")]);
                assert_eq!(groups::of_user(tx, &id(), &Sub::new("1"), "", 9).await?, [group("b")]);
                assert_eq!(groups::count_of_user(tx, &id(), &Sub::new("1")).await?, 1);
                assert!(groups::leave(tx, &id(), "b", &Sub::new("1")).await?);
                assert!(!groups::leave(tx, &id(), "b", &Sub::new("1")).await?);
                assert_eq!(groups::remove_members(tx, &id(), "b", 1).await?, 1);
                assert!(groups::delete(tx, &id(), "b").await?);
                assert!(!groups::delete(tx, &id(), "b").await?);
                assert_eq!(groups::count_of_user(tx, &id(), &Sub::new("3")).await?, 0);
                Ok(())
            })
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn codes_are_redeemed_once_and_attempts_counted() {
    fn code(digest: u8) -> codes::Code {
        codes::Code {
            purpose: "verify:email".into(),
            digest: [digest; 32],
            target: "email=a".into(),
            expires: Millis(100),
        }
    }
    fn attempt(digest: u8, now: i64) -> codes::Attempt {
        let codes::Code { purpose, digest, target, .. } = code(digest);
        codes::Attempt { purpose, digest, target, now: Millis(now), max_attempts: 2 }
    }
    on_each(|store| async move {
        fill(&store).await;
        write(&store, |tx| {
            Box::pin(async move {
                use codes::Redeemed::{Absent, Exhausted, Right, Wrong};
                let sub = Sub::new("1");
                codes::put(tx, &id(), &sub, &code(1)).await?;
                codes::put(tx, &id(), &sub, &code(2)).await?;
                assert!(!codes::would_redeem(tx, &id(), &sub, &attempt(1, 1)).await?, "it was replaced");
                assert!(codes::would_redeem(tx, &id(), &sub, &attempt(2, 1)).await?);
                let target = codes::target(tx, &id(), &sub, "verify:email", Millis(1)).await?;
                assert_eq!(target.as_deref(), Some("email=a"));
                assert_eq!(codes::redeem(tx, &id(), &sub, &attempt(1, 1)).await?, Wrong);
                assert_eq!(codes::redeem(tx, &id(), &sub, &attempt(2, 100)).await?, Absent, "it has expired");
                assert_eq!(codes::redeem(tx, &id(), &sub, &attempt(2, 1)).await?, Right);
                assert_eq!(codes::redeem(tx, &id(), &sub, &attempt(2, 1)).await?, Absent);
                codes::put(tx, &id(), &sub, &code(3)).await?;
                for expected in [Wrong, Wrong, Exhausted] {
                    assert_eq!(codes::redeem(tx, &id(), &sub, &attempt(9, 1)).await?, expected);
                }
                assert_eq!(codes::redeem(tx, &id(), &sub, &attempt(3, 1)).await?, Exhausted);
                codes::void(tx, &id(), &sub, "verify:email", &[9; 32]).await?;
                assert!(codes::target(tx, &id(), &sub, "verify:email", Millis(1)).await?.is_some());
                codes::void(tx, &id(), &sub, "verify:email", &[3; 32]).await?;
                assert_eq!(codes::target(tx, &id(), &sub, "verify:email", Millis(1)).await?, None);
                codes::put(tx, &id(), &sub, &code(4)).await?;
                codes::clear(tx, &id(), &sub, "verify:email").await?;
                codes::put(tx, &id(), &sub, &code(5)).await?;
                assert_eq!(codes::sweep(tx, Millis(100), 10).await?, 0);
                assert_eq!(codes::sweep(tx, Millis(101), 10).await?, 1);
                Ok(())
            })
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn failures_lock_and_actions_are_counted() {
    on_each(|store| async move {
        write(&store, |tx| {
            Box::pin(async move {
                let start = 100 * HOUR;
                for _ in 0..5 {
                    assert!(limits::count_failure(tx, &id(), "ana", Millis(start)).await?);
                }
                assert!(!limits::count_failure(tx, &id(), "ana", Millis(start)).await?, "it is locked");
                let until = limits::locked_until(tx, &id(), "ana", Millis(start)).await?;
                assert_eq!(until, Some(Millis(start + 1000)));
                assert_eq!(limits::locked_until(tx, &id(), "ana", Millis(start + 1000)).await?, None);
                limits::clear_failures(tx, &id(), "ana").await?;
                assert_eq!(limits::locked_until(tx, &id(), "ana", Millis(start)).await?, None);
                assert!(limits::count_failure(tx, &id(), "ana", Millis(start)).await?);
                for expected in [true, true, false] {
                    let counted = limits::count_hourly(tx, &id(), "ana", "send", 2, Millis(start)).await?;
                    assert_eq!(counted, expected);
                }
                assert!(limits::count_hourly(tx, &id(), "ana", "send", 2, Millis(start + HOUR)).await?);
                assert_eq!(limits::sweep(tx, Millis(start), 10).await?, 0);
                assert_eq!(limits::sweep(tx, Millis(start + 3 * HOUR), 10).await?, 2);
                Ok(())
            })
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn sign_ins_stand_until_they_are_revoked() {
    fn session(origin: &str) -> TokenSession {
        TokenSession {
            pool: id(),
            client: ClientId::new("web"),
            sub: Sub::new("1"),
            origin_jti: origin.into(),
            auth_time: Millis(1),
            scope: "openid".into(),
            expires: Millis(1000),
            revoked: false,
        }
    }
    on_each(|store| async move {
        fill(&store).await;
        write(&store, |tx| {
            Box::pin(async move {
                let proven = Proven { revision: 1, now: Millis(1) };
                assert!(sessions::begin(tx, &session("a"), &[1; 32], &proven).await?);
                let changed = Proven { revision: 2, ..proven.clone() };
                assert!(!sessions::begin(tx, &session("b"), &[2; 32], &changed).await?);
                let first = RefreshToken::First([1; 32]);
                let found = sessions::of_refresh_token(tx, &first).await?;
                assert_eq!(found, Some((session("a"), Exchanged::No)));
                let (web, one) = (ClientId::new("web"), Sub::new("1"));
                let standing = sessions::standing(tx, &web, "a", &one).await?.unwrap();
                assert_eq!((standing.stands, standing.user), (true, Some(user("1"))));
                assert_eq!((standing.revisions.pool_id, standing.revisions.pool), (id(), 1));
                sessions::revoke(tx, &id(), "a", Millis(2)).await?;
                assert!(!sessions::standing(tx, &web, "a", &one).await?.unwrap().stands);
                assert_eq!(sessions::standing(tx, &web, "", &Sub::new("none")).await?.unwrap().user, None);
                assert!(sessions::standing(tx, &ClientId::new("none"), "a", &one).await?.is_none());
                assert!(sessions::begin(tx, &session("c"), &[3; 32], &proven).await?);
                sessions::revoke_all(tx, &id(), &one, Millis(3)).await?;
                assert!(!sessions::standing(tx, &web, "c", &one).await?.unwrap().stands);
                assert!(sessions::redeem_once(tx, &[7; 32], Millis(9)).await?);
                assert!(!sessions::redeem_once(tx, &[7; 32], Millis(9)).await?);
                assert!(sessions::is_redeemed(tx, &[7; 32]).await?);
                assert!(!sessions::purge_client(tx, &id(), &web, 1).await?);
                assert!(!sessions::purge_client(tx, &id(), &web, 1).await?);
                assert!(sessions::purge_client(tx, &id(), &web, 1).await?);
                assert!(sessions::begin(tx, &session("d"), &[4; 32], &proven).await?);
                let late = Millis(1001 + sessions::LONGEST_ACCESS_TOKEN_MS);
                assert_eq!(sessions::sweep(tx, late, 10).await?, 2);
                Ok(())
            })
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn messages_wait_are_leased_and_received() {
    fn outgoing(name: &str) -> Outgoing {
        Outgoing { id: name.into(), pool: id(), medium: Medium::Email, sealed: vec![0, 1], attempts: 0 }
    }
    fn received(name: &str) -> Received {
        Received {
            id: name.into(),
            created: Millis(1),
            pool: id(),
            username: "ana".into(),
            destination: "ana@example.com".into(),
            medium: Medium::Sms,
            sealed: vec![0, 2],
        }
    }
    on_each(|store| async move {
        write(&store, |tx| {
            Box::pin(async move {
                for name in ["a", "b", "c"] {
                    messages::push(tx, &outgoing(name), Millis(1), Millis(10)).await?;
                }
                assert!(!messages::is_due(tx, Millis(9)).await? && messages::is_due(tx, Millis(10)).await?);
                assert_eq!(messages::lease(tx, Millis(9), Millis(20), 9).await?, []);
                let mut leased = messages::lease(tx, Millis(10), Millis(20), 9).await?;
                leased.sort_by(|one, other| one.id.cmp(&other.id));
                assert_eq!(leased, [outgoing("a"), outgoing("b"), outgoing("c")]);
                assert_eq!(messages::lease(tx, Millis(10), Millis(20), 9).await?, [], "somebody has them");
                messages::remove(tx, "a").await?;
                messages::postpone(tx, "b", Millis(30), "later").await?;
                messages::bury(tx, "c", Millis(11), "never").await?;
                assert_eq!(messages::outbox_counts(tx).await?, (1, 1));
                assert_eq!(messages::lease(tx, Millis(29), Millis(40), 9).await?, []);
                let leased = messages::lease(tx, Millis(30), Millis(40), 9).await?;
                assert_eq!(leased, [Outgoing { attempts: 1, ..outgoing("b") }]);
                assert_eq!(messages::sweep(tx, Millis(12 + messages::DEAD_KEPT_MS), 9).await?, 1);

                assert_eq!(messages::newest(tx).await?, "");
                for name in ["1", "2"] {
                    messages::receive(tx, &received(name)).await?;
                }
                assert_eq!(messages::newest(tx).await?, "2");
                let all = InboxQuery { limit: 9, ..InboxQuery::default() };
                assert_eq!(messages::inbox(tx, &all).await?, [received("2"), received("1")]);
                let exact = InboxQuery {
                    pool: id().as_str().into(),
                    username: "ana".into(),
                    destination: "ana@example.com".into(),
                    medium: "SMS".into(),
                    after: "1".into(),
                    limit: 9,
                };
                assert_eq!(messages::inbox(tx, &exact).await?, [received("2")]);
                let other = InboxQuery { username: "bo".into(), ..exact };
                assert_eq!(messages::inbox(tx, &other).await?, []);
                assert_eq!(messages::empty_inbox(tx).await?, 2);
                Ok(())
            })
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn facts_and_data_keys_are_kept() {
    on_each(|store| async move {
        write(&store, |tx| {
            Box::pin(async move {
                assert_eq!(installation::get(tx, "fact").await?, None);
                installation::raise(tx, "fact", &[5], &[8]).await?;
                for (value, expected) in [(4, 5), (6, 6), (9, 9), (1, 1)] {
                    // 9 is far away, and comes back.
                    installation::raise(tx, "fact", &[value], &[8]).await?;
                    assert_eq!(installation::get(tx, "fact").await?, Some(vec![expected]));
                }

                let key = |name: &str, generation| DataKey {
                    id: name.into(),
                    generation,
                    made_for: "m".into(),
                    active: None,
                    retired: None,
                };
                let copy = |name: &str, byte| Wrapped { name: name.into(), wrapped: vec![byte] };
                for (name, generation) in [("b", 2), ("a", 1)] {
                    data_keys::insert(tx, &key(name, generation)).await?;
                    data_keys::wrap(tx, "m", &copy(name, 0)).await?;
                    data_keys::wrap(tx, "n", &copy(name, 255)).await?;
                }
                assert_eq!(data_keys::masters(tx).await?, ["m", "n"]);
                assert_eq!(data_keys::wrapped(tx, "n").await?, [copy("a", 255), copy("b", 255)]);
                data_keys::activate(tx, "b", Millis(3)).await?;
                data_keys::activate(tx, "b", Millis(4)).await?;
                data_keys::retire_before(tx, 2, Millis(5)).await?;
                let retired = DataKey { retired: Some(Millis(5)), ..key("a", 1) };
                let active = DataKey { active: Some(Millis(3)), ..key("b", 2) };
                assert_eq!(data_keys::all(tx).await?, [retired, active]);
                data_keys::keep_only(tx, "n").await?;
                assert_eq!(data_keys::masters(tx).await?, ["n"]);
                data_keys::remove(tx, "a").await?;
                assert_eq!(data_keys::wrapped(tx, "n").await?, [copy("b", 255)]);
                Ok(())
            })
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn sealed_values_are_walked_through_and_replaced() {
    on_each(|store| async move {
        fill(&store).await;
        write(&store, |tx| {
            Box::pin(async move {
                let columns = [
                    &sealed::USER_PASSWORD,
                    &sealed::USER_PASSWORD_HISTORY,
                    &sealed::CLIENT_SECRET,
                    &sealed::SECOND_CLIENT_SECRET,
                    &sealed::SIGNING_KEY,
                    &sealed::OUTBOX,
                    &sealed::INBOX,
                ];
                for column in columns {
                    for cell in sealed::page(tx, column, &column.start(), 9).await? {
                        let replaced = sealed::replace(tx, column, &cell.key, &[], &[1]).await?;
                        assert!(!replaced, "{}.{}: it has another value", column.table, column.column);
                    }
                    assert!(!sealed::replace(tx, column, &column.start(), &[], &[1]).await?);
                }
                let column = &sealed::USER_PASSWORD;
                let cells = sealed::page(tx, column, &column.start(), 2).await?;
                assert_eq!(cells[1].key, ["local_pool", "2"]);
                assert!(sealed::replace(tx, column, &cells[1].key, &[0, 255, 7], &[1]).await?);
                let cells = sealed::page(tx, column, &cells[0].key, 2).await?;
                let values: Vec<_> = cells.into_iter().map(|cell| cell.sealed).collect();
                assert_eq!(values, [Some(vec![1]), Some(vec![0, 255, 7])]);
                Ok(())
            })
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn refresh_tokens_are_exchanged() {
    fn rotated(digest: u8) -> RefreshToken {
        RefreshToken::Rotated { pool: id(), origin_jti: "a".into(), digest: [digest; 32] }
    }
    on_each(|store| async move {
        fill(&store).await;
        write(&store, |tx| {
            Box::pin(async move {
                let session = TokenSession {
                    pool: id(),
                    client: ClientId::new("web"),
                    sub: Sub::new("1"),
                    origin_jti: "a".into(),
                    auth_time: Millis(1),
                    scope: "openid".into(),
                    expires: Millis(1000),
                    revoked: false,
                };
                let proven = Proven { revision: 1, now: Millis(1) };
                assert!(sessions::begin(tx, &session, &[1; 32], &proven).await?);
                let at = |now: i64, again_since: Option<i64>| Exchange {
                    client: ClientId::new("web"),
                    client_revision: 1,
                    now: Millis(now),
                    again_since: again_since.map(Millis),
                };
                for (token, next) in [(RefreshToken::First([1; 32]), 2), (rotated(2), 3)] {
                    let changed = Exchange { client_revision: 2, ..at(5, None) };
                    assert!(!sessions::exchange(tx, &token, &changed).await?, "its client has changed");
                    assert!(sessions::exchange(tx, &token, &at(5, None)).await?);
                    assert!(!sessions::exchange(tx, &token, &at(5, None)).await?);
                    assert!(sessions::exchange(tx, &token, &at(9, Some(4))).await?);
                    assert!(!sessions::exchange(tx, &token, &at(10, Some(5))).await?);
                    let found = sessions::of_refresh_token(tx, &token).await?;
                    assert_eq!(found, Some((session.clone(), Exchanged::At(Millis(5)))));
                    let name = next.to_string();
                    sessions::add_rotated(tx, &session, &name, &[next; 32], Millis(5)).await?;
                    let found = sessions::of_refresh_token(tx, &rotated(next)).await?;
                    assert_eq!(found, Some((session.clone(), Exchanged::No)));
                }
                let late = Millis(6 + sessions::REMEMBERS_EXCHANGED_MS);
                sessions::add_rotated(tx, &session, "4", &[4; 32], late).await?;
                for (digest, exchanged) in [(2, Exchanged::LongAgo), (3, Exchanged::No), (4, Exchanged::No)] {
                    let found = sessions::of_refresh_token(tx, &rotated(digest)).await?;
                    assert_eq!(found, Some((session.clone(), exchanged)));
                }
                let other = RefreshToken::Rotated { pool: id(), origin_jti: "b".into(), digest: [3; 32] };
                assert_eq!(sessions::of_refresh_token(tx, &other).await?, None);
                sessions::revoke(tx, &id(), "a", Millis(7)).await?;
                assert!(!sessions::exchange(tx, &rotated(3), &at(8, None)).await?);
                assert!(users::delete(tx, &id(), &Sub::new("1")).await?);
                assert_eq!(sessions::of_refresh_token(tx, &rotated(3)).await?, None);
                // Nothing of it is left that another sign-in could meet.
                let again = TokenSession { sub: Sub::new("2"), ..session };
                assert!(sessions::begin(tx, &again, &[1; 32], &proven).await?);
                sessions::add_rotated(tx, &again, "3", &[3; 32], Millis(8)).await?;
                Ok(())
            })
        })
        .await;
    })
    .await;
}

/// Everything is read from one installation and added to an empty one.
#[tokio::test]
async fn records_are_carried_over() {
    on_each(|store| async move {
        fill(&store).await;
        write(&store, |tx| {
            Box::pin(async move {
                assert!(!transfer::is_empty(tx).await?);
                assert!(!transfer::has_no_pools(tx).await?);
                assert!(transfer::schema(tx).await? > 0);
                let mut all = Vec::new();
                for table in transfer::TABLES {
                    let first = transfer::page(tx, table, id().as_str(), None, 2).await?;
                    let rest = transfer::page(tx, table, id().as_str(), first.last(), 100).await?;
                    for row in first.iter().chain(&rest) {
                        assert_eq!(transfer::is_taken(tx, table, row).await?, table.unique.is_some());
                    }
                    all.push((table, [first, rest].concat()));
                }
                assert!(pools::delete(tx, &id(), 1, Millis(1)).await?);
                assert!(transfer::is_being_removed(tx, &id()).await?);
                assert!(pools::purge(tx, &id(), 100).await?);
                assert!(transfer::is_empty(tx).await?);
                for (table, rows) in &all {
                    transfer::insert_all(tx, table, rows).await?;
                }
                assert_eq!(users::by_name(tx, &id(), "name of 2").await?, Some(user("2")));
                let range = Range::exactly("2@example.com");
                let found = search::by_attribute(tx, &id(), "email", &range, &After::default(), 9).await?;
                assert_eq!(subs(&found), ["2"]);

                assert_eq!(transfer::mark(tx).await?, None);
                transfer::put_mark(tx, &[1]).await?;
                transfer::put_mark(tx, &[2]).await?;
                assert_eq!(transfer::mark(tx).await?, Some(vec![2]));
                assert!(transfer::remove_mark(tx).await?);
                assert!(!transfer::remove_mark(tx).await?);
                data_keys::wrap(tx, "m", &Wrapped { name: "root".into(), wrapped: vec![1] }).await?;
                assert!(transfer::adopt_digest_root(tx, "root", "m", &[3]).await?);
                assert!(!transfer::adopt_digest_root(tx, "root", "n", &[4]).await?);
                assert_eq!(transfer::digest_root(tx, "root", "m").await?, Some(vec![3]));
                transfer::give_up(tx, &id(), Millis(1)).await?;
                assert!(!transfer::is_being_removed(tx, &id()).await?, "the pool is there");
                transfer::give_up(tx, &PoolId::new("half"), Millis(1)).await?;
                assert_eq!(pools::deleted(tx).await?, [PoolId::new("half")]);
                Ok(())
            })
        })
        .await;
    })
    .await;
}

/// A function that takes a transaction and is not called above would meet its first other engine in production.
#[test]
fn no_function_over_a_transaction_is_left_out() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let tests = include_str!("records.rs");
    let mut left_out = BTreeSet::new();
    let mut found = 0;
    for entry in fs::read_dir(sources).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let room = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        for function in text.split("\npub async fn ").skip(1) {
            let name = function.split(['(', '<']).next().unwrap();
            if function.split(')').next().unwrap().contains("&mut Tx") {
                found += 1;
                let call = format!("{room}::{name}(tx");
                if !tests.contains(&call) {
                    left_out.insert(call);
                }
            }
        }
    }
    assert!(found > 80, "{found}");
    assert!(left_out.is_empty(), "{left_out:?}");
}
