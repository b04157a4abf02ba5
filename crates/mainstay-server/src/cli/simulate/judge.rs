//! What a handler has to do, and whether it did: each rule by itself, with what speaks against it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    plan::{Plan, Trouble},
    play::{Answer, Played},
    tell::{Forgery, Signer},
};

/// Requests that are shown for a rule that does not hold.
const EVIDENCE_MAX: usize = 3;

/// How it stands with one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// Nobody can say; and why.
    NotJudged(String),
}

impl Verdict {
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::NotJudged(_) => "not_judged",
        }
    }
}

/// One rule.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) verdict: Verdict,
    /// How many requests, or events, it was judged by.
    pub(super) judged: usize,
    pub(super) failed: usize,
    pub(super) evidence: Vec<String>,
}

impl Rule {
    fn of(name: &'static str, what: &'static str, judged: usize, against: Vec<String>) -> Self {
        let failed = against.len();
        Self {
            name,
            what,
            verdict: match (judged, failed) {
                (0, _) => Verdict::NotJudged("nothing of the kind was played".into()),
                (_, 0) => Verdict::Pass,
                _ => Verdict::Fail,
            },
            judged,
            failed,
            evidence: against.into_iter().take(EVIDENCE_MAX).collect(),
        }
    }

    fn not_judged(name: &'static str, what: &'static str, why: &str) -> Self {
        Self {
            verdict: Verdict::NotJudged(why.to_owned()),
            ..Self::of(name, what, 0, Vec::new())
        }
    }

    fn json(&self) -> Value {
        let why = match &self.verdict {
            Verdict::NotJudged(why) => Some(why),
            Verdict::Pass | Verdict::Fail => None,
        };
        json!({
            "rule": self.name, "what": self.what, "verdict": self.verdict.word(), "why": why,
            "judged": self.judged, "failed": self.failed, "evidence": self.evidence,
        })
    }
}

/// How long answers took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Latency {
    pub(super) p50_ms: u64,
    pub(super) p99_ms: u64,
    pub(super) max_ms: u64,
}

/// Everything.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) rules: Vec<Rule>,
    pub(super) requests: usize,
    pub(super) events: usize,
    pub(super) latency: Latency,
    /// How many answers had which status; 0: there was none.
    pub(super) statuses: BTreeMap<u16, usize>,
}

impl Report {
    /// Whether all rules hold that could be judged.
    pub(super) fn passed(&self) -> bool {
        self.rules.iter().all(|rule| rule.verdict != Verdict::Fail)
    }

    pub(super) fn json(&self) -> Value {
        let rules: Vec<Value> = self.rules.iter().map(Rule::json).collect();
        let statuses = self.statuses.iter();
        let statuses: serde_json::Map<String, Value> = statuses
            .map(|(status, count)| (status.to_string(), json!(count)))
            .collect();
        let Latency {
            p50_ms,
            p99_ms,
            max_ms,
        } = self.latency;
        json!({
            "passed": self.passed(), "rules": rules, "requests": self.requests, "events": self.events,
            "latency_ms": { "p50": p50_ms, "p99": p99_ms, "max": max_ms }, "statuses": statuses,
        })
    }
}

/// What a request was about, and what came of it: evidence that can be searched for in a log.
fn told(played: &Played) -> String {
    let ms = played.took.as_millis();
    let (id, kind) = (&played.shot.told.id, &played.shot.told.kind);
    match &played.answer {
        Answer::Status(status, said) => {
            let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
            let said = if said.is_empty() {
                said
            } else {
                format!(": {said}")
            };
            format!("{id} ({kind}) was answered {status} in {ms} ms{said}")
        }
        Answer::None(why) => format!("{id} ({kind}) was not answered in {ms} ms: {why}"),
    }
}

fn is_2xx(played: &Played) -> bool {
    matches!(played.answer, Answer::Status(200..=299, _))
}

fn is_4xx(played: &Played) -> bool {
    matches!(played.answer, Answer::Status(400..=499, _))
}

/// A rule over the requests that it is about.
fn over(
    played: &[Played],
    name: &'static str,
    what: &'static str,
    about: impl Fn(&Played) -> bool,
    holds: impl Fn(&Played) -> bool,
) -> Rule {
    let of: Vec<&Played> = played.iter().filter(|one| about(one)).collect();
    let against = of.iter().filter(|one| !holds(one)).map(|one| told(one));
    Rule::of(name, what, of.len(), against.collect())
}

