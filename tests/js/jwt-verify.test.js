// aws-jwt-verify: tokens as a resource server checks them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { CognitoJwtVerifier, JwtVerifier } from "aws-jwt-verify";
import { JwtInvalidSignatureError } from "aws-jwt-verify/error";

import { start } from "./lido.js";

/** What the pool publishes of its keys. */
const keysOf = async (lido, pool) => (await fetch(`${lido.url}/${pool.id}/.well-known/jwks.json`)).json();

/** A token with another last byte of its signature. */
function forged(token) {
  const [header, payload, signature] = token.split(".");
  const bytes = Buffer.from(signature, "base64url");
  bytes[bytes.length - 1] ^= 1;
  return [header, payload, bytes.toString("base64url")].join(".");
}

test("tokens with Lido's own issuer are verified", async (t) => {
  const lido = await start();
  t.after(() => lido.stop());
  const pool = await lido.pool();
  await pool.user("ana");
  const tokens = await pool.signIn("ana");
  const issuer = `${lido.publicUrl}/${pool.id}`;
  const jwksUri = `${lido.url}/${pool.id}/.well-known/jwks.json`;

  // The library fetches keys by https alone, so they are handed to it.
  const identity = JwtVerifier.create({ issuer, audience: pool.clientId, jwksUri });
  const access = JwtVerifier.create({ issuer, audience: null, jwksUri });
  for (const verifier of [identity, access]) verifier.cacheJwks(await keysOf(lido, pool));

  const idClaims = await identity.verify(tokens.IdToken);
  assert.equal(idClaims.token_use, "id");
  assert.equal(idClaims["cognito:username"], "ana");
  const accessClaims = await access.verify(tokens.AccessToken, {
    customJwtCheck: ({ payload }) => assert.equal(payload.client_id, pool.clientId),
  });
  assert.equal(accessClaims.sub, idClaims.sub);
  await assert.rejects(identity.verify(forged(tokens.IdToken)), JwtInvalidSignatureError);
});

test("tokens with the issuer of AWS are verified by the verifier for Cognito", async (t) => {
  const lido = await start({ config: 'issuer = "aws"\n' });
  t.after(() => lido.stop());
  const pool = await lido.pool();
  await pool.user("ana");
  const tokens = await pool.signIn("ana");

  const verifier = (userPoolId, tokenUse) =>
    CognitoJwtVerifier.create({ userPoolId, tokenUse, clientId: pool.clientId });
  const [identity, access] = ["id", "access"].map((tokenUse) => verifier(pool.id, tokenUse));
  for (const one of [identity, access]) one.cacheJwks(await keysOf(lido, pool));
  assert.equal((await identity.verify(tokens.IdToken)).email, "ana@example.com");
  const claims = await access.verify(tokens.AccessToken, { scope: "aws.cognito.signin.user.admin" });
  assert.equal(claims.iss, `https://cognito-idp.us-east-1.amazonaws.com/${pool.id}`);
  await assert.rejects(access.verify(tokens.IdToken), /Token use not allowed/);
  await assert.rejects(identity.verify(forged(tokens.IdToken)), JwtInvalidSignatureError);

  const other = await lido.pool();
  const elsewhere = verifier(other.id, "id");
  elsewhere.cacheJwks(await keysOf(lido, pool));
  await assert.rejects(elsewhere.verify(tokens.IdToken));
});
