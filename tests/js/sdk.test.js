// The AWS SDK for JavaScript, version 3.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, test } from "node:test";

import {
  CodeMismatchException,
  CognitoIdentityProviderClient,
  CognitoIdentityProviderServiceException,
  ExpiredCodeException,
  GetUserAttributeVerificationCodeCommand,
  GetUserCommand,
  InvalidParameterException,
  NotAuthorizedException,
  paginateListUsers,
  UserNotConfirmedException,
  UserNotFoundException,
} from "@aws-sdk/client-cognito-identity-provider";

import { PASSWORD, REGION, start } from "./lido.js";

let lido;
before(async () => (lido = await start()));
after(() => lido.stop());

// An application in a browser has no credentials, and asking for some would be an error.
const unsigned = () =>
  lido.client({
    credentials: async () => {
      throw new Error("no credentials are to be had");
    },
  });

test("a user signs up, confirms, signs in and verifies an address", async () => {
  const pool = await lido.pool();
  const app = unsigned();
  const email = "ana@sdk.example";
  const ClientId = pool.clientId;
  const signedUp = await app.signUp({
    ClientId,
    Username: "ana",
    Password: PASSWORD,
    UserAttributes: [{ Name: "email", Value: email }],
  });
  assert.equal(signedUp.UserConfirmed, false);
  assert.deepEqual(signedUp.CodeDeliveryDetails, {
    AttributeName: "email",
    DeliveryMedium: "EMAIL",
    Destination: "a***@s***",
  });
  const signIn = {
    ClientId,
    AuthFlow: "USER_PASSWORD_AUTH",
    AuthParameters: { USERNAME: "ana", PASSWORD },
  };
  await assert.rejects(app.initiateAuth(signIn), UserNotConfirmedException);
  const ConfirmationCode = await lido.code(email, "CustomMessage_SignUp");
  await app.confirmSignUp({ ClientId, Username: "ana", ConfirmationCode });
  const { AuthenticationResult: tokens } = await app.initiateAuth(signIn);
  const { AccessToken } = tokens;
  assert.deepEqual([tokens.TokenType, tokens.ExpiresIn], ["Bearer", 3600]);

  const { CodeDeliveryDetails } = await app.getUserAttributeVerificationCode({ AccessToken, AttributeName: "email" });
  assert.deepEqual(CodeDeliveryDetails, { AttributeName: "email", DeliveryMedium: "EMAIL", Destination: "a***@s***" });
  const Code = await lido.code(email, "CustomMessage_VerifyUserAttribute");
  const wrong = Code === "000000" ? "000001" : "000000";
  await assert.rejects(app.verifyUserAttribute({ AccessToken, AttributeName: "email", Code: wrong }), (error) => {
    assert(error instanceof CodeMismatchException);
    assert.equal(error.message, "Invalid verification code provided, please try again.");
    assert.equal(error.$fault, "client");
    assert.equal(error.$metadata.httpStatusCode, 400);
    assert.match(error.$metadata.requestId, /^[0-9a-f-]{36}$/);
    return true;
  });
  await app.verifyUserAttribute({ AccessToken, AttributeName: "email", Code });
  await assert.rejects(app.verifyUserAttribute({ AccessToken, AttributeName: "email", Code }), ExpiredCodeException);
  assert.equal((await pool.attributes("ana")).email_verified, "true");

  await app.globalSignOut({ AccessToken });
  await assert.rejects(app.getUser({ AccessToken }), {
    name: "NotAuthorizedException",
    message: "Access Token has been revoked",
  });
});

test("commands work with a bare client too", async () => {
  const pool = await lido.pool();
  await pool.user("eva");
  const { AccessToken } = await pool.signIn("eva");
  const client = new CognitoIdentityProviderClient({ endpoint: lido.url, region: REGION });
  const user = await client.send(new GetUserCommand({ AccessToken }));
  assert.equal(user.Username, "eva");
  const command = new GetUserAttributeVerificationCodeCommand({ AccessToken, AttributeName: "email" });
  assert.equal((await client.send(command)).CodeDeliveryDetails.DeliveryMedium, "EMAIL");
});

test("errors are the classes of the SDK", async () => {
  const pool = await lido.pool();
  const signed = lido.client();
  await assert.rejects(signed.adminGetUser({ UserPoolId: pool.id, Username: "nobody" }), (error) => {
    assert(error instanceof UserNotFoundException && error instanceof CognitoIdentityProviderServiceException);
    assert.equal(error.message, "User does not exist.");
    return true;
  });
  await assert.rejects(unsigned().getUser({ AccessToken: "a.b.c" }), (error) => {
    assert(error instanceof NotAuthorizedException);
    assert.equal(error.message, "Invalid Access Token");
    return true;
  });
  await assert.rejects(
    signed.getUserAttributeVerificationCode({ AccessToken: "no spaces allowed", AttributeName: "email" }),
    InvalidParameterException,
  );
});

test("times are dates, and pages follow each other", async () => {
  const pool = await lido.pool();
  assert(Math.abs(pool.description.CreationDate.getTime() - Date.now()) < 120_000);
  const names = Array.from({ length: 7 }, (_, number) => `user-${number}`);
  for (const Username of names) {
    await pool.cognito.adminCreateUser({ UserPoolId: pool.id, Username, MessageAction: "SUPPRESS" });
  }
  const found = [];
  for await (const page of paginateListUsers({ client: pool.cognito, pageSize: 3 }, { UserPoolId: pool.id })) {
    found.push(...page.Users.map((user) => user.Username));
  }
  assert.deepEqual(found.sort(), names);
});

test("a client with a secret shows its hash", async () => {
  const pool = await lido.pool({ client: { GenerateSecret: true } });
  await pool.user("lou");
  const hash = createHmac("sha256", pool.clientSecret).update(`lou${pool.clientId}`).digest("base64");
  const request = (proof) => ({
    ClientId: pool.clientId,
    AuthFlow: "USER_PASSWORD_AUTH",
    AuthParameters: { USERNAME: "lou", PASSWORD, ...proof },
  });
  await assert.rejects(unsigned().initiateAuth(request({})), {
    name: "NotAuthorizedException",
    message: `Client ${pool.clientId} is configured with secret but SECRET_HASH was not received`,
  });
  const { AuthenticationResult } = await unsigned().initiateAuth(request({ SECRET_HASH: hash }));
  assert.equal(AuthenticationResult.TokenType, "Bearer");
});
