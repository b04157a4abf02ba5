//! What is played, in which order, all of it from a seed.

use std::{collections::BTreeSet, sync::Arc};

use mainstay_shapes::{dice::Dice, story::Told};

use super::tell::{Forgery, Signer, Tale};

/// How long ago an event was that a provider sends after days of trying.
const LATE_SECS: i64 = 3 * 86_400;
/// The share of stories that come all at once in the end.
const BURST: f64 = 0.3;

/// What happens to a story on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nothing.
    None,
    /// It comes again, after it was answered.
    Again,
    /// It comes several times at once.
    AtOnce,
    /// What happened later comes first.
    Reordered,
    /// It comes days after it happened, or long after it was signed, and in time.
    Late,
    /// The provider's API has another version.
    Changed,
    /// Very much comes at once.
    Burst,
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Shot {
    pub(super) told: Arc<Told>,
    pub(super) trouble: Trouble,
    /// None: it is true.
    pub(super) forgery: Option<Forgery>,
    /// How long ago it was signed.
    pub(super) age_secs: i64,
}

/// Rounds, one after the other; what is in one round comes at once.
pub(super) type Track = Vec<Vec<Shot>>;

/// Everything that is played.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Next to each other.
    pub(super) tracks: Vec<Track>,
    /// Afterwards, all at once.
    pub(super) burst: Vec<Track>,
    /// The ids of true events.
    pub(super) genuine: BTreeSet<String>,
    /// The ids of those that come only forged.
    pub(super) forged: BTreeSet<String>,
}

/// How much of what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mix {
    pub(super) seed: u64,
    /// True events, at least.
    pub(super) events: usize,
    pub(super) now: i64,
    /// How old a signature may be.
    pub(super) tolerance_secs: i64,
}

/// In turn, so that a short play has each of them too.
const TURNS: [Trouble; 8] = [
    Trouble::None,
    Trouble::Again,
    Trouble::Reordered,
    Trouble::AtOnce,
    Trouble::None,
    Trouble::Late,
    Trouble::Changed,
    Trouble::AtOnce,
];
const FORGERIES: [Forgery; 4] = [
    Forgery::Secret,
    Forgery::Body,
    Forgery::Unsigned,
    Forgery::TooOld,
];

pub(super) fn plan(tale: &Tale, signer: &Signer, mix: Mix) -> Plan {
    let dice = Dice::new(mix.seed);
    let mut plan = Plan::default();
    let burst_from = mix.events - (mix.events as f64 * BURST) as usize;
    for at in 0.. {
        if plan.genuine.len() >= mix.events {
            break;
        }
        if plan.genuine.len() >= burst_from {
            let story = tale.story(&dice, mix.now);
            let track = plan.story(story, Trouble::Burst);
            plan.burst.push(track);
            continue;
        }
        let trouble = TURNS[at % TURNS.len()];
        let track = plan.troubled(trouble, at, tale, signer, &dice, mix);
        plan.tracks.push(track);
        let forgery = FORGERIES[at % FORGERIES.len()];
        if signer.shows(forgery) {
            plan.forge(forgery, at, tale, &dice, mix);
        }
    }
    shuffle(&mut plan.tracks, &dice);
    plan
}

fn forged_shot(told: Arc<Told>, forgery: Forgery, mix: Mix) -> Shot {
    Shot {
        told,
        trouble: Trouble::None,
        forgery: Some(forgery),
        age_secs: match forgery {
            Forgery::TooOld => (mix.tolerance_secs * 4).max(3_600),
            _ => 0,
        },
    }
}

fn shuffle<T>(list: &mut [T], dice: &Dice) {
    for at in (1..list.len()).rev() {
        list.swap(at, dice.range(0, at as u64 + 1) as usize);
    }
}

impl Plan {
    /// One event after the other, once each.
    fn story(&mut self, story: Vec<Told>, trouble: Trouble) -> Track {
        let shots = story.into_iter().map(|told| {
            self.genuine.insert(told.id.clone());
            vec![Shot {
                told: Arc::new(told),
                trouble,
                forgery: None,
                age_secs: 0,
            }]
        });
        shots.collect()
    }

