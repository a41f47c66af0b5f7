//! What is generated: types, constraint tables, operations, error codes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use crate::model::{Auth, Kind, Model, Reference, Shape};
use crate::names::{constant, ident, snake, variant};
use crate::pattern;

/// Every generated file, by name.
pub(crate) fn files(model: &Model) -> Result<Vec<(&'static str, TokenStream)>> {
    Ok(vec![
        ("mod.rs", modules()),
        ("enums.rs", enums(model)?),
        ("types.rs", types(model)?),
        ("shapes.rs", shapes(model)?),
        ("operations.rs", operations(model)?),
        ("errors.rs", errors(model)?),
    ])
}

fn modules() -> TokenStream {
    quote! {
        //! What the service model says.

        pub(crate) mod enums;
        pub(crate) mod errors;
        pub mod operations;
        pub mod shapes;
        pub mod types;
    }
}

fn enums(model: &Model) -> Result<TokenStream> {
    let mut out = quote! {
        //! String enums. The default is the first value, so that every structure has a default.
        use crate::values::string_enum;
    };
    for (name, shape) in &model.shapes {
        let Some(values) = &shape.values else { continue };
        ensure!(shape.kind == Kind::String, "{name}: an enum of a kind that is not known");
        let name = ident(name);
        let variants = values.iter().map(|value| variant(value)).collect::<Result<Vec<_>>>()?;
        unique(variants.iter())?;
        let rest = &variants[1..];
        let first = &variants[0];
        out.extend(quote! {
            #[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
            pub enum #name {
                #[default]
                #first,
                #(#rest),*
            }

            impl #name {
                /// Every value, in the order of the model.
                pub const ALL: &'static [Self] = &[#(Self::#variants),*];

                /// The value as the wire spells it.
                pub const fn as_str(&self) -> &'static str {
                    match self {
                        #(Self::#variants => #values),*
                    }
                }
            }

            string_enum!(#name);
        });
    }
    Ok(out)
}

