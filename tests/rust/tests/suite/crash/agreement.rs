//! Those who use the pool: whether the server knows what they know.

use std::collections::BTreeSet;

use lido_tests::{Tokens, pairs};
use serde_json::json;

use super::facts::{Code, Facts, Spent, Status, User, push};
use super::people::{Person, Step};
use super::stage::{Stage, names, refusal, same};

impl Person {
    /// Finds out what became of the last request, and that everything else is as it was noted.
    pub(super) async fn settle(&mut self, stage: &Stage) {
        let maybe = self.notes.maybe.take();
        let mut differences = Vec::new();
        let mut tokens = None;
        for facts in maybe.into_iter().chain([self.notes.facts.clone()]) {
            match self.agrees(stage, &facts).await {
                Ok(found) => {
                    tokens = Some(found);
                    self.notes.facts = facts;
                    break;
                }
                Err(difference) => differences.push(difference),
            }
        }
        let Some(tokens) = tokens else {
            panic!(
                "{} is not as noted: {}\n{}",
                self.notes.name,
                differences.join("; or "),
                self.notes.trail()
            );
        };
        self.notes.note(format!("settled; not: {differences:?}"));
        if let Some(tokens) = tokens {
            push(&mut self.notes.facts.user().sign_ins, tokens);
        }
        self.read_messages(stage).await.expect("the inbox answers");
        self.replay(stage).await;
        // A code that was sent before is good after; some stay for later.
        if self.notes.facts.user.as_ref().is_some_and(|user| !user.codes.is_empty()) && self.dice.one_in(2) {
            let steps = self.steps();
            let redeeming = steps
                .into_iter()
                .find(|step| matches!(step, Step::Confirm | Step::Verify | Step::ResetPassword));
            if let Some(step) = redeeming {
                self.take(stage, step).await.expect("the server answers");
            }
        }
    }

    /// Whether these are the facts. The tokens of a sign-in, if there was one.
    async fn agrees(&self, stage: &Stage, facts: &Facts) -> Result<Option<Tokens>, String> {
        let name = &self.notes.name;
        let admin = json!({ "UserPoolId": stage.pool, "Username": name });
        let found = stage.tell("AdminGetUser", admin.clone()).await;
        let nobody = Some("UserNotFoundException");
        let messages = stage.messages(name, &self.read).await.expect("the inbox answers");
        same("unread messages", messages.len(), facts.unread)?;
        let holds = |email: &str| facts.user.as_ref().is_some_and(|user| user.email == email);
        if let Some(former) = self.former_email.as_deref().filter(|former| !holds(former)) {
            same("a former address in the search", stage.listed("email", former).await, [""; 0])?;
            let body = json!({ "UserPoolId": stage.pool, "Username": former });
            same("a former alias", stage.tell("AdminGetUser", body).await.code(), nobody)?;
        }
        let Some(user) = &facts.user else {
            same("AdminGetUser", found.code(), nobody)?;
            same("ListUsers", stage.listed("username", name).await, [""; 0])?;
            same("groups", stage.tell("AdminListGroupsForUser", admin).await.code(), nobody)?;
            let password = self.former_password.as_deref().unwrap_or("Correct-horse-0");
            refusal("a sign-in", &stage.tell("InitiateAuth", stage.sign_in(name, password)).await)?;
            self.ended(stage, facts).await?;
            return Ok(None);
        };
        if !found.is_ok() {
            return Err(format!("AdminGetUser: {}", found.text));
        }
        let values = pairs(&found.body["UserAttributes"]);
        let value = |name: &str| values.get(name).cloned();
        same("status", found.body["UserStatus"].as_str(), Some(user.status.as_str()))?;
        same("enabled", found.body["Enabled"].as_bool(), Some(user.enabled))?;
        same("nickname", &value("nickname"), &user.nickname)?;
        same("email", value("email"), Some(user.email.clone()))?;
        let verified = value("email_verified").is_some_and(|value| value == "true");
        same("email_verified", verified, user.verified)?;
        same("ListUsers by name", stage.listed("username", name).await, [name.as_str()])?;
        same("ListUsers by email", stage.listed("email", &user.email).await, [name.as_str()])?;
        let by_alias = json!({ "UserPoolId": stage.pool, "Username": user.email });
        let by_alias = stage.tell("AdminGetUser", by_alias).await;
        let holder = user.has_alias().then_some(name.as_str());
        same("the alias", by_alias.body["Username"].as_str(), holder)?;
        let groups = stage.tell("AdminListGroupsForUser", admin).await.ok();
        let groups: BTreeSet<String> = names(&groups["Groups"], "GroupName").into_iter().collect();
        same("groups", groups, user.groups.iter().map(|&group| group.to_owned()).collect::<BTreeSet<_>>())?;
        self.ended(stage, facts).await?;
        for tokens in &user.sign_ins {
            let refreshed = stage.tell("InitiateAuth", stage.refresh(&tokens.refresh)).await;
            if user.enabled && user.status == Status::Confirmed && !refreshed.is_ok() {
                return Err(format!("a sign-in that stood: {}", refreshed.text));
            }
        }
        self.signs_in(stage, user).await
    }

