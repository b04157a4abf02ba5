//! What a schema may cost, read from its text before it is compiled.
//!
//! Every reference is followed as if its target stood in its place. So a schema that refers to itself has no end and is
//! refused, and of every other it is known how many parts it has when it is written out: each of them looks at each
//! place of an event once at the most. No schema, whoever wrote it, makes a check take longer than parts times places.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::SchemaError;

/// Parts of a schema, written out.
pub(super) const PARTS_MAX: usize = 2_000;
/// How deep a schema may be nested, references followed.
const DEPTH_MAX: usize = 64;
/// Regular expressions of a schema.
const PATTERNS_MAX: usize = 50;

/// Words under which one schema stands.
const ONE: [&str; 10] = [
    "additionalItems",
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
];
/// Words under which a list of schemas stands.
const LIST: [&str; 5] = ["allOf", "anyOf", "items", "oneOf", "prefixItems"];
/// Words under which schemas stand by name.
const NAMED: [&str; 4] = [
    "dependencies",
    "dependentSchemas",
    "patternProperties",
    "properties",
];
/// Words whose cost cannot be told from the text, or that reach outside of the document. With what to use instead.
const REFUSED: [(&str, &str); 9] = [
    ("$anchor", "refer by a JSON pointer, such as '#/$defs/name'"),
    ("$dynamicAnchor", "use '$defs' and '$ref'"),
    ("$dynamicRef", "use '$ref'"),
    ("$recursiveAnchor", "use '$defs' and '$ref'"),
    ("$recursiveRef", "use '$ref'"),
    ("$vocabulary", "leave it out"),
    ("unevaluatedItems", "use 'items' or 'additionalItems'"),
    ("unevaluatedProperties", "use 'additionalProperties'"),
    ("$async", "leave it out"),
];
/// The languages that are understood; the last is meant where none is named.
const LANGUAGES: [&str; 4] = [
    "http://json-schema.org/draft-06/schema",
    "http://json-schema.org/draft-07/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
];

/// How many parts a schema has when it is written out.
pub(super) fn parts(schema: &Value) -> Result<usize, SchemaError> {
    if let Some(language) = schema.get("$schema") {
        let known = language
            .as_str()
            .is_some_and(|text| LANGUAGES.contains(&text.trim_end_matches('#')));
        if !known {
            return Err(SchemaError::at(
                "/$schema",
                "must be draft-06, draft-07, 2019-09 or 2020-12 of JSON Schema",
            ));
        }
    }
    one_document("", schema)?;
    let mut reader = Reader {
        root: schema,
        known: HashMap::new(),
        under_way: Vec::new(),
        patterns: 0,
    };
    let size = reader.schema("", schema, 0)?;
    reader.bounded(size.parts)?;
    Ok(size.parts)
}

/// An id inside of a document would give the references below it another beginning than the one that is followed here.
fn one_document(at: &str, value: &Value) -> Result<(), SchemaError> {
    match value {
        Value::Object(object) => {
            for (name, inner) in object {
                let at = format!("{at}/{}", escaped(name));
                if inner.is_string() && at != "/$id" && name == "$id" {
                    return Err(SchemaError::at(
                        at,
                        "is taken at the top only: a schema is one document",
                    ));
                }
                one_document(&at, inner)?;
            }
            Ok(())
        }
        Value::Array(list) => {
            let mut numbered = list.iter().enumerate();
            numbered.try_for_each(|(place, inner)| one_document(&format!("{at}/{place}"), inner))
        }
        _ => Ok(()),
    }
}

/// How large a schema is when it is written out.
#[derive(Clone, Copy, Default)]
struct Size {
    parts: usize,
    levels: usize,
}

impl Size {
    /// A schema inside of this one.
    fn add(&mut self, inner: Self) {
        self.parts += inner.parts;
        self.levels = self.levels.max(inner.levels + 1);
    }
}

fn too_many() -> SchemaError {
    SchemaError::at(
        "",
        format!("has more than {PARTS_MAX} parts, with every '$ref' written out"),
    )
}

struct Reader<'s> {
    root: &'s Value,
    /// What is referred to, and how large it is.
    known: HashMap<String, Size>,
    /// The references that are being followed.
    under_way: Vec<String>,
    patterns: usize,
}

