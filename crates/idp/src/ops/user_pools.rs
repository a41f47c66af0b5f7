//! User pools: create, describe, update, delete, list, and custom attributes.

mod schema;
pub(crate) mod settings;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use lido_domain::records::SigningKey;
use lido_domain::{Millis, PoolId, UserPool};
use lido_store::{clients, keys, pools};
use lido_wire::ops::{
    AddCustomAttributes, CreateUserPool, DeleteUserPool, DescribeUserPool, ListUserPools, UpdateUserPool,
};
use lido_wire::types::{
    AddCustomAttributesResponse, CreateUserPoolRequest, CreateUserPoolResponse, DeletionProtectionType,
    DescribeUserPoolResponse, ExplicitAuthFlowsType, ListUserPoolsResponse, Timestamp,
    UpdateUserPoolResponse, UserPoolClientType, UserPoolDescriptionType, UserPoolTierType, UserPoolType,
};
use moka::sync::Cache;

use crate::caller::Iam;
use crate::cx::Cx;
use crate::fault::{self, Error, Result};
use crate::ops::{mfa, tags};
use crate::pool::{MfaConfig, Pool};
use crate::{Operation, paging, tokens};

/// Users, or groups, that are removed in one write when their pool is gone.
const PURGE_BATCH: i64 = 500;

/// Such batches that DeleteUserPool removes before it answers; the rest goes in the background.
const PURGES_AT_ONCE: usize = 4;

/// Longest id. Source: UserPoolIdType.
const LONGEST_ID: usize = 55;

const ALPHANUMERIC: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Makes a pool in the region that the request is signed for.
impl Operation for CreateUserPool {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let id = fixed_id(cx, &input)?;
        let pool = create(cx, id, &caller.origin.region, input).await?;
        let mut described = describe(cx, &pool, 0);
        // Tags are shown empty only by DescribeUserPool.
        described.user_pool_tags = described.user_pool_tags.filter(|tags| !tags.is_empty());
        Ok(CreateUserPoolResponse { user_pool: Some(described) })
    }
}

impl Operation for DescribeUserPool {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let users = user_count(cx, &pool).await?;
        Ok(DescribeUserPoolResponse { user_pool: Some(describe(cx, &pool, users)) })
    }
}

/// Users of a pool from which on their count is an estimate, as its name says: see [`LARGE_POOLS`].
const LARGE: i64 = 10_000;

/// The last counts of large pools, by id and creation. Counting reads an entry of every user, and tools describe
/// pools often.
static LARGE_POOLS: LazyLock<Cache<(PoolId, Millis), i64>> =
    LazyLock::new(|| Cache::builder().max_capacity(1_000).time_to_live(Duration::from_secs(60)).build());

/// How many users the pool has; of a large pool, how many it had at most a minute ago.
async fn user_count(cx: &Cx, pool: &Pool) -> Result<i64> {
    let key = (pool.record.id.clone(), pool.record.created);
    if let Some(users) = LARGE_POOLS.get(&key) {
        return Ok(users);
    }
    let users = cx
        .store
        .read(key.0.clone(), |id, tx| {
            Box::pin(async move { Ok::<_, Error>(pools::user_count(tx, id).await?) })
        })
        .await?;
    if users > LARGE {
        LARGE_POOLS.insert(key, users);
    }
    Ok(users)
}

/// Replaces the settings: what is left out goes back to its default, tags and name excepted.
/// Source: API reference, UpdateUserPool.
impl Operation for UpdateUserPool {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, mut input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let mut record = pool.record.clone();
        record.updated = cx.now();
        if let Some(tags) = input.user_pool_tags.take() {
            tags::check(&tags).map_err(fault::tagging)?;
            record.tags = tags;
        }
        if let Some(name) = input.pool_name.take() {
            record.name = name;
        }
        let settings = settings::updated(&pool.settings, input, record.id.region())?;
        let tier = settings.user_pool_tier.unwrap_or(UserPoolTierType::Essentials);
        let lowered = !settings::tier_includes(tier, pool.tier());
        record.settings = stored(&settings);
        record.mfa = mfa::updated(&settings, &pool.mfa)?.to_json();

        cx.store
            .write((record, lowered, tier), |(record, lowered, tier), tx| {
                Box::pin(async move {
                    if *lowered {
                        require_clients_within(tx, &record.id, *tier).await?;
                    }
                    if pools::put(tx, record).await? { Ok(()) } else { Err(Error::Conflict) }
                })
            })
            .await?;
        Ok(UpdateUserPoolResponse {})
    }
}

