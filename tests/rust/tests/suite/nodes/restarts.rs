//! Nodes are restarted under load.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::FutureExt;
use lido_tests::{Lido, PASSWORD, Setup, attributes, merged, on_postgres, pairs};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A client that does no more than it must: each request goes to the next node, on the connection that is left of
/// the last one there; one that fails is sent once more, to the node after that.
struct Balancer {
    nodes: Arc<Vec<String>>,
    turn: usize,
    connections: Vec<Option<BufReader<TcpStream>>>,
    seen: Arc<Seen>,
}

/// What became of requests, beside their answers.
#[derive(Default)]
struct Seen {
    answered: AtomicUsize,
    /// How many answers said that they are the last of their connection.
    last: AtomicUsize,
    /// The node took no connection.
    unreachable: AtomicUsize,
    /// It ended a new connection without an answer, or in the middle of one.
    cut_off: AtomicUsize,
    /// It ended a connection that had served before at the moment of the request, and nothing was heard of it.
    missed: AtomicUsize,
    lost: Mutex<Vec<String>>,
}

impl Balancer {
    fn new(nodes: &Arc<Vec<String>>, turn: usize, seen: &Arc<Seen>) -> Self {
        let connections = nodes.iter().map(|_| None).collect();
        Self { nodes: Arc::clone(nodes), turn, connections, seen: Arc::clone(seen) }
    }

    /// None: the request was lost.
    async fn call(&mut self, operation: &str, body: &Value) -> Option<(u16, Value)> {
        for _ in 0..2 {
            self.turn = (self.turn + 1) % self.nodes.len();
            if let Some(answer) = self.send(operation, &body.to_string()).await {
                self.seen.answered.fetch_add(1, Ordering::Relaxed);
                return Some(answer);
            }
        }
        self.seen.lost.lock().unwrap().push(format!("{operation} at {}", self.nodes[self.turn]));
        None
    }

