//! Every statement, without running it: both databases prepare it, and the text itself shows whose rows it touches.

mod tenants;

use mainstay_domain::{
    AuditId, Category, EndpointId, EventId, JobId, LineId, LinkId, ReceiptId, ReplayId, SagaId,
    SagaRunId, ScheduleId, SourceId, TenantId, Timestamp,
    access::AuditFilter,
    intake::{
        EventFilter, EventStatus, Verdict,
        links::{LinkFilter, SourceLink, WaitingFilter},
        objects::Indexed,
        replay::{ReplayFilter, ReplayState},
    },
    jobs::{DeadLetterFilter, JobFilter, JobOrder, JobState, LineFilter, NewJob, OnDead},
    sagas::{RunState, SagaFilter, SagaRunFilter},
    schedules::ScheduleFilter,
};
use mainstay_testkit::{Cluster, TestDatabase};

use crate::{
    built::Built,
    sql::{Reach, Sql},
    sqlite::translate,
};

/// A statement with a name that says where to look.
pub(super) struct Statement {
    pub(super) name: String,
    pub(super) reach: Reach,
    pub(super) text: String,
}

/// The statements that are written once.
pub(super) fn common() -> Vec<Statement> {
    let areas = [
        ("access", crate::access::queries::ALL),
        ("billing", crate::billing::queries::ALL),
        ("intake", crate::intake::queries::ALL),
        ("links", crate::intake::links::queries::ALL),
        ("replays", crate::intake::replays::ALL),
        ("schemas", crate::intake::schemas::queries::ALL),
        ("conflicts", crate::intake::conflicts::queries::ALL),
        ("drift", crate::intake::drift::queries::ALL),
        ("objects", crate::intake::objects::queries::ALL),
        ("follow", crate::intake::follow::queries::ALL),
        ("rhythm", crate::intake::rhythm::queries::ALL),
        ("expected events", crate::intake::expect::queries::ALL),
        ("jobs", crate::jobs::queries::ALL),
        ("lines", crate::jobs::lines::ALL),
        ("leases", crate::lease::ALL),
        ("sagas", crate::sagas::queries::ALL),
        ("schedules", crate::schedules::queries::ALL),
        ("vault", crate::vault::queries::ALL),
        ("watch", crate::watch::queries::ALL),
    ];
    let named = areas.into_iter().flat_map(|(area, all)| {
        all.iter().map(move |sql: &&Sql| Statement {
            name: format!("{area} {}", sql.name),
            reach: sql.reach,
            text: sql.text.to_owned(),
        })
    });
    named.chain(lists()).collect()
}

