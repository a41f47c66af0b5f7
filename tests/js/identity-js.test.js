// amazon-cognito-identity-js: SRP in the code that Amplify and many web applications carry.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import cognitoIdentity from "amazon-cognito-identity-js";

import { PASSWORD, start } from "./lido.js";

const { AuthenticationDetails, CognitoUser, CognitoUserAttribute, CognitoUserPool } = cognitoIdentity;

let lido;
before(async () => (lido = await start()));
after(() => lido.stop());

/** The library's view of a pool and of one of its users. */
function views(pool, username) {
  const Pool = new CognitoUserPool({ UserPoolId: pool.id, ClientId: pool.clientId, endpoint: lido.url });
  return { Pool, user: new CognitoUser({ Username: username, Pool }) };
}

/** Calls a method that answers `(error, result)`. */
const call = (object, method, ...args) =>
  new Promise((resolve, reject) =>
    object[method](...args, (error, result) => (error ? reject(error) : resolve(result))),
  );

/** Calls a method that answers an object of functions. */
const handled = (object, method, ...args) =>
  new Promise((resolve, reject) => object[method](...args, { onSuccess: resolve, onFailure: reject }));

const signIn = (user, Username, Password) =>
  handled(user, "authenticateUser", new AuthenticationDetails({ Username, Password }));

test("a user signs up, confirms, and signs in by SRP", async () => {
  const pool = await lido.pool();
  const { Pool, user } = views(pool, "ana");
  const attributes = [new CognitoUserAttribute({ Name: "email", Value: "ana@ids.example" })];
  const signedUp = await call(Pool, "signUp", "ana", PASSWORD, attributes, []);
  assert.equal(signedUp.userConfirmed, false);
  assert.equal(signedUp.codeDeliveryDetails.Destination, "a***@i***");
  await assert.rejects(signIn(user, "ana", PASSWORD), { code: "UserNotConfirmedException" });
  await call(user, "resendConfirmationCode");
  const code = await lido.code("ana@ids.example", "CustomMessage_ResendCode");
  assert.equal(await call(user, "confirmRegistration", code, false), "SUCCESS");

  const session = await signIn(user, "ana", PASSWORD);
  assert(session.isValid());
  assert.equal(session.getIdToken().payload["cognito:username"], "ana");
  assert.equal(session.getAccessToken().payload.client_id, pool.clientId);
  const found = await call(user, "getUserAttributes");
  const byName = Object.fromEntries(found.map((attribute) => [attribute.getName(), attribute.getValue()]));
  assert.deepEqual(byName, { sub: signedUp.userSub, email: "ana@ids.example", email_verified: "true" });
});

test("SRP holds for many salts and keys", async () => {
  const pool = await lido.pool();
  for (let number = 0; number < 15; number++) {
    const password = `Größe-${number}-horse`;
    await pool.user(`user-${number}`, { password });
    const session = await signIn(views(pool, `user-${number}`).user, `user-${number}`, password);
    assert(session.isValid());
  }
});

test("a wrong password is refused", async () => {
  const pool = await lido.pool();
  await pool.user("ana");
  await assert.rejects(signIn(views(pool, "ana").user, "ana", "Wrong-horse-1"), {
    code: "NotAuthorizedException",
    message: "Incorrect username or password.",
  });
});

test("an alias signs in by SRP as the user behind it", async () => {
  const pool = await lido.pool({ UsernameAttributes: ["email"] });
  await pool.user("ana@alias.example", { email: "ana@alias.example" });
  const session = await signIn(views(pool, "ana@alias.example").user, "ana@alias.example", PASSWORD);
  const { sub, "cognito:username": username } = session.getIdToken().payload;
  assert.equal(username, sub);
});

