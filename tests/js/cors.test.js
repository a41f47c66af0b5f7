// What a browser asks before it lets a page call the API, and what it must be told.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { start } from "./lido.js";

const ORIGIN = "http://app.example:3000";
const TARGET = "AWSCognitoIdentityProviderService";

let lido;
before(async () => (lido = await start()));
after(() => lido.stop());

/** Whether a page of ORIGIN may read the answer. */
const readable = (answer) => ["*", ORIGIN].includes(answer.headers.get("access-control-allow-origin"));

test("the headers of the SDKs for browsers are allowed", async () => {
  const names = [
    "amz-sdk-invocation-id",
    "amz-sdk-request",
    "authorization",
    "cache-control",
    "content-type",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-target",
    "x-amz-user-agent",
  ];
  const answer = await fetch(lido.url, {
    method: "OPTIONS",
    headers: {
      origin: ORIGIN,
      "access-control-request-method": "POST",
      "access-control-request-headers": names.join(","),
    },
  });
  assert(answer.ok);
  assert(readable(answer));
  const list = (header) => answer.headers.get(header).toLowerCase().split(/\s*,\s*/);
  assert(list("access-control-allow-methods").includes("post"));
  const allowed = list("access-control-allow-headers");
  assert.deepEqual(names.filter((name) => !allowed.includes(name)), []);
  assert(Number(answer.headers.get("access-control-max-age")) > 0);
});

test("answers and errors can be read by the page", async () => {
  const post = (operation, body) =>
    fetch(lido.url, {
      method: "POST",
      headers: {
        origin: ORIGIN,
        "content-type": "application/x-amz-json-1.1",
        "x-amz-target": `${TARGET}.${operation}`,
      },
      body: JSON.stringify(body),
    });
  const pool = await lido.pool();
  await pool.user("ana");
  const { AccessToken } = await pool.signIn("ana");
  const [good, bad, unknown] = await Promise.all([
    post("GetUser", { AccessToken }),
    post("GetUser", { AccessToken: "a.b.c" }),
    post("NoSuchOperation", {}),
  ]);
  assert.deepEqual([good.status, bad.status], [200, 400]);
  assert.deepEqual(await bad.json(), { __type: "NotAuthorizedException", message: "Invalid Access Token" });
  for (const answer of [good, bad, unknown]) {
    assert(readable(answer));
    const exposed = answer.headers.get("access-control-expose-headers").toLowerCase();
    for (const name of ["x-amzn-requestid", "x-amzn-errortype"]) assert(exposed.includes(name));
    assert(answer.headers.get("x-amzn-requestid"));
  }
});

test("the keys of an issuer can be read by a page", async () => {
  const pool = await lido.pool();
  for (const name of ["jwks.json", "openid-configuration"]) {
    const answer = await fetch(`${lido.url}/${pool.id}/.well-known/${name}`, { headers: { origin: ORIGIN } });
    assert(answer.ok && readable(answer));
  }
});
