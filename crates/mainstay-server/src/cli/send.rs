//! `mainstay send`: signs and sends a test webhook, to a source of ours or to any URL.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;
use mainstay_domain::intake::{
    scheme::{self, Message, Scheme, Secret},
    settings::SourceSettings,
};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::{
    Context,
    api::{Address, Api, SOURCES, text},
    args::{JsonArg, SecretArg, input_read, now},
    failure::{Exit, Failure},
    send_body::{Made, body, content_type, id_prefix, kind_default},
    table::{Tone, clean},
};
use crate::time::{SystemRandom, random_hex};

/// How long the receiver may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How much of an answer is shown.
const ANSWER_BYTES_MAX: usize = 64 * 1_024;

#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// A source of the server's by name, or any URL
    target: String,
    /// How to sign (default: as the source's provider does)
    #[arg(long, value_parser = super::SCHEMES)]
    scheme: Option<String>,
    /// The signing secret: itself, @FILE, or - for standard input; only the scheme address needs none
    #[arg(long)]
    secret: Option<SecretArg>,
    /// For the scheme hmac: its rule as JSON, or @FILE (default: the source's)
    #[arg(long, value_name = "JSON")]
    hmac: Option<JsonArg>,
    /// For the scheme bearer: where the token stands, as JSON, or @FILE (default: the source's)
    #[arg(long, value_name = "JSON")]
    bearer: Option<JsonArg>,
    /// For the schemes bearer and address: where id and type stand, as JSON, or @FILE (default: the source's)
    #[arg(long, value_name = "JSON")]
    event: Option<JsonArg>,
    /// For the scheme twilio: sign as if sent to this URL (default: the one it is sent to)
    #[arg(long, value_name = "URL")]
    sent_to: Option<String>,
    /// The body: a file, or - for standard input (default: one as the provider would send)
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// The event's type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// The event's id; the same id twice is a duplicate
    #[arg(long)]
    id: Option<String>,
    /// Sign as if this many seconds ago
    #[arg(
        long,
        value_name = "SECS",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    age_secs: i64,
    /// Another header, as 'Name: value'
    #[arg(long = "header", short = 'H', value_name = "HEADER")]
    headers: Vec<String>,
    /// Print the request and send nothing
    #[arg(long)]
    dry_run: bool,
}

/// A request, ready to go.
struct Signed {
    url: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    id: String,
}

pub(super) async fn run(context: &Context, args: SendArgs) -> Result<(), Failure> {
    let dry_run = args.dry_run;
    let signed = sign(context, args).await?;
    if dry_run {
        return context.show(&request_json(&signed), |out| {
            out.text(&request_text(&signed))
        });
    }
    let begun = Instant::now();
    let mut answer = post(&signed).await?;
    let status = answer.status();
    let headers = answer.headers().clone();
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            body.truncate(ANSWER_BYTES_MAX);
            break;
        }
    }
    let ms = begun.elapsed().as_millis();
    let body = String::from_utf8_lossy(&body).into_owned();
    let result = json!({
        "url": signed.url, "id": signed.id, "status": status.as_u16(), "ms": ms as u64, "body": body,
        "request_id": headers.get("x-request-id").and_then(|id| id.to_str().ok()),
    });
    context.show(&result, |out| {
        let tone = if status.is_success() {
            Tone::Good
        } else {
            Tone::Bad
        };
        out.toned(tone, &format!("{status} in {ms} ms"))?;
        out.line(&format!("id {}", clean(&signed.id)))?;
        for line in body.lines() {
            out.line(&clean(line))?;
        }
        Ok(())
    })?;
    match status.as_u16() {
        200..=299 => Ok(()),
        401 | 403 => Err(Failure::said(Exit::Refused)),
        404 => Err(Failure::said(Exit::NotFound)),
        _ => Err(Failure::said(Exit::Failed)),
    }
}

