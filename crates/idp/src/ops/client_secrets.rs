//! AddUserPoolClientSecret, ListUserPoolClientSecrets, DeleteUserPoolClientSecret: a client has one or two secrets,
//! so that one can take the place of the other while applications know either.

use lido_domain::records::SealedSecret;
use lido_domain::{AppClient, Millis};
use lido_store::clients;
use lido_wire::ops::{AddUserPoolClientSecret, DeleteUserPoolClientSecret, ListUserPoolClientSecrets};
use lido_wire::types::{
    AddUserPoolClientSecretResponse, ClientSecretDescriptorType, ListUserPoolClientSecretsResponse,
    Sensitive, Timestamp,
};

use crate::Operation;
use crate::caller::Iam;
use crate::cx::Cx;
use crate::fault::{self, Error, Result};
use crate::ops::app_clients::{new_secret, seal_secret};

/// Adds a second secret. A generated one is shown this once, a given one never. The client must have been made with a
/// secret.
///
/// Errors: [`fault::client_without_secret`], [`fault::too_many_client_secrets`].
impl Operation for AddUserPoolClientSecret {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let mut record = cx.client(&pool, &input.client_id).await?.record.clone();
        let Some(first) = first_created(&record) else { return Err(fault::client_without_secret().into()) };
        if record.second_secret.is_some() {
            return Err(fault::too_many_client_secrets().into());
        }
        let generated = input.client_secret.is_none().then(|| new_secret(cx));
        let secret = input.client_secret.as_deref().or(generated.as_deref()).unwrap_or_default();
        let now = cx.now();
        // The moment is the name: two secrets never share one.
        let created = now.max(Millis(first.0 + 1));
        let sealed = seal_secret(cx, &record.pool, &record.id, secret);
        record.second_secret = Some(SealedSecret { sealed, created });
        record.updated = now;
        put(cx, record.clone()).await?;
        let descriptor = ClientSecretDescriptorType {
            client_secret_value: generated.map(Sensitive::from),
            ..describe(&record, created)
        };
        Ok(AddUserPoolClientSecretResponse { client_secret_descriptor: Some(descriptor) })
    }
}

/// Both at once, the older first; no values. There is never a next page.
///
/// Errors: [`fault::invalid_pagination_token`].
impl Operation for ListUserPoolClientSecrets {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let client = cx.client(&pool, &input.client_id).await?;
        if input.next_token.is_some() {
            return Err(fault::invalid_pagination_token().into());
        }
        let record = &client.record;
        let second = record.second_secret.as_ref().map(|second| second.created);
        let secrets = first_created(record).into_iter().chain(second);
        let client_secrets = Some(secrets.map(|created| describe(record, created)).collect());
        Ok(ListUserPoolClientSecretsResponse { client_secrets, next_token: None })
    }
}

/// What knows the secret stops working at once; tokens that were given stay.
///
/// Errors: [`fault::client_secret_not_found`], [`fault::last_client_secret`].
impl Operation for DeleteUserPoolClientSecret {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let mut record = cx.client(&pool, &input.client_id).await?.record.clone();
        let is_meant = |created: Millis| secret_id(&record, created) == input.client_secret_id;
        let is_first = first_created(&record).is_some_and(is_meant);
        match record.second_secret.take() {
            Some(second) if is_first => {
                record.sealed_secret = Some(second.sealed);
                record.secret_created = Some(second.created);
            }
            Some(second) if secret_id(&record, second.created) == input.client_secret_id => {}
            None if is_first => return Err(fault::last_client_secret().into()),
            _ => return Err(fault::client_secret_not_found(&input.client_secret_id).into()),
        }
        record.updated = cx.now();
        put(cx, record).await?;
        Ok(Self::Output::default())
    }
}

/// Writes a client whose secrets have changed, unless anything of it has changed since it was read.
async fn put(cx: &Cx, record: AppClient) -> Result<()> {
    cx.store
        .write(record, |record, tx| {
            Box::pin(
                async move { if clients::put(tx, record).await? { Ok(()) } else { Err(Error::Conflict) } },
            )
        })
        .await
}

/// When the first secret was made.
fn first_created(record: &AppClient) -> Option<Millis> {
    record.sealed_secret.as_ref()?;
    Some(record.secret_created.unwrap_or(record.created))
}

/// Source: a secret's id is the client's and the time of its making; the unit is inferred.
fn secret_id(record: &AppClient, created: Millis) -> String {
    format!("{}--{}", record.id, created.0)
}

fn describe(record: &AppClient, created: Millis) -> ClientSecretDescriptorType {
    ClientSecretDescriptorType {
        client_secret_id: Some(secret_id(record, created)),
        client_secret_value: None,
        client_secret_create_date: Some(Timestamp::from_millis(created.0)),
    }
}
