//! Checks a request's JSON against the constraint tables, in the service's words.
//!
//! Two passes: first the kinds of JSON (the service fails there before it looks at any constraint), then
//! the constraints, all violations collected. A sensitive value appears in no text.
//! Source of the texts: recordings of the service; those for numbers, list lengths and list elements
//! follow the conventions of its request framework.

use std::fmt;
use std::sync::OnceLock;

use regex::Regex;
use serde_json::{Map, Number, Value};

use crate::values::Blob;

/// What the model says a value must be.
pub struct Shape {
    pub name: &'static str,
    pub kind: Kind,
    /// The model marks the shape sensitive.
    pub sensitive: bool,
    /// The shape, or something inside it, is sensitive: its value must not be repeated.
    pub hidden: bool,
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shape").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The kind of a value with its constraints; bounds are inclusive.
#[derive(Debug)]
pub enum Kind {
    /// Lengths count UTF-16 code units. An enum has `values`; they are in the order of its message.
    String {
        min: Option<i64>,
        max: Option<i64>,
        pattern: Option<&'static Pattern>,
        values: &'static [&'static str],
    },
    Integer {
        min: Option<i64>,
        max: Option<i64>,
    },
    Long {
        min: Option<i64>,
        max: Option<i64>,
    },
    Boolean,
    /// Lengths count bytes.
    Blob {
        min: Option<i64>,
        max: Option<i64>,
    },
    Timestamp,
    List {
        of: &'static Shape,
        min: Option<i64>,
        max: Option<i64>,
    },
    Map {
        key: &'static Shape,
        value: &'static Shape,
        min: Option<i64>,
        max: Option<i64>,
    },
    Structure(&'static [Member]),
    /// Any JSON.
    Document,
}

/// A member of a structure.
#[derive(Debug)]
pub struct Member {
    pub name: &'static str,
    pub shape: &'static Shape,
    pub required: bool,
}

/// A regular expression of the model, which has to match a whole value. Compiled when first used.
pub struct Pattern {
    /// As in the model, for messages.
    pub text: &'static str,
    translated: &'static str,
    compiled: OnceLock<Compiled>,
}

struct Compiled {
    regex: Regex,
    /// Of a pattern that is a class of characters, once or more often: which of ASCII are in it. Tokens are
    /// long, and looking their bytes up takes a fraction of the time that the regular expression does.
    class: Option<[bool; 128]>,
}

impl Pattern {
    pub(crate) const fn new(text: &'static str, translated: &'static str) -> Self {
        Pattern { text, translated, compiled: OnceLock::new() }
    }

    pub fn matches(&self, value: &str) -> bool {
        let Compiled { regex, class } = self.compiled.get_or_init(|| self.compile());
        match class {
            Some(class) if value.is_ascii() => {
                !value.is_empty() && value.bytes().all(|byte| class[usize::from(byte)])
            }
            _ => regex.is_match(value),
        }
    }

    fn compile(&self) -> Compiled {
        let regex =
            Regex::new(&format!(r"\A(?:{})\z", self.translated)).expect("a test compiles every pattern");
        let inner = self.translated.strip_prefix('[').and_then(|rest| rest.strip_suffix("]+"));
        let class = inner.filter(|inner| !inner.contains(']')).map(|_| {
            std::array::from_fn(|byte| regex.is_match((byte as u8 as char).encode_utf8(&mut [0; 4])))
        });
        Compiled { regex, class }
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.text).finish()
    }
}

/// Why a request's body is refused. `Display` gives the message for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// The JSON is not of the expected kind: `SerializationException`.
    Serialization { message: String },
    /// Violated constraints, an item each, at least one: `InvalidParameterException`.
    Constraints(Vec<String>),
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Invalid::Serialization { message } => f.write_str(message),
            Invalid::Constraints(items) => {
                let errors = if items.len() == 1 { "error" } else { "errors" };
                write!(f, "{} validation {errors} detected: {}", items.len(), items.join("; "))
            }
        }
    }
}

impl std::error::Error for Invalid {}

/// No more violations than this are collected: a long list of bad elements must not make a long answer.
const MAX_ITEMS: usize = 100;

/// A repeated value is cut after this many characters.
const MAX_ECHO: usize = 4096;

