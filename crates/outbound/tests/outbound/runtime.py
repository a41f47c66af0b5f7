"""A runtime client whose function does what the event says."""
import http.client
import json
import os
import signal
import subprocess
import sys
import time

ROOT = "/2018-06-01/runtime"
api = os.environ["AWS_LAMBDA_RUNTIME_API"]
connection = http.client.HTTPConnection(api)


def call(method, path, body=None, headers={}, **options):
    connection.request(method, path, body, headers, **options)
    response = connection.getresponse()
    return response, response.read()


def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.005)


mode = sys.argv[1] if len(sys.argv) > 1 else ""
if mode == "slow":
    time.sleep(1.5)
if mode == "exit":
    sys.exit(3)
if mode == "init-error":
    error = {"errorMessage": "no module named app", "errorType": "Runtime.ImportModuleError", "stackTrace": []}
    call("POST", ROOT + "/init/error", json.dumps(error), {"Lambda-Runtime-Function-Error-Type": "Runtime.X"})
    sys.exit(1)

print("ready", flush=True)
while True:
    response, body = call("GET", ROOT + "/invocation/next")
    headers, event = dict(response.headers), json.loads(body)
    path = f"{ROOT}/invocation/{headers['Lambda-Runtime-Aws-Request-Id']}/"
    do = event.get("do", "echo")
    result = json.dumps({"pid": os.getpid(), "event": event, "headers": headers, "env": dict(os.environ),
                         "cwd": os.getcwd(), "now": time.time()})
    if do == "echo":
        status, text = call("POST", path + "response", result)
        assert (status.status, json.loads(text)) == (202, {"status": "OK"})
        if mode == "once":
            sys.exit(0)
    elif do == "raw":
        call("POST", path + "response", event["body"])
    elif do == "chunked":
        pieces = iter([b'{"pieces"', b": [1, ", b"2]}"])
        call("POST", path + "response", pieces, {"Lambda-Runtime-Function-Response-Mode": "streaming"},
             encode_chunked=True)
    elif do == "raise":
        error = json.dumps({"errorMessage": event["message"], "errorType": "ValueError", "stackTrace": ["…"]})
        call("POST", path + "error", error, {"Content-Type": "application/vnd.aws.lambda.error+json"})
    elif do == "crash":
        os._exit(129)
    elif do == "signal":
        os.kill(os.getpid(), signal.SIGKILL)
    elif do == "hang":
        with open(event["log"], "a") as log:
            log.write(f"{os.getpid()}\n")
        if len(open(event["log"]).readlines()) <= event["times"]:
            time.sleep(600)
        call("POST", path + "response", result)
    elif do == "large":
        status, _ = call("POST", path + "response", '"' + "x" * event["bytes"] + '"')
        assert status.status == 413
    elif do == "meet":
        open(event["mine"], "w").close()
        wait_for(event["other"])
        status, _ = call("POST", path + "response", result)
        if "done" in event and status.status == 202:
            open(event["done"], "w").close()
    elif do == "spawn":
        child = subprocess.Popen(["sleep", "600"])
        call("POST", path + "response", json.dumps({"pid": os.getpid(), "child": child.pid}))
    elif do == "probe":
        unknown = "/2018-06-01/runtime/invocation/00000000-0000-0000-0000-000000000000/response"
        statuses = [call(*request)[0].status for request in [
            ("POST", unknown, "{}"),
            ("POST", ROOT + "/init/error", "{}"),
            ("GET", ROOT + "/invocation/next"),
            ("POST", "/2020-01-01/extension/register", "{}"),
            ("PUT", "/2022-07-01/telemetry", "{}"),
            ("POST", path + "response", "{}", {"Origin": "http://evil.example"}),
        ]]
        call("POST", path + "response", json.dumps(statuses))
        again, _ = call("POST", path + "response", "{}")
        assert again.status == 400
