//! Access, billing and watch: every verb there and back.

use mainstay_domain::{
    AuditId, EndpointId, KeyId, SessionId, StoreError, StoreExt, TenantId, UserId,
    access::{
        ApiKey, AuditEntry, AuditFilter, IdempotentWrite, RateClass, RateOverride, Role, Session,
        Tenant, User,
    },
    billing::BillingEvent,
    intake::{HandlerRef, SourceSecret},
    watch::{DurationCount, Histogram, Sample, Series},
};
use mainstay_testkit::on_both;
use uuid::Uuid;

use crate::kit::{BEGIN, SYSTEM, World, run};

on_both!(a_tenant_goes_only_when_nothing_hangs_on_it, |db| async {
    let world = World::new(db).await;
    let id = world.tenant;
    let refused = run!(world.store, SYSTEM, [], |tx| tx.tenant_delete(id));
    assert!(
        matches!(refused, Err(StoreError::Reference { what: "tenant" })),
        "{refused:?}"
    );
    let source = world.source.id;
    assert!(
        run!(world.store, world.scope(), [], |tx| tx
            .source_delete(id, source))
        .expect("it goes")
    );
    assert!(run!(world.store, SYSTEM, [], |tx| tx.tenant_delete(id)).expect("it goes"));
    assert!(!run!(world.store, SYSTEM, [], |tx| tx.tenant_delete(id)).expect("it answers"));
    let tenant = Tenant {
        id: TenantId::new(BEGIN, &*world.random),
        name: "B".into(),
        slug: "b".into(),
        created_at: BEGIN,
    };
    let taken = Tenant {
        id: TenantId::new(BEGIN, &*world.random),
        ..tenant.clone()
    };
    run!(world.store, SYSTEM, [tenant], |tx| tx
        .tenant_insert(&tenant))
    .expect("it is added");
    let conflict = run!(world.store, SYSTEM, [taken], |tx| tx.tenant_insert(&taken));
    assert!(
        matches!(conflict, Err(StoreError::Conflict { what: "tenant" })),
        "{conflict:?}"
    );
    assert_eq!(
        run!(world.store, SYSTEM, [], |tx| tx.tenant_list()).expect("it answers"),
        [tenant]
    );
});

