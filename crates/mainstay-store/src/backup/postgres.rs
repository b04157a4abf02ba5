//! Backups of PostgreSQL through its own programs.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use mainstay_domain::StoreResult;
use tokio::{process::Command, time::interval};
use tokio_postgres::Client;

use super::{Counts, OnProgress, Progress};
use crate::{
    migrate::{DEFINERS, SCHEMA_MAKE, roles_ensure},
    postgres::{PostgresUrl, SCHEMA, SCHEMA_BEFORE, connect_plain, map_error, schema_of},
    setup::{SetupError, SetupResult},
};

/// Before a backup of a version that kept everything in `public` is put there: nothing of anybody else's may be in it,
/// for it becomes our schema as a whole.
const PUBLIC_IS_EMPTY: &str = "
    DO $do$
    BEGIN
        IF EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace = 'public'::regnamespace) THEN
            RAISE EXCEPTION 'the backup is of a version that had a database of its own, and the schema public of this one '
                'holds something else: restore it into an empty database';
        END IF;
    END
    $do$";
/// How often progress is reported.
const REPORT: Duration = Duration::from_millis(250);
/// Where Debian keeps the programs of each version.
const PROGRAMS: &str = "/usr/lib/postgresql";
/// The most of a program's complaint that is passed on.
const COMPLAINT_MAX: usize = 2_000;

/// Dumps the database as it is now; answers the rows that the dumped snapshot has.
///
/// An owner is held to row-level security like everybody else, and the dump would fail: unless this user stands above
/// it, the dump is made as the system's role, which sees every row.
pub(super) async fn dump(
    url: &PostgresUrl,
    target: &Path,
    progress: &OnProgress,
) -> SetupResult<Counts> {
    let client = connect_plain(url).await?;
    let pg_dump = program(&client, "pg_dump").await?;
    let above =
        "SELECT rolsuper OR rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = current_user";
    let above: bool = client.query_one(above, &[]).await.map_err(failed)?.get(0);
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL idle_in_transaction_session_timeout = 0;
        SET LOCAL statement_timeout = 0";
    batch(&client, begin).await?;
    if !above {
        batch(&client, "SET LOCAL ROLE mainstay_system").await?;
    }
    let snapshot = client.query_one("SELECT pg_export_snapshot()", &[]).await;
    let snapshot: String = snapshot.map_err(failed)?.get(0);
    let schema = schema_of(&client).await?.unwrap_or(SCHEMA);
    let counts = counts(&client, schema).await?;
    let mut command = Command::new(pg_dump);
    command
        .args(["--format=custom", "--no-password"])
        .arg(format!("--schema={schema}"))
        .arg(format!("--snapshot={snapshot}"))
        .arg("--file")
        .arg(target);
    if !above {
        command.args(["--role=mainstay_system", "--enable-row-security"]);
    }
    run("pg_dump", command, Some(url), Some((target, progress))).await?;
    batch(&client, "ROLLBACK").await?;
    Ok(counts)
}

/// Whether the file is an archive whose contents can be listed.
pub(super) async fn check(path: &Path) -> SetupResult<()> {
    listed(path).await.map(|_| ())
}

/// What is in an archive.
async fn listed(path: &Path) -> SetupResult<String> {
    let pg_restore = newest("pg_restore").await?;
    let mut command = Command::new(pg_restore);
    command.arg("--list").arg(path);
    let listed = run("pg_restore", command, None, None).await;
    listed.map_err(|error| SetupError::Backup {
        path: path.to_owned(),
        problem: error.to_string(),
    })
}

