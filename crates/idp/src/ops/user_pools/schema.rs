//! The schema of a pool: the standard attributes, and the custom ones that are added to them.

use lido_wire::types::{
    AttributeDataType, NumberAttributeConstraintsType, SchemaAttributeType, StringAttributeConstraintsType,
};

use crate::fault::{self, Result};

/// Custom attributes of a pool. Source: the service's quotas.
const MOST_CUSTOM: usize = 50;

/// Longest value of a string attribute, in characters.
const LONGEST: i64 = 2048;

/// The standard attributes in the order in which the service returns them.
const STANDARD: [(&str, AttributeDataType); 20] = [
    ("sub", AttributeDataType::String),
    ("name", AttributeDataType::String),
    ("given_name", AttributeDataType::String),
    ("family_name", AttributeDataType::String),
    ("middle_name", AttributeDataType::String),
    ("nickname", AttributeDataType::String),
    ("preferred_username", AttributeDataType::String),
    ("profile", AttributeDataType::String),
    ("picture", AttributeDataType::String),
    ("website", AttributeDataType::String),
    ("email", AttributeDataType::String),
    ("email_verified", AttributeDataType::Boolean),
    ("gender", AttributeDataType::String),
    ("birthdate", AttributeDataType::String),
    ("zoneinfo", AttributeDataType::String),
    ("locale", AttributeDataType::String),
    ("phone_number", AttributeDataType::String),
    ("phone_number_verified", AttributeDataType::Boolean),
    ("address", AttributeDataType::String),
    ("updated_at", AttributeDataType::Number),
];

/// The schema of a new pool: the standard attributes as `declared` changes them, then the custom ones.
///
/// Errors: those of [`add`], and [`fault::standard_attribute_changed`].
pub(super) fn new(declared: Vec<SchemaAttributeType>) -> Result<Vec<SchemaAttributeType>> {
    let mut schema: Vec<_> = STANDARD.iter().map(|(name, kind)| standard(name, *kind)).collect();
    let mut seen: Vec<String> = Vec::new();
    let mut custom = Vec::new();
    for attribute in declared {
        let name = name(&attribute)?;
        match schema.iter_mut().find(|known| known.name.as_deref() == Some(name)) {
            None => custom.push(attribute),
            Some(_) if seen.iter().any(|other| other == name) => {
                return Err(fault::schema_attribute_exists(name).into());
            }
            Some(known) => {
                seen.push(name.to_owned());
                redeclare(known, attribute)?;
            }
        }
    }
    add(&mut schema, custom)?;
    Ok(schema)
}

/// Adds custom attributes. What is given without a type is a string; what is given without
/// mutability can be changed.
///
/// Errors: [`fault::required_custom_attribute`], [`fault::schema_attribute_exists`], those of the
/// constraints, and InvalidParameterException past the quota.
pub(super) fn add(schema: &mut Vec<SchemaAttributeType>, added: Vec<SchemaAttributeType>) -> Result<()> {
    for attribute in added {
        let attribute = custom(attribute)?;
        let name = attribute.name.as_deref().unwrap_or_default();
        if schema.iter().any(|known| known.name == attribute.name) {
            return Err(fault::schema_attribute_exists(name).into());
        }
        schema.push(attribute);
    }
    if schema.len() - STANDARD.len() > MOST_CUSTOM {
        // AddCustomAttributes does not declare LimitExceededException.
        return Err(fault::invalid_parameter(format!(
            "A user pool cannot have more than {MOST_CUSTOM} custom attributes."
        ))
        .into());
    }
    Ok(())
}

fn name(attribute: &SchemaAttributeType) -> Result<&str> {
    match attribute.name.as_deref() {
        Some(name) => Ok(name),
        None => Err(fault::invalid_parameter("Name is required for every schema attribute.").into()),
    }
}

fn standard(name: &str, kind: AttributeDataType) -> SchemaAttributeType {
    let (least, most) = match name {
        "sub" => ("1", "2048"),
        "birthdate" => ("10", "10"),
        _ => ("0", "2048"),
    };
    SchemaAttributeType {
        name: Some(name.to_owned()),
        attribute_data_type: Some(kind),
        developer_only_attribute: Some(false),
        mutable: Some(name != "sub"),
        required: Some(name == "sub"),
        number_attribute_constraints: (kind == AttributeDataType::Number)
            .then(|| NumberAttributeConstraintsType { min_value: Some("0".to_owned()), max_value: None }),
        string_attribute_constraints: (kind == AttributeDataType::String).then(|| {
            StringAttributeConstraintsType {
                min_length: Some(least.to_owned()),
                max_length: Some(most.to_owned()),
            }
        }),
    }
}