/// Holds the answers against the rules; and what the handler says that it applied, if it says so.
pub(super) fn judge(
    plan: &Plan,
    played: &[Played],
    signer: &Signer,
    timeout: Duration,
    applied: Option<&BTreeMap<String, u64>>,
) -> Report {
    let mut rules = vec![];
    let mut answered = |name, what, troubles: &[Trouble], with_others: bool| {
        let about = |one: &Played| {
            let genuine = one.shot.forgery.is_none() && one.with_others == with_others;
            genuine && troubles.contains(&one.shot.trouble)
        };
        rules.push(over(played, name, what, about, is_2xx));
    };
    answered(
        "genuine",
        "true events are answered with 2xx",
        &[Trouble::None],
        false,
    );
    answered(
        "again",
        "an event that comes again is answered with 2xx, not with an error",
        &[Trouble::Again],
        false,
    );
    answered(
        "at_once",
        "an event that comes several times at once is answered with 2xx each time",
        &[Trouble::AtOnce],
        true,
    );
    answered(
        "reordered",
        "what happened later may come first",
        &[Trouble::Reordered],
        false,
    );
    answered(
        "late",
        "what comes late, and in time, is answered with 2xx",
        &[Trouble::Late],
        false,
    );
    answered(
        "changed",
        "another version of the API, and types that are new, are answered with 2xx",
        &[Trouble::Changed],
        false,
    );
    answered(
        "burst",
        "very much at once is answered with 2xx",
        &[Trouble::Burst],
        false,
    );
    rules.extend(forged(played, signer));
    rules.push(over(
        played,
        "no_5xx",
        "nothing is answered with 5xx",
        |_| true,
        |one| !matches!(one.answer, Answer::Status(500.., _)),
    ));
    rules.push(over(
        played,
        "in_time",
        "everything is answered before the provider gives up",
        |_| true,
        |one| matches!(one.answer, Answer::Status(..)) && one.took <= timeout,
    ));
    rules.extend(effects(plan, applied));
    let mut statuses = BTreeMap::new();
    for one in played {
        let status = match one.answer {
            Answer::Status(status, _) => status,
            Answer::None(_) => 0,
        };
        *statuses.entry(status).or_default() += 1;
    }
    Report {
        rules,
        requests: played.len(),
        events: plan.genuine.len(),
        latency: latency(played),
        statuses,
    }
}

fn forged(played: &[Played], signer: &Signer) -> Vec<Rule> {
    let rules = [
        (
            Forgery::Secret,
            "forged_secret",
            "signed with another secret: refused with 4xx",
            "the scheme has no signature",
        ),
        (
            Forgery::Body,
            "forged_body",
            "changed after it was signed: refused with 4xx",
            "the scheme does not sign the body",
        ),
        (
            Forgery::Unsigned,
            "unsigned",
            "without a signature: refused with 4xx",
            "the scheme has no signature",
        ),
        (
            Forgery::TooOld,
            "too_old",
            "signed too long ago: refused with 4xx",
            "the scheme does not sign the time",
        ),
    ];
    let judged = rules.into_iter().map(|(forgery, name, what, why)| {
        if !signer.shows(forgery) {
            return Rule::not_judged(name, what, why);
        }
        let about = |one: &Played| one.shot.forgery == Some(forgery);
        over(played, name, what, about, is_4xx)
    });
    judged.collect()
}

/// What only the handler itself can know.
fn effects(plan: &Plan, applied: Option<&BTreeMap<String, u64>>) -> Vec<Rule> {
    const ONCE: (&str, &str) = ("applied_once", "no event is applied twice");
    const LOST: (&str, &str) = ("none_lost", "every true event is applied");
    const FORGED: (&str, &str) = ("none_forged", "nothing that is forged is applied");
    let Some(applied) = applied else {
        let why = "only the handler knows: --check URL asks it";
        let rules = [ONCE, LOST, FORGED];
        return rules
            .map(|(name, what)| Rule::not_judged(name, what, why))
            .into();
    };
    let count = |id: &String| applied.get(id).copied().unwrap_or(0);
    let against = |ids: &BTreeSet<String>, wrong: &dyn Fn(u64) -> bool| -> Vec<String> {
        let wrong = ids.iter().filter(|id| wrong(count(id)));
        wrong
            .map(|id| format!("{id} was applied {} times", count(id)))
            .collect()
    };
    let (genuine, forged) = (&plan.genuine, &plan.forged);
    vec![
        Rule::of(
            ONCE.0,
            ONCE.1,
            genuine.len(),
            against(genuine, &|count| count > 1),
        ),
        Rule::of(
            LOST.0,
            LOST.1,
            genuine.len(),
            against(genuine, &|count| count == 0),
        ),
        Rule::of(
            FORGED.0,
            FORGED.1,
            forged.len(),
            against(forged, &|count| count > 0),
        ),
    ]
}

fn latency(played: &[Played]) -> Latency {
    let mut took: Vec<u64> = played
        .iter()
        .map(|one| one.took.as_millis() as u64)
        .collect();
    took.sort_unstable();
    let at = |share: f64| {
        let place = (took.len() as f64 * share).ceil() as usize;
        took.get(place.saturating_sub(1)).copied().unwrap_or(0)
    };
    Latency {
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        max_ms: at(1.0),
    }
}
