//! User attributes: who may write which, what a value looks like, and how they are listed.
//!
//! Pure: nothing here reads the store. What follows from a change (a code to send, a sign-in name to
//! move) is decided by the operation.

use std::collections::BTreeMap;

use lido_domain::{Attributes, MfaFactor, User};
use lido_wire::types::{AttributeDataType, AttributeType, SchemaAttributeType};

use crate::fault::{self, Result};
use crate::pool::{Client, Pool};

/// The attributes that a code can verify.
pub const ADDRESSES: [&str; 2] = ["email", "phone_number"];

/// Longest value, in characters. Source: AttributeValueType.
const LONGEST_VALUE: usize = 2048;

/// Who writes attributes.
#[derive(Clone, Copy, Debug)]
pub enum Writer<'a> {
    /// A call with the account's credentials: the client's permissions do not matter.
    Administrator,
    /// The user, through an app client.
    Client(&'a Client),
}

/// The attributes of a new user (SignUp, AdminCreateUser). An empty value counts as absent, and of an
/// attribute that is sent twice the last value counts.
///
/// Required attributes may be missing from the answer: see [`missing_required`]. It has just what was
/// sent, as PreSignUp shows it; [`with_verified_flags`] completes it for a user that signs up.
///
/// Errors: [`fault::attribute_type_undetermined`], [`fault::attribute_non_mutable`],
/// [`fault::unauthorized_attribute_write`], [`fault::preferred_username_of_unconfirmed`], and those of the
/// value.
pub fn for_new_user(pool: &Pool, writer: Writer<'_>, sent: &[AttributeType]) -> Result<Attributes> {
    let mut attributes = Attributes::new();
    for attribute in sent {
        let name = attribute.name.as_str();
        refuse_reserved(writer, name)?;
        let schema = pool.schema(name).ok_or_else(|| fault::attribute_type_undetermined(name))?;
        let value = sent_value(attribute)?;
        if value.is_empty() {
            attributes.remove(name);
            continue;
        }
        require_permission(writer, schema, name)?;
        if matches!(writer, Writer::Client(_)) && name == "preferred_username" && pool.is_alias(name) {
            return Err(fault::preferred_username_of_unconfirmed().into());
        }
        attributes.insert(name.to_owned(), normal_value(schema, name, value)?);
    }
    Ok(attributes)
}

/// Gives every address its flag: `email_verified` is `false` where it is not set.
///
/// The service lists the flag of a user who signed up, and leaves it out for one whom an administrator
/// created without it. Absent and `false` mean the same everywhere.
pub fn with_verified_flags(mut attributes: Attributes) -> Attributes {
    for address in ADDRESSES {
        if attributes.contains_key(address) {
            attributes.entry(verified_flag(address)).or_insert_with(|| "false".to_owned());
        }
    }
    attributes
}

/// The attribute that tells whether an address is verified: `email_verified`.
pub fn verified_flag(address: &str) -> String {
    format!("{address}_verified")
}

/// What an update does to the attributes; no name is in both parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub set: Attributes,
    /// Removing an address removes its verified flag too.
    pub remove: Vec<String>,
}

/// UpdateUserAttributes and AdminUpdateUserAttributes. An empty value removes the attribute, and of an
/// attribute that is sent twice the last value counts.
///
/// A new address says nothing of its verified flag unless an administrator sent that too: whether the old
/// one falls depends on whether the new address has to wait.
///
/// Errors: [`fault::attribute_not_in_schema`], [`fault::attribute_not_mutable`],
/// [`fault::attribute_non_mutable`], [`fault::unauthorized_attribute_write`],
/// [`fault::required_attributes_missing`] for a required one that would be removed, and those of the value.
pub fn for_update(pool: &Pool, writer: Writer<'_>, sent: &[AttributeType]) -> Result<Change> {
    let mut last = BTreeMap::new();
    for attribute in sent {
        let name = attribute.name.as_str();
        refuse_reserved(writer, name)?;
        let schema = pool.schema(name).ok_or_else(|| fault::attribute_not_in_schema(name))?;
        let value = sent_value(attribute)?;
        require_mutable(schema, name)?;
        require_permission(writer, schema, name)?;
        let value = match value {
            "" => {
                require_optional(schema, name)?;
                None
            }
            value => Some(normal_value(schema, name, value)?),
        };
        last.insert(name.to_owned(), value);
    }
    for address in ADDRESSES {
        if last.get(address) == Some(&None) {
            last.insert(verified_flag(address), None);
        }
    }
    let mut change = Change::default();
    for (name, value) in last {
        match value {
            Some(value) => {
                change.set.insert(name, value);
            }
            None => change.remove.push(name),
        }
    }
    Ok(change)
}

