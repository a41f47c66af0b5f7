use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lido_crypto::keys::MasterKey;
use lido_domain::ports::InvokeError;
use lido_domain::{Clock, Random, TriggerHost};
use lido_store::{Options, Store};
use serde_json::json;

use super::*;
use crate::cx::{Channel, Delivery, Issuer, Parts, Settings};
use crate::tokens::groups::GroupClaims;

#[test]
fn a_seed_reads_as_documented() {
    let seed: Seed = serde_json::from_value(json!({"UserPools": [{
        "Id": "us-east-1_Example01", "PoolName": "app", "AutoVerifiedAttributes": ["email"],
        "Clients": [{"ClientId": "1example23456789", "ClientName": "web", "ClientSecret": "optional",
                     "ExplicitAuthFlows": ["ALLOW_USER_SRP_AUTH"]}],
        "Groups": [{"GroupName": "admins", "Precedence": 1}],
        "Users": [{"Username": "ana", "Sub": "optional uuid", "Password": "permanent password",
                   "UserAttributes": {"email": "ana@example.com", "email_verified": "true"},
                   "Groups": ["admins"]}],
        "SigningKeys": {"access": "optional PEM", "id": "optional PEM"}
    }]}))
    .unwrap();
    let pool = &seed.user_pools[0];
    assert_eq!(pool.id, "us-east-1_Example01");
    assert_eq!(pool.request.keys().collect::<Vec<_>>(), ["AutoVerifiedAttributes", "PoolName"]);
    assert_eq!(pool.clients[0].request.len(), 3);
    assert_eq!(pool.users[0].attributes["email"], "ana@example.com");
    let debug = format!("{seed:?}");
    for secret in ["permanent", "optional PEM", "\"optional\"", "ana@"] {
        assert!(!debug.contains(secret), "{debug}");
    }
}

#[test]
fn unknown_members_are_named_by_their_path() {
    let pool = |members: Value| {
        let Value::Object(members) = members else { panic!("not an object") };
        input::<CreateUserPool>("UserPools[0]", members).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(pool(json!({"PoolName": "p", "Schema": [{"Name": "a"}]})), Ok(()));
    assert_eq!(pool(json!({"PoolName": "p", "Pools": 1})), Err("UserPools[0]: unknown member Pools".into()));
    assert_eq!(
        pool(json!({"PoolName": "p", "Schema": [{"Name": "a"}, {"Nmae": "b"}]})),
        Err("UserPools[0]: unknown member Schema[1].Nmae".into())
    );
    assert_eq!(
        pool(json!({"PoolName": "p", "Policies": {"PasswordPolicy": {"MinimumLenght": 8}}})),
        Err("UserPools[0]: unknown member Policies.PasswordPolicy.MinimumLenght".into())
    );
    assert!(pool(json!({})).is_err());
    assert!(serde_json::from_value::<UserSeed>(json!({"Username": "a", "TemporaryPassword": "x"})).is_err());
}

/// Numbers that only have to differ.
#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let next = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            chunk.copy_from_slice(&next.to_le_bytes()[..chunk.len()]);
        }
    }
}

#[derive(Debug)]
struct Noon;

impl Clock for Noon {
    fn now(&self) -> Millis {
        Millis(1_700_000_000_000)
    }
}

#[derive(Debug)]
struct NoFunctions;

#[async_trait::async_trait]
impl TriggerHost for NoFunctions {
    async fn invoke(&self, _arn: &str, _event: &Value) -> Result<Value, InvokeError> {
        Err(InvokeError::Timeout)
    }
}

pub(crate) async fn context() -> Arc<Cx> {
    context_with(Channel::Inbox, Duration::ZERO).await
}

