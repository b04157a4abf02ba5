//! What a generic HMAC signs: a template of literal text and `{body}`, `{timestamp}`, `{id}`.

use serde::{Deserialize, Serialize};

/// A signed-string template, e.g. `v0:{timestamp}:{body}`. It has `{body}` exactly once: a signature that does not
/// cover the body proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Body,
    Timestamp,
    Id,
}

impl Template {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the time is signed.
    pub fn has_timestamp(&self) -> bool {
        self.pieces.contains(&Piece::Timestamp)
    }

    /// Whether the id is signed.
    pub fn has_id(&self) -> bool {
        self.pieces.contains(&Piece::Id)
    }

    /// The parts that are signed, one after the other.
    pub(super) fn parts<'a>(
        &'a self,
        id: &'a str,
        time: &'a str,
        body: &'a [u8],
    ) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.pieces.iter().map(move |piece| match piece {
            Piece::Literal(text) => text.as_bytes(),
            Piece::Body => body,
            Piece::Timestamp => time.as_bytes(),
            Piece::Id => id.as_bytes(),
        })
    }
}

impl Default for Template {
    /// Just the body.
    fn default() -> Self {
        Self {
            text: "{body}".to_owned(),
            pieces: vec![Piece::Body],
        }
    }
}

impl TryFrom<String> for Template {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.len() > 256 {
            return Err("a template may have at most 256 bytes");
        }
        let mut pieces = Vec::new();
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (piece, after) = piece(rest)?;
            if !matches!(piece, Piece::Literal(_)) && pieces.contains(&piece) {
                return Err("a placeholder may stand in a template once");
            }
            pieces.push(piece);
            rest = after;
        }
        if !pieces.contains(&Piece::Body) {
            return Err("a template must have {body}: what is not signed cannot be trusted");
        }
        Ok(Self { text, pieces })
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.text
    }
}

fn piece(rest: &str) -> Result<(Piece, &str), &'static str> {
    for (name, piece) in [
        ("{body}", Piece::Body),
        ("{timestamp}", Piece::Timestamp),
        ("{id}", Piece::Id),
    ] {
        if let Some(after) = rest.strip_prefix(name) {
            return Ok((piece, after));
        }
    }
    let end = rest.find(['{', '}']).unwrap_or(rest.len());
    if end == 0 {
        return Err("a template knows {body}, {timestamp} and {id}");
    }
    let (literal, after) = rest.split_at(end);
    Ok((Piece::Literal(literal.to_owned()), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_puts_its_parts_in_order() {
        let template = Template::try_from("v0:{id}.{timestamp}:{body}!".to_owned()).expect("fine");
        let joined: Vec<u8> = template.parts("i", "7", b"B").flatten().copied().collect();
        assert_eq!(joined, b"v0:i.7:B!");
        assert_eq!(template.as_str(), "v0:{id}.{timestamp}:{body}!");
    }

    #[test]
    fn a_template_without_the_body_or_with_unknown_parts_is_refused() {
        for wrong in [
            "",
            "x",
            "{id}",
            "{body}{body}",
            "{body",
            "{url}{body}",
            "}{body}",
        ] {
            assert!(Template::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
