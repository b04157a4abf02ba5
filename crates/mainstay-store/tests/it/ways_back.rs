//! The ways back of migrations, over rows that are there: what they keep, what they let go, and what they refuse.

use mainstay_domain::{
    LinkId, StoreExt, TenantId, Timestamp,
    intake::{HandlerRef, links::SourceLink, scheme},
    jobs::{Endpoint, secret::EndpointSecret},
};
use mainstay_store::{
    SetupError,
    migrate::{Migrator, Mode, Place},
};
use mainstay_testkit::{TestDatabase, on_both};

use crate::kit::{BEGIN, SYSTEM, World, run};

/// Long after every run of this test: the way back asks the machine's clock.
const FAR: Timestamp = Timestamp::from_secs(9_000_000_000);

/// The first column of every row, which is a text, as the owner sees it.
pub(crate) async fn texts(db: &TestDatabase, query: &str) -> Vec<String> {
    if let Place::Sqlite(directory) = db.place() {
        let connection = rusqlite::Connection::open(directory.database()).expect("opens");
        let mut query = connection.prepare(query).expect("it is SQL");
        let rows = query.query_map([], |row| row.get(0)).expect("it runs");
        return rows.collect::<Result<_, _>>().expect("it answers");
    }
    let client = db.scratch().expect("it is PostgreSQL").client().await;
    let rows = client.query(query, &[]).await.expect("it answers");
    rows.iter().map(|row| row.get(0)).collect()
}

pub(crate) async fn execute(db: &TestDatabase, statement: &str) {
    if let Place::Sqlite(directory) = db.place() {
        let connection = rusqlite::Connection::open(directory.database()).expect("opens");
        return connection.execute_batch(statement).expect("it runs");
    }
    let client = db.scratch().expect("it is PostgreSQL").client().await;
    client.batch_execute(statement).await.expect("it runs");
}

async fn down(db: &TestDatabase, version: u32) -> Result<(), SetupError> {
    let migrator = Migrator::embedded();
    let steps = migrator.down(db.place(), version, Mode::Apply).await;
    steps.map(drop)
}

async fn up(db: &TestDatabase) {
    let now = Timestamp::EPOCH;
    let steps = Migrator::embedded().up(db.place(), Mode::Apply, now).await;
    steps.expect("it goes up");
}

async fn version(db: &TestDatabase) -> u32 {
    let status = Migrator::embedded().status(db.place()).await;
    let applied = status.expect("it is known").applied;
    applied.last().map_or(0, |last| last.version)
}