/// Checks `body` against `shape`. An absent body (`null`) is an empty one, an absent member is the same as
/// one that is `null`, and members the model does not know are ignored.
pub fn validate(shape: &'static Shape, body: &Value) -> Result<(), Invalid> {
    kinds(shape, body).map_err(|message| Invalid::Serialization { message })?;
    let mut found = Found(Vec::new());
    match (&shape.kind, body) {
        (Kind::Structure(members), Value::Null) => found.structure("", members, &Map::new()),
        _ => found.value("", shape, body),
    }
    if found.0.is_empty() { Ok(()) } else { Err(Invalid::Constraints(found.0)) }
}

/// The first value that is not of its kind, in words. Null is of every kind.
fn kinds(shape: &Shape, value: &Value) -> Result<(), String> {
    match (&shape.kind, value) {
        (_, Value::Null) | (Kind::Document, _) => Ok(()),

        (Kind::Structure(members), Value::Object(object)) => members.iter().try_for_each(|member| {
            object.get(member.name).map_or(Ok(()), |value| kinds(member.shape, value))
        }),
        (Kind::Map { value: of, .. }, Value::Object(object)) => {
            object.values().try_for_each(|value| kinds(of, value))
        }
        (Kind::Structure(_) | Kind::Map { .. }, _) => Err("Expected map or null".to_string()),

        (Kind::List { of, .. }, Value::Array(elements)) => {
            elements.iter().try_for_each(|element| kinds(of, element))
        }
        (Kind::List { .. }, _) => Err("Expected list or null".to_string()),

        (_, Value::Array(_)) => Err("Start of list found where not expected".to_string()),
        (_, Value::Object(_)) => Err("Start of structure or map found where not expected.".to_string()),

        (Kind::String { .. }, Value::String(_)) => Ok(()),
        (Kind::String { .. }, value) => Err(unconvertible(value, "an String")),

        (Kind::Boolean, Value::Bool(_)) => Ok(()),
        (Kind::Boolean, value) => Err(unconvertible(value, "an Boolean")),

        (Kind::Integer { .. }, Value::Number(number))
            if whole(number).is_some_and(|whole| i32::try_from(whole).is_ok()) =>
        {
            Ok(())
        }
        (Kind::Integer { .. }, value) => Err(unconvertible(value, "an Integer")),

        (Kind::Long { .. }, Value::Number(number)) if whole(number).is_some() => Ok(()),
        (Kind::Long { .. }, value) => Err(unconvertible(value, "a Long")),

        (Kind::Timestamp, Value::Number(_)) => Ok(()),
        (Kind::Timestamp, value) => Err(unconvertible(value, "a Date")),

        (Kind::Blob { .. }, Value::String(text)) if Blob::decode(text).is_some() => Ok(()),
        (Kind::Blob { .. }, value) => Err(unconvertible(value, "a Blob")),
    }
}

/// A scalar of the wrong kind, in the words of the framework.
fn unconvertible(value: &Value, to: &str) -> String {
    let class = match value {
        Value::Bool(_) => "java.lang.Boolean",
        Value::Number(_) => "com.amazon.coral.value.json.numbers.TruncatingBigNumber",
        _ => "java.lang.String",
    };
    format!("class {class} can not be converted to {to}")
}

/// The number, if it has no fraction and fits. `5.0` is five.
fn whole(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let double = number.as_f64()?;
        // Beyond 2^53 a double does not tell its neighbours apart.
        (double.fract() == 0.0 && double.abs() <= 9_007_199_254_740_992.0).then_some(double as i64)
    })
}

/// Brings a valid value into the form the typed input is read from: an absent body is an empty one, and whole
/// numbers are written without a fraction.
pub(crate) fn settle(shape: &Shape, value: &mut Value) {
    match (&shape.kind, value) {
        (Kind::Structure(_), value @ Value::Null) => *value = Value::Object(Map::new()),
        (Kind::Structure(members), Value::Object(object)) => {
            for member in *members {
                if let Some(value) = object.get_mut(member.name).filter(|value| !value.is_null()) {
                    settle(member.shape, value);
                }
            }
        }
        (Kind::Map { value: of, .. }, Value::Object(object)) => {
            object.values_mut().for_each(|value| settle(of, value));
        }
        (Kind::List { of, .. }, Value::Array(elements)) => {
            elements.iter_mut().for_each(|element| settle(of, element));
        }
        (Kind::Integer { .. } | Kind::Long { .. }, Value::Number(number)) => {
            if let Some(whole) = whole(number) {
                *number = whole.into();
            }
        }
        _ => {}
    }
}