    /// The present password is the right one, by each name; the former is not.
    async fn signs_in(&self, stage: &Stage, user: &User) -> Result<Option<Tokens>, String> {
        let name = &self.notes.name;
        let attempt = async |name: &str, password: &str| {
            stage.tell("InitiateAuth", stage.sign_in(name, password)).await
        };
        let expected = match (user.enabled, user.status) {
            (false, _) => Some("NotAuthorizedException"),
            (_, Status::Unconfirmed) => Some("UserNotConfirmedException"),
            (_, Status::Temporary) => {
                let challenge = attempt(name, &user.password).await;
                let found = challenge.body["ChallengeName"].as_str();
                same("the challenge", found, Some("NEW_PASSWORD_REQUIRED"))?;
                return Ok(None);
            }
            (_, Status::Confirmed) => None,
        };
        if expected.is_some() {
            same("a sign-in", attempt(name, &user.password).await.code(), expected)?;
            return Ok(None);
        }
        if let Some(former) = self.former_password.as_deref().filter(|former| *former != user.password) {
            same("the former password", attempt(name, former).await.code(), Some("NotAuthorizedException"))?;
        }
        if user.has_alias() {
            same("a sign-in by alias", attempt(&user.email, &user.password).await.code(), None)?;
        }
        let answer = attempt(name, &user.password).await;
        same("a sign-in", answer.code(), None)?;
        Ok(Some(Tokens::of(stage.node(), &answer)))
    }

    /// What was signed out stays so.
    async fn ended(&self, stage: &Stage, facts: &Facts) -> Result<(), String> {
        for tokens in &facts.ended {
            refusal("an ended sign-in", &stage.tell("InitiateAuth", stage.refresh(&tokens.refresh)).await)?;
            let body = json!({ "AccessToken": tokens.access });
            refusal("an access token of one", &stage.tell("GetUser", body).await)?;
        }
        Ok(())
    }

    /// What was redeemed is refused.
    async fn replay(&mut self, stage: &Stage) {
        let name = &self.notes.name;
        let user = self.notes.facts.user.as_ref();
        for (spent, acknowledged) in &self.notes.facts.spent {
            let is_live = |code: &String| {
                let live = Code::Read(code.clone());
                user.is_some_and(|user| user.codes.values().any(|code| *code == live))
            };
            let (operation, body) = match spent {
                // Six digits come again.
                Spent::SignUpCode(code) | Spent::VerifyCode(code) | Spent::ResetCode(code)
                    if is_live(code) =>
                {
                    continue;
                }
                Spent::SignUpCode(code) => {
                    let body =
                        json!({ "ClientId": stage.client, "Username": name, "ConfirmationCode": code });
                    ("ConfirmSignUp", body)
                }
                Spent::VerifyCode(code) => {
                    let Some(tokens) = user.and_then(|user| user.sign_ins.last()) else { continue };
                    let body =
                        json!({ "AccessToken": tokens.access, "AttributeName": "email", "Code": code });
                    ("VerifyUserAttribute", body)
                }
                Spent::ResetCode(code) => {
                    let body = json!({
                        "ClientId": stage.client, "Username": name, "ConfirmationCode": code,
                        "Password": "Correct-horse-replayed",
                    });
                    ("ConfirmForgotPassword", body)
                }
                Spent::Session(body) => ("RespondToAuthChallenge", body.clone()),
                // What proves a former password is refused for that, and counts as a failure.
                Spent::Proof(_, password) if user.is_none_or(|user| user.password != *password) => continue,
                Spent::Proof(body, _) => ("RespondToAuthChallenge", body.clone()),
            };
            if !acknowledged {
                // It may not have been carried out: then it is now.
                stage.tell(operation, body.clone()).await;
            }
            let answer = stage.tell(operation, body).await;
            assert_eq!(answer.status, 400, "{name}: redeemed twice: {spent:?}\n{}", self.notes.trail());
        }
        for (_, acknowledged) in &mut self.notes.facts.spent {
            *acknowledged = true;
        }
    }
}
