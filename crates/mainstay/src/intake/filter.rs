//! Filters of bindings: a small part of the Common Expression Language, read once per configuration and evaluated over
//! what an event says.
//!
//! The language ends by design. What is taken of it is narrower still, so that one evaluation costs at most as many
//! looks at the event as the expression has parts: no arithmetic, nothing that grows, `exists` and `all` over a field of
//! the event and not inside each other.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, LazyLock},
};

use cel::{
    Context, Env, ExecutionError, IdedExpr, ParseErrors, Program, Value,
    common::ast::{ComprehensionExpr, Expr, LiteralValue, SourceInfo},
    objects::{Key, Map},
};
use serde_json::Value as Json;

/// Characters of an expression.
pub const FILTER_CHARS_MAX: usize = 1_000;
/// Parts of an expression: names, literals, operators, calls.
const PARTS_MAX: usize = 200;
/// How deep an expression may be nested.
const DEPTH_MAX: usize = 24;
/// The largest payload that a filter looks at: several times what providers send.
const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;
/// Elements of the longest list of a payload that a filter looks at: `exists` and `all` go through one, and each part of
/// theirs looks at each element. A request must not wait for seconds behind another one's filter.
const LIST_MAX: usize = 5_000;
/// The parser descends for each bracket and each operator, generously.
const PARSER_STACK_BYTES: usize = 64 * 1024 * 1024;
/// Characters of a parser's complaint that are passed on.
const COMPLAINT_CHARS_MAX: usize = 200;

/// What an expression can look at.
const NAMES: [&str; 5] = ["type", "source", "id", "body", "headers"];
/// What an expression can do. Nothing here makes a value larger than those it was given.
const CALLS: [&str; 21] = [
    "_&&_",
    "_||_",
    "!_",
    "_?_:_",
    "_==_",
    "_!=_",
    "_<_",
    "_<=_",
    "_>_",
    "_>=_",
    "-_",
    "@in",
    "_[_]",
    "@not_strictly_false",
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "int",
    "double",
    "string",
];

static LANGUAGE: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// What is wrong with an expression, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} (line {line}, column {column})")]
pub struct FilterError {
    /// What is wrong.
    pub problem: String,
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
}

impl FilterError {
    fn at_start(problem: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            line: 1,
            column: 1,
        }
    }
}

/// An expression, ready to be evaluated.
#[derive(Debug)]
pub struct Filter(Program);

/// What a filter says of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filtered {
    /// The event is wanted.
    Passed,
    /// It is not.
    Held,
    /// It could not be said; taken as "it is not". The reason quotes nothing of the event.
    Failed(String),
}

impl Filter {
    /// Reads an expression.
    pub fn new(text: &str) -> Result<Self, FilterError> {
        if text.trim().is_empty() {
            return Err(FilterError::at_start("is empty"));
        }
        if text.chars().count() > FILTER_CHARS_MAX {
            let problem = format!("has more than {FILTER_CHARS_MAX} characters");
            return Err(FilterError::at_start(problem));
        }
        let program = parse(text)?;
        let mut reader = Reader {
            info: program.source_info(),
            parts: 0,
        };
        reader.expression(program.expression(), &Place::default())?;
        Ok(Self(program))
    }

    /// What it says of this event. Never panics, and never costs more than a few looks at the event for each of its
    /// parts.
    pub fn evaluate(&self, event: &Subject) -> Filtered {
        let Some(context) = &event.context else {
            return Filtered::Failed(format!(
                "the event is larger than {PAYLOAD_BYTES_MAX} bytes, or has a list of more than {LIST_MAX} elements"
            ));
        };
        // The library's own assertions are no reason to refuse a request.
        match catch_unwind(AssertUnwindSafe(|| self.0.execute(context))) {
            Ok(Ok(Value::Bool(true))) => Filtered::Passed,
            Ok(Ok(Value::Bool(false))) => Filtered::Held,
            Ok(Ok(_)) => Filtered::Failed("it came to neither true nor false".into()),
            Ok(Err(error)) => Filtered::Failed(reason(&error)),
            Err(_) => Filtered::Failed("it could not be evaluated".into()),
        }
    }
}

