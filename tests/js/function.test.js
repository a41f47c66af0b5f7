// A trigger in a Node function: a process that speaks the Lambda Runtime API.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { UserLambdaValidationException } from "@aws-sdk/client-cognito-identity-provider";

import { PASSWORD, start } from "./lido.js";

const ARN = "arn:aws:lambda:us-east-1:000000000000:function:custom-message";
const path = (name) => fileURLToPath(new URL(`functions/${name}`, import.meta.url));

let lido;
before(async () => {
  const command = JSON.stringify([process.execPath, path("runtime.mjs"), path("custom-message.mjs")]);
  lido = await start({ config: `[functions."${ARN}"]\ncommand = ${command}\n` });
});
after(() => lido.stop());

test("a message is rewritten by what the client said", async () => {
  const pool = await lido.pool({ LambdaConfig: { CustomMessage: ARN } });
  await pool.user("ana");
  const { AccessToken } = await pool.signIn("ana");
  const ask = (language) =>
    pool.cognito.getUserAttributeVerificationCode({
      AccessToken,
      AttributeName: "email",
      ClientMetadata: { language },
    });

  for (const [language, greeting] of [["de", "Hallo"], ["en", "Hello"]]) {
    await ask(language);
    const message = await lido.message("ana@example.com");
    assert.equal(message.subject, `${greeting} from custom-message`);
    assert.equal(
      message.body,
      `${greeting} ana@example.com, ${message.code} (CustomMessage_VerifyUserAttribute)`,
    );
  }
  const { code } = await lido.message("ana@example.com");
  await assert.rejects(ask("none"), (error) => {
    assert(error instanceof UserLambdaValidationException);
    assert.equal(error.message, "CustomMessage failed with error No words for ana.");
    return true;
  });
  // What failed has sent nothing and has not touched the code before it.
  assert.equal((await lido.message("ana@example.com")).code, code);
  await pool.cognito.verifyUserAttribute({ AccessToken, AttributeName: "email", Code: code });
});

test("many calls at once are all answered", async () => {
  const pool = await lido.pool({ LambdaConfig: { CustomMessage: ARN } });
  const names = Array.from({ length: 12 }, (_, number) => `many-${number}`);
  await Promise.all(
    names.map((Username) =>
      pool.cognito.signUp({
        ClientId: pool.clientId,
        Username,
        Password: PASSWORD,
        UserAttributes: [{ Name: "email", Value: `${Username}@example.com` }],
        ClientMetadata: { language: "de" },
      }),
    ),
  );
  for (const name of names) {
    const message = await lido.message(`${name}@example.com`);
    assert.equal(message.body, `Hallo ${name}@example.com, ${message.code} (CustomMessage_SignUp)`);
  }
});
