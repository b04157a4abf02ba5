//! Running migrations on PostgreSQL.

use mainstay_domain::{StoreResult, Timestamp};
use tokio_postgres::Client;

use super::{Applied, Direction, Migration, Mode, Run, Script, Step, step};
use crate::{
    postgres::{PostgresUrl, connect_plain, map_error, schema_of},
    setup::{SetupError, SetupResult},
};

/// The advisory lock that keeps two runners apart: "mainstay" in ASCII.
const LOCK: i64 = 0x6d61_696e_7374_6179;

/// A migration may take long and wait for locks, but not for ever. The wait for the other runner falls under it too.
/// What a migration changes was not changed by hand.
const SESSION: &str = "
    SET mainstay.writer = 'server';
    SET statement_timeout = '1h';
    SET lock_timeout = '1min';
    SET idle_in_transaction_session_timeout = '1min';
    SET client_min_messages = warning";

/// Backups read as the system's role when the owner is held to row-level security.
pub(super) const READABLE: &str = "
    GRANT SELECT ON ALL TABLES IN SCHEMA mainstay TO mainstay_system;
    GRANT SELECT ON ALL SEQUENCES IN SCHEMA mainstay TO mainstay_system";

/// What runs with more than its caller may do runs as the system's role, whoever made it: an owner is held to row-level
/// security and has no policy.
pub(crate) const DEFINERS: &str = "
    DO $do$
    DECLARE
        definer regprocedure;
    BEGIN
        FOR definer IN
            SELECT p.oid::regprocedure FROM pg_catalog.pg_proc AS p
            WHERE p.pronamespace = 'mainstay'::regnamespace AND p.prosecdef AND p.proowner <> 'mainstay_system'::regrole
        LOOP
            GRANT CREATE ON SCHEMA mainstay TO mainstay_system;
            EXECUTE 'ALTER FUNCTION ' || definer || ' OWNER TO mainstay_system';
            REVOKE CREATE ON SCHEMA mainstay FROM mainstay_system;
        END LOOP;
    END
    $do$";

/// The schema is made, or taken over from a version that had a database of its own and kept everything in `public`.
pub(crate) const SCHEMA_MAKE: &str = "
    DO $do$
    BEGIN
        IF to_regnamespace('mainstay') IS NOT NULL THEN
            RETURN;
        END IF;
        -- A table of that name may be somebody else's.
        IF EXISTS (SELECT FROM pg_catalog.pg_attribute
            WHERE attrelid = to_regclass('public.schema_migration') AND attname = 'checksum') THEN
            ALTER SCHEMA public RENAME TO mainstay;
            REVOKE ALL ON SCHEMA mainstay FROM PUBLIC;
            CREATE SCHEMA public;
            GRANT USAGE ON SCHEMA public TO PUBLIC;
        ELSE
            CREATE SCHEMA mainstay;
        END IF;
        GRANT USAGE ON SCHEMA mainstay TO mainstay_app, mainstay_system;
    END
    $do$";

const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS schema_migration (
        version bigint PRIMARY KEY,
        name text NOT NULL,
        checksum text NOT NULL,
        applied_at bigint NOT NULL
    );
    GRANT SELECT ON schema_migration TO mainstay_app, mainstay_system";

/// What the database has.
pub(super) async fn applied(url: &PostgresUrl) -> SetupResult<Vec<Applied>> {
    applied_on(&connect_plain(url).await?).await
}

pub(super) async fn applied_on(client: &Client) -> SetupResult<Vec<Applied>> {
    Ok(read(client).await?)
}

async fn read(client: &Client) -> StoreResult<Vec<Applied>> {
    let Some(schema) = schema_of(client).await? else {
        return Ok(Vec::new());
    };
    let all = format!(
        "SELECT version, name, checksum, applied_at FROM {schema}.schema_migration ORDER BY version"
    );
    let rows = client.query(&all, &[]).await;
    let applied = rows.map_err(failed)?.into_iter().map(|row| Applied {
        version: u32::try_from(row.get::<_, i64>(0)).unwrap_or(u32::MAX),
        name: row.get(1),
        checksum: row.get(2),
        applied_at: Timestamp::from_micros(row.get(3)),
    });
    Ok(applied.collect())
}