/// Parses in a thread of its own: the parser's descent is bounded by the expression's length and its own limit, and
/// what it needs of a stack at that limit is more than other threads have.
fn parse(text: &str) -> Result<Program, FilterError> {
    let owned = text.to_owned();
    let parser = std::thread::Builder::new()
        .name("filter".into())
        .stack_size(PARSER_STACK_BYTES)
        .spawn(move || LANGUAGE.compile(&owned));
    match parser.map(std::thread::JoinHandle::join) {
        Ok(Ok(parsed)) => parsed.map_err(|errors| complaint(&errors)),
        Ok(Err(_)) | Err(_) => Err(FilterError::at_start("cannot be read")),
    }
}

fn complaint(errors: &ParseErrors) -> FilterError {
    let Some(first) = errors.errors.first() else {
        return FilterError::at_start("cannot be read");
    };
    let words: String = first.msg.chars().take(COMPLAINT_CHARS_MAX).collect();
    let from_one = |at: isize| usize::try_from(at).unwrap_or(1).max(1);
    FilterError {
        problem: format!("cannot be read: {words}"),
        line: from_one(first.pos.0),
        column: from_one(first.pos.1),
    }
}

/// Why there is no answer, without anything that stood in the event.
fn reason(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(name) => format!("there is no field {name}"),
        ExecutionError::NoSuchOverload(overload) => overload.to_string(),
        ExecutionError::ValuesNotComparable(..) => "it compares what cannot be compared".to_owned(),
        ExecutionError::IndexOutOfBounds(_) => "an index is beyond the end of its list".to_owned(),
        ExecutionError::UnexpectedType { got, want } => format!("it met {got} in place of {want}"),
        ExecutionError::FunctionError { function, .. } => {
            format!("{function} cannot take what it was given")
        }
        _ => "it met a value of a type that it cannot use".to_owned(),
    }
}

/// Where in an expression the reader is.
#[derive(Default)]
struct Place<'a> {
    depth: usize,
    /// Inside `exists` or `all`: the names that stand for an element and for what was found so far.
    within: Option<[&'a str; 2]>,
}

impl<'a> Place<'a> {
    fn deeper(&self) -> Self {
        Self {
            depth: self.depth + 1,
            within: self.within,
        }
    }
}

/// Goes through an expression once, before it is ever evaluated, and takes only what is known to be cheap.
struct Reader<'a> {
    info: &'a SourceInfo,
    parts: usize,
}