on_both!(users_sign_in_by_session_or_once_by_link, |db| async {
    let world = World::new(db).await;
    let mut user = User {
        id: UserId::new(BEGIN, &*world.random),
        email: "anna@example.com".into(),
        role: Role::Viewer,
        password_hash: Some("$argon2".into()),
        created_at: BEGIN,
        last_seen_at: None,
    };
    run!(world.store, SYSTEM, [user], |tx| tx.user_insert(&user)).expect("she is added");
    let twice = User {
        id: UserId::new(BEGIN, &*world.random),
        ..user.clone()
    };
    let taken = run!(world.store, SYSTEM, [twice], |tx| tx.user_insert(&twice));
    assert!(
        matches!(taken, Err(StoreError::Conflict { what: "user" })),
        "{taken:?}"
    );
    user.role = Role::Owner;
    assert!(run!(world.store, SYSTEM, [user], |tx| tx.user_update(&user)).expect("it changes"));
    let (id, seen) = (user.id, world.at(9));
    run!(world.store, SYSTEM, [], |tx| tx.user_touch(id, seen)).expect("it is noted");
    user.last_seen_at = Some(seen);
    let found = run!(world.store, SYSTEM, [], |tx| tx
        .user_by_email("anna@example.com"))
    .expect("it answers");
    assert!(found == Some(user.clone()));

    let session = |link: bool, byte: u8| Session {
        id: SessionId::new(BEGIN, &*world.random),
        user: Some(user.id),
        digest: [byte; 32],
        link,
        created_at: BEGIN,
        expires_at: world.at(1_000),
    };
    let all = vec![session(false, 1), session(true, 2), session(true, 3)];
    run!(world.store, SYSTEM, [all], |tx| async {
        for one in &all {
            tx.session_insert(one).await?;
        }
        Ok(())
    })
    .expect("they are added");
    let get = async |byte: u8, ms: i64| {
        let now = world.at(ms);
        run!(world.store, SYSTEM, [], |tx| async {
            tx.session_get(&[byte; 32], now).await
        })
        .expect("it answers")
    };
    assert!(
        get(1, 999)
            .await
            .is_some_and(|(one, who)| one == all[0] && who == user)
    );
    assert!(get(1, 1_000).await.is_none(), "it has expired");
    assert!(get(2, 1).await.is_none(), "a link is not a session");
    let take = async |byte: u8, ms: i64| {
        let now = world.at(ms);
        run!(world.store, SYSTEM, [], |tx| async {
            tx.session_link_take(&[byte; 32], now).await
        })
        .expect("it answers")
    };
    assert_eq!(take(2, 1).await, Some(all[1].clone()));
    assert_eq!(take(2, 1).await, None);
    assert_eq!(take(3, 2_000).await, None);
    assert_eq!(take(1, 1).await, None);
    let until = world.at(2_000);
    assert_eq!(
        run!(world.store, SYSTEM, [], |tx| tx.access_expire(until, 10)).expect("it answers"),
        1
    );
    let again = session(false, 4);
    run!(world.store, SYSTEM, [again], |tx| tx.session_insert(&again)).expect("it is added");
    assert!(run!(world.store, SYSTEM, [], |tx| tx.user_delete(id)).expect("she goes"));
    assert!(
        !run!(world.store, SYSTEM, [], |tx| async {
            tx.session_delete(&[4; 32]).await
        })
        .expect("it answers")
    );
    assert!(
        run!(world.store, SYSTEM, [], |tx| tx.user_list())
            .expect("it answers")
            .is_empty()
    );
});

on_both!(
    keys_are_kept_by_digest_and_die_with_their_tenant,
    |db| async {
        let world = World::new(db).await;
        let mut key = ApiKey {
            limits: Vec::new(),
            id: KeyId::new(BEGIN, &*world.random),
            name: "deploy".into(),
            role: Role::Owner,
            tenant: Some(world.tenant),
            digest: [7; 32],
            created_at: BEGIN,
            expires_at: Some(world.at(500)),
            last_used_at: None,
        };
        run!(world.store, SYSTEM, [key], |tx| tx.key_insert(&key)).expect("it is added");
        let (id, used) = (key.id, world.at(60));
        run!(world.store, SYSTEM, [], |tx| tx.key_touch(id, used)).expect("it is noted");
        key.last_used_at = Some(used);
        assert_eq!(
            run!(world.store, SYSTEM, [], |tx| tx.key_get(id)).expect("it answers"),
            Some(key.clone())
        );
        assert_eq!(
            run!(world.store, SYSTEM, [], |tx| tx.key_list()).expect("it answers"),
            [key.clone()]
        );
        let says = RateOverride {
            class: RateClass::Writes,
            per_minute: 300,
            until: Some(world.at(900)),
            reason: "the yearly import".into(),
            by: "user:ada".into(),
            at: used,
        };
        // Whoever comes second, from the same words before, is told so.
        for first in [true, false] {
            let new = vec![says.clone()];
            let held = run!(world.store, SYSTEM, [new], |tx| tx.key_limit(id, &[], &new));
            assert_eq!(held.expect("it answers"), first);
        }
        let limited = run!(world.store, SYSTEM, [], |tx| tx.key_get(id)).expect("it answers");
        assert_eq!(limited.map(|key| key.limits), Some(vec![says]));
        let (tenant, source) = (world.tenant, world.source.id);
        run!(world.store, SYSTEM, [], |tx| async {
            tx.source_delete(tenant, source).await?;
            tx.tenant_delete(tenant).await
        })
        .expect("the tenant goes");
        assert!(!run!(world.store, SYSTEM, [], |tx| tx.key_delete(id)).expect("it answers"));
    }
);

