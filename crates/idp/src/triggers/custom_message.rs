//! The CustomMessage trigger: a function may rewrite a message before its code is put in.

use std::collections::BTreeMap;

use lido_domain::Medium;
use serde_json::{Value, json};

use crate::attributes;
use crate::cx::Cx;
use crate::fault::{self, Error, Result};
use crate::messages::{Kind, Letter, template};
use crate::triggers::{About, add_metadata, event, invoke, text};

/// The texts that the function gave for its channel; what it left out keeps the template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    pub body: Option<String>,
    pub subject: Option<String>,
}

/// Fires the trigger if the pool has one.
///
/// The function never sees the code: it places `{####}`. Errors: those of [`fault::trigger_failed`], and
/// [`fault::unrecognizable_lambda_output`] for a text without its placeholders or over its length.
/// Source: CustomMessage trigger.
pub(crate) async fn rewrite(cx: &Cx, letter: &Letter<'_>) -> Result<Rewritten> {
    let Some(arn) = letter.pool.lambda().and_then(|lambda| lambda.custom_message.as_deref()) else {
        return Ok(Rewritten::default());
    };
    let about = About { pool: letter.pool, client: letter.client, username: letter.user.username.as_str() };
    let event = event(
        about,
        letter.kind.source(),
        request(letter.kind, attributes::for_event(letter.pool, letter.user), letter.metadata),
        json!({ "smsMessage": null, "emailMessage": null, "emailSubject": null }),
    );
    let response = invoke(cx, "CustomMessage", arn, &event).await?;
    read(letter.kind, letter.medium(), &response)
}

fn request(
    kind: Kind,
    attributes: BTreeMap<String, String>,
    metadata: Option<&BTreeMap<String, String>>,
) -> Value {
    let mut request = json!({
        "userAttributes": attributes,
        "codeParameter": template::CODE,
        "linkParameter": "{##Click Here##}",
        "usernameParameter": (kind == Kind::AdminCreateUser).then_some(template::USERNAME),
    });
    add_metadata(&mut request, metadata);
    request
}

/// The texts for the medium that is sent, checked as the service checks them.
fn read(kind: Kind, medium: Medium, response: &Value) -> Result<Rewritten> {
    let text = |name: &str| Ok::<_, Error>(text(response, name)?.map(str::to_owned));
    let (body, subject) = match medium {
        Medium::Email => (text("emailMessage")?, text("emailSubject")?),
        Medium::Sms => (text("smsMessage")?, None),
    };
    let longest = match medium {
        Medium::Email => template::MAX_EMAIL,
        Medium::Sms => template::MAX_SMS,
    };
    if let Some(body) = &body {
        let has_places = body.contains(template::CODE)
            && (kind != Kind::AdminCreateUser || body.contains(template::USERNAME));
        if !has_places || body.chars().count() > longest {
            return Err(fault::unrecognizable_lambda_output().into());
        }
    }
    if subject.as_ref().is_some_and(|subject| subject.chars().count() > template::MAX_SUBJECT) {
        return Err(fault::unrecognizable_lambda_output().into());
    }
    Ok(Rewritten { body, subject })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(kind: Kind, medium: Medium, response: Value) {
        let error = read(kind, medium, &response).unwrap_err();
        assert_eq!(error.to_string(), "InvalidLambdaResponseException: Unrecognizable lambda output");
    }

    #[test]
    fn absent_and_null_texts_keep_the_template() {
        let kept = read(Kind::SignUp, Medium::Email, &json!({ "emailMessage": null })).unwrap();
        assert_eq!(kept, Rewritten::default());
    }

    #[test]
    fn only_the_medium_that_is_sent_counts() {
        let response = json!({ "smsMessage": "no place", "emailMessage": "Hi {####}", "emailSubject": "S" });
        let read = read(Kind::SignUp, Medium::Email, &response).unwrap();
        assert_eq!(read, Rewritten { body: Some("Hi {####}".into()), subject: Some("S".into()) });
    }

    #[test]
    fn a_text_without_its_places_or_of_another_type_is_refused() {
        fails(Kind::SignUp, Medium::Email, json!({ "emailMessage": "Hello" }));
        fails(Kind::SignUp, Medium::Sms, json!({ "smsMessage": 3 }));
        fails(Kind::AdminCreateUser, Medium::Sms, json!({ "smsMessage": "{####}" }));
        fails(Kind::SignUp, Medium::Sms, json!({ "smsMessage": format!("{{####}}{}", "x".repeat(140)) }));
        fails(Kind::SignUp, Medium::Email, json!({ "emailSubject": "x".repeat(141) }));
    }

    #[test]
    fn the_username_parameter_is_given_for_invitations_alone() {
        let plain = request(Kind::SignUp, BTreeMap::new(), None);
        assert_eq!(plain["usernameParameter"], Value::Null);
        assert!(plain.get("clientMetadata").is_none());
        let invitation = request(Kind::AdminCreateUser, BTreeMap::new(), Some(&BTreeMap::new()));
        assert_eq!(invitation["usernameParameter"], "{username}");
        assert_eq!(invitation["clientMetadata"], json!({}));
    }
}
