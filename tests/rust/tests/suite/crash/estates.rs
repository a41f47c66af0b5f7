//! Pools beside the one that people are in, and who administers them.

use std::collections::BTreeMap;

use lido_tests::Answer;
use serde_json::{Value, json};

use super::chance::Dice;
use super::stage::{Notes, Stage, names};

/// A pool beside the one that people are in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Land {
    pub(super) id: String,
    tag: String,
    lambda: Option<String>,
    /// Names by id; an id that nobody was told is empty.
    clients: BTreeMap<String, String>,
    pub(super) groups: BTreeMap<String, String>,
}

/// A pool's administrator. When the pool is gone there will be another one.
pub(super) struct Estate {
    pub(super) notes: Notes<Option<Land>>,
    pub(super) dice: Dice,
    pub(super) count: usize,
    /// The pool that was deleted last.
    pub(super) former: Option<String>,
    /// The key set of the present pool, once it was asked for.
    pub(super) keys: Option<Value>,
}

impl Estate {
    pub(super) fn new(index: usize, dice: Dice) -> Self {
        Self { notes: Notes::new(format!("estate{index}"), None), dice, count: 0, former: None, keys: None }
    }

    pub(super) fn number(&mut self) -> String {
        self.count += 1;
        self.count.to_string()
    }

    pub(super) async fn live(&mut self, stage: &Stage) {
        while self.step(stage).await.is_some() {}
    }

    pub(super) async fn step(&mut self, stage: &Stage) -> Option<()> {
        type After<'a> = Box<dyn FnOnce(&mut Option<Land>, Option<&Answer>) + Send + 'a>;
        let number = self.number();
        let Some(land) = self.notes.facts.clone() else {
            let id = format!("us-east-1_{}N{number}", self.notes.name);
            let body = json!({
                "PoolName": "estate", "UserPoolTags": { "lido:id": id, "tag": number },
            });
            let land =
                Land { id, tag: number, lambda: None, clients: BTreeMap::new(), groups: BTreeMap::new() };
            self.keys = None;
            self.notes.change(stage, "CreateUserPool", body, |facts, _| *facts = Some(land)).await?;
            return Some(());
        };
        let client = land.clients.keys().next().cloned();
        let group = land.groups.keys().next().cloned();
        let pool = json!({ "UserPoolId": land.id });
        let with = |extra: Value| lido_tests::merged(pool.clone(), extra);
        let (operation, body, after): (&str, Value, After<'_>) = match self.dice.below(9) {
            0 | 1 => {
                let arn = format!("arn:aws:cognito-idp:us-east-1:000000000000:userpool/{}", land.id);
                let body = json!({ "ResourceArn": arn, "Tags": { "tag": number } });
                ("TagResource", body, Box::new(|facts, _| facts.as_mut().unwrap().tag = number))
            }
            2 => {
                // A trigger that fires nowhere here.
                let lambda = format!("arn:aws:lambda:us-east-1:000000000000:function:f{number}");
                let body = with(json!({
                    "LambdaConfig": { "PostConfirmation": lambda },
                    "UserPoolTags": { "lido:id": land.id, "tag": land.tag },
                }));
                ("UpdateUserPool", body, Box::new(|facts, _| facts.as_mut().unwrap().lambda = Some(lambda)))
            }
            3 | 4 if client.is_none() => {
                let name = format!("client{number}");
                let body = with(json!({ "ClientName": name, "GenerateSecret": true }));
                let made = |facts: &mut Option<Land>, answer: Option<&Answer>| {
                    let id = answer.map(|answer| answer.body["UserPoolClient"]["ClientId"].as_str().unwrap());
                    facts.as_mut().unwrap().clients.insert(id.unwrap_or_default().to_owned(), name);
                };
                ("CreateUserPoolClient", body, Box::new(made))
            }
            3 => {
                let (id, name) = (client.unwrap(), format!("client{number}"));
                let body = with(json!({ "ClientId": id, "ClientName": name }));
                let renamed = |facts: &mut Option<Land>, _: Option<&Answer>| {
                    facts.as_mut().unwrap().clients.insert(id, name);
                };
                ("UpdateUserPoolClient", body, Box::new(renamed))
            }
            4 => {
                let id = client.unwrap();
                let body = with(json!({ "ClientId": id }));
                let removed = move |facts: &mut Option<Land>, _: Option<&Answer>| {
                    facts.as_mut().unwrap().clients.remove(&id);
                };
                ("DeleteUserPoolClient", body, Box::new(removed))
            }
            5 | 6 if group.is_none() => {
                let name = format!("group{number}");
                let body = with(json!({ "GroupName": name, "Description": number }));
                let made = move |facts: &mut Option<Land>, _: Option<&Answer>| {
                    facts.as_mut().unwrap().groups.insert(name, number);
                };
                ("CreateGroup", body, Box::new(made))
            }
            5 => {
                let name = group.unwrap();
                let body = with(json!({ "GroupName": name, "Description": number }));
                let described = move |facts: &mut Option<Land>, _: Option<&Answer>| {
                    facts.as_mut().unwrap().groups.insert(name, number);
                };
                ("UpdateGroup", body, Box::new(described))
            }
            6 => {
                let name = group.unwrap();
                let body = with(json!({ "GroupName": name }));
                let removed = move |facts: &mut Option<Land>, _: Option<&Answer>| {
                    facts.as_mut().unwrap().groups.remove(&name);
                };
                ("DeleteGroup", body, Box::new(removed))
            }
            7 => {
                // The first need makes the keys of a pool that was made without.
                let path = format!("/{}/.well-known/jwks.json", land.id);
                let answer = stage.node().request(http::Method::GET, &path).send().await.ok()?;
                if answer.status() != 200 {
                    return None;
                }
                let keys: Value = answer.json().await.ok()?;
                assert_eq!(*self.keys.get_or_insert(keys.clone()), keys, "{}", self.notes.trail());
                return Some(());
            }
            _ => {
                self.former = Some(land.id.clone());
                ("DeleteUserPool", pool.clone(), Box::new(|facts, _| *facts = None))
            }
        };
        self.notes.change(stage, operation, body, after).await?;
        Some(())
    }

