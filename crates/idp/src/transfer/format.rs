//! The lines of an export: JSON, a header first, a record each, an end that vouches for what is before it.
//! `docs/export-format.md` describes them to others.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lido_crypto::constant_time_eq;
use lido_crypto::keys::{KeyBytes, MasterKey};
use lido_domain::{Millis, Random, Secret};
use lido_store::transfer::{Column, Field, Kind, Record, Table, table};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::Error;

/// What the first line says that the file is.
const FORMAT: &str = "lido export";
/// Grows when a file can no longer be read by an earlier release that knows its schema.
const VERSION: u64 = 1;
/// Bytes of a line. The longest value that an operation takes is far shorter.
const LONGEST_LINE: u64 = 16 * 1024 * 1024;
/// What the export key wraps the file's digest for.
const END: &str = "export end";

/// How many records there are of each kind.
pub type Counts = BTreeMap<String, u64>;

/// The first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    #[serde(rename = "type")]
    kind: String,
    format: String,
    version: u64,
    /// Release that wrote the file.
    pub lido: String,
    /// Version of the schema that the records were read from.
    pub schema: i64,
    pub created_ms: i64,
    /// Fingerprint of the export key, in hex.
    key: String,
    /// The digest root of the installation, wrapped by the export key; in base64.
    digest_root: String,
}

impl Header {
    pub(super) fn new(schema: i64, created: Millis, key: &MasterKey, wrapped_digest_root: &[u8]) -> Self {
        Self {
            kind: "header".into(),
            format: FORMAT.into(),
            version: VERSION,
            lido: env!("CARGO_PKG_VERSION").into(),
            schema,
            created_ms: created.0,
            key: hex(&key.fingerprint()),
            digest_root: STANDARD.encode(wrapped_digest_root),
        }
    }

    fn parse(line: &[u8]) -> Result<Self, Error> {
        let no_export = || Error::NotAnExport("it does not begin with the line of one".into());
        let value: Value = serde_json::from_slice(line).map_err(|_| no_export())?;
        if value["type"] != "header" || value["format"] != FORMAT {
            return Err(no_export());
        }
        if value["version"] != VERSION {
            let version = &value["version"];
            return Err(Error::NotAnExport(format!(
                "it is of version {version}, this release reads version {VERSION}"
            )));
        }
        serde_json::from_value(value).map_err(|error| Error::NotAnExport(format!("its header: {error}")))
    }

    /// The digest root, if `key` is the one that the file was written with.
    pub(super) fn digest_root(&self, key: &MasterKey, name: &str) -> Result<KeyBytes, Error> {
        if self.key != hex(&key.fingerprint()) {
            return Err(Error::OtherKey);
        }
        let wrapped = STANDARD.decode(&self.digest_root).map_err(|_| Error::Changed)?;
        key.unwrap(name, &wrapped).map_err(|_| Error::Changed)
    }
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    #[serde(rename = "type")]
    kind: String,
    counts: Counts,
    /// Of every byte before this line, in hex: tells whoever has the file that it is whole.
    sha256: String,
    /// The same, wrapped by the export key: tells whoever has the key that nobody else has written it. In base64.
    seal: String,
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string can be written to");
        text
    })
}

// ---- Writing ----------------------------------------------------------------------------------

