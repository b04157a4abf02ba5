//! A body sent as a form (`application/x-www-form-urlencoded`), of which one field is the event.

use super::refusal::Refusal;

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
