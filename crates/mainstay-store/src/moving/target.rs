//! The side that is moved to: one transaction of the tables' owner.
//!
//! An owner is held to row-level security like everybody else, and `COPY` and row-level security exclude each other. So
//! each table is let go of while its rows arrive and are read back, under a lock that nobody gets past, and taken under
//! it again before the transaction ends.

use std::pin::pin;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, TryStreamExt};
use mainstay_domain::{StoreResult, Timestamp};
use serde_json::{Value, json};
use tokio_postgres::{Client, CopyInSink};

use super::{
    Moved, Reading, failed,
    plan::{Table, quoted},
    row::{Adding, END, HEAD, Stream, Sum},
    source::Part,
};
use crate::setup::{SetupError, SetupResult};

/// What is written is no change by hand; the commit must reach the disk; and however long it takes, it is waited for.
const BEGIN: &str = "
    SET mainstay.writer = 'server';
    SET statement_timeout = 0;
    SET lock_timeout = '1min';
    SET idle_in_transaction_session_timeout = 0;
    SET client_min_messages = warning;
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

/// Puts the table's rows there, as they come.
pub(super) async fn put(
    client: &Client,
    table: &Table,
    reading: &mut Reading,
    told: &mut impl FnMut(u64),
) -> SetupResult<Sum> {
    let into = format!(
        "COPY {} ({}) FROM STDIN (FORMAT binary)",
        quoted(&table.name),
        table.listed()
    );
    let sink: CopyInSink<Bytes> = client.copy_in(&into).await.map_err(failed)?;
    let mut sink = pin!(sink);
    sink.send(Bytes::from_static(HEAD)).await.map_err(failed)?;
    loop {
        match reading.next().await? {
            Part::Rows(bytes, rows) => {
                sink.send(bytes).await.map_err(failed)?;
                told(rows);
            }
            Part::End(sum) => {
                let mut end = BytesMut::new();
                end.put_i16(END);
                sink.send(end.freeze()).await.map_err(failed)?;
                sink.finish().await.map_err(failed)?;
                return Ok(sum);
            }
        }
    }
}

/// Reads the table's rows back.
pub(super) async fn sum(
    client: &Client,
    table: &Table,
    told: &mut impl FnMut(u64),
) -> SetupResult<Sum> {
    let out = format!(
        "COPY ({}) TO STDOUT (FORMAT binary)",
        table.select_postgres()
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
    batch(client, &format!("ANALYZE {name}")).await
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
