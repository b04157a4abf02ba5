//! The side that is moved to: one transaction of the tables' owner.
//!
//! An owner is held to row-level security like everybody else, and `COPY` and row-level security exclude each other. So
//! each table is let go of while its rows arrive and are read back, under a lock that nobody gets past, and taken under
//! it again before the transaction ends.

use std::pin::{Pin, pin};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, TryStreamExt};
use mainstay_domain::{StoreError, StoreResult, Timestamp};
use serde_json::{Value, json};
use tokio_postgres::{Client, CopyInSink};

use super::{
    Moved, Reading, failed,
    plan::{Table, quoted},
    row::{self, Adding, END, HEAD, Stream, Sum},
    source::{Change, Part, Piece},
};
use crate::{
    hex,
    setup::{SetupError, SetupResult},
};

/// What is written is no change by hand; the commit must reach the disk; and however long it takes, it is waited for.
const BEGIN: &str = "
    SET mainstay.writer = 'server';
    SET statement_timeout = 0;
    SET lock_timeout = '1min';
    SET idle_in_transaction_session_timeout = 0;
    SET client_min_messages = warning;
    SET standard_conforming_strings = on;
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
    BEGIN";
/// The action of the entry in the audit log.
const ACTION: &str = "installation.move";

pub(super) async fn begin(client: &Client) -> SetupResult<()> {
    batch(client, BEGIN).await
}

pub(super) async fn commit(client: &Client) -> SetupResult<()> {
    batch(client, "COMMIT").await
}

pub(super) async fn roll_back(client: &Client) -> SetupResult<()> {
    batch(client, "ROLLBACK").await
}

/// Locks a table, and empties it of what every database has. Refuses one that holds more.
pub(super) async fn take(client: &Client, table: &Table) -> SetupResult<()> {
    let name = quoted(&table.name);
    batch(
        client,
        &format!("LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE"),
    )
    .await?;
    if table.forced {
        let free = format!("ALTER TABLE {name} NO FORCE ROW LEVEL SECURITY");
        batch(client, &free).await?;
    }
    if table.made_by_migrations() {
        return batch(client, &format!("DELETE FROM {name}")).await;
    }
    let holds = format!("SELECT EXISTS (SELECT FROM {name})");
    let holds = client.query_one(&holds, &[]).await.map_err(failed)?;
    match holds.get(0) {
        true => Err(SetupError::Occupied(format!("the table {}", table.name))),
        false => Ok(()),
    }
}

/// Puts the table's rows there, as they come. Answers what was sent, and in which pieces.
pub(super) async fn put(
    client: &Client,
    table: &Table,
    reading: &mut Reading,
    told: &mut impl FnMut(u64),
) -> SetupResult<(Sum, Vec<Piece>)> {
    let mut copying = Copying::begin(client, table).await?;
    loop {
        match reading.next().await? {
            Part::Rows(bytes, rows) => {
                copying.send(bytes).await?;
                told(rows);
            }
            Part::End(sum, pieces) => {
                copying.end().await?;
                return Ok((sum, pieces));
            }
            part @ (Part::Same(_) | Part::Changed(_)) => return Err(unasked(&part)),
        }
    }
}

/// Mends what was put there before. Each change is read back at once; at the end there must be as many rows as the source
/// has. What has not changed was read back when it was put there, and nobody else can have touched it.
pub(super) async fn mend(
    client: &Client,
    table: &Table,
    reading: &mut Reading,
    told: &mut impl FnMut(u64),
) -> SetupResult<(Sum, u64)> {
    let mut changed = 0;
    loop {
        match reading.next().await? {
            Part::Same(rows) => told(rows),
            Part::Changed(change) => {
                told(change.rows);
                changed += change.rows;
                self::change(client, table, change).await?;
            }
            Part::End(sum, _) => {
                let count = format!("SELECT count(*) FROM {}", quoted(&table.name));
                let row = client.query_one(&count, &[]).await.map_err(failed)?;
                let found = u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
                return match found == sum.rows {
                    true => Ok((sum, changed)),
                    false => Err(differs(
                        table,
                        format!("{} rows were sent, {found} are there", sum.rows),
                    )),
                };
            }
            part @ Part::Rows(..) => return Err(unasked(&part)),
        }
    }
}

async fn change(client: &Client, table: &Table, change: Change) -> SetupResult<()> {
    let (name, key) = (quoted(&table.name), table.key_postgres());
    if let Some((after, last)) = &change.clear {
        let after = after.as_ref().map_or(String::new(), |after| {
            format!("({key}) > {} AND ", row::literal(table, after))
        });
        let last = row::literal(table, last);
        let clear = format!("DELETE FROM {name} WHERE {after}({key}) <= {last}");
        batch(client, &clear).await?;
    }
    let Some((first, last)) = &change.ends else {
        return Ok(());
    };
    let sent = row::digest(&change.bytes);
    let mut copying = Copying::begin(client, table).await?;
    copying.send(change.bytes).await?;
    copying.end().await?;
    let between = format!(
        "({key}) >= {} AND ({key}) <= {}",
        row::literal(table, first),
        row::literal(table, last)
    );
    let found = sum_of(client, table, &between, &mut |_| ()).await?;
    match found.rows == change.rows && found.sha256 == hex::encode(&sent) {
        true => Ok(()),
        false => Err(differs(
            table,
            "rows that had changed did not arrive as they were sent".into(),
        )),
    }
}

