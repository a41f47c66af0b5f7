//! The service model as it is on disk, and the corrections applied to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

/// A service model in its reduced layout, `format` 1.
#[derive(Debug, Deserialize)]
pub(crate) struct Model {
    format: u32,
    pub(crate) operations: BTreeMap<String, Operation>,
    pub(crate) errors: BTreeMap<String, ErrorShape>,
    pub(crate) shapes: BTreeMap<String, Shape>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Operation {
    pub(crate) auth: Auth,
    #[serde(rename = "in")]
    pub(crate) input: String,
    #[serde(rename = "out")]
    pub(crate) output: Option<String>,
    #[serde(rename = "err")]
    pub(crate) errors: Vec<String>,
    #[serde(default)]
    pub(crate) readonly: bool,
    #[serde(default)]
    pub(crate) idempotent: bool,
    pub(crate) page: Option<Page>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Auth {
    None,
    Sigv4,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    #[serde(rename = "in")]
    pub(crate) input: String,
    #[serde(rename = "out")]
    pub(crate) output: String,
    pub(crate) items: String,
    pub(crate) limit: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ErrorShape {
    pub(crate) status: u16,
    pub(crate) code: String,
    #[serde(default)]
    unused: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shape {
    #[serde(rename = "t")]
    pub(crate) kind: Kind,
    #[serde(default, rename = "m")]
    pub(crate) members: Ordered<Reference>,
    #[serde(default, rename = "r")]
    pub(crate) required: BTreeSet<String>,
    pub(crate) of: Option<Reference>,
    #[serde(rename = "k")]
    pub(crate) key: Option<Reference>,
    #[serde(rename = "v")]
    pub(crate) value: Option<Reference>,
    pub(crate) min: Option<i64>,
    pub(crate) max: Option<i64>,
    pub(crate) pattern: Option<String>,
    #[serde(rename = "enum")]
    pub(crate) values: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) sensitive: bool,
    #[serde(default)]
    pub(crate) document: bool,
    #[serde(default)]
    unused: bool,
}

/// The kinds this generator knows; another one in a new model stops it at reading.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Structure,
    List,
    Map,
    String,
    Integer,
    Long,
    Boolean,
    Blob,
    Timestamp,
}

/// A reference to a shape. Of its own traits only `deprecated` exists, and changes nothing here.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Reference {
    Plain(String),
    Traits(Traits),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Traits {
    shape: String,
    #[serde(default)]
    #[expect(dead_code, reason = "read so that any other trait is refused")]
    deprecated: bool,
}

impl Reference {
    pub(crate) fn shape(&self) -> &str {
        match self {
            Reference::Plain(shape) | Reference::Traits(Traits { shape, .. }) => shape,
        }
    }
}

/// A JSON object whose order counts: structure members are checked and answered in model order.
#[derive(Debug)]
pub(crate) struct Ordered<T>(pub(crate) Vec<(String, T)>);

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Ordered(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Ordered<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

impl Model {
    pub(crate) fn read(model: &str, patches: &str) -> Result<Model> {
        let mut model: Model = serde_json::from_str(model).context("the model is not in the known layout")?;
        ensure!(model.format == 1, "layout {} of the model is not known", model.format);
        let patches: Patches = serde_json::from_str(patches).context("patches.json")?;
        for patch in patches.patches {
            let described = format!("{patch:?}");
            patch.apply(&mut model).with_context(|| described)?;
        }
        model.errors.retain(|_, error| !error.unused);
        model.shapes.retain(|_, shape| !shape.unused);
        Ok(model)
    }

    pub(crate) fn shape(&self, name: &str) -> Result<&Shape> {
        self.shapes.get(name).with_context(|| format!("shape {name} is not in the model"))
    }

    /// The names of all shapes that inputs are made of.
    pub(crate) fn input_shapes(&self) -> Result<BTreeSet<&str>> {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&str> =
            self.operations.values().map(|operation| operation.input.as_str()).collect();
        while let Some(name) = next.pop() {
            if seen.insert(name) {
                next.extend(self.shape(name)?.references());
            }
        }
        Ok(seen)
    }

    /// Whether the shape or anything inside it is sensitive, so that its value must not be repeated.
    pub(crate) fn hidden(&self, name: &str) -> Result<bool> {
        let mut seen = BTreeSet::new();
        let mut next = vec![name];
        while let Some(name) = next.pop() {
            let shape = self.shape(name)?;
            if shape.sensitive {
                return Ok(true);
            }
            if seen.insert(name) {
                next.extend(shape.references());
            }
        }
        Ok(false)
    }
}

impl Shape {
    fn references(&self) -> impl Iterator<Item = &str> {
        let members = self.members.0.iter().map(|(_, reference)| reference);
        members.chain(&self.of).chain(&self.key).chain(&self.value).map(Reference::shape)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patches {
    #[serde(rename = "about")]
    _about: String,
    patches: Vec<Patch>,
}

/// One correction. A new kind of correction is a new variant.
#[derive(Debug, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case", deny_unknown_fields)]
enum Patch {
    /// Appends a value to an enum that lacks it.
    AddEnumValue { shape: String, value: String, reason: String },
}

impl Patch {
    fn apply(self, model: &mut Model) -> Result<()> {
        match self {
            Patch::AddEnumValue { shape, value, reason } => {
                ensure!(!reason.is_empty(), "the patch gives no reason");
                let Some(values) = model.shapes.get_mut(&shape).and_then(|shape| shape.values.as_mut())
                else {
                    bail!("{shape} is not an enum of the model: the patch no longer applies");
                };
                ensure!(!values.contains(&value), "{shape} has {value} already: the patch no longer applies");
                values.push(value);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: &str = r#"{"format": 1, "operations": {}, "errors": {},
        "shapes": {"Mode": {"t": "string", "enum": ["ON"]}, "Name": {"t": "string"}}}"#;

    fn patched(shape: &str, value: &str) -> Result<Model> {
        let patch = format!(
            r#"{{"about": "", "patches": [
                {{"change": "add_enum_value", "shape": "{shape}", "value": "{value}", "reason": "a test"}}]}}"#
        );
        Model::read(MODEL, &patch)
    }

    #[test]
    fn a_patch_adds_a_value() {
        let model = patched("Mode", "OFF").unwrap();
        assert_eq!(model.shapes["Mode"].values.as_deref().unwrap(), ["ON", "OFF"]);
    }

    #[test]
    fn a_patch_that_no_longer_applies_is_refused() {
        assert!(patched("Mode", "ON").is_err());
        assert!(patched("Name", "ON").is_err());
        assert!(patched("Gone", "ON").is_err());
    }

    #[test]
    fn what_a_newer_model_adds_is_refused_until_it_is_understood() {
        let kind = MODEL.replace(r#""t": "string"}"#, r#""t": "bigdecimal"}"#);
        assert!(Model::read(&kind, r#"{"about": "", "patches": []}"#).is_err());
        let layout = MODEL.replace("1,", "2,");
        assert!(Model::read(&layout, r#"{"about": "", "patches": []}"#).is_err());
    }
}