/// A context of its own in memory; mail goes to `email`, and a call waits `answer_within` for that.
pub(crate) async fn context_with(email: Channel, answer_within: Duration) -> Arc<Cx> {
    let random = Counting::default();
    Cx::new(Parts {
        settings: Settings {
            public_url: "http://localhost:9229".to_owned(),
            issuer: Issuer::PublicUrl,
            region: "us-east-1".to_owned(),
            account: "123456789012".to_owned(),
            development: true,
            limit_counts: false,
        },
        store: Store::open(Options::memory()).await.unwrap(),
        clock: Arc::new(Noon),
        keyring: MasterKey::generate(&random).keyring(),
        random: Arc::new(random),
        functions: Arc::new(NoFunctions),
        delivery: Delivery { email, sms: Channel::Inbox, inbox: true, answer_within, retry: Vec::new() },
        key_stock: 0,
    })
}

fn example() -> Seed {
    let pem = jws_pem();
    serde_json::from_value(json!({"UserPools": [{
        "Id": "us-east-1_Example01", "PoolName": "app", "UsernameAttributes": ["email"],
        "Clients": [
            {"ClientId": "1example23456789", "ClientName": "web", "ClientSecret": "a_secret_of_24_characters"},
            {"ClientId": "2example", "ClientName": "public"}
        ],
        "Groups": [
            {"GroupName": "admins", "Description": "They may.", "RoleArn": "arn:aws:iam::123456789012:role/admin",
             "Precedence": 1},
            {"GroupName": "staff"}
        ],
        "Users": [
            {"Username": "ana@example.com", "Sub": "0190a1b2-c3d4-4e5f-8a9b-0c1d2e3f4a5b",
             "Password": "Correct horse 1", "UserAttributes": {"email_verified": "true"},
             "Groups": ["staff", "admins", "staff"]},
            {"Username": "ben@example.com"}
        ],
        "SigningKeys": {"access": pem}
    }]}))
    .unwrap()
}

/// A new key as an operator would write it down.
fn jws_pem() -> String {
    let key = jws::SigningKey::generate().unwrap();
    format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(key.pkcs8.expose())
    )
}

