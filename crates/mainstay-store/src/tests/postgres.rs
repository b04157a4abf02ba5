//! What only PostgreSQL promises.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use mainstay_domain::StoreError;
use tokio::sync::Barrier;

use super::*;
use crate::tx::Dialect;

async fn ground() -> Ground {
    Ground::postgres().await
}

async fn text_of(db: &Ground, scope: Scope, expression: &'static str) -> String {
    db.write(scope, move |tx| {
        Box::pin(async move {
            let text = format!("SELECT ({expression})::text");
            tx.conn().query_built(&text, &[]).await?[0].get(0)
        })
    })
    .await
    .expect("it answers")
}

#[test]
fn a_tenant_sees_its_own_rows_and_writes_no_others() {
    mainstay_testkit::run(async {
        let db = ground().await;
        for number in [1, 2] {
            let own = Scope::Tenant(tenant(number));
            db.write(own, move |tx| {
                let text = format!("of {number}");
                Box::pin(async move { note_insert(tx, tenant(number), 1, &text).await })
            })
            .await
            .expect("its own row");
        }
        let seen = db
            .read(Scope::Tenant(tenant(1)), |tx| Box::pin(note_texts(tx)))
            .await;
        assert_eq!(seen.expect("it reads"), ["of 1"]);
        let foreign = db
            .write(Scope::Tenant(tenant(1)), |tx| {
                Box::pin(note_insert(tx, tenant(2), 9, "foreign"))
            })
            .await;
        assert!(
            matches!(foreign, Err(StoreError::OutOfScope)),
            "{foreign:?}"
        );
        assert_eq!(db.texts().await, ["of 1", "of 2"]);
    });
}

#[test]
fn the_roles_own_nothing_and_cannot_bypass_row_level_security() {
    mainstay_testkit::run(async {
        let db = ground().await;
        let scoped = Scope::Tenant(tenant(1));
        assert_eq!(text_of(&db, scoped, "current_user").await, "mainstay_app");
        assert_eq!(
            text_of(&db, SYSTEM, "current_user").await,
            "mainstay_system"
        );
        for scope in [scoped, SYSTEM] {
            let power = "SELECT bool_or(rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)
                FROM pg_roles WHERE rolname = current_user";
            assert_eq!(text_of(&db, scope, power).await, "false");
            let owned = "SELECT count(*) FROM pg_class WHERE relowner = current_user::regrole";
            assert_eq!(text_of(&db, scope, owned).await, "0");
        }
    });
}

#[test]
fn every_session_has_the_limits_and_says_whose_it_is() {
    mainstay_testkit::run(async {
        let db = ground().await;
        for (setting, value) in [
            ("current_setting('statement_timeout')", "30s"),
            ("current_setting('lock_timeout')", "5s"),
            (
                "current_setting('idle_in_transaction_session_timeout')",
                "1min",
            ),
            ("current_setting('application_name')", "mainstay"),
            ("current_setting('synchronous_commit')", "on"),
        ] {
            assert_eq!(text_of(&db, SYSTEM, setting).await, value);
        }
    });
}

#[test]
fn two_transactions_in_each_others_way_both_end_well() {
    mainstay_testkit::run(async {
        let db = ground().await;
        for id in [1, 2] {
            db.write(SYSTEM, move |tx| {
                Box::pin(note_insert(tx, tenant(1), id, "row"))
            })
            .await
            .expect("commits");
        }
        let (both, runs) = (Arc::new(Barrier::new(2)), Arc::new(AtomicU32::new(0)));
        let lock = |first: i64, second: i64| {
            let (both, runs) = (Arc::clone(&both), Arc::clone(&runs));
            db.write(SYSTEM, move |tx| {
                let (both, runs) = (Arc::clone(&both), Arc::clone(&runs));
                Box::pin(async move {
                    touch(tx, first).await?;
                    if runs.fetch_add(1, Ordering::SeqCst) < 2 {
                        // Now each holds what the other wants.
                        both.wait().await;
                    }
                    touch(tx, second).await
                })
            })
        };
        let (one, other) = tokio::join!(lock(1, 2), lock(2, 1));
        one.expect("ends well");
        other.expect("ends well");
        assert_eq!(runs.load(Ordering::SeqCst), 3);
    });
}

async fn touch(tx: &mut SqlTx<'_>, id: i64) -> StoreResult<()> {
    static TOUCH: crate::sql::Sql = crate::sql::Sql {
        name: "TOUCH",
        reach: crate::sql::Reach::Tenant,
        text: "UPDATE note SET text = text || '.' WHERE tenant_id = $1 AND id = $2",
    };
    let params: [Value; 2] = [tenant(1).uuid().into(), id.into()];
    tx.conn().execute(&TOUCH, &params).await.map(|_| ())
}