async fn sign(context: &Context, args: SendArgs) -> Result<Signed, Failure> {
    let target = target(context, &args).await?;
    let scheme = Scheme::from_settings(&target.scheme, &target.settings)
        .map_err(|error| Failure::usage(error.to_string()))?;
    if matches!(scheme, Scheme::Paypal) {
        return Err(Failure::usage("only PayPal can sign as PayPal does")
            .hint("its dashboard has a simulator that sends to any URL"));
    }
    let secret = match &args.secret {
        Some(secret) => Secret::new(secret.read()?),
        None if scheme.needs_no_secret() => Secret::new(String::new()),
        None => return Err(Failure::usage("which secret?").hint("give --secret")),
    };
    let kind = args
        .kind
        .unwrap_or_else(|| kind_default(&scheme).to_owned());
    let id = args
        .id
        .unwrap_or_else(|| format!("{}{}", id_prefix(&scheme), random_hex(&SystemRandom, 12)));
    let at_secs = now().as_second().saturating_sub(args.age_secs).max(0);
    let made = Made {
        id: &id,
        kind: &kind,
        at_secs,
    };
    let body = match &args.body {
        Some(path) => input_read(path)?,
        None => body(&scheme, &made),
    };
    let message = Message {
        id: &id,
        kind: &kind,
        timestamp_secs: at_secs,
        body: &body,
    };
    let mut headers = vec![(
        "content-type".to_owned(),
        content_type(&scheme, &body).to_owned(),
    )];
    let url = scheme.url_for(&target.url, &body);
    let signed_url = match &args.sent_to {
        Some(url) => scheme.url_for(url, &body),
        None => url.clone(),
    };
    let signature = scheme::sign_to(&scheme, &secret, &signed_url, &message);
    headers.extend(signature.map_err(|error| Failure::usage(error.to_string()))?);
    for header in &args.headers {
        headers.push(super::args::header_parse(header)?);
    }
    Ok(Signed {
        url,
        headers,
        body,
        id,
    })
}

/// Where to, and how to sign for it.
struct Target {
    url: String,
    scheme: String,
    settings: SourceSettings,
}

async fn target(context: &Context, args: &SendArgs) -> Result<Target, Failure> {
    let read = |rule: &Option<JsonArg>| rule.as_ref().map(JsonArg::read).transpose();
    let given = SourceSettings {
        hmac: read(&args.hmac)?,
        bearer: read(&args.bearer)?,
        event: read(&args.event)?,
        ..SourceSettings::default()
    };
    let over = |known: SourceSettings| SourceSettings {
        hmac: given.hmac.clone().or(known.hmac),
        bearer: given.bearer.clone().or(known.bearer),
        event: given.event.clone().or(known.event),
        ..known
    };
    if args.target.contains("://") {
        let scheme = args.scheme.clone().ok_or_else(|| {
            Failure::usage("which scheme?").hint("give --scheme; only a source's own is known")
        })?;
        let settings = over(listing(&scheme));
        return Ok(Target {
            url: args.target.clone(),
            scheme,
            settings,
        });
    }
    let address = context.address()?;
    let api = Api::new(&address)?;
    let source = api.find(SOURCES, &args.target).await?;
    let url = api.base().join(&text(&source, "/url"));
    let own = text(&source, "/scheme");
    let scheme = args.scheme.clone().unwrap_or_else(|| own.clone());
    // What the source was told belongs to its own scheme.
    let told: Option<SourceSettings> = source
        .get("settings")
        .filter(|_| own == scheme)
        .and_then(|settings| SourceSettings::deserialize(settings).ok());
    let settings = over(told.unwrap_or_else(|| listing(&scheme)));
    Ok(Target {
        url: url.map_or_else(|_| in_url(&address, &args.target), String::from),
        scheme,
        settings,
    })
}

/// Settings without any source's: the scheme address wants a list, which is no matter of whoever sends.
pub(super) fn listing(scheme: &str) -> SourceSettings {
    let any = (scheme == "address").then(|| "0.0.0.0/0".to_owned());
    SourceSettings {
        allow: any.into_iter().collect(),
        ..SourceSettings::default()
    }
}

fn in_url(address: &Address, source: &str) -> String {
    format!("{}/in/{source}", address.url.trim_end_matches('/'))
}

async fn post(signed: &Signed) -> Result<reqwest::Response, Failure> {
    let failed = |error: &reqwest::Error| {
        let mut why: &dyn std::error::Error = error;
        while let Some(source) = why.source() {
            why = source;
        }
        Failure::new(Exit::Unreachable, format!("no answer from {}", signed.url))
            .detail(why.to_string())
    };
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("mainstay-send/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| failed(&error))?;
    let mut request = client.post(&signed.url).body(signed.body.clone());
    for (name, value) in &signed.headers {
        request = request.header(name, value);
    }
    request.send().await.map_err(|error| failed(&error))
}

fn request_json(signed: &Signed) -> Value {
    let headers: serde_json::Map<String, Value> = signed
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), value.clone().into()))
        .collect();
    json!({
        "url": signed.url, "id": signed.id, "headers": headers,
        "body": String::from_utf8_lossy(&signed.body),
    })
}

/// As `mainstay verify --request` reads it.
fn request_text(signed: &Signed) -> String {
    let headers = signed
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}"));
    let mut lines = vec![format!("POST {}", signed.url)];
    lines.extend(headers);
    lines.push(String::new());
    lines.push(String::from_utf8_lossy(&signed.body).into_owned());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_source_stands_on_the_servers_address() {
        let address = Address {
            url: "http://127.0.0.1:8420/".into(),
            token: String::new(),
        };
        assert_eq!(
            in_url(&address, "stripe"),
            "http://127.0.0.1:8420/in/stripe"
        );
    }
}
