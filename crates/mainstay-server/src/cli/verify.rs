//! `mainstay verify`: explains a signature, without a server and without the network.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use clap::Args;
use mainstay_domain::intake::{
    scheme::{self, Explanation, Outcome, Request, Route, Scheme, Secret},
    settings::{SourceSettings, TOLERANCE_SECS},
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::json;

use super::{
    Context,
    args::{JsonArg, SecretArg, TimeArg, header_parse, input_read, now},
    failure::{Exit, Failure},
    table::{Cell, Column, Table, Tone},
};
use crate::outbound::public_key;

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// How the provider signs
    #[arg(long, value_parser = super::SCHEMES)]
    scheme: String,
    /// A signing secret: itself, @FILE, or - for standard input; may be given several times
    #[arg(long = "secret", required_unless_present = "allow")]
    secrets: Vec<SecretArg>,
    /// For the scheme hmac: its rule as JSON, or @FILE
    #[arg(long, value_name = "JSON")]
    hmac: Option<JsonArg>,
    /// For the scheme bearer: where the token stands, as JSON with header and prefix, or @FILE
    #[arg(long, value_name = "JSON")]
    bearer: Option<JsonArg>,
    /// For the schemes bearer and address: where the event's id, type and time stand, as JSON, or @FILE
    #[arg(long, value_name = "JSON")]
    event: Option<JsonArg>,
    /// An address or a range that the source lets in; may be given several times
    #[arg(long, value_name = "RANGE")]
    allow: Vec<String>,
    /// The address that the request came from
    #[arg(long, value_name = "ADDRESS")]
    remote: Option<IpAddr>,
    /// For the scheme twilio: the URL that the request was sent to, with its query
    #[arg(long, value_name = "URL")]
    sent_to: Option<String>,
    /// For the scheme paypal: the certificate that PAYPAL-CERT-URL names, as a PEM file
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// A header of the request, as 'Name: value'; may be given several times
    #[arg(long = "header", short = 'H', value_name = "HEADER")]
    headers: Vec<String>,
    /// The body, byte for byte: a file, or - for standard input
    #[arg(long, value_name = "FILE", required_unless_present = "request")]
    body: Option<PathBuf>,
    /// The whole request instead: a file with the headers, an empty line and the body
    #[arg(long, value_name = "FILE", conflicts_with_all = ["body", "headers"])]
    request: Option<PathBuf>,
    /// Judge the signature's time as of then: a time, or how long ago (default: now)
    #[arg(long, value_name = "TIME")]
    at: Option<TimeArg>,
    /// How many seconds the signature's time may be off
    #[arg(long, value_name = "SECS", default_value_t = TOLERANCE_SECS)]
    tolerance_secs: i64,
}

pub(super) fn run(context: &Context, args: VerifyArgs) -> Result<(), Failure> {
    let read = |rule: &Option<JsonArg>| rule.as_ref().map(JsonArg::read).transpose();
    let settings = SourceSettings {
        hmac: read(&args.hmac)?,
        bearer: read(&args.bearer)?,
        event: read(&args.event)?,
        allow: args.allow.clone(),
        ..SourceSettings::default()
    };
    let scheme = Scheme::from_settings(&args.scheme, &settings)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let allow = settings
        .ranges()
        .map_err(|error| Failure::usage(error.to_string()))?;
    let secrets: Vec<Secret> = args
        .secrets
        .iter()
        .map(|secret| secret.read().map(Secret::new))
        .collect::<Result<_, _>>()?;
    let (written, headers, body) = request_read(&args)?;
    let url = args.sent_to.clone().or(written).unwrap_or_default();
    if matches!(scheme, Scheme::Twilio) && url.is_empty() {
        return Err(Failure::usage("which URL was it sent to?")
            .hint("Twilio signs it: give --sent-to with the URL that Twilio has"));
    }
    let certificate = args.certificate.as_deref().map(key_read).transpose()?;
    if matches!(scheme, Scheme::Paypal) && certificate.is_none() {
        return Err(Failure::usage("which certificate?").hint(
            "nothing is fetched here: fetch what PAYPAL-CERT-URL names and give --certificate; \
             the server verifies its chain as well",
        ));
    }
    let request = Request {
        headers: &headers,
        body: &body,
        now_secs: args
            .at
            .as_ref()
            .map_or_else(|| now().as_second(), TimeArg::secs),
        route: Route {
            url: &url,
            remote: args.remote,
            certificate: certificate.as_deref(),
        },
    };
    let told = scheme::explain(&scheme, &allow, &secrets, args.tolerance_secs, &request);
    context.show(&json!(told), |_| show(context, &told))?;
    if told.accepted {
        Ok(())
    } else {
        Err(Failure::said(Exit::NotClean))
    }
}

