//! What handlers take: bodies, parameters and ids, checked, with every failure a problem.

use std::{fmt, str::FromStr, sync::Arc};

use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts, RawPathParams, Request},
    http::{HeaderMap, Method, header, request::Parts},
};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{Code, Problem, body, problem::FieldError};
use crate::{access::idempotency::Repeatable, limits, state::App};

/// A JSON body, with what is needed to recognise a repetition.
pub(crate) struct Input<T> {
    /// The body.
    pub(crate) value: T,
    /// The request as a write that may be repeated.
    pub(crate) repeatable: Repeatable,
}

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Input<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        plain_body(&parts.headers)?;
        media_type(&parts.headers)?;
        let bytes = body::read(
            &parts.headers,
            body,
            limits::API_BODY_BYTES,
            app.limits.body_timeout,
        )
        .await?;
        let repeatable = Repeatable::new(&parts, &bytes)?;
        Ok(Self {
            value: json(&bytes)?,
            repeatable,
        })
    }
}

/// A write without a body. An empty object is taken as well: some clients always send one.
pub(crate) struct NoInput {
    /// The request as a write that may be repeated.
    pub(crate) repeatable: Repeatable,
}

impl FromRequest<Arc<App>> for NoInput {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = body::read(
            &parts.headers,
            body,
            limits::API_BODY_BYTES,
            app.limits.body_timeout,
        )
        .await?;
        if !matches!(bytes.trim_ascii(), b"" | b"{}" | b"null") && parts.method != Method::DELETE {
            return Err(Problem::field("", "this request takes no body"));
        }
        Ok(Self {
            repeatable: Repeatable::new(&parts, &bytes)?,
        })
    }
}

/// A JSON body that may be left out.
pub(crate) struct OptionalInput<T> {
    /// The body, or its default.
    pub(crate) value: T,
    /// The request as a write that may be repeated.
    pub(crate) repeatable: Repeatable,
}

impl<T: DeserializeOwned + Default> FromRequest<Arc<App>> for OptionalInput<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        plain_body(&parts.headers)?;
        let bytes = body::read(
            &parts.headers,
            body,
            limits::API_BODY_BYTES,
            app.limits.body_timeout,
        )
        .await?;
        let repeatable = Repeatable::new(&parts, &bytes)?;
        // JSON's null is no body either.
        if matches!(bytes.trim_ascii(), b"" | b"null") {
            return Ok(Self {
                value: T::default(),
                repeatable,
            });
        }
        media_type(&parts.headers)?;
        Ok(Self {
            value: json(&bytes)?,
            repeatable,
        })
    }
}

/// Nothing is unpacked: what a few bytes become when they are has no bound that a sender could know.
fn plain_body(headers: &HeaderMap) -> Result<(), Problem> {
    let packed = headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    match packed {
        false => Ok(()),
        true => Err(Problem::new(
            Code::MediaTypeUnsupported,
            "send the body as it is, without content-encoding",
        )),
    }
}

fn media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(Problem::new(
            Code::MediaTypeUnsupported,
            "send the body as content-type: application/json",
        ))
    }
}

/// Reads JSON; what does not fit is said with a pointer to it.
pub(crate) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let inner = error.inner();
        if inner.is_data() {
            Problem::field(pointer(error.path()), plain(&inner.to_string()))
        } else {
            Problem::new(
                Code::RequestMalformed,
                format!("the body is not JSON: {}", plain(&inner.to_string())),
            )
        }
    })?;
    let end = reader.end();
    end.map_err(|_| {
        Problem::new(
            Code::RequestMalformed,
            "the body holds more than one JSON value",
        )
    })?;
    Ok(value)
}