/// Removes the pool at once; a large one's users and groups follow.
/// Errors: [`fault::deletion_protected`].
impl Operation for DeleteUserPool {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        if pool.settings.deletion_protection == Some(DeletionProtectionType::Active) {
            return Err(fault::deletion_protected().into());
        }
        let id = pool.record.id.clone();
        cx.store
            .write((id.clone(), pool.record.revision, cx.now()), |(id, revision, now), tx| {
                Box::pin(async move {
                    if pools::delete(tx, id, *revision, *now).await? { Ok(()) } else { Err(Error::Conflict) }
                })
            })
            .await?;
        for _ in 0..PURGES_AT_ONCE {
            // The pool is deleted whatever becomes of this: the background finishes it.
            if !matches!(purge(cx, &id).await, Ok(false)) {
                break;
            }
        }
        Ok(())
    }
}

/// Pools in the order of their ids; the service promises none.
impl Operation for ListUserPools {
    type Caller = Iam;

    async fn run(cx: &Cx, _caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let scope = ["ListUserPools"];
        let after: String = match &input.next_token {
            Some(token) => paging::decode(cx, &scope, token)?,
            None => String::new(),
        };
        let size = usize::try_from(input.max_results).unwrap_or(1);
        let mut found = cx
            .store
            .read((after, size), |(after, size), tx| {
                // One more tells whether there is a next page.
                let limit = i64::try_from(*size).unwrap_or(i64::MAX).saturating_add(1);
                Box::pin(async move { Ok::<_, Error>(pools::list(tx, after, limit).await?) })
            })
            .await?;
        let more = found.len() > size;
        found.truncate(size);
        let next_token =
            found.last().filter(|_| more).map(|last| paging::encode(cx, &scope, &last.id.as_str()));
        let user_pools = found.into_iter().map(summary).collect::<Result<_>>()?;
        Ok(ListUserPoolsResponse { user_pools: Some(user_pools), next_token })
    }
}

/// Errors: [`fault::schema_attribute_exists`], [`fault::required_custom_attribute`].
impl Operation for AddCustomAttributes {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let mut settings = pool.settings.clone();
        schema::add(settings.schema_attributes.get_or_insert_default(), input.custom_attributes)?;
        let mut record = pool.record.clone();
        record.settings = stored(&settings);
        record.updated = cx.now();
        put(cx, record).await?;
        Ok(AddCustomAttributesResponse {})
    }
}

/// Makes a pool, with `id` or one of its own in `region`, and with signing keys where they are in stock;
/// else it gets them when it first needs them.
///
/// Errors: those of the settings and tags; InvalidParameterException for an `id` in use or malformed.
pub async fn create(
    cx: &Cx,
    id: Option<PoolId>,
    region: &str,
    request: CreateUserPoolRequest,
) -> Result<Arc<Pool>> {
    create_with_keys(cx, id, region, request, Vec::new()).await
}

/// The same, with `signing_keys` that are sealed for `id` where there are any.
pub(crate) async fn create_with_keys(
    cx: &Cx,
    id: Option<PoolId>,
    region: &str,
    mut request: CreateUserPoolRequest,
    mut signing_keys: Vec<SigningKey>,
) -> Result<Arc<Pool>> {
    let fixed = id.is_some();
    let id = id.unwrap_or_else(|| PoolId::new(format!("{region}_{}", cx.random_text(ALPHANUMERIC, 9))));
    if !is_pool_id(id.as_str()) {
        return Err(fault::invalid_parameter(format!("{id} is not the id of a user pool.")).into());
    }
    let tags = request.user_pool_tags.take().unwrap_or_default();
    tags::check(&tags).map_err(fault::tagging)?;
    let name = std::mem::take(&mut request.pool_name);
    let settings = settings::created(request, id.region())?;
    let mfa = mfa::updated(&settings, &MfaConfig::default())?;
    let now = cx.now();
    let record = UserPool {
        id: id.clone(),
        name,
        settings: stored(&settings),
        mfa: mfa.to_json(),
        tags,
        created: now,
        updated: now,
        revision: first_revision(cx),
    };
    if signing_keys.is_empty() {
        signing_keys = tokens::keys::prepare(cx, &id, now).map(Vec::from).unwrap_or_default();
    }
    loop {
        let inserted = cx
            .store
            .write((record.clone(), signing_keys.clone()), |(record, signing_keys), tx| {
                Box::pin(async move {
                    if pools::insert(tx, record).await? {
                        for key in signing_keys {
                            keys::insert_once(tx, key).await?;
                        }
                        return Ok::<_, Error>(Inserted::Yes);
                    }
                    let taken = pools::revision(tx, &record.id).await?.is_some();
                    Ok(if taken { Inserted::Taken } else { Inserted::Leftover })
                })
            })
            .await?;
        match inserted {
            Inserted::Yes => break,
            Inserted::Taken if fixed => {
                return Err(fault::invalid_parameter(format!("User pool {id} already exists.")).into());
            }
            Inserted::Taken => return Err(Error::Conflict),
            Inserted::Leftover => while !purge(cx, &id).await? {},
        }
    }
    tracing::info!(pool.id = %id, "created user pool {id}");
    Ok(Arc::new(Pool::parse(record)?))
}

