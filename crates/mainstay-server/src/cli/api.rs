//! The running server, as the command line sees it: the public API and nothing else.

use std::{path::Path, time::Duration};

use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::{Value, json};

use super::failure::{Exit, Failure};
use crate::time::{SystemRandom, random_hex};

/// How long one call may take. A plan over a large selection is the slowest.
const TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The most that the API gives in one page.
const PAGE_MAX: usize = 200;
/// How far a name is looked for.
const SEARCH_MAX: usize = 20_000;
/// Where a running server leaves its address and a token for whoever may read the data directory.
pub(crate) const API_FILE: &str = "api.json";

/// Query parameters: those without a value are left out.
pub(crate) type Query<'a> = &'a [(&'a str, Option<String>)];

/// A list, as the API gives it, gathered over pages.
pub(crate) struct Page {
    pub(crate) items: Vec<Value>,
    pub(crate) next_cursor: Option<String>,
}

impl Page {
    /// As the API would have given it.
    pub(crate) fn to_json(&self) -> Value {
        json!({ "items": self.items, "next_cursor": self.next_cursor })
    }
}

/// The API of a server.
pub(crate) struct Api {
    http: reqwest::Client,
    /// For answers that go on and on.
    endless: reqwest::Client,
    base: Url,
    token: String,
}

/// Where the server is and how to sign in.
pub(crate) struct Address {
    pub(crate) url: String,
    pub(crate) token: String,
}

impl Address {
    /// What the flags and variables say; what they leave open stands in the data directory.
    pub(crate) fn find(
        url: Option<&str>,
        token: Option<&str>,
        data: &Path,
    ) -> Result<Self, Failure> {
        if let (Some(url), Some(token)) = (url, token) {
            return Ok(Self {
                url: url.to_owned(),
                token: token.to_owned(),
            });
        }
        let file = data.join(API_FILE);
        let read = std::fs::read(&file);
        if url.is_some() && read.is_err() {
            return Err(keyless());
        }
        let text = read.map_err(|error| unread(&file, &error))?;
        let local: Value = serde_json::from_slice(&text).unwrap_or_default();
        let text = |field: &str| local.get(field).and_then(Value::as_str);
        let (Some(local_url), Some(local_token)) = (text("address"), text("token")) else {
            return Err(
                Failure::new(Exit::Failed, format!("{} is not readable", file.display()))
                    .hint("restart the server; it writes the file anew"),
            );
        };
        // A token is only ever sent to the server that it is of.
        if url.is_some_and(|url| url != local_url) && token.is_none() {
            return Err(keyless());
        }
        Ok(Self {
            url: url.unwrap_or(local_url).to_owned(),
            token: token.unwrap_or(local_token).to_owned(),
        })
    }
}

fn keyless() -> Failure {
    Failure::new(Exit::Refused, "no API key for this server")
        .hint("give one with --api-key or MAINSTAY_API_KEY")
}

fn unread(file: &Path, error: &std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::NotFound => Failure::new(Exit::Unreachable, "no running server found")
            .detail(format!("{} does not exist", file.display()))
            .hint(
                "start one with `mainstay serve`, point --data at its data directory, or give \
                 MAINSTAY_URL and MAINSTAY_API_KEY",
            ),
        std::io::ErrorKind::PermissionDenied => {
            Failure::new(Exit::Refused, format!("{} may not be read", file.display()))
                .hint("run as the server's user, or give MAINSTAY_URL and MAINSTAY_API_KEY")
        }
        _ => Failure::file(file, error),
    }
}

impl Api {
    pub(crate) fn new(address: &Address) -> Result<Self, Failure> {
        let base = base_url(&address.url)?;
        let client = |timeout: Option<Duration>| {
            let mut builder = reqwest::Client::builder()
                .user_agent(concat!("mainstay-cli/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_TIMEOUT)
                .redirect(reqwest::redirect::Policy::none());
            if let Some(timeout) = timeout {
                builder = builder.timeout(timeout);
            }
            if is_loopback(&base) {
                builder = builder.no_proxy();
            }
            builder.build().map_err(|error| {
                Failure::new(Exit::Failed, "cannot make requests").detail(error.to_string())
            })
        };
        Ok(Self {
            http: client(Some(TIMEOUT))?,
            endless: client(None)?,
            base,
            token: address.token.clone(),
        })
    }

    /// The address that the server was found at.
    pub(crate) const fn base(&self) -> &Url {
        &self.base
    }

    pub(crate) async fn get(&self, path: &str, query: Query<'_>) -> Result<Value, Failure> {
        self.json(self.request(Method::GET, path).query(&given(query)))
            .await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.json(self.request(Method::POST, path).json(body)).await
    }

    /// A write that a broken connection must not carry out twice. The key is new for each call and the
    /// same when the call is repeated.
    pub(crate) async fn post_once(
        &self,
        path: &str,
        body: &Value,
        key: Option<&str>,
    ) -> Result<Value, Failure> {
        let key = key.map_or_else(|| random_hex(&SystemRandom, 16), str::to_owned);
        let request = || {
            self.request(Method::POST, path)
                .header("idempotency-key", &key)
                .json(body)
        };
        match self.json(request()).await {
            Err(failure) if failure.is_unreachable() => self.json(request()).await,
            answered => answered,
        }
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.json(self.request(Method::PATCH, path).json(body))
            .await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.json(self.request(Method::DELETE, path)).await
    }

    /// An answer that is not JSON, or too long to hold: to be read in pieces.
    pub(crate) async fn stream(&self, path: &str, query: Query<'_>) -> Result<Response, Failure> {
        let request = self.request(Method::GET, path).query(&given(query));
        self.send(request).await
    }

    /// The same of one that goes on until somebody ends it; only its beginning has to come in time.
    pub(crate) async fn follow(&self, path: &str, query: Query<'_>) -> Result<Response, Failure> {
        let request = self.request_by(&self.endless, Method::GET, path);
        let request = self.send(request.query(&given(query)));
        match tokio::time::timeout(TIMEOUT, request).await {
            Ok(answered) => answered,
            Err(_) => Err(Failure::new(
                Exit::Unreachable,
                format!("no answer from the server at {}", self.base),
            )),
        }
    }

    /// Up to `limit` items from the cursor on, over as many pages as that takes.
    pub(crate) async fn list(
        &self,
        path: &str,
        query: Query<'_>,
        cursor: Option<String>,
        limit: usize,
    ) -> Result<Page, Failure> {
        let mut page = Page {
            items: Vec::new(),
            next_cursor: cursor,
        };
        loop {
            let ask = (limit - page.items.len()).min(PAGE_MAX);
            let mut query: Vec<_> = query.to_vec();
            query.push(("limit", Some(ask.to_string())));
            query.push(("cursor", page.next_cursor.take()));
            let answer = self.get(path, &query).await?;
            let items = answer.get("items").and_then(Value::as_array);
            page.items.extend(items.into_iter().flatten().cloned());
            page.next_cursor = answer
                .get("next_cursor")
                .and_then(Value::as_str)
                .map(str::to_owned);
            if page.next_cursor.is_none() || page.items.len() >= limit {
                return Ok(page);
            }
        }
    }

    /// The one item whose id or name this is.
    pub(crate) async fn find(&self, things: Things, name: &str) -> Result<Value, Failure> {
        let mut cursor = None;
        let mut seen = 0;
        loop {
            let page = self.list(things.path, &[], cursor, PAGE_MAX).await?;
            let is_it = |item: &Value| {
                let fields = ["id"].into_iter().chain(things.names.iter().copied());
                fields
                    .filter_map(|field| item.get(field)?.as_str())
                    .any(|value| value == name)
            };
            seen += page.items.len();
            if let Some(found) = page.items.into_iter().find(is_it) {
                return Ok(found);
            }
            cursor = page.next_cursor;
            if cursor.is_none() || seen >= SEARCH_MAX {
                return Err(Failure::not_found(things.kind, name));
            }
        }
    }

    /// The id of the item whose id or name this is.
    pub(crate) async fn find_id(&self, things: Things, name: &str) -> Result<String, Failure> {
        if name.starts_with(things.prefix) && name.len() == things.prefix.len() + 26 {
            return Ok(name.to_owned());
        }
        let found = self.find(things, name).await?;
        Ok(text(&found, "/id"))
    }

    /// The same where there may be none.
    pub(crate) async fn find_id_some(
        &self,
        things: Things,
        name: Option<String>,
    ) -> Result<Option<String>, Failure> {
        match name {
            Some(name) => self.find_id(things, &name).await.map(Some),
            None => Ok(None),
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_by(&self.http, method, path)
    }

    fn request_by(&self, http: &reqwest::Client, method: Method, path: &str) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", url.path().trim_end_matches('/')));
        http.request(method, url).bearer_auth(&self.token)
    }

    async fn json(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let answer = self.send(request).await?;
        if answer.status() == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let body = answer
            .bytes()
            .await
            .map_err(|error| self.unreachable(&error))?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|_| {
            Failure::new(Exit::Failed, "the answer is not JSON")
                .hint("is this Mainstay's address, or that of something in front of it?")
        })
    }

    /// JSON that comes with a status of its own meaning: health is told with 503 when it is bad.
    pub(crate) async fn get_whatever(&self, path: &str) -> Result<Value, Failure> {
        let request = self.request(Method::GET, path);
        let answer = request
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        let status = answer.status().as_u16();
        let body = answer
            .bytes()
            .await
            .map_err(|error| self.unreachable(&error))?;
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        if value.get("code").is_some() || value.is_null() {
            return Err(Failure::problem(status, &body));
        }
        Ok(value)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let answer = request
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = answer.bytes().await.unwrap_or_default();
        Err(Failure::problem(status.as_u16(), &body))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut why: &dyn std::error::Error = error;
        while let Some(source) = why.source() {
            why = source;
        }
        Failure::new(
            Exit::Unreachable,
            format!("cannot reach the server at {}", self.base),
        )
        .detail(why.to_string())
        .hint("is it running? `mainstay serve` starts it, `mainstay doctor` looks further")
    }
}

/// A kind of thing that is found by its name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Things {
    pub(crate) kind: &'static str,
    pub(crate) path: &'static str,
    pub(crate) prefix: &'static str,
    /// Fields that name it, besides the id.
    pub(crate) names: &'static [&'static str],
}

