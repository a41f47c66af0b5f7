//! Where requests go, and what is known after them.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lido_tests::{Answer, Lido};
use serde_json::{Value, json};

/// What a failure shows of a name's past.
const TRAIL: usize = 40;

/// Where requests go.
#[derive(Clone)]
pub(super) struct Stage {
    /// Each request goes to the next.
    pub(super) nodes: Vec<Lido>,
    pub(super) turn: Arc<AtomicUsize>,
    pub(super) acknowledged: Arc<AtomicUsize>,
    pub(super) pool: String,
    pub(super) client: String,
}

impl Stage {
    pub(super) fn node(&self) -> &Lido {
        &self.nodes[self.turn.fetch_add(1, Ordering::Relaxed) % self.nodes.len()]
    }

    /// None: what became of the request is not known.
    pub(super) async fn ask(&self, operation: &str, body: Value) -> Option<Answer> {
        let answer = self.node().try_call(operation, body).await.ok()?;
        (answer.status < 500 && answer.code() != Some("TooManyRequestsException")).then_some(answer)
    }

    /// The same where nothing stands in the way of an answer.
    pub(super) async fn tell(&self, operation: &str, body: Value) -> Answer {
        let answer = self.node().call(operation, body).await;
        assert!(answer.status < 500, "{operation}: {} {}", answer.status, answer.text);
        answer
    }

    /// The messages to a user after the one with this id, the oldest first.
    pub(super) async fn messages(&self, username: &str, after: &str) -> Option<Vec<Value>> {
        let path = format!("/_lido/messages?userPoolId={}&username={username}&after={after}", self.pool);
        let response = self.node().request(http::Method::GET, &path).send().await.ok()?;
        let mut found: Value = response.json().await.ok()?;
        let Value::Array(mut messages) = found["messages"].take() else { return None };
        messages.reverse();
        Some(messages)
    }

    pub(super) fn sign_in(&self, username: &str, password: &str) -> Value {
        json!({
            "ClientId": self.client, "AuthFlow": "USER_PASSWORD_AUTH",
            "AuthParameters": { "USERNAME": username, "PASSWORD": password },
        })
    }

    pub(super) fn refresh(&self, token: &str) -> Value {
        let parameters = json!({ "REFRESH_TOKEN": token });
        json!({ "ClientId": self.client, "AuthFlow": "REFRESH_TOKEN_AUTH", "AuthParameters": parameters })
    }

    pub(super) fn respond(&self, challenge: &str, session: Option<&str>, responses: &Value) -> Value {
        let mut body =
            json!({ "ClientId": self.client, "ChallengeName": challenge, "ChallengeResponses": responses });
        if let Some(session) = session {
            body["Session"] = session.into();
        }
        body
    }

    /// What a filter of ListUsers finds, by name.
    pub(super) async fn listed(&self, attribute: &str, value: &str) -> Vec<String> {
        let body = json!({ "UserPoolId": self.pool, "Filter": format!("{attribute} = \"{value}\"") });
        let users = self.tell("ListUsers", body).await.ok()["Users"].clone();
        names(&users, "Username")
    }

    /// Everybody whom an operation lists, page by page.
    pub(super) async fn everybody(&self, operation: &str, mut body: Value, token: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        loop {
            let page = self.tell(operation, body.clone()).await.ok();
            found.extend(names(&page["Users"], "Username"));
            match page.get(token) {
                Some(next) => body[token] = next.clone(),
                None => return found,
            }
        }
    }
}

pub(super) fn names(list: &Value, member: &str) -> Vec<String> {
    let text = |item: &Value| item[member].as_str().expect("a name is a string").to_owned();
    list.as_array().expect("it is a list").iter().map(text).collect()
}

/// What one name's owner knows.
pub(super) struct Notes<F> {
    pub(super) name: String,
    pub(super) facts: F,
    /// Holds instead of `facts`, if the last request was carried out: it got no answer.
    pub(super) maybe: Option<F>,
    pub(super) trail: VecDeque<String>,
}

impl<F: Clone> Notes<F> {
    pub(super) fn new(name: String, facts: F) -> Self {
        Self { name, facts, maybe: None, trail: VecDeque::new() }
    }

    pub(super) fn note(&mut self, line: String) {
        if self.trail.len() == TRAIL {
            self.trail.pop_front();
        }
        self.trail.push_back(line);
    }

    pub(super) fn trail(&self) -> String {
        self.trail.iter().cloned().collect::<Vec<_>>().join("\n")
    }

    /// Sends a request that must not be refused. `after` makes the new facts of the old ones; it sees the answer
    /// if there was one.
    pub(super) async fn change(
        &mut self,
        stage: &Stage,
        operation: &str,
        body: Value,
        after: impl FnOnce(&mut F, Option<&Answer>),
    ) -> Option<Answer> {
        let shown = body.to_string();
        let answer = stage.ask(operation, body).await;
        let outcome = answer.as_ref().map_or("no answer", |answer| answer.code().unwrap_or("ok"));
        self.note(format!("{operation} {shown}: {outcome}"));
        if let Some(answer) = &answer
            && !answer.is_ok()
        {
            panic!("{}: {operation} was refused: {}\n{}", self.name, answer.text, self.trail());
        }
        let mut next = self.facts.clone();
        after(&mut next, answer.as_ref());
        if answer.is_some() {
            stage.acknowledged.fetch_add(1, Ordering::Relaxed);
            self.facts = next;
        } else {
            self.maybe = Some(next);
        }
        answer
    }
}

/// Says what is not as it should be.
pub(super) fn same<T: PartialEq<U> + Debug, U: Debug>(
    what: &str,
    found: T,
    expected: U,
) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: found {found:?}, expected {expected:?}")) }
}

pub(super) fn refusal(what: &str, answer: &Answer) -> Result<(), String> {
    same(what, answer.status, 400)
}