    pub(super) async fn settle(&mut self, stage: &Stage) {
        let known = self.notes.facts.clone();
        let maybe = self.notes.maybe.take();
        let id = [&maybe.clone().flatten(), &known].into_iter().flatten().map(|land| land.id.clone()).next();
        let found = match &id {
            Some(id) => self.found(stage, id).await,
            None => None,
        };
        // What was made without an answer has an id that nobody was told.
        let told = |land: &Option<Land>| {
            land.clone().map(|mut land| {
                if let Some(name) = land.clients.remove("") {
                    let id = found.as_ref().and_then(|found| found.clients.keys().next());
                    land.clients.insert(id.cloned().unwrap_or_default(), name);
                }
                land
            })
        };
        let trail = self.notes.trail();
        let is_noted = [maybe.as_ref(), Some(&known)].into_iter().flatten().any(|facts| told(facts) == found);
        assert!(is_noted, "{}: found {found:?}, noted {maybe:?} or {known:?}\n{trail}", self.notes.name);
        if let (Some(land), Some(keys)) = (&found, &self.keys) {
            let path = format!("/{}/.well-known/jwks.json", land.id);
            assert_eq!(stage.node().get(&path).await, *keys, "{trail}");
        }
        self.notes.note(format!("settled: {}", if found == known { "as before" } else { "as it may be" }));
        self.notes.facts = found;
        if let (Some(former), None) = (&self.former, &self.notes.facts) {
            let answer = stage.tell("DescribeUserPool", json!({ "UserPoolId": former })).await;
            assert_eq!(answer.code(), Some("ResourceNotFoundException"), "{trail}");
        }
    }

    pub(super) async fn found(&self, stage: &Stage, id: &str) -> Option<Land> {
        let pool = json!({ "UserPoolId": id });
        let answer = stage.tell("DescribeUserPool", pool.clone()).await;
        if answer.code() == Some("ResourceNotFoundException") {
            return None;
        }
        let described = answer.ok()["UserPool"].clone();
        let of = |list: &Value, key: &str, value: &str| -> BTreeMap<String, String> {
            names(list, key).into_iter().zip(names(list, value)).collect()
        };
        let mut body = pool.clone();
        body["MaxResults"] = 60.into();
        let clients = stage.tell("ListUserPoolClients", body).await.ok();
        let groups = stage.tell("ListGroups", pool).await.ok();
        Some(Land {
            id: id.to_owned(),
            tag: described["UserPoolTags"]["tag"].as_str().unwrap().to_owned(),
            lambda: described["LambdaConfig"]["PostConfirmation"].as_str().map(str::to_owned),
            clients: of(&clients["UserPoolClients"], "ClientId", "ClientName"),
            groups: of(&groups["Groups"], "GroupName", "Description"),
        })
    }
}
