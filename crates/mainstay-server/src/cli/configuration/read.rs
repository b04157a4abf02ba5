//! A declaration as a file has it: YAML, which JSON is too, with variables.
//!
//! `${NAME}` in a value is the variable of that name, `$$` a dollar sign. What is filled in is a text and never read as
//! YAML, so no secret can change what the file says; `!!int`, `!!float` and `!!bool` make something else of it. No
//! message repeats a value.

use std::collections::{BTreeMap, BTreeSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::{Map, Number, Value};

/// How deep lists and maps may lie in each other.
const DEPTH_MAX: usize = 32;
/// How many values a file may have.
const VALUES_MAX: usize = 200_000;
/// How many mistakes are told at once.
const WRONG_MAX: usize = 50;

/// What a declaration has lists of.
const GROUPS: [&str; 4] = ["sources", "endpoints", "bindings", "schedules"];

/// What is wrong, each with its place.
pub(super) type Wrong = Vec<(String, String)>;

/// A declaration, and where each part of it stands.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) value: Value,
    /// By the pointer to it, the line.
    lines: BTreeMap<String, usize>,
}

impl Declared {
    /// Where in the file it is that the server speaks of.
    pub(super) fn place(&self, pointer: &str) -> String {
        let Some(inner) = pointer.strip_prefix("/configuration") else {
            return pointer.to_owned();
        };
        let mut known = inner;
        loop {
            if let Some(line) = self.lines.get(known) {
                return place(*line, inner);
            }
            match known.rsplit_once('/') {
                Some((above, _)) => known = above,
                None => return inner.to_owned(),
            }
        }
    }
}

fn place(line: usize, pointer: &str) -> String {
    match pointer {
        "" => format!("line {line}"),
        _ => format!("line {line}, {pointer}"),
    }
}

/// Reads a file with its variables.
pub(super) fn read(
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Declared, Wrong> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        variable,
        lines: BTreeMap::new(),
        wrong: Vec::new(),
    };
    let value = match reader.document() {
        Ok(value) => value,
        Err(Stop) => Value::Null,
    };
    let Reader { lines, wrong, .. } = reader;
    if !wrong.is_empty() {
        return Err(wrong);
    }
    match value {
        Value::Object(mut map) => {
            // `bindings:` with nothing below it is none.
            map.retain(|name, value| !(value.is_null() && GROUPS.contains(&name.as_str())));
            let value = Value::Object(map);
            Ok(Declared { value, lines })
        }
        Value::Null => Ok(Declared {
            value: Value::Object(Map::new()),
            lines,
        }),
        _ => Err(vec![(
            place(1, ""),
            "is no map with sources, endpoints, bindings and schedules".into(),
        )]),
    }
}

/// Reading on makes no sense; why is noted.
struct Stop;

struct Reader<'t, 'v> {
    parser: Parser<'t, StrInput<'t>>,
    variable: &'v dyn Fn(&str) -> Option<String>,
    lines: BTreeMap<String, usize>,
    wrong: Wrong,
}