on_both!(the_audit_log_is_paged_and_outlives_its_tenant, |db| async {
    let world = World::new(db).await;
    let entry = |ms: i64, tenant: Option<TenantId>| AuditEntry {
        id: AuditId::new(world.at(ms), &*world.random),
        at: world.at(ms / 2),
        actor: "user:anna".into(),
        action: "source.create".into(),
        subject: "stripe".into(),
        detail: (ms % 2 == 0).then(|| "{\"a\":1}".to_owned()),
        tenant,
    };
    let mut all: Vec<AuditEntry> = (0..9)
        .map(|ms| entry(ms, (ms % 3 == 0).then_some(world.tenant)))
        .collect();
    let entries = all.clone();
    run!(world.store, SYSTEM, [entries], |tx| async {
        for one in &entries {
            tx.audit_insert(one).await?;
        }
        Ok(())
    })
    .expect("they are written");
    let own = entry(10, Some(world.tenant));
    run!(world.store, world.scope(), [own], |tx| tx
        .audit_insert(&own))
    .expect("it is written");
    let foreign = entry(11, None);
    let refused = run!(world.store, world.scope(), [foreign], |tx| tx
        .audit_insert(&foreign));
    assert!(
        matches!(refused, Err(StoreError::OutOfScope)),
        "{refused:?}"
    );
    all.push(own);
    all.sort_by_key(|one| std::cmp::Reverse((one.at, one.id)));
    let mut paged: Vec<AuditEntry> = Vec::new();
    loop {
        let before = paged.last().map(|one| (one.at, one.id));
        let filter = AuditFilter {
            before,
            ..AuditFilter::default()
        };
        let some = run!(world.store, SYSTEM, [filter], |tx| tx
            .audit_list(&filter, 4))
        .expect("it answers");
        if some.is_empty() {
            break;
        }
        paged.extend(some.into_iter().map(|(entry, _)| entry));
    }
    assert_eq!(paged, all);
    let own = run!(world.store, world.scope(), [], |tx| tx
        .audit_list(&AuditFilter::default(), 100))
    .expect("it answers");
    assert_eq!(own.len(), 4);
    let (tenant, source) = (world.tenant, world.source.id);
    run!(world.store, SYSTEM, [], |tx| async {
        tx.source_delete(tenant, source).await?;
        tx.tenant_delete(tenant).await
    })
    .expect("the tenant goes");
    assert_eq!(
        run!(world.store, SYSTEM, [], |tx| tx
            .audit_list(&AuditFilter::default(), 100))
        .expect("it answers")
        .len(),
        10
    );
});

on_both!(an_idempotent_write_is_remembered_once, |db| async {
    let world = World::new(db).await;
    let write = IdempotentWrite {
        caller: "key_1".into(),
        key: "a".into(),
        request: [1; 16],
        answer: Some((202, "{}".into())),
        created_at: BEGIN,
    };
    run!(world.store, world.scope(), [write], |tx| tx
        .idempotency_insert(&write))
    .expect("it is kept");
    for scope in [world.scope(), SYSTEM] {
        let again = run!(world.store, scope, [write], |tx| tx
            .idempotency_insert(&write));
        assert!(
            matches!(
                again,
                Err(StoreError::Conflict {
                    what: "idempotency key"
                })
            ),
            "{again:?}"
        );
        let found = run!(world.store, scope, [], |tx| tx
            .idempotency_get("key_1", "a"))
        .expect("it answers");
        assert_eq!(found, Some(write.clone()));
    }
    assert_eq!(
        run!(world.store, SYSTEM, [], |tx| tx
            .idempotency_get("key_2", "a"))
        .expect("it answers"),
        None
    );
    let day = 24 * 60 * 60 * 1_000;
    for (ms, gone) in [(day, 0), (day + 1, 1)] {
        let until = world.at(ms);
        assert_eq!(
            run!(world.store, SYSTEM, [], |tx| tx.access_expire(until, 10)).expect("it answers"),
            gone
        );
    }
});

