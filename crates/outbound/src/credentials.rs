//! Keys with which Lido signs its own calls to AWS.

use std::env;

use lido_domain::Secret;

/// An access key; the secret parts are never printed.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: Secret<String>,
    /// Present for temporary keys.
    pub session_token: Option<Secret<String>>,
}

impl Credentials {
    pub fn new(
        access_key_id: impl Into<String>,
        secret_access_key: Secret<String>,
        session_token: Option<Secret<String>>,
    ) -> Self {
        Self { access_key_id: access_key_id.into(), secret_access_key, session_token }
    }
}

/// What holds for every signed call whose own section says nothing: `[aws]`, then the environment.
#[derive(Clone, Debug, Default)]
pub struct AwsSettings {
    /// `[aws] region`
    pub region: Option<String>,
    /// `[aws] access_key_id`, `secret_access_key`, `session_token`
    pub credentials: Option<Credentials>,
    environment_region: Option<String>,
}

impl AwsSettings {
    /// The section `[aws]` alone. Nothing is taken from the environment before [`Self::or_environment`].
    pub fn new(region: Option<String>, credentials: Option<Credentials>) -> Self {
        Self { region, credentials, environment_region: None }
    }

    /// Fills what the section leaves open from `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
    /// `AWS_SESSION_TOKEN`, and `AWS_REGION` or `AWS_DEFAULT_REGION`.
    pub fn or_environment(self) -> Self {
        self.or_variables(|name| env::var(name).ok())
    }

    fn or_variables(mut self, variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        if self.credentials.is_none()
            && let (Some(id), Some(secret)) =
                (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"))
        {
            let session_token = variable("AWS_SESSION_TOKEN").map(Secret::new);
            self.credentials = Some(Credentials::new(id, Secret::new(secret), session_token));
        }
        self.environment_region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
        self
    }

    /// A section's own key, else that of `[aws]`, else that of the environment.
    pub(crate) fn credentials_or<'a>(&'a self, own: Option<&'a Credentials>) -> Option<&'a Credentials> {
        own.or(self.credentials.as_ref())
    }

    /// A section's own region, else that of `[aws]`, else the one that the resource names (an ARN's
    /// is always right for the resource), else that of the environment.
    pub(crate) fn region_or<'a>(&'a self, own: Option<&'a str>, resource: Option<&'a str>) -> &'a str {
        own.or(self.region.as_deref())
            .or(resource)
            .or(self.environment_region.as_deref())
            .unwrap_or("us-east-1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "AWS_ACCESS_KEY_ID" => Some("AKENV".to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some("secret-env".to_owned()),
            "AWS_SESSION_TOKEN" => Some(String::new()),
            "AWS_DEFAULT_REGION" => Some("eu-south-1".to_owned()),
            _ => None,
        }
    }

    fn key(id: &str) -> Credentials {
        Credentials::new(id, Secret::new("secret".to_owned()), None)
    }

    #[test]
    fn the_section_wins_over_aws_and_aws_over_the_environment() {
        let aws = AwsSettings::new(None, Some(key("AKAWS"))).or_variables(environment);
        assert_eq!(aws.credentials_or(Some(&key("AKOWN"))).unwrap().access_key_id, "AKOWN");
        assert_eq!(aws.credentials_or(None).unwrap().access_key_id, "AKAWS");

        let aws = AwsSettings::default().or_variables(environment);
        let found = aws.credentials_or(None).unwrap();
        assert_eq!(found.access_key_id, "AKENV");
        assert!(found.session_token.is_none(), "an empty variable counts as absent");
        assert!(AwsSettings::default().credentials_or(None).is_none());
    }

    #[test]
    fn the_region_of_the_arn_stands_between_configuration_and_environment() {
        let aws = AwsSettings::default().or_variables(environment);
        assert_eq!(aws.region_or(Some("a"), Some("b")), "a");
        assert_eq!(aws.region_or(None, Some("b")), "b");
        assert_eq!(aws.region_or(None, None), "eu-south-1");
        assert_eq!(AwsSettings::new(Some("c".to_owned()), None).region_or(None, Some("b")), "c");
    }

    #[test]
    fn secrets_are_not_printed() {
        let printed = format!("{:?}", AwsSettings::new(None, Some(key("AKAWS"))));
        assert!(printed.contains("***") && !printed.contains("\"secret\""), "{printed}");
    }
}
