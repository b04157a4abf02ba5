//! The file layer of the power cuts, tested with SQLite itself: what was committed with `synchronous=FULL` stays, what
//! was committed with `synchronous=OFF` goes. A layer that missed the second would prove nothing by the first.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use mainstay_proof::{
    dice::Dice,
    lossy::{Cut, Keep, Lossy},
};
use rusqlite::Connection;

/// Set in the process that writes: the database and its `synchronous`.
const WRITER: &str = "LOSSY_TEST_WRITER";
const ROWS: i64 = 50;

fn rows(database: &Path) -> i64 {
    let connection = Connection::open(database).expect("the database opens");
    let count = connection.query_row("SELECT count(*) FROM kept", [], |row| row.get(0));
    let sound: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("the database can be checked");
    assert_eq!(sound, "ok");
    count.unwrap_or(0)
}

/// The writer's part: commits rows one by one, says so, and waits to be killed.
#[test]
#[ignore = "runs only as the child process of the tests below"]
fn writer() {
    let Ok(told) = std::env::var(WRITER) else {
        return;
    };
    let (synchronous, database) = told.split_once(' ').expect("two words");
    let connection = Connection::open(database).expect("the database opens");
    connection
        .execute_batch(&format!(
            "PRAGMA synchronous={synchronous}; PRAGMA wal_autocheckpoint=20;"
        ))
        .expect("the settings are taken");
    for number in 0..ROWS {
        connection
            .execute(
                "INSERT INTO kept (body) VALUES (?1)",
                [format!("row {number}")],
            )
            .expect("the row is committed");
    }
    let file = Path::new(database).with_file_name("committed");
    std::fs::write(file, "all").expect("the word is written");
    // Nobody writes to it: this waits to be killed.
    let _ = std::io::stdin().lines().next();
}

fn rows_after_power_cut(synchronous: &str, keep: &Keep<'_>) -> (i64, Cut) {
    let work = tempfile::tempdir().expect("a folder");
    let data = work.path().join("data");
    let database = data.join("kept.db");
    let lossy = Lossy::build(work.path(), &data, false).expect("the layer compiles");
    let connection = Connection::open(&database).expect("the database opens");
    connection
        .execute_batch(
            "PRAGMA journal_mode=WAL; CREATE TABLE kept (number INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;",
        )
        .expect("the table is made");
    drop(connection);

    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--ignored", "--exact", "writer", "--nocapture"])
        .env(WRITER, format!("{synchronous} {}", database.display()))
        .envs(lossy.environment())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the writer starts");
    wait_for(&data.join("committed"));
    child.kill().expect("the writer is killed");
    child.wait().expect("the writer is gone");
    let cut = lossy.cut(keep).expect("the power is cut");
    (rows(&database), cut)
}

/// The writer's word is a file.
fn wait_for(file: &Path) {
    let begin = std::time::Instant::now();
    while !file.exists() {
        assert!(
            begin.elapsed().as_secs() < 30,
            "the writer never came to its end"
        );
        std::thread::yield_now();
    }
}

#[test]
fn what_was_synced_survives_a_power_cut() {
    let (rows, _) = rows_after_power_cut("FULL", &Keep::Nothing);
    assert_eq!(rows, ROWS);
}

#[test]
fn what_was_not_synced_is_gone_after_a_power_cut() {
    let (rows, cut) = rows_after_power_cut("OFF", &Keep::Nothing);
    assert!(rows < ROWS, "{rows} rows");
    assert!(cut.unsynced > 0);
}

#[test]
fn synced_commits_survive_a_cut_that_tears_what_was_under_way() {
    for seed in 0..3 {
        let dice = Dice::new(seed);
        let (rows, _) = rows_after_power_cut("FULL", &Keep::Some(&dice, 0.5));
        assert_eq!(rows, ROWS);
    }
}
