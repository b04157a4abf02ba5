//! Every verb that can be called in a tenant's scope, called by the other tenant: it sees nothing and changes nothing.

use mainstay_domain::{
    ReplayId, Scope, SourceId, StoreError, StoreExt, StoreResult,
    access::{AuditFilter, Head},
    billing::BillingEvent,
    intake::{
        EventFilter, HandlerRef, SourceSecret,
        replay::{Replay, ReplayCounts, ReplayState, ReplayTarget},
    },
    jobs::{Cursor, DeadLetterFilter, DueKey, JobFilter, Lane, NewJob, Outcome},
};
use mainstay_testkit::on_both;

use crate::kit::{BEGIN, SYSTEM, World, attempt, letter, run};

/// Everything that a tenant's scope can see, as text.
async fn seen(world: &World, scope: Scope) -> String {
    run!(world.store, scope, [], |tx| async {
        let all = [
            format!("{:?}", tx.tenant_list().await?),
            format!("{:?}", tx.source_list().await?),
            format!("{:?}", tx.binding_list().await?),
            format!("{:?}", tx.endpoint_list().await?),
            format!("{:?}", tx.event_list(&EventFilter::default(), 100).await?),
            format!("{:?}", tx.job_list(&JobFilter::default(), 100).await?),
            format!(
                "{:?}",
                tx.dead_letter_list(&DeadLetterFilter::default(), 100)
                    .await?
            ),
            format!(
                "{:?}",
                tx.dead_letter_groups(&DeadLetterFilter::default()).await?
            ),
            format!("{:?}", tx.receipt_list(None, None, None, 100).await?),
            format!("{:?}", tx.audit_list(&AuditFilter::default(), 100).await?),
        ];
        Ok(all.concat())
    })
    .expect("it answers")
}

fn refused<T: std::fmt::Debug>(result: StoreResult<T>, verb: &str) {
    assert!(
        matches!(result, Err(StoreError::OutOfScope)),
        "{verb}: {result:?}"
    );
}

struct Neighbours {
    anna: World,
    ben: World,
    event: mainstay_domain::intake::NewEvent,
    dead: NewJob,
    endpoint: mainstay_domain::jobs::Endpoint,
    binding: mainstay_domain::intake::Binding,
    receipt: mainstay_domain::ReceiptId,
}

async fn neighbours(db: &mainstay_testkit::TestDatabase) -> Neighbours {
    let store = db.store();
    let anna = World::named(&store, "anna", 1).await;
    let ben = World::named(&store, "ben", 2).await;
    let arrival = anna.arrival_within("evt_1", 1);
    let (event, receipt) = (arrival.events[0].clone(), arrival.receipt.id);
    let endpoint = anna.endpoint("app");
    let binding = anna.binding("all", HandlerRef::Endpoint(endpoint.id));
    run!(store, SYSTEM, [endpoint, binding], |tx| async {
        tx.endpoint_insert(&endpoint).await?;
        tx.binding_insert(&binding).await
    })
    .expect("they are added");
    anna.append(vec![arrival]).await;
    let dead = event.jobs[0].clone();
    let letter = letter(&dead, 1, anna.at(20));
    anna.settle(vec![attempt(&dead, 1, Outcome::Dead)]).await;
    run!(store, SYSTEM, [letter], |tx| tx.dead_letter_insert(&letter)).expect("it is listed");
    Neighbours {
        anna,
        ben,
        event,
        dead,
        endpoint,
        binding,
        receipt,
    }
}