    async fn send(&mut self, operation: &str, body: &str) -> Option<(u16, Value)> {
        let address = &self.nodes[self.turn];
        // One that the node has closed is not used: every client looks before it sends.
        let kept = self.connections[self.turn]
            .take()
            .filter(|kept| kept.get_ref().peek(&mut [0]).now_or_never().is_none());
        let is_used = kept.is_some();
        let mut connection = match kept {
            Some(connection) => connection,
            None => match TcpStream::connect(address).await {
                Ok(stream) => BufReader::new(stream),
                Err(_) => {
                    self.seen.unreachable.fetch_add(1, Ordering::Relaxed);
                    return None;
                }
            },
        };
        let request = format!(
            "POST / HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/x-amz-json-1.1\r\n\
             x-amz-target: AWSCognitoIdentityProviderService.{operation}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut heard = false;
        match exchange(&mut connection, &request, &mut heard).await {
            Ok((status, closes, body)) => {
                if closes {
                    self.seen.last.fetch_add(1, Ordering::Relaxed);
                } else {
                    self.connections[self.turn] = Some(connection);
                }
                Some((status, body))
            }
            Err(_) => {
                let count = if is_used && !heard { &self.seen.missed } else { &self.seen.cut_off };
                count.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }
}

/// Status, whether the connection ends with it, and body. `heard`: whether any of the answer came.
async fn exchange(
    connection: &mut BufReader<TcpStream>,
    request: &str,
    heard: &mut bool,
) -> std::io::Result<(u16, bool, Value)> {
    connection.write_all(request.as_bytes()).await?;
    let (mut status, mut closes, mut length) = (None, false, 0);
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        *heard = true;
        let line = line.trim_end().to_ascii_lowercase();
        if status.is_none() {
            status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        } else if line.is_empty() {
            break;
        } else if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length is a number");
        } else if let Some(value) = line.strip_prefix("connection:") {
            closes = value.trim() == "close";
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await?;
    let body = serde_json::from_slice(&body).expect("a body is JSON");
    Ok((status.expect("an answer has a status"), closes, body))
}

/// A user who works until there is an end, with a request every tenth of a second.
async fn work(mut balancer: Balancer, app: Value, name: String, end: Arc<AtomicBool>) -> Option<u32> {
    let mut written = 0;
    let mut access = Value::Null;
    let mut round = 0_u32;
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    while !end.load(Ordering::Relaxed) {
        pace.tick().await;
        let (operation, body) = match round % 5 {
            0 => (
                "InitiateAuth",
                json!({
                    "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": { "USERNAME": name, "PASSWORD": PASSWORD },
                }),
            ),
            1 | 3 => (
                "UpdateUserAttributes",
                json!({
                    "AccessToken": access, "UserAttributes": attributes(json!({ "nickname": round.to_string() })),
                }),
            ),
            2 => ("GetUser", json!({ "AccessToken": access })),
            _ => (
                "GetUserAttributeVerificationCode",
                json!({ "AccessToken": access, "AttributeName": "email" }),
            ),
        };
        let body = if operation == "InitiateAuth" { merged(app.clone(), body) } else { body };
        let (status, answer) = balancer.call(operation, &body).await?;
        assert_eq!(status, 200, "{operation}: {answer}");
        match operation {
            "InitiateAuth" => access = answer["AuthenticationResult"]["AccessToken"].clone(),
            "UpdateUserAttributes" => written = round,
            "GetUser" => assert_eq!(pairs(&answer["UserAttributes"])["nickname"], written.to_string()),
            _ => {}
        }
        round += 1;
    }
    Some(written)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_restarted_one_after_the_other_and_no_request_is_lost() {
    const USERS: usize = 8;
    if !on_postgres() {
        return;
    }
    // Ports that the nodes come back to.
    let free: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addresses: Vec<String> = free.iter().map(|socket| socket.local_addr().unwrap().to_string()).collect();
    drop(free);
    let keeper = Lido::setup().start().await;
    let node = |address: &str| Setup::node_of(&keeper).flag("--listen", address);
    let mut nodes = Vec::new();
    for address in &addresses {
        nodes.push(node(address).start().await);
    }
    let app = keeper.pool().app_client().await;
    let names: Vec<String> = (0..USERS).map(|index| format!("user{index}")).collect();
    for name in &names {
        app.user(name).email(&format!("{name}@example.com")).create().await;
    }

    let (end, seen, addresses) =
        (Arc::new(AtomicBool::new(false)), Arc::<Seen>::default(), Arc::new(addresses));
    let users: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let balancer = Balancer::new(&addresses, index, &seen);
            tokio::spawn(work(balancer, json!({ "ClientId": app.id }), name.clone(), Arc::clone(&end)))
        })
        .collect();
    let progress = async |more: usize| {
        let enough = seen.answered.load(Ordering::Relaxed) + more;
        let began = Instant::now();
        while seen.answered.load(Ordering::Relaxed) < enough {
            assert!(began.elapsed() < Duration::from_secs(30), "the load stands still");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    progress(50).await;
    for (index, address) in addresses.iter().enumerate() {
        let old = nodes[index].clone();
        let asked = Instant::now();
        let status = tokio::task::spawn_blocking(move || old.terminate()).await.unwrap();
        assert!(status.success() && asked.elapsed() < Duration::from_secs(5));
        progress(10).await;
        let setup = node(address);
        let handle = tokio::runtime::Handle::current();
        nodes[index] = tokio::task::spawn_blocking(move || handle.block_on(setup.start())).await.unwrap();
        progress(30).await;
    }
    end.store(true, Ordering::Relaxed);
    for (name, user) in names.iter().zip(users) {
        let written = user.await.unwrap();
        assert_eq!(*seen.lost.lock().unwrap(), [""; 0]);
        let nickname = app.pool.attributes(name).await["nickname"].clone();
        assert_eq!(nickname, written.expect("no request was lost").to_string(), "{name}");
    }
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    println!(
        "{} answered, {} of them the last of a connection; tried elsewhere: {} not reached, {} cut off, {} missed",
        count(&seen.answered),
        count(&seen.last),
        count(&seen.unreachable),
        count(&seen.cut_off),
        count(&seen.missed),
    );
    assert!(count(&seen.last) > 0, "no node said that it ends");
    assert_eq!(count(&seen.cut_off), 0);
}
