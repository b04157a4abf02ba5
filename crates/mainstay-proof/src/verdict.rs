//! The verdict: what the sender, the receiver and the store say, each by its own count, held against one another.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use serde_json::Value;

use crate::{
    api::Api,
    events::Provider,
    mistyped::{self, Sent},
    plan::Item,
    receiver::Ledger,
    sender::Report,
};

/// What was played, in marks: the identities of events.
#[derive(Debug, Default, Clone)]
pub struct Played {
    /// Of true events, with the id by which the store knows each.
    pub truth: BTreeMap<String, StoreKey>,
    /// Of forged ones.
    pub forged: BTreeMap<String, StoreKey>,
    /// How many true events are billing's.
    pub billing: usize,
}

const LOST: &str = "acknowledged, not in the store (lost)";
const OUT_OF_ORDER: &str = "delivered out of the order of their commits";
/// Rows of one look at the order: as many as the server gives at once.
const ORDER_ROWS: usize = 1_000;

/// How an event is found again in the store: its source and the provider's id.
pub type StoreKey = (&'static str, String);

impl Played {
    /// Adds the items of a plan.
    pub fn add(&mut self, items: &[Item]) {
        for item in items {
            let forged = item.forgery.is_some();
            for mark in &item.message.marks {
                let key = store_key(item, mark);
                let known = if forged {
                    &mut self.forged
                } else {
                    &mut self.truth
                };
                if known.insert(mark.clone(), key).is_none() && !forged {
                    self.billing += item.message.billing();
                }
            }
        }
    }
}

/// Stripe's and WhatsApp's ids stand in the body, the others' in a header.
fn store_key(item: &Item, mark: &str) -> StoreKey {
    let message = &item.message;
    let id = match message.provider {
        Provider::Stripe | Provider::Whatsapp => mark,
        Provider::Github | Provider::Standard => &message.id,
    };
    (message.provider.source(), id.to_owned())
}

/// What the store holds, asked through the API.
#[derive(Debug, Default)]
pub struct Kept {
    /// How many events there are of each key.
    pub events: BTreeMap<(String, String), u32>,
    /// Dead letters by the key of their event, with the reason.
    pub dead: BTreeMap<(String, String), String>,
    /// Jobs that are not over.
    pub jobs_open: u64,
    /// Billing's events: recorded, and distinct among them.
    pub billing: (i64, i64),
    /// Of each ordering key the provider's ids of its events, in the order in which they were committed.
    pub lines: BTreeMap<String, Vec<String>>,
}

impl Kept {
    /// Reads everything, page by page.
    pub async fn read(api: &mut Api) -> anyhow::Result<Self> {
        let mut kept = Self {
            jobs_open: api.jobs_not_over().await?,
            ..Self::default()
        };
        let mut keys = BTreeMap::new();
        for source in Self::sources(api).await? {
            for event in api.list(&format!("/v1/events?source={source}")).await? {
                let key = (source.clone(), text(&event, "provider_id")?);
                keys.insert(text(&event, "id")?, key.clone());
                *kept.events.entry(key).or_default() += 1;
            }
        }
        kept.lines = Self::lines_read(api).await?;
        for letter in api.list("/v1/dead-letters").await? {
            let event = text(&letter, "event_id")?;
            let reason = format!(
                "{} {}: {}",
                text(&letter, "category")?,
                text(&letter, "code")?,
                text(&letter, "error")?
            );
            kept.dead
                .insert(keys.get(&event).cloned().unwrap_or_default(), reason);
        }
        let counts = api
            .count("SELECT count(*), count(DISTINCT event_id) FROM billing_event")
            .await?;
        kept.billing = (counts[0], counts[1]);
        Ok(kept)
    }
}

impl Kept {
    /// The sources of the providers, as far as they are declared.
    async fn sources(api: &mut Api) -> anyhow::Result<Vec<String>> {
        let ours = |name: &String| {
            name == mistyped::SOURCE || Provider::ALL.iter().any(|one| one.source() == name)
        };
        let all = api.list("/v1/sources").await?;
        let names: anyhow::Result<Vec<String>> = all.iter().map(|one| text(one, "name")).collect();
        Ok(names?.into_iter().filter(ours).collect())
    }

    /// The order in which events were committed, which the places of their jobs in their lines tell.
    async fn lines_read(api: &mut Api) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
        let mut lines = BTreeMap::new();
        let keys = api
            .rows("SELECT DISTINCT order_key FROM job WHERE order_key IS NOT NULL")
            .await?;
        for key in keys {
            let key = key[0].as_str().context("a key is a text")?.to_owned();
            let (mut line, mut after) = (Vec::new(), 0);
            loop {
                let statement = format!(
                    "SELECT e.provider_id, CAST(j.order_position AS TEXT) FROM job AS j \
                     JOIN event AS e ON e.tenant_id = j.tenant_id AND e.id = j.event_id \
                     WHERE j.order_key = '{key}' AND j.order_position > {after} \
                     ORDER BY j.order_position LIMIT {ORDER_ROWS}"
                );
                let rows = api.rows(&statement).await?;
                for row in &rows {
                    let place = row[1].as_str().context("a place")?;
                    after = place.parse::<i64>()?;
                    line.push(row[0].as_str().context("an id")?.to_owned());
                }
                if rows.len() < ORDER_ROWS {
                    break;
                }
            }
            lines.insert(key, line);
        }
        Ok(lines)
    }
}