/// Every combination of what a list can be narrowed by.
fn lists() -> Vec<Statement> {
    let mut all = Vec::new();
    let mut add = |name: &str, reach: Reach, built: Built| {
        all.push(Statement {
            name: format!("list of {name}"),
            reach,
            text: built.text,
        });
    };
    let tenant = TenantId::NIL;
    use crate::intake::look::{self, Order, Way};
    for filter in event_filters() {
        let rest = Way::Time.rest(&filter);
        let built = look::ids(tenant, rest.as_ref(), listed::Span::ALL, 10);
        add("events", Reach::Tenant, built);
    }
    // They are narrowed alike.
    for filter in event_filters().step_by(97) {
        add("those events", Reach::Tenant, look::those(tenant, &filter));
    }
    let ways = [
        Way::Object("cus_1".to_owned()),
        Way::Conflicts,
        Way::Letters,
        Way::Violations,
    ];
    for way in &ways {
        for order in [Order::Newest, Order::Oldest] {
            let built = look::led(tenant, way, listed::Span::ALL, order, 10);
            add("led events", Reach::Tenant, built);
        }
    }
    for filter in event_filters() {
        add(
            "events to replay",
            Reach::Tenant,
            crate::intake::events::page_after(tenant, &filter, EventId::NIL, 10),
        );
    }
    for bits in 0..16 {
        let some = |at, text: &str| bit(bits, at, text.to_owned());
        let filter = AuditFilter {
            actor: some(0, "user:anna"),
            action: some(1, if bits > 7 { "source." } else { "sql.read" }),
            subject: some(2, "src_1"),
            tenant: bit(bits, 3, tenant),
            from: bit(bits, 0, Timestamp::EPOCH),
            until: bit(bits, 1, Timestamp::MAX),
            before: bit(bits, 2, (Timestamp::MAX, AuditId::NIL)),
        };
        use crate::access::audit::page;
        let own = page(Some(tenant.into()), &filter, 10);
        add("audit", Reach::Tenant, own);
        add("audit", Reach::System, page(None, &filter, 10));
    }
    use crate::intake::replays;
    for bits in 0..4 {
        let filter = ReplayFilter {
            tenant: None,
            state: bit(bits, 0, ReplayState::Paused),
            before: bit(bits, 1, ReplayId::NIL),
        };
        let own = replays::page(Some(tenant), &filter, 10);
        add("replays", Reach::Tenant, own);
        add("replays", Reach::System, replays::page(None, &filter, 10));
    }
    for bits in 0..4 {
        let filter = ScheduleFilter {
            tenant: None,
            name: bit(bits, 0, "daily".to_owned()),
            before: bit(bits, 1, ScheduleId::NIL),
        };
        use crate::schedules::page;
        add("schedules", Reach::Tenant, page(Some(tenant), &filter, 10));
        add("schedules", Reach::System, page(None, &filter, 10));
    }
    for bits in 0..8 {
        use crate::sagas::{page, runs_page};
        let filter = SagaFilter {
            tenant: None,
            name: bit(bits, 0, "order".to_owned()),
            before: bit(bits, 1, SagaId::NIL),
        };
        add("sagas", Reach::Tenant, page(Some(tenant), &filter, 10));
        add("sagas", Reach::System, page(None, &filter, 10));
        let filter = SagaRunFilter {
            tenant: None,
            saga: bit(bits, 0, SagaId::NIL),
            state: bit(bits, 1, RunState::Failed),
            key: bit(bits, 2, "order-1".to_owned()),
            before: bit(bits, 1, SagaRunId::NIL),
        };
        add("runs", Reach::Tenant, runs_page(Some(tenant), &filter, 10));
        add("runs", Reach::System, runs_page(None, &filter, 10));
    }
    for (reach, tenant) in [(Reach::Tenant, Some(tenant)), (Reach::System, None)] {
        let jobs = [JobId::NIL, JobId::NIL];
        let built = crate::sagas::wake(tenant, &jobs, Timestamp::EPOCH);
        add("runs that wait", reach, built);
    }
    let events = [EventId::NIL, EventId::NIL];
    let built = crate::intake::events::named(tenant, &events);
    add("named events", Reach::Tenant, built);
    let built = crate::jobs::list::others(tenant, &events);
    add("other jobs of events", Reach::Tenant, built);
    let jobs = [JobId::NIL, JobId::NIL];
    add("done jobs", Reach::Tenant, replays::done(tenant, &jobs));
    add(
        "states of jobs",
        Reach::Tenant,
        replays::states(tenant, &jobs),
    );
    add(
        "tallies",
        Reach::Tenant,
        crate::intake::events::tally(tenant, &jobs),
    );
    add(
        "counts of events",
        Reach::System,
        crate::intake::rhythm::count(&[tenant, tenant], Timestamp::EPOCH, Timestamp::EPOCH, 10),
    );
    use crate::intake::{expire, receipts};
    add(
        "jobs of events",
        Reach::Tenant,
        expire::jobs_of(tenant, &jobs),
    );
    add(
        "ended jobs",
        Reach::Tenant,
        expire::jobs_ended(tenant, &jobs),
    );
    for built in expire::jobs_remove(tenant, &jobs) {
        add("removed jobs", Reach::Tenant, built);
    }
    let [again, violations, conflicts, event] = expire::events_remove(tenant, &events);
    add("removed duplicates' receipts", Reach::Platform, again);
    add("removed violations", Reach::Tenant, violations);
    add("removed conflicts", Reach::Tenant, conflicts);
    add("removed events", Reach::Tenant, event);
    use crate::intake::schemas;
    add(
        "violations",
        Reach::Tenant,
        schemas::violations_of(tenant, &events),
    );
    add(
        "conflicts",
        Reach::Tenant,
        crate::intake::conflicts::conflicts_count(tenant, &events),
    );
    add(
        "removed receipts",
        Reach::Platform,
        expire::receipts_remove(&[ReceiptId::NIL]),
    );
    let source = SourceId::NIL;
    use crate::intake::links;
    for filter in link_filters() {
        add("links", Reach::System, links::page(&filter, 10));
    }
    let link = SourceLink {
        id: LinkId::NIL,
        source,
        value: "acct_1".into(),
        tenant,
        created_at: Timestamp::EPOCH,
    };
    let some = [&link, &link];
    add("added links", Reach::System, links::insert(&some));
    add("known links", Reach::System, links::tenants_of(&some));
    let due = links::due_insert([link.id; 2]);
    add("due values of links", Reach::System, due);
    for filter in waiting_filters() {
        add(
            "waiting events",
            Reach::System,
            links::waiting::page(&filter, 10),
        );
    }
    add(
        "removed duplicates' receipts",
        Reach::Platform,
        links::waiting::again_remove(&events),
    );
    add(
        "waited for values",
        Reach::Platform,
        links::waiting::values_of(&events),
    );
    for verdict in [None].into_iter().chain(Verdict::ALL.map(Some)) {
        let before = Some(ReceiptId::NIL);
        add(
            "receipts",
            Reach::System,
            receipts::page_all(verdict, before, 10),
        );
        add(
            "receipts",
            Reach::System,
            receipts::page_source_all(source, verdict, before, 10),
        );
        add(
            "receipts",
            Reach::Tenant,
            receipts::page_source(tenant, source, verdict, before, 10),
        );
    }
    for source in [None, Some(source)] {
        let before = Some(ReceiptId::NIL);
        add(
            "requests",
            Reach::System,
            receipts::requests_all(
                tenant,
                source,
                before,
                Some(ReceiptId::NIL.uuid()),
                &events,
                10,
            ),
        );
        add(
            "requests",
            Reach::Tenant,
            receipts::requests_own(tenant, source, before, None, &[], 10),
        );
    }
    use crate::intake::{listed, objects as index};
    add("events there", Reach::Tenant, index::there(tenant, &events));
    add(
        "objects of events",
        Reach::Tenant,
        index::objects_of(tenant, &events),
    );
    let built = index::notes_insert(tenant, &events);
    add("late events", Reach::Tenant, built);
    let built = index::findings(Some(tenant), &events);
    add("findings of events", Reach::Tenant, built);
    let built = index::findings(None, &events);
    add("findings of events", Reach::System, built);
    let one = Indexed {
        tenant,
        id: EventId::NIL,
        source: SourceId::NIL,
        kind: "a.b".into(),
        objects: Vec::new(),
        before: None,
    };
    let built = crate::intake::follow::new_insert(tenant, 1, &[&one, &one]);
    add("new events", Reach::Tenant, built);
    let built = index::events_insert(&[(1, &one), (2, &one)]);
    add("indexed events", Reach::Platform, built);
    let mentions = [(1, EventId::NIL), (2, EventId::NIL)];
    let built = index::mentions_insert(&mentions);
    add("mentions", Reach::Platform, built);
    let built = index::mentions_remove(EventId::NIL, &[1, 2]);
    add("removed mentions", Reach::Platform, built);
    let built = index::hashes_known([1, 2].into_iter());
    add("known hashes", Reach::Platform, built);
    for bits in 0..4 {
        let (source, kind) = (bit(bits, 0, source), bit(bits, 1, "a.b"));
        let built = listed::kinds(tenant, source, kind, 10);
        add("types", Reach::Tenant, built);
    }
    let nil = EventId::NIL.uuid();
    let built = crate::intake::events::deliveries(1, [nil, nil].into_iter());
    add("deliveries", Reach::Platform, built);
    let span = listed::Span {
        from: nil,
        before: nil,
    };
    let built = listed::newest(&[1, 2], span, 10);
    add("newest of types", Reach::Platform, built);
    for filter in job_filters() {
        add(
            "jobs",
            Reach::Tenant,
            crate::jobs::list::page(
                tenant,
                &filter,
                filter.event.map(|_| &[JobId::NIL, JobId::NIL][..]),
                10,
            ),
        );
    }
    use crate::jobs::lines;
    for bits in 0..24 {
        let filter = LineFilter {
            tenant: None,
            queue: bit(bits, 0, 1),
            key: bit(bits, 1, "cus_1".to_owned()),
            before: bit(bits, 2, LineId::NIL),
            parked: [None, Some(true), Some(false)][bits as usize / 8],
        };
        let own = lines::page(Some(tenant), &filter, 10);
        add("lines", Reach::Tenant, own);
        add("lines", Reach::System, lines::page(None, &filter, 10));
    }
    let nothing = || crate::sql::Value::Null;
    let key = (tenant, 1, "cus_1");
    let job = line_job();
    let two = [&job, &job];
    let joining = [(&key, &two[..]), (&key, &two[..])];
    add(
        "joined lines",
        Reach::Tenant,
        lines::lines_insert(joining.into_iter()),
    );
    let rows = [
        std::array::from_fn(|_| nothing()),
        std::array::from_fn(|_| nothing()),
    ];
    add("ordered jobs", Reach::Tenant, lines::jobs_insert(&rows));
    let rows = [
        std::array::from_fn(|_| nothing()),
        std::array::from_fn(|_| nothing()),
    ];
    add("jobs in lines", Reach::Tenant, lines::waiting_insert(&rows));
    add(
        "known jobs",
        Reach::Tenant,
        lines::jobs_known(tenant, &jobs),
    );
    add(
        "headed lines",
        Reach::Tenant,
        lines::lines_headed(tenant, &jobs),
    );
    for filter in letter_filters() {
        use crate::jobs::letters::{groups, page};
        add(
            "dead letters",
            Reach::Tenant,
            page(Some(tenant), &filter, 10),
        );
        add("dead letters", Reach::System, page(None, &filter, 10));
        add(
            "dead letter groups",
            Reach::Tenant,
            groups(Some(tenant), &filter),
        );
        add("dead letter groups", Reach::System, groups(None, &filter));
    }
    all
}

