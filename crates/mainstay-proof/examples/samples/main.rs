//! Writes events as the providers send them into a folder, a file each, with the headers that come with them: what the
//! dictionary of stored bodies is trained on (`tools/dictionary`).

use std::{fs, path::PathBuf};

use anyhow::Context;
use clap::Parser;
use mainstay_proof::{
    dice::Dice,
    events::{self, Provider},
    sign,
};
use serde_json::{Map, Value};

/// When the first event happens, in seconds since 1970.
const BEGIN: i64 = 1_750_000_000;

/// What the events of other providers have in common, one on a line: names and values of many an API. `#` and a letter stand for
/// something new each time: an id, a number, a time, digits of hexadecimal, a word.
const SHAPES: &str = include_str!("shapes.jsonl");

const WORDS: [&str; 8] = [
    "Harbour", "Ada", "pallet", "north", "Grace", "ledger", "quay", "bronze",
];

/// A shape with something new in each place.
fn filled(shape: &str, dice: &Dice) -> String {
    let mut parts = shape.split('#');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut letters = part.chars();
        match letters.next() {
            Some('i') => text += &dice.id(20),
            Some('n') => text += &dice.digits(dice.range(2, 12) as usize),
            Some('t') => {
                let (month, day) = (dice.range(1, 13), dice.range(1, 29));
                let (hour, minute) = (dice.range(0, 24), dice.range(0, 60));
                text += "2026-";
                text += &[month, day].map(|part| format!("{part:02}")).join("-");
                text += "T";
                text += &[hour, minute].map(|part| format!("{part:02}")).join(":");
                text += ":07.120Z";
            }
            Some('h') => text += &dice.hex(32),
            Some('u') => text += &dice.uuid(),
            Some('w') => text += dice.pick::<&str>(&WORDS),
            Some(letter) => text.push(letter),
            None => text.push('#'),
        }
        text += letters.as_str();
    }
    text
}

/// What to write.
#[derive(Debug, Parser)]
struct Args {
    /// The folder, which must be there
    folder: PathBuf,
    /// How many events of each provider
    #[arg(long, default_value_t = 600)]
    events: usize,
    /// What they are made up from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let dice = Dice::new(args.seed);
    let shapes: Vec<&str> = SHAPES.lines().collect();
    for number in 0..args.events {
        let text = filled(dice.pick::<&str>(&shapes), &dice);
        let value: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
        let body = if number % 3 == 0 {
            serde_json::to_vec_pretty(&value)?
        } else {
            text.into_bytes()
        };
        fs::write(
            args.folder.join(format!("other-{number:04}.body.json")),
            body,
        )?;
    }
    for provider in Provider::ALL {
        for number in 0..args.events {
            let now = BEGIN + number as i64 * 977;
            let message = events::message(provider, &dice, now);
            let name = |what: &str| {
                let file = format!("{}-{number:04}.{what}.json", provider.source());
                args.folder.join(file)
            };
            // Stripe indents what it sends; both ways are stored.
            let body = if number % 2 == 0 {
                let value: Value = serde_json::from_slice(&message.body)?;
                serde_json::to_vec_pretty(&value)?
            } else {
                message.body.to_vec()
            };
            fs::write(name("body"), &body).context("a body cannot be written")?;
            let secret = sign::secret(provider, &format!("{:064x}", dice.range(0, u64::MAX)));
            let mut headers: Map<String, Value> = sign::headers(&message, &secret, now)?
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect();
            let address = format!("192.0.2.{}", dice.range(1, 255));
            for (name, value) in [
                ("accept", "*/*"),
                ("accept-encoding", "gzip"),
                ("content-length", &body.len().to_string()),
                ("content-type", "application/json; charset=utf-8"),
                ("host", "hooks.example.com"),
                ("x-forwarded-for", &address),
                ("x-forwarded-host", "hooks.example.com"),
                ("x-forwarded-proto", "https"),
                ("cache-control", "no-cache"),
            ] {
                headers.insert(name.to_owned(), value.into());
            }
            fs::write(name("headers"), serde_json::to_vec(&headers)?)
                .context("headers cannot be written")?;
        }
    }
    Ok(())
}