pub(crate) const TENANTS: Things = Things {
    kind: "tenant",
    path: "/v1/tenants",
    prefix: "ten_",
    names: &["slug", "name"],
};
pub(crate) const USERS: Things = Things {
    kind: "user",
    path: "/v1/users",
    prefix: "usr_",
    names: &["email"],
};
pub(crate) const KEYS: Things = Things {
    kind: "key",
    path: "/v1/keys",
    prefix: "key_",
    names: &["name"],
};
pub(crate) const SOURCES: Things = Things {
    kind: "source",
    path: "/v1/sources",
    prefix: "src_",
    names: &["name"],
};
pub(crate) const ENDPOINTS: Things = Things {
    kind: "endpoint",
    path: "/v1/endpoints",
    prefix: "ep_",
    names: &["name"],
};
pub(crate) const BINDINGS: Things = Things {
    kind: "binding",
    path: "/v1/bindings",
    prefix: "bnd_",
    names: &["name"],
};
pub(crate) const SAGAS: Things = Things {
    kind: "saga",
    path: "/v1/sagas",
    prefix: "sga_",
    names: &["name"],
};
pub(crate) const SCHEDULES: Things = Things {
    kind: "schedule",
    path: "/v1/schedules",
    prefix: "scd_",
    names: &["name"],
};

