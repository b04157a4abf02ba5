//! Writing JSON anew, token by token, as people's code does between receiving a body and verifying it.

use std::fmt::Write as _;

/// What becomes of the white space between tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    /// None is left.
    Compact,
    /// Two spaces of indentation, as `JSON.stringify(value, null, 2)` and Stripe write it.
    Indented,
}

/// What becomes of strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strings {
    /// They stay as they are.
    Kept,
    /// Only what must be is escaped, as `JSON.stringify` does.
    Plain,
    /// Everything beyond ASCII is escaped, as Python and PHP do.
    Ascii,
}

/// The same JSON in another form; none when the text is not JSON.
pub(super) fn reformat(text: &str, space: Space, strings: Strings) -> Option<String> {
    serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
    let mut out = String::with_capacity(text.len());
    let mut depth = 0_usize;
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '"' => string_end(rest)?,
            '{' | '}' | '[' | ']' | ',' | ':' => 1,
            _ => rest
                .find(|c: char| c.is_ascii_whitespace() || "{}[],:\"".contains(c))
                .unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(end);
        rest = after.trim_start();
        let opens = matches!(token, "{" | "[");
        let closes = matches!(token, "}" | "]");
        let empty = opens && rest.starts_with(['}', ']']);
        if closes {
            depth = depth.saturating_sub(1);
            if space == Space::Indented && !out.ends_with(['{', '[']) {
                new_line(&mut out, depth);
            }
        }
        match first {
            '"' => out.push_str(&string(token, strings)?),
            _ => out.push_str(token),
        }
        depth += usize::from(opens);
        if space == Space::Indented {
            match token {
                ":" => out.push(' '),
                "," => new_line(&mut out, depth),
                _ if opens && !empty => new_line(&mut out, depth),
                _ => {}
            }
        }
    }
    Some(out)
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Where the string at the beginning of the text ends.
fn string_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn string(token: &str, strings: Strings) -> Option<String> {
    if strings == Strings::Kept {
        return Some(token.to_owned());
    }
    let value: String = serde_json::from_str(token).ok()?;
    let plain = serde_json::to_string(&value).ok()?;
    if strings == Strings::Plain {
        return Some(plain);
    }
    let mut out = String::with_capacity(plain.len());
    for c in plain.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDENTED: &str =
        "{\n  \"a\": [\n    1,\n    {},\n    []\n  ],\n  \"é,\\\"{\": \"\\u00e9 😀\"\n}";

    #[test]
    fn white_space_goes_and_comes_back() {
        let compact = reformat(INDENTED, Space::Compact, Strings::Kept).expect("JSON");
        assert_eq!(compact, "{\"a\":[1,{},[]],\"é,\\\"{\":\"\\u00e9 😀\"}");
        let indented = reformat(&compact, Space::Indented, Strings::Kept);
        assert_eq!(indented.as_deref(), Some(INDENTED));
    }

    #[test]
    fn strings_are_escaped_as_asked() {
        let plain = reformat(INDENTED, Space::Compact, Strings::Plain).expect("JSON");
        assert_eq!(plain, "{\"a\":[1,{},[]],\"é,\\\"{\":\"é 😀\"}");
        let ascii = reformat(&plain, Space::Compact, Strings::Ascii).expect("JSON");
        assert_eq!(
            ascii,
            "{\"a\":[1,{},[]],\"\\u00e9,\\\"{\":\"\\u00e9 \\ud83d\\ude00\"}"
        );
    }

    #[test]
    fn what_is_not_json_has_no_other_form() {
        for text in ["", "{", "a b", "\"a", "{}{}"] {
            assert_eq!(
                reformat(text, Space::Compact, Strings::Plain),
                None,
                "{text}"
            );
        }
    }
}