/// DeleteUserAttributes and AdminDeleteUserAttributes: the names to remove, with the verified flags of
/// addresses among them. [`remove`] applies them.
///
/// Errors: [`fault::removed_attributes_not_in_schema`], [`fault::attribute_not_mutable`],
/// [`fault::attribute_non_mutable`], [`fault::unauthorized_attribute_write`],
/// [`fault::required_attributes_missing`].
pub fn for_removal(pool: &Pool, writer: Writer<'_>, names: &[String]) -> Result<Vec<String>> {
    let unknown: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| !is_reserved(name) && pool.schema(name).is_none())
        .collect();
    if !unknown.is_empty() {
        return Err(fault::removed_attributes_not_in_schema(&unknown).into());
    }
    let mut removed = Vec::new();
    for name in names {
        refuse_reserved(writer, name)?;
        let schema = pool.schema(name).ok_or_else(|| fault::attribute_not_in_schema(name))?;
        require_mutable(schema, name)?;
        require_permission(writer, schema, name)?;
        require_optional(schema, name)?;
        removed.push(name.clone());
        if ADDRESSES.contains(&name.as_str()) {
            removed.push(verified_flag(name));
        }
    }
    removed.sort_unstable();
    removed.dedup();
    Ok(removed)
}

/// Takes attributes from a user, and the values of these that wait for their verification.
pub fn remove(user: &mut User, names: &[String]) {
    for name in names {
        user.attributes.remove(name);
        user.pending.remove(name);
        // A factor without its address is none.
        for factor in MfaFactor::ALL {
            if factor.address() == Some(name.as_str()) {
                user.mfa.disable(factor);
            }
        }
    }
}

/// The required attributes that are absent, in the order of the schema.
pub fn missing_required<'p>(pool: &'p Pool, attributes: &Attributes) -> Vec<&'p str> {
    pool.required_attributes().filter(|name| attributes.get(*name).is_none_or(String::is_empty)).collect()
}

/// All attributes of a user as the wire lists them: `sub` first.
pub fn to_wire(user: &User) -> Vec<AttributeType> {
    let mut list = vec![wire("sub", user.sub.as_str())];
    list.extend(user.attributes.iter().map(|(name, value)| wire(name, value)));
    list
}

/// Those of [`to_wire`] that the client may read; `sub` always.
pub fn readable(client: &Client, user: &User) -> Vec<AttributeType> {
    let mut list = to_wire(user);
    list.retain(|attribute| attribute.name == "sub" || client.reads(&attribute.name));
    list
}

/// What triggers see of a user that exists: all attributes, `sub`, `cognito:user_status`, and in pools
/// with aliases those in force as `cognito:email_alias` and `cognito:phone_number_alias`.
///
/// Source: attested events of the service.
pub fn for_event(pool: &Pool, user: &User) -> BTreeMap<String, String> {
    let mut attributes = user.attributes.clone();
    attributes.insert("sub".to_owned(), user.sub.to_string());
    attributes.insert("cognito:user_status".to_owned(), user.status.to_string());
    for name in pool.sign_in_names(user) {
        if ADDRESSES.contains(&name.kind)
            && pool.is_alias(name.kind)
            && let Some(value) = user.attributes.get(name.kind)
        {
            attributes.insert(format!("cognito:{}_alias", name.kind), value.clone());
        }
    }
    if !user.mfa.enabled.is_empty() {
        attributes.insert("cognito:mfa_enabled".to_owned(), "true".to_owned());
    }
    attributes
}

