//! The audit log as a chain: whatever is done to it afterwards is found, at the place where it was done.

use mainstay_domain::{
    AuditId, TenantId, Timestamp,
    access::{
        AuditEntry, Head, Sealed, Unsealed,
        chain::{Broken, ERASE, Verifier, seal},
    },
};
use proptest::{prelude::*, sample::Index};
use uuid::Uuid;

fn entry(number: u128, actor: &str) -> Unsealed {
    Unsealed {
        entry: AuditEntry {
            id: AuditId::from_uuid(Uuid::from_u128(number + 1)),
            at: Timestamp::from_secs(number as i64),
            actor: actor.to_owned(),
            action: "source.update".to_owned(),
            subject: format!("src_{number}"),
            detail: number
                .is_multiple_of(2)
                .then(|| format!("{{\"n\":{number}}}")),
            tenant: number
                .is_multiple_of(3)
                .then(|| TenantId::from_uuid(Uuid::from_u128(number))),
        },
        salt: Some([number as u8; 16]),
    }
}

fn chain(actors: &[String]) -> (Vec<Sealed>, Head) {
    let numbered = actors.iter().enumerate();
    let all = numbered.map(|(number, actor)| entry(number as u128, actor));
    let sealed = seal(&Head::EMPTY, all.collect());
    let head = end_of(&sealed);
    (sealed, head)
}

fn end_of(sealed: &[Sealed]) -> Head {
    sealed.last().map_or(Head::EMPTY, |last| Head {
        position: last.position,
        hash: last.hash,
        sealed_at: Timestamp::EPOCH,
    })
}

fn verify(log: &[Sealed], head: &Head) -> Result<(), Broken> {
    let mut verifier = Verifier::behind(&Head::EMPTY);
    for one in log {
        verifier.entry(one)?;
    }
    verifier.end(Some(head))
}

/// Where a finding says that it is.
fn place(broken: &Broken) -> i64 {
    match broken {
        Broken::Place { expected, .. } => *expected,
        Broken::End { found, .. } => found + 1,
        Broken::Content { position, .. }
        | Broken::Link { position, .. }
        | Broken::Erased { position, .. }
        | Broken::Anchor { position } => *position,
    }
}

/// One thing that somebody can do to one entry.
fn change(one: &mut Sealed, what: usize) {
    let other = Uuid::from_u128(u128::MAX - 7);
    match what {
        0 => one.entry.id = AuditId::from_uuid(other),
        1 => one.entry.at = one.entry.at.plus_ms(1),
        2 => one.entry.actor.push('x'),
        3 => one.entry.action.push('x'),
        4 => one.entry.subject.push('x'),
        5 => one.entry.detail = Some(format!("{}x", one.entry.detail.clone().unwrap_or_default())),
        6 => one.entry.detail = one.entry.detail.take().is_none().then(String::new),
        7 => one.entry.tenant = Some(TenantId::from_uuid(other)),
        8 => one.entry.tenant = one.entry.tenant.take().is_none().then_some(TenantId::NIL),
        9 => one.salt = one.salt.map(|salt| salt.map(|byte| !byte)),
        10 => one.salt = None,
        11 => one.position += 1,
        12 => one.content[31] ^= 1,
        13 => one.hash[0] ^= 1,
        // What was erased by somebody who says so to nobody.
        14 => {
            one.salt = None;
            (one.entry.actor, one.entry.subject) = (String::new(), String::new());
            one.entry.detail = None;
        }
        // Words moved from one field to the next.
        _ => {
            let moved = one.entry.actor.pop().unwrap_or('a');
            one.entry.subject.insert(0, moved);
        }
    }
}
const CHANGES: usize = 16;

