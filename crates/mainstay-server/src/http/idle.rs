//! A connection that is closed when no byte moves on it for a while, whatever state the protocol is in.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

/// The deadline is moved at most this often: moving a timer on every read would cost more than it brings.
const RENEW: Duration = Duration::from_secs(1);

/// A stream with a bound on silence.
pub(super) struct Idle<S> {
    stream: S,
    limit: Duration,
    renewed: Instant,
    silence: Pin<Box<Sleep>>,
}

impl<S> Idle<S> {
    /// Closes the stream after `limit` without a byte.
    pub(super) fn new(stream: S, limit: Duration) -> Self {
        Self {
            stream,
            limit,
            renewed: Instant::now(),
            silence: Box::pin(tokio::time::sleep(limit)),
        }
    }

    fn moved(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.renewed) >= RENEW.min(self.limit / 2) {
            self.renewed = now;
            self.silence.as_mut().reset(now + self.limit);
        }
    }

    fn settle<T>(
        &mut self,
        context: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match poll {
            Poll::Ready(result) => {
                self.moved();
                Poll::Ready(result)
            }
            Poll::Pending => match self.silence.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Idle<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.settle(cx, poll)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Idle<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.settle(cx, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.settle(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test(start_paused = true)]
    async fn silence_ends_the_connection_and_traffic_keeps_it() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut server = Idle::new(server, Duration::from_secs(10));
        for _ in 0..5 {
            tokio::time::advance(Duration::from_secs(8)).await;
            client.write_all(b"x").await.expect("there is room");
            assert_eq!(server.read_u8().await.expect("a byte came"), b'x');
        }
        let error = server.read_u8().await.expect_err("nothing comes any more");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