/// The public key of the first certificate in a PEM file.
fn key_read(path: &Path) -> Result<bytes::Bytes, Failure> {
    let wrong = |why: String| Failure::usage("this is no certificate").detail(why);
    let certificate = CertificateDer::from_pem_slice(&input_read(path)?)
        .map_err(|error| wrong(error.to_string()))?;
    public_key(&certificate).map_err(|error| wrong(error.to_string()))
}

type Headers = Vec<(String, String)>;
/// The URL where the first line has it whole, the headers, the body.
type Parts = (Option<String>, Headers, Vec<u8>);

fn request_read(args: &VerifyArgs) -> Result<Parts, Failure> {
    if let Some(path) = &args.request {
        return request_parse(&input_read(path)?);
    }
    let headers = args.headers.iter().map(|header| header_parse(header));
    let headers = headers.collect::<Result<Headers, _>>()?;
    let body = match &args.body {
        Some(path) => input_read(path)?,
        None => Vec::new(),
    };
    Ok((None, headers, body))
}

/// A request as it looks on the wire, with or without its first line and with either line end.
fn request_parse(bytes: &[u8]) -> Result<Parts, Failure> {
    let mut url = None;
    let mut headers = Vec::new();
    let mut rest = bytes;
    let mut first = true;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        rest = &rest[end + 1..];
        if line.is_empty() {
            return Ok((url, headers, rest.to_vec()));
        }
        let line = String::from_utf8_lossy(line);
        if first && let Some(target) = line.strip_prefix("POST ") {
            let target = target.split(' ').next().unwrap_or_default();
            url = target.contains("://").then(|| target.to_owned());
        }
        match header_parse(&line) {
            Ok(header) if !(first && line.starts_with("POST ")) => headers.push(header),
            Err(failure) if !first => return Err(failure),
            _ => {}
        }
        first = false;
    }
    Err(Failure::usage(
        "the request has no empty line between headers and body",
    ))
}

fn show(context: &Context, told: &Explanation) -> Result<(), Failure> {
    let out = &context.out;
    let mut checks = Table::new(&[
        Column::Whole("CHECK"),
        Column::Whole("OUTCOME"),
        Column::Text("WHY"),
    ]);
    for check in &told.checks {
        let outcome = match check.outcome {
            Outcome::Passed => "passed",
            Outcome::Failed => "failed",
            Outcome::Skipped => "skipped",
        };
        checks.row([
            check.name.into(),
            Cell::state(outcome),
            check.detail.as_str().into(),
        ]);
    }
    out.table(&checks, "")?;
    for hint in &told.hints {
        out.toned(Tone::Warn, &format!("hint: {}", super::table::clean(hint)))?;
    }
    for event in &told.events {
        out.line(&super::table::clean(&format!(
            "event {} ({})",
            event.provider_id, event.kind
        )))?;
    }
    match (told.accepted, told.code, told.http_status) {
        (true, ..) => out.toned(Tone::Good, "accepted"),
        (false, Some(code), Some(status)) => out.toned(
            Tone::Bad,
            &format!("refused: {code} (answered with {status})"),
        ),
        _ => out.toned(Tone::Bad, "refused"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_looks_on_the_wire() {
        for text in [
            "POST /in/x HTTP/1.1\r\nHost: a:8\r\nX-Sig: v1=a:b\r\n\r\n{\"a\":\n1}\r\n",
            "POST https://a.example.test:8/in/x\nHost: a:8\nX-Sig: v1=a:b\n\n{\"a\":\n1}\r\n",
            "Host: a:8\nX-Sig: v1=a:b\n\n{\"a\":\n1}\r\n",
        ] {
            let (url, headers, body) = request_parse(text.as_bytes()).expect("a request");
            let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["host", "x-sig"], "{text}");
            assert_eq!(headers[1].1, "v1=a:b");
            let whole = text.starts_with("POST https://");
            assert_eq!(url.is_some(), whole, "{url:?}");
            assert_eq!(body, b"{\"a\":\n1}\r\n");
        }
        assert!(request_parse(b"Host: a\n").is_err());
        assert!(request_parse(b"").is_err());
    }
}