/// Writes the lines and keeps count of them.
#[derive(Debug)]
pub(super) struct Writer<W> {
    out: W,
    digest: Sha256,
    counts: Counts,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W, header: &Header) -> io::Result<Self> {
        let mut writer = Self { out, digest: Sha256::new(), counts: Counts::new() };
        writer.line(&serde_json::to_string(header).expect("a header is JSON"))?;
        Ok(writer)
    }

    fn line(&mut self, text: &str) -> io::Result<()> {
        for bytes in [text.as_bytes(), b"\n"] {
            self.digest.update(bytes);
            self.out.write_all(bytes)?;
        }
        Ok(())
    }

    /// Writes records of one kind, sealed under the export key.
    pub(super) fn records(&mut self, table: &Table, records: &[Record]) -> Result<(), Error> {
        for record in records {
            self.line(&line(table, record)?)?;
        }
        if !records.is_empty() {
            *self.counts.entry(table.record.into()).or_default() += records.len() as u64;
        }
        Ok(())
    }

    /// Writes the last line and everything that was held back.
    pub(super) fn end(mut self, key: &MasterKey, random: &dyn Random) -> io::Result<Counts> {
        let digest: [u8; 32] = self.digest.clone().finalize().into();
        let end = End {
            kind: "end".into(),
            counts: self.counts.clone(),
            sha256: hex(&digest),
            seal: STANDARD.encode(key.wrap(END, &Secret::new(digest), random)),
        };
        self.line(&serde_json::to_string(&end).expect("an end is JSON"))?;
        self.out.flush()?;
        Ok(self.counts)
    }
}

/// `{"type":…}` with the columns as members, in their order; those without a value are left out.
fn line(table: &Table, record: &Record) -> Result<String, Error> {
    let mut text = format!("{{\"type\":\"{}\"", table.record);
    let mut member = |name: &str, value: &str| {
        write!(text, ",\"{name}\":{value}").expect("a string can be written to");
    };
    for (column, field) in table.columns.iter().zip(record) {
        match (column.kind, field) {
            (_, Field::Null) => {}
            (Kind::Text, Field::Text(value)) => member(column.name, &Value::from(value.as_str()).to_string()),
            (Kind::Int, Field::Int(value)) => member(column.name, &value.to_string()),
            (Kind::Flag, Field::Int(value)) => member(column.name, &(*value != 0).to_string()),
            (Kind::Json, Field::Text(value)) => {
                let value: Map<String, Value> = serde_json::from_str(value)
                    .map_err(|error| Error::Stored(table.record, column.name, error.to_string()))?;
                member(column.name, &Value::Object(value).to_string());
            }
            (Kind::Digest | Kind::Sealed, Field::Bytes(value)) => {
                member(column.name, &format!("\"{}\"", STANDARD.encode(value)));
            }
            _ => return Err(Error::Stored(table.record, column.name, "it has another type".into())),
        }
    }
    text.push('}');
    Ok(text)
}

// ---- Reading ----------------------------------------------------------------------------------

