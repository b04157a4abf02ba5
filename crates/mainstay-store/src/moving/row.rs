//! The form in which rows go over and are compared: PostgreSQL's binary rows, as `COPY` writes and reads them.

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Buf, BufMut, BytesMut};
use mainstay_domain::StoreError;
use rusqlite::{Row, types::ValueRef};

use super::plan::{Column, Kind, Table};
use crate::{
    hex,
    setup::{SetupError, SetupResult},
};

/// What the stream of a `COPY` begins with: a signature, flags, and no extension.
pub(super) const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with, in the place of a row's number of columns.
pub(super) const END: i16 = -1;
/// A row has a number of columns in front.
const COUNT: usize = size_of::<i16>();
/// A value has its length in front; -1 is null.
const LENGTH: usize = size_of::<i32>();

/// What was read of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) rows: u64,
    pub(super) bytes: u64,
    /// In hexadecimal.
    pub(super) sha256: String,
}

/// A part of a key, in the order that both databases have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum KeyPart {
    Number(i64),
    Bytes(Vec<u8>),
}

/// A row's key.
pub(super) type Key = Vec<KeyPart>;

/// The key of a row of SQLite's.
pub(super) fn key(table: &Table, row: &Row<'_>) -> SetupResult<Key> {
    let part = |place: &usize| match row.get_ref(*place).map_err(crate::sqlite::map_error)? {
        ValueRef::Integer(number) => Ok(KeyPart::Number(number)),
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => Ok(KeyPart::Bytes(bytes.to_vec())),
        _ => Err(SetupError::Unmovable {
            table: table.name.clone(),
            problem: "a part of a key is missing".to_owned(),
        }),
    };
    table.key.iter().map(part).collect()
}

/// A key as it stands in a statement of PostgreSQL's. Text has no place in it: see [`Table::ahead`].
pub(super) fn literal(table: &Table, key: &Key) -> String {
    let parts = table
        .key_columns()
        .zip(key)
        .map(|(column, part)| match (column.kind, part) {
            (Kind::Flag, KeyPart::Number(flag)) => (*flag != 0).to_string(),
            (_, KeyPart::Number(number)) => format!("'{number}'::bigint"),
            (Kind::Uuid, KeyPart::Bytes(bytes)) => format!("'{}'::uuid", hex::encode(bytes)),
            (_, KeyPart::Bytes(bytes)) => format!("'\\x{}'::bytea", hex::encode(bytes)),
        });
    format!("({})", parts.collect::<Vec<_>>().join(", "))
}

/// SHA-256.
pub(super) fn digest(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&SHA256, bytes);
    let mut array = [0; 32];
    array.copy_from_slice(digest.as_ref());
    array
}

/// Adds rows up.
pub(super) struct Adding {
    context: Context,
    rows: u64,
    bytes: u64,
}

impl Adding {
    pub(super) fn new() -> Self {
        Self {
            context: Context::new(&SHA256),
            rows: 0,
            bytes: 0,
        }
    }

    /// Whole rows, one behind the other.
    pub(super) fn add(&mut self, bytes: &[u8], rows: u64) {
        self.context.update(bytes);
        self.bytes += bytes.len() as u64;
        self.rows += rows;
    }

    pub(super) fn sum(self) -> Sum {
        Sum {
            rows: self.rows,
            bytes: self.bytes,
            sha256: hex::encode(self.context.finish().as_ref()),
        }
    }
}

/// Writes a row of SQLite's as PostgreSQL has it. Fails where PostgreSQL could not store it.
pub(super) fn write(table: &Table, row: &Row<'_>, out: &mut BytesMut) -> SetupResult<()> {
    out.put_i16(table.columns.len() as i16);
    for (index, column) in table.columns.iter().enumerate() {
        let value = row.get_ref(index).map_err(crate::sqlite::map_error)?;
        put(column, value, out).map_err(|problem| SetupError::Unmovable {
            table: table.name.clone(),
            problem: format!("a value of {} {problem}", column.name),
        })?;
    }
    Ok(())
}

fn put(column: &Column, value: ValueRef<'_>, out: &mut BytesMut) -> Result<(), &'static str> {
    match (column.kind, value) {
        (_, ValueRef::Null) => out.put_i32(-1),
        (Kind::Uuid, ValueRef::Blob(bytes)) if bytes.len() == 16 => sized(bytes, out)?,
        (Kind::NumberOfBytes, ValueRef::Blob(bytes)) if bytes.len() == 8 => sized(bytes, out)?,
        (Kind::Bytes, ValueRef::Blob(bytes)) => sized(bytes, out)?,
        (Kind::Text, ValueRef::Text(bytes)) => {
            if bytes.contains(&0) {
                return Err("has the character 0 in it, which PostgreSQL cannot store");
            }
            std::str::from_utf8(bytes).map_err(|_| "is not UTF-8")?;
            sized(bytes, out)?;
        }
        (Kind::Flag, ValueRef::Integer(flag @ (0 | 1))) => sized(&[flag as u8], out)?,
        (Kind::Number(2), ValueRef::Integer(number)) => {
            sized(
                &i16::try_from(number).map_err(too_large)?.to_be_bytes(),
                out,
            )?;
        }
        (Kind::Number(4), ValueRef::Integer(number)) => {
            sized(
                &i32::try_from(number).map_err(too_large)?.to_be_bytes(),
                out,
            )?;
        }
        (Kind::Number(_), ValueRef::Integer(number)) => sized(&number.to_be_bytes(), out)?,
        _ => return Err("has another form than its column"),
    }
    Ok(())
}

fn too_large(_: std::num::TryFromIntError) -> &'static str {
    "is too large for PostgreSQL"
}