/// Whether mail can be sent to this: one `@` between a local part and a domain, and nothing that would end
/// an address in a message's header.
pub fn is_email(text: &str) -> bool {
    let breaks_address = |c: char| c.is_whitespace() || c.is_control() || "<>()[],;:\\\"".contains(c);
    text.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.contains('@') && domain.split('.').all(|label| !label.is_empty())
    }) && !text.contains(breaks_address)
}

/// Whether this is a number as E.164 writes it: `+` and up to 15 digits.
pub fn is_phone_number(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        (1..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn wire(name: &str, value: &str) -> AttributeType {
    AttributeType { name: name.to_owned(), value: Some(value.into()) }
}

/// Errors: [`fault::attribute_value_null`], [`fault::attribute_null_character`].
fn sent_value(attribute: &AttributeType) -> Result<&str> {
    match &attribute.value {
        Some(value) if value.contains('\0') => Err(fault::attribute_null_character(&attribute.name).into()),
        Some(value) => Ok(value.as_str()),
        None => Err(fault::attribute_value_null(&attribute.name).into()),
    }
}

/// Attributes that nobody writes: the server alone knows them.
fn is_reserved(name: &str) -> bool {
    name == "sub" || name == "identities" || name.starts_with("cognito:")
}

fn refuse_reserved(writer: Writer<'_>, name: &str) -> Result<()> {
    let is_flag = name == "email_verified" || name == "phone_number_verified";
    if is_reserved(name) || (is_flag && matches!(writer, Writer::Client(_))) {
        return Err(fault::attribute_non_mutable(name).into());
    }
    Ok(())
}

/// Source: WriteAttributes; required attributes are writable whether they are listed or not, and only an
/// administrator writes developer attributes.
fn require_permission(writer: Writer<'_>, schema: &SchemaAttributeType, name: &str) -> Result<()> {
    match writer {
        Writer::Administrator => Ok(()),
        Writer::Client(client) => {
            let developer_only = schema.developer_only_attribute == Some(true);
            if !developer_only && (schema.required == Some(true) || client.writes(name)) {
                Ok(())
            } else {
                Err(fault::unauthorized_attribute_write().into())
            }
        }
    }
}

fn require_mutable(schema: &SchemaAttributeType, name: &str) -> Result<()> {
    if schema.mutable == Some(false) { Err(fault::attribute_not_mutable(name).into()) } else { Ok(()) }
}

fn require_optional(schema: &SchemaAttributeType, name: &str) -> Result<()> {
    if schema.required == Some(true) {
        return Err(fault::required_attributes_missing(&[name]).into());
    }
    Ok(())
}

/// A value that is not empty, as it is stored: booleans in lower case, everything else as sent.
fn normal_value(schema: &SchemaAttributeType, name: &str, value: &str) -> Result<String> {
    match name {
        "email" if !is_email(value) => return Err(fault::invalid_email_format().into()),
        "phone_number" if !is_phone_number(value) => return Err(fault::invalid_phone_format().into()),
        _ => {}
    }
    require_length(0, LONGEST_VALUE, name, value)?;
    match schema.attribute_data_type.unwrap_or_default() {
        AttributeDataType::String => {
            let constraints = schema.string_attribute_constraints.as_ref();
            let bound =
                |text: Option<&String>, absent| text.and_then(|text| text.parse().ok()).unwrap_or(absent);
            // Source: OpenID Connect Core, birthdate: YYYY-MM-DD, also where the schema was given anew.
            let (least, most) = if name == "birthdate" { (10, 10) } else { (0, LONGEST_VALUE) };
            let least = bound(constraints.and_then(|constraints| constraints.min_length.as_ref()), least);
            let most = bound(constraints.and_then(|constraints| constraints.max_length.as_ref()), most);
            require_length(least, most, name, value)?;
            Ok(value.to_owned())
        }
        AttributeDataType::Number => {
            require_number(schema, name, value)?;
            Ok(value.to_owned())
        }
        AttributeDataType::Boolean => match value.to_ascii_lowercase() {
            text if text == "true" || text == "false" => Ok(text),
            _ => Err(fault::attribute_of_wrong_type(name, "true or false").into()),
        },
        AttributeDataType::DateTime if is_date_time(value) => Ok(value.to_owned()),
        AttributeDataType::DateTime => {
            Err(fault::attribute_of_wrong_type(name, "a date and time in ISO 8601").into())
        }
    }
}

/// `least`, `most`: characters.
fn require_length(least: usize, most: usize, name: &str, value: &str) -> Result<()> {
    let length = value.chars().count();
    if length < least {
        return Err(fault::attribute_too_short(name, least).into());
    }
    if length > most {
        return Err(fault::attribute_too_long(name, most).into());
    }
    Ok(())
}

fn require_number(schema: &SchemaAttributeType, name: &str, value: &str) -> Result<()> {
    let Some(number) = number(value) else {
        return Err(fault::attribute_of_wrong_type(name, "a number").into());
    };
    let Some(constraints) = &schema.number_attribute_constraints else { return Ok(()) };
    let bound = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if let Some(least) = bound(&constraints.min_value)
        && self::number(&least).is_some_and(|least| number < least)
    {
        return Err(fault::attribute_of_wrong_type(name, &format!("no less than {least}")).into());
    }
    if let Some(most) = bound(&constraints.max_value)
        && self::number(&most).is_some_and(|most| number > most)
    {
        return Err(fault::attribute_of_wrong_type(name, &format!("no more than {most}")).into());
    }
    Ok(())
}

/// A number as people write it: digits with an optional sign and decimal point; no exponent, no `inf`.
fn number(text: &str) -> Option<f64> {
    let written_out = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.".contains(&byte));
    text.parse::<f64>().ok().filter(|number| written_out && number.is_finite())
}

/// `2024-02-29`, or this with a time: `2024-02-29T08:30`, `2024-02-29T08:30:00.5Z`, `…+01:00`; or whole
/// seconds or milliseconds since 1970. The service does not document the form.
fn is_date_time(text: &str) -> bool {
    if !text.is_empty() && text.len() <= 16 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return true;
    }
    let Some((date, time)) = text.split_at_checked(10) else { return false };
    is_date(date) && (time.is_empty() || time.strip_prefix(['T', 't', ' ']).is_some_and(is_time))
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else { return false };
    let (Some(year), Some(month), Some(day)) = (digits(year, 4), digits(month, 2), digits(day, 2)) else {
        return false;
    };
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return false,
    };
    (1..=days).contains(&day)
}

