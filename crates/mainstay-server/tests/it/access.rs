//! Signing in as a browser without JavaScript does, sessions, and what keeps strangers out.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{
    Client, Method, Response,
    header::{COOKIE, HeaderMap, LOCATION, ORIGIN, SET_COOKIE},
    redirect::Policy,
};
use serde_json::json;

use crate::{
    client::{Caller, text},
    on_both_servers,
    server::{Server, Settings},
};

/// A browser that runs no scripts: it sends forms, keeps cookies and follows where it is sent by hand.
struct Browser {
    http: Client,
    base: String,
    cookie: Option<String>,
}

struct Page {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Page {
    async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self {
            status,
            headers,
            text: response.text().await.expect("the page ends"),
        }
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

impl Browser {
    fn at(server: &Server) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .build();
        Self {
            http: http.expect("a client"),
            base: server.address.clone(),
            cookie: None,
        }
    }

    async fn get(&self, path: &str) -> Page {
        let mut request = self.http.get(format!("{}{path}", self.base));
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, cookie);
        }
        Page::of(request.send().await.expect("the server answers")).await
    }

    async fn submit_from(&mut self, origin: &str, path: &str, fields: &[(&str, &str)]) -> Page {
        let encoded: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect();
        let mut request = self
            .http
            .post(format!("{}{path}", self.base))
            .header("content-type", "application/x-www-form-urlencoded")
            .header(ORIGIN, origin)
            .body(encoded.join("&"));
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, cookie);
        }
        let page = Page::of(request.send().await.expect("the server answers")).await;
        if let Some(set) = page.headers.get(SET_COOKIE) {
            let set = set.to_str().expect("plain text");
            self.cookie = set.split(';').next().map(str::to_owned);
        }
        page
    }

    async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let origin = self.base.clone();
        self.submit_from(&origin, path, fields).await
    }

    async fn signed_in(&self) -> bool {
        self.get("/v1/session").await.status == 200
    }
}