/// What a line is.
#[derive(Debug)]
pub(super) enum Line {
    Record(&'static Table, Record),
    /// Everything before it was as it was written.
    End(Counts),
}

/// Reads the lines. Nothing of the file is to be believed before [`Line::End`].
#[derive(Debug)]
pub(super) struct Reader<R> {
    source: R,
    key: MasterKey,
    header: Header,
    digest: Sha256,
    counts: Counts,
    number: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Reader<R> {
    /// Reads the header. Errors: [`Error::NotAnExport`], [`Error::OtherKey`].
    pub(super) fn new(mut source: R, key: &MasterKey) -> Result<Self, Error> {
        let mut line = Vec::new();
        read_line(&mut source, &mut line)?;
        let header = Header::parse(&line)?;
        if header.key != hex(&key.fingerprint()) {
            return Err(Error::OtherKey);
        }
        let digest = Sha256::new_with_prefix(&line);
        Ok(Self { source, key: key.clone(), header, digest, counts: Counts::new(), number: 1, line })
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// The number of the line that was read last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Of everything that was read so far, the end apart.
    pub(super) fn digest(&self) -> [u8; 32] {
        self.digest.clone().finalize().into()
    }

    /// The next line; to be called until it is the end.
    pub(super) fn read(&mut self) -> Result<Line, Error> {
        self.number += 1;
        read_line(&mut self.source, &mut self.line)?;
        if self.line.last() != Some(&b'\n') {
            return Err(Error::Truncated);
        }
        let faulty = |what: String| Error::Line(self.number, what);
        let value: Value =
            serde_json::from_slice(&self.line).map_err(|error| faulty(format!("no JSON: {error}")))?;
        let Value::Object(mut members) = value else { return Err(faulty("no object".into())) };
        let kind = members.remove("type");
        match kind.as_ref().and_then(Value::as_str) {
            None => Err(faulty("it has no type".into())),
            Some("end") => self.end().map(Line::End),
            Some(kind) => {
                let table = table(kind)
                    .ok_or_else(|| faulty(format!("records of type {kind} are not known to this release")))?;
                let record = record(table, members).map_err(faulty)?;
                self.digest.update(&self.line);
                *self.counts.entry(kind.to_owned()).or_default() += 1;
                Ok(Line::Record(table, record))
            }
        }
    }

    fn end(&mut self) -> Result<Counts, Error> {
        let end: End = serde_json::from_slice(&self.line)
            .map_err(|error| Error::Line(self.number, format!("the end: {error}")))?;
        let sealed = STANDARD.decode(&end.seal).map_err(|_| Error::Changed)?;
        let sealed = self.key.unwrap(END, &sealed).map_err(|_| Error::Changed)?;
        let digest = self.digest();
        if !constant_time_eq(sealed.expose(), &digest)
            || end.sha256 != hex(&digest)
            || end.counts != self.counts
        {
            return Err(Error::Changed);
        }
        if !self.source.fill_buf()?.is_empty() {
            return Err(Error::Line(self.number + 1, "there is something behind the end".into()));
        }
        Ok(end.counts)
    }
}

/// One line with its end, or what is left of the file.
fn read_line(source: &mut impl BufRead, line: &mut Vec<u8>) -> Result<(), Error> {
    line.clear();
    io::Read::take(source, LONGEST_LINE).read_until(b'\n', line)?;
    Ok(())
}

/// The values of a record. Every member must be known, and every column that is neither optional nor younger than
/// some release must be there.
fn record(table: &Table, mut members: Map<String, Value>) -> Result<Record, String> {
    let fields = table.columns.iter().map(|column| {
        let value = members.remove(column.name).or_else(|| serde_json::from_str(column.before?).ok());
        let value = value.unwrap_or_default();
        field(column, value).ok_or_else(|| format!("the {} of a {}", column.name, table.record))
    });
    let record = fields.collect::<Result<Record, String>>()?;
    match members.keys().next() {
        None => Ok(record),
        Some(other) => Err(format!("{other} of a {} is not known to this release", table.record)),
    }
}

fn field(column: &Column, value: Value) -> Option<Field> {
    Some(match (column.kind, value) {
        (_, Value::Null) if column.optional => Field::Null,
        (Kind::Text, Value::String(text)) => Field::Text(text),
        (Kind::Int, Value::Number(number)) => Field::Int(number.as_i64()?),
        (Kind::Flag, Value::Bool(flag)) => Field::Int(flag.into()),
        (Kind::Json, value @ Value::Object(_)) => Field::Text(value.to_string()),
        (Kind::Digest | Kind::Sealed, Value::String(text)) => Field::Bytes(STANDARD.decode(text).ok()?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A file of the first release says nothing of second factors.
    #[test]
    fn what_an_earlier_release_did_not_know_has_a_value() {
        let users = table("user").unwrap();
        let known = json!({
            "pool_id": "p", "sub": "s", "username": "u", "attributes": {}, "pending": {}, "status": "CONFIRMED",
            "enabled": true, "created_ms": 1, "updated_ms": 1, "password_set_ms": 1, "signed_out_ms": 0,
            "revision": 1,
        });
        let Value::Object(members) = known else { unreachable!("it is written as an object") };
        let read = record(users, members.clone()).unwrap();
        assert_eq!(read[users.position("mfa")], Field::Text("{}".into()));
        assert_eq!(read[users.position("totp_step")], Field::Int(0));
        let mut without = members;
        without.remove("status");
        assert_eq!(record(users, without), Err("the status of a user".into()));
    }
}