test("a temporary password is replaced", async () => {
  const pool = await lido.pool();
  await pool.cognito.adminCreateUser({
    UserPoolId: pool.id,
    Username: "kim",
    TemporaryPassword: "Temporary-1",
    MessageAction: "SUPPRESS",
    UserAttributes: [{ Name: "email", Value: "kim@ids.example" }],
  });
  const { user } = views(pool, "kim");
  const session = await new Promise((resolve, reject) =>
    user.authenticateUser(new AuthenticationDetails({ Username: "kim", Password: "Temporary-1" }), {
      onSuccess: () => reject(new Error("a new password must be asked for")),
      onFailure: reject,
      newPasswordRequired: (attributes, required) => {
        assert.equal(attributes.email, "kim@ids.example");
        assert.deepEqual(required, []);
        user.completeNewPasswordChallenge(PASSWORD, {}, { onSuccess: resolve, onFailure: reject });
      },
    }),
  );
  assert(session.isValid());
  assert((await signIn(views(pool, "kim").user, "kim", PASSWORD)).isValid());
});

test("a session is refreshed", async () => {
  const pool = await lido.pool();
  await pool.user("ana");
  const { user } = views(pool, "ana");
  const session = await signIn(user, "ana", PASSWORD);
  const refreshed = await call(user, "refreshSession", session.getRefreshToken());
  assert(refreshed.isValid());
  assert.notEqual(refreshed.getAccessToken().getJwtToken(), session.getAccessToken().getJwtToken());
  const [before, now] = [session, refreshed].map((one) => one.getAccessToken().payload);
  assert.deepEqual([now.origin_jti, now.auth_time], [before.origin_jti, before.auth_time]);
});

test("an address is verified", async () => {
  const pool = await lido.pool();
  await pool.user("ana");
  const { user } = views(pool, "ana");
  await signIn(user, "ana", PASSWORD);
  const changed = [new CognitoUserAttribute({ Name: "email", Value: "ana@new.example" })];
  assert.equal(await call(user, "updateAttributes", changed), "SUCCESS");
  assert.equal((await pool.attributes("ana")).email_verified, "false");

  assert.equal(await handled(user, "getAttributeVerificationCode", "email"), "SUCCESS");
  const code = await lido.code("ana@new.example", "CustomMessage_VerifyUserAttribute");
  const wrong = code === "000000" ? "000001" : "000000";
  await assert.rejects(handled(user, "verifyAttribute", "email", wrong), { code: "CodeMismatchException" });
  assert.equal(await handled(user, "verifyAttribute", "email", code), "SUCCESS");
  assert.equal((await pool.attributes("ana")).email_verified, "true");
});

test("a password is changed, and a forgotten one replaced", async () => {
  const pool = await lido.pool();
  await pool.user("ana", { email: "ana@forgot.example" });
  const { user } = views(pool, "ana");
  await signIn(user, "ana", PASSWORD);
  assert.equal(await call(user, "changePassword", PASSWORD, "Another-horse-2"), "SUCCESS");
  await assert.rejects(signIn(views(pool, "ana").user, "ana", PASSWORD), { code: "NotAuthorizedException" });

  const { user: forgetful } = views(pool, "ana");
  await handled(forgetful, "forgotPassword");
  const code = await lido.code("ana@forgot.example", "CustomMessage_ForgotPassword");
  await handled(forgetful, "confirmPassword", code, "Third-horse-3");
  assert((await signIn(forgetful, "ana", "Third-horse-3")).isValid());
});

test("a user signs out everywhere", async () => {
  const pool = await lido.pool();
  await pool.user("ana");
  const [here, there] = [views(pool, "ana").user, views(pool, "ana").user];
  await signIn(here, "ana", PASSWORD);
  const elsewhere = await signIn(there, "ana", PASSWORD);
  assert.equal(await handled(here, "globalSignOut"), "SUCCESS");
  await assert.rejects(call(there, "refreshSession", elsewhere.getRefreshToken()), {
    code: "NotAuthorizedException",
    message: "Refresh Token has been revoked",
  });
});
