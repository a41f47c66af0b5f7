//! Tags of user pools: set, remove and list them by the pool's ARN.

use std::collections::BTreeMap;
use std::sync::Arc;

use lido_wire::ops::{ListTagsForResource, TagResource, UntagResource};
use lido_wire::types::{ListTagsForResourceResponse, TagResourceResponse, UntagResourceResponse};

use crate::Operation;
use crate::caller::Iam;
use crate::cx::Cx;
use crate::fault::{self, Result};
use crate::ops::user_pools;
use crate::pool::Pool;

/// Tags of a pool. Source: API reference, TagResource.
const MOST_TAGS: usize = 50;

/// Sets tags; the others stay.
impl Operation for TagResource {
    type Caller = Iam;

    async fn run(cx: &Cx, _caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = pool(cx, &input.resource_arn).await?;
        let mut record = pool.record.clone();
        record.tags.extend(input.tags);
        // This operation does not declare UserPoolTaggingException.
        check(&record.tags).map_err(fault::invalid_parameter)?;
        user_pools::put(cx, record).await?;
        Ok(TagResourceResponse {})
    }
}

/// Removes tags. A key that the pool does not have is not an error.
impl Operation for UntagResource {
    type Caller = Iam;

    async fn run(cx: &Cx, _caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = pool(cx, &input.resource_arn).await?;
        let mut record = pool.record.clone();
        record.tags.retain(|key, _| !input.tag_keys.contains(key));
        user_pools::put(cx, record).await?;
        Ok(UntagResourceResponse {})
    }
}

impl Operation for ListTagsForResource {
    type Caller = Iam;

    async fn run(cx: &Cx, _caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = pool(cx, &input.resource_arn).await?;
        Ok(ListTagsForResourceResponse { tags: Some(pool.record.tags.clone()) })
    }
}

/// The pool that an ARN names.
///
/// Errors: InvalidParameterException for what is not the ARN of a user pool; [`fault::pool_not_found`] also
/// for a pool of another account or region. How the service tells these apart is not known.
async fn pool(cx: &Cx, arn: &str) -> Result<Arc<Pool>> {
    let Some(id) = pool_id(arn) else {
        return Err(fault::invalid_parameter(format!("Invalid resource ARN: {arn}")).into());
    };
    let pool = cx.pool(id).await?;
    if cx.settings.pool_arn(&pool.record.id) == arn {
        Ok(pool)
    } else {
        Err(fault::pool_not_found(id).into())
    }
}

/// `us-east-1_a` of `arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_a`.
fn pool_id(arn: &str) -> Option<&str> {
    let mut parts = arn.splitn(6, ':');
    let [prefix, _partition, service, _region, _account, resource] = [(); 6].map(|()| parts.next());
    if prefix? != "arn" || service? != "cognito-idp" {
        return None;
    }
    resource?.strip_prefix("userpool/").filter(|id| !id.is_empty())
}

/// Why a pool cannot have these tags. The texts are Lido's.
pub(super) fn check(tags: &BTreeMap<String, String>) -> Result<(), String> {
    if tags.len() > MOST_TAGS {
        return Err(format!("A user pool cannot have more than {MOST_TAGS} tags."));
    }
    // Source: the rules for tags that all services share.
    match tags.keys().find(|key| key.to_ascii_lowercase().starts_with("aws:")) {
        Some(key) => Err(format!("The tag key {key} has the prefix aws:, which is reserved.")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_s_arn_ends_with_its_id() {
        assert_eq!(
            pool_id("arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_a"),
            Some("us-east-1_a")
        );
        for other in [
            "us-east-1_a",
            "arn:aws:cognito-identity:us-east-1:123456789012:userpool/us-east-1_a",
            "arn:aws:cognito-idp:us-east-1:123456789012:userpool/",
            "arn:aws:cognito-idp:us-east-1:123456789012:identitypool/a",
            "arn:aws:cognito-idp:us-east-1",
        ] {
            assert_eq!(pool_id(other), None, "{other}");
        }
    }

    #[test]
    fn tags_are_counted_and_their_reserved_prefix_is_refused() {
        let tags = |count: usize| (0..count).map(|index| (format!("k{index}"), String::new())).collect();
        assert_eq!(check(&tags(50)), Ok(()));
        assert!(check(&tags(51)).is_err());
        assert!(check(&[("AWS:x".to_owned(), String::new())].into()).is_err());
    }
}
