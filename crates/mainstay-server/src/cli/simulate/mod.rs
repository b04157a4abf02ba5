//! `mainstay simulate`: a provider's worst day, played at any handler, and a verdict on how it did.
//!
//! True events, the same again and several times at once, in another order than they happened, late, of an API that has
//! changed, very many at once; and forged ones. All from a seed: what fails can be played again.

mod applied;
mod judge;
mod plan;
mod play;
mod tell;
#[cfg(test)]
mod tests;

use std::time::Duration;

use clap::Args;
use mainstay_domain::{
    Random as _,
    intake::{
        scheme::{Scheme, Secret},
        settings::{SourceSettings, TOLERANCE_SECS},
    },
};

use super::{
    Context,
    args::{JsonArg, SecretArg, header_parse, now},
    failure::{Exit, Failure},
    output::Output,
    send::listing,
    table::{Tone, clean},
};
use crate::time::SystemRandom;
use applied::Ledger;
use judge::{Report, Verdict};
use plan::{Mix, plan};
use play::{Pace, Player};
use tell::{Signer, Tale};

#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    /// Whose webhooks: a scheme, such as stripe, github, whatsapp, shopify, slack, standard_webhooks
    #[arg(value_parser = scheme_name)]
    scheme: String,
    /// The handler's URL
    #[arg(long, value_name = "URL")]
    to: String,
    /// The secret that the handler verifies with: itself, @FILE, or - for standard input
    #[arg(long, env = "MAINSTAY_SIMULATE_SECRET", hide_env_values = true)]
    secret: Option<SecretArg>,
    /// For the scheme hmac: its rule as JSON, or @FILE
    #[arg(long, value_name = "JSON")]
    hmac: Option<JsonArg>,
    /// For the scheme bearer: where the token stands, as JSON, or @FILE
    #[arg(long, value_name = "JSON")]
    bearer: Option<JsonArg>,
    /// For the schemes bearer and address: where id and type stand, as JSON, or @FILE
    #[arg(long, value_name = "JSON")]
    event: Option<JsonArg>,
    /// For the scheme twilio: sign as if sent to this URL (default: the one it is sent to)
    #[arg(long, value_name = "URL")]
    sent_to: Option<String>,
    /// What everything is made from; the same plays the same (default: a new one, which is shown)
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How many true events
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(40..=100_000))]
    events: u32,
    /// How many requests in a second, but for the burst in the end; 0: as fast as they are answered
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=5_000))]
    rate: u32,
    /// How many at the same time; four times as many in the burst
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    concurrency: u32,
    /// How long an answer may take (default: as long as the provider waits, 10 where it does not say)
    #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..=120))]
    timeout_secs: Option<u64>,
    /// How old a signature may be for the handler
    #[arg(long, value_name = "SECS", default_value_t = TOLERANCE_SECS, value_parser = clap::value_parser!(i64).range(10..=86_400))]
    tolerance_secs: i64,
    /// Ask here how often each event was applied: POST {"ids": […]}, answered {"applied": {"ID": 1}}
    #[arg(long, value_name = "URL")]
    check: Option<String>,
    /// How long what was acknowledged may take to be applied
    #[arg(long, value_name = "SECS", default_value_t = 10, requires = "check", value_parser = clap::value_parser!(u64).range(0..=3_600))]
    settle_secs: u64,
    /// Another header for every request, as 'Name: value'; may be given several times
    #[arg(long = "header", short = 'H', value_name = "HEADER")]
    headers: Vec<String>,
}

fn scheme_name(text: &str) -> Result<String, String> {
    let name = match text.replace('-', "_").as_str() {
        "whatsapp" | "messenger" | "instagram" => "meta".to_owned(),
        "standard" | "svix" => "standard_webhooks".to_owned(),
        name => name.to_owned(),
    };
    match super::SCHEMES.contains(&name.as_str()) {
        true => Ok(name),
        false => Err(format!("one of {}", super::SCHEMES.join(", "))),
    }
}

/// How long the provider waits, where it says so.
const fn patience(scheme: &Scheme) -> Duration {
    Duration::from_secs(match scheme {
        Scheme::Slack => 3,
        Scheme::Shopify | Scheme::Paddle => 5,
        Scheme::Twilio => 15,
        _ => 10,
    })
}

/// A storm, ready to be played.
struct Storm {
    scheme: Scheme,
    secret: Secret,
    to: String,
    sent_to: Option<String>,
    headers: Vec<(String, String)>,
    mix: Mix,
    pace: Pace,
    ledger: Option<Ledger>,
}

pub(super) async fn run(context: &Context, args: SimulateArgs) -> Result<(), Failure> {
    let storm = storm(&args)?;
    context.out.remark(&format!(
        "seed {}: {} events at {}, and what else comes with them",
        storm.mix.seed, storm.mix.events, storm.to
    ));
    let report = storm.play().await?;
    let mut value = report.json();
    value["seed"] = storm.mix.seed.into();
    value["scheme"] = args.scheme.as_str().into();
    value["to"] = storm.to.as_str().into();
    context.show(&value, |out| show(out, &report, storm.mix.seed))?;
    match report.passed() {
        true => Ok(()),
        false => Err(Failure::said(Exit::NotClean)),
    }
}

