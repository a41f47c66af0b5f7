//! Those who use the pool: what they do.

use std::collections::{BTreeMap, BTreeSet};

use lido_tests::{Answer, SystemRandom, attributes};
use serde_json::{Value, json};

use super::GROUPS;
use super::chance::Dice;
use super::facts::{Code, Facts, Purpose, Spent, Status, User, push};
use super::stage::{Notes, Stage};

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    SignUp,
    Confirm,
    Nickname,
    MoveEmail,
    VouchForEmail,
    RequestCode,
    Verify,
    SetPassword,
    ChangePassword,
    SetTemporaryPassword,
    ReplaceTemporaryPassword,
    ForgetPassword,
    ResetPassword,
    Join,
    Leave,
    SignIn,
    SignInBySrp,
    Revoke,
    SignOut,
    Disable,
    Enable,
    Delete,
}

/// A user name and whoever uses it.
pub(super) struct Person {
    pub(super) notes: Notes<Facts>,
    pub(super) dice: Dice,
    /// Makes every password, address and nickname another one.
    pub(super) count: usize,
    /// The last message that was read.
    pub(super) read: String,
    /// The password before the present one, and the address.
    pub(super) former_password: Option<String>,
    pub(super) former_email: Option<String>,
}

impl Person {
    pub(super) fn new(index: usize, dice: Dice) -> Self {
        Self {
            notes: Notes::new(format!("user{index}"), Facts::default()),
            dice,
            count: 0,
            read: "0".to_owned(),
            former_password: None,
            former_email: None,
        }
    }

    pub(super) fn number(&mut self) -> usize {
        self.count += 1;
        self.count
    }

    fn new_email(&mut self) -> String {
        self.former_email = self.notes.facts.user.as_ref().map(|user| user.email.clone());
        let number = self.number();
        format!("{}-{number}@example.com", self.notes.name)
    }

    fn new_password(&mut self) -> String {
        self.former_password = self.notes.facts.user.as_ref().map(|user| user.password.clone());
        format!("Correct-horse-{}", self.number())
    }

    /// What can be done now, the frequent more than once.
    pub(super) fn steps(&self) -> Vec<Step> {
        use Step::*;
        let Some(user) = &self.notes.facts.user else { return vec![SignUp] };
        let mut steps = vec![Nickname, Nickname, Join, Leave, Delete];
        let always = match (user.enabled, user.status) {
            (false, _) => &[Enable, Enable][..],
            (_, Status::Unconfirmed) => &[Confirm, Confirm, Confirm],
            (_, Status::Temporary) => &[ReplaceTemporaryPassword, ReplaceTemporaryPassword, SetPassword],
            (_, Status::Confirmed) => &[
                MoveEmail,
                VouchForEmail,
                SetPassword,
                SetTemporaryPassword,
                Disable,
                SignIn,
                SignIn,
                SignInBySrp,
                SignOut,
            ],
        };
        steps.extend(always);
        if user.enabled && user.status == Status::Confirmed {
            if !user.sign_ins.is_empty() {
                steps.extend([RequestCode, RequestCode, ChangePassword, Revoke]);
                if user.codes.contains_key(&Purpose::Verify) {
                    steps.extend([Verify, Verify]);
                }
            }
            if user.verified {
                steps.push(ForgetPassword);
            }
            if user.codes.contains_key(&Purpose::Reset) {
                steps.extend([ResetPassword, ResetPassword]);
            }
        }
        steps
    }

    /// Takes steps until one gets no answer.
    pub(super) async fn live(&mut self, stage: &Stage) {
        loop {
            let steps = self.steps();
            let step = self.dice.pick(&steps);
            if self.take(stage, step).await.is_none() {
                return;
            }
        }
    }

