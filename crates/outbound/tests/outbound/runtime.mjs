// A runtime client in a few lines: answers with its process id and what it was told.
const root = `http://${process.env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation`;
for (;;) {
  const next = await fetch(`${root}/next`);
  const id = next.headers.get("lambda-runtime-aws-request-id");
  const event = await next.json();
  const failed = event.do === "raise";
  const body = failed ? { errorMessage: "Boom!", errorType: "Error", trace: [] } : { pid: process.pid, event };
  await fetch(`${root}/${id}/${failed ? "error" : "response"}`, { method: "POST", body: JSON.stringify(body) });
}