fn types(model: &Model) -> Result<TokenStream> {
    let mut structs = TokenStream::new();
    for (name, shape) in &model.shapes {
        if shape.kind != Kind::Structure || shape.document {
            continue;
        }
        let fields: Vec<_> = shape.members.0.iter().map(|(member, _)| ident(&snake(member))).collect();
        unique(fields.iter()).with_context(|| name.clone())?;
        let mut members = Vec::new();
        for ((member, reference), field) in shape.members.0.iter().zip(&fields) {
            let plain = rust_type(model, reference.shape())?;
            members.push(if shape.required.contains(member) {
                quote! { #[serde(rename = #member)] pub #field: #plain }
            } else {
                quote! {
                    #[serde(rename = #member, skip_serializing_if = "Option::is_none")]
                    pub #field: Option<#plain>
                }
            });
        }
        let name = ident(name);
        structs.extend(quote! {
            #[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
            pub struct #name { #(#members),* }
        });
    }
    Ok(quote! {
        //! Structures: inputs, outputs and what they are made of, named as in the model.
        //! Required members are plain, the others are options and are left out when absent.
        use std::collections::BTreeMap;

        use serde::{Deserialize, Serialize};
        use serde_json::Value;

        pub use super::enums::*;
        pub use crate::values::{Blob, Sensitive, Timestamp};

        #structs
    })
}

fn rust_type(model: &Model, name: &str) -> Result<TokenStream> {
    let shape = model.shape(name)?;
    Ok(match shape.kind {
        Kind::Structure if shape.document => quote!(Value),
        Kind::Structure => {
            let name = ident(name);
            quote!(#name)
        }
        Kind::String if shape.values.is_some() => {
            let name = ident(name);
            quote!(#name)
        }
        Kind::String if shape.sensitive => quote!(Sensitive),
        Kind::String => quote!(String),
        Kind::Integer => quote!(i32),
        Kind::Long => quote!(i64),
        Kind::Boolean => quote!(bool),
        Kind::Blob => quote!(Blob),
        Kind::Timestamp => quote!(Timestamp),
        Kind::List => {
            let of = rust_type(model, part(&shape.of, name)?)?;
            quote!(Vec<#of>)
        }
        Kind::Map => {
            let value = part(&shape.value, name)?;
            // A sensitive map keeps its values from `Debug` as a sensitive string does.
            let value = match model.shape(value)?.kind {
                Kind::String if shape.sensitive => quote!(Sensitive),
                _ => rust_type(model, value)?,
            };
            quote!(BTreeMap<String, #value>)
        }
    })
}

fn part<'a>(reference: &'a Option<Reference>, of: &str) -> Result<&'a str> {
    Ok(reference.as_ref().with_context(|| format!("{of} does not say of what it is made"))?.shape())
}

fn shapes(model: &Model) -> Result<TokenStream> {
    let mut tables = TokenStream::new();
    let names = model.input_shapes()?;
    let patterns: BTreeSet<_> =
        names.iter().filter_map(|name| model.shapes.get(*name)?.pattern.as_deref()).collect();
    let patterns: BTreeMap<_, _> =
        patterns.into_iter().zip(1..).map(|(java, i)| (java, format_ident!("PATTERN_{i}"))).collect();
    let all: Vec<_> = names.iter().map(|name| constant(name)).collect();
    unique(all.iter())?;
    for name in names {
        let shape = model.shape(name)?;
        let kind = kind(name, shape, &patterns).with_context(|| name.to_string())?;
        let (sensitive, hidden) = (shape.sensitive, model.hidden(name)?);
        let constant = constant(name);
        tables.extend(quote! {
            pub static #constant: Shape =
                Shape { name: #name, kind: #kind, sensitive: #sensitive, hidden: #hidden };
        });
    }

    let mut pattern_tables = TokenStream::new();
    for (java, name) in &patterns {
        let regex = pattern::translate(java)?;
        pattern_tables.extend(quote! {
            static #name: Pattern = Pattern::new(#java, #regex);
        });
    }
    let pattern_names = patterns.values();
    Ok(quote! {
        //! Constraint tables of everything inputs are made of, walked by `crate::validate`.
        use crate::validate::{Kind, Member, Pattern, Shape};

        /// Every shape in this file, by name.
        pub static ALL: &[&Shape] = &[#(&#all),*];

        /// Every pattern in this file.
        pub static PATTERNS: &[&Pattern] = &[#(&#pattern_names),*];

        #tables
        #pattern_tables
    })
}

fn kind(name: &str, shape: &Shape, patterns: &BTreeMap<&str, Ident>) -> Result<TokenStream> {
    let (min, max) = (option(&shape.min), option(&shape.max));
    Ok(match shape.kind {
        Kind::Structure if shape.document => quote!(Kind::Document),
        Kind::Structure => {
            let mut members = Vec::new();
            for (member, reference) in &shape.members.0 {
                let required = shape.required.contains(member);
                let of = constant(reference.shape());
                members.push(quote!(Member { name: #member, shape: &#of, required: #required }));
            }
            quote!(Kind::Structure(&[#(#members),*]))
        }
        Kind::List => {
            let of = constant(part(&shape.of, name)?);
            quote!(Kind::List { of: &#of, min: #min, max: #max })
        }
        Kind::Map => {
            let (key, value) = (constant(part(&shape.key, name)?), constant(part(&shape.value, name)?));
            quote!(Kind::Map { key: &#key, value: &#value, min: #min, max: #max })
        }
        Kind::String => {
            let pattern = option(&shape.pattern.as_deref().map(|java| {
                let name = &patterns[java];
                quote!(&#name)
            }));
            let values = hash_order(shape.values.as_deref().unwrap_or_default());
            quote!(Kind::String { min: #min, max: #max, pattern: #pattern, values: &[#(#values),*] })
        }
        Kind::Integer => quote!(Kind::Integer { min: #min, max: #max }),
        Kind::Long => quote!(Kind::Long { min: #min, max: #max }),
        Kind::Boolean => quote!(Kind::Boolean),
        Kind::Blob => quote!(Kind::Blob { min: #min, max: #max }),
        Kind::Timestamp => quote!(Kind::Timestamp),
    })
}

/// The order in which a Java `HashSet` gives strings back. The service lists the values of an enum not in
/// the order of the model; the recorded `[OPTIONAL, OFF, ON]` is this order.
fn hash_order(values: &[String]) -> Vec<&str> {
    let buckets = (values.len() * 4 / 3 + 1).max(16).next_power_of_two() as u32;
    let bucket = |value: &&str| {
        let hash =
            value.encode_utf16().fold(0u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
        (hash ^ (hash >> 16)) & (buckets - 1)
    };
    let mut values: Vec<&str> = values.iter().map(String::as_str).collect();
    values.sort_by_key(bucket);
    values
}

fn operations(model: &Model) -> Result<TokenStream> {
    let mut all = Vec::new();
    let mut out = TokenStream::new();
    for (name, operation) in &model.operations {
        let facts = constant(name);
        let unsigned = operation.auth == Auth::None;
        let (readonly, idempotent) = (operation.readonly, operation.idempotent);
        let input_shape = constant(&operation.input);
        let has_output = operation.output.is_some();
        for error in &operation.errors {
            ensure!(model.errors.contains_key(error), "{name}: error {error} is not in the model");
        }
        let errors = operation.errors.iter().map(|error| error_variant(error)).collect::<Result<Vec<_>>>()?;
        let page = match &operation.page {
            Some(page) => {
                let (input, output, items, limit) = (&page.input, &page.output, &page.items, &page.limit);
                quote!(Some(Page { input: #input, output: #output, items: #items, limit: #limit }))
            }
            None => quote!(None),
        };
        let members = &model.shape(&operation.input)?.members.0;
        let has = |member: &str| members.iter().any(|(name, _)| name == member);
        let resource = match (has("UserPoolId"), has("ResourceArn")) {
            (true, _) => quote!(Resource::UserPool),
            (_, true) => quote!(Resource::Arn),
            _ => quote!(Resource::Any),
        };
        let unit = ident(name);
        let input = ident(&operation.input);
        let output = match &operation.output {
            Some(output) => {
                let output = ident(output);
                quote!(#output)
            }
            None => quote!(()),
        };
        out.extend(quote! {
            static #facts: OperationFacts = OperationFacts {
                name: #name,
                unsigned: #unsigned,
                readonly: #readonly,
                idempotent: #idempotent,
                input: &shapes::#input_shape,
                has_output: #has_output,
                errors: &[#(ErrorCode::#errors),*],
                page: #page,
                resource: #resource,
            };
            #[derive(Clone, Copy, Debug)]
            pub struct #unit;
            api!(#unit, #facts, #input, #output);
        });
        all.push(facts);
    }
    Ok(quote! {
        //! One unit type per operation; what the model says of it hangs on it.
        use super::errors::ErrorCode;
        use super::shapes;
        use super::types::*;
        use crate::api::{OperationFacts, Page, Resource, api};

        /// Every operation of the model, by name.
        pub static OPERATIONS: &[&OperationFacts] = &[#(&#all),*];

        #out
    })
}

fn errors(model: &Model) -> Result<TokenStream> {
    let names = model.errors.keys().map(|name| error_variant(name)).collect::<Result<Vec<_>>>()?;
    let codes: Vec<_> = model.errors.values().map(|error| error.code.as_str()).collect();
    ensure!(codes.iter().collect::<BTreeSet<_>>().len() == names.len(), "two errors share a code");
    let mut others: BTreeMap<u16, Vec<_>> = BTreeMap::new();
    for (error, name) in model.errors.values().zip(&names) {
        if error.status != 400 {
            others.entry(error.status).or_default().push(name);
        }
    }
    let statuses = others.iter().map(|(status, names)| quote!(#(Self::#names)|* => #status));
    Ok(quote! {
        //! The errors of the model.
        use std::fmt;

        /// An error a client can be told of, named as in the model without `Exception`.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum ErrorCode { #(#names),* }

        impl ErrorCode {
            /// Every error, in alphabetical order.
            pub const ALL: &'static [Self] = &[#(Self::#names),*];

            /// The code on the wire, such as `NotAuthorizedException`.
            pub const fn as_str(&self) -> &'static str {
                match self {
                    #(Self::#names => #codes),*
                }
            }

            /// The HTTP status.
            pub const fn status(&self) -> u16 {
                match self {
                    #(#statuses,)*
                    _ => 400,
                }
            }
        }

        impl fmt::Display for ErrorCode {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    })
}

fn error_variant(name: &str) -> Result<Ident> {
    let Some(name) = name.strip_suffix("Exception") else {
        bail!("the error {name} is not named …Exception")
    };
    Ok(ident(name))
}

fn option<T: quote::ToTokens>(value: &Option<T>) -> TokenStream {
    match value {
        Some(value) => quote!(Some(#value)),
        None => quote!(None),
    }
}

fn unique<'a>(names: impl Iterator<Item = &'a Ident>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for name in names {
        ensure!(seen.insert(name), "two names of the model become {name}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enum_values_are_listed_as_a_hash_set_gives_them() {
        let values = ["OFF", "ON", "OPTIONAL"].map(String::from);
        assert_eq!(hash_order(&values), ["OPTIONAL", "OFF", "ON"]);
    }
}