/// `settings.answer[2]` as `/settings/answer/2`.
pub(crate) fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter().fold(String::new(), |mut text, segment| {
        match segment {
            Segment::Seq { index } => text = format!("{text}/{index}"),
            Segment::Map { key } => {
                text = format!("{text}/{}", key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
        text
    })
}

/// serde's sentence without the place that stands in the pointer already.
fn plain(message: &str) -> String {
    message
        .split(" at line ")
        .next()
        .unwrap_or(message)
        .to_owned()
}

/// Parameters of the query; one that nobody knows is refused, because a misspelt filter would show everything.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<App>> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        query(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

fn query<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    let pairs = form_pairs(text);
    let mut names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Problem::field(
            format!("?{}", twice[0]),
            "is given more than once",
        ));
    }
    if let Some((name, _)) = pairs
        .iter()
        .find(|(_, value)| value.chars().any(char::is_control))
    {
        return Err(Problem::field(
            format!("?{name}"),
            "has control characters in it",
        ));
    }
    axum::extract::Query::<T>::try_from_uri(&uri(text)?)
        .map(|query| query.0)
        .map_err(|error| {
            let source = std::error::Error::source(&error)
                .map(ToString::to_string)
                .unwrap_or_default();
            let (name, detail) = match source.split_once(": ") {
                Some((name, detail)) if names.contains(&name) => {
                    (name.to_owned(), detail.to_owned())
                }
                _ => (String::new(), source),
            };
            Problem::field(format!("?{name}"), in_words(detail))
        })
}

/// What the standard library says of a number is about its own parsing.
fn in_words(detail: String) -> String {
    let of_numbers = ["invalid digit", "cannot parse integer", "number too"];
    match of_numbers.iter().any(|start| detail.starts_with(start)) {
        true => "must be a whole number, and not too large".to_owned(),
        false => detail,
    }
}

fn uri(query: &str) -> Result<axum::http::Uri, Problem> {
    format!("/?{query}")
        .parse()
        .map_err(|_| Problem::new(Code::RequestMalformed, "the query cannot be read"))
}

/// The pairs of a query or of a form.
pub(crate) fn form_pairs(text: &str) -> Vec<(String, String)> {
    match uri(text) {
        Ok(uri) => axum::extract::Query::try_from_uri(&uri)
            .map(|query| query.0)
            .unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}

/// An id in the path. One that cannot be an id names nothing: 404, like one that is unknown.
pub(crate) struct Id<T>(pub(crate) T);

impl<T: FromStr + fmt::Debug> FromRequestParts<Arc<App>> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let text = path_parameter(parts, app, "id").await?;
        text.parse()
            .map(Self)
            .map_err(|_| Problem::not_found("thing"))
    }
}

/// A name in the path.
pub(crate) struct Named(pub(crate) String);

impl FromRequestParts<Arc<App>> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        path_parameter(parts, app, "name").await.map(Self)
    }
}

/// The second id in the path of a secret or a link.
pub(crate) struct InnerId<T>(pub(crate) T);

impl<T: FromStr> FromRequestParts<Arc<App>> for InnerId<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        for (name, thing) in [
            ("secret_id", "secret"),
            ("link_id", "link"),
            ("schema_id", "schema"),
        ] {
            if let Ok(text) = path_parameter(parts, app, name).await {
                return text
                    .parse()
                    .map(Self)
                    .map_err(|_| Problem::not_found(thing));
            }
        }
        Err(Problem::not_found("thing"))
    }
}

async fn path_parameter(parts: &mut Parts, app: &Arc<App>, name: &str) -> Result<String, Problem> {
    let params = RawPathParams::from_request_parts(parts, app).await;
    let params = params.map_err(|_| Problem::not_found("thing"))?;
    let found = params.iter().find(|(own, _)| *own == name);
    found
        .map(|(_, value)| value.to_owned())
        .ok_or_else(|| Problem::not_found("thing"))
}

/// Reads the raw body of a request to intake or of a form.
pub(crate) async fn raw(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<Bytes, Problem> {
    body::read(headers, body, limit, app.limits.body_timeout).await
}

/// Gathers everything that is wrong with an input before it answers.
#[derive(Debug, Default)]
pub(crate) struct Checks(Vec<FieldError>);

impl Checks {
    /// Notes that a field is wrong.
    pub(crate) fn fail(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.0.push(FieldError {
            pointer: pointer.into(),
            detail: detail.into(),
        });
    }

    /// Notes that a field is wrong unless it holds.
    pub(crate) fn ensure(&mut self, holds: bool, pointer: &str, detail: &str) {
        if !holds {
            self.fail(pointer, detail);
        }
    }

    /// A text for people: not empty, no control characters, no white space around it.
    pub(crate) fn text(&mut self, pointer: &str, text: &str, max: usize) {
        let length = text.chars().count();
        let fits = (1..=max).contains(&length);
        self.ensure(fits, pointer, &format!("must have 1 to {max} characters"));
        let clean = text.trim() == text && !text.chars().any(char::is_control);
        self.ensure(
            clean,
            pointer,
            "has white space around it or control characters in it",
        );
    }

    /// A name for commands and URLs: lower case letters, digits, `-` and `_`, beginning with a letter or digit.
    pub(crate) fn slug(&mut self, pointer: &str, text: &str) {
        let inside =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        let begins = text
            .bytes()
            .next()
            .is_some_and(|byte| inside(byte) && byte.is_ascii_alphanumeric());
        let holds = begins && text.len() <= SLUG_MAX && text.bytes().all(inside);
        self.ensure(
            holds,
            pointer,
            "must be 1 to 63 lower-case letters, digits, '-' or '_', not beginning with '-' or '_'",
        );
    }

    /// Notes what is wrong with a part of the input, which was checked as if it were the whole.
    pub(crate) fn below(&mut self, at: &str, problem: Problem) {
        let body = problem.body();
        if body.errors.is_empty() {
            self.fail(at, body.detail);
        }
        for error in body.errors {
            self.fail(format!("{at}{}", error.pointer), error.detail);
        }
    }

    /// Everything that was wrong, as one answer.
    pub(crate) fn done(self) -> Result<(), Problem> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Problem::fields(self.0))
        }
    }
}

