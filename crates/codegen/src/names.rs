//! From the model's spelling to Rust's.

use anyhow::{Result, ensure};
use proc_macro2::{Ident, Span};

/// `SMSMfaSettings` → `sms_mfa_settings`, `CallbackURLs` → `callback_urls`.
pub(crate) fn snake(name: &str) -> String {
    let name = name.replace("OAuth", "Oauth").replace("URLs", "Urls");
    let letters: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (i, &letter) in letters.iter().enumerate() {
        if letter.is_uppercase() && i > 0 {
            let after_lower = !letters[i - 1].is_uppercase();
            let before_lower = letters.get(i + 1).is_some_and(|next| next.is_lowercase());
            if after_lower || before_lower {
                out.push('_');
            }
        }
        out.extend(letter.to_lowercase());
    }
    out
}

/// The variant for an enum value: `USER_SRP_AUTH` → `UserSrpAuth`, `userAuthEvents` → `UserAuthEvents`,
/// `TLS_V1_2_2021` → `TlsV1_2_2021`.
pub(crate) fn variant(value: &str) -> Result<Ident> {
    let mixed = !value.contains('_') && value.contains(|c: char| c.is_lowercase());
    let mut out = String::new();
    for word in value.split('_') {
        let rest = word.get(1..).unwrap_or_default();
        if out.ends_with(|c: char| c.is_ascii_digit()) && word.starts_with(|c: char| c.is_ascii_digit()) {
            out.push('_');
        }
        out.extend(word.chars().next().map(|first| first.to_ascii_uppercase()));
        out.push_str(&if mixed { rest.to_string() } else { rest.to_lowercase() });
    }
    ensure!(
        out.starts_with(|c: char| c.is_alphabetic())
            && out.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'),
        "no Rust name for the enum value {value:?}"
    );
    Ok(ident(&out))
}

/// A static's name.
pub(crate) fn constant(name: &str) -> Ident {
    ident(&snake(name).to_uppercase())
}

/// An identifier, raw where the word is a keyword.
pub(crate) fn ident(name: &str) -> Ident {
    syn::parse_str(name).unwrap_or_else(|_| Ident::new_raw(name, Span::call_site()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_spelt_in_snake_case() {
        for (model, rust) in [
            ("UserPoolId", "user_pool_id"),
            ("SMSMessage", "sms_message"),
            ("SMSMfaSettings", "sms_mfa_settings"),
            ("CustomSMSSender", "custom_sms_sender"),
            ("MFAOptions", "mfa_options"),
            ("CSS", "css"),
            ("KMSKeyID", "kms_key_id"),
            ("CallbackURLs", "callback_urls"),
            ("UserMFASettingList", "user_mfa_setting_list"),
            ("AllowedOAuthFlows", "allowed_oauth_flows"),
            ("DefaultRedirectURI", "default_redirect_uri"),
            ("AWSAccountId", "aws_account_id"),
            ("BlockedIPRangeList", "blocked_ip_range_list"),
            ("EumsSms", "eums_sms"),
            ("headerName", "header_name"),
        ] {
            assert_eq!(snake(model), rust);
        }
    }

    #[test]
    fn enum_values_become_variants() {
        for (model, rust) in [
            ("USER_SRP_AUTH", "UserSrpAuth"),
            ("phone_number", "PhoneNumber"),
            ("userAuthEvents", "UserAuthEvents"),
            ("LoginWithAmazon", "LoginWithAmazon"),
            ("SAML", "Saml"),
            ("V1_0", "V1_0"),
            ("TLS_V1_2_2021", "TlsV1_2_2021"),
            ("PBKDF2_SHA256", "Pbkdf2Sha256"),
            ("N_A", "NA"),
        ] {
            assert_eq!(variant(model).unwrap(), rust);
        }
    }

    #[test]
    fn keywords_become_raw() {
        assert_eq!(ident("type").to_string(), "r#type");
    }
}
