//! Backups of the real schema.

use std::sync::Arc;

use mainstay_domain::{StoreExt, TenantId, Timestamp, access::Tenant, store::Scope};
use mainstay_store::{
    PostgresUrl, SetupError,
    backup::{OnProgress, backup, restore},
    migrate::{Migrator, Mode, Place, schema_dump},
};
use mainstay_testkit::{Cluster, on_both};
use uuid::Uuid;

const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

fn quiet() -> OnProgress {
    Arc::new(|_| {})
}

fn tenant() -> Tenant {
    Tenant {
        id: TenantId::from_uuid(Uuid::from_u128(7)),
        name: "Acme".into(),
        slug: "acme".into(),
        created_at: NOW,
    }
}

on_both!(
    a_store_is_backed_up_while_it_runs_and_restored_as_it_was,
    |db| async {
        let store = db.store();
        store
            .transact(Scope::System("test"), |tx| {
                Box::pin(async move { tx.tenant_insert(&tenant()).await })
            })
            .await
            .expect("it commits");
        let file = db.folder().join("one.backup");
        let made = backup(db.place(), &file, NOW, quiet()).await;
        let made = made.expect("it is written");
        assert_eq!(made.counts["tenant"], 1);
        assert_eq!(made.schema_version, Migrator::embedded().version());
        store.close().await;
        let refused = restore(db.place(), &file, false, quiet()).await;
        assert!(
            matches!(refused, Err(SetupError::NotEmpty(_))),
            "{refused:?}"
        );
        let before = schema_dump(db.place()).await.expect("it can be read");
        let restored = restore(db.place(), &file, true, quiet()).await;
        assert_eq!(restored.expect("it is restored"), made);
        let after = schema_dump(db.place()).await.expect("it can be read");
        assert!(
            before == after,
            "the schema is another one now:\n{before}\n\n{after}"
        );
    }
);

#[test]
fn an_owner_who_is_no_superuser_migrates_backs_up_and_restores() {
    mainstay_testkit::run(async {
        let scratch = Cluster::of_this_run().scratch().await;
        let admin = scratch.client().await;
        let (name, database) = (
            format!("owner_it_{}", std::process::id()),
            scratch.url().database(),
        );
        let make = format!(
            "CREATE ROLE {name} LOGIN CREATEROLE; ALTER DATABASE {database} OWNER TO {name}"
        );
        admin.batch_execute(&make).await.expect("the owner is made");
        let own: PostgresUrl = scratch.url_as(&name).parse().expect("a good URL");
        let place = Place::Postgres(&own);
        let applied = Migrator::embedded().up(place, Mode::Apply, NOW).await;
        applied.expect("an owner can migrate");
        let fill = "INSERT INTO tenant (id, name, slug, created_at) VALUES (gen_random_uuid(), 'a', 'a', 1)";
        admin.batch_execute(fill).await.expect("a row");
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("one.backup");
        // Whom the team has allowed to submit jobs in SQL is allowed to afterwards; who is gone by then is left out.
        let (shop, gone) = (format!("shop_{name}"), format!("gone_{name}"));
        for user in [&shop, &gone] {
            let allow = format!(
                "CREATE ROLE {user} LOGIN; GRANT USAGE ON SCHEMA mainstay TO {user};
                GRANT EXECUTE ON FUNCTION mainstay.enqueue TO {user}"
            );
            admin.batch_execute(&allow).await.expect("it is allowed");
        }
        let made = backup(place, &file, NOW, quiet())
            .await
            .expect("it is written");
        assert_eq!(made.counts["tenant"], 1);
        let drop = format!("DROP OWNED BY {gone}; DROP ROLE {gone}");
        admin.batch_execute(&drop).await.expect("the user is gone");
        let before = schema_dump(place).await.expect("it can be read");
        let restored = restore(place, &file, true, quiet()).await;
        assert_eq!(restored.expect("it is restored"), made);
        let after = schema_dump(place).await.expect("it can be read");
        assert!(
            before == after,
            "the schema is another one now:\n{before}\n\n{after}"
        );
        let may = format!(
            "SELECT has_schema_privilege('{shop}', 'mainstay', 'USAGE'),
                bool_and(has_function_privilege('{shop}', oid, 'EXECUTE')),
                bool_or(has_function_privilege('public', oid, 'EXECUTE'))
            FROM pg_proc WHERE proname = 'enqueue'"
        );
        let may = admin.query_one(&may, &[]).await.expect("it answers");
        assert!(may.get::<_, bool>(0) && may.get::<_, bool>(1) && !may.get::<_, bool>(2));
        let drop = format!("DROP OWNED BY {shop}; DROP ROLE {shop}");
        admin.batch_execute(&drop).await.expect("the user is gone");
        let drop = format!(
            "ALTER DATABASE {database} OWNER TO postgres; REASSIGN OWNED BY {name} TO postgres;
             DROP OWNED BY {name}; DROP ROLE {name}"
        );
        admin
            .batch_execute(&drop)
            .await
            .expect("the owner is removed");
    });
}
