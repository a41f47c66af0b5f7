//! `kill -9` at random moments under mixed writes: what was acknowledged is there, what was redeemed stays
//! redeemed, and nothing is half done.
//!
//! A [`Person`] is a user name and whoever uses it, an [`Estate`] a user pool and its administrator. Each sends one
//! request after the other and notes what was acknowledged. A request without an answer was carried out or not,
//! but as a whole: after the restart one of the two must hold in everything that a client can see.
//!
//! `LIDO_TEST_CRASH_CYCLES` is how often, `LIDO_TEST_CRASH_SEED` makes the random choices repeat. `./test crash`.

mod agreement;
mod chance;
mod estates;
mod facts;
mod people;
mod stage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use lido_tests::{Lido, PostgresServer, Setup, connections, on_postgres, program};
use serde_json::json;
use tempfile::TempDir;

use chance::Dice;
use estates::Estate;
use facts::User;
use people::Person;
use stage::Stage;

const GROUPS: [&str; 3] = ["readers", "writers", "owners"];
/// The issuer must not change with the port.
const PUBLIC_URL: &str = "http://localhost:5436";
/// How long a server may take to start on what a crash left.
const STARTED_WITHIN: Duration = Duration::from_secs(20);

/// How often the server is killed.
fn cycles() -> usize {
    let asked = std::env::var("LIDO_TEST_CRASH_CYCLES").ok();
    asked.map_or(4, |text| text.parse().expect("the number of cycles is a number"))
}

/// Everybody who sends requests, and where to.
struct World {
    stage: Stage,
    people: Vec<Person>,
    estates: Vec<Estate>,
    dice: Dice,
}

impl World {
    async fn new(nodes: Vec<Lido>, people: usize, estates: usize) -> Self {
        let mut dice = Dice::cast();
        let app = nodes[0].pool().aliases(&["email"]).verify_email().app_client().await;
        for group in GROUPS {
            app.pool.call("CreateGroup", json!({ "GroupName": group })).await.ok();
        }
        let stage = Stage {
            nodes,
            turn: Arc::default(),
            acknowledged: Arc::default(),
            pool: app.pool.id,
            client: app.id,
        };
        let people = (0..people).map(|index| Person::new(index, dice.fork())).collect();
        let estates = (0..estates).map(|index| Estate::new(index, dice.fork())).collect();
        Self { stage, people, estates, dice }
    }

