// A Lido process of its own, and what a test asks of it beside the API.

import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createWriteStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { CognitoIdentityProvider } from "@aws-sdk/client-cognito-identity-provider";

export const PASSWORD = "Correct-horse-1";
export const REGION = "us-east-1";

// Somebody who may make databases: then every server has one, in place of the memory.
const administrator = process.env.LIDO_TEST_POSTGRES;

// No test may depend on who runs it: the settings of that person's own account are not read.
for (const name of Object.keys(process.env)) {
  if (name.startsWith("AWS_") || (name.startsWith("LIDO_") && name !== "LIDO_BIN")) delete process.env[name];
}
Object.assign(process.env, {
  AWS_CONFIG_FILE: "/dev/null",
  AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
  AWS_EC2_METADATA_DISABLED: "true",
  AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: "true",
});

const binary = process.env.LIDO_BIN ?? fileURLToPath(new URL("../../target/debug/lido", import.meta.url));

/** Runs a statement as the administrator. */
function sql(statement) {
  const flags = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--command", statement];
  execFileSync("psql", [administrator, ...flags], { stdio: ["ignore", "ignore", "inherit"] });
}

/** Makes a database: its name, and the flags that put a server there. */
function database(folder) {
  if (!administrator) return { flags: ["--data", ":memory:"] };
  const name = `lido_test_${randomBytes(8).toString("hex")}`;
  sql(`CREATE DATABASE ${name} TEMPLATE template0`);
  const url = new URL(administrator);
  url.pathname = name;
  return { name, flags: ["--data", join(folder, "data"), "--database", url.href] };
}

/** Starts `lido dev` on a free port. `config` is the text of its lido.toml. */
export async function start({ args = [], config = "" } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "lido-js-"));
  if (config) writeFileSync(join(folder, "lido.toml"), config);
  const log = join(folder, "lido.log");
  const { name, flags } = database(folder);
  const child = spawn(binary, ["dev", "--listen", "127.0.0.1:0", ...flags, ...args], {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"],
  });
  child.stderr.pipe(createWriteStream(log));
  const ended = once(child, "exit");
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.startsWith("ready ")) return new Lido(child, ended, folder, line.split(" ")[1], name);
  }
  await ended;
  throw new Error(`Lido did not start:\n${readFileSync(log)}`);
}

export class Lido {
  constructor(child, ended, folder, url, database) {
    this.child = child;
    this.ended = ended;
    this.folder = folder;
    this.url = url;
    this.database = database;
    // The host of the issuer in development mode.
    this.publicUrl = `http://localhost:${new URL(url).port}`;
    // What else it prints is of no interest, but must be read.
    child.stdout.resume();
  }

  async stop() {
    this.child.kill("SIGTERM");
    const [code] = await this.ended;
    rmSync(this.folder, { recursive: true });
    if (this.database) sql(`DROP DATABASE IF EXISTS ${this.database} WITH (FORCE)`);
    if (code !== 0) throw new Error(`Lido ended with ${code}`);
  }

  /** The SDK with credentials that nobody knows. */
  client(options = {}) {
    return new CognitoIdentityProvider({
      endpoint: this.url,
      region: REGION,
      credentials: { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret" },
      maxAttempts: 1,
      ...options,
    });
  }

  /** The newest message to somebody, of one trigger source if it is given. */
  async message(destination, source) {
    for (let attempt = 0; attempt < 200; attempt++) {
      const answer = await fetch(`${this.url}/_lido/messages?destination=${encodeURIComponent(destination)}`);
      const { messages } = await answer.json();
      const found = messages.find((message) => source === undefined || message.source === source);
      if (found) return found;
      await sleep(20);
    }
    throw new Error(`no message to ${destination} of ${source}`);
  }

  async code(destination, source) {
    return (await this.message(destination, source)).code;
  }

  /** A pool that sends codes to e-mail addresses, with a public app client for all password flows. */
  async pool({ client = {}, ...settings } = {}) {
    const cognito = this.client();
    const { UserPool } = await cognito.createUserPool({
      PoolName: "app",
      AutoVerifiedAttributes: ["email"],
      ...settings,
    });
    const { UserPoolClient } = await cognito.createUserPoolClient({
      UserPoolId: UserPool.Id,
      ClientName: "web",
      ExplicitAuthFlows: ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
      ...client,
    });
    return new Pool(this, cognito, UserPool, UserPoolClient);
  }
}

class Pool {
  constructor(lido, cognito, description, client) {
    this.lido = lido;
    this.cognito = cognito;
    this.description = description;
    this.id = description.Id;
    this.clientId = client.ClientId;
    this.clientSecret = client.ClientSecret;
  }

  /** A confirmed user with a permanent password. */
  async user(username, { password = PASSWORD, email = `${username}@example.com` } = {}) {
    await this.cognito.adminCreateUser({
      UserPoolId: this.id,
      Username: username,
      MessageAction: "SUPPRESS",
      UserAttributes: [
        { Name: "email", Value: email },
        { Name: "email_verified", Value: "true" },
      ],
    });
    await this.cognito.adminSetUserPassword({
      UserPoolId: this.id,
      Username: username,
      Password: password,
      Permanent: true,
    });
    return username;
  }

  /** Tokens, by the password. */
  async signIn(username, password = PASSWORD) {
    const answer = await this.cognito.initiateAuth({
      ClientId: this.clientId,
      AuthFlow: "USER_PASSWORD_AUTH",
      AuthParameters: { USERNAME: username, PASSWORD: password },
    });
    return answer.AuthenticationResult;
  }

  /** The attributes of a user as an object. */
  async attributes(username) {
    const user = await this.cognito.adminGetUser({ UserPoolId: this.id, Username: username });
    return Object.fromEntries(user.UserAttributes.map(({ Name, Value }) => [Name, Value]));
  }
}