/// Changes a standard attribute as the pool's creator asks: whether it is required and mutable, and
/// its constraints. What is not given stays as it is.
fn redeclare(known: &mut SchemaAttributeType, asked: SchemaAttributeType) -> Result<()> {
    let name = known.name.clone().unwrap_or_default();
    let other_type =
        asked.attribute_data_type.is_some() && asked.attribute_data_type != known.attribute_data_type;
    if other_type || asked.developer_only_attribute == Some(true) {
        return Err(fault::standard_attribute_changed(&name).into());
    }
    if name == "sub" && (asked.mutable == Some(true) || asked.required == Some(false)) {
        return Err(
            fault::invalid_parameter("The attribute sub is always required and never mutable.").into()
        );
    }
    known.mutable = asked.mutable.or(known.mutable);
    known.required = asked.required.or(known.required);
    check_constraints(&name, known.attribute_data_type.unwrap_or_default(), &asked)?;
    if let (Some(known), Some(asked)) =
        (&mut known.string_attribute_constraints, asked.string_attribute_constraints)
    {
        known.min_length = asked.min_length.or(known.min_length.take());
        known.max_length = asked.max_length.or(known.max_length.take());
    }
    if let (Some(known), Some(asked)) =
        (&mut known.number_attribute_constraints, asked.number_attribute_constraints)
    {
        known.min_value = asked.min_value.or(known.min_value.take());
        known.max_value = asked.max_value.or(known.max_value.take());
    }
    // One bound may be the default of the other.
    check_constraints(&name, known.attribute_data_type.unwrap_or_default(), known)
}

/// A custom attribute as it is stored: with its prefix, and complete.
fn custom(asked: SchemaAttributeType) -> Result<SchemaAttributeType> {
    let developer_only = asked.developer_only_attribute.unwrap_or_default();
    let prefix = if developer_only { "dev:custom" } else { "custom" };
    let name = format!("{prefix}:{}", name(&asked)?);
    let kind = asked.attribute_data_type.unwrap_or(AttributeDataType::String);
    if asked.required == Some(true) {
        return Err(fault::required_custom_attribute().into());
    }
    check_constraints(&name, kind, &asked)?;
    Ok(SchemaAttributeType {
        attribute_data_type: Some(kind),
        developer_only_attribute: Some(developer_only),
        mutable: Some(asked.mutable.unwrap_or(true)),
        required: Some(false),
        number_attribute_constraints: (kind == AttributeDataType::Number)
            .then(|| asked.number_attribute_constraints.unwrap_or_default()),
        string_attribute_constraints: (kind == AttributeDataType::String)
            .then(|| asked.string_attribute_constraints.unwrap_or_default()),
        name: Some(name),
    })
}

/// Constraints must be those of the type, whole numbers, and leave something between them.
fn check_constraints(name: &str, kind: AttributeDataType, attribute: &SchemaAttributeType) -> Result<()> {
    if let Some(constraints) = &attribute.string_attribute_constraints {
        let invalid = || fault::schema_constraints_invalid("String", name);
        let length = |text: &Option<String>| bound(text).map_err(|()| invalid());
        let (least, most) = (length(&constraints.min_length)?, length(&constraints.max_length)?);
        let given = least.is_some() || most.is_some();
        if (given && kind != AttributeDataType::String) || least.is_some_and(|least| least < 0) {
            return Err(invalid().into());
        }
        if least.into_iter().chain(most).any(|length| length > LONGEST) {
            return Err(fault::schema_length_too_long(name).into());
        }
        if most.is_some_and(|most| most < least.unwrap_or(0)) {
            return Err(fault::schema_maximum_below_minimum(name, "length").into());
        }
    }
    if let Some(constraints) = &attribute.number_attribute_constraints {
        let invalid = || fault::schema_constraints_invalid("Number", name);
        let value = |text: &Option<String>| bound(text).map_err(|()| invalid());
        let (least, most) = (value(&constraints.min_value)?, value(&constraints.max_value)?);
        if (least.is_some() || most.is_some()) && kind != AttributeDataType::Number {
            return Err(invalid().into());
        }
        if let (Some(least), Some(most)) = (least, most)
            && most < least
        {
            return Err(fault::schema_maximum_below_minimum(name, "value").into());
        }
    }
    Ok(())
}