const NOT_NULL: &str = "Member must not be null";

/// The violations found so far.
struct Found(Vec<String>);

impl Found {
    fn full(&self) -> bool {
        self.0.len() >= MAX_ITEMS
    }

    fn push(&mut self, path: &str, shape: &Shape, value: &Value, constraint: &str) {
        if self.full() {
            return;
        }
        let value = match value {
            _ if shape.sensitive => String::new(),
            Value::Null => " null".to_string(),
            _ if shape.hidden => String::new(),
            value => format!(" '{}'", echo(shape, value)),
        };
        self.0.push(format!("Value{value} at '{path}' failed to satisfy constraint: {constraint}"));
    }

    fn structure(&mut self, path: &str, members: &[Member], object: &Map<String, Value>) {
        for member in members {
            let value = object.get(member.name).unwrap_or(&Value::Null);
            if value.is_null() && !member.required {
                continue;
            }
            let mut path = if path.is_empty() { String::new() } else { format!("{path}.") };
            let mut letters = member.name.chars();
            path.extend(letters.next().map(|first| first.to_ascii_lowercase()));
            path.push_str(letters.as_str());
            self.value(&path, member.shape, value);
        }
    }

    /// Checks a value that has to be there.
    fn value(&mut self, path: &str, shape: &Shape, value: &Value) {
        if self.full() {
            return;
        }
        if value.is_null() {
            return self.push(path, shape, value, NOT_NULL);
        }
        for constraint in constraints(shape).filter(|constraint| !constraint.satisfied(value)) {
            self.push(path, shape, value, &constraint.to_string());
        }
        match (&shape.kind, value) {
            (Kind::Structure(members), Value::Object(object)) => self.structure(path, members, object),
            (Kind::List { of, .. }, Value::Array(elements)) => {
                if of.is_scalar() {
                    if let Some(texts) = parts(of, elements.iter()) {
                        self.push(path, shape, value, &format!("Member must satisfy constraint: [{texts}]"));
                    }
                } else {
                    for (i, element) in elements.iter().enumerate() {
                        self.value(&format!("{path}.{}.member", i + 1), of, element);
                    }
                }
            }
            (Kind::Map { key, value: of, .. }, Value::Object(object)) => {
                let keys: Vec<Value> = object.keys().map(|key| Value::from(key.as_str())).collect();
                if let Some(texts) = parts(key, keys.iter()) {
                    self.push(path, shape, value, &format!("Map keys must satisfy constraint: [{texts}]"));
                }
                if of.is_scalar() {
                    if let Some(texts) = parts(of, object.values()) {
                        self.push(
                            path,
                            shape,
                            value,
                            &format!("Map value must satisfy constraint: [{texts}]"),
                        );
                    }
                } else {
                    for (key, value) in object {
                        self.value(&format!("{path}.{}", cut(key)), of, value);
                    }
                }
            }
            _ => {}
        }
    }
}

impl Shape {
    /// Neither a list, a map nor a structure: violations are told of the list or map that holds it.
    fn is_scalar(&self) -> bool {
        !matches!(self.kind, Kind::List { .. } | Kind::Map { .. } | Kind::Structure(_) | Kind::Document)
    }
}

/// If any of a list's or map's scalars violates its shape: what all of them must satisfy, in the framework's
/// order, whether violated or not.
fn parts<'a>(shape: &Shape, values: impl Iterator<Item = &'a Value> + Clone) -> Option<String> {
    let null = values.clone().any(Value::is_null);
    let violated =
        |constraint: Constraint| values.clone().any(|value| !value.is_null() && !constraint.satisfied(value));
    if !null && !constraints(shape).any(violated) {
        return None;
    }
    let mut texts: Vec<String> = constraints(shape).map(|constraint| constraint.to_string()).collect();
    if null {
        texts.push(NOT_NULL.to_string());
    }
    Some(texts.join(", "))
}

#[derive(Clone, Copy)]
enum Constraint {
    MaxLength(i64),
    MinLength(i64),
    MaxBytes(i64),
    MinBytes(i64),
    MaxValue(i64),
    MinValue(i64),
    Pattern(&'static Pattern),
    Values(&'static [&'static str]),
}