impl Reader<'_> {
    fn refuse<T>(&self, at: &IdedExpr, problem: impl Into<String>) -> Result<T, FilterError> {
        let offset = self.info.offset_for(at.id).map_or(0, |(start, _)| start);
        let before: Vec<char> = self
            .info
            .source
            .chars()
            .take(usize::try_from(offset).unwrap_or(0))
            .collect();
        let line_start = before
            .iter()
            .rposition(|c| *c == '\n')
            .map_or(0, |at| at + 1);
        Err(FilterError {
            problem: problem.into(),
            line: before.iter().filter(|c| **c == '\n').count() + 1,
            column: before.len() - line_start + 1,
        })
    }

    fn expression<'e>(&mut self, at: &'e IdedExpr, place: &Place<'e>) -> Result<(), FilterError> {
        self.parts += 1;
        if self.parts > PARTS_MAX {
            return self.refuse(at, format!("has more than {PARTS_MAX} parts"));
        }
        if place.depth > DEPTH_MAX {
            return self.refuse(at, format!("is nested more than {DEPTH_MAX} deep"));
        }
        let inner = place.deeper();
        match &at.expr {
            Expr::Literal(LiteralValue::Bytes(_)) => self.refuse(at, "has bytes in it"),
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(at, name, place),
            Expr::Select(select) => self.expression(&select.operand, &inner),
            Expr::List(list) => list
                .elements
                .iter()
                .try_for_each(|element| self.expression(element, &inner)),
            Expr::Call(call) => {
                if !CALLS.contains(&call.func_name.as_str()) {
                    let shown = call.func_name.trim_matches(['_', '@']);
                    return self.refuse(at, format!("uses {shown}, which filters do not have"));
                }
                call.target
                    .as_deref()
                    .into_iter()
                    .chain(&call.args)
                    .try_for_each(|part| self.expression(part, &inner))
            }
            Expr::Comprehension(every) => self.every(at, every, &inner),
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                self.refuse(at, "makes a map, which filters do not have")
            }
        }
    }

    fn name(&self, at: &IdedExpr, name: &str, place: &Place) -> Result<(), FilterError> {
        match place.within {
            Some(own) if own.contains(&name) => Ok(()),
            Some(_) if NAMES.contains(&name) => self.refuse(
                at,
                format!(
                    "uses {name} inside exists or all, where only the element can be looked at"
                ),
            ),
            None if NAMES.contains(&name) => Ok(()),
            _ => self.refuse(
                at,
                format!("does not know {name}; there are {}", NAMES.join(", ")),
            ),
        }
    }

    fn every<'e>(
        &mut self,
        at: &IdedExpr,
        every: &'e ComprehensionExpr,
        place: &Place<'e>,
    ) -> Result<(), FilterError> {
        if place.within.is_some() {
            return self.refuse(at, "has exists or all inside each other");
        }
        let counts = !matches!(
            every.accu_init.expr,
            Expr::Literal(LiteralValue::Boolean(_))
        );
        if counts || every.iter_var2.is_some() {
            return self.refuse(
                at,
                "goes through a list with something other than exists and all",
            );
        }
        if !is_field(&every.iter_range) {
            return self.refuse(at, "goes through something that is no field of the event");
        }
        self.expression(&every.iter_range, place)?;
        let within = Place {
            depth: place.depth,
            within: Some([&every.iter_var, &every.accu_var]),
        };
        [&every.loop_cond, &every.loop_step, &every.result]
            .into_iter()
            .try_for_each(|part| self.expression(part, &within))
    }
}

/// Whether this only follows names and indices down from what the event has.
fn is_field(at: &IdedExpr) -> bool {
    match &at.expr {
        Expr::Ident(_) => true,
        Expr::Select(select) => !select.test && is_field(&select.operand),
        Expr::Call(call) => {
            call.func_name == "_[_]"
                && call.args.first().is_some_and(is_field)
                && matches!(call.args.get(1).map(|at| &at.expr), Some(Expr::Literal(_)))
        }
        _ => false,
    }
}

/// An event as filters see it. Made once for all filters that look at it.
#[derive(Default)]
pub struct Subject {
    /// None: too large, or nothing was given.
    context: Option<Context<'static, 'static>>,
}

/// What an event is made of.
pub struct Parts<'a> {
    /// The provider's type.
    pub kind: &'a str,
    /// The source's name.
    pub source: &'a str,
    /// The provider's id.
    pub provider_id: &'a str,
    /// The payload.
    pub payload: &'a [u8],
    /// The request's headers that are kept.
    pub headers: &'a serde_json::Map<String, Json>,
}

impl Subject {
    /// What filters see of this event: a body that is no JSON is its text, and one that is no text is null.
    pub fn new(parts: &Parts) -> Self {
        if parts.payload.len() > PAYLOAD_BYTES_MAX {
            return Self { context: None };
        }
        let body = match serde_json::from_slice::<Json>(parts.payload) {
            Ok(json) if longest_list(&json) > LIST_MAX => return Self { context: None },
            Ok(json) => value(&json),
            Err(_) => std::str::from_utf8(parts.payload).map_or(Value::Null, Value::from),
        };
        let mut context = Context::with_env(Arc::clone(&LANGUAGE));
        context.add_variable_from_value("type", parts.kind);
        context.add_variable_from_value("source", parts.source);
        context.add_variable_from_value("id", parts.provider_id);
        context.add_variable_from_value("body", body);
        context.add_variable_from_value("headers", object(parts.headers));
        Self {
            context: Some(context),
        }
    }
}