fn sized(bytes: &[u8], out: &mut BytesMut) -> Result<(), &'static str> {
    let length = i32::try_from(bytes.len()).map_err(too_large)?;
    out.put_i32(length);
    out.put_slice(bytes);
    Ok(())
}

/// Takes a `COPY`'s stream apart, however it is cut.
pub(super) struct Stream {
    rest: BytesMut,
    begun: bool,
    ended: bool,
}

impl Stream {
    pub(super) fn new() -> Self {
        Self {
            rest: BytesMut::new(),
            begun: false,
            ended: false,
        }
    }

    /// Takes the next piece in; answers how many whole rows it completed.
    pub(super) fn take(&mut self, piece: &[u8], adding: &mut Adding) -> Result<u64, StoreError> {
        self.rest.put_slice(piece);
        if !self.begun {
            let Some(head) = self.rest.get(..HEAD.len()) else {
                return Ok(0);
            };
            if head != HEAD {
                return Err(broken());
            }
            self.rest.advance(HEAD.len());
            self.begun = true;
        }
        let (mut rows, mut end) = (0, 0);
        while !self.ended {
            match row_len(&self.rest[end..])? {
                None => break,
                Some(0) => self.ended = true,
                Some(length) => {
                    end += length;
                    rows += 1;
                }
            }
        }
        adding.add(&self.rest[..end], rows);
        self.rest.advance(end);
        Ok(rows)
    }

    /// Fails where the stream was cut short.
    pub(super) fn end(self) -> Result<(), StoreError> {
        match self.ended {
            true => Ok(()),
            false => Err(broken()),
        }
    }
}

/// The length of the row that these bytes begin with; 0 where they are the stream's end, none where they are too few.
fn row_len(bytes: &[u8]) -> Result<Option<usize>, StoreError> {
    let Some(count) = bytes.first_chunk::<COUNT>() else {
        return Ok(None);
    };
    let count = match i16::from_be_bytes(*count) {
        END => return Ok(Some(0)),
        count => usize::try_from(count).map_err(|_| broken())?,
    };
    let mut at = COUNT;
    for _ in 0..count {
        let Some(length) = bytes.get(at..).and_then(<[u8]>::first_chunk::<LENGTH>) else {
            return Ok(None);
        };
        at += LENGTH + usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
    }
    Ok((at <= bytes.len()).then_some(at))
}

fn broken() -> StoreError {
    StoreError::Corrupt("PostgreSQL's copy is not in the form that it has".into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn column(kind: Kind) -> Column {
        Column {
            name: "c".into(),
            kind,
            counted: false,
        }
    }

    fn written(kind: Kind, value: ValueRef<'_>) -> Result<Vec<u8>, &'static str> {
        let mut out = BytesMut::new();
        put(&column(kind), value, &mut out)?;
        Ok(out.to_vec())
    }

    #[test]
    fn what_postgres_cannot_store_is_refused_before_it_is_sent() {
        let bad = [
            (Kind::Text, ValueRef::Text(b"a\0b")),
            (Kind::Text, ValueRef::Text(&[0xff])),
            (Kind::Uuid, ValueRef::Blob(&[1; 15])),
            (Kind::Number(2), ValueRef::Integer(40_000)),
            (Kind::Number(4), ValueRef::Integer(1 << 40)),
            (Kind::Flag, ValueRef::Integer(2)),
            (Kind::Bytes, ValueRef::Text(b"text")),
        ];
        for (kind, value) in bad {
            assert!(written(kind, value).is_err(), "{kind:?}");
        }
        let null = written(Kind::Uuid, ValueRef::Null);
        assert_eq!(null, Ok(vec![0xff; 4]));
        let number = written(Kind::Number(4), ValueRef::Integer(-2));
        assert_eq!(number, Ok(vec![0, 0, 0, 4, 0xff, 0xff, 0xff, 0xfe]));
    }

    proptest! {
        #[test]
        fn a_stream_adds_up_to_the_same_however_it_is_cut(
            rows in proptest::collection::vec(
                proptest::collection::vec(proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)), 0..4),
                0..10,
            ),
            cut in 1_usize..40,
        ) {
            let mut whole = BytesMut::new();
            for row in &rows {
                whole.put_i16(row.len() as i16);
                for value in row {
                    match value {
                        Some(bytes) => sized(bytes, &mut whole).expect("it is short"),
                        None => whole.put_i32(-1),
                    }
                }
            }
            let mut wanted = Adding::new();
            wanted.add(&whole, rows.len() as u64);
            let mut stream = BytesMut::from(HEAD);
            stream.put_slice(&whole);
            stream.put_i16(END);
            let (mut found, mut reader) = (Adding::new(), Stream::new());
            for piece in stream.chunks(cut) {
                reader.take(piece, &mut found).expect("it is in form");
            }
            reader.end().expect("it is whole");
            prop_assert_eq!(found.sum(), wanted.sum());
            let mut short = Stream::new();
            short.take(&stream[..stream.len() - 2], &mut Adding::new()).expect("it is in form");
            prop_assert!(short.end().is_err());
        }
    }
}