/// A shape's own constraints: length or value, pattern, enum.
fn constraints(shape: &Shape) -> impl Iterator<Item = Constraint> {
    use Constraint::{MaxBytes, MaxLength, MaxValue, MinBytes, MinLength, MinValue};
    let all = match shape.kind {
        Kind::String { min, max, pattern, values } => [
            max.map(MaxLength),
            min.map(MinLength),
            pattern.map(Constraint::Pattern),
            (!values.is_empty()).then_some(Constraint::Values(values)),
        ],
        Kind::List { min, max, .. } | Kind::Map { min, max, .. } => {
            [max.map(MaxLength), min.map(MinLength), None, None]
        }
        Kind::Blob { min, max } => [max.map(MaxBytes), min.map(MinBytes), None, None],
        Kind::Integer { min, max } | Kind::Long { min, max } => {
            [max.map(MaxValue), min.map(MinValue), None, None]
        }
        Kind::Boolean | Kind::Timestamp | Kind::Structure(_) | Kind::Document => [None; 4],
    };
    all.into_iter().flatten()
}

impl Constraint {
    /// Whether a value of the right kind satisfies it.
    fn satisfied(self, value: &Value) -> bool {
        let text = value.as_str().unwrap_or_default();
        match self {
            Constraint::MaxLength(max) => length(value) <= max,
            Constraint::MinLength(min) => length(value) >= min,
            Constraint::MaxBytes(max) => bytes(text) <= max,
            Constraint::MinBytes(min) => bytes(text) >= min,
            Constraint::MaxValue(max) => number(value) <= max,
            Constraint::MinValue(min) => number(value) >= min,
            Constraint::Pattern(pattern) => pattern.matches(text),
            Constraint::Values(values) => values.contains(&text),
        }
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Constraint::MaxLength(max) | Constraint::MaxBytes(max) => {
                write!(f, "Member must have length less than or equal to {max}")
            }
            Constraint::MinLength(min) | Constraint::MinBytes(min) => {
                write!(f, "Member must have length greater than or equal to {min}")
            }
            Constraint::MaxValue(max) => write!(f, "Member must have value less than or equal to {max}"),
            Constraint::MinValue(min) => write!(f, "Member must have value greater than or equal to {min}"),
            Constraint::Pattern(pattern) => {
                write!(f, "Member must satisfy regular expression pattern: {}", pattern.text)
            }
            Constraint::Values(values) => {
                write!(f, "Member must satisfy enum value set: [{}]", values.join(", "))
            }
        }
    }
}

/// The length of a string in UTF-16 code units, as Java counts, or of a list or map in entries.
fn length(value: &Value) -> i64 {
    let length = match value {
        Value::String(text) => text.encode_utf16().count(),
        Value::Array(elements) => elements.len(),
        Value::Object(object) => object.len(),
        _ => 0,
    };
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// The length of what base64 text encodes.
fn bytes(text: &str) -> i64 {
    Blob::decode(text).map_or(0, |blob| i64::try_from(blob.len()).unwrap_or(i64::MAX))
}

fn number(value: &Value) -> i64 {
    value.as_number().and_then(whole).unwrap_or_default()
}

/// A value as the service repeats it: strings without quotes, lists and maps as Java prints them.
fn echo(shape: &Shape, value: &Value) -> String {
    if let (Kind::Blob { .. }, Value::String(text)) = (&shape.kind, value) {
        let length = bytes(text);
        return format!("java.nio.HeapByteBuffer[pos=0 lim={length} cap={length}]");
    }
    let mut out = String::new();
    write_java(&mut out, value);
    out.truncate(cut(&out).len());
    out
}

fn write_java(out: &mut String, value: &Value) {
    // Four bytes a character at most: what follows would be cut.
    if out.len() > 4 * MAX_ECHO {
        return;
    }
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => out.push_str(text),
        Value::Array(elements) => {
            out.push('[');
            for (i, element) in elements.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                write_java(out, element);
            }
            out.push(']');
        }
        Value::Object(object) => {
            out.push('{');
            for (i, (key, value)) in object.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                out.push_str(key);
                out.push('=');
                write_java(out, value);
            }
            out.push('}');
        }
    }
}

/// The first [`MAX_ECHO`] characters.
fn cut(text: &str) -> &str {
    match text.char_indices().nth(MAX_ECHO) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

#[cfg(test)]
mod tests;