    /// A forged request comes alone, or bears the id of a true event that comes right after it: whoever remembers ids
    /// before signatures are verified loses that one.
    fn forge(&mut self, forgery: Forgery, at: usize, tale: &Tale, dice: &Dice, mix: Mix) {
        let borrows = (at / FORGERIES.len()) % 2 == 1;
        if borrows
            && let Some(track) = self.tracks.last_mut()
            && let Some(first) = track.first().and_then(|round| round.first()).cloned()
        {
            track.insert(0, vec![forged_shot(first.told, forgery, mix)]);
            return;
        }
        for told in tale.story(dice, mix.now).into_iter().take(1) {
            self.forged.insert(told.id.clone());
            let shot = forged_shot(Arc::new(told), forgery, mix);
            self.tracks.push(vec![vec![shot]]);
        }
    }

    fn troubled(
        &mut self,
        trouble: Trouble,
        at: usize,
        tale: &Tale,
        signer: &Signer,
        dice: &Dice,
        mix: Mix,
    ) -> Track {
        let second = (at / TURNS.len()) % 2 == 1;
        let mut story = match trouble {
            Trouble::Late if !(second && signer.signs_time) => {
                tale.story(dice, mix.now - LATE_SECS)
            }
            _ => tale.story(dice, mix.now),
        };
        if trouble == Trouble::Changed {
            story = story.iter().map(|told| tale.changed(told)).collect();
            let unheard = story
                .last()
                .map(|last| tale.unheard_of(last, dice, mix.now));
            story.extend(unheard);
        }
        let mut track = self.story(story, trouble);
        match trouble {
            Trouble::Again => {
                // At first each comes once; the second of it is what is troubled.
                let again = track.clone();
                for shot in track.iter_mut().flatten() {
                    shot.trouble = Trouble::None;
                }
                let last = again.last().cloned();
                track.extend(again);
                track.extend(last);
            }
            Trouble::AtOnce => {
                for round in &mut track {
                    let copies = dice.range(1, 4);
                    let shot = round.first().cloned();
                    round.extend((0..copies).filter_map(|_| shot.clone()));
                }
            }
            Trouble::Reordered => track.rotate_left(1 + usize::from(second)),
            Trouble::Late if second && signer.signs_time => {
                for shot in track.iter_mut().flatten() {
                    shot.age_secs = mix.tolerance_secs * 4 / 5;
                }
            }
            Trouble::None | Trouble::Late | Trouble::Changed | Trouble::Burst => {}
        }
        track
    }
}

#[cfg(test)]
mod tests {
    use mainstay_domain::intake::scheme::{Scheme, Secret};

    use super::*;

    fn planned(seed: u64, events: usize) -> Plan {
        let scheme = Scheme::Stripe;
        let tale = Tale::of(&scheme).expect("a tale");
        let secret = Secret::new("whsec_1".into());
        let signer = Signer::new(&scheme, secret, "http://x/", None, seed).expect("a signer");
        let mix = Mix {
            seed,
            events,
            now: 1_800_000_000,
            tolerance_secs: 300,
        };
        plan(&tale, &signer, mix)
    }

    fn shots(plan: &Plan) -> Vec<Shot> {
        let tracks = plan.tracks.iter().chain(&plan.burst);
        tracks.flatten().flatten().cloned().collect()
    }

    #[test]
    fn the_smallest_play_has_every_trouble_and_every_forgery() {
        let plan = planned(1, 40);
        let shots = shots(&plan);
        for trouble in TURNS.into_iter().chain([Trouble::Burst]) {
            assert!(
                shots.iter().any(|shot| shot.trouble == trouble),
                "{trouble:?}"
            );
        }
        for forgery in FORGERIES {
            assert!(
                shots.iter().any(|shot| shot.forgery == Some(forgery)),
                "{forgery:?}"
            );
        }
        assert!(plan.genuine.len() >= 40);
        assert!(plan.genuine.is_disjoint(&plan.forged));
    }

    #[test]
    fn a_seed_plays_the_same_and_every_true_event_comes() {
        let (first, second) = (planned(7, 300), planned(7, 300));
        let bodies = |plan: &Plan| {
            let shots = shots(plan).into_iter();
            shots.map(|shot| shot.told.body.clone()).collect::<Vec<_>>()
        };
        assert_eq!(bodies(&first), bodies(&second));
        assert_ne!(bodies(&first), bodies(&planned(8, 300)));
        let came: BTreeSet<String> = shots(&first)
            .iter()
            .filter(|shot| shot.forgery.is_none())
            .map(|shot| shot.told.id.clone())
            .collect();
        assert_eq!(came, first.genuine);
        // Some that are forged bear the id of a true one.
        let borrowed = shots(&first)
            .into_iter()
            .filter(|shot| shot.forgery.is_some() && first.genuine.contains(&shot.told.id));
        assert!(borrowed.count() > 0);
    }
}