impl Reader<'_> {
    fn schema(&mut self, at: &str, schema: &Value, depth: usize) -> Result<Size, SchemaError> {
        deep_enough(at, depth)?;
        let object = match schema {
            Value::Object(object) => object,
            Value::Bool(_) => {
                return Ok(Size {
                    parts: 1,
                    levels: 0,
                });
            }
            _ => {
                return Err(SchemaError::at(
                    at,
                    "must be a schema: an object, true or false",
                ));
            }
        };
        self.words(at, object)?;
        // A word costs something too: 'required' looks for each name.
        let mut size = Size {
            parts: 1 + object.values().map(listed).sum::<usize>(),
            levels: 0,
        };
        if let Some(target) = object.get("$ref") {
            size.add(self.referred(at, target, depth)?);
            self.bounded(size.parts)?;
        }
        for (word, value) in object {
            let at = format!("{at}/{}", escaped(word));
            for (at, inner) in inner(&at, word, value)? {
                size.add(self.schema(&at, inner, depth + 1)?);
                self.bounded(size.parts)?;
            }
        }
        Ok(size)
    }

    fn bounded(&self, parts: usize) -> Result<(), SchemaError> {
        match parts <= PARTS_MAX {
            true => Ok(()),
            false => Err(too_many()),
        }
    }

    /// Refuses what cannot be bounded, and counts regular expressions.
    fn words(&mut self, at: &str, object: &Map<String, Value>) -> Result<(), SchemaError> {
        for (word, instead) in REFUSED {
            if object.contains_key(word) {
                let problem = format!("is not taken here: {instead}");
                return Err(SchemaError::at(format!("{at}/{word}"), problem));
            }
        }
        if !at.is_empty() && object.contains_key("$schema") {
            let problem = "is taken at the top only: a schema is one document";
            return Err(SchemaError::at(format!("{at}/$schema"), problem));
        }
        let named = object.get("patternProperties").and_then(Value::as_object);
        self.patterns += usize::from(object.contains_key("pattern")) + named.map_or(0, Map::len);
        match self.patterns <= PATTERNS_MAX {
            true => Ok(()),
            false => Err(SchemaError::at(
                at,
                format!("the schema has more than {PATTERNS_MAX} regular expressions"),
            )),
        }
    }

    fn referred(&mut self, at: &str, target: &Value, depth: usize) -> Result<Size, SchemaError> {
        let at = format!("{at}/$ref");
        let pointer = target
            .as_str()
            .and_then(|text| text.strip_prefix('#'))
            .filter(|pointer| pointer.is_empty() || pointer.starts_with('/'))
            .filter(|pointer| !pointer.contains('%'));
        let Some(pointer) = pointer else {
            return Err(SchemaError::at(
                at,
                "must be a JSON pointer into this document, such as '#/$defs/name': nothing is fetched",
            ));
        };
        if let Some(known) = self.known.get(pointer) {
            deep_enough(&at, depth + 1 + known.levels)?;
            return Ok(*known);
        }
        if self.under_way.iter().any(|one| one == pointer) || pointer.is_empty() {
            return Err(SchemaError::at(
                at,
                "leads back to itself: say how deep the event can be instead",
            ));
        }
        let Some(schema) = self.root.pointer(pointer) else {
            return Err(SchemaError::at(at, "leads nowhere"));
        };
        self.under_way.push(pointer.to_owned());
        let size = self.schema(pointer, schema, depth + 1);
        self.under_way.pop();
        let size = size?;
        self.known.insert(pointer.to_owned(), size);
        Ok(size)
    }
}

fn deep_enough(at: &str, depth: usize) -> Result<(), SchemaError> {
    if depth <= DEPTH_MAX {
        return Ok(());
    }
    let problem =
        format!("is nested deeper than {DEPTH_MAX} levels, with every '$ref' written out");
    Err(SchemaError::at(at, problem))
}

/// How many things a word lists itself, beside schemas.
fn listed(value: &Value) -> usize {
    match value {
        Value::Array(list) => list.len(),
        Value::Object(named) => named
            .values()
            .filter_map(Value::as_array)
            .map(Vec::len)
            .sum(),
        _ => 1,
    }
}

/// The schemas under a word, with where they stand.
fn inner<'s>(
    at: &str,
    word: &str,
    value: &'s Value,
) -> Result<Vec<(String, &'s Value)>, SchemaError> {
    let inner = match value {
        Value::Array(list) if LIST.contains(&word) => {
            let numbered = list.iter().enumerate();
            numbered
                .map(|(place, one)| (format!("{at}/{place}"), one))
                .collect()
        }
        Value::Object(named) if NAMED.contains(&word) => {
            // A dependency may be a list of names as well.
            let schemas = named.iter().filter(|(_, one)| !one.is_array());
            schemas
                .map(|(name, one)| (format!("{at}/{}", escaped(name)), one))
                .collect()
        }
        one if ONE.contains(&word) => vec![(at.to_owned(), one)],
        _ if LIST.contains(&word) || NAMED.contains(&word) => {
            return Err(SchemaError::at(at, "must have schemas in it"));
        }
        _ => Vec::new(),
    };
    Ok(inner)
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