/// `08:30`, `08:30:00`, `08:30:00.25`, each with or without a zone.
fn is_time(text: &str) -> bool {
    let (clock, zone) = match text.find(['Z', 'z', '+', '-']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let zone_is_right = match zone {
        "" | "Z" | "z" => true,
        offset => is_clock(&offset[1..], 2..=2),
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let fraction_is_right =
        (1..=9).contains(&fraction.len()) && fraction.bytes().all(|byte| byte.is_ascii_digit());
    zone_is_right && fraction_is_right && is_clock(clock, 2..=3)
}

/// Hours, minutes and, where `parts` allows a third part, seconds (60 for a leap second).
fn is_clock(text: &str, parts: std::ops::RangeInclusive<usize>) -> bool {
    let values: Vec<&str> = text.split(':').collect();
    parts.contains(&values.len())
        && values
            .iter()
            .zip([23, 59, 60])
            .all(|(value, most)| digits(value, 2).is_some_and(|value| value <= most))
}

/// A number of exactly `count` digits.
fn digits(text: &str, count: usize) -> Option<u32> {
    let all_digits = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| all_digits)
}

#[cfg(test)]
mod tests {
    use lido_domain::{AppClient, ClientId, Millis, PoolId, Sub, UserPool, UserStatus};
    use lido_wire::ErrorCode;
    use serde_json::{Value, json};

    use super::*;
    use crate::fault::Error;

    fn pool(alias: Value) -> Pool {
        let settings = json!({
            "AliasAttributes": alias,
            "SchemaAttributes": [
                { "Name": "sub", "AttributeDataType": "String", "Mutable": false, "Required": true },
                { "Name": "name", "AttributeDataType": "String", "Mutable": true, "Required": true,
                  "StringAttributeConstraints": { "MinLength": "2", "MaxLength": "2048" } },
                { "Name": "email", "AttributeDataType": "String", "Mutable": true },
                { "Name": "email_verified", "AttributeDataType": "Boolean", "Mutable": true },
                { "Name": "phone_number", "AttributeDataType": "String", "Mutable": true },
                { "Name": "phone_number_verified", "AttributeDataType": "Boolean", "Mutable": true },
                { "Name": "preferred_username", "AttributeDataType": "String", "Mutable": true },
                { "Name": "birthdate", "AttributeDataType": "String", "Mutable": true },
                { "Name": "updated_at", "AttributeDataType": "Number", "Mutable": true,
                  "NumberAttributeConstraints": { "MinValue": "0" } },
                { "Name": "custom:tenant", "AttributeDataType": "String", "Mutable": false,
                  "StringAttributeConstraints": { "MinLength": "36", "MaxLength": "40" } },
                { "Name": "custom:age", "AttributeDataType": "Number", "Mutable": true,
                  "NumberAttributeConstraints": { "MinValue": "18", "MaxValue": "99.5" } },
                { "Name": "custom:member", "AttributeDataType": "Boolean", "Mutable": true },
                { "Name": "custom:since", "AttributeDataType": "DateTime", "Mutable": true },
                { "Name": "custom:free", "AttributeDataType": "String", "Mutable": true,
                  "StringAttributeConstraints": {} },
                { "Name": "dev:custom:note", "AttributeDataType": "String", "Mutable": true,
                  "DeveloperOnlyAttribute": true }
            ]
        });
        Pool::parse(UserPool {
            id: PoolId::new("local_pool"),
            name: "pool".into(),
            settings: settings.to_string(),
            mfa: "{}".into(),
            tags: BTreeMap::new(),
            created: Millis(0),
            updated: Millis(0),
            revision: 0,
        })
        .unwrap()
    }

    fn client(settings: Value) -> Client {
        Client {
            record: AppClient {
                pool: PoolId::new("local_pool"),
                id: ClientId::new("client"),
                name: "client".into(),
                settings: settings.to_string(),
                sealed_secret: None,
                secret_created: None,
                second_secret: None,
                created: Millis(0),
                updated: Millis(0),
                revision: 0,
            },
            settings: serde_json::from_value(settings).unwrap(),
            secret: None,
            second_secret: None,
        }
    }

    fn user(attributes: &[(&str, &str)]) -> User {
        User {
            pool: PoolId::new("local_pool"),
            sub: Sub::new("0a"),
            username: "ana".into(),
            attributes: map(attributes),
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
        }
    }

    fn map(attributes: &[(&str, &str)]) -> Attributes {
        attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn sent(attributes: &[(&str, &str)]) -> Vec<AttributeType> {
        attributes.iter().map(|(name, value)| wire(name, value)).collect()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[track_caller]
    fn refused<T: std::fmt::Debug>(result: Result<T>, code: ErrorCode, message: &str) {
        match result {
            Err(Error::Fault(fault)) => {
                assert_eq!((fault.code, fault.message.as_deref()), (code.as_str(), Some(message)));
            }
            other => panic!("expected {message:?}, got {other:?}"),
        }
    }

    const ADMIN: Writer<'static> = Writer::Administrator;
    const INVALID: ErrorCode = ErrorCode::InvalidParameter;

    #[test]
    fn empty_values_of_a_new_user_count_as_absent_and_the_last_of_a_name_counts() {
        let pool = pool(json!([]));
        let sent =
            sent(&[("name", "Ana"), ("email", "a@b.c"), ("email", ""), ("custom:free", "1"), ("name", "Bo")]);
        assert_eq!(for_new_user(&pool, ADMIN, &sent).unwrap(), map(&[("name", "Bo"), ("custom:free", "1")]));
        assert_eq!(missing_required(&pool, &map(&[("name", "Bo")])), Vec::<&str>::new());
        assert_eq!(missing_required(&pool, &map(&[("name", "")])), ["name"]);
    }

    #[test]
    fn a_value_with_a_null_character_is_refused() {
        let pool = pool(json!([]));
        let sent = sent(&[("name", "Ana\0")]);
        let text = "Attribute value for name must not contain the character U+0000";
        refused(for_new_user(&pool, ADMIN, &sent), INVALID, text);
        refused(for_update(&pool, ADMIN, &sent), INVALID, text);
    }

    #[test]
    fn unknown_attributes_are_worded_by_operation() {
        let pool = pool(json!([]));
        refused(
            for_new_user(&pool, ADMIN, &sent(&[("custom:role", "x")])),
            INVALID,
            "Attributes did not conform to the schema: Type for attribute {custom:role} could not be determined",
        );
        refused(
            for_update(&pool, ADMIN, &sent(&[("custom:role", "x")])),
            INVALID,
            "user.custom:role: Attribute does not exist in the schema.\n",
        );
        refused(
            for_removal(&pool, ADMIN, &names(&["custom:foo", "email", "custom:bar"])),
            INVALID,
            "Invalid user attributes: user.custom:foo: Attribute does not exist in the schema.\n\
             user.custom:bar: Attribute does not exist in the schema.\n",
        );
    }

    #[test]
    fn nobody_writes_sub_and_users_do_not_write_verified_flags() {
        let pool = pool(json!([]));
        let client = client(json!({}));
        let writer = Writer::Client(&client);
        let text = "Cannot modify the non-mutable attribute sub";
        refused(for_new_user(&pool, ADMIN, &sent(&[("sub", "x")])), INVALID, text);
        refused(for_update(&pool, ADMIN, &sent(&[("sub", "x")])), INVALID, text);
        refused(for_removal(&pool, ADMIN, &names(&["sub"])), INVALID, text);
        let text = "Cannot modify the non-mutable attribute email_verified";
        refused(for_new_user(&pool, writer, &sent(&[("email_verified", "true")])), INVALID, text);
        refused(for_update(&pool, writer, &sent(&[("email_verified", "true")])), INVALID, text);
        refused(for_removal(&pool, writer, &names(&["email_verified"])), INVALID, text);
        let change = for_update(&pool, ADMIN, &sent(&[("email_verified", "True")])).unwrap();
        assert_eq!(change.set, map(&[("email_verified", "true")]));
    }

    #[test]
    fn immutable_attributes_are_set_once() {
        let pool = pool(json!([]));
        let tenant = "0123456789012345678901234567890123456789";
        for_new_user(&pool, ADMIN, &sent(&[("custom:tenant", tenant)])).unwrap();
        let text = "user.custom:tenant: Attribute cannot be updated.\n";
        refused(for_update(&pool, ADMIN, &sent(&[("custom:tenant", tenant)])), INVALID, text);
        refused(for_removal(&pool, ADMIN, &names(&["custom:tenant"])), INVALID, text);
    }

    #[test]
    fn values_follow_the_schema() {
        let pool = pool(json!([]));
        let long = "x".repeat(2049);
        let cases = [
            ("name", "x", "user.name: String must be no shorter than 2 characters\n"),
            ("custom:free", &long, "user.custom:free: String must be no longer than 2048 characters\n"),
            ("custom:tenant", "x", "user.custom:tenant: String must be no shorter than 36 characters\n"),
            ("birthdate", "1-1-1990", "user.birthdate: String must be no shorter than 10 characters\n"),
            ("birthdate", "1990-01-011", "user.birthdate: String must be no longer than 10 characters\n"),
            ("email", "ana", "Invalid email address format."),
            ("phone_number", "0123", "Invalid phone number format."),
            ("updated_at", "-1", "user.updated_at: Attribute value must be no less than 0\n"),
            ("updated_at", "now", "user.updated_at: Attribute value must be a number\n"),
            ("custom:age", "1e3", "user.custom:age: Attribute value must be a number\n"),
            ("custom:age", "100", "user.custom:age: Attribute value must be no more than 99.5\n"),
            ("custom:member", "yes", "user.custom:member: Attribute value must be true or false\n"),
            (
                "custom:since",
                "2023-02-29",
                "user.custom:since: Attribute value must be a date and time in ISO 8601\n",
            ),
        ];
        for (name, value, text) in cases {
            refused(for_new_user(&pool, ADMIN, &sent(&[(name, value)])), INVALID, text);
        }
        let right = [
            ("birthdate", "1990-01-01"),
            ("updated_at", "1700000000"),
            ("custom:age", "99.5"),
            ("custom:member", "false"),
            ("custom:since", "2024-02-29T08:30:00.5+01:00"),
        ];
        assert_eq!(for_new_user(&pool, ADMIN, &sent(&right)).unwrap(), map(&right));
        let null = [AttributeType { name: "name".into(), value: None }];
        refused(for_update(&pool, ADMIN, &null), INVALID, "Attribute value for name must not be null");
    }

    #[test]
    fn a_client_writes_what_it_is_allowed_to_and_what_is_required() {
        let pool = pool(json!([]));
        let denied = "A client attempted to write unauthorized attribute";
        let limited = client(json!({ "WriteAttributes": ["email", "dev:custom:note"] }));
        let limited = Writer::Client(&limited);
        for_new_user(&pool, limited, &sent(&[("name", "Ana"), ("email", "a@b.c"), ("birthdate", "")]))
            .unwrap();
        for name in ["birthdate", "dev:custom:note"] {
            let sent = sent(&[(name, "1990-01-01")]);
            refused(for_new_user(&pool, limited, &sent), ErrorCode::NotAuthorized, denied);
            refused(for_update(&pool, limited, &sent), ErrorCode::NotAuthorized, denied);
            refused(for_removal(&pool, limited, &names(&[name])), ErrorCode::NotAuthorized, denied);
        }
        let default = client(json!({}));
        let default = Writer::Client(&default);
        for_update(&pool, default, &sent(&[("birthdate", "1990-01-01")])).unwrap();
        refused(for_update(&pool, default, &sent(&[("custom:free", "x")])), ErrorCode::NotAuthorized, denied);
    }

    #[test]
    fn a_preferred_username_that_is_an_alias_comes_after_confirmation() {
        let sent = sent(&[("preferred_username", "ana")]);
        let client = client(json!({}));
        let writer = Writer::Client(&client);
        for_new_user(&pool(json!([])), writer, &sent).unwrap();
        refused(
            for_new_user(&pool(json!(["preferred_username"])), writer, &sent),
            INVALID,
            "Preferred username cannot be provided for unconfirmed account, since user pool is configured for \
             preferred username alias.",
        );
    }

    #[test]
    fn an_address_goes_with_its_flag_and_its_pending_value() {
        let pool = pool(json!([]));
        let change = for_update(&pool, ADMIN, &sent(&[("email", ""), ("email_verified", "true")])).unwrap();
        assert_eq!(change, Change { set: map(&[]), remove: names(&["email", "email_verified"]) });
        let removed = for_removal(&pool, ADMIN, &names(&["phone_number", "birthdate"])).unwrap();
        assert_eq!(removed, ["birthdate", "phone_number", "phone_number_verified"]);
        let mut user = user(&[("name", "Ana"), ("phone_number", "+1"), ("phone_number_verified", "true")]);
        user.pending = map(&[("phone_number", "+2"), ("email", "a@b.c")]);
        remove(&mut user, &removed);
        assert_eq!(user.attributes, map(&[("name", "Ana")]));
        assert_eq!(user.pending, map(&[("email", "a@b.c")]));
    }

    #[test]
    fn a_required_attribute_stays() {
        let pool = pool(json!([]));
        let text = "Attributes did not conform to the schema: name: The attribute is required\n";
        refused(for_update(&pool, ADMIN, &sent(&[("name", "")])), INVALID, text);
        refused(for_removal(&pool, ADMIN, &names(&["name"])), INVALID, text);
    }

    #[test]
    fn a_client_reads_sub_and_what_it_is_allowed_to() {
        let user = user(&[("custom:free", "1"), ("email", "a@b.c"), ("name", "Ana")]);
        let listed = |list: Vec<AttributeType>| list.into_iter().map(|each| each.name).collect::<Vec<_>>();
        assert_eq!(listed(to_wire(&user)), ["sub", "custom:free", "email", "name"]);
        assert_eq!(listed(readable(&client(json!({})), &user)), ["sub", "email", "name"]);
        let limited = client(json!({ "ReadAttributes": ["custom:free"] }));
        assert_eq!(listed(readable(&limited, &user)), ["sub", "custom:free"]);
    }

    #[test]
    fn events_tell_the_status_and_the_aliases_in_force() {
        let pool = pool(json!(["email", "phone_number"]));
        let mut ana = user(&[("email", "a@b.c"), ("email_verified", "true"), ("phone_number", "+1")]);
        let event = for_event(&pool, &ana);
        assert_eq!(event["sub"], "0a");
        assert_eq!(event["cognito:user_status"], "CONFIRMED");
        assert_eq!(event["cognito:email_alias"], "a@b.c");
        assert!(!event.contains_key("cognito:phone_number_alias"));
        ana.status = UserStatus::Unconfirmed;
        assert!(!for_event(&pool, &ana).contains_key("cognito:email_alias"));
    }

    #[test]
    fn flags_are_given_to_addresses_only() {
        let flagged = with_verified_flags(map(&[("email", "a@b.c"), ("name", "Ana")]));
        assert_eq!(flagged, map(&[("email", "a@b.c"), ("email_verified", "false"), ("name", "Ana")]));
        let verified = map(&[("email", "a@b.c"), ("email_verified", "true")]);
        assert_eq!(with_verified_flags(verified.clone()), verified);
    }

    #[test]
    fn addresses_are_told_from_other_text() {
        for right in ["a@b", "ana+tag@example.co.uk", "o'neil_%1@x.y", "jürgen@müller.example"] {
            assert!(is_email(right), "{right}");
        }
        for wrong in [
            "", "ana", "@b", "a@", "a@b@c", "a b@c", "a@b\n", "a@b..c", "a@.b", "a@b.", "<a@b>", "a,b@c",
            "a@b;",
        ] {
            assert!(!is_email(wrong), "{wrong:?}");
        }
        for right in ["+1", "+15550100", "+123456789012345"] {
            assert!(is_phone_number(right), "{right}");
        }
        for wrong in ["", "+", "15550100", "+1 555", "+1234567890123456", "+٣٣", "++1"] {
            assert!(!is_phone_number(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn moments_are_told_from_other_text() {
        for right in [
            "2024-02-29",
            "2024-12-31T23:59",
            "2024-12-31T23:59:60Z",
            "2000-02-29 00:00:00-08:00",
            "1700000000",
        ] {
            assert!(is_date_time(right), "{right}");
        }
        for wrong in [
            "",
            "2024-2-1",
            "1900-02-29",
            "2024-04-31",
            "2024-01-01T",
            "2024-01-01T24:00",
            "2024-01-01T1:00",
            "2024-01-01T10:00:00.",
            "2024-01-01T10:00+1",
            "2024-01-01T10:00Zx",
            "€€€€€€€€€€",
        ] {
            assert!(!is_date_time(wrong), "{wrong:?}");
        }
    }
}