/// Replaces what the database holds with the backup; answers the rows that it has now.
pub(super) async fn put(
    url: &PostgresUrl,
    source: &Path,
    progress: &OnProgress,
) -> SetupResult<Counts> {
    let client = connect_plain(url).await?;
    let pg_restore = program(&client, "pg_restore").await?;
    roles_ensure(&client).await?;
    let contents = listed(source).await?;
    let schema = schema_in(&contents);
    let allowed = allowed(&client).await?;
    // One message, so one transaction: on failure the old contents stay.
    let empty = format!(
        "SET client_min_messages = warning; SET lock_timeout = '1min';
        {SCHEMA_MAKE};
        DROP SCHEMA {SCHEMA} CASCADE;
        {}",
        match schema {
            SCHEMA_BEFORE => PUBLIC_IS_EMPTY,
            _ =>
                "CREATE SCHEMA mainstay; GRANT USAGE ON SCHEMA mainstay TO mainstay_app, mainstay_system",
        }
    );
    batch(&client, &empty).await?;
    let mut command = Command::new(pg_restore);
    command
        .args([
            "--exit-on-error",
            "--single-transaction",
            "--no-owner",
            "--no-password",
        ])
        // The schema itself is there already.
        .arg(format!("--schema={schema}"))
        .arg("--dbname")
        .arg(url.database());
    let list = ListFile::write(&contents)?;
    command.arg("--use-list").arg(&list.0).arg(source);
    progress(Progress {
        done: 0,
        total: None,
    });
    run("pg_restore", command, Some(url), None).await?;
    batch(&client, SCHEMA_MAKE).await?;
    batch(&client, DEFINERS).await?;
    batch(&client, &allow(&allowed)).await?;
    // As the role that sees every row, whoever owns the tables.
    batch(&client, "SET ROLE mainstay_system").await?;
    Ok(counts(&client, SCHEMA).await?)
}

/// The schema that an archive with these contents was made of.
fn schema_in(contents: &str) -> &'static str {
    let before = format!(" TABLE {SCHEMA_BEFORE} schema_migration ");
    match contents.contains(&before) {
        true => SCHEMA_BEFORE,
        false => SCHEMA,
    }
}

/// What an archive holds but for who may call our function: those are users of the cluster that it was made on, and this one
/// may not have them.
struct ListFile(PathBuf);

impl ListFile {
    fn write(contents: &str) -> SetupResult<Self> {
        let kept = contents
            .lines()
            .filter(|line| !line.contains(" ACL mainstay FUNCTION enqueue("));
        let name = format!("mainstay-restore-{}.list", uuid::Uuid::now_v7());
        let path = std::env::temp_dir().join(name);
        let written = File::create_new(&path)
            .and_then(|mut file| file.write_all(kept.collect::<Vec<_>>().join("\n").as_bytes()));
        let file = Self(path);
        written.map_err(|error| SetupError::Backup {
            path: file.0.clone(),
            problem: error.to_string(),
        })?;
        Ok(file)
    }
}

impl Drop for ListFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(%error, "the list of a backup's contents could not be removed");
        }
    }
}

/// Whom the team has allowed to submit jobs in SQL: the users who reach the schema, and those who may call the function.
async fn allowed(client: &Client) -> StoreResult<[Vec<String>; 2]> {
    let reach = "SELECT DISTINCT quote_ident(r.rolname) FROM pg_catalog.pg_namespace AS n
        CROSS JOIN LATERAL aclexplode(n.nspacl) AS a JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee
        WHERE n.nspname = 'mainstay' AND a.privilege_type = 'USAGE'";
    let call = "SELECT DISTINCT quote_ident(r.rolname) FROM pg_catalog.pg_proc AS p
        CROSS JOIN LATERAL aclexplode(p.proacl) AS a JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee
        WHERE p.proname = 'enqueue' AND p.pronamespace = to_regnamespace('mainstay')";
    let mut found = [Vec::new(), Vec::new()];
    for (users, text) in found.iter_mut().zip([reach, call]) {
        let rows = client.query(text, &[]).await.map_err(failed)?;
        users.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    }
    Ok(found)
}

/// Allows the same to them again. Nobody may call a function that has just been made, unless by name.
fn allow([reach, call]: &[Vec<String>; 2]) -> String {
    let reach = reach
        .iter()
        .map(|user| format!("GRANT USAGE ON SCHEMA mainstay TO {user};"));
    let call = call
        .iter()
        .map(|user| format!("GRANT EXECUTE ON FUNCTION mainstay.enqueue TO {user};"));
    format!(
        "DO $do$ BEGIN
            {}
            IF EXISTS (SELECT FROM pg_catalog.pg_proc
                WHERE proname = 'enqueue' AND pronamespace = 'mainstay'::regnamespace) THEN
                REVOKE ALL ON FUNCTION mainstay.enqueue FROM PUBLIC;
                {}
            END IF;
        END $do$",
        reach.collect::<String>(),
        call.collect::<String>(),
    )
}