fn text(item: &Value, field: &str) -> anyhow::Result<String> {
    let found = item[field].as_str();
    Ok(found
        .with_context(|| format!("{field} of {item}"))?
        .to_owned())
}

/// One thing that must hold.
#[derive(Debug, Clone)]
pub struct Check {
    /// What was counted.
    pub what: &'static str,
    /// The count.
    pub found: u64,
    /// What it must be.
    pub must_be: u64,
}

/// All checks.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// In the order in which they are shown.
    pub checks: Vec<Check>,
    /// What was wrong, with examples.
    pub details: Vec<String>,
    /// Dead letters: how many for each reason.
    pub dead: BTreeMap<String, u64>,
}

impl Verdict {
    /// Whether everything is as it must be.
    pub fn clean(&self) -> bool {
        self.checks.iter().all(|check| check.found == check.must_be)
    }

    /// How many acknowledged events the store does not hold.
    pub fn lost(&self) -> u64 {
        let lost = self.checks.iter().find(|check| check.what == LOST);
        lost.map_or(0, |check| check.found)
    }

    fn must(&mut self, what: &'static str, found: u64, must_be: u64) {
        self.checks.push(Check {
            what,
            found,
            must_be,
        });
    }

    fn none(&mut self, what: &'static str, found: &BTreeSet<&String>) {
        self.must(what, found.len() as u64, 0);
        if let Some(example) = found.first() {
            self.details
                .push(format!("{what}: {example} and {} more", found.len() - 1));
        }
    }
}

/// Holds the counts against one another.
pub fn judge(played: &Played, sender: &Report, receiver: &Ledger, kept: &Kept) -> Verdict {
    let mut verdict = Verdict::default();
    let acknowledged: BTreeSet<&String> = sender.marks.iter().collect();
    let key = |mark: &String| {
        played
            .truth
            .get(mark)
            .map(|(source, id)| ((*source).to_owned(), id.clone()))
    };
    let in_store = |mark: &&&String| key(mark).is_some_and(|key| kept.events.contains_key(&key));
    let dead = |mark: &&&String| key(mark).is_some_and(|key| kept.dead.contains_key(&key));
    let pick = |of: &dyn Fn(&&&String) -> bool| -> BTreeSet<&String> {
        acknowledged.iter().filter(of).copied().collect()
    };

    verdict.must(
        "events acknowledged",
        acknowledged.len() as u64,
        played.truth.len() as u64,
    );
    verdict.none(LOST, &pick(&|mark| !in_store(mark)));
    verdict.none(
        "acknowledged, neither applied nor a dead letter (lost)",
        &pick(&|mark| !receiver.applied.contains_key(**mark) && !dead(mark)),
    );
    let doubled = kept.events.values().filter(|count| **count > 1).count();
    verdict.must("in the store more than once", doubled as u64, 0);
    verdict.must(
        "applied twice by the receiver",
        receiver.applied_twice() as u64,
        0,
    );
    verdict.must(
        "forged requests accepted",
        sender.forged_accepted + forged_kept(played, receiver, kept),
        0,
    );
    let unexpected = pick(&|mark| dead(mark) && !receiver.poisoned.contains(**mark));
    verdict.none(
        "dead letters that the receiver did not ask for",
        &unexpected,
    );
    verdict.must("deliveries with a wrong signature", receiver.unsigned, 0);
    verdict.must("jobs that are not over (stuck)", kept.jobs_open, 0);
    verdict.must(
        "billing events recorded",
        kept.billing.0 as u64,
        played.billing as u64,
    );
    verdict.must(
        "billing events recorded twice",
        (kept.billing.0 - kept.billing.1) as u64,
        0,
    );
    verdict.must(
        "true requests refused or given up",
        sender.refused.len() as u64,
        0,
    );
    verdict
        .details
        .extend(sender.refused.iter().take(3).cloned());
    for reason in kept.dead.values() {
        *verdict.dead.entry(reason.clone()).or_default() += 1;
    }
    verdict
}