on_both!(
    a_billing_event_is_recorded_once_and_the_transaction_goes_on,
    |db| async {
        let world = World::new(db).await;
        let event = BillingEvent {
            tenant: world.tenant,
            event: world.event("evt_1", 1).id,
            kind: "invoice.paid".into(),
            amount_minor: Some(1_200),
            currency: Some("EUR".into()),
            occurred_at: BEGIN,
            created_at: BEGIN,
        };
        run!(world.store, SYSTEM, [event], |tx| tx
            .billing_event_insert(&event))
        .expect("it is recorded");
        let job = world.job(1);
        let after = run!(world.store, SYSTEM, [event, job], |tx| async {
            let again = tx.billing_event_insert(&event).await;
            assert!(
                matches!(
                    again,
                    Err(StoreError::Conflict {
                        what: "billing event"
                    })
                ),
                "{again:?}"
            );
            tx.job_insert(std::slice::from_ref(&job)).await
        });
        assert_eq!(after.expect("it goes on"), 1);
    }
);

on_both!(durations_add_up_over_the_hours_asked_for, |db| async {
    let store = db.store();
    let counted = |endpoint: u128, bucket, count| DurationCount {
        endpoint: EndpointId::from_uuid(Uuid::from_u128(endpoint)),
        bucket,
        count,
    };
    let hour = |hours: i64| BEGIN.plus_ms(hours * 3_600_000);
    for (at, counts) in [
        (hour(0), vec![counted(1, 3, 4)]),
        (hour(1), vec![counted(1, 3, 2), counted(2, 127, 9)]),
        (hour(1), vec![counted(1, 3, 1), counted(1, 0, 1)]),
    ] {
        run!(store, SYSTEM, [counts], |tx| tx.durations_add(at, &counts)).expect("they are added");
    }
    let mut wanted = Histogram::default();
    wanted.add(3, 3);
    wanted.add(0, 1);
    let from = hour(1);
    let listed = run!(store, SYSTEM, [], |tx| tx.durations_list(from)).expect("it answers");
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[&counted(1, 0, 0).endpoint], wanted);
    let gone = run!(store, SYSTEM, [], |tx| tx.durations_expire(from, 10));
    assert_eq!(gone.expect("it answers"), 1);
    let listed = run!(store, SYSTEM, [], |tx| tx.durations_list(BEGIN)).expect("it answers");
    assert_eq!(listed[&counted(1, 0, 0).endpoint], wanted);
});

on_both!(samples_add_up_by_minute, |db| async {
    let store = db.store();
    let sample = |series, subject: u128, minute: i64, count| Sample {
        series,
        subject: Uuid::from_u128(subject),
        minute: BEGIN.plus_ms(minute * 60_000),
        count,
    };
    let some = vec![
        sample(Series::Received, 1, 0, 5),
        sample(Series::DurationMs, 2, 1, 7),
    ];
    for _ in 0..2 {
        run!(store, SYSTEM, [some], |tx| tx.samples_add(&some)).expect("they are added");
    }
    let listed = run!(store, SYSTEM, [], |tx| tx.samples_list(BEGIN)).expect("it answers");
    assert_eq!(
        listed,
        [
            sample(Series::Received, 1, 0, 10),
            sample(Series::DurationMs, 2, 1, 14)
        ]
    );
    let until = BEGIN.plus_ms(60_000);
    assert_eq!(
        run!(store, SYSTEM, [], |tx| tx.samples_expire(until, 10)).expect("it answers"),
        1
    );
    assert_eq!(
        run!(store, SYSTEM, [], |tx| tx.samples_list(BEGIN))
            .expect("it answers")
            .len(),
        1
    );
    run!(store, SYSTEM, [], |tx| tx.ping()).expect("it answers");
});