/// Why nothing of a move is kept.
pub(super) fn differs(table: &Table, problem: String) -> SetupError {
    SetupError::Differs {
        table: table.name.clone(),
        problem,
    }
}

fn unasked(part: &Part) -> SetupError {
    StoreError::Bug(format!(
        "the source sent what it was not asked for: {part:?}"
    ))
    .into()
}

/// A `COPY` into a table.
struct Copying(Pin<Box<CopyInSink<Bytes>>>);

impl Copying {
    async fn begin(client: &Client, table: &Table) -> SetupResult<Self> {
        let into = format!(
            "COPY {} ({}) FROM STDIN (FORMAT binary)",
            quoted(&table.name),
            table.listed()
        );
        let sink = client.copy_in(&into).await.map_err(failed)?;
        let mut copying = Self(Box::pin(sink));
        copying.send(Bytes::from_static(HEAD)).await?;
        Ok(copying)
    }

    async fn send(&mut self, bytes: Bytes) -> SetupResult<()> {
        Ok(self.0.send(bytes).await.map_err(failed)?)
    }

    async fn end(mut self) -> SetupResult<()> {
        let mut end = BytesMut::new();
        end.put_i16(END);
        self.send(end.freeze()).await?;
        self.0.as_mut().finish().await.map_err(failed)?;
        Ok(())
    }
}

/// Reads the table's rows back.
pub(super) async fn sum(
    client: &Client,
    table: &Table,
    told: &mut impl FnMut(u64),
) -> SetupResult<Sum> {
    sum_of(client, table, "true", told).await
}

async fn sum_of(
    client: &Client,
    table: &Table,
    condition: &str,
    told: &mut impl FnMut(u64),
) -> SetupResult<Sum> {
    let out = format!(
        "COPY ({}) TO STDOUT (FORMAT binary)",
        table.select_postgres(condition)
    );
    let pieces = client.copy_out(&out).await.map_err(failed)?;
    let mut pieces = pin!(pieces);
    let (mut stream, mut adding) = (Stream::new(), Adding::new());
    while let Some(piece) = pieces.try_next().await.map_err(failed)? {
        told(stream.take(&piece, &mut adding)?);
    }
    stream.end()?;
    Ok(adding.sum())
}

/// Lets the planner know what a table holds.
pub(super) async fn analyze(client: &Client, table: &Table) -> SetupResult<()> {
    batch(client, &format!("ANALYZE {}", quoted(&table.name))).await
}

/// What is left to do of a table that is whole: its numbers go on behind what it holds, it is under row-level security
/// again, and the planner knows it.
pub(super) async fn leave(client: &Client, table: &Table) -> SetupResult<()> {
    let name = quoted(&table.name);
    for column in table.columns.iter().filter(|column| column.counted) {
        let next = format!(
            "SELECT setval(pg_get_serial_sequence($1, $2), coalesce((SELECT max({}) FROM {name}), 0) + 1, false)",
            quoted(&column.name)
        );
        client
            .query(&next, &[&name, &column.name])
            .await
            .map_err(failed)?;
    }
    if table.forced {
        let force = format!("ALTER TABLE {name} FORCE ROW LEVEL SECURITY");
        batch(client, &force).await?;
    }
    analyze(client, table).await
}

/// Enters the move in the target's audit log, where it is a part of what is committed.
pub(super) async fn tell(client: &Client, moved: &Moved, now: Timestamp) -> SetupResult<()> {
    let detail = json!({
        "from": "sqlite", "tables": moved.tables.len(), "rows": moved.rows(), "digest": moved.digest,
    });
    let enter = "INSERT INTO audit (id, at, actor, action, subject, detail)
        VALUES (gen_random_uuid(), $1, 'system:move', $2, '', $3)";
    as_system(client, true).await?;
    client
        .execute(enter, &[&now.micros(), &ACTION, &detail.to_string()])
        .await
        .map_err(failed)?;
    as_system(client, false).await
}

/// The digest of the last move that was committed here.
pub(super) async fn said(client: &Client) -> SetupResult<Option<String>> {
    as_system(client, true).await?;
    let last = "SELECT detail FROM audit WHERE action = $1 ORDER BY at DESC, id DESC LIMIT 1";
    let rows = client.query(last, &[&ACTION]).await.map_err(failed)?;
    as_system(client, false).await?;
    let detail = rows.first().and_then(|row| row.get::<_, Option<String>>(0));
    let detail: Value = detail
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    Ok(detail["digest"].as_str().map(str::to_owned))
}

/// The role that sees every row, and back.
async fn as_system(client: &Client, on: bool) -> SetupResult<()> {
    let role = if on {
        "SET ROLE mainstay_system"
    } else {
        "RESET ROLE"
    };
    batch(client, role).await
}

async fn batch(client: &Client, text: &str) -> SetupResult<()> {
    let done: StoreResult<()> = client.batch_execute(text).await.map_err(failed);
    Ok(done?)
}