fn line_job() -> NewJob {
    NewJob {
        id: JobId::NIL,
        tenant: TenantId::NIL,
        queue: 1,
        band: 0,
        kind: "noop".into(),
        event: None,
        binding: None,
        replay: None,
        endpoint: None,
        payload: None,
        run_at: None,
        deadline: None,
        retry: None,
        order: Some(JobOrder {
            key: "cus_1".into(),
            on_dead: OnDead::Park,
        }),
        created_at: Timestamp::EPOCH,
    }
}

/// `value` where the bit is set.
fn bit<T>(bits: u32, index: u32, value: T) -> Option<T> {
    (bits & (1 << index) != 0).then_some(value)
}

fn event_filters() -> impl Iterator<Item = EventFilter> {
    let kinds = [None, Some("a.b"), Some("a.*")];
    let statuses = [None, Some(EventStatus::Error), Some(EventStatus::Pending)];
    let fixed = kinds
        .into_iter()
        .flat_map(move |kind| statuses.map(|status| (kind, status)));
    fixed.flat_map(|(kind, status)| {
        (0..512).map(move |bits| EventFilter {
            tenant: None,
            source: bit(bits, 0, SourceId::NIL),
            kind: kind.map(ToOwned::to_owned),
            status,
            provider_id: bit(bits, 1, "evt_1".to_owned()),
            ids: bit(bits, 2, vec![EventId::NIL; 2]).unwrap_or_default(),
            from: bit(bits, 3, Timestamp::EPOCH),
            to: bit(bits, 4, Timestamp::EPOCH),
            before: bit(bits, 5, (Timestamp::EPOCH, EventId::NIL)),
            violates: bits & (1 << 6) != 0,
            object: bit(bits, 7, "cus_1".to_owned()),
            conflicts: bits & (1 << 8) != 0,
        })
    })
}

