//! The plain-text alternative of an HTML message.

/// The text of `html` without its tags.
///
/// Block elements and `<br>` end a line, the address of a link follows its text in parentheses (a
/// verification link must survive), `<style>`, `<script>`, `<title>` and comments are left out, and the
/// common entities are decoded. A `<` that opens no tag is text: templates without any tag pass
/// through unchanged.
pub(crate) fn of_html(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut link: Option<String> = None;
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        push_decoded(&mut text, &rest[..at]);
        rest = &rest[at..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            continue;
        }
        let opens_tag = rest[1..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '!');
        let (true, Some(end)) = (opens_tag, end_of_tag(rest)) else {
            text.push('<');
            rest = &rest[1..];
            continue;
        };
        let tag = &rest[1..end];
        rest = &rest[end + 1..];
        match name_of(tag).as_str() {
            "a" => link = attribute(tag, "href"),
            "/a" => {
                if let Some(address) = link.take()
                    && !text.ends_with(&address)
                {
                    text.push_str(&format!(" ({address})"));
                }
            }
            name @ ("style" | "script" | "title") => rest = after_element(rest, name),
            "br" | "/p" | "/div" | "/tr" | "/li" | "/h1" | "/h2" | "/h3" | "/h4" | "/table" => {
                text.push('\n')
            }
            "/td" | "/th" => text.push(' '),
            _ => {}
        }
    }
    push_decoded(&mut text, rest);
    tidy(&text)
}

/// Where the tag at the start of `text` ends: the first `>` outside quotes.
fn end_of_tag(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, '>') => return Some(at),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
    }
    None
}

fn name_of(tag: &str) -> String {
    let slash = usize::from(tag.starts_with('/'));
    let end = tag[slash..].find(|c: char| !c.is_ascii_alphanumeric()).map_or(tag.len(), |at| slash + at);
    tag[..end].to_ascii_lowercase()
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let at = tag.to_ascii_lowercase().find(&format!(" {name}="))?;
    let value = &tag[at + name.len() + 2..];
    let value = match value.chars().next()? {
        quote @ ('"' | '\'') => value[1..].split(quote).next()?,
        _ => value.split_whitespace().next()?,
    };
    let mut decoded = String::new();
    push_decoded(&mut decoded, value);
    Some(decoded)
}

/// What follows the closing tag of `name`; nothing if there is none.
fn after_element<'a>(rest: &'a str, name: &str) -> &'a str {
    let Some(at) = rest.to_ascii_lowercase().find(&format!("</{name}")) else { return "" };
    rest[at..].find('>').map_or("", |end| &rest[at + end + 1..])
}

fn push_decoded(text: &mut String, mut html: &str) {
    const ENTITIES: [(&str, char); 7] = [
        ("&amp;", '&'),
        ("&lt;", '<'),
        ("&gt;", '>'),
        ("&quot;", '"'),
        ("&#39;", '\''),
        ("&apos;", '\''),
        ("&nbsp;", ' '),
    ];
    while let Some(at) = html.find('&') {
        text.push_str(&html[..at]);
        html = &html[at..];
        let (length, c) = ENTITIES
            .iter()
            .find(|(entity, _)| html.starts_with(entity))
            .map_or((1, '&'), |(entity, c)| (entity.len(), *c));
        text.push(c);
        html = &html[length..];
    }
    text.push_str(html);
}

/// Ends of lines without blanks, at most one empty line in a row, none around the text.
fn tidy(text: &str) -> String {
    let mut tidied = String::with_capacity(text.len());
    let mut empty = 0;
    for line in text.lines().map(str::trim_end) {
        empty = if line.trim_start().is_empty() { empty + 1 } else { 0 };
        if empty < 2 {
            tidied.push_str(line);
            tidied.push('\n');
        }
    }
    tidied.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::of_html;

    #[test]
    fn text_without_tags_is_unchanged() {
        assert_eq!(of_html("Your code is 123456. 1 < 2 & 3 > 2"), "Your code is 123456. 1 < 2 & 3 > 2");
        assert_eq!(of_html("a <"), "a <");
        assert_eq!(of_html("a <b never closed"), "a <b never closed");
    }

    #[test]
    fn tags_go_and_lines_stay() {
        let html = "<style>p { x }</style><P class='a > b'>Hello <b>Ana</b>,</P><p>code:<br/>42</p><!-- <p>no</p> -->";
        assert_eq!(of_html(html), "Hello Ana,\ncode:\n42");
    }

    #[test]
    fn a_link_keeps_its_address() {
        assert_eq!(
            of_html("<a class=x href=\"https://a.example/c?d=1&amp;e=2\">Verify &lt;me&gt;</a>!"),
            "Verify <me> (https://a.example/c?d=1&e=2)!"
        );
        assert_eq!(of_html("<a href=https://a.example/>https://a.example/</a>"), "https://a.example/");
    }

    #[test]
    fn a_code_that_looks_like_markup_survives_its_escaping() {
        assert_eq!(of_html("Your password is a&amp;lt;b&lt;c"), "Your password is a&lt;b<c");
    }
}
