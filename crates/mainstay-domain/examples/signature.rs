//! Signs, verifies and explains over JSON lines, so that other languages can test against these schemes.
//!
//! One request per line on standard input, one answer per line on standard output, in order:
//!
//! ```text
//! {"op":"sign","scheme":{"scheme":"stripe"},"secrets":["whsec_…"],"id":"evt_1","type":"ping","timestamp_secs":1,"body_base64":"e30="}
//!   → {"headers":[["Stripe-Signature","t=1,v1=…"]]}
//! {"op":"verify","scheme":…,"secrets":[…],"tolerance_secs":300,"now_secs":1,"headers":[["name","value"]],"body_base64":"…"}
//!   → {"ok":true,"secret_index":0,"signed_at":1,"events":[{"provider_id":"evt_1","type":"ping"}]}
//!   → {"ok":false,"code":"signature_wrong","http_status":401,"message":"…"}
//! {"op":"explain", … as verify}
//!   → what `mainstay verify` shows
//! ```

use std::io::{BufRead as _, Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mainstay_domain::intake::scheme::{
    Message, PreparedScheme, Refusal, Request, Route, Scheme, Secret, explain,
};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Op {
    Sign,
    Verify,
    Explain,
}

#[derive(Deserialize)]
struct Line {
    op: Op,
    scheme: Scheme,
    secrets: Vec<Secret>,
    #[serde(default)]
    id: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    timestamp_secs: i64,
    #[serde(default)]
    tolerance_secs: i64,
    #[serde(default)]
    now_secs: i64,
    /// The URL, where the scheme signs it.
    #[serde(default)]
    url: String,
    /// The public key of the certificate that the request names: SubjectPublicKeyInfo in DER.
    #[serde(default)]
    certificate_base64: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    body_base64: String,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = answer(&line?).unwrap_or_else(|error| json!({"error": error.to_string()}));
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn answer(line: &str) -> Result<Value, Box<dyn std::error::Error>> {
    let line: Line = serde_json::from_str(line)?;
    let body = STANDARD.decode(&line.body_base64)?;
    let certificate = match &line.certificate_base64 {
        Some(text) => Some(STANDARD.decode(text)?),
        None => None,
    };
    let prepared = PreparedScheme::new(line.scheme.clone(), &line.secrets)?;
    let request = Request {
        headers: &line.headers,
        body: &body,
        now_secs: line.now_secs,
        route: Route {
            url: &line.url,
            remote: None,
            certificate: certificate.as_deref(),
        },
    };
    Ok(match line.op {
        Op::Sign => {
            let message = Message {
                id: &line.id,
                kind: &line.kind,
                timestamp_secs: line.timestamp_secs,
                body: &body,
            };
            json!({"headers": prepared.sign_to(&line.url, &message)})
        }
        Op::Verify => verify(&prepared, line.tolerance_secs, &request).unwrap_or_else(|refusal| {
            json!({
                "ok": false,
                "code": refusal.code(),
                "http_status": refusal.http_status(),
                "message": refusal.to_string(),
            })
        }),
        Op::Explain => serde_json::to_value(explain(
            &line.scheme,
            &[],
            &line.secrets,
            line.tolerance_secs,
            &request,
        ))?,
    })
}

fn verify(
    prepared: &PreparedScheme,
    tolerance_secs: i64,
    request: &Request<'_>,
) -> Result<Value, Refusal> {
    let verified = prepared.verify(tolerance_secs, request)?;
    let events: Vec<Value> = prepared
        .extract(request)?
        .iter()
        .map(|event| {
            json!({
                "provider_id": event.provider_id,
                "type": event.kind,
                "occurred_at_micros": event.occurred_at_micros,
            })
        })
        .collect();
    Ok(json!({
        "ok": true,
        "secret_index": verified.secret_index,
        "signed_at": verified.signed_at,
        "events": events,
    }))
}