/// Runs migrations one by one until the goal is reached, or all of them in one transaction that is rolled back.
pub(super) async fn run(url: &PostgresUrl, run: Run) -> SetupResult<Vec<Step>> {
    let client = connect_plain(url).await?;
    batch(&client, SESSION).await?;
    batch(&client, &format!("SELECT pg_advisory_lock({LOCK})")).await?;
    prepare(&client, run.mode).await?;
    // The lock goes with the session.
    steps(&client, run).await
}

async fn steps(client: &Client, run: Run) -> SetupResult<Vec<Step>> {
    let mut steps = Vec::new();
    loop {
        if run.mode == Mode::Apply || steps.is_empty() {
            batch(client, "BEGIN").await?;
        }
        match next(client, run).await {
            Ok(Some(migration)) => steps.push(step(migration)),
            other => {
                batch(client, "ROLLBACK").await?;
                return other.map(|_| steps);
            }
        }
        if run.mode == Mode::Apply {
            batch(client, "COMMIT").await?;
        }
    }
}

async fn next(client: &Client, run: Run) -> SetupResult<Option<&'static Migration>> {
    if run.mode == Mode::DryRun {
        roles_make(client).await?;
        batch(client, SCHEMA_MAKE).await?;
    }
    batch(client, TABLE).await?;
    let Some(migration) = run.next(&read(client).await?, script)? else {
        return Ok(None);
    };
    let done = one(client, run, migration).await;
    done.map_err(|source| SetupError::Migration {
        version: migration.version,
        name: migration.name.to_owned(),
        source,
    })?;
    Ok(Some(migration))
}

fn script(migration: &Migration) -> Script {
    migration.postgres
}

async fn one(client: &Client, run: Run, migration: &Migration) -> StoreResult<()> {
    let script = migration.postgres;
    let version = i64::from(migration.version);
    let marked = match run.direction {
        Direction::Up => {
            batch(client, script.up).await?;
            batch(client, READABLE).await?;
            batch(client, DEFINERS).await?;
            let mark = "INSERT INTO schema_migration (version, name, checksum, applied_at) VALUES ($1, $2, $3, $4)";
            let (checksum, at) = (script.checksum(), run.now.micros());
            client
                .execute(mark, &[&version, &migration.name, &checksum, &at])
                .await
        }
        Direction::Down => {
            batch(client, script.down).await?;
            let unmark = "DELETE FROM schema_migration WHERE version = $1";
            client.execute(unmark, &[&version]).await
        }
    };
    marked.map(|_| ()).map_err(failed)
}

/// The roles outlive every migration: they belong to the server and not to one database. So does the schema, which may hold
/// what a team granted. A dry run makes both inside its transaction instead.
async fn prepare(client: &Client, mode: Mode) -> SetupResult<()> {
    if mode == Mode::Apply {
        roles_make(client).await?;
        batch(client, SCHEMA_MAKE).await?;
    }
    Ok(())
}

/// Makes the two roles and lets this user become them. Another database's runner may be doing the same right now,
/// and the advisory lock is only this database's: an answer that they exist is as good as having made them.
pub(crate) async fn roles_make(client: &Client) -> SetupResult<()> {
    for role in ["mainstay_app", "mainstay_system"] {
        let make = format!(
            "DO $do$
            BEGIN
                IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '{role}') THEN
                    BEGIN
                        CREATE ROLE {role} NOLOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
                    EXCEPTION WHEN duplicate_object OR unique_violation THEN
                        NULL;
                    END;
                END IF;
                IF NOT pg_catalog.pg_has_role('{role}', 'MEMBER') THEN
                    GRANT {role} TO CURRENT_USER;
                END IF;
            END
            $do$"
        );
        let made = client.batch_execute(&make).await;
        made.map_err(|error| SetupError::Roles(map_error(&error).error.to_string()))?;
    }
    Ok(())
}

async fn batch(client: &Client, text: &str) -> StoreResult<()> {
    client.batch_execute(text).await.map_err(failed)
}

fn failed(error: tokio_postgres::Error) -> mainstay_domain::StoreError {
    map_error(&error).error
}