proptest! {
    #[test]
    fn a_log_that_nobody_touched_holds(actors in prop::collection::vec("[a-zé:]{0,8}", 0..12), cut: Index) {
        let (log, head) = chain(&actors);
        prop_assert_eq!(verify(&log, &head), Ok(()));
        // Sealed in two goes it is the same chain.
        let cut = cut.index(log.len() + 1);
        let all: Vec<Unsealed> = actors.iter().enumerate().map(|(n, actor)| entry(n as u128, actor)).collect();
        let first = seal(&Head::EMPTY, all[..cut].to_vec());
        let second = seal(&end_of(&first), all[cut..].to_vec());
        prop_assert_eq!([first, second].concat(), log);
    }

    #[test]
    fn whatever_is_done_to_one_entry_is_found_there(
        actors in prop::collection::vec("[a-z]{1,8}", 1..12), at: Index, what in 0..CHANGES,
    ) {
        let (mut log, head) = chain(&actors);
        let at = at.index(log.len());
        change(&mut log[at], what);
        let broken = verify(&log, &head).expect_err("it was changed");
        prop_assert_eq!(place(&broken), at as i64 + 1, "{}", broken);
    }

    #[test]
    fn an_entry_that_is_gone_doubled_moved_or_put_in_is_found(
        actors in prop::collection::vec("[a-z]{1,8}", 2..12), at: Index, other: Index, what in 0..4,
    ) {
        let (mut log, head) = chain(&actors);
        let (at, other) = (at.index(log.len()), other.index(log.len()));
        let first = match what {
            0 => {
                log.remove(at);
                at
            }
            1 => {
                log.insert(at, log[at].clone());
                at + 1
            }
            2 => {
                prop_assume!(at != other);
                log.swap(at, other);
                at.min(other)
            }
            _ => {
                // With a hash that fits, by somebody who knows how: what follows no longer does.
                let forged = seal(&end_of(&log[..at]), vec![entry(900, "eve")]);
                log.splice(at..at, forged);
                at + 1
            }
        };
        let broken = verify(&log, &head).expect_err("it was changed");
        prop_assert_eq!(place(&broken), first as i64 + 1, "{}", broken);
    }

    #[test]
    fn a_log_that_was_written_anew_is_found_by_an_end_that_was_noted_elsewhere(
        actors in prop::collection::vec("[a-z]{1,8}", 1..12), at: Index, noted: Index,
    ) {
        let (log, _) = chain(&actors);
        let at = at.index(log.len());
        let noted = at + noted.index(log.len() - at);
        let mut anew = actors.clone();
        anew[at].push('x');
        let (forged, head) = chain(&anew);
        prop_assert_eq!(verify(&forged, &head), Ok(()), "it is a fine chain of its own");
        let mut verifier = Verifier::behind(&Head::EMPTY).anchored(log[noted].position, log[noted].hash);
        let found = forged.iter().find_map(|one| verifier.entry(one).err());
        prop_assert_eq!(found, Some(Broken::Anchor { position: log[noted].position }));
    }
}

#[test]
fn words_that_were_erased_and_said_to_be_leave_the_chain_whole() {
    let erased = entry(1, "user:anna@example.com");
    let mut told = entry(2, "user:owner@example.com");
    told.entry.action = ERASE.to_owned();
    told.entry.subject = erased.entry.id.to_string();
    let mut log = seal(&Head::EMPTY, vec![erased, told]);
    let head = end_of(&log);
    change(&mut log[0], 14);
    assert_eq!(verify(&log, &head), Ok(()));
    // Nothing may be written in their place.
    log[0].entry.actor = "user:ben@example.com".to_owned();
    assert_eq!(place(&verify(&log, &head).expect_err("a lie")), 1);
}

#[test]
fn a_log_without_its_last_entries_is_found_by_its_head_alone() {
    let actors: Vec<String> = (0..5).map(|n| format!("user:{n}")).collect();
    let (log, head) = chain(&actors);
    for kept in 0..5 {
        let broken = verify(&log[..kept], &head).expect_err("the end is missing");
        assert_eq!(place(&broken), kept as i64 + 1);
    }
    let mut verifier = Verifier::behind(&Head::EMPTY).anchored(head.position, head.hash);
    for one in &log[..4] {
        verifier.entry(one).expect("as it was sealed");
    }
    assert!(matches!(
        verifier.end(None),
        Err(Broken::End {
            expected: 5,
            found: 4
        })
    ));
}