fn encode(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric();
    text.bytes()
        .map(|byte| {
            if plain(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

fn token(server: &Server) -> String {
    let (_, token) = server
        .link()
        .split_once("token=")
        .expect("the link has a token");
    token.to_owned()
}

on_both_servers!(
    the_first_owner_signs_in_by_a_link_that_works_once,
    Settings::default(),
    |server| async {
        let token = token(server);
        let mut browser = Browser::at(server);
        let page = browser.get(&format!("/signin/link?token={token}")).await;
        assert_eq!(page.status, 200);
        assert!(
            page.text
                .contains("<form method=\"post\" action=\"/signin/link\">")
                && !page.text.contains("<script")
        );
        assert!(
            page.header("content-security-policy")
                .contains("script-src 'self'")
        );
        // A password that is too short does not use the link up.
        let fields = [
            ("token", token.as_str()),
            ("email", "Anna@Example.com"),
            ("password", "short"),
        ];
        let page = browser.submit("/signin/link", &fields).await;
        assert_eq!(page.status, 400);
        assert!(
            page.text.contains("at least 10 characters") && page.text.contains(&token),
            "{}",
            page.text
        );
        let fields = [
            ("token", token.as_str()),
            ("email", "Anna@Example.com"),
            ("password", "a long password"),
        ];
        let page = browser.submit("/signin/link", &fields).await;
        assert_eq!((page.status, page.header(LOCATION.as_str())), (303, "/"));
        let cookie = page.header(SET_COOKIE.as_str());
        assert!(
            cookie.contains("HttpOnly")
                && cookie.contains("SameSite=Lax")
                && cookie.contains("Path=/"),
            "{cookie}"
        );
        assert!(browser.signed_in().await);
        let mut second = Browser::at(server);
        let page = second.submit("/signin/link", &fields).await;
        assert_eq!(page.status, 401);
        assert!(!second.signed_in().await);
        // And from now on by password.
        let fields = [
            ("email", " anna@example.com"),
            ("password", "a long password"),
            ("next", "/events?status=error"),
        ];
        let page = second.submit("/signin", &fields).await;
        assert_eq!(
            (page.status, page.header(LOCATION.as_str())),
            (303, "/events?status=error")
        );
        assert!(second.signed_in().await);
    }
);

/// Signs the first owner in with this password.
async fn owner(server: &Server, password: &str) -> Browser {
    let token = token(server);
    let mut browser = Browser::at(server);
    let fields = [
        ("token", token.as_str()),
        ("email", "anna@example.com"),
        ("password", password),
    ];
    assert_eq!(browser.submit("/signin/link", &fields).await.status, 303);
    browser
}

on_both_servers!(
    signing_out_ends_the_session,
    Settings::default(),
    |server| async {
        let mut browser = owner(server, "a long password").await;
        let kept = browser.cookie.clone();
        let page = browser.submit("/signout", &[]).await;
        assert_eq!(
            (page.status, page.header(LOCATION.as_str())),
            (303, "/signin?out=1")
        );
        assert!(
            browser
                .get("/signin?out=1")
                .await
                .text
                .contains("You are signed out")
        );
        browser.cookie = kept;
        assert!(
            !browser.signed_in().await,
            "the cookie is worth nothing any more"
        );
    }
);

on_both_servers!(
    a_new_password_ends_every_session,
    Settings::default(),
    |server| async {
        let browser = owner(server, "a long password").await;
        let cli = Caller::owner(server);
        let users = cli.get("/v1/users").await.ok();
        let path = format!(
            "/v1/users/{}",
            users["items"][0]["id"].as_str().expect("a user")
        );
        cli.patch(&path, &json!({ "password": "another password" }))
            .await
            .ok();
        assert!(!browser.signed_in().await);
        let mut again = Browser::at(server);
        let old = [
            ("email", "anna@example.com"),
            ("password", "a long password"),
        ];
        assert_eq!(again.submit("/signin", &old).await.status, 401);
        let new = [
            ("email", "anna@example.com"),
            ("password", "another password"),
        ];
        assert_eq!(again.submit("/signin", &new).await.status, 303);
    }
);

on_both_servers!(
    another_site_cannot_write_with_our_session,
    Settings::default(),
    |server| async {
        let mut browser = owner(server, "a long password").await;
        let cookie = browser.cookie.clone().expect("signed in");
        let write = |origin: Option<&'static str>, site: Option<&'static str>| {
            let mut request = browser
                .http
                .post(format!("{}/v1/tenants", browser.base))
                .header(COOKIE, &cookie);
            if let Some(origin) = origin {
                request = request.header(ORIGIN, origin);
            }
            if let Some(site) = site {
                request = request.header("sec-fetch-site", site);
            }
            request.json(&json!({ "name": "Mallory" })).send()
        };
        for (origin, site) in [
            (None, None),
            (Some("https://evil.example"), None),
            (Some("null"), None),
            (None, Some("cross-site")),
            (None, Some("same-site")),
        ] {
            let page = Page::of(write(origin, site).await.expect("an answer")).await;
            assert_eq!(page.status, 403, "{origin:?} {site:?}");
            assert!(page.text.contains("origin_forbidden"));
        }
        assert_eq!(
            write(None, Some("same-origin"))
                .await
                .expect("an answer")
                .status()
                .as_u16(),
            201
        );
        let page = browser
            .submit_from("https://evil.example", "/signout", &[])
            .await;
        assert_eq!(page.status, 403);
        let mut stranger = Browser::at(server);
        let fields = [
            ("email", "anna@example.com"),
            ("password", "a long password"),
        ];
        assert_eq!(
            stranger
                .submit_from("https://evil.example", "/signin", &fields)
                .await
                .status,
            403
        );
    }
);

on_both_servers!(
    guessing_passwords_has_to_wait,
    Settings::default(),
    |server| async {
        let mut browser = Browser::at(server);
        let wrong = [
            ("email", "nobody@example.com"),
            ("password", "wrong"),
            ("next", "/x"),
        ];
        for _ in 0..10 {
            let page = browser.submit("/signin", &wrong).await;
            assert_eq!(page.status, 401);
            assert!(
                page.text.contains("nobody@example.com") && !page.text.contains("value=\"wrong\"")
            );
        }
        let page = browser.submit("/signin", &wrong).await;
        assert_eq!(page.status, 429);
        assert!(
            page.header("retry-after")
                .parse::<u64>()
                .is_ok_and(|secs| secs > 0)
        );
        let answer = Caller::nobody(server)
            .post(
                "/v1/session",
                &json!({ "email": "nobody@example.com", "password": "wrong" }),
            )
            .await;
        assert_eq!(answer.problem(), (429, "rate_limited".into()));
    }
);

on_both_servers!(
    a_user_gets_a_link_and_a_viewer_stays_a_viewer,
    Settings::default(),
    |server| async {
        let cli = Caller::owner(server);
        let new = json!({ "email": "viv@example.com", "role": "viewer" });
        let user = cli.post("/v1/users", &new).await.ok();
        let id = user["id"].as_str().expect("an id");
        let link = cli
            .post(&format!("/v1/users/{id}/link"), &json!({}))
            .await
            .ok();
        let (_, token) = link["url"]
            .as_str()
            .expect("a link")
            .split_once("token=")
            .expect("a token");
        let mut browser = Browser::at(server);
        let page = browser.get(&format!("/signin/link?token={token}")).await;
        assert!(
            !page.text.contains("name=\"email\""),
            "the link says who it is"
        );
        assert_eq!(
            browser
                .submit("/signin/link", &[("token", token)])
                .await
                .status,
            303
        );
        let session = browser.get("/v1/session").await;
        assert!(
            session.text.contains("\"role\":\"viewer\"")
                && session.text.contains("viv@example.com")
        );
    }
);

on_both_servers!(
    a_removed_key_stops_working_at_once,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let made = owner
            .post(
                "/v1/keys",
                &json!({ "name": "short-lived", "role": "owner" }),
            )
            .await
            .ok();
        let key = owner.with(made["secret"].as_str().expect("shown once"));
        assert_eq!(key.get("/v1/session").await.status, 200);
        let id = made["key"]["id"].as_str().expect("an id");
        assert_eq!(owner.delete(&format!("/v1/keys/{id}")).await.status, 204);
        assert_eq!(
            key.get("/v1/session").await.problem(),
            (401, "unauthenticated".into())
        );
        let ended =
            json!({ "name": "ended", "role": "owner", "expires_at": "2020-01-01T00:00:00Z" });
        let ended = owner.key(ended).await;
        assert_eq!(ended.get("/v1/session").await.status, 401);
        let listed = owner.get("/v1/keys").await.text;
        assert!(!listed.contains("msk_") && !listed.contains("digest"));
    }
);

on_both_servers!(the_last_owner_stays, Settings::default(), |server| async {
    let _browser = owner(server, "a long password").await;
    let cli = Caller::owner(server);
    let users = cli.get("/v1/users").await.ok();
    let path = format!(
        "/v1/users/{}",
        users["items"][0]["id"].as_str().expect("a user")
    );
    assert_eq!(
        cli.delete(&path).await.problem(),
        (409, "state_conflict".into())
    );
    let viewer = json!({ "role": "viewer" });
    assert_eq!(
        cli.patch(&path, &viewer).await.problem(),
        (409, "state_conflict".into())
    );
});

#[test]
fn the_local_key_is_new_at_every_start() {
    mainstay_testkit::run(async {
        let mut server = Server::sqlite();
        let old = Caller::owner(&server);
        assert_eq!(old.get("/v1/session").await.status, 200);
        assert_eq!(server.stop(), Some(0));
        server.start_again();
        let now = Caller::owner(&server);
        assert_eq!(now.get("/v1/session").await.status, 200);
        let keys = now.get("/v1/keys").await.ok();
        let local = keys["items"].as_array().expect("a list").iter();
        assert_eq!(
            local.filter(|key| key["name"] == "local-cli").count(),
            1,
            "{keys}"
        );
    });
}

on_both_servers!(
    a_key_that_asks_too_often_is_told_when_to_go_on_and_no_other_key_is_held_up,
    Settings {
        env: vec![
            ("MAINSTAY_LIMITS_READS_PER_MINUTE", "20".into()),
            ("MAINSTAY_LIMITS_WRITES_PER_MINUTE", "2".into()),
        ],
        ..Settings::default()
    },
    |server| async {
        let owner = Caller::owner(server);
        let busy = owner
            .key(json!({ "name": "busy", "role": "operator" }))
            .await;
        let first = busy.get("/v1/tenants").await;
        assert_eq!(first.status, 200);
        assert_eq!(first.header("ratelimit-policy"), r#""reads";q=20;w=60"#);
        assert_eq!(first.header("ratelimit"), r#""reads";r=19;t=60"#);
        let mut answers = Vec::new();
        for _ in 0..20 {
            answers.push(busy.get("/v1/tenants").await);
        }
        let refused = answers.pop().expect("the last");
        assert!(answers.iter().all(|answer| answer.status == 200));
        assert_eq!(refused.problem(), (429, "rate_limited".into()));
        let wait: u64 = refused.header("retry-after").parse().expect("seconds");
        assert!((1..=60).contains(&wait), "{wait}");
        assert_eq!(
            refused.header("ratelimit"),
            format!(r#""reads";r=0;t={wait}"#)
        );
        // Each class has room of its own, and what is refused for another reason is counted as well.
        for left in [1, 0] {
            let forbidden = busy.delete("/v1/tenants/none").await;
            assert_eq!(forbidden.status, 403);
            let standing = forbidden.header("ratelimit");
            assert!(
                standing.starts_with(&format!(r#""writes";r={left};"#)),
                "{standing}"
            );
        }
        let refused = busy.delete("/v1/tenants/none").await;
        assert_eq!(refused.problem(), (429, "rate_limited".into()));
        let job = json!({ "kind": "noop" });
        let work = busy.post("/v1/jobs", &job).await;
        assert_eq!(work.status, 201);
        assert_eq!(work.header("ratelimit-policy"), r#""work";q=60000;w=60"#);
        // The key of the command line on this machine may do as much as a person.
        assert_eq!(owner.get("/v1/tenants").await.status, 200);
        // Nobody is counted where nobody has to say who they are.
        let open = Caller::nobody(server).get("/v1/health").await;
        assert_eq!((open.status, open.header("ratelimit")), (200, ""));
    }
);

on_both_servers!(
    what_an_administrator_says_of_a_key_holds_in_the_place_of_what_all_may,
    Settings {
        env: vec![("MAINSTAY_LIMITS_WRITES_PER_MINUTE", "1".into())],
        ..Settings::default()
    },
    |server| async {
        let owner = Caller::owner(server);
        let made = owner
            .post("/v1/keys", &json!({ "name": "import", "role": "operator" }))
            .await
            .ok();
        let importer = owner.with(&text(&made, "/secret"));
        let path = format!("/v1/keys/{}", text(&made, "/key/id"));
        let admin = owner.key(json!({ "name": "ops", "role": "admin" })).await;
        let more = json!({ "limits": [{ "class": "writes", "per_minute": 3, "until": "2999-01-01T00:00:00Z",
            "reason": "the yearly import" }] });
        // Those who keep things going do not widen their own door.
        let forbidden = importer.patch(&path, &more).await;
        assert_eq!(forbidden.problem(), (403, "role_forbidden".into()));
        let said = admin.patch(&path, &more).await.ok();
        assert_eq!(said["limits"][0]["by"], "key:ops");
        assert_eq!(said["limits"][0]["reason"], "the yearly import");
        // Said once more it is the same word, by whoever said it first.
        assert_eq!(owner.patch(&path, &more).await.ok(), said);
        let log = owner.get("/v1/audit?action=key.update").await.ok();
        assert_eq!(log["items"][1]["actor"], "key:ops", "{log}");
        assert_eq!(
            log["items"][1]["detail"]["limits"][0]["per_minute"], 3,
            "{log}"
        );
        // Two more than all may: the refused attempt above was the first of three.
        for _ in 0..2 {
            assert_eq!(importer.delete("/v1/tenants/none").await.status, 403);
        }
        let refused = importer.delete("/v1/tenants/none").await;
        assert_eq!(refused.problem(), (429, "rate_limited".into()));
        // Nothing said any more: what all may make holds.
        let none = owner.patch(&path, &json!({ "limits": [] })).await.ok();
        assert_eq!(none["limits"], json!([]));
        let policy = importer.delete("/v1/tenants/none").await;
        assert_eq!(policy.header("ratelimit-policy"), r#""writes";q=1;w=60"#);
        // What could never hold is refused, field by field.
        for (limit, field) in [
            (
                json!({ "class": "writes", "per_minute": 0, "reason": "x" }),
                "/limits/0/per_minute",
            ),
            (
                json!({ "class": "writes", "per_minute": 1, "reason": "" }),
                "/limits/0/reason",
            ),
            (
                json!({ "class": "writes", "per_minute": 1, "reason": "x", "until": "2001-01-01T00:00:00Z" }),
                "/limits/0/until",
            ),
        ] {
            let refused = owner.patch(&path, &json!({ "limits": [limit] })).await;
            assert_eq!(refused.problem(), (400, "validation_failed".into()));
            assert_eq!(text(&refused.json(), "/errors/0/pointer"), field);
        }
        let twice = json!({ "class": "reads", "per_minute": 1, "reason": "x" });
        let refused = owner
            .patch(&path, &json!({ "limits": [twice, twice] }))
            .await;
        assert_eq!(
            text(&refused.json(), "/errors/0/pointer"),
            "/limits/1/class"
        );
    }
);

on_both_servers!(
    a_withdrawn_key_ends_the_streams_that_it_has_opened,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let made = json!({ "name": "watcher", "role": "operator" });
        let made = owner.post("/v1/keys", &made).await.ok();
        let watcher = owner.with(&text(&made, "/secret"));
        let mut streams = Vec::new();
        for path in ["/v1/stream", "/v1/events/follow"] {
            let opened = watcher.request(Method::GET, path).send().await;
            let opened = opened.expect("the server answers");
            assert_eq!(opened.status().as_u16(), 200, "{path}");
            let mut messages = opened.bytes_stream();
            assert!(messages.next().await.is_some(), "{path}: it is through");
            streams.push((path, messages));
        }
        let metrics = owner.get("/metrics").await.text;
        for open in ["mainstay_streams_open 1\n", "mainstay_followers_open 1\n"] {
            assert!(metrics.contains(open), "{open}: {metrics}");
        }
        let key = format!("/v1/keys/{}", text(&made, "/key/id"));
        assert_eq!(owner.delete(&key).await.status, 204);
        for (path, mut messages) in streams {
            let ended = async { while messages.next().await.is_some() {} };
            // Sooner than a stream of events ends by itself.
            let ended = tokio::time::timeout(Duration::from_secs(30), ended).await;
            assert!(ended.is_ok(), "{path} goes on");
            assert_eq!(watcher.get(path).await.status, 401, "{path}");
        }
    }
);