impl Verdict {
    /// Adds what the app says that is to get the events of a source in the order of their commits, key by key: what counts
    /// is when it took each for the first time.
    pub fn order(&mut self, played: &Played, source: &str, ordered: &Ledger, kept: &Kept) {
        let marks: BTreeMap<&String, &String> = played
            .truth
            .iter()
            .filter(|(_, (own, _))| *own == source)
            .map(|(mark, (_, id))| (id, mark))
            .collect();
        let taken: BTreeMap<&String, usize> = (0..)
            .zip(&ordered.sequence)
            .map(|(at, mark)| (mark, at))
            .collect();
        let dead = |id: &String| kept.dead.contains_key(&(source.to_owned(), id.clone()));
        let (mut late, mut missing, mut in_lines) = (BTreeSet::new(), BTreeSet::new(), 0);
        for id in kept.lines.values().flatten() {
            let mark = marks.get(id);
            in_lines += u64::from(mark.is_some());
            match mark {
                Some(mark) if taken.contains_key(*mark) || dead(id) => {}
                _ => drop(missing.insert(id)),
            }
        }
        for line in kept.lines.values() {
            let mut last = None;
            for id in line {
                let at = marks.get(id).and_then(|mark| taken.get(*mark));
                if at.is_some() && at < last {
                    late.insert(id);
                }
                last = last.max(at);
            }
        }
        let in_store = kept.events.keys().filter(|(own, _)| own == source).count() as u64;
        self.must("events with a place in an order", in_lines, in_store);
        self.none(OUT_OF_ORDER, &late);
        self.none("in order, neither delivered nor a dead letter", &missing);
        self.must(
            "applied twice by the app that wants an order",
            ordered.applied_twice() as u64,
            0,
        );
    }

    /// Adds what became of the requests of a provider whose secret was mistyped, and of which so many are still refused
    /// although they are genuine.
    pub fn mistyped(&mut self, sent: &Sent, genuine: u64, receiver: &Ledger, kept: &Kept) {
        let is_in = |message: &crate::events::Message| {
            kept.events
                .contains_key(&(mistyped::SOURCE.to_owned(), message.id.clone()))
        };
        let let_in: Vec<_> = sent.messages.iter().filter(|one| is_in(one)).collect();
        let dead = |id: &String| {
            kept.dead
                .contains_key(&(mistyped::SOURCE.to_owned(), id.clone()))
        };
        let unapplied = let_in
            .iter()
            .filter(|one| !dead(&one.id))
            .flat_map(|one| &one.marks)
            .filter(|mark| !receiver.applied.contains_key(*mark))
            .collect();
        let known: BTreeSet<&String> = let_in.iter().flat_map(|one| &one.marks).collect();
        let lost = sent
            .acknowledged
            .iter()
            .filter(|mark| !known.contains(mark))
            .collect();
        self.must("taken in spite of a wrong secret", sent.taken, 0);
        self.must(
            "refused, genuine, and still kept after a look again",
            genuine,
            0,
        );
        self.none("let in after a look again, never applied", &unapplied);
        self.none("sent again and acknowledged, not in the store", &lost);
        // Nothing was proved where nothing was refused, or nothing let in but what was sent again.
        let released = (let_in.len() as u64).saturating_sub(sent.acknowledged.len() as u64);
        self.must(
            "refused by none, or none of them let in",
            u64::from(sent.refused == 0 || released == 0),
            0,
        );
    }
}