/// How long a slug may be.
pub(crate) const SLUG_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: String,
        #[serde(default)]
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        count: u8,
    }

    fn pointer_of(text: &str) -> (Code, String) {
        let problem = json::<Sample>(text.as_bytes()).expect_err("the input is wrong");
        let pointer = problem.body().errors.first().map(|one| one.pointer.clone());
        (problem.code(), pointer.unwrap_or_default())
    }

    #[test]
    fn a_number_that_is_none_is_refused_in_words() {
        #[derive(Debug, Deserialize)]
        struct Asked {
            #[serde(rename = "limit")]
            _limit: Option<i64>,
        }
        for wrong in ["abc", "", "1.5", "99999999999999999999"] {
            let problem = query::<Asked>(&format!("limit={wrong}")).expect_err("it is no number");
            let error = problem.body().errors[0].clone();
            assert_eq!(error.pointer, "?limit");
            assert!(
                error.detail.starts_with("must be a whole number"),
                "{}",
                error.detail
            );
        }
    }

    #[test]
    fn a_body_that_is_right_is_read() {
        let text = r#"{"name":"a","inner":[{"count":3}]}"#;
        let sample = json::<Sample>(text.as_bytes()).expect("the input is right");
        let counts: Vec<u8> = sample.inner.iter().map(|inner| inner.count).collect();
        assert_eq!((sample.name.as_str(), counts), ("a", vec![3]));
    }

    #[test]
    fn what_is_wrong_in_a_body_is_pointed_at() {
        assert_eq!(
            pointer_of(r#"{"name":1}"#),
            (Code::ValidationFailed, "/name".into())
        );
        assert_eq!(
            pointer_of(r#"{"name":"a","inner":[{"count":300}]}"#),
            (Code::ValidationFailed, "/inner/0/count".into())
        );
        assert_eq!(
            pointer_of(r#"{"name":"a","other":1}"#),
            (Code::ValidationFailed, "/other".into())
        );
        assert_eq!(pointer_of(r#"{"name":"#).0, Code::RequestMalformed);
        assert_eq!(pointer_of(r#"{"name":"a"} x"#).0, Code::RequestMalformed);
        assert_eq!(pointer_of("").0, Code::RequestMalformed);
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Filter {
        limit: Option<u8>,
        q: Option<String>,
    }

    #[test]
    fn a_misspelt_or_doubled_parameter_is_refused() {
        assert!(query::<Filter>("limit=3&q=a").is_ok());
        assert!(query::<Filter>("").is_ok());
        for wrong in [
            "limit=x",
            "limit=300",
            "lmit=3",
            "limit=1&limit=2",
            "q=a%00b",
            "limit=",
        ] {
            let problem = query::<Filter>(wrong).expect_err(wrong);
            assert_eq!(problem.code(), Code::ValidationFailed, "{wrong}");
        }
    }

    #[test]
    fn a_slug_is_fit_for_a_url() {
        let passes = |text: &str| {
            let mut checks = Checks::default();
            checks.slug("/name", text);
            checks.done().is_ok()
        };
        assert!(passes("stripe") && passes("a") && passes("0-a_b"));
        for wrong in ["", "-a", "_a", "A", "a b", "ä", "a/b", &"a".repeat(64)] {
            assert!(!passes(wrong), "{wrong}");
        }
    }
}
