// OpenID Connect discovery, as openid-client and jose do it.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { createRemoteJWKSet, errors, jwtVerify } from "jose";
import { allowInsecureRequests, discovery } from "openid-client";

import { start } from "./lido.js";

let lido;
before(async () => (lido = await start()));
after(() => lido.stop());

test("a client finds the issuer and its keys by itself", async () => {
  const pool = await lido.pool();
  await pool.user("ana");
  const tokens = await pool.signIn("ana");
  const issuer = `${lido.publicUrl}/${pool.id}`;

  // Plain http is allowed to it because this is the loopback.
  const found = await discovery(new URL(issuer), pool.clientId, undefined, undefined, {
    execute: [allowInsecureRequests],
  });
  const metadata = found.serverMetadata();
  assert.equal(metadata.issuer, issuer);
  assert.deepEqual(metadata.id_token_signing_alg_values_supported, ["RS256"]);

  const keys = createRemoteJWKSet(new URL(metadata.jwks_uri));
  const { payload } = await jwtVerify(tokens.IdToken, keys, { issuer, audience: pool.clientId });
  assert.equal(payload["cognito:username"], "ana");
  await jwtVerify(tokens.AccessToken, keys, { issuer });
  await assert.rejects(jwtVerify(tokens.IdToken, keys, { issuer: `${issuer}x` }), errors.JWTClaimValidationFailed);
});

test("only endpoints that answer are advertised", async () => {
  const pool = await lido.pool();
  const metadata = await (await fetch(`${lido.url}/${pool.id}/.well-known/openid-configuration`)).json();
  const addresses = Object.entries(metadata).filter(([name]) => /_(endpoint|uri)$/.test(name));
  assert(addresses.length > 0);
  for (const [name, address] of addresses) {
    const answer = await fetch(address, { redirect: "manual" });
    assert.notEqual(answer.status, 404, name);
  }
});

test("an unknown pool has no documents", async () => {
  for (const name of ["jwks.json", "openid-configuration"]) {
    const answer = await fetch(`${lido.url}/us-east-1_AbsentAbs/.well-known/${name}`);
    assert.equal(answer.status, 404);
  }
});