fn bound(text: &Option<String>) -> Result<Option<i64>, ()> {
    text.as_deref().map(|text| text.parse().map_err(drop)).transpose()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn declared(value: Value) -> Vec<SchemaAttributeType> {
        serde_json::from_value(value).unwrap()
    }

    fn find(schema: &[SchemaAttributeType], name: &str) -> Value {
        let found = schema.iter().find(|attribute| attribute.name.as_deref() == Some(name));
        serde_json::to_value(found.unwrap()).unwrap()
    }

    fn refusal(value: Value) -> String {
        new(declared(value)).unwrap_err().to_string()
    }

    #[test]
    fn a_pool_starts_with_the_standard_attributes() {
        let schema = new(Vec::new()).unwrap();
        assert_eq!(schema.len(), 20);
        assert_eq!(
            find(&schema, "sub"),
            json!({"Name": "sub", "AttributeDataType": "String", "DeveloperOnlyAttribute": false, "Mutable": false,
                   "Required": true, "StringAttributeConstraints": {"MinLength": "1", "MaxLength": "2048"}})
        );
        assert_eq!(
            find(&schema, "email_verified"),
            json!({"Name": "email_verified", "AttributeDataType": "Boolean", "DeveloperOnlyAttribute": false,
                   "Mutable": true, "Required": false})
        );
        assert_eq!(find(&schema, "updated_at")["NumberAttributeConstraints"], json!({"MinValue": "0"}));
        assert_eq!(
            find(&schema, "birthdate")["StringAttributeConstraints"],
            json!({"MinLength": "10", "MaxLength": "10"})
        );
    }

    #[test]
    fn a_standard_attribute_can_be_required_but_not_retyped() {
        let schema = new(declared(json!([
            {"Name": "email", "Required": true, "StringAttributeConstraints": {"MinLength": "7"}}
        ])))
        .unwrap();
        assert_eq!(schema.len(), 20);
        assert_eq!(
            find(&schema, "email"),
            json!({"Name": "email", "AttributeDataType": "String", "DeveloperOnlyAttribute": false, "Mutable": true,
                   "Required": true, "StringAttributeConstraints": {"MinLength": "7", "MaxLength": "2048"}})
        );
        assert!(
            refusal(json!([{"Name": "email", "AttributeDataType": "Number"}])).contains("attribute email")
        );
        assert!(
            refusal(json!([{"Name": "email", "DeveloperOnlyAttribute": true}])).contains("attribute email")
        );
        assert!(refusal(json!([{"Name": "email"}, {"Name": "email"}])).contains("already has name email"));
        assert!(refusal(json!([{"Name": "sub", "Mutable": true}])).contains("sub"));
    }

    #[test]
    fn custom_attributes_get_their_prefix_and_defaults() {
        let schema = new(declared(json!([
            {"Name": "tenant", "AttributeDataType": "String", "Mutable": false},
            {"Name": "rank", "AttributeDataType": "Number", "NumberAttributeConstraints": {"MaxValue": "9"}},
            {"Name": "note", "DeveloperOnlyAttribute": true},
            {"Name": "since", "AttributeDataType": "DateTime"}
        ])))
        .unwrap();
        assert_eq!(
            find(&schema, "custom:tenant"),
            json!({"Name": "custom:tenant", "AttributeDataType": "String", "DeveloperOnlyAttribute": false,
                   "Mutable": false, "Required": false, "StringAttributeConstraints": {}})
        );
        assert_eq!(find(&schema, "custom:rank")["NumberAttributeConstraints"], json!({"MaxValue": "9"}));
        assert_eq!(find(&schema, "dev:custom:note")["Mutable"], json!(true));
        assert_eq!(find(&schema, "custom:since").get("StringAttributeConstraints"), None);
    }

    #[test]
    fn a_custom_attribute_is_never_required_nor_added_twice() {
        assert!(
            refusal(json!([{"Name": "a", "Required": true}]))
                .ends_with("Required custom attributes are not supported currently.")
        );
        assert!(
            refusal(json!([{"Name": "a"}, {"Name": "a"}]))
                .ends_with("custom:a: Existing attribute already has name custom:a.")
        );
    }

    #[test]
    fn constraints_fit_the_type_and_each_other() {
        for (attribute, text) in [
            (json!({"StringAttributeConstraints": {"MaxLength": "2049"}}), "length of more than 2048"),
            (
                json!({"StringAttributeConstraints": {"MinLength": "5", "MaxLength": "4"}}),
                "Max length cannot be less than min length.",
            ),
            (
                json!({"StringAttributeConstraints": {"MinLength": "few"}}),
                "Invalid StringAttributeConstraints",
            ),
            (
                json!({"AttributeDataType": "Number", "StringAttributeConstraints": {"MinLength": "1"}}),
                "Invalid StringAttributeConstraints for schema attribute custom:a",
            ),
            (
                json!({"AttributeDataType": "Number", "NumberAttributeConstraints": {"MinValue": "2", "MaxValue": "1"}}),
                "Max value cannot be less than min value.",
            ),
        ] {
            let mut attribute = attribute;
            attribute["Name"] = json!("a");
            let refused = refusal(json!([attribute]));
            assert!(refused.contains(text), "{refused}");
        }
    }

    #[test]
    fn a_pool_has_at_most_fifty_custom_attributes() {
        let many = |range: std::ops::Range<usize>| {
            declared(range.map(|index| json!({"Name": format!("a{index}")})).collect())
        };
        let mut schema = new(many(0..50)).unwrap();
        assert!(add(&mut schema, many(50..51)).is_err());
    }
}
