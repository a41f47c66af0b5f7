//! App clients: create, describe, update, delete, list.

mod settings;

use std::sync::Arc;

use lido_crypto::keys::Purpose;
use lido_domain::{AppClient, ClientId, PoolId};
use lido_store::{clients, pools, sessions};
use lido_wire::ops::{
    CreateUserPoolClient, DeleteUserPoolClient, DescribeUserPoolClient, ListUserPoolClients,
    UpdateUserPoolClient,
};
use lido_wire::types::{
    ClientTypeType, CreateUserPoolClientRequest, CreateUserPoolClientResponse,
    DescribeUserPoolClientResponse, ListUserPoolClientsResponse, Sensitive, Timestamp,
    UpdateUserPoolClientResponse, UserPoolClientDescription, UserPoolClientType,
};

use crate::caller::Iam;
use crate::cx::Cx;
use crate::fault::{self, Error, Result};
use crate::ops::user_pools::first_revision;
use crate::pool::{Client, Pool};
use crate::{Operation, paging};

/// App clients of a pool. Source: the service's quotas.
const MOST_CLIENTS: i64 = 1000;

/// Sign-ins that are removed in one transaction.
const PURGE_BATCH: i64 = 500;

/// Clients in one answer where the request names no number.
const PAGE: i32 = 60;

const LOWER_CASE: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";

impl Operation for CreateUserPoolClient {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, mut input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let secret = input.client_secret.take().map(Sensitive::into_string);
        let client = create(cx, &pool, None, secret, input).await?;
        Ok(CreateUserPoolClientResponse { user_pool_client: Some(describe(&client)) })
    }
}

impl Operation for DescribeUserPoolClient {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let client = cx.client(&pool, input.client_id.as_str()).await?;
        let described =
            UserPoolClientType { client_type: Some(ClientTypeType::Regular), ..describe(&client) };
        Ok(DescribeUserPoolClientResponse { user_pool_client: Some(described) })
    }
}

/// Replaces the settings: what is left out goes back to its default, the name excepted; the secret stays.
/// Source: API reference, UpdateUserPoolClient.
impl Operation for UpdateUserPoolClient {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, mut input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let client = cx.client(&pool, input.client_id.as_str()).await?;
        let mut record = client.record.clone();
        if let Some(name) = input.client_name.take() {
            record.name = name;
        }
        record.settings = stored(&settings::updated(&pool, input, client.secret.is_some())?);
        record.updated = cx.now();
        cx.store
            .write((record.clone(), pool.record.revision), |(record, pool_revision), tx| {
                Box::pin(async move {
                    // The settings were checked against the pool as it was read.
                    let checked = pools::revision(tx, &record.pool).await? == Some(*pool_revision);
                    if checked && clients::put(tx, record).await? { Ok(()) } else { Err(Error::Conflict) }
                })
            })
            .await?;
        let client = Client::parse(record, &cx.keyring)?;
        Ok(UpdateUserPoolClientResponse { user_pool_client: Some(describe(&client)) })
    }
}

/// Ends the sign-ins that were made through the client, too.
impl Operation for DeleteUserPoolClient {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let names = (pool.record.id.clone(), ClientId::new(input.client_id.as_str()));
        cx.store
            .write(names.clone(), |(pool, id), tx| {
                Box::pin(async move {
                    if clients::delete(tx, pool, id).await? {
                        Ok(())
                    } else {
                        Err(Error::from(fault::client_not_found(id.as_str())))
                    }
                })
            })
            .await?;
        // No new ones can begin. In batches, so that nobody waits for a client that many have used.
        let purge = || {
            cx.store.write(names.clone(), |(pool, id), tx| {
                Box::pin(
                    async move { Ok::<_, Error>(sessions::purge_client(tx, pool, id, PURGE_BATCH).await?) },
                )
            })
        };
        while !purge().await? {}
        Ok(())
    }
}

