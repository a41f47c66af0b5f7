//! The client: keep-alive connections over hyper, and a loop that keeps each of them busy.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// Until an answer is whole: longer than anything takes that works.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Failed operations after which a run ends early.
const ERRORS: u64 = 20;

/// Where a server listens.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// `host:port`
    authority: String,
}

impl Endpoint {
    /// Of `http://host:port`; a path behind it is of no account.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url} is not a URL"))?;
        if uri.scheme_str() != Some("http") {
            bail!("{url}: an http:// URL is expected");
        }
        let authority = uri.authority().with_context(|| format!("{url} names no host"))?;
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self { authority: format!("{}:{port}", authority.host()) })
    }
}

/// One keep-alive connection.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
}

impl Connection {
    async fn open(endpoint: &Endpoint) -> Result<Self> {
        let stream = TcpStream::connect(&endpoint.authority)
            .await
            .with_context(|| format!("{} cannot be reached", endpoint.authority))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Its errors reach whoever waits for an answer.
        tokio::spawn(connection);
        Ok(Self { sender, authority: endpoint.authority.clone() })
    }

    /// Calls an operation of the API.
    ///
    /// Errors: any status but 200, with the body.
    pub(crate) async fn call(&mut self, operation: &'static str, body: &Value) -> Result<Timed> {
        self.post(operation, body.to_string().into()).await
    }

    /// [`call`](Self::call) with a body that is bytes already.
    pub(crate) async fn post(&mut self, operation: &'static str, body: Bytes) -> Result<Timed> {
        let request = Request::post("/")
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/x-amz-json-1.1")
            .header("x-amz-target", format!("AWSCognitoIdentityProviderService.{operation}"))
            .body(Full::new(body))?;
        self.send(request).await.context(operation)
    }

    /// A path of the control API.
    pub(crate) async fn control(&mut self, method: Method, path: &str) -> Result<Bytes> {
        let request =
            Request::builder().method(method).uri(path).header(HOST, &self.authority).body(Full::default())?;
        Ok(self.send(request).await.with_context(|| path.to_owned())?.body)
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Timed> {
        let began = Instant::now();
        let (status, body) =
            tokio::time::timeout(TIMEOUT, self.exchange(request)).await.context("no answer")??;
        let took = began.elapsed();
        if status != StatusCode::OK {
            bail!("{status} {}", String::from_utf8_lossy(&body));
        }
        Ok(Timed { body, took })
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes)> {
        self.sender.ready().await?;
        let response: Response<Incoming> = self.sender.send_request(request).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Timed {
    pub(crate) body: Bytes,
    /// From the first byte sent to the last received.
    pub(crate) took: Duration,
}

/// So many connections.
pub(crate) async fn connect(endpoint: &Endpoint, clients: u16) -> Result<Vec<Connection>> {
    join_all((0..clients).map(|_| Connection::open(endpoint))).await.into_iter().collect()
}

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stop {
    /// No operation begins later than this after the start.
    After(Duration),
    /// This many operations were begun.
    Operations(usize),
}

/// What became of the operations of a run.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Of each operation that succeeded, in nanoseconds.
    latencies: Vec<u64>,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    pub(crate) elapsed: Duration,
}

impl Tally {
    pub(crate) fn operations(&self) -> usize {
        self.latencies.len()
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.operations() as f64 / self.elapsed.as_secs_f64()
    }

    /// The time within which this part, 0 to 1, of the operations were answered, in milliseconds.
    pub(crate) fn quantiles<const N: usize>(&mut self, parts: [f64; N]) -> [f64; N] {
        self.latencies.sort_unstable();
        parts.map(|part| {
            let last = self.latencies.len().saturating_sub(1) as f64;
            self.latencies.get((last * part).round() as usize).map_or(0.0, |nanos| *nanos as f64 / 1e6)
        })
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
        self.elapsed += other.elapsed;
    }

    /// Errors: the first one that occurred.
    pub(crate) fn require_success(self) -> Result<Self> {
        match &self.first_error {
            Some(error) => bail!("{} operations failed, the first: {error}", self.errors),
            None => Ok(self),
        }
    }
}

/// Runs `operation`, which gets the number of the operation in this run, on each of `resources` (connections)
/// in turn with itself, on all of them at once.
pub(crate) async fn drive<R>(
    resources: &mut [R],
    stop: Stop,
    operation: impl AsyncFn(&mut R, usize) -> Result<Duration>,
) -> Tally {
    let began = Instant::now();
    let tally = RefCell::new(Tally::default());
    let next = Cell::new(0);
    let take = || {
        let number = next.get();
        let ends = match stop {
            Stop::After(time) => began.elapsed() >= time,
            Stop::Operations(count) => number >= count,
        };
        next.set(number + 1);
        (!ends && tally.borrow().errors < ERRORS).then_some(number)
    };
    join_all(resources.iter_mut().map(async |resource| {
        while let Some(number) = take() {
            let outcome = operation(resource, number).await;
            let mut tally = tally.borrow_mut();
            match outcome {
                Ok(took) => tally.latencies.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)),
                Err(error) => {
                    tally.errors += 1;
                    tally.first_error.get_or_insert_with(|| format!("{error:#}"));
                }
            }
        }
    }))
    .await;
    Tally { elapsed: began.elapsed(), ..tally.into_inner() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn as_many_operations_run_as_asked_and_failures_end_a_run() {
        let mut resources = [0_usize; 3];
        let tally = drive(&mut resources, Stop::Operations(10), async |done, _| {
            *done += 1;
            tokio::task::yield_now().await;
            Ok(Duration::from_millis(1))
        })
        .await;
        assert_eq!((tally.operations(), tally.errors, resources.iter().sum::<usize>()), (10, 0, 10));

        let tally =
            drive(&mut resources, Stop::Operations(1_000), async |_, number| bail!("failure {number}")).await;
        assert_eq!((tally.operations(), tally.errors), (0, ERRORS));
        assert_eq!(tally.first_error.as_deref(), Some("failure 0"));
        assert!(tally.require_success().is_err());
    }

    #[test]
    fn quantiles_are_of_the_sorted_latencies() {
        let latencies = (1..=101).rev().map(|millis| millis * 1_000_000).collect();
        let mut tally = Tally { latencies, ..Tally::default() };
        assert_eq!(tally.quantiles([0.0, 0.5, 0.99, 1.0]), [1.0, 51.0, 100.0, 101.0]);
        assert_eq!(Tally::default().quantiles([0.5]), [0.0]);
    }

    #[test]
    fn endpoints_are_hosts_with_ports() {
        assert_eq!(Endpoint::parse("http://127.0.0.1:5436/").unwrap().authority, "127.0.0.1:5436");
        assert_eq!(Endpoint::parse("http://localhost").unwrap().authority, "localhost:80");
        for url in ["https://localhost", "localhost:80", "http:///"] {
            assert!(Endpoint::parse(url).is_err(), "{url}");
        }
    }
}