    /// Reads the messages that came. None: there was no answer.
    pub(super) async fn read_messages(&mut self, stage: &Stage) -> Option<()> {
        let messages = stage.messages(&self.notes.name, &self.read).await?;
        let trail = self.notes.trail();
        let facts = &mut self.notes.facts;
        assert_eq!(messages.len(), facts.unread, "{}: messages\n{trail}", self.notes.name);
        facts.unread = 0;
        let mut codes = BTreeMap::new();
        for message in &messages {
            let text = |member: &str| message[member].as_str().expect("a message has it").to_owned();
            codes.insert(Purpose::of(&text("source")), text("code"));
            self.read = text("id");
        }
        if let Some(user) = &mut facts.user {
            for (purpose, code) in &mut user.codes {
                if *code == Code::Sent {
                    *code = Code::Read(codes.remove(purpose).expect("a code exists with its message"));
                }
            }
        }
        Some(())
    }

    pub(super) async fn code(&mut self, stage: &Stage, purpose: Purpose) -> Option<String> {
        if self.notes.facts.user().codes[&purpose] == Code::Sent {
            self.read_messages(stage).await?;
        }
        match &self.notes.facts.user().codes[&purpose] {
            Code::Read(code) => Some(code.clone()),
            Code::Sent => unreachable!("it was read"),
        }
    }

    /// AdminUpdateUserAttributes.
    fn update(&self, stage: &Stage, values: Value) -> Value {
        json!({
            "UserPoolId": stage.pool, "Username": self.notes.name, "UserAttributes": attributes(values),
        })
    }

