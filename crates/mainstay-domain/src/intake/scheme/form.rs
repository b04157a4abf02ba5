//! Bodies sent as forms (`application/x-www-form-urlencoded`).

use super::refusal::Refusal;

/// The most fields of a form. Twilio's and Slack's have below 50.
const FIELDS_MAX: usize = 1_000;

/// All fields in order, decoded.
pub(super) fn fields(body: &[u8]) -> Result<Vec<(String, String)>, Refusal> {
    let text = |bytes: &[u8]| {
        String::from_utf8(decoded(bytes)?)
            .map_err(|_| Refusal::body("is a form with a field that is not UTF-8"))
    };
    let mut fields = Vec::new();
    for field in body
        .split(|byte| *byte == b'&')
        .filter(|field| !field.is_empty())
    {
        if fields.len() == FIELDS_MAX {
            return Err(Refusal::body("is a form of more than 1000 fields"));
        }
        let at = field.iter().position(|byte| *byte == b'=');
        let (name, value) = match at {
            Some(at) => (&field[..at], &field[at + 1..]),
            None => (field, [].as_slice()),
        };
        fields.push((text(name)?, text(value)?));
    }
    Ok(fields)
}

/// All fields, where it can be a form at all.
pub(in crate::intake) fn lenient(body: &[u8]) -> Option<Vec<(String, String)>> {
    fields(body).ok()
}

/// The value of the only field of a form, which must have this name; none when the body is not such a form.
///
/// JSON never begins with a name, so the body itself tells; a content type can be changed on the way.
pub(super) fn only_field(name: &str, body: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
    let value = body
        .strip_prefix(name.as_bytes())
        .and_then(|rest| rest.strip_prefix(b"="));
    value.map(decoded).transpose()
}

/// Never longer than what it is read from.
fn decoded(value: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value.iter();
    while let Some(&byte) = rest.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => match (rest.next().and_then(digit), rest.next().and_then(digit)) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(Refusal::body("is a form with a % that stands for no byte")),
            },
            // Which field would be the event?
            b'&' => return Err(Refusal::body("is a form of more than one field")),
            byte => byte,
        });
    }
    Ok(out)
}

fn digit(byte: &u8) -> Option<u8> {
    char::from(*byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_decoded() {
        for (body, value) in [
            ("payload=", ""),
            ("payload=%7B%22a%22%3A+1%7d", r#"{"a": 1}"#),
            ("payload={\"a\":\"b=%2B%C3%A9\"}", "{\"a\":\"b=+é\"}"),
        ] {
            let found = only_field("payload", body.as_bytes());
            assert_eq!(found, Ok(Some(value.as_bytes().to_vec())), "{body}");
        }
    }

    #[test]
    fn what_is_not_this_form_is_left_alone() {
        for body in [
            "",
            "{}",
            "payload",
            "payloads=1",
            "x=1&payload=1",
            "%70ayload=1",
        ] {
            assert_eq!(only_field("payload", body.as_bytes()), Ok(None), "{body}");
        }
    }

    #[test]
    fn all_fields_are_decoded_in_order() {
        let pairs = |body: &str| {
            let fields = fields(body.as_bytes()).expect("a form");
            let written = fields.iter().map(|(name, value)| format!("{name}={value}"));
            written.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            pairs("b=%2B1&a=x+y&&a=&c&%C3%A9=d=e"),
            "b=+1 a=x y a= c= é=d=e"
        );
        assert_eq!(pairs(""), "");
        assert!(fields(b"a=%FF").is_err() && fields(b"a=%4").is_err());
        assert!(fields("a&".repeat(FIELDS_MAX + 1).as_bytes()).is_err());
    }

    #[test]
    fn what_cannot_be_decoded_is_refused() {
        for body in [
            "payload=%",
            "payload=%7",
            "payload=%7G",
            "payload=%+1",
            "payload=1&a=2",
        ] {
            assert!(only_field("payload", body.as_bytes()).is_err(), "{body}");
        }
    }
}
