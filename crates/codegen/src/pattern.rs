//! Translates the model's patterns, which are Java's, into the syntax of the `regex` crate.
//!
//! What differs: in Java `\w`, `\d` and `\s` are ASCII, and `.` stops at more than `\n`. The model's
//! patterns use a small part of the language; anything else is an error here rather than a
//! surprise at run time.

use anyhow::{Result, bail, ensure};

const WORD: &str = "0-9A-Z_a-z";
const SPACE: &str = r"\t\n\x0B\f\r\x20";
const LINE_END: &str = r"\n\r\u{85}\u{2028}\u{2029}";

/// The pattern has to match the whole value: anchors at its ends say nothing and are dropped.
pub(crate) fn translate(java: &str) -> Result<String> {
    let body = java.strip_prefix('^').unwrap_or(java);
    let body = body.strip_suffix('$').unwrap_or(body);
    let (body, dot_all) = match body.strip_prefix("(?s)") {
        Some(body) => (body, true),
        None => (body, false),
    };
    let mut reader = Reader { rest: body, out: String::new(), dot_all };
    reader.expression().map_err(|error| error.context(format!("pattern {java}")))?;
    Ok(reader.out)
}

struct Reader<'a> {
    rest: &'a str,
    out: String,
    dot_all: bool,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let mut letters = self.rest.chars();
        let letter = letters.next();
        self.rest = letters.as_str();
        letter
    }

    fn take(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expression(&mut self) -> Result<()> {
        while let Some(letter) = self.next() {
            match letter {
                '[' => self.class()?,
                '(' => {
                    self.take("?:");
                    ensure!(!self.rest.starts_with('?'), "a special group");
                    self.out.push_str("(?:");
                }
                '.' if self.dot_all => self.out.push_str("(?s:.)"),
                '.' => self.out.push_str(&format!("[^{LINE_END}]")),
                '\\' => {
                    let item = self.escape()?;
                    self.out.push_str(&format!("[{item}]"));
                }
                '{' => {
                    let Some((bounds, rest)) = self.rest.split_once('}') else { bail!("open bounds") };
                    ensure!(
                        bounds.chars().all(|c| c.is_ascii_digit() || c == ','),
                        "bounds {bounds:?} are not numbers"
                    );
                    self.out.push_str(&format!("{{{bounds}}}"));
                    self.rest = rest;
                }
                ')' | '|' | '?' | '*' | '+' => {
                    if matches!(letter, '?' | '*' | '+') {
                        ensure!(!self.rest.starts_with('+'), "a possessive quantifier");
                    }
                    self.out.push(letter);
                }
                '^' | '$' => bail!("an anchor inside"),
                _ => self.out.push_str(&literal(letter)),
            }
        }
        Ok(())
    }

    /// A class, after its `[`.
    fn class(&mut self) -> Result<()> {
        self.out.push('[');
        if self.take("^") {
            self.out.push('^');
        }
        while !self.take("]") {
            let item = self.class_item()?;
            // A hyphen makes a range between two characters; last in the class or after a range it is itself.
            let range = item.single && self.rest.starts_with('-') && !self.rest.starts_with("-]");
            self.out.push_str(&item.text);
            if range {
                self.take("-");
                let end = self.class_item()?;
                ensure!(end.single, "a range that ends in a class");
                self.out.push('-');
                self.out.push_str(&end.text);
            }
        }
        self.out.push(']');
        Ok(())
    }

    fn class_item(&mut self) -> Result<Item> {
        match self.next() {
            None => bail!("open class"),
            Some('[') => bail!("a class in a class"),
            Some('&') if self.rest.starts_with('&') => bail!("an intersection of classes"),
            Some('\\') => {
                let single = !self.rest.starts_with(['w', 'd', 's', 'S', 'p']);
                Ok(Item { text: self.escape()?, single })
            }
            Some(letter) => Ok(Item { text: literal(letter), single: true }),
        }
    }

    /// What stands for an escape inside a class, after its backslash.
    fn escape(&mut self) -> Result<String> {
        Ok(match self.next() {
            Some('w') => WORD.to_string(),
            Some('d') => "0-9".to_string(),
            Some('s') => SPACE.to_string(),
            Some('S') => format!("[^{SPACE}]"),
            Some('t') => r"\t".to_string(),
            Some('n') => r"\n".to_string(),
            Some('r') => r"\r".to_string(),
            Some('p') => {
                let Some((name, rest)) = self.rest.strip_prefix('{').and_then(|rest| rest.split_once('}'))
                else {
                    bail!("a property without braces");
                };
                // One letter is a general category; the longer names differ between the two languages.
                ensure!(matches!(name, "L" | "M" | "S" | "N" | "P" | "Z"), "the property {name}");
                self.rest = rest;
                format!(r"\p{{{name}}}")
            }
            Some('x') => {
                let digits = self.rest.get(..2).unwrap_or_default();
                let Ok(code) = u8::from_str_radix(digits, 16) else { bail!("bad hexadecimal escape") };
                self.rest = &self.rest[2..];
                literal(char::from(code))
            }
            Some(letter) if letter.is_ascii_punctuation() => literal(letter),
            other => bail!("the escape {other:?}"),
        })
    }
}

struct Item {
    text: String,
    single: bool,
}

/// The character itself, escaped where it could mean something, inside a class or outside.
fn literal(letter: char) -> String {
    if r"\.+*?()|[]{}^$#&-~".contains(letter) { format!("\\{letter}") } else { letter.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regex(java: &str) -> String {
        translate(java).unwrap()
    }

    #[test]
    fn shorthands_are_ascii() {
        assert_eq!(regex(r"[\w-]+_[0-9a-zA-Z]+"), r"[0-9A-Z_a-z\-]+_[0-9a-zA-Z]+");
        assert_eq!(regex(r"[\S]+"), r"[[^\t\n\x0B\f\r\x20]]+");
    }

    #[test]
    fn a_hyphen_after_a_range_is_itself() {
        assert_eq!(regex("[A-Za-z0-9-_=.]+"), r"[A-Za-z0-9\-_=\.]+");
    }

    #[test]
    fn the_dot_stops_at_every_line_end_of_java() {
        assert_eq!(regex(".*"), r"[^\n\r\u{85}\u{2028}\u{2029}]*");
        assert_eq!(regex("(?s).*"), "(?s:.)*");
    }

    #[test]
    fn anchors_at_the_ends_are_dropped() {
        assert_eq!(regex("^(a|b)$"), "(?:a|b)");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for java in ["(?=a)b", "a++", "[a&&b]", r"\bword", "a^b", r"\p{IsAlphabetic}", "[a-[b]]", "a(?<!a)$"]
        {
            assert!(translate(java).is_err(), "{java}");
        }
    }
}
