// Multi-factor authentication as amazon-cognito-identity-js speaks it.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, test } from "node:test";

import cognitoIdentity from "amazon-cognito-identity-js";

import { PASSWORD, start } from "./lido.js";

const { AuthenticationDetails, CognitoUser, CognitoUserPool } = cognitoIdentity;

let lido;
before(async () => (lido = await start()));
after(() => lido.stop());

/** A pool that asks for a software token. */
async function poolWithTokens(mode) {
  const pool = await lido.pool();
  await pool.cognito.setUserPoolMfaConfig({
    UserPoolId: pool.id,
    MfaConfiguration: mode,
    SoftwareTokenMfaConfiguration: { Enabled: true },
  });
  await pool.user("ana");
  return pool;
}

function view(pool) {
  const Pool = new CognitoUserPool({ UserPoolId: pool.id, ClientId: pool.clientId, endpoint: lido.url });
  return new CognitoUser({ Username: "ana", Pool });
}

/** What an authenticator app shows, some steps of 30 seconds from now. */
function code(secret, later) {
  const bits = [...secret].map((c) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(c).toString(2).padStart(5, "0"));
  const bytes = bits.join("").match(/.{8}/g).map((byte) => parseInt(byte, 2));
  const counter = Buffer.alloc(8);
  counter.writeBigInt64BE(BigInt(Math.floor(Date.now() / 30_000) + later));
  const tag = createHmac("sha1", Buffer.from(bytes)).update(counter).digest();
  const value = tag.readUInt32BE(tag[19] & 15) & 0x7fffffff;
  return String(value % 1_000_000).padStart(6, "0");
}

/** Signs in; `asked` answers what the pool asks for besides, given the functions that end it. */
const signIn = (user, asked = {}) =>
  new Promise((onSuccess, onFailure) => {
    const ends = { onSuccess, onFailure };
    const details = new AuthenticationDetails({ Username: "ana", Password: PASSWORD });
    const bound = Object.entries(asked).map(([name, answer]) => [name, (...args) => answer(ends, ...args)]);
    user.authenticateUser(details, { ...ends, ...Object.fromEntries(bound) });
  });

const associate = (user) =>
  new Promise((associateSecretCode, onFailure) =>
    user.associateSoftwareToken({ associateSecretCode, onFailure }),
  );

test("a user turns on a software token and signs in with it", async () => {
  const pool = await poolWithTokens("OPTIONAL");
  const user = view(pool);
  await signIn(user);
  const secret = await associate(user);
  const verified = await new Promise((onSuccess, onFailure) =>
    user.verifySoftwareToken(code(secret, 0), "Ana's phone", { onSuccess, onFailure }),
  );
  assert.equal(verified.Status, "SUCCESS");
  const preference = { PreferredMfa: true, Enabled: true };
  await new Promise((resolve, reject) =>
    user.setUserMfaPreference(null, preference, (error, result) => (error ? reject(error) : resolve(result))),
  );

  const again = view(pool);
  const session = await signIn(again, {
    totpRequired: (ends, name, parameters) => {
      assert.equal(parameters.FRIENDLY_DEVICE_NAME, "Ana's phone");
      again.sendMFACode(code(secret, 1), ends, name);
    },
  });
  assert(session.isValid());
});

test("a user sets up a software token where it is required", async () => {
  const pool = await poolWithTokens("ON");
  const user = view(pool);
  const session = await signIn(user, {
    mfaSetup: (ends, name) => {
      assert.equal(name, "MFA_SETUP");
      associate(user).then(
        (secret) => user.verifySoftwareToken(code(secret, 0), "phone", ends),
        ends.onFailure,
      );
    },
  });
  assert(session.isValid());
  const found = await pool.cognito.adminGetUser({ UserPoolId: pool.id, Username: "ana" });
  assert.deepEqual(found.UserMFASettingList, ["SOFTWARE_TOKEN_MFA"]);
});