on_both!(a_neighbour_sees_nothing, |db| async {
    let all = neighbours(db).await;
    let (store, scope) = (&all.anna.store, all.ben.scope());
    let own = seen(&all.anna, all.anna.scope()).await;
    let theirs = seen(&all.anna, scope).await;
    for word in [
        "anna",
        &all.event.id.to_string(),
        &all.dead.id.to_string(),
        &all.receipt.to_string(),
    ] {
        assert!(own.contains(word) && !theirs.contains(word), "{word}");
    }
    let (event, job, source) = (all.event.id, all.dead.id, all.anna.source.id);
    let (endpoint, receipt) = (all.endpoint.id, all.receipt);
    let found = run!(store, scope, [], |tx| async {
        Ok((
            tx.event_get(event).await?,
            tx.event_payload(event).await?,
            tx.event_receipts(event, 10).await?,
            tx.event_replays(event).await?,
            tx.receipt_body(receipt).await?,
            tx.job_get(job).await?,
            tx.job_attempts(job).await?,
            tx.source_get(source).await?,
            tx.endpoint_get(endpoint).await?,
            tx.receipt_list(Some(source), None, None, 10).await?,
        ))
    });
    let found = found.expect("it answers");
    let nothing = (
        None,
        None,
        Vec::new(),
        Vec::new(),
        None,
        None,
        (Vec::new(), None),
        None,
        None,
        Vec::new(),
    );
    assert_eq!(found, nothing);
    let filter = EventFilter {
        tenant: Some(all.anna.tenant),
        ids: vec![event],
        provider_id: Some("evt_1".into()),
        ..EventFilter::default()
    };
    assert_eq!(
        run!(store, scope, [filter], |tx| tx.event_list(&filter, 10)).expect("it answers"),
        []
    );
    let jobs = vec![(all.anna.tenant, job)];
    refused(
        run!(store, scope, [jobs], |tx| tx.job_bodies(&jobs, true)),
        "job_bodies",
    );
    let disguised = vec![(all.ben.tenant, job)];
    let none = run!(store, scope, [disguised], |tx| tx
        .job_bodies(&disguised, true))
    .expect("it answers");
    assert_eq!(none, []);
});

