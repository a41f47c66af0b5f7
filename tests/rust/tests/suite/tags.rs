//! TagResource, UntagResource, ListTagsForResource.

use std::collections::BTreeMap;

use lido_tests::{Lido, Pool};
use serde_json::{Value, json};

async fn tagged(tags: Value) -> Pool {
    Lido::shared().await.pool().with(json!({ "UserPoolTags": tags })).create().await
}

async fn tags(pool: &Pool) -> Value {
    let answer = pool.lido.call("ListTagsForResource", json!({ "ResourceArn": pool.arn })).await.ok();
    answer["Tags"].clone()
}

#[tokio::test]
async fn tags_are_set_replaced_and_removed() {
    let pool = tagged(json!({ "team": "one" })).await;
    assert_eq!(tags(&pool).await, json!({ "team": "one" }));
    let set = json!({ "ResourceArn": pool.arn, "Tags": { "team": "two", "stage": "" } });
    pool.lido.call("TagResource", set).await.ok_empty();
    assert_eq!(tags(&pool).await, json!({ "team": "two", "stage": "" }));
    assert_eq!(pool.describe().await["UserPoolTags"], json!({ "team": "two", "stage": "" }));
    let removed = json!({ "ResourceArn": pool.arn, "TagKeys": ["team", "never"] });
    pool.lido.call("UntagResource", removed).await.ok_empty();
    assert_eq!(tags(&pool).await, json!({ "stage": "" }));
}

#[tokio::test]
async fn a_resource_is_the_arn_of_a_pool() {
    let pool = tagged(json!({})).await;
    let lido = &pool.lido;
    let other = "arn:aws:cognito-identity:us-east-1:000000000000:identitypool/x";
    let elsewhere = pool.arn.replace("000000000000", "111111111111");
    let unknown = "arn:aws:cognito-idp:us-east-1:000000000000:userpool/us-east-1_unknown";
    for (operation, rest) in [
        ("ListTagsForResource", json!({})),
        ("TagResource", json!({ "Tags": {} })),
        ("UntagResource", json!({ "TagKeys": [] })),
    ] {
        let body = |arn: &str| lido_tests::merged(json!({ "ResourceArn": arn }), rest.clone());
        lido.call(operation, body(other)).await.is_invalid(&format!("Invalid resource ARN: {other}"));
        let missing = format!("User pool {} does not exist.", pool.id);
        lido.call(operation, body(&elsewhere)).await.fails("ResourceNotFoundException", &missing);
        let missing = "User pool us-east-1_unknown does not exist.";
        lido.call(operation, body(unknown)).await.fails("ResourceNotFoundException", missing);
        let malformed =
            "1 validation error detected: Value 'pool' at 'resourceArn' failed to satisfy constraint: ";
        let message = lido.call(operation, body("pool")).await.fails_with("InvalidParameterException");
        assert!(message.contains(malformed.trim_end()) || message.contains("at 'resourceArn'"), "{message}");
    }
}

#[tokio::test]
async fn a_pool_has_at_most_fifty_tags_and_none_of_the_service() {
    let many: BTreeMap<String, &str> = (0..50).map(|index| (format!("k{index}"), "v")).collect();
    let pool = tagged(json!(many)).await;
    let more = json!({ "ResourceArn": pool.arn, "Tags": { "k50": "v" } });
    pool.lido.call("TagResource", more).await.is_invalid("A user pool cannot have more than 50 tags.");
    let reserved = "The tag key aws:x has the prefix aws:, which is reserved.";
    let tags = json!({ "aws:x": "v" });
    let empty = tagged(json!({})).await;
    let body = json!({ "ResourceArn": empty.arn, "Tags": tags });
    empty.lido.call("TagResource", body).await.is_invalid(reserved);
    let body = json!({ "PoolName": "p", "UserPoolTags": tags });
    empty.lido.call("CreateUserPool", body).await.fails("UserPoolTaggingException", reserved);
    empty
        .call("UpdateUserPool", json!({ "UserPoolTags": tags }))
        .await
        .fails("UserPoolTaggingException", reserved);
}
