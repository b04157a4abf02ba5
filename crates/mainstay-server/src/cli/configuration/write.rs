//! A declaration as a file: YAML that people would have written, with variables where the secrets belong.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::cli::{
    api::{list, text},
    table::clean,
};

const HEAD: &str = "\
# Sources, endpoints, bindings and schedules, written by `mainstay export`. `mainstay apply -f FILE` makes it so again,
# `mainstay diff -f FILE` shows what would change.
";

/// The fields that come first, in this order.
const FIRST: [&str; 15] = [
    "tenant",
    "sources",
    "endpoints",
    "bindings",
    "schedules",
    "name",
    "cron",
    "zone",
    "scheme",
    "source",
    "type_pattern",
    "url",
    "endpoint",
    "handler",
    "enabled",
];

/// The file for what `GET /v1/configuration` answers.
pub(super) fn write(export: &Value) -> String {
    let mut configuration = export["configuration"].clone();
    escape(&mut configuration);
    let variables = list(export, "/variables");
    for variable in variables {
        let name = format!("${{{}}}", text(variable, "/name"));
        place(&mut configuration, &text(variable, "/pointer"), name);
    }
    let mut file = HEAD.to_owned();
    if !variables.is_empty() {
        file += "#\n# Secrets are not in it. Set these variables to what they are, or take the lines out that name them: a secret\n";
        file += "# that is not declared stays as it is.\n#\n";
    }
    let width = variables
        .iter()
        .map(|one| text(one, "/name").len())
        .max()
        .unwrap_or_default();
    for variable in variables {
        let (name, what) = (text(variable, "/name"), clean(&text(variable, "/what")));
        let _ = writeln!(file, "#   {name:width$}  {what}");
    }
    file.push('\n');
    if let Value::Object(map) = &configuration {
        map_write(&mut file, map, 0, "");
    }
    let end = file.trim_end().len();
    file.truncate(end);
    file.push('\n');
    file
}

/// A dollar sign in a value is one, and begins no variable.
fn escape(value: &mut Value) {
    match value {
        Value::String(text) => *text = text.replace('$', "$$"),
        Value::Array(list) => list.iter_mut().for_each(escape),
        Value::Object(map) => map.values_mut().for_each(escape),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Puts a placeholder where a secret belongs. Those of a list come in their order.
fn place(configuration: &mut Value, pointer: &str, placeholder: String) {
    let mut steps: Vec<&str> = pointer.split('/').skip(1).collect();
    let into_list = steps
        .last()
        .is_some_and(|last| last.parse::<usize>().is_ok());
    if into_list {
        steps.pop();
    }
    let Some(field) = steps.pop() else { return };
    let above: String = steps.iter().map(|step| format!("/{step}")).collect();
    let Some(Value::Object(map)) = configuration.pointer_mut(&above) else {
        return;
    };
    if !into_list {
        map.insert(field.to_owned(), placeholder.into());
        return;
    }
    let known = map.entry(field).or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(list) = known {
        list.push(placeholder.into());
    }
}

/// Writes a map; `first` stands before its first line in place of the indent.
fn map_write(file: &mut String, map: &Map<String, Value>, indent: usize, first: &str) {
    let rank = |name: &str| {
        let found = FIRST.iter().position(|own| *own == name);
        found.unwrap_or(FIRST.len())
    };
    let mut fields: Vec<_> = map.iter().filter(|(_, value)| !value.is_null()).collect();
    fields.sort_by_key(|(name, _)| (rank(name), name.as_str()));
    let mut lead = first.to_owned();
    for (name, value) in fields {
        if lead.is_empty() {
            lead = " ".repeat(indent);
        }
        let _ = write!(file, "{lead}{}:", scalar(name));
        lead.clear();
        value_write(file, value, indent);
        if indent == 0 && first.is_empty() && value.is_array() {
            file.push('\n');
        }
    }
}

fn value_write(file: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            file.push('\n');
            map_write(file, map, indent + 2, "");
        }
        Value::Array(list) if list.iter().all(Value::is_number) => {
            let list: Vec<String> = list.iter().map(Value::to_string).collect();
            let _ = writeln!(file, " [{}]", list.join(", "));
        }
        Value::Array(list) => {
            file.push('\n');
            for item in list {
                let lead = format!("{}- ", " ".repeat(indent + 2));
                match item {
                    Value::Object(map) if !map.is_empty() => {
                        map_write(file, map, indent + 4, &lead);
                    }
                    other => {
                        let _ = writeln!(file, "{lead}{}", flow(other));
                    }
                }
            }
        }
        other => {
            let _ = writeln!(file, " {}", flow(other));
        }
    }
}

/// On one line. JSON is YAML too.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// A text without quotes where nobody could take it for anything else.
fn scalar(text: &str) -> String {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    let begins = text.starts_with(|first: char| first.is_ascii_alphabetic());
    let lower = text.to_ascii_lowercase();
    let word = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"].contains(&&*lower);
    if begins && !word && text.bytes().all(inside) {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::read, *};

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let configuration = json!({
            "tenant": "default",
            "sources": [
                {
                    "name": "pay", "scheme": "hmac", "enabled": true,
                    "settings": {
                        "allow": ["192.0.2.0/24"], "hmac": { "header": "X: \"a\" # b", "signed": "${timestamp}.$x" },
                        "tolerance_secs": 300, "answer": { "status": 200, "body": "a\nb\u{7}ü" },
                    },
                },
                { "name": "no", "scheme": "github", "settings": {} },
            ],
            "endpoints": [{ "name": "1", "url": "https://a.example/?a=$b", "retry": { "delays_ms": [1, 2], "factor": 2.0 } }],
            "bindings": [],
        });
        let export = json!({
            "configuration": configuration,
            "variables": [
                { "name": "A", "pointer": "/sources/0/secrets/0", "what": "source pay, …1234" },
                { "name": "B", "pointer": "/sources/0/secrets/1", "what": "source\npay" },
                { "name": "C", "pointer": "/sources/1/verify_token", "what": "source no" },
            ],
        });
        let file = write(&export);
        let filled = |name: &str| Some(format!("secret of {name}"));
        let read = read::read(&file, &filled).unwrap_or_else(|wrong| panic!("{wrong:?}\n{file}"));
        let mut expected = configuration;
        expected["sources"][0]["secrets"] = json!(["secret of A", "secret of B"]);
        expected["sources"][1]["verify_token"] = json!("secret of C");
        assert_eq!(read.value, expected, "{file}");
        assert!(file.contains("#   A  source pay, …1234\n"), "{file}");
        assert!(
            file.contains("sources:\n  - name: pay\n    scheme: hmac\n"),
            "{file}"
        );
    }
}