    /// Lets everybody work until `crash` puts an end to it, at a random moment.
    async fn work_until(&mut self, crash: impl AsyncFnOnce(&mut Dice)) {
        let Self { stage, people, estates, dice } = self;
        let most = if dice.one_in(3) { 20 } else { 400 };
        let enough = stage.acknowledged.load(Ordering::Relaxed) + 1 + dice.below(most);
        let crashed = async {
            while stage.acknowledged.load(Ordering::Relaxed) < enough {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
            tokio::time::sleep(dice.millis(4)).await;
            crash(dice).await;
        };
        let people = join_all(people.iter_mut().map(|person| person.live(stage)));
        let estates = join_all(estates.iter_mut().map(|estate| estate.live(stage)));
        join(crashed, join(people, estates)).await;
    }

    /// Everything is as it was noted, for each and as a whole.
    async fn settle(&mut self) {
        let Self { stage, people, estates, .. } = self;
        let people = join_all(people.iter_mut().map(|person| person.settle(stage)));
        let estates = join_all(estates.iter_mut().map(|estate| estate.settle(stage)));
        join(people, estates).await;
        let users: BTreeMap<&str, &User> = self
            .people
            .iter()
            .filter_map(|person| Some((&*person.notes.name, person.notes.facts.user.as_ref()?)))
            .collect();
        let pool = json!({ "UserPoolId": stage.pool });
        let listed = stage.everybody("ListUsers", pool.clone(), "PaginationToken").await;
        assert!(listed.iter().eq(users.keys()), "{listed:?}");
        let described = stage.tell("DescribeUserPool", pool.clone()).await.ok();
        assert_eq!(described["UserPool"]["EstimatedNumberOfUsers"], users.len());
        for group in GROUPS {
            let body = lido_tests::merged(pool.clone(), json!({ "GroupName": group }));
            let members = stage.everybody("ListUsersInGroup", body, "NextToken").await;
            let noted = users.iter().filter(|(_, user)| user.groups.contains(group)).map(|(name, _)| *name);
            assert!(members.iter().eq(noted), "{group}: {members:?}");
        }
        for node in &stage.nodes {
            assert!(!node.log().contains("panicked"), "{}", node.log());
        }
    }
}

fn setup(data: &TempDir) -> Setup {
    Lido::setup().data(&data.path().join("data")).flag("--public-url", PUBLIC_URL)
}

/// Ends the server as a power cut would, and waits until its database has nothing more to do for it: a commit
/// that was sent may still be carried out.
async fn kill(lido: &Lido) {
    lido.kill();
    settle_database(lido).await;
}

async fn settle_database(lido: &Lido) {
    if let Some(url) = lido.database() {
        let began = Instant::now();
        while connections(url).await > 0 {
            assert!(began.elapsed() < STARTED_WITHIN, "a connection of a killed server stays");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Starts the server on the data of another one, and kills it before it can be ready.
async fn kill_at_the_start(lido: &Lido, after: Duration) {
    let mut child = program()
        .args(["dev", "--listen", "127.0.0.1:0", "--public-url", PUBLIC_URL])
        .args(lido.storage_flags())
        .spawn()
        .expect("the binary runs");
    tokio::time::sleep(after).await;
    child.kill().expect("the process can be killed");
    child.wait().expect("the process can be waited for");
    settle_database(lido).await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_is_half_done_when_the_server_is_killed() {
    let data = TempDir::new().unwrap();
    let mut world = World::new(vec![setup(&data).start().await], 20, 2).await;
    for _ in 0..cycles() {
        let lido = world.stage.nodes[0].clone();
        world.work_until(async |_| kill(&lido).await).await;
        while world.dice.one_in(3) {
            let after = world.dice.millis(200);
            kill_at_the_start(&lido, after).await;
        }
        let began = Instant::now();
        world.stage.nodes = vec![setup(&data).start().await];
        assert!(began.elapsed() < STARTED_WITHIN, "{:?}", began.elapsed());
        world.settle().await;
    }
}

/// Waits until the node says that it is ready.
async fn ready(node: &Lido) {
    let began = Instant::now();
    loop {
        let answer = node.request(http::Method::GET, "/_lido/health/ready").send().await;
        if answer.is_ok_and(|answer| answer.status() == 200) {
            return;
        }
        assert!(began.elapsed() < STARTED_WITHIN, "the node does not recover:\n{}", node.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_database_is_killed_under_two_nodes() {
    if !on_postgres() {
        return;
    }
    let server = PostgresServer::start_durable().await;
    let data = TempDir::new().unwrap();
    let first = setup(&data).database(&server.url()).start().await;
    let second = Setup::node_of(&first).start().await;
    let mut world = World::new(vec![first, second], 16, 2).await;
    for _ in 0..cycles().div_ceil(2) {
        let crash = async |dice: &mut Dice| if dice.one_in(2) { server.stop() } else { server.kill() };
        world.work_until(crash).await;
        for node in &world.stage.nodes {
            let body = json!({ "UserPoolId": world.stage.pool, "Username": "user0" });
            node.call("AdminGetUser", body).await.fails_as(500, "InternalErrorException", "Internal error.");
            let health = node.request(http::Method::GET, "/_lido/health/ready").send().await.unwrap();
            assert_eq!(health.status(), 503);
        }
        server.resume().await;
        join_all(world.stage.nodes.iter().map(ready)).await;
        world.settle().await;
    }
}