fn given<'q>(query: &'q [(&'q str, Option<String>)]) -> Vec<(&'q str, &'q str)> {
    let given = query.iter();
    given
        .filter_map(|(name, value)| Some((*name, value.as_deref()?)))
        .collect()
}

fn base_url(text: &str) -> Result<Url, Failure> {
    let wrong = || {
        Failure::usage(format!("'{text}' is not the address of a server"))
            .hint("an address looks like http://127.0.0.1:8420")
    };
    let with_scheme = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let url = Url::parse(&with_scheme).map_err(|_| wrong())?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err(wrong()),
    }
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        host == "localhost"
            || crate::outbound::literal(host).is_some_and(|address| address.is_loopback())
    })
}

/// The text at this place of an answer; numbers and flags as text, nothing for null.
pub(crate) fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The number at this place of an answer.
pub(crate) fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

/// The list at this place of an answer.
pub(crate) fn list<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(directory: &Path) {
        let file = json!({ "address": "http://127.0.0.1:8420", "token": "msk_local" });
        std::fs::write(directory.join(API_FILE), file.to_string()).expect("a file");
    }

    #[test]
    fn the_local_server_is_found_by_its_file() {
        let directory = tempfile::tempdir().expect("a directory");
        local(directory.path());
        let found = Address::find(None, None, directory.path()).expect("found");
        assert_eq!(
            (found.url.as_str(), found.token.as_str()),
            ("http://127.0.0.1:8420", "msk_local")
        );
    }

    #[test]
    fn the_local_token_is_not_sent_to_another_server() {
        let directory = tempfile::tempdir().expect("a directory");
        local(directory.path());
        let elsewhere = Some("https://mainstay.example.test");
        assert!(Address::find(elsewhere, None, directory.path()).is_err());
        let found = Address::find(elsewhere, Some("msk_own"), directory.path()).expect("found");
        assert_eq!(found.token, "msk_own");
    }

    #[test]
    fn an_address_needs_no_scheme_and_must_be_http() {
        assert_eq!(
            base_url("127.0.0.1:8420").expect("an address").as_str(),
            "http://127.0.0.1:8420/"
        );
        assert!(base_url("https://x.example.test/base").is_ok());
        for wrong in ["", "ftp://x", "file:///tmp"] {
            assert!(base_url(wrong).is_err(), "{wrong}");
        }
    }
}
