//! The dashboard, embedded in the binary: `build.rs` makes the table of its files. Without it there is one page that
//! says how to build it.

use axum::{
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};

use crate::{
    access::pages,
    http::{Code, Problem},
};

/// One file of the dashboard.
struct Asset {
    /// Its path under the root, without a slash at the front.
    path: &'static str,
    /// Its media type.
    kind: &'static str,
    /// Changes with its content.
    etag: &'static str,
    /// Its bytes.
    bytes: &'static [u8],
    /// Its bytes compressed, where that makes them smaller.
    gzip: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/dashboard.rs"));

const INDEX: &str = "index.html";
/// Vite puts a hash of the content into every name under this folder.
const HASHED: &str = "assets/";
/// What the error codes in problems point at.
const ERRORS: &str = include_str!("../../../docs/errors.md");

/// Paths that are never a page of the dashboard.
const NOT_PAGES: [&str; 5] = ["v1/", "in/", "signin/", "docs/", HASHED];

fn find(path: &str) -> Option<&'static Asset> {
    let index = ASSETS
        .binary_search_by_key(&path, |asset| asset.path)
        .ok()?;
    ASSETS.get(index)
}

/// Everything that no other route has: files of the dashboard, its pages, or nothing.
pub(crate) async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    if method != Method::GET && method != Method::HEAD {
        let nothing = Problem::new(Code::NotFound, "nothing is here; the API is under /v1");
        return nothing.into_response();
    }
    if let Some(asset) = find(path) {
        return file(asset, &headers);
    }
    let page = !NOT_PAGES.iter().any(|prefix| path.starts_with(prefix))
        && !path.contains('.')
        && path != "v1";
    match find(INDEX) {
        _ if !page => {
            Problem::new(Code::NotFound, "nothing is here; the API is under /v1").into_response()
        }
        Some(index) => file(index, &headers),
        None => missing(),
    }
}

fn file(asset: &'static Asset, headers: &HeaderMap) -> Response {
    let cache = match asset.path.starts_with(HASHED) {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    };
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    let mut response =
        if known.is_some_and(|list| list.split(',').any(|one| one.trim().ends_with(asset.etag))) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            content(asset, headers)
        };
    let all = response.headers_mut();
    all.insert(header::ETAG, HeaderValue::from_static(asset.etag));
    all.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    all.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    response
}

fn content(asset: &'static Asset, headers: &HeaderMap) -> Response {
    let gzip = asset.gzip.filter(|_| takes_gzip(headers));
    let mut response = gzip.unwrap_or(asset.bytes).into_response();
    let all = response.headers_mut();
    all.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    if gzip.is_some() {
        all.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let given = headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    given.flat_map(|line| line.split(',')).any(|part| {
        let (name, weight) = part.split_once(';').unwrap_or((part, ""));
        let named = name.trim().eq_ignore_ascii_case("gzip") || name.trim() == "*";
        named && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    })
}

/// What the error codes mean.
pub(crate) async fn errors() -> Response {
    (
        [(header::CONTENT_TYPE, "text/markdown; charset=utf-8")],
        ERRORS,
    )
        .into_response()
}

fn missing() -> Response {
    let body = r#"<h1>The dashboard is not in this binary</h1>
<p>The server works: its API, the command line and <a href="/v1/openapi.json">the API's description</a> are there. The
dashboard is built with Node and then embedded:</p>
<pre>make dashboard
cargo build --release</pre>
<p class="hint">Without it, <code>mainstay event list</code> and <code>mainstay dead-letter list</code> show the same.</p>"#;
    pages::page(StatusCode::OK, "Dashboard", body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(text: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(text));
        takes_gzip(&headers)
    }

    #[test]
    fn compressed_files_go_only_to_who_can_read_them() {
        assert!(accepts("gzip") && accepts("br, gzip;q=0.5") && accepts("*"));
        assert!(!accepts("br") && !accepts("gzip;q=0") && !accepts(""));
    }

    #[test]
    fn the_table_is_sorted_so_that_files_are_found() {
        assert!(ASSETS.windows(2).all(|pair| pair[0].path < pair[1].path));
    }

    #[tokio::test]
    async fn a_path_of_the_api_is_never_a_page() {
        for path in ["/v1/nothing", "/in/", "/assets/x.js", "/favicon.ico"] {
            let answer = serve(Method::GET, Uri::from_static(path), HeaderMap::new()).await;
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        }
        let answer = serve(
            Method::GET,
            Uri::from_static("/events/evt_1"),
            HeaderMap::new(),
        )
        .await;
        assert_eq!(answer.status(), StatusCode::OK);
    }
}