#[test]
fn going_on_after_a_failed_statement_is_refused_and_never_half_done() {
    mainstay_testkit::run(async {
        let db = ground().await;
        let swallowed = db
            .write(SYSTEM, |tx| {
                Box::pin(async move {
                    note_insert(tx, tenant(1), 1, "first").await?;
                    let _ = note_insert(tx, tenant(1), 1, "again").await;
                    Ok(())
                })
            })
            .await;
        assert!(matches!(swallowed, Err(StoreError::Bug(_))));
        // The same when nobody has told the connection.
        let unseen = db
            .write(SYSTEM, |tx| {
                Box::pin(async move {
                    note_insert(tx, tenant(1), 1, "first").await?;
                    if let Dialect::Postgres(conn) = &tx.conn {
                        let _ = conn.client().batch_execute("SELECT 1 / 0").await;
                    }
                    Ok(())
                })
            })
            .await;
        assert!(unseen.is_err());
        assert!(db.texts().await.is_empty());
    });
}

#[test]
fn connections_that_died_are_replaced() {
    mainstay_testkit::run(async {
        let db = ground().await;
        assert!(db.texts().await.is_empty());
        let Ground::Postgres(_, scratch) = &db else {
            unreachable!("it is PostgreSQL");
        };
        let kill = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let killed = scratch.client().await.query(kill, &[]).await;
        killed.expect("they can be ended");
        assert!(db.texts().await.is_empty());
    });
}

#[test]
fn a_server_that_can_lose_commits_is_refused() {
    mainstay_testkit::run(async {
        let folder = tempfile::tempdir().expect("a directory");
        let cluster = OwnCluster::start(folder.path(), "-c fsync=off");
        let refused = connect(&cluster.url).await.err().expect("it is refused");
        assert!(refused.contains("fsync is off"), "{refused}");
    });
}

#[test]
fn connections_are_encrypted_and_the_host_is_verified_when_asked() {
    mainstay_testkit::run(async {
        let folder = tempfile::tempdir().expect("a directory");
        let (certificate, key) = certificate_make(folder.path());
        let settings = format!(
            "-c ssl=on -c ssl_cert_file={} -c ssl_key_file={}",
            certificate.display(),
            key.display()
        );
        let cluster = OwnCluster::start(folder.path(), &settings);
        let plain = cluster.url.replace("?sslmode=disable", "");
        let root = certificate.display();
        for (query, good) in [
            ("sslmode=require".to_owned(), true),
            ("sslmode=prefer".to_owned(), true),
            (format!("sslmode=verify-full&sslrootcert={root}"), true),
            // The platform does not know the issuer.
            ("sslmode=verify-full".to_owned(), false),
        ] {
            let outcome = encrypted(&format!("{plain}?{query}")).await;
            match outcome {
                Ok(encrypted) => assert!(good && encrypted, "{query}"),
                Err(error) => assert!(!good, "{query}: {error}"),
            }
        }
        assert!(!encrypted(&cluster.url).await.expect("in the clear"));
        // The certificate is for 127.0.0.1 only.
        let other = plain.replace("127.0.0.1", "localhost");
        let other = encrypted(&format!("{other}?sslmode=verify-full&sslrootcert={root}")).await;
        assert!(other.is_err());
    });
}

async fn encrypted(url: &str) -> Result<bool, String> {
    let url: PostgresUrl = url.parse().expect("a good URL");
    let client = crate::postgres::connect_plain(&url).await;
    let client = client.map_err(|error| error.to_string())?;
    let ssl = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let ssl = client.query_one(ssl, &[]).await;
    Ok(ssl.expect("the server knows").get(0))
}

async fn connect(url: &str) -> Result<PostgresStore, String> {
    let url: PostgresUrl = url.parse().expect("a good URL");
    let store = PostgresStore::connect_at(PostgresOptions::new(url), Migrator::new(TINY)).await;
    store.map_err(|error| error.to_string())
}

/// A certificate for 127.0.0.1 that signs itself, and its key, readable by the server.
fn certificate_make(folder: &Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (folder.join("server.crt"), folder.join("server.key"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ])
        .args(["-nodes", "-days", "2", "-subj", "/CN=mainstay test"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{made:?}");
    // The script runs the server as postgres when the tests run as root.
    let server = Command::new("chown").arg("postgres:").arg(&key).status();
    let _ = server.expect("chown is installed");
    (certificate, key)
}

/// A cluster with settings of its own.
struct OwnCluster {
    url: String,
    folder: PathBuf,
}

impl OwnCluster {
    fn start(folder: &Path, settings: &str) -> Self {
        let folder = folder.join("cluster");
        // A temporary directory is its maker's only, and the server may be another user's.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        let parent = folder.parent().expect("it has one");
        std::fs::set_permissions(parent, open).expect("it is ours");
        let output = Command::new(script())
            .arg("start")
            .arg(&folder)
            .env("POSTGRES_SETTINGS", settings)
            .output()
            .expect("the script runs");
        assert!(output.status.success(), "{output:?}");
        let url = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Self { url, folder }
    }
}

impl Drop for OwnCluster {
    fn drop(&mut self) {
        let stopped = Command::new(script())
            .arg("stop")
            .arg(&self.folder)
            .status();
        assert!(stopped.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/postgres")
}
