//! One kept-alive HTTP/1.1 connection, as a provider's sender holds it.

use std::time::Duration;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Request,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// A client of one address. Not shared: a request at a time.
#[derive(Debug)]
pub struct Client {
    address: String,
    timeout: Duration,
    open: Option<SendRequest<Full<Bytes>>>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Client {
    /// A client of `address` (host and port) that waits this long for an answer.
    pub fn new(address: impl Into<String>, timeout: Duration) -> Self {
        Self {
            address: address.into(),
            timeout,
            open: None,
        }
    }

    /// Sends and waits for the whole answer. An error says nothing about whether the request was carried out.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: Bytes,
    ) -> anyhow::Result<Answer> {
        let limit = self.timeout;
        let answer = timeout(limit, self.exchange(method, path, headers, body)).await;
        let answer =
            answer.unwrap_or_else(|_| Err(anyhow!("no answer in {} ms", limit.as_millis())));
        if answer.is_err() {
            self.open = None;
        }
        answer
    }

    async fn exchange(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: Bytes,
    ) -> anyhow::Result<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.address);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(body))?;
        let response = self.connection().await?.send_request(request).await?;
        let (parts, body) = response.into_parts();
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.collect().await?.to_bytes(),
        })
    }

    async fn connection(&mut self) -> anyhow::Result<&mut SendRequest<Full<Bytes>>> {
        let usable = match &mut self.open {
            Some(open) => open.ready().await.is_ok(),
            None => false,
        };
        if !usable {
            let stream = TcpStream::connect(&self.address)
                .await
                .context("no connection")?;
            stream.set_nodelay(true)?;
            let (open, connection) = handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            self.open = Some(open);
        }
        self.open.as_mut().ok_or_else(|| anyhow!("no connection"))
    }
}