fn link_filters() -> impl Iterator<Item = LinkFilter> {
    (0..16).map(|bits| LinkFilter {
        source: SourceId::NIL,
        tenant: bit(bits, 0, TenantId::NIL),
        value: bit(bits, 1, "acct_1".to_owned()),
        prefix: bit(bits, 2, "acct_".to_owned()),
        before: bit(bits, 3, LinkId::NIL),
    })
}

fn waiting_filters() -> impl Iterator<Item = WaitingFilter> {
    (0..8).map(|bits| WaitingFilter {
        source: bit(bits, 0, SourceId::NIL),
        value: bit(bits, 1, "acct_1".to_owned()),
        before: bit(bits, 2, EventId::NIL),
    })
}

fn job_filters() -> impl Iterator<Item = JobFilter> {
    let states = [None, Some(JobState::Dead), Some(JobState::Waiting)];
    states.into_iter().flat_map(|state| {
        (0..16).map(move |bits| JobFilter {
            tenant: None,
            state,
            queue: bit(bits, 0, 1),
            kind: bit(bits, 1, "noop".to_owned()),
            event: bit(bits, 2, EventId::NIL),
            before: bit(bits, 3, JobId::NIL),
        })
    })
}

fn letter_filters() -> impl Iterator<Item = DeadLetterFilter> {
    (0..512).map(|bits| DeadLetterFilter {
        tenant: None,
        jobs: bit(bits, 0, vec![JobId::NIL; 2]).unwrap_or_default(),
        kind: bit(bits, 1, "noop".to_owned()),
        endpoint: bit(bits, 2, EndpointId::NIL),
        event: bit(bits, 3, EventId::NIL),
        category: bit(bits, 4, Category::Timeout),
        code: bit(bits, 5, "timeout".to_owned()),
        from: bit(bits, 6, Timestamp::EPOCH),
        to: bit(bits, 7, Timestamp::EPOCH),
        before: bit(bits, 8, (Timestamp::EPOCH, JobId::NIL)),
    })
}

