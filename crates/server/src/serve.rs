//! Listeners, connections, and how they end.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, warn};

use crate::app::{App, Surface};

/// Until the head of a request has arrived, and how long a connection may rest between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// Most bytes of a request's head.
const HEAD_LIMIT: usize = 64 * 1024;
/// After an error of accepting, such as too many open files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// How long a resting connection is left open for one more request: clients that send often hear with its answer
/// that the connection ends, and none of them sends into one that is being closed.
const LAST_REQUESTS: Duration = Duration::from_millis(300);
/// How long the last answers may take to leave after they were made.
const LAST_WORDS: Duration = Duration::from_millis(100);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Bound addresses.
#[derive(Debug)]
pub struct Listeners {
    pub api: TcpListener,
    /// Absent: the API's address serves both.
    pub management: Option<TcpListener>,
}

/// Serves until `stop` is ready; then accepts nothing more and finishes the requests in flight, for at
/// most `grace`. Every answer then says that it is the last of its connection.
pub async fn serve(app: Arc<App>, listeners: Listeners, stop: impl Future<Output = ()>, grace: Duration) {
    let connections = Arc::new(GracefulShutdown::new());
    let mut accepting = JoinSet::new();
    let surface = if listeners.management.is_some() { Surface::Api } else { Surface::Both };
    let all = [(Some(listeners.api), surface), (listeners.management, Surface::Management)];
    for (listener, surface) in all.into_iter().filter_map(|(listener, surface)| Some((listener?, surface))) {
        accepting.spawn(accept(Arc::clone(&app), listener, surface, Arc::clone(&connections)));
    }

    stop.await;
    let end = Instant::now() + grace;
    app.stopping.send_replace(true);
    let gone = async {
        while accepting.join_next().await.is_some() {}
        while connections.count() > 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let _ = timeout(LAST_REQUESTS, gone).await;
    accepting.shutdown().await;
    let finished = async {
        // A connection that has not sent anything yet counts as busy; it is not waited for.
        while app.in_flight() > 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        tokio::time::sleep(LAST_WORDS).await;
    };
    let connections = Arc::into_inner(connections).expect("the tasks that shared it have ended");
    tokio::select! {
        () = connections.shutdown() => {}
        () = finished => {}
        () = sleep_until(end) => warn!(requests = app.in_flight(), "requests in flight were cut off"),
    }
}

/// Takes connections until the server is asked to end, and then those that the system has taken already.
async fn accept(app: Arc<App>, listener: TcpListener, surface: Surface, connections: Arc<GracefulShutdown>) {
    let router = app.router(surface);
    let mut stopping = app.stopping.subscribe();
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        match accepted {
            Ok((stream, source)) => {
                let answer = {
                    let (app, router) = (Arc::clone(&app), router.clone());
                    move |request| {
                        let response = Arc::clone(&app).respond(surface, router.clone(), source, request);
                        async move { Ok::<_, Infallible>(response.await) }
                    }
                };
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIMEOUT)
                    .max_buf_size(HEAD_LIMIT)
                    .serve_connection(TokioIo::new(without_delay(stream)), service_fn(answer));
                let connection = connections.watch(connection);
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        debug!(error = %error, "a connection ended early");
                    }
                });
            }
            Err(error) => not_accepted(&error).await,
        }
    }
}

/// Answers are small and complete: waiting for more to send would only cost time.
fn without_delay(stream: TcpStream) -> TcpStream {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(error = %error, "TCP_NODELAY is not possible");
    }
    stream
}

async fn not_accepted(error: &io::Error) {
    // The client's own doing; the next one is not concerned.
    let gone = matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset);
    if !gone {
        warn!(error = %error, "no connection could be accepted");
        tokio::time::sleep(ACCEPT_AGAIN).await;
    }
}