fn storm(args: &SimulateArgs) -> Result<Storm, Failure> {
    let read = |rule: &Option<JsonArg>| rule.as_ref().map(JsonArg::read).transpose();
    let settings = SourceSettings {
        hmac: read(&args.hmac)?,
        bearer: read(&args.bearer)?,
        event: read(&args.event)?,
        ..listing(&args.scheme)
    };
    let scheme = Scheme::from_settings(&args.scheme, &settings)
        .map_err(|error| Failure::usage(error.to_string()))?;
    // Whether anybody but the provider can play it.
    Tale::of(&scheme)?;
    let secret = match &args.secret {
        Some(secret) => Secret::new(secret.read()?),
        None if scheme.needs_no_secret() => Secret::new(String::new()),
        None => {
            return Err(Failure::usage("which secret?")
                .hint("give --secret, or MAINSTAY_SIMULATE_SECRET: the one that the handler verifies with"));
        }
    };
    tell::check(&scheme, &secret)?;
    for url in [Some(&args.to), args.check.as_ref()].into_iter().flatten() {
        web_url(url)?;
    }
    let headers: Result<Vec<_>, Failure> =
        args.headers.iter().map(|one| header_parse(one)).collect();
    let headers = headers?;
    let seed = args.seed.unwrap_or_else(|| {
        let mut bytes = [0; 4];
        SystemRandom.fill(&mut bytes);
        u32::from_be_bytes(bytes).into()
    });
    let timeout = args.timeout_secs.map(Duration::from_secs);
    Ok(Storm {
        to: args.to.clone(),
        sent_to: args.sent_to.clone(),
        mix: Mix {
            seed,
            events: args.events as usize,
            now: now().as_second(),
            tolerance_secs: args.tolerance_secs,
        },
        pace: Pace {
            rate: (args.rate > 0).then_some(args.rate),
            concurrency: args.concurrency as usize,
            timeout: timeout.unwrap_or_else(|| patience(&scheme)),
        },
        ledger: args.check.clone().map(|url| Ledger {
            url,
            headers: headers.clone(),
            settle: Duration::from_secs(args.settle_secs),
        }),
        headers,
        scheme,
        secret,
    })
}

fn web_url(text: &str) -> Result<(), Failure> {
    match reqwest::Url::parse(text) {
        Ok(url) if ["http", "https"].contains(&url.scheme()) && url.has_host() => Ok(()),
        _ => Err(Failure::usage(format!("'{text}' is not a URL"))
            .hint("such as http://localhost:3000/webhooks")),
    }
}

impl Storm {
    async fn play(&self) -> Result<Report, Failure> {
        let tale = Tale::of(&self.scheme)?;
        let seed = self.mix.seed;
        let secret = self.secret.clone();
        let signer = Signer::new(
            &self.scheme,
            secret,
            &self.to,
            self.sent_to.as_deref(),
            seed,
        )?;
        let plan = plan(&tale, &signer, self.mix);
        let player = Player::new(&signer, self.headers.clone(), self.pace)?;
        if let Some(ledger) = &self.ledger {
            // Before hundreds of requests: whether it can be asked at all.
            ledger
                .settled(&Default::default(), &Default::default())
                .await?;
        }
        let played = player.play(&plan).await;
        let applied = match &self.ledger {
            Some(ledger) => Some(ledger.settled(&plan.genuine, &plan.forged).await?),
            None => None,
        };
        let timeout = self.pace.timeout;
        Ok(judge::judge(
            &plan,
            &played,
            &signer,
            timeout,
            applied.as_ref(),
        ))
    }
}

fn show(out: &Output, report: &Report, seed: u64) -> Result<(), Failure> {
    for rule in &report.rules {
        let (tone, word) = match rule.verdict {
            Verdict::Pass => (Tone::Good, "pass"),
            Verdict::Fail => (Tone::Bad, "FAIL"),
            Verdict::NotJudged(_) => (Tone::Dim, "  · "),
        };
        let said = match &rule.verdict {
            Verdict::NotJudged(why) => format!("not judged: {why}"),
            Verdict::Pass => format!("{} of {}", rule.judged, rule.judged),
            Verdict::Fail => format!("{} of {} do not", rule.failed, rule.judged),
        };
        let word = out.painted(tone, word).into_owned();
        out.line(&format!("{word}  {:<14} {}: {said}", rule.name, rule.what))?;
        for evidence in &rule.evidence {
            out.line(&format!("        {}", clean(evidence)))?;
        }
    }
    let statuses = report.statuses.iter().map(|(status, count)| match status {
        0 => format!("{count} without an answer"),
        _ => format!("{count} × {status}"),
    });
    let statuses: Vec<String> = statuses.collect();
    out.line("")?;
    out.line(&format!(
        "{} requests, {} true events: {}",
        report.requests,
        report.events,
        statuses.join(", ")
    ))?;
    let latency = report.latency;
    out.line(&format!(
        "answered within {} ms (half), {} ms (99 of 100), {} ms (all)",
        latency.p50_ms, latency.p99_ms, latency.max_ms
    ))?;
    match report.passed() {
        true => out.toned(
            Tone::Good,
            &format!("all that was judged holds (seed {seed})"),
        ),
        false => out.toned(Tone::Bad, &format!("not all of it holds (seed {seed})")),
    }
}