impl<'t> Reader<'t, '_> {
    fn note(&mut self, line: usize, pointer: &str, detail: impl Into<String>) {
        if self.wrong.len() < WRONG_MAX {
            self.wrong.push((place(line, pointer), detail.into()));
        }
    }

    fn stop(&mut self, line: usize, pointer: &str, detail: &str) -> Stop {
        self.note(line, pointer, detail);
        Stop
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), Stop> {
        match self.parser.next() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let detail = format!("is not YAML: {}", error.info());
                Err(self.stop(error.marker().line(), "", &detail))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// The one document of the file.
    fn document(&mut self) -> Result<Value, Stop> {
        let mut value = Value::Null;
        let mut documents = 0;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(value),
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        let line = span.start.line();
                        return Err(self.stop(line, "", "begins a second document: a file is one"));
                    }
                }
                Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
                event => value = self.value(event, span, "", 0)?,
            }
        }
    }

    fn value(
        &mut self,
        event: Event<'t>,
        span: Span,
        pointer: &str,
        depth: usize,
    ) -> Result<Value, Stop> {
        let line = span.start.line();
        self.lines.insert(pointer.to_owned(), line);
        if depth > DEPTH_MAX || self.lines.len() > VALUES_MAX {
            return Err(self.stop(line, pointer, "is too deep in, or too much"));
        }
        match event {
            Event::Scalar(text, style, _, tag) => {
                Ok(self.scalar(&text, style, tag.as_deref(), line, pointer))
            }
            Event::SequenceStart(_, tag) => {
                self.untagged(tag.as_deref(), "seq", line, pointer);
                self.list(pointer, depth)
            }
            Event::MappingStart(_, tag) => {
                self.untagged(tag.as_deref(), "map", line, pointer);
                self.map(pointer, depth)
            }
            Event::Alias(_) => Err(self.stop(
                line,
                pointer,
                "is an alias: nothing can be referred to here",
            )),
            _ => Err(self.stop(line, pointer, "is no value")),
        }
    }

    fn untagged(&mut self, tag: Option<&Tag>, own: &str, line: usize, pointer: &str) {
        let fine = tag.is_none_or(|tag| tag.is_yaml_core_schema() && tag.suffix == own);
        if !fine {
            self.note(line, pointer, "has a tag that means nothing here");
        }
    }

    fn list(&mut self, pointer: &str, depth: usize) -> Result<Value, Stop> {
        let mut list = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::Array(list));
            }
            let at = format!("{pointer}/{}", list.len());
            list.push(self.value(event, span, &at, depth + 1)?);
        }
    }

    fn map(&mut self, pointer: &str, depth: usize) -> Result<Value, Stop> {
        let mut map = Map::new();
        let mut names = BTreeSet::new();
        loop {
            let (event, span) = self.next()?;
            let line = span.start.line();
            let name = match event {
                Event::MappingEnd => return Ok(Value::Object(map)),
                Event::Scalar(name, ..) => name.into_owned(),
                _ => return Err(self.stop(line, pointer, "has a key that is no text")),
            };
            let at = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
            if !names.insert(name.clone()) {
                self.note(line, &at, "is there twice");
            }
            let (event, span) = self.next()?;
            let value = self.value(event, span, &at, depth + 1)?;
            // The key's line is where a person looks, not that of what stands below it.
            self.lines.insert(at, line);
            map.insert(name, value);
        }
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        line: usize,
        pointer: &str,
    ) -> Value {
        let filled = match fill(text, self.variable) {
            Ok(filled) => filled,
            Err(problems) => {
                for problem in problems {
                    self.note(line, pointer, problem);
                }
                return Value::Null;
            }
        };
        let kind = match tag {
            None if style == ScalarStyle::Plain && !filled.variables => return plain(&filled.text),
            None => "str",
            Some(tag) if tag.is_yaml_core_schema() => &tag.suffix,
            // `!`, which says that it is a text.
            Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => "str",
            Some(_) => "",
        };
        let value = plain(&filled.text);
        let fits = match kind {
            "str" => return Value::String(filled.text),
            "int" => value.is_i64() || value.is_u64(),
            "float" => value.is_number(),
            "bool" => value.is_boolean(),
            "null" => value.is_null(),
            _ => {
                self.note(line, pointer, "has a tag that means nothing here");
                return Value::Null;
            }
        };
        if !fits {
            self.note(line, pointer, format!("is not what its tag !!{kind} says"));
        }
        value
    }
}

/// A scalar without quotes and tag, by the core schema of YAML 1.2: `no` is a text.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    let numeric = body.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && body
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    if !numeric {
        return Value::String(text.to_owned());
    }
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if let Ok(number) = unsigned.parse::<i64>() {
        return number.into();
    }
    if let Ok(number) = unsigned.parse::<u64>() {
        return number.into();
    }
    let number = unsigned.parse::<f64>().ok().and_then(Number::from_f64);
    number.map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

/// A text with its variables filled in.
struct Filled {
    text: String,
    /// Whether there were any.
    variables: bool,
}

fn fill(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Filled, Vec<String>> {
    let mut filled = String::new();
    let mut problems = Vec::new();
    let mut variables = false;
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        filled += before;
        if let Some(after) = after.strip_prefix('$') {
            filled.push('$');
            rest = after;
        } else if let Some(after) = after.strip_prefix('{') {
            let named = after.split_once('}').filter(|(name, _)| is_name(name));
            let Some((name, after)) = named else {
                problems.push(
                    "has ${ without a variable's name and }; write $${ for the characters".into(),
                );
                break;
            };
            variables = true;
            match variable(name) {
                Some(value) => filled += &value,
                None => problems.push(format!("the variable {name} is not set")),
            }
            rest = after;
        } else {
            filled.push('$');
            rest = after;
        }
    }
    filled += rest;
    if problems.is_empty() {
        Ok(Filled {
            text: filled,
            variables,
        })
    } else {
        Err(problems)
    }
}