/// What became of writing a new pool.
enum Inserted {
    Yes,
    /// There is a pool with this id.
    Taken,
    /// There was one, and its users or groups are still there.
    Leftover,
}

/// Removes a pool or, without an id, every pool and every message: development's way to begin anew.
/// Deletion protection does not hold here.
///
/// Errors: [`fault::pool_not_found`].
pub async fn reset(cx: &Cx, id: Option<&str>) -> Result<()> {
    let pools = match id {
        Some(id) => vec![cx.pool(id).await?.record.clone()],
        None => {
            crate::inbox::clear(cx).await?;
            cx.store
                .read((), |(), tx| {
                    Box::pin(async move { Ok::<_, Error>(pools::list(tx, "", i64::MAX).await?) })
                })
                .await?
        }
    };
    for pool in pools {
        cx.store
            .write((pool.id.clone(), cx.now()), |(id, now), tx| {
                Box::pin(async move {
                    // A concurrent change does not save the pool.
                    if let Some(revision) = pools::revision(tx, id).await? {
                        pools::delete(tx, id, revision, *now).await?;
                    }
                    Ok::<_, Error>(())
                })
            })
            .await?;
        while !purge(cx, &pool.id).await? {}
    }
    Ok(())
}

/// Removes some users or groups of a deleted pool; true when nothing of it is left.
pub(crate) async fn purge(cx: &Cx, id: &PoolId) -> Result<bool> {
    cx.store
        .write(id.clone(), |id, tx| {
            Box::pin(async move { Ok::<_, Error>(pools::purge(tx, id, PURGE_BATCH).await?) })
        })
        .await
}

/// A random number of 40 bits. A pool or client that is made again under the id of a deleted one must not
/// look like the copy that a cache has of that.
pub(crate) fn first_revision(cx: &Cx) -> i64 {
    let mut bytes = [0_u8; 8];
    cx.random.fill(&mut bytes[3..]);
    i64::from_be_bytes(bytes).max(1)
}

/// Writes a changed pool.
pub(crate) async fn put(cx: &Cx, record: UserPool) -> Result<()> {
    cx.store
        .write(record, |record, tx| {
            Box::pin(async move { if pools::put(tx, record).await? { Ok(()) } else { Err(Error::Conflict) } })
        })
        .await
}

/// The tags that fix the id of a new pool in development, ours first; the others are those of tools that
/// do the same.
const ID_TAGS: [&str; 4] = ["lido:id", "_custom_id_", "floci:override-id", "ms-custom-id"];

/// The id that a tag asks for. Elsewhere than in development these are tags like any other.
fn fixed_id(cx: &Cx, request: &CreateUserPoolRequest) -> Result<Option<PoolId>> {
    if !cx.settings.development {
        return Ok(None);
    }
    let asked = request
        .user_pool_tags
        .as_ref()
        .and_then(|tags| ID_TAGS.iter().find_map(|name| Some((*name, tags.get(*name)?))));
    match asked {
        None => Ok(None),
        Some((_, id)) if is_pool_id(id) => Ok(Some(PoolId::new(id.as_str()))),
        Some((name, _)) => Err(fault::invalid_parameter(format!(
            "The tag {name} fixes the id of the user pool and must look like us-east-1_Example01: any prefix of \
             letters, digits, - and _, then _, then letters and digits; at most {LONGEST_ID} characters."
        ))
        .into()),
    }
}

