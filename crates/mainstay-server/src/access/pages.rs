//! The sign-in pages: plain HTML and one style sheet, no script, light and dark.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};

/// Makes text safe inside HTML and inside a quoted attribute.
pub(crate) fn escape(text: &str) -> String {
    text.chars()
        .fold(String::with_capacity(text.len()), |mut out, c| {
            match c {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '"' => out.push_str("&quot;"),
                '\'' => out.push_str("&#39;"),
                other => out.push(other),
            }
            out
        })
}

/// A page of the server's own.
pub(crate) fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let html = format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>{title} · Mainstay</title>
<link rel="stylesheet" href="/signin/style.css">
</head>
<body>
<main>
<p class="brand"><svg width="20" height="20" viewBox="0 0 20 20" aria-hidden="true"><path d="M8.3 2v14.5M8.3 2.6 16.8 16M8.3 7 2.8 16M1.5 16.8h17" fill="none" stroke="currentColor" stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round"/></svg>Mainstay</p>
{body}
</main>
</body>
</html>
"#
    );
    (status, Html(html)).into_response()
}

fn alert(error: Option<&str>) -> String {
    error.map_or_else(String::new, |text| {
        format!(
            "<p class=\"note bad\" role=\"alert\" id=\"problem\">{}</p>",
            escape(text)
        )
    })
}

/// The page with address and password.
pub(crate) fn sign_in(
    status: StatusCode,
    next: &str,
    email: &str,
    notice: Option<&str>,
    error: Option<&str>,
) -> Response {
    let notice = notice.map_or_else(String::new, |text| {
        format!("<p class=\"note\" role=\"status\">{}</p>", escape(text))
    });
    let described = if error.is_some() {
        " aria-describedby=\"problem\""
    } else {
        ""
    };
    let body = format!(
        r#"<h1>Sign in</h1>
{notice}{alert}
<form method="post" action="/signin">
<input type="hidden" name="next" value="{next}">
<label for="email">E-mail</label>
<input id="email" name="email" type="email" autocomplete="username" required maxlength="254" value="{email}"{described} autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required maxlength="256"{described}>
<button type="submit">Sign in</button>
</form>
<p class="hint">No password yet? <code>mainstay user link EMAIL</code> on the server prints a sign-in link.</p>"#,
        alert = alert(error),
        next = escape(next),
        email = escape(email),
    );
    page(status, "Sign in", &body)
}

/// The page behind a one-time link: one button, and for the first owner an address and a password to choose.
pub(crate) fn link(
    status: StatusCode,
    token: &str,
    first: bool,
    email: &str,
    error: Option<&str>,
) -> Response {
    let fields = if first {
        format!(
            r#"<label for="email">E-mail</label>
<input id="email" name="email" type="email" autocomplete="username" required maxlength="254" value="{}">
<label for="password">Password <span>optional</span></label>
<input id="password" name="password" type="password" autocomplete="new-password" minlength="10" maxlength="256" aria-describedby="later">
<p class="hint" id="later">With a password you can come back without a link. At least 10 characters.</p>"#,
            escape(email)
        )
    } else {
        String::new()
    };
    let (title, button) = if first {
        ("Welcome", "Begin")
    } else {
        ("Sign in", "Sign in")
    };
    let body = format!(
        r#"<h1>{title}</h1>
{alert}
<form method="post" action="/signin/link">
<input type="hidden" name="token" value="{token}">
{fields}
<button type="submit">{button}</button>
</form>
<p class="hint">The link works once and for a day.</p>"#,
        alert = alert(error),
        token = escape(token),
    );
    page(status, title, &body)
}

/// The style sheet.
pub(crate) async fn style() -> Response {
    let mut response = STYLE.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/css; charset=utf-8"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=3600"),
    );
    response
}