on_both!(a_neighbour_changes_nothing, |db| async {
    let all = neighbours(db).await;
    let (store, scope) = (all.anna.store.clone(), all.ben.scope());
    let before = seen(&all.anna, all.anna.scope()).await;
    let (tenant, source, endpoint) = (
        all.anna.tenant,
        all.anna.source.clone(),
        all.endpoint.clone(),
    );
    let binding = all.binding.clone();
    let (source_id, endpoint_id, binding_id, secret_id) =
        (source.id, endpoint.id, binding.id, source.secrets[0].id);

    // What names the tenant is refused.
    refused(
        run!(store, scope, [source], |tx| tx.source_insert(&source)),
        "source_insert",
    );
    refused(
        run!(store, scope, [source], |tx| tx.source_update(&source)),
        "source_update",
    );
    refused(
        run!(store, scope, [], |tx| tx.source_delete(tenant, source_id)),
        "source_delete",
    );
    refused(
        run!(store, scope, [binding], |tx| tx.binding_insert(&binding)),
        "binding_insert",
    );
    refused(
        run!(store, scope, [binding], |tx| tx.binding_update(&binding)),
        "binding_update",
    );
    refused(
        run!(store, scope, [], |tx| tx.binding_delete(tenant, binding_id)),
        "binding_delete",
    );
    refused(
        run!(store, scope, [endpoint], |tx| tx.endpoint_insert(&endpoint)),
        "endpoint_insert",
    );
    refused(
        run!(store, scope, [endpoint], |tx| tx.endpoint_update(&endpoint)),
        "endpoint_update",
    );
    refused(
        run!(store, scope, [], |tx| tx
            .endpoint_delete(tenant, endpoint_id)),
        "endpoint_delete",
    );
    let jobs = vec![all.anna.job(9)];
    refused(
        run!(store, scope, [jobs], |tx| tx.job_insert(&jobs)),
        "job_insert",
    );
    let cancelled = attempt(&all.dead, 2, Outcome::Cancelled);
    refused(
        run!(store, scope, [cancelled], |tx| tx.job_cancel(&cancelled)),
        "job_cancel",
    );
    let ended = vec![attempt(&all.dead, 2, Outcome::Discarded)];
    refused(
        run!(store, scope, [ended], |tx| tx.dead_letter_end(&ended)),
        "dead_letter_end",
    );
    let replay = Replay {
        id: ReplayId::new(BEGIN, &*all.ben.random),
        tenant: Some(tenant),
        created_at: BEGIN,
        by: "user:ben".into(),
        own: true,
        target: ReplayTarget::Bindings,
        request: "{}".into(),
        state: ReplayState::Running,
        reason: None,
        ended_at: None,
        counts: ReplayCounts::default(),
        progress: "{}".into(),
        revision: 0,
    };
    let everybodys = Replay {
        tenant: None,
        ..replay.clone()
    };
    for replay in [replay, everybodys] {
        refused(
            run!(store, scope, [replay], |tx| tx.replay_insert(&replay, &[])),
            "replay_insert",
        );
    }
    let billed = BillingEvent {
        tenant,
        event: all.event.id,
        kind: "invoice.paid".into(),
        amount_minor: None,
        currency: None,
        occurred_at: BEGIN,
        created_at: BEGIN,
    };
    refused(
        run!(store, scope, [billed], |tx| tx
            .billing_event_insert(&billed)),
        "billing_event_insert",
    );

    // What pretends to be the neighbour's own finds nothing.
    let own = all.ben.tenant;
    let mut stolen = source.clone();
    (stolen.tenant, stolen.enabled) = (own, false);
    assert!(!run!(store, scope, [stolen], |tx| tx.source_update(&stolen)).expect("it answers"));
    assert!(!run!(store, scope, [], |tx| tx.source_delete(own, source_id)).expect("it answers"));
    assert!(!run!(store, scope, [], |tx| tx.binding_delete(own, binding_id)).expect("it answers"));
    assert!(
        !run!(store, scope, [], |tx| tx.endpoint_delete(own, endpoint_id)).expect("it answers")
    );
    assert!(
        !run!(store, scope, [], |tx| tx
            .source_secret_delete(source_id, secret_id))
        .expect("it answers")
    );
    let secret = SourceSecret {
        secret: "mine".into(),
        ..source.secrets[0].clone()
    };
    let added = run!(store, scope, [secret], |tx| tx
        .source_secret_insert(source_id, &secret));
    assert!(added.is_err(), "{added:?}");
    let mut bound = all.ben.binding("theirs", HandlerRef::Endpoint(endpoint_id));
    let added = run!(store, scope, [bound], |tx| tx.binding_insert(&bound));
    assert!(
        matches!(added, Err(StoreError::Reference { .. })),
        "{added:?}"
    );
    (bound.handler, bound.source) = (HandlerRef::Builtin("noop".into()), source_id);
    let added = run!(store, scope, [bound], |tx| tx.binding_insert(&bound));
    assert!(
        matches!(added, Err(StoreError::Reference { .. })),
        "{added:?}"
    );
    let mut cancelled = cancelled.clone();
    cancelled.tenant = own;
    assert!(!run!(store, scope, [cancelled], |tx| tx.job_cancel(&cancelled)).expect("it answers"));
    let ended = vec![cancelled];
    assert_eq!(
        run!(store, scope, [ended], |tx| tx.dead_letter_end(&ended)).expect("it answers"),
        0
    );

    assert_eq!(seen(&all.anna, all.anna.scope()).await, before);
});