/// Source: the pattern of UserPoolIdType.
fn is_pool_id(text: &str) -> bool {
    text.len() <= LONGEST_ID
        && text.rsplit_once('_').is_some_and(|(region, name)| {
            let in_region = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            !region.is_empty()
                && region.bytes().all(in_region)
                && !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
}

/// Settings as they are stored.
pub(super) fn stored(settings: &UserPoolType) -> String {
    serde_json::to_string(settings).expect("settings have only string keys")
}

/// What DescribeUserPool shows.
fn describe(cx: &Cx, pool: &Pool, users: i64) -> UserPoolType {
    let record = &pool.record;
    UserPoolType {
        id: Some(record.id.to_string()),
        name: Some(record.name.clone()),
        arn: Some(cx.settings.pool_arn(&record.id)),
        user_pool_tags: Some(record.tags.clone()),
        creation_date: Some(Timestamp::from_millis(record.created.0)),
        last_modified_date: Some(Timestamp::from_millis(record.updated.0)),
        estimated_number_of_users: Some(i32::try_from(users).unwrap_or(i32::MAX)),
        ..pool.settings.clone()
    }
}

/// One entry of ListUserPools.
fn summary(record: UserPool) -> Result<UserPoolDescriptionType> {
    let pool = Pool::parse(record)?;
    Ok(UserPoolDescriptionType {
        id: Some(pool.record.id.to_string()),
        name: Some(pool.record.name.clone()),
        lambda_config: pool.settings.lambda_config,
        status: None,
        last_modified_date: Some(Timestamp::from_millis(pool.record.updated.0)),
        creation_date: Some(Timestamp::from_millis(pool.record.created.0)),
        replica_regions: None,
    })
}

/// Refuses a lower plan while an app client uses what only the higher one has.
async fn require_clients_within(
    tx: &mut lido_store::Tx,
    pool: &PoolId,
    tier: UserPoolTierType,
) -> Result<()> {
    const AT_ONCE: i64 = 100;
    if settings::tier_includes(tier, UserPoolTierType::Essentials) {
        return Ok(());
    }
    let mut after = String::new();
    loop {
        let page = clients::list(tx, pool, &after, AT_ONCE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.id.to_string();
        for client in &page {
            let settings: UserPoolClientType =
                serde_json::from_str(&client.settings).map_err(Error::internal)?;
            let flows = settings.explicit_auth_flows.unwrap_or_default();
            if flows.contains(&ExplicitAuthFlowsType::AllowUserAuth) {
                let flow = ExplicitAuthFlowsType::AllowUserAuth.as_str();
                return Err(fault::tier_change_not_allowed(flow, tier.as_str()).into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lido_domain::{Attributes, Sub, User, UserStatus};
    use lido_store::users;

    use super::*;
    use crate::seed::tests::context;

    async fn pool_with(cx: &Cx, id: &str, users: i64) -> Arc<Pool> {
        let request = CreateUserPoolRequest { pool_name: "pool".into(), ..Default::default() };
        let pool = create(cx, Some(PoolId::new(id)), "local", request).await.unwrap();
        add_users(cx, &pool, 0..users).await;
        pool
    }

    async fn add_users(cx: &Cx, pool: &Pool, subs: std::ops::Range<i64>) {
        let user = User {
            pool: pool.record.id.clone(),
            sub: Sub::new(""),
            username: String::new(),
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
        };
        let added: Result<()> = cx
            .store
            .write((user, subs), |(user, subs), tx| {
                Box::pin(async move {
                    for sub in subs.clone() {
                        users::insert(tx, &User { sub: Sub::new(sub.to_string()), ..user.clone() }).await?;
                    }
                    Ok(())
                })
            })
            .await;
        added.unwrap();
    }

    #[tokio::test]
    async fn users_of_large_pools_alone_are_estimated() {
        let cx = context().await;
        for (id, users, then) in [("counted_small", 3, 4), ("counted_large", LARGE + 1, LARGE + 1)] {
            let pool = pool_with(&cx, id, users).await;
            assert_eq!(user_count(&cx, &pool).await.unwrap(), users);
            add_users(&cx, &pool, users..users + 1).await;
            assert_eq!(user_count(&cx, &pool).await.unwrap(), then);
        }
    }

    #[test]
    fn a_pool_id_has_a_prefix_and_an_alphanumeric_name() {
        for good in ["us-east-1_AbCdEfGhI", "local_1", "a_b_c", "_-_x"] {
            assert!(is_pool_id(good), "{good}");
        }
        let long = format!("us-east-1_{}", "a".repeat(46));
        for bad in ["", "abc", "us-east-1_", "_", "_a", "us-east-1_a-b", "us east_a", "us-east-1_é", &long] {
            assert!(!is_pool_id(bad), "{bad}");
        }
    }
}