/// The dashboard's colours; every one for both themes.
const STYLE: &str = r#":root {
  color-scheme: light dark;
  --bg: light-dark(oklch(0.981 0.004 215), oklch(0.172 0.013 235));
  --surface: light-dark(oklch(1 0 0), oklch(0.208 0.015 235));
  --line: light-dark(oklch(0.912 0.007 220), oklch(0.288 0.016 235));
  --line-strong: light-dark(oklch(0.655 0.018 222), oklch(0.53 0.022 232));
  --ink: light-dark(oklch(0.235 0.022 238), oklch(0.94 0.007 220));
  --ink-2: light-dark(oklch(0.425 0.022 234), oklch(0.785 0.013 225));
  --accent: light-dark(oklch(0.44 0.082 214), oklch(0.795 0.098 205));
  --accent-ink: light-dark(oklch(1 0 0), oklch(0.19 0.03 225));
  --accent-hover: light-dark(oklch(0.38 0.075 216), oklch(0.85 0.085 205));
  --soft: light-dark(oklch(0.952 0.024 208), oklch(0.282 0.04 218));
  --bad: light-dark(oklch(0.482 0.172 26), oklch(0.765 0.14 24));
  --bad-soft: light-dark(oklch(0.955 0.026 20), oklch(0.287 0.062 22));
}
*, *::before, *::after { box-sizing: border-box; }
html {
  font: 0.9375rem/1.5 -apple-system, BlinkMacSystemFont, "Segoe UI Variable Text", "Segoe UI", Roboto, "Helvetica Neue",
    "Liberation Sans", "Noto Sans", Arial, sans-serif;
  color: var(--ink);
  background: var(--bg);
  -webkit-text-size-adjust: 100%;
  text-size-adjust: 100%;
}
body { margin: 0; min-height: 100dvh; display: grid; place-items: center; padding: 24px 16px; }
main {
  width: 100%;
  max-width: 400px;
  padding: 32px;
  background: var(--surface);
  border: 1px solid var(--line);
  border-radius: 10px;
  box-shadow: 0 12px 40px light-dark(oklch(0.3 0.03 235 / 0.08), oklch(0 0 0 / 0.4));
}
main.wide { max-width: 640px; }
.brand { display: flex; align-items: center; gap: 8px; margin: 0 0 24px; font-weight: 600; color: var(--accent); }
h1 { margin: 0 0 16px; font-size: 1.3125rem; line-height: 1.3; font-weight: 600; letter-spacing: -0.012em; }
p { margin: 0 0 16px; }
label { display: block; margin: 0 0 6px; font-weight: 500; font-size: 0.875rem; }
label span { font-weight: 400; color: var(--ink-2); }
input:not([type="hidden"]) {
  display: block;
  width: 100%;
  height: 40px;
  margin: 0 0 16px;
  padding: 0 12px;
  font: inherit;
  font-size: 1rem;
  color: inherit;
  background: var(--bg);
  border: 1px solid var(--line-strong);
  border-radius: 6px;
}
button {
  display: block;
  width: 100%;
  height: 40px;
  margin: 8px 0 0;
  font: inherit;
  font-weight: 600;
  color: var(--accent-ink);
  background: var(--accent);
  border: 0;
  border-radius: 6px;
  cursor: pointer;
}
button:hover { background: var(--accent-hover); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.note { padding: 10px 12px; border-radius: 6px; background: var(--soft); }
.bad { color: var(--bad); background: var(--bad-soft); }
.hint { margin: 16px 0 0; font-size: 0.8125rem; color: var(--ink-2); }
form .hint { margin: -8px 0 16px; }
code, pre { font-family: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "Liberation Mono", "DejaVu Sans Mono", monospace; font-size: 0.93em; }
pre { margin: 0 0 16px; padding: 12px; overflow-x: auto; background: var(--bg); border: 1px solid var(--line); border-radius: 6px; }
@media (prefers-contrast: more) { main { border-color: var(--line-strong); } }
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_typed_cannot_become_markup() {
        assert_eq!(
            escape(r#"<a href="x">&'"#),
            "&lt;a href=&quot;x&quot;&gt;&amp;&#39;"
        );
    }
}