/// The rows of the database as far as this user can see any.
pub(super) async fn counts_at(url: &PostgresUrl) -> SetupResult<Counts> {
    let client = connect_plain(url).await?;
    let Some(schema) = schema_of(&client).await? else {
        return Ok(Counts::new());
    };
    batch(&client, "SET ROLE mainstay_system").await?;
    Ok(counts(&client, schema).await?)
}

async fn counts(client: &Client, schema: &str) -> StoreResult<Counts> {
    let tables = "SELECT quote_ident(relname), relname::text FROM pg_catalog.pg_class
        WHERE relnamespace = to_regnamespace($1) AND relkind IN ('r', 'p') AND NOT relispartition";
    let mut counts = Counts::new();
    for table in client.query(tables, &[&schema]).await.map_err(failed)? {
        let count = format!("SELECT count(*) FROM {schema}.{}", table.get::<_, &str>(0));
        let rows = client.query_one(&count, &[]).await.map_err(failed)?;
        counts.insert(table.get(1), rows.get(0));
    }
    Ok(counts)
}

/// The oldest of the installed programs that is not older than the server.
async fn program(client: &Client, name: &'static str) -> SetupResult<PathBuf> {
    let version = "SELECT current_setting('server_version_num')::int / 10000";
    let server: i32 = client.query_one(version, &[]).await.map_err(failed)?.get(0);
    let server = u32::try_from(server).unwrap_or(0);
    let mut found = candidates(name).await;
    found.retain(|(version, _)| *version >= server);
    found.sort();
    match found.into_iter().next() {
        Some((_, path)) => Ok(path),
        None => Err(SetupError::Tool {
            program: name,
            problem: format!(
                "none of version {server} or newer is installed (postgresql-client-{server})"
            ),
        }),
    }
}

/// The newest of the installed programs: it reads what any older one wrote.
async fn newest(name: &'static str) -> SetupResult<PathBuf> {
    let found = candidates(name).await.into_iter().max();
    found.map(|(_, path)| path).ok_or(SetupError::Tool {
        program: name,
        problem: "it is not installed (postgresql-client)".into(),
    })
}

/// What can be found, with its major version.
async fn candidates(name: &str) -> Vec<(u32, PathBuf)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = std::fs::read_dir(PROGRAMS) {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    let mut found = Vec::new();
    for program in folders.into_iter().map(|folder| folder.join(name)) {
        if let Some(version) = version(&program).await {
            found.push((version, program));
        }
    }
    found
}

async fn version(program: &Path) -> Option<u32> {
    if !program.is_file() {
        return None;
    }
    let said = Command::new(program).arg("--version").output().await.ok()?;
    // "pg_dump (PostgreSQL) 15.3 (Debian …)"
    let text = String::from_utf8(said.stdout).ok()?;
    let number = text.split(") ").nth(1)?;
    number.split(['.', ' ', '\n']).next()?.parse().ok()
}

/// Runs a program; answers what it said.
async fn run(
    name: &'static str,
    mut command: Command,
    url: Option<&PostgresUrl>,
    watched: Option<(&Path, &OnProgress)>,
) -> SetupResult<String> {
    for variable in ["PGSERVICE", "PGOPTIONS", "PGHOSTADDR"] {
        command.env_remove(variable);
    }
    if let Some(url) = url {
        command.envs(url.environment());
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let problem = |problem: String| SetupError::Tool {
        program: name,
        problem,
    };
    let child = command
        .spawn()
        .map_err(|error| problem(error.to_string()))?;
    let mut done = std::pin::pin!(child.wait_with_output());
    let mut tick = interval(REPORT);
    let output = loop {
        tokio::select! {
            output = &mut done => break output.map_err(|error| problem(error.to_string()))?,
            _ = tick.tick() => report(watched),
        }
    };
    report(watched);
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let mut complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    complaint.truncate(complaint.floor_char_boundary(COMPLAINT_MAX));
    Err(problem(complaint))
}

fn report(watched: Option<(&Path, &OnProgress)>) {
    if let Some((path, progress)) = watched {
        let done = std::fs::metadata(path).map_or(0, |data| data.len());
        progress(Progress { done, total: None });
    }
}

async fn batch(client: &Client, text: &str) -> StoreResult<()> {
    client.batch_execute(text).await.map_err(failed)
}

fn failed(error: tokio_postgres::Error) -> mainstay_domain::StoreError {
    map_error(&error).error
}