on_both!(
    what_belongs_to_the_system_is_refused_to_a_tenant,
    |db| async {
        let world = World::new(db).await;
        let (store, scope) = (world.store.clone(), world.scope());
        let cursor = Cursor::default();
        let lane = Lane {
            queue: world.queue,
            band: 1,
            tenant: world.tenant,
        };
        let job = world.job(1);
        let until = world.at(9);
        let queue = world.queue;
        refused(
            run!(store, scope, [cursor], |tx| tx
                .job_discover(&cursor, false, 1)),
            "job_discover",
        );
        refused(
            run!(store, scope, [cursor], |tx| tx
                .lane_refill(lane, job.id, &cursor, 1, true)),
            "lane_refill",
        );
        refused(
            run!(store, scope, [cursor], |tx| tx.delayed_refill(
                queue,
                None,
                DueKey::MIN,
                until,
                &cursor,
                1
            )),
            "delayed_refill",
        );
        refused(
            run!(store, scope, [], |tx| tx.retry_refill(
                queue,
                None,
                DueKey::MIN,
                until,
                1
            )),
            "retry_refill",
        );
        refused(
            run!(store, scope, [], |tx| tx.attempt_unfinished(until, 1)),
            "attempt_unfinished",
        );
        refused(
            run!(store, scope, [], |tx| tx
                .attempt_unfinished_among(&[(job.tenant, job.id, 1)])),
            "attempt_unfinished_among",
        );
        let settled = vec![attempt(&job, 1, Outcome::Succeeded)];
        refused(
            run!(store, scope, [settled], |tx| tx
                .attempt_settle(&settled, None)),
            "attempt_settle",
        );
        refused(
            run!(store, scope, [], |tx| tx.attempt_start(&[])),
            "attempt_start",
        );
        let died = letter(&job, 1, until);
        refused(
            run!(store, scope, [died], |tx| tx.dead_letter_insert(&died)),
            "dead_letter_insert",
        );
        refused(
            run!(store, scope, [], |tx| tx.event_append(1, &[])),
            "event_append",
        );
        refused(
            run!(store, scope, [], |tx| tx.receipt_append(&[])),
            "receipt_append",
        );
        refused(run!(store, scope, [], |tx| tx.config_load()), "config_load");
        refused(
            run!(store, scope, [], |tx| tx.event_expire(until, 1)),
            "event_expire",
        );
        refused(
            run!(store, scope, [], |tx| tx.receipt_expire(until, 1)),
            "receipt_expire",
        );
        refused(
            run!(store, scope, [], |tx| tx.quarantine_source(SourceId::NIL)),
            "quarantine_source",
        );
        refused(
            run!(store, scope, [], |tx| tx.quarantine_list(SourceId::NIL, 1)),
            "quarantine_list",
        );
        refused(
            run!(store, scope, [], |tx| tx.quarantine_drop(&[])),
            "quarantine_drop",
        );
        refused(
            run!(store, scope, [], |tx| tx.access_expire(until, 1)),
            "access_expire",
        );
        refused(run!(store, scope, [], |tx| tx.audit_head()), "audit_head");
        refused(
            run!(store, scope, [], |tx| tx.audit_unsealed(1)),
            "audit_unsealed",
        );
        refused(
            run!(store, scope, [], |tx| async {
                tx.audit_seal(&Head::EMPTY, &[], until).await
            }),
            "audit_seal",
        );
        refused(
            run!(store, scope, [], |tx| tx.audit_chain(0, 1)),
            "audit_chain",
        );
        refused(
            run!(store, scope, [], |tx| tx.source_secret_touch(&[])),
            "source_secret_touch",
        );
        refused(
            run!(store, scope, [], |tx| tx.checkpoint_load()),
            "checkpoint_load",
        );
        refused(
            run!(store, scope, [], |tx| tx.tally_since(0)),
            "tally_since",
        );
        refused(
            run!(store, scope, [], |tx| tx.breaker_change_expire(until, 1)),
            "breaker_change_expire",
        );
        refused(run!(store, scope, [], |tx| tx.user_list()), "user_list");
        refused(run!(store, scope, [], |tx| tx.key_list()), "key_list");
        refused(
            run!(store, scope, [], |tx| tx.samples_add(&[])),
            "samples_add",
        );
        refused(
            run!(store, scope, [], |tx| tx.samples_list(until)),
            "samples_list",
        );
        refused(
            run!(store, scope, [], |tx| tx.durations_add(until, &[])),
            "durations_add",
        );
        refused(
            run!(store, scope, [], |tx| tx.durations_list(until)),
            "durations_list",
        );
        let tenant = world.tenant;
        refused(
            run!(store, scope, [], |tx| tx.tenant_delete(tenant)),
            "tenant_delete",
        );
    }
);