fn forged_kept(played: &Played, receiver: &Ledger, kept: &Kept) -> u64 {
    let found = played.forged.iter().filter(|(mark, (source, id))| {
        receiver.applied.contains_key(*mark)
            || kept
                .events
                .contains_key(&((*source).to_owned(), id.clone()))
    });
    found.count() as u64
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for check in &self.checks {
            let holds = check.found == check.must_be;
            let mark = if holds { "ok  " } else { "FAIL" };
            write!(f, "  {mark} {:<56}{:>9}", check.what, check.found)?;
            if holds {
                writeln!(f)?;
            } else {
                writeln!(f, "   must be {}", check.must_be)?;
            }
        }
        for detail in &self.details {
            writeln!(f, "       {detail}")?;
        }
        if !self.dead.is_empty() {
            writeln!(f, "\n  dead letters, by reason")?;
            for (reason, count) in &self.dead {
                writeln!(f, "  {count:>6} × {reason}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Mix, plan};

    /// A world in which all went well.
    fn world() -> (Played, Report, Ledger, Kept) {
        let items = plan(Mix {
            seed: 5,
            requests: 200,
            now: 1_790_000_000,
            duplicates: 0.2,
            forged: 0.1,
        });
        let mut played = Played::default();
        played.add(&items);
        let report = Report {
            marks: played.truth.keys().cloned().collect(),
            ..Report::default()
        };
        let mut ledger = Ledger::default();
        ledger.applied = played.truth.keys().map(|mark| (mark.clone(), 1)).collect();
        let billing = played.billing as i64;
        let events = played
            .truth
            .values()
            .map(|(source, id)| (((*source).to_owned(), id.clone()), 1))
            .collect();
        let kept = Kept {
            events,
            billing: (billing, billing),
            ..Kept::default()
        };
        (played, report, ledger, kept)
    }

    fn failed(world: &(Played, Report, Ledger, Kept)) -> Vec<&'static str> {
        let verdict = judge(&world.0, &world.1, &world.2, &world.3);
        let failed = verdict
            .checks
            .iter()
            .filter(|check| check.found != check.must_be);
        failed.map(|check| check.what).collect()
    }

    #[test]
    fn a_world_in_which_all_went_well_is_clean() {
        assert!(failed(&world()).is_empty());
    }

    #[test]
    fn an_event_that_the_store_lost_is_seen() {
        let mut world = world();
        world.3.events.pop_first();
        assert_eq!(failed(&world), [LOST]);
    }

    #[test]
    fn an_event_that_was_never_applied_is_seen() {
        let mut world = world();
        world.2.applied.pop_first();
        assert_eq!(
            failed(&world),
            ["acknowledged, neither applied nor a dead letter (lost)"]
        );
    }

    #[test]
    fn an_event_that_was_applied_twice_is_seen() {
        let mut world = world();
        if let Some(mut first) = world.2.applied.first_entry() {
            *first.get_mut() = 2;
        }
        assert_eq!(failed(&world), ["applied twice by the receiver"]);
    }

    #[test]
    fn a_forged_event_in_the_store_is_seen() {
        let mut world = world();
        let (source, id) = world
            .0
            .forged
            .values()
            .next()
            .cloned()
            .expect("some are forged");
        world.3.events.insert((source.to_owned(), id), 1);
        assert_eq!(failed(&world), ["forged requests accepted"]);
    }

    /// The same world with an app that wants the events of one source in their order, by two keys.
    fn ordered() -> (Played, Ledger, Kept) {
        let (played, _, _, mut kept) = world();
        let source = Provider::Standard.source();
        let own: Vec<(String, String)> = played
            .truth
            .iter()
            .filter(|(_, (own, _))| *own == source)
            .map(|(mark, (_, id))| (mark.clone(), id.clone()))
            .collect();
        let mut ledger = Ledger::default();
        for (at, (mark, id)) in own.iter().enumerate() {
            let key = if at % 2 == 0 { "even" } else { "odd" };
            kept.lines
                .entry(key.to_owned())
                .or_default()
                .push(id.clone());
            ledger.sequence.push(mark.clone());
            ledger.applied.insert(mark.clone(), 1);
        }
        (played, ledger, kept)
    }

    fn order_failed(world: &(Played, Ledger, Kept)) -> Vec<&'static str> {
        let mut verdict = Verdict::default();
        verdict.order(&world.0, Provider::Standard.source(), &world.1, &world.2);
        let failed = verdict
            .checks
            .iter()
            .filter(|check| check.found != check.must_be);
        failed.map(|check| check.what).collect()
    }

    #[test]
    fn two_events_of_a_key_that_changed_places_are_seen_and_two_of_different_keys_are_not() {
        let mut world = ordered();
        assert!(order_failed(&world).is_empty());
        world.1.sequence.swap(0, 1);
        assert!(order_failed(&world).is_empty(), "of different keys");
        world.1.sequence.swap(2, 4);
        assert_eq!(order_failed(&world), [OUT_OF_ORDER]);
    }

    #[test]
    fn an_event_that_the_app_with_an_order_never_got_is_seen() {
        let mut world = ordered();
        world.1.sequence.pop();
        assert_eq!(
            order_failed(&world),
            ["in order, neither delivered nor a dead letter"]
        );
        let mut world = ordered();
        world.2.lines.pop_first();
        assert_eq!(order_failed(&world), ["events with a place in an order"]);
    }

    #[test]
    fn what_was_refused_for_a_mistyped_secret_comes_in_and_is_applied() {
        let dice = crate::dice::Dice::new(3);
        let messages: Vec<_> = (0..4)
            .map(|at| crate::events::message(Provider::Standard, &dice, 1_790_000_000 + at))
            .collect();
        let sent = Sent {
            refused: 4,
            acknowledged: messages[0].marks.clone(),
            messages: messages.clone(),
            ..Sent::default()
        };
        let key = |at: usize| (mistyped::SOURCE.to_owned(), messages[at].id.clone());
        let mut kept = Kept {
            events: [(key(0), 1), (key(1), 1)].into(),
            ..Kept::default()
        };
        let mut ledger = Ledger::default();
        let applied = messages[..2].iter();
        ledger
            .applied
            .extend(applied.map(|one| (one.marks[0].clone(), 1)));
        let failed = |sent: &Sent, genuine, ledger: &Ledger, kept: &Kept| {
            let mut verdict = Verdict::default();
            verdict.mistyped(sent, genuine, ledger, kept);
            let failed = verdict
                .checks
                .into_iter()
                .filter(|check| check.found != check.must_be);
            failed.map(|check| check.what).collect::<Vec<_>>()
        };
        assert!(failed(&sent, 0, &ledger, &kept).is_empty());
        assert_eq!(
            failed(&sent, 1, &ledger, &kept).len(),
            1,
            "one is still there"
        );
        assert_eq!(
            failed(&sent, 0, &Ledger::default(), &kept),
            ["let in after a look again, never applied"]
        );
        let again = Sent {
            acknowledged: messages[3].marks.clone(),
            ..sent.clone()
        };
        assert_eq!(
            failed(&again, 0, &ledger, &kept),
            ["sent again and acknowledged, not in the store"]
        );
        kept.events.remove(&key(1));
        assert_eq!(
            failed(&sent, 0, &ledger, &kept),
            ["refused by none, or none of them let in"]
        );
    }

    #[test]
    fn a_billing_event_recorded_twice_is_seen() {
        let mut world = world();
        world.3.billing.0 += 1;
        assert_eq!(
            failed(&world),
            ["billing events recorded", "billing events recorded twice"]
        );
    }
}