    pub(super) async fn take(&mut self, stage: &Stage, step: Step) -> Option<()> {
        let name = self.notes.name.clone();
        let admin = json!({ "UserPoolId": stage.pool, "Username": name });
        let with = |extra: Value| lido_tests::merged(admin.clone(), extra);
        let access =
            self.notes.facts.user.as_ref().and_then(|user| user.sign_ins.last()).map(|tokens| &tokens.access);
        let access = access.cloned();
        match step {
            Step::SignUp => {
                let (email, password) = (self.new_email(), self.new_password());
                let body = json!({
                    "ClientId": stage.client, "Username": name, "Password": password,
                    "UserAttributes": [{ "Name": "email", "Value": email }],
                });
                let sign_up = |facts: &mut Facts, _: Option<&Answer>| {
                    facts.user = Some(User {
                        status: Status::Unconfirmed,
                        enabled: true,
                        password,
                        nickname: None,
                        email,
                        verified: false,
                        groups: BTreeSet::new(),
                        codes: BTreeMap::new(),
                        sign_ins: Vec::new(),
                    });
                    facts.send(Purpose::SignUp);
                };
                self.notes.change(stage, "SignUp", body, sign_up).await?;
            }
            Step::Confirm => {
                let code = self.code(stage, Purpose::SignUp).await?;
                let body = json!({ "ClientId": stage.client, "Username": name, "ConfirmationCode": code });
                let confirm = |facts: &mut Facts, answer: Option<&Answer>| {
                    let user = facts.user();
                    user.status = Status::Confirmed;
                    user.verified = true;
                    user.codes.remove(&Purpose::SignUp);
                    facts.spend(Spent::SignUpCode(code), answer);
                };
                self.notes.change(stage, "ConfirmSignUp", body, confirm).await?;
            }
            Step::Nickname => {
                let nickname = self.number().to_string();
                let values = json!({ "nickname": nickname });
                let set = |facts: &mut Facts, _: Option<&Answer>| facts.user().nickname = Some(nickname);
                match access.filter(|_| self.dice.one_in(2)) {
                    Some(access) => {
                        let body = json!({ "AccessToken": access, "UserAttributes": attributes(values) });
                        self.notes.change(stage, "UpdateUserAttributes", body, set).await?;
                    }
                    None => {
                        let body = self.update(stage, values);
                        self.notes.change(stage, "AdminUpdateUserAttributes", body, set).await?;
                    }
                }
            }
            Step::MoveEmail => {
                let email = self.new_email();
                let body = self.update(stage, json!({ "email": email }));
                let moved = |facts: &mut Facts, _: Option<&Answer>| {
                    let user = facts.user();
                    user.email = email;
                    user.verified = false;
                    user.codes.clear();
                    facts.send(Purpose::Verify);
                };
                self.notes.change(stage, "AdminUpdateUserAttributes", body, moved).await?;
            }
            Step::VouchForEmail => {
                let email = self.new_email();
                let body = self.update(stage, json!({ "email": email, "email_verified": "true" }));
                let vouched = |facts: &mut Facts, _: Option<&Answer>| {
                    let user = facts.user();
                    user.email = email;
                    user.verified = true;
                    user.codes.clear();
                };
                self.notes.change(stage, "AdminUpdateUserAttributes", body, vouched).await?;
            }
            Step::RequestCode => {
                let body = json!({ "AccessToken": access, "AttributeName": "email" });
                let sent = |facts: &mut Facts, _: Option<&Answer>| facts.send(Purpose::Verify);
                self.notes.change(stage, "GetUserAttributeVerificationCode", body, sent).await?;
            }
            Step::Verify => {
                let code = self.code(stage, Purpose::Verify).await?;
                let body = json!({ "AccessToken": access, "AttributeName": "email", "Code": code });
                let verified = |facts: &mut Facts, answer: Option<&Answer>| {
                    let user = facts.user();
                    user.verified = true;
                    user.codes.remove(&Purpose::Verify);
                    facts.spend(Spent::VerifyCode(code), answer);
                };
                self.notes.change(stage, "VerifyUserAttribute", body, verified).await?;
            }
            Step::SetPassword | Step::SetTemporaryPassword => {
                let password = self.new_password();
                let is_permanent = matches!(step, Step::SetPassword);
                let status = if is_permanent { Status::Confirmed } else { Status::Temporary };
                let body = with(json!({ "Password": password, "Permanent": is_permanent }));
                let set = |facts: &mut Facts, _: Option<&Answer>| facts.set_password(&password, status);
                self.notes.change(stage, "AdminSetUserPassword", body, set).await?;
            }
            Step::ChangePassword => {
                let previous = self.notes.facts.user().password.clone();
                let password = self.new_password();
                let body = json!({ "AccessToken": access, "PreviousPassword": previous, "ProposedPassword": password });
                let set =
                    |facts: &mut Facts, _: Option<&Answer>| facts.set_password(&password, Status::Confirmed);
                self.notes.change(stage, "ChangePassword", body, set).await?;
            }
            Step::ReplaceTemporaryPassword => {
                let begin = stage.sign_in(&name, &self.notes.facts.user().password);
                let challenge = self.notes.change(stage, "InitiateAuth", begin, |_, _| {}).await?;
                let password = self.new_password();
                let responses = json!({ "USERNAME": name, "NEW_PASSWORD": password });
                let session = challenge.body["Session"].as_str();
                let body = stage.respond("NEW_PASSWORD_REQUIRED", session, &responses);
                let spent = Spent::Session(body.clone());
                let set = |facts: &mut Facts, answer: Option<&Answer>| {
                    facts.set_password(&password, Status::Confirmed);
                    facts.signed_in(stage, answer);
                    facts.spend(spent, answer);
                };
                self.notes.change(stage, "RespondToAuthChallenge", body, set).await?;
            }
            Step::ForgetPassword => {
                let body = json!({ "ClientId": stage.client, "Username": name });
                let sent = |facts: &mut Facts, _: Option<&Answer>| facts.send(Purpose::Reset);
                self.notes.change(stage, "ForgotPassword", body, sent).await?;
            }
            Step::ResetPassword => {
                let code = self.code(stage, Purpose::Reset).await?;
                let password = self.new_password();
                let body = json!({
                    "ClientId": stage.client, "Username": name, "ConfirmationCode": code, "Password": password,
                });
                let set = |facts: &mut Facts, answer: Option<&Answer>| {
                    facts.set_password(&password, Status::Confirmed);
                    facts.spend(Spent::ResetCode(code), answer);
                };
                self.notes.change(stage, "ConfirmForgotPassword", body, set).await?;
            }
            Step::Join => {
                let group = self.dice.pick(&GROUPS);
                let join = |facts: &mut Facts, _: Option<&Answer>| _ = facts.user().groups.insert(group);
                let body = with(json!({ "GroupName": group }));
                self.notes.change(stage, "AdminAddUserToGroup", body, join).await?;
            }
            Step::Leave => {
                let group = self.dice.pick(&GROUPS);
                let leave = |facts: &mut Facts, _: Option<&Answer>| _ = facts.user().groups.remove(group);
                let body = with(json!({ "GroupName": group }));
                self.notes.change(stage, "AdminRemoveUserFromGroup", body, leave).await?;
            }
            Step::SignIn => {
                let body = stage.sign_in(&name, &self.notes.facts.user().password);
                let signed_in = |facts: &mut Facts, answer: Option<&Answer>| facts.signed_in(stage, answer);
                self.notes.change(stage, "InitiateAuth", body, signed_in).await?;
            }
            Step::SignInBySrp => {
                let password = self.notes.facts.user().password.clone();
                let proof = srp(stage, &name, &password).await?;
                let spent = Spent::Proof(proof.clone(), password);
                let signed_in = |facts: &mut Facts, answer: Option<&Answer>| {
                    facts.signed_in(stage, answer);
                    facts.spend(spent, answer);
                };
                self.notes.change(stage, "RespondToAuthChallenge", proof, signed_in).await?;
            }
            Step::Revoke => {
                let sign_ins = &self.notes.facts.user().sign_ins;
                let index = self.dice.below(sign_ins.len());
                let token = self.notes.facts.user().sign_ins[index].refresh.clone();
                let body = json!({ "ClientId": stage.client, "Token": token });
                let revoked = |facts: &mut Facts, _: Option<&Answer>| {
                    let tokens = facts.user().sign_ins.remove(index);
                    push(&mut facts.ended, tokens);
                };
                self.notes.change(stage, "RevokeToken", body, revoked).await?;
            }
            Step::SignOut => {
                let ended = |facts: &mut Facts, _: Option<&Answer>| facts.end_sign_ins();
                match access {
                    Some(access) => {
                        self.notes
                            .change(stage, "GlobalSignOut", json!({ "AccessToken": access }), ended)
                            .await?
                    }
                    None => self.notes.change(stage, "AdminUserGlobalSignOut", admin, ended).await?,
                };
            }
            Step::Disable => {
                let disabled = |facts: &mut Facts, _: Option<&Answer>| {
                    facts.end_sign_ins();
                    facts.user().enabled = false;
                };
                self.notes.change(stage, "AdminDisableUser", admin, disabled).await?;
            }
            Step::Enable => {
                let enabled = |facts: &mut Facts, _: Option<&Answer>| facts.user().enabled = true;
                self.notes.change(stage, "AdminEnableUser", admin, enabled).await?;
            }
            Step::Delete => {
                self.former_email = Some(self.notes.facts.user().email.clone());
                let deleted = |facts: &mut Facts, _: Option<&Answer>| {
                    facts.end_sign_ins();
                    facts.user = None;
                };
                self.notes.change(stage, "AdminDeleteUser", admin, deleted).await?;
            }
        }
        Some(())
    }
}

/// The answer to PASSWORD_VERIFIER. None: the server did not give the challenge.
async fn srp(stage: &Stage, name: &str, password: &str) -> Option<Value> {
    let app = lido_tests::App {
        lido: stage.node().clone(),
        pool: lido_tests::Pool { lido: stage.node().clone(), id: stage.pool.clone(), arn: String::new() },
        id: stage.client.clone(),
        secret: None,
    };
    let exchange = lido_crypto::srp::client::Client::new(&SystemRandom);
    let body = json!({
        "ClientId": stage.client, "AuthFlow": "USER_SRP_AUTH",
        "AuthParameters": { "USERNAME": name, "SRP_A": exchange.public_hex() },
    });
    let challenge = stage.ask("InitiateAuth", body).await?.ok();
    // Development does not compare the time.
    let timestamp = lido_crypto::srp::client::format_timestamp(0);
    let responses = app.srp_responses(&exchange, &challenge["ChallengeParameters"], password, &timestamp);
    Some(stage.respond("PASSWORD_VERIFIER", None, &responses))
}