fn longest_list(json: &Json) -> usize {
    match json {
        Json::Array(list) => list.iter().map(longest_list).fold(list.len(), usize::max),
        Json::Object(members) => members
            .values()
            .map(longest_list)
            .max()
            .unwrap_or(0)
            .max(members.len()),
        _ => 0,
    }
}

/// JSON as the language has it. Whole numbers are `int` where they can be, so that they compare with literals.
fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Value::Int(int),
            (None, Some(uint)) => Value::UInt(uint),
            (None, None) => number.as_f64().map_or(Value::Null, Value::Float),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(list) => Value::List(Arc::new(list.iter().map(value).collect())),
        Json::Object(members) => object(members),
    }
}

fn object(members: &serde_json::Map<String, Json>) -> Value {
    let map: HashMap<Key, Value> = members
        .iter()
        .map(|(name, member)| (Key::from(name.clone()), value(member)))
        .collect();
    Value::Map(Map { map: Arc::new(map) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn says(text: &str, body: &Json) -> Filtered {
        let headers = json!({ "x-shop": "north" });
        let subject = Subject::new(&Parts {
            kind: "invoice.paid",
            source: "stripe",
            provider_id: "evt_1",
            payload: body.to_string().as_bytes(),
            headers: headers.as_object().expect("an object"),
        });
        Filter::new(text).expect(text).evaluate(&subject)
    }

    fn invoice() -> Json {
        json!({
            "data": { "object": { "amount": 1200, "currency": "eur", "rate": 0.5, "big": u64::MAX, "paid": true,
                "note": null, "lines": [{ "sku": "a", "n": 1 }, { "sku": "b" }] } },
            "list": ["x", "y"],
        })
    }

    #[test]
    fn an_event_is_wanted_where_the_expression_is_true() {
        for wanted in [
            "type == 'invoice.paid' && source == 'stripe' && id == 'evt_1'",
            "body.data.object.amount > 1000",
            "body.data.object.amount >= 1200.0 && body.data.object.rate < 1",
            "body.data.object.big > 5 && body.data.object.amount != -5",
            "body['data']['object'].currency in ['eur', 'usd']",
            "has(body.data.object.paid) && body.data.object.paid",
            "!has(body.data.object.refund)",
            "body.data.object.note == null",
            "body.data.object.lines.exists(line, line.sku == 'b')",
            "body.data.object.lines.all(line, line.sku.startsWith('a') || line.sku == 'b')",
            "body.data.object.lines.exists(line, line.n == 1)",
            "size(body.list) == 2 && 'y' in body.list && body.list[1] == 'y'",
            "headers['x-shop'].contains('or') && !('x-other' in headers)",
            "double('1.5') < 2.0 && int('7') == 7 && string(7) == '7'",
            "body.missing == 1 || type.endsWith('paid')",
            "type == 'x' ? false : true",
        ] {
            assert_eq!(says(wanted, &invoice()), Filtered::Passed, "{wanted}");
        }
        for unwanted in ["type == 'x'", "body.data.object.amount < 1000", "false"] {
            assert_eq!(says(unwanted, &invoice()), Filtered::Held, "{unwanted}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_a_failure_that_quotes_nothing_of_the_event() {
        for (text, why) in [
            ("body.data.refund.amount > 1", "there is no field refund"),
            ("body.data.object.currency > 1", ""),
            ("body.list[7] == 'x'", ""),
            ("body.data.object.amount", "neither true nor false"),
            ("int(body.data.object.currency) == 1", ""),
            ("body.data.object.amount.contains('x')", ""),
        ] {
            let Filtered::Failed(reason) = says(text, &invoice()) else {
                panic!("{text} was decided");
            };
            assert!(reason.contains(why), "{text}: {reason}");
            assert!(!reason.contains("eur"), "{reason}");
        }
    }

    #[test]
    fn a_body_that_is_no_json_is_its_text() {
        let says = |payload: &[u8], text: &str| {
            let subject = Subject::new(&Parts {
                kind: "message",
                source: "twilio",
                provider_id: "SM1",
                payload,
                headers: &serde_json::Map::new(),
            });
            Filter::new(text).expect("it is one").evaluate(&subject)
        };
        assert_eq!(
            says(b"From=1&To=2", "body.contains('To=2')"),
            Filtered::Passed
        );
        assert_eq!(says(b"\xff", "body == null"), Filtered::Passed);
        let large = vec![b' '; PAYLOAD_BYTES_MAX + 1];
        assert!(matches!(says(&large, "true"), Filtered::Failed(_)));
        let list = |count| serde_json::to_vec(&json!({ "deep": [vec![1; count]] })).expect("JSON");
        let goes_through = "body.deep[0].exists(x, x == 2) || true";
        assert_eq!(says(&list(LIST_MAX), goes_through), Filtered::Passed);
        assert!(matches!(
            says(&list(LIST_MAX + 1), goes_through),
            Filtered::Failed(_)
        ));
    }

    fn refused(text: &str) -> FilterError {
        Filter::new(text).map(drop).expect_err(text)
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let error = refused("type == 'a' &&\n  bodi.x == 1");
        assert_eq!((error.line, error.column), (2, 3), "{error}");
        assert!(error.problem.contains("bodi"), "{error}");
        let error = refused("type == ");
        assert_eq!(error.line, 1, "{error}");
        assert!(error.problem.contains("cannot be read"), "{error}");
        let error = refused("type == 'ü' && sum(body) == 1");
        assert!(error.problem.contains("uses sum"), "{error}");
    }

    #[test]
    fn nothing_that_grows_or_goes_round_more_than_once_is_taken() {
        for text in [
            "",
            "  ",
            "body.a + body.a == 'aa'",
            "body.list.map(x, x).size() == 1",
            "body.list.filter(x, true) == []",
            "body.list.exists_one(x, true)",
            "body.list.exists(x, body.list.exists(y, x == y))",
            "body.list.exists(x, x in body.list)",
            "[body, body].exists(x, x.a == 1)",
            "{'a': 1} == body",
            "type.matches('(a+)+')",
            "b'x' == body",
            "now() > 1",
            &format!("type in [{}]", vec!["'a'"; 250].join(",")),
            &"!".repeat(1_001),
        ] {
            refused(text);
        }
    }

    #[test]
    fn deep_nesting_is_refused_and_breaks_nothing() {
        for (open, close) in [
            ("(", ")"),
            ("[", "]"),
            ("!(", ")"),
            ("has(body.a) ? (", ") : true"),
        ] {
            for depth in [30, 90, 120, 400] {
                let text = format!("{}true{}", open.repeat(depth), close.repeat(depth));
                if let Ok(filter) = Filter::new(&text) {
                    assert_eq!(filter.evaluate(&subject_of(b"{}")), Filtered::Passed);
                }
            }
        }
        refused(&"[".repeat(1_000));
        refused(&format!("body{}", ".a".repeat(60)));
    }

    fn subject_of(payload: &[u8]) -> Subject {
        Subject::new(&Parts {
            kind: "a",
            source: "b",
            provider_id: "c",
            payload,
            headers: &serde_json::Map::new(),
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn no_text_breaks_the_reader_and_no_event_breaks_a_filter(
            text in r#"(body|type|\.a|\[0\]|==|&&|\|\||!|\(|\)|\[|\]|'x'|1|-| in |\.exists\(x,|x\.a|,|\?|:|\{|\}|"|\\|é| |has\(){1,24}"#,
            payload in r#"(\{"a":|\[|1|"x"|null|\]|\}|,|é){0,12}"#,
        ) {
            if let Ok(filter) = Filter::new(&text) {
                let _ = filter.evaluate(&subject_of(payload.as_bytes()));
            }
        }
    }
}
