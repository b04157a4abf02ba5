//! Pages of lists, and the cursors between them. A cursor is opaque to callers: where the last page ended.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mainstay_domain::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{http::Problem, limits};

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// What is on it.
    pub(crate) items: Vec<T>,
    /// What to pass as `cursor` for the next page; null on the last.
    pub(crate) next_cursor: Option<String>,
}

/// Parameters of a list without filters.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Where the last page ended: its `next_cursor`.
    #[param(min_length = 32, max_length = 32, pattern = "^[A-Za-z0-9_-]+$")]
    pub(crate) cursor: Option<String>,
    /// How many items at the most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub(crate) limit: Option<i64>,
}

/// How many items were asked for.
pub(crate) fn limit(asked: Option<i64>) -> Result<i64, Problem> {
    let limit = asked.unwrap_or(limits::PAGE);
    if (1..=limits::PAGE_MAX).contains(&limit) {
        Ok(limit)
    } else {
        Err(Problem::field(
            "?limit",
            format!("must be between 1 and {}", limits::PAGE_MAX),
        ))
    }
}

/// A position in a list: a time and an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The time that the list is ordered by; for lists by name the index instead.
    pub(crate) at: Timestamp,
    /// The id of the last item.
    pub(crate) id: Uuid,
}

impl Cursor {
    /// The cursor as callers see it.
    pub(crate) fn encode(self) -> String {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.at.micros().to_be_bytes());
        bytes[8..].copy_from_slice(self.id.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn decode(text: &str) -> Option<Self> {
        let bytes: [u8; 24] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (at, id) = bytes.split_at(8);
        Some(Self {
            at: Timestamp::from_micros(i64::from_be_bytes(at.try_into().ok()?)),
            id: Uuid::from_slice(id).ok()?,
        })
    }

    /// Reads the parameter.
    pub(crate) fn parse(text: Option<&str>) -> Result<Option<Self>, Problem> {
        text.map(|text| {
            Self::decode(text)
                .ok_or_else(|| Problem::field("?cursor", "is not a next_cursor of this list"))
        })
        .transpose()
    }
}

/// A page of rows that were read with one more than asked, to see whether there is another page.
pub(crate) fn page<R, T>(
    mut rows: Vec<R>,
    limit: i64,
    position: impl Fn(&R) -> Cursor,
    view: impl FnMut(R) -> T,
) -> Page<T> {
    let more = rows.len() as i64 > limit;
    rows.truncate(limit as usize);
    let next_cursor = if more {
        rows.last().map(|row| position(row).encode())
    } else {
        None
    };
    Page {
        items: rows.into_iter().map(view).collect(),
        next_cursor,
    }
}

/// A page of a list that is short enough to be read whole.
pub(crate) fn page_of_all<R, T>(
    all: Vec<R>,
    query: &PageQuery,
    id: impl Fn(&R) -> Uuid,
    view: impl FnMut(R) -> T,
) -> Result<Page<T>, Problem> {
    let limit = limit(query.limit)?;
    let start = match Cursor::parse(query.cursor.as_deref())? {
        None => 0,
        // Where the last item is gone meanwhile, its place is taken.
        Some(cursor) => match all.iter().position(|row| id(row) == cursor.id) {
            Some(index) => index + 1,
            None => usize::try_from(cursor.at.micros()).unwrap_or(0),
        },
    };
    let total = all.len();
    let rows: Vec<R> = all.into_iter().skip(start).take(limit as usize).collect();
    let end = start.saturating_add(rows.len());
    let next_cursor = rows.last().filter(|_| end < total).map(|row| {
        let at = Timestamp::from_micros(end as i64);
        Cursor { at, id: id(row) }.encode()
    });
    Ok(Page {
        items: rows.into_iter().map(view).collect(),
        next_cursor,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cursor_survives_being_shown_and_read(at: i64, bits: u128) {
            let cursor = Cursor { at: Timestamp::from_micros(at), id: Uuid::from_u128(bits) };
            prop_assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        }

        #[test]
        fn reading_a_cursor_never_panics(text in ".{0,60}") {
            let _ = Cursor::parse(Some(&text));
        }
    }

    #[test]
    fn pages_of_a_whole_list_meet_without_gap_or_overlap() {
        let all: Vec<u128> = (0..23).collect();
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let query = PageQuery {
                cursor,
                limit: Some(5),
            };
            let page = page_of_all(all.clone(), &query, |row| Uuid::from_u128(*row), |row| row)
                .expect("a page");
            seen.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn a_limit_out_of_bounds_is_refused() {
        assert!(limit(Some(0)).is_err() && limit(Some(201)).is_err());
        assert_eq!(limit(None), Ok(50));
    }
}