on_both!(
    sources_endpoints_and_bindings_come_back_as_they_were,
    |db| async {
        let world = World::new(db).await;
        let mut source = world.source.clone();
        let id = source.id;
        let get =
            async || run!(world.store, SYSTEM, [], |tx| tx.source_get(id)).expect("it answers");
        assert_eq!(get().await, Some(source.clone()));
        let newer = SourceSecret {
            id: mainstay_domain::SecretId::new(world.at(5), &*world.random),
            secret: "whsec_new".into(),
            created_at: world.at(5),
            last_used_at: None,
        };
        run!(world.store, world.scope(), [newer], |tx| tx
            .source_secret_insert(id, &newer))
        .expect("it is added");
        let used = vec![(source.secrets[0].id, world.at(60))];
        run!(world.store, SYSTEM, [used], |tx| tx
            .source_secret_touch(&used))
        .expect("it is noted");
        source.secrets[0].last_used_at = Some(world.at(60));
        source.secrets.insert(0, newer.clone());
        (source.name, source.settings, source.enabled) =
            ("renamed".into(), "{\"tolerance_secs\":60}".into(), false);
        source.updated_at = world.at(9);
        assert!(
            run!(world.store, world.scope(), [source], |tx| tx
                .source_update(&source))
            .expect("it changes")
        );
        assert_eq!(get().await, Some(source.clone()));
        let secret = newer.id;
        assert!(
            run!(world.store, world.scope(), [], |tx| tx
                .source_secret_delete(id, secret))
            .expect("it goes")
        );
        source.secrets.remove(0);
        assert_eq!(
            run!(world.store, world.scope(), [], |tx| tx.source_list()).expect("it answers"),
            [source.clone()]
        );

        let mut endpoint = world.endpoint("app");
        run!(world.store, world.scope(), [endpoint], |tx| tx
            .endpoint_insert(&endpoint))
        .expect("it is added");
        let twin = world.endpoint("app");
        let taken = run!(world.store, world.scope(), [twin], |tx| tx
            .endpoint_insert(&twin));
        assert!(
            matches!(taken, Err(StoreError::Conflict { what: "endpoint" })),
            "{taken:?}"
        );
        (endpoint.url, endpoint.enabled) = ("https://example.com/other".into(), false);
        assert!(
            run!(world.store, world.scope(), [endpoint], |tx| tx
                .endpoint_update(&endpoint))
            .expect("it changes")
        );
        let endpoint_id = endpoint.id;
        let found =
            run!(world.store, SYSTEM, [], |tx| tx.endpoint_get(endpoint_id)).expect("it answers");
        assert_eq!(found, Some(endpoint.clone()));

        let mut binding = world.binding("to the app", HandlerRef::Endpoint(endpoint.id));
        run!(world.store, world.scope(), [binding], |tx| tx
            .binding_insert(&binding))
        .expect("it is added");
        let tenant = world.tenant;
        for refused in [
            run!(world.store, world.scope(), [], |tx| tx
                .endpoint_delete(tenant, endpoint_id)),
            run!(world.store, world.scope(), [], |tx| tx
                .source_delete(tenant, id)),
        ] {
            assert!(
                matches!(
                    refused,
                    Err(StoreError::Reference {
                        what: "endpoint" | "source"
                    })
                ),
                "{refused:?}"
            );
        }
        binding.handler = HandlerRef::Builtin("billing.record".into());
        binding.type_pattern = "invoice.*".into();
        assert!(
            run!(world.store, world.scope(), [binding], |tx| tx
                .binding_update(&binding))
            .expect("it changes")
        );
        assert_eq!(
            run!(world.store, world.scope(), [], |tx| tx.binding_list()).expect("it answers"),
            [binding]
        );
        assert!(
            run!(world.store, world.scope(), [], |tx| tx
                .endpoint_delete(tenant, endpoint_id))
            .expect("it goes")
        );
        // Its number is never given again: deduplication records carry it.
        let other = World::named(&db.store(), "other", 5).await;
        assert!(other.source.number > world.source.number);
    }
);