fn is_name(name: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(inside) && name.starts_with(|first: char| !first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn variables(name: &str) -> Option<String> {
        match name {
            "PAY_SECRET" => Some("whsec_a: [b] # c".into()),
            "COUNT" => Some("16".into()),
            "ON" => Some("true".into()),
            _ => None,
        }
    }

    fn value(text: &str) -> Value {
        read(text, &variables).expect("it can be read").value
    }

    fn wrong(text: &str) -> Wrong {
        read(text, &variables).expect_err("it is refused")
    }

    #[test]
    fn yaml_and_json_say_the_same() {
        let yaml = "sources:\n  - name: pay\n    enabled: no\n    settings: {tolerance_secs: 60, allow: []}\n";
        let json = r#"{"sources": [{"name": "pay", "enabled": "no", "settings": {"tolerance_secs": 60, "allow": []}}]}"#;
        assert_eq!(value(yaml), value(json));
        assert_eq!(
            value(json),
            serde_json::from_str::<Value>(json).expect("JSON")
        );
        assert_eq!(value(""), json!({}));
        assert_eq!(value("# nothing\n"), json!({}));
        assert_eq!(
            value("sources:\nbindings:\ncolour:\n"),
            json!({ "colour": null })
        );
    }

    #[test]
    fn numbers_and_flags_are_read_and_texts_that_only_look_like_them_stay() {
        let text = "a: 1\nb: -2\nc: 1.5\nd: true\ne: ~\nf: '1'\ng: \"true\"\nh: 1.2.3\ni: 18446744073709551615\nj: 007\nk: 2026-11-21\n";
        let expected = json!({
            "a": 1, "b": -2, "c": 1.5, "d": true, "e": null, "f": "1", "g": "true", "h": "1.2.3",
            "i": 18_446_744_073_709_551_615_u64, "j": 7, "k": "2026-11-21",
        });
        assert_eq!(value(text), expected);
    }

    #[test]
    fn a_variable_is_a_text_whatever_it_holds_unless_a_tag_says_otherwise() {
        let text = "a: ${PAY_SECRET}\nb: ${COUNT}\nc: !!int ${COUNT}\nd: !!bool ${ON}\ne: x-${COUNT}-$$-$y-$${COUNT}\n";
        let expected = json!({
            "a": "whsec_a: [b] # c", "b": "16", "c": 16, "d": true, "e": "x-16-$-$y-${COUNT}",
        });
        assert_eq!(value(text), expected);
    }

    #[test]
    fn all_variables_that_are_missing_are_named_with_their_places() {
        let found = wrong(
            "sources:\n  - name: pay\n    secrets:\n      - ${ONE}\n      - a${TWO}b${PAY_SECRET}\n",
        );
        let expected = [
            (
                "line 4, /sources/0/secrets/0",
                "the variable ONE is not set",
            ),
            (
                "line 5, /sources/0/secrets/1",
                "the variable TWO is not set",
            ),
        ]
        .map(|(place, detail)| (place.to_owned(), detail.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn no_message_repeats_a_value() {
        let secret = |name: &str| (name == "S").then(|| "hunter2".to_owned());
        for text in [
            "a: !!int ${S}",
            "a: !!bool ${S}",
            "a: ${S}${T}",
            "a: !other ${S}",
            "a: ${S}\na: ${S}",
        ] {
            let said = format!("{:?}", read(text, &secret).expect_err(text));
            assert!(!said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn what_is_not_plain_data_is_refused_with_its_line() {
        for (text, line) in [
            ("a: [1, 2", 2),
            ("a: 1\na: 2\n", 2),
            ("a: &x 1\nb: *x\n", 2),
            ("a: 1\n---\nb: 2\n", 2),
            ("? [a]\n: 1\n", 1),
            ("a: ${1X}\n", 1),
            ("a: ${X\n", 1),
            ("- 1\n", 1),
            ("a:\n\t- 1\n", 2),
        ] {
            let found = wrong(text);
            let place = &found[0].0;
            assert!(
                place.starts_with(&format!("line {line}")),
                "{text:?}: {found:?}"
            );
        }
        let deep = "[".repeat(100_000);
        assert!(!wrong(&deep).is_empty());
    }

    #[test]
    fn what_the_server_points_at_has_a_line() {
        let declared = read(
            "endpoints:\n  - name: app\n    retry:\n      strategy: exponential\n",
            &variables,
        )
        .expect("it can be read");
        for (pointer, place) in [
            (
                "/configuration/endpoints/0/retry/strategy",
                "line 4, /endpoints/0/retry/strategy",
            ),
            ("/configuration/endpoints/0/url", "line 2, /endpoints/0/url"),
            (
                "/configuration/endpoints/0/retry",
                "line 3, /endpoints/0/retry",
            ),
            ("/configuration", "line 1"),
            ("/version", "/version"),
        ] {
            assert_eq!(declared.place(pointer), place);
        }
    }
}
