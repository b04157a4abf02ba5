//! Bodies: read under a size limit that holds while they stream in, and under a deadline.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use super::{Code, Problem};

/// Room that is made for a body before any of it has arrived.
const FIRST_ROOM: usize = 16 * 1024;

/// Reads the whole body: at most `limit` bytes, within `timeout`.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    timeout: Duration,
) -> Result<Bytes, Problem> {
    // Who says beforehand that it is too much need not send it.
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > limit as u64) {
        return Err(too_large(limit));
    }
    let room = announced
        .map_or(0, |bytes| bytes as usize)
        .min(limit)
        .min(FIRST_ROOM);
    match tokio::time::timeout(timeout, gather(body, limit, room)).await {
        Ok(read) => read,
        Err(_) => Err(Problem::new(
            Code::BodyTimeout,
            format!("the whole body must arrive within {} s", timeout.as_secs()),
        )),
    }
}

async fn gather(mut body: Body, limit: usize, room: usize) -> Result<Bytes, Problem> {
    let mut first: Option<Bytes> = None;
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|_| Problem::new(Code::RequestMalformed, "the body broke off"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let held = first.as_ref().map_or(whole.len(), Bytes::len);
        if held + data.len() > limit {
            return Err(too_large(limit));
        }
        // A body that comes in one piece, as nearly all do, is never copied.
        match first.take() {
            None if whole.is_empty() => first = Some(data),
            None => whole.extend_from_slice(&data),
            Some(begun) => {
                whole.reserve(room.max(begun.len() + data.len()));
                whole.extend_from_slice(&begun);
                whole.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| whole.freeze()))
}

fn too_large(limit: usize) -> Problem {
    Problem::new(
        Code::BodyTooLarge,
        format!("the body may have at most {limit} bytes"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    fn chunks(list: &'static [&'static str]) -> Body {
        Body::from_stream(stream::iter(
            list.iter()
                .map(|text| Ok::<_, std::io::Error>(Bytes::from_static(text.as_bytes()))),
        ))
    }

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_body_in_pieces_is_put_together() {
        let read = read(&HeaderMap::new(), chunks(&["a", "bc", "", "d"]), 4, LONG).await;
        assert_eq!(read.expect("it fits"), "abcd");
    }

    #[tokio::test]
    async fn a_body_that_grows_too_large_while_streaming_is_cut() {
        let read = read(&HeaderMap::new(), chunks(&["abc", "de"]), 4, LONG).await;
        assert_eq!(
            read.expect_err("one byte too many").code(),
            Code::BodyTooLarge
        );
    }

    #[tokio::test]
    async fn a_body_that_announces_too_much_is_refused_unread() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, 5.into());
        let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(
            read(&headers, never, 4, LONG)
                .await
                .expect_err("too much")
                .code(),
            Code::BodyTooLarge
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_cut_at_the_deadline() {
        let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let read = read(&HeaderMap::new(), never, 4, LONG).await;
        assert_eq!(read.expect_err("it never ends").code(), Code::BodyTimeout);
    }
}