#[test]
fn names_are_used_once() {
    let mut names: Vec<String> = common().into_iter().map(|one| one.name).collect();
    names.retain(|name| !name.starts_with("list of"));
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn sqlite_prepares_every_statement() {
    mainstay_testkit::run(async {
        let db = TestDatabase::sqlite().await;
        let file = db.sqlite_file().expect("it is SQLite");
        let connection = rusqlite::Connection::open(file).expect("it opens");
        let hot = crate::sqlite::hot_intake::TEXTS
            .iter()
            .chain(crate::sqlite::hot_jobs::TEXTS)
            .chain(crate::enqueue::TEXTS);
        let hot = hot.map(|text| ("hot path".to_owned(), (*text).to_owned()));
        let common = common()
            .into_iter()
            .map(|one| (one.name, translate(&one.text)));
        for (name, text) in common.chain(hot) {
            if let Err(error) = connection.prepare(&text) {
                panic!("{name}: {error}\n{text}");
            }
        }
        drop(connection);
        db.finish().await;
    });
}

/// SQLite is told nothing of how many rows a tenant has: it takes them for few, and goes through all of them where it can.
#[test]
fn sqlite_goes_to_the_rows_that_a_statement_names_and_through_no_tenant() {
    mainstay_testkit::run(async {
        let db = TestDatabase::sqlite().await;
        let file = db.sqlite_file().expect("it is SQLite");
        let connection = rusqlite::Connection::open(file).expect("it opens");
        let (tenant, events) = (TenantId::NIL, [EventId::NIL; 60]);
        let jobs = [JobId::NIL; 60];
        let all = JobFilter::default();
        let these = |one: EventFilter| EventFilter {
            ids: events.to_vec(),
            ..one
        };
        let mut named = vec![
            crate::intake::events::tally(tenant, &jobs),
            crate::intake::events::named(tenant, &events),
            crate::intake::expire::jobs_of(tenant, &jobs),
            crate::intake::replays::done(tenant, &jobs),
            crate::jobs::list::others(tenant, &events),
            crate::jobs::list::page(tenant, &all, Some(&jobs), 10),
        ];
        let filters = event_filters().filter(|one| one.provider_id.is_none());
        named.extend(filters.map(|one| crate::intake::look::those(tenant, &these(one))));
        for built in named {
            let text = format!("EXPLAIN QUERY PLAN {}", translate(&built.text));
            let mut statement = connection.prepare(&text).expect("it prepares");
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next().expect("a plan") {
                let step: String = row.get(3).expect("what it does");
                let through = step.starts_with("SCAN") || step.ends_with("(tenant_id=?)");
                assert!(!through, "{step}\n{text}");
            }
        }
        db.finish().await;
    });
}

#[test]
fn postgres_prepares_every_statement() {
    mainstay_testkit::run(async {
        let scratch = Cluster::of_this_run().migrated().await;
        let client = scratch.client().await;
        let hot = crate::postgres::hot_intake::TEXTS.iter().copied();
        let hot = hot.chain(crate::postgres::hot_jobs::texts());
        let hot = hot.chain(crate::postgres::append::TEXTS.iter().copied());
        let hot = hot.map(|text| ("hot path".to_owned(), text.to_owned()));
        let common = common().into_iter().map(|one| (one.name, one.text));
        for (name, text) in common.chain(hot) {
            if let Err(error) = client.prepare(&text).await {
                panic!("{name}: {error:?}\n{text}");
            }
        }
    });
}