on_both!(
    the_way_back_from_filters_and_headers_keeps_bindings_endpoints_and_secrets_in_force,
    |db| async {
        let world = World::new(db).await;
        let mut endpoint = world.endpoint("app");
        let signs_along = EndpointSecret {
            secret: "whsec_along".into(),
            until: Some(FAR),
        };
        // Between one without an end and one that has ended: "whsec_1" of the kit.
        endpoint.secrets.insert(1, signs_along);
        let plain = Endpoint {
            secrets: vec![EndpointSecret::new("whsec_only")],
            ..world.endpoint("plain")
        };
        let mut binding = world.binding("large", HandlerRef::Endpoint(endpoint.id));
        binding.filter = Some("amount > 100".into());
        run!(
            world.store,
            SYSTEM,
            [endpoint, plain, binding],
            |tx| async {
                tx.endpoint_insert(&endpoint).await?;
                tx.endpoint_insert(&plain).await?;
                tx.binding_insert(&binding).await
            }
        )
        .expect("they are added");
        db.store().close().await;
        let subject = match db.place() {
            Place::Sqlite(_) => "zeroblob(16)",
            Place::Postgres(_) => "'00000000-0000-0000-0000-000000000000'::uuid",
        };
        for series in [6, 7, 8] {
            execute(
                db,
                &format!("INSERT INTO sample (series, subject, minute, count) VALUES ({series}, {subject}, 1, 5)"),
            )
            .await;
        }

        down(db, 8).await.expect("it goes down");
        let secrets = "SELECT replace(secrets, ' ', '') FROM endpoint ORDER BY name";
        assert_eq!(
            texts(db, secrets).await,
            [r#"["whsec_2","whsec_along"]"#, r#"["whsec_only"]"#]
        );
        let bindings = "SELECT name || ' ' || type_pattern FROM binding";
        assert_eq!(texts(db, bindings).await, ["large *"]);
        let series = "SELECT CAST(series AS text) FROM sample ORDER BY series";
        assert_eq!(texts(db, series).await, ["6"]);

        // What it had beyond that is gone, and nothing else comes back.
        up(db).await;
        let headers = "SELECT headers FROM endpoint";
        assert_eq!(texts(db, headers).await, ["{}", "{}"]);
        let filters = "SELECT coalesce(filter, 'none') FROM binding";
        assert_eq!(texts(db, filters).await, ["none"]);
        assert_eq!(
            texts(db, secrets).await,
            [r#"["whsec_2","whsec_along"]"#, r#"["whsec_only"]"#]
        );
    }
);

on_both!(
    the_way_back_from_links_is_refused_while_events_wait_for_their_tenant,
    |db| async {
        let mut world = World::new(db).await;
        world.source.settings = r#"{"tenant":{"path":"/account"}}"#.into();
        let source = world.source.clone();
        run!(world.store, world.scope(), [source], |tx| tx
            .source_update(&source))
        .expect("it changes");
        let mut arrival = world.arrival("evt_1", 10);
        let event = &mut arrival.events[0];
        (event.tenant, event.jobs) = (TenantId::NIL, Vec::new());
        event.waits_for = vec!["acct_1".into()];
        world.append(vec![arrival]).await;
        db.store().close().await;

        let refused = down(db, 7).await;
        assert!(
            matches!(refused, Err(SetupError::Migration { version: 8, .. })),
            "{refused:?}"
        );
        assert_eq!(version(db).await, 8);
        let waiting = "SELECT provider_id FROM event_waiting";
        assert_eq!(texts(db, waiting).await, ["evt_1"]);
        let values = "SELECT value FROM event_waiting_value";
        assert_eq!(texts(db, values).await, ["acct_1"]);
        let settings = "SELECT settings FROM source";
        assert_eq!(texts(db, settings).await, [&*world.source.settings]);
    }
);

on_both!(
    the_way_back_from_links_lets_go_of_links_and_rules_and_of_nothing_else,
    |db| async {
        let mut world = World::new(db).await;
        world.source.settings = r#"{"retention":7,"tenant":{"path":"/account"}}"#.into();
        let source = world.source.clone();
        let link = SourceLink {
            id: LinkId::new(BEGIN, &*world.random),
            source: source.id,
            value: "acct_1".into(),
            tenant: world.tenant,
            created_at: BEGIN,
        };
        run!(world.store, SYSTEM, [source, link], |tx| async {
            tx.source_update(&source).await?;
            tx.link_insert(&[link]).await
        })
        .expect("it is linked");
        world.append(vec![world.arrival("evt_1", 10)]).await;
        db.store().close().await;

        down(db, 7).await.expect("it goes down");
        assert_eq!(version(db).await, 7);
        let settings = "SELECT replace(settings, ' ', '') FROM source";
        assert_eq!(texts(db, settings).await, [r#"{"retention":7}"#]);
        assert_eq!(texts(db, "SELECT provider_id FROM event").await, ["evt_1"]);
        up(db).await;
        let links = "SELECT value FROM source_link";
        assert_eq!(texts(db, links).await, [] as [&str; 0]);
    }
);

on_both!(
    the_way_back_from_requests_within_events_gives_them_rows_again,
    |db| async {
        let world = World::new(db).await;
        let (within, apart) = (
            world.arrival_within("evt_1", 10),
            world.arrival("evt_2", 20),
        );
        world.append(vec![within.clone(), apart.clone()]).await;
        db.store().close().await;

        let receipts =
            "SELECT remote || ' ' || CAST(events AS text) || ' ' || CAST(body_bytes AS text)
            FROM receipt ORDER BY id";
        assert_eq!(texts(db, receipts).await, ["192.0.2.1 1 14"]);
        down(db, 10).await.expect("it goes down");
        let both = ["192.0.2.1 1 5", "192.0.2.1 1 14"];
        assert_eq!(texts(db, receipts).await, both);
        up(db).await;
        assert_eq!(texts(db, receipts).await, both, "what is there stays");
        let found = texts(
            db,
            "SELECT e.provider_id FROM event AS e JOIN receipt AS r ON r.id = coalesce(e.receipt_id, e.id) ORDER BY e.id",
        );
        assert_eq!(found.await, ["evt_1", "evt_2"]);
    }
);

on_both!(
    the_way_back_from_lean_records_gives_them_to_the_tenants_of_their_events,
    |db| async {
        let world = World::new(db).await;
        let mut other = world.arrival("evt_1", 30);
        other.events[0].body_hash = *b"another!";
        let (mut keyed, two) = (world.arrival("evt_2", 20), ["evt_2", "signed"]);
        keyed.events[0].dedup_keys = two.map(scheme::dedup_key).to_vec();
        for arrival in [world.arrival("evt_1", 10), keyed, other] {
            world.append(vec![arrival]).await;
        }
        db.store().close().await;
        let records = match db.place() {
            Place::Sqlite(_) => {
                "SELECT lower(hex(key)) || ' ' || lower(hex(body_hash)) || ' ' || CAST(deliveries AS text) || ' ' ||
                    coalesce(nullif(lower(hex(main_key)), ''), 'main') FROM dedup ORDER BY key"
            }
            Place::Postgres(_) => {
                "SELECT encode(key, 'hex') || ' ' || encode(body_hash, 'hex') || ' ' || CAST(deliveries AS text) || ' ' ||
                    coalesce(encode(main_key, 'hex'), 'main') FROM dedup ORDER BY key"
            }
        };
        let hex = |name: &str| format!("{:032x}", u128::from_be_bytes(scheme::dedup_key(name)));
        let body = format!("{:016x}", u64::from_be_bytes(*b"the body"));
        let mut expected = vec![
            format!("{} {body} 2 main", hex("evt_1")),
            format!("{} {body} 1 main", hex("evt_2")),
            format!("{} {body} 1 {}", hex("signed"), hex("evt_2")),
        ];
        expected.sort();

        down(db, 13).await.expect("it goes down");
        assert_eq!(texts(db, records).await, expected);
        let whose = "SELECT CAST(count(*) AS text) FROM dedup AS d
            JOIN event AS e ON e.id = d.event_id AND e.tenant_id = d.tenant_id AND e.source_number = d.source_number";
        assert_eq!(texts(db, whose).await, ["3"]);

        up(db).await;
        let found = "SELECT e.provider_id || ' ' || CAST(d.deliveries AS text) FROM event AS e
            JOIN dedup AS d ON d.source_number = e.source_number AND d.key = e.dedup_key ORDER BY e.id";
        assert_eq!(texts(db, found).await, ["evt_1 2", "evt_2 1"]);
    }
);

on_both!(
    the_way_back_from_small_rows_says_again_what_they_left_out,
    |db| async {
        let world = World::new(db).await;
        crate::objects::indexed(&world, "evt_1", 10, "invoice.paid", &["cus_1"]).await;
        crate::objects::indexed(&world, "evt_2", 20, "charge.paid", &[]).await;
        world.append(vec![world.arrival("evt_3", 30)]).await;
        db.store().close().await;
        execute(db, "UPDATE object_source SET rules = 'known'").await;

        down(db, 22).await.expect("it goes down");
        let whole = "SELECT e.provider_id FROM event AS e
            JOIN source AS s ON s.id = e.source_id AND s.number = e.source_number
            JOIN dedup AS d ON d.source_number = e.source_number AND d.key = e.dedup_key
            WHERE (e.receipt_id = e.id) = (e.headers IS NOT NULL) ORDER BY e.id";
        assert_eq!(texts(db, whole).await, ["evt_1", "evt_2", "evt_3"]);
        let types = "SELECT x.kind FROM object_event AS x JOIN event AS e
            ON e.tenant_id = x.tenant_id AND e.source_id = x.source_id AND e.kind = x.kind AND e.id = x.event_id
            ORDER BY e.id";
        assert_eq!(texts(db, types).await, ["invoice.paid", "charge.paid"]);

        up(db).await;
        let types = "SELECT k.kind FROM object_event AS x JOIN object_kind AS k ON k.number = x.kind_number
            JOIN event AS e ON e.tenant_id = k.tenant_id AND e.source_number = k.source_number AND e.kind = k.kind
                AND e.id = x.event_id
            ORDER BY e.id";
        assert_eq!(texts(db, types).await, ["invoice.paid", "charge.paid"]);
        // A hash stands for each id, which SQL cannot make: whoever indexes looks for them once more.
        let mentions = "SELECT CAST(count(*) AS text) FROM object_mention";
        assert_eq!(texts(db, mentions).await, ["0"]);
        let known = "SELECT rules FROM object_source WHERE rules <> '' OR walk IS NOT NULL";
        assert_eq!(texts(db, known).await, [] as [&str; 0]);
        let known = "SELECT CAST(count(*) AS text) FROM source_known AS n
            JOIN source AS s ON s.id = n.source_id AND s.number = n.number";
        assert_eq!(texts(db, known).await, ["1"]);
    }
);

on_both!(
    the_way_back_from_former_numbers_keeps_of_each_object_the_last_time_that_it_came,
    |db| async {
        let world = World::new(db).await;
        let of = (world.tenant, world.source.id);
        for (object, ms) in [("cus_1", 1), ("cus_1", 30), ("cus_1", 20), ("cus_2", 5)] {
            let at = world.at(ms);
            let met = run!(world.store, SYSTEM, [], |tx| tx
                .expect_meet(of, "paid", object, at, at, at));
            met.expect("it is noted");
        }
        db.store().close().await;
        let marks = "SELECT CAST(marks AS text) FROM expectation_tally";
        assert_eq!(texts(db, marks).await, ["4"]);

        down(db, 35).await.expect("it goes down");
        assert_eq!(texts(db, marks).await, ["2"]);
        let kept =
            "SELECT object || ' ' || CAST(met_at AS text) FROM expectation_met ORDER BY object";
        let last = |ms| world.at(ms).micros();
        let wanted = [format!("cus_1 {}", last(30)), format!("cus_2 {}", last(5))];
        assert_eq!(texts(db, kept).await, wanted);

        up(db).await;
        assert_eq!(texts(db, kept).await, wanted);
    }
);