#[tokio::test]
async fn a_seed_that_is_applied_again_changes_nothing() {
    let cx = context().await;
    let first = apply(&cx, example()).await.unwrap();
    assert_eq!(
        first,
        Summary { pools_created: 1, clients_created: 2, groups_created: 2, users_created: 2, left_alone: 0 }
    );
    let again = apply(&cx, example()).await.unwrap();
    assert_eq!(again, Summary { left_alone: 7, ..Summary::default() });

    let pool = cx.pool("us-east-1_Example01").await.unwrap();
    assert_eq!(pool.record.name, "app");
    let client = cx.client(&pool, "1example23456789").await.unwrap();
    assert_eq!(client.secret.as_ref().unwrap().expose(), "a_secret_of_24_characters");
    let user = cx.user(&pool, "ana@example.com").await.unwrap();
    assert_eq!(user.username, "0190a1b2-c3d4-4e5f-8a9b-0c1d2e3f4a5b");
    assert_eq!(user.status, UserStatus::Confirmed);
    let sealed = user.password.clone().unwrap();
    let verifier = passwords::open(&cx, &user, &sealed).unwrap();
    assert!(passwords::matches(&cx, &user.pool, &user.username, verifier, "Correct horse 1").await.unwrap());
    let claims = GroupClaims::read(&cx, &user).await.unwrap();
    assert_eq!(claims.groups, ["admins", "staff"]);
    assert_eq!(claims.preferred_role.as_deref(), Some("arn:aws:iam::123456789012:role/admin"));
    let ben = cx.user(&pool, "ben@example.com").await.unwrap();
    assert_eq!(ben.password, None);
    assert_eq!(GroupClaims::read(&cx, &ben).await.unwrap(), GroupClaims::default());
    // The key that the seed does not give is made, and the one that it gives can be opened.
    assert_eq!(crate::tokens::keys::public(&cx, &pool).await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_documented_seed_applies() {
    let cx = context().await;
    let seed = serde_json::from_str(include_str!("../../../../examples/seed.json")).unwrap();
    let made = apply(&cx, seed).await.unwrap();
    assert_eq!((made.groups_created, made.users_created, made.left_alone), (1, 1, 0));
}

/// A user that took the name of the seed's does not get its rights.
#[tokio::test]
async fn only_users_that_the_seed_makes_are_put_into_groups() {
    let cx = context().await;
    let seed = |groups: &[&str]| {
        serde_json::from_value(json!({"UserPools": [{
            "Id": "us-east-1_Example01", "PoolName": "app", "Groups": [{"GroupName": "admins"}],
            "Users": [{"Username": "ana", "Groups": groups}]
        }]}))
        .unwrap()
    };
    apply(&cx, seed(&[])).await.unwrap();
    apply(&cx, seed(&["admins"])).await.unwrap();
    let pool = cx.pool("us-east-1_Example01").await.unwrap();
    let ana = cx.user(&pool, "ana").await.unwrap();
    assert_eq!(GroupClaims::read(&cx, &ana).await.unwrap(), GroupClaims::default());
}

/// As sign-up stores it.
#[tokio::test]
async fn a_user_name_is_in_lower_case_where_case_does_not_matter() {
    let cx = context().await;
    for (id, case_sensitive, stored) in [("local_1", false, "ana"), ("local_2", true, "Ana")] {
        let seed = serde_json::from_value(json!({"UserPools": [{
            "Id": id, "PoolName": "app", "UsernameConfiguration": {"CaseSensitive": case_sensitive},
            "Users": [{"Username": "Ana"}]
        }]}))
        .unwrap();
        apply(&cx, seed).await.unwrap();
        let pool = cx.pool(id).await.unwrap();
        assert_eq!(cx.user(&pool, "Ana").await.unwrap().username, stored);
    }
}

#[tokio::test]
async fn the_place_of_a_mistake_is_told() {
    let cx = context().await;
    let mistakes = [
        (
            json!({"Users": [{"Username": "ana"}, {"Username": "ben", "Groups": ["admins"]}]}),
            ".Users[1]: ResourceNotFoundException: Group not found.",
        ),
        (json!({"Users": [{"Username": "eve\u{0}"}]}), ".Users[0]: 1 validation error"),
        (json!({"Users": [{"Username": "eve", "Password": "short"}]}), ".Users[0]: InvalidPasswordException"),
        (
            json!({"Clients": [{"ClientId": "1", "ClientName": "c", "Nmae": 1}]}),
            ".Clients[0]: unknown member Nmae",
        ),
        (json!({"Groups": [{"GroupName": "admins"}, {"Name": "staff"}]}), ".Groups[1]: unknown member Name"),
        (json!({"Groups": [{"GroupName": "admins", "Precedence": -1}]}), ".Groups[0]: 1 validation error"),
        (json!({"SigningKeys": {"id": "no PEM"}}), "UserPools[0].SigningKeys.id: "),
    ];
    for (number, (mut pool, text)) in mistakes.into_iter().enumerate() {
        pool["PoolName"] = json!("p");
        pool["Id"] = json!(format!("us-east-1_{number}"));
        let seed = serde_json::from_value(json!({"UserPools": [pool]})).unwrap();
        let error = apply(&cx, seed).await.unwrap_err().to_string();
        assert!(error.starts_with("UserPools[0]") && error.contains(text), "{error}");
    }
}

#[test]
fn fixed_ids_have_their_form() {
    assert!(is_uuid("0190a1b2-c3d4-4e5f-8a9b-0c1d2e3f4a5b"));
    for bad in
        ["", "0190A1B2-c3d4-4e5f-8a9b-0c1d2e3f4a5b", "0190a1b2c3d44e5f8a9b0c1d2e3f4a5b", "optional uuid"]
    {
        assert!(!is_uuid(bad), "{bad}");
    }
    assert!(is_client_id("1example23456789"));
    assert!(!is_client_id("a-b"));
    assert!(!is_client_id(""));
}
