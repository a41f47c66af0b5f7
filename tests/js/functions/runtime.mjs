// A client of the Lambda Runtime API: `node runtime.mjs MODULE` runs the `handler` that the module exports.

import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const api = `http://${process.env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime`;
const post = (path, value) => fetch(`${api}/${path}`, { method: "POST", body: JSON.stringify(value) });

/** An error as Lambda tells it. */
const described = (error) => ({
  errorType: error?.name ?? "Error",
  errorMessage: error?.message ?? String(error),
  trace: error?.stack?.split("\n") ?? [],
});

let handler;
try {
  ({ handler } = await import(pathToFileURL(resolve(process.argv[2]))));
} catch (error) {
  await post("init/error", described(error));
  process.exit(1);
}

for (;;) {
  const next = await fetch(`${api}/invocation/next`);
  const id = next.headers.get("lambda-runtime-aws-request-id");
  const deadline = Number(next.headers.get("lambda-runtime-deadline-ms"));
  const context = {
    awsRequestId: id,
    invokedFunctionArn: next.headers.get("lambda-runtime-invoked-function-arn"),
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
  try {
    const result = await handler(await next.json(), context);
    await post(`invocation/${id}/response`, result ?? null);
  } catch (error) {
    await post(`invocation/${id}/error`, described(error));
  }
}