/// Clients in the order of their ids; the service promises none.
impl Operation for ListUserPoolClients {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let kind = input.client_type.map_or("", |kind| kind.as_str());
        let scope = ["ListUserPoolClients", pool.record.id.as_str(), kind];
        let after: String = match &input.next_token {
            Some(token) => paging::decode(cx, &scope, token)?,
            None => String::new(),
        };
        let size = usize::try_from(input.max_results.unwrap_or(PAGE)).unwrap_or(1);
        let mut found = cx
            .store
            .read((pool.record.id.clone(), after, size), |(pool, after, size), tx| {
                // One more tells whether there is a next page.
                let limit = i64::try_from(*size).unwrap_or(i64::MAX).saturating_add(1);
                Box::pin(async move { Ok::<_, Error>(clients::list(tx, pool, after, limit).await?) })
            })
            .await?;
        let more = found.len() > size;
        found.truncate(size);
        let next_token =
            found.last().filter(|_| more).map(|last| paging::encode(cx, &scope, &last.id.as_str()));
        // As the service does, the filter leaves pages short. No client comes from dynamic registration yet.
        if input.client_type == Some(ClientTypeType::Dcr) {
            found.clear();
        }
        let user_pool_clients = found
            .into_iter()
            .map(|record| UserPoolClientDescription {
                client_id: Some(String::from(record.id).into()),
                user_pool_id: Some(record.pool.into()),
                client_name: Some(record.name),
            })
            .collect();
        Ok(ListUserPoolClientsResponse { user_pool_clients: Some(user_pool_clients), next_token })
    }
}

/// Makes a client, with `id` or one of its own, and with `secret`, a generated one, or none.
/// The pool and the secret that `request` names are not looked at.
///
/// Errors: those of the settings; [`fault::quota_exceeded`]; InvalidParameterException for an `id` in use and
/// for a secret that is given and to be generated.
pub async fn create(
    cx: &Cx,
    pool: &Pool,
    id: Option<ClientId>,
    secret: Option<String>,
    mut request: CreateUserPoolClientRequest,
) -> Result<Arc<Client>> {
    let secret = match (secret, request.generate_secret.unwrap_or_default()) {
        (Some(_), true) => {
            return Err(
                fault::invalid_parameter("GenerateSecret and ClientSecret exclude each other.").into()
            );
        }
        (None, true) => Some(new_secret(cx)),
        (secret, false) => secret,
    };
    let fixed = id.is_some();
    let id = id.unwrap_or_else(|| ClientId::new(cx.random_text(LOWER_CASE, 26)));
    let name = std::mem::take(&mut request.client_name);
    let settings = settings::created(pool, request, secret.is_some())?;
    let sealed_secret = secret.as_deref().map(|secret| seal_secret(cx, &pool.record.id, &id, secret));
    let now = cx.now();
    let record = AppClient {
        pool: pool.record.id.clone(),
        id,
        name,
        settings: stored(&settings),
        sealed_secret,
        secret_created: None,
        second_secret: None,
        created: now,
        updated: now,
        revision: first_revision(cx),
    };
    cx.store
        .write((record.clone(), pool.record.revision, fixed), |(record, pool_revision, fixed), tx| {
            Box::pin(async move {
                // The settings were checked against the pool as it was read.
                if pools::revision(tx, &record.pool).await? != Some(*pool_revision) {
                    return Err(Error::Conflict);
                }
                if clients::count(tx, &record.pool).await? >= MOST_CLIENTS {
                    return Err(fault::quota_exceeded("app clients of a user pool").into());
                }
                match clients::insert(tx, record).await? {
                    true => Ok(()),
                    false if *fixed => {
                        let text = format!("User pool client {} already exists.", record.id);
                        Err(fault::invalid_parameter(text).into())
                    }
                    false => Err(Error::Conflict),
                }
            })
        })
        .await?;
    Ok(Arc::new(Client::parse(record, &cx.keyring)?))
}

/// A generated secret.
pub(super) fn new_secret(cx: &Cx) -> String {
    cx.random_text(LOWER_CASE, 52)
}

/// A client's secret as it is stored.
pub(super) fn seal_secret(cx: &Cx, pool: &PoolId, client: &ClientId, secret: &str) -> Vec<u8> {
    let context = Client::seal_context(pool, client);
    cx.keyring.seal(Purpose::ClientSecret, &context, secret.as_bytes(), &*cx.random)
}

/// Settings as they are stored.
fn stored(settings: &UserPoolClientType) -> String {
    serde_json::to_string(settings).expect("settings have only string keys")
}

/// What the operations on one client show. Of two secrets it is the older one; which one the service shows is not
/// known.
fn describe(client: &Client) -> UserPoolClientType {
    let record = &client.record;
    UserPoolClientType {
        user_pool_id: Some(record.pool.to_string()),
        client_id: Some(record.id.as_str().into()),
        client_name: Some(record.name.clone()),
        client_secret: client.secret.as_ref().map(|secret| secret.expose().as_str().into()),
        creation_date: Some(Timestamp::from_millis(record.created.0)),
        last_modified_date: Some(Timestamp::from_millis(record.updated.0)),
        ..client.settings.clone()
    }
}
