use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lido_domain::TriggerHost;
use lido_domain::ports::InvokeError;
use lido_outbound::{FunctionSettings, Functions, Target};
use serde_json::{Value, json};

use super::runtime::{node, python};
use super::{ARN, function, functions};

/// For functions that answer.
const AMPLE: Duration = Duration::from_secs(30);
/// For functions that do not.
const SHORT: Duration = Duration::from_secs(1);

async fn pid(functions: &Functions) -> u64 {
    functions.invoke(ARN, &json!({})).await.unwrap()["pid"].as_u64().unwrap()
}

fn message(answer: Result<Value, InvokeError>) -> String {
    match answer {
        Err(InvokeError::Function { message }) => message,
        other => panic!("not a function error: {other:?}"),
    }
}

/// Whether the process runs: one that is dead and not yet reaped does not.
fn runs(pid: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}

async fn gone(pid: u64) {
    let start = Instant::now();
    while runs(pid) {
        assert!(start.elapsed() < AMPLE, "process {pid} still runs");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_invocation_carries_what_lambda_s_does() {
    let functions = function(python(&[]), AMPLE);
    let arn = format!("{ARN}:live");
    let answer = functions.invoke(&arn, &json!({"name": "Añá"})).await.unwrap();
    assert_eq!(answer["event"], json!({"name": "Añá"}));

    let headers = &answer["headers"];
    assert_eq!(headers["Lambda-Runtime-Invoked-Function-Arn"], json!(arn));
    assert_eq!(headers["Lambda-Runtime-Aws-Request-Id"].as_str().unwrap().len(), 36);
    assert!(headers["Lambda-Runtime-Trace-Id"].as_str().unwrap().starts_with("Root=1-"));
    let deadline: f64 = headers["Lambda-Runtime-Deadline-Ms"].as_str().unwrap().parse().unwrap();
    let left = deadline / 1000.0 - answer["now"].as_f64().unwrap();
    assert!(left > 0.0 && left <= 30.0, "{left} s to the deadline");

    let env = &answer["env"];
    assert_eq!(env["AWS_LAMBDA_FUNCTION_NAME"], "greet");
    assert_eq!(env["AWS_LAMBDA_FUNCTION_VERSION"], "$LATEST");
    assert_eq!(env["AWS_LAMBDA_LOG_GROUP_NAME"], "/aws/lambda/greet");
    assert_eq!(env["AWS_LAMBDA_INITIALIZATION_TYPE"], "on-demand");
    assert_eq!((&env["AWS_REGION"], &env["AWS_DEFAULT_REGION"]), (&json!("eu-west-1"), &json!("eu-west-1")));
    assert_eq!(env["TZ"], ":UTC");
    assert_eq!(env["_HANDLER"], "runtime.py");
    assert_eq!(env["LAMBDA_TASK_ROOT"], answer["cwd"]);
    functions.shutdown().await;
}

#[tokio::test]
async fn lido_s_own_variables_stay_at_home() {
    // A variable cannot be set safely in a process with threads: this test runs itself once more.
    if env::var_os("LIDO_TEST_SECRET").is_none() {
        let status = Command::new(env::current_exe().unwrap())
            .args(["--exact", "command::lido_s_own_variables_stay_at_home"])
            .envs([("LIDO_TEST_SECRET", "hush"), ("OTHER_VARIABLE", "passed on")])
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let functions = function(python(&[]), AMPLE);
    let answer = functions.invoke(ARN, &json!({})).await.unwrap();
    assert_eq!(answer["env"].get("LIDO_TEST_SECRET"), None);
    assert_eq!(answer["env"]["OTHER_VARIABLE"], "passed on");
    functions.shutdown().await;
}

#[tokio::test]
async fn a_process_is_kept_warm_also_after_a_function_error() {
    let functions = function(python(&[]), AMPLE);
    let first = pid(&functions).await;
    let raised = functions.invoke(ARN, &json!({"do": "raise", "message": "No!"})).await;
    assert_eq!(raised, Err(InvokeError::Function { message: "No!".to_owned() }));
    let raised = functions.invoke(ARN, &json!({"do": "raise", "message": ""})).await;
    assert_eq!(message(raised), "ValueError");
    assert_eq!(pid(&functions).await, first);
    functions.shutdown().await;
    gone(first).await;
    let closed = functions.invoke(ARN, &json!({})).await;
    assert_eq!(closed, Err(InvokeError::Unreachable { code: "ServiceException".to_owned() }));
}

#[tokio::test]
async fn answers_are_json_in_any_framing() {
    let functions = function(python(&[]), AMPLE);
    assert_eq!(functions.invoke(ARN, &json!({"do": "chunked"})).await.unwrap(), json!({"pieces": [1, 2]}));
    for (body, expected) in [
        ("null", Ok(Value::Null)),
        ("", Err(InvokeError::NotJson)),
        ("<html>", Err(InvokeError::NotJson)),
        ("{\"a\":", Err(InvokeError::NotJson)),
    ] {
        assert_eq!(functions.invoke(ARN, &json!({"do": "raw", "body": body})).await, expected, "{body:?}");
    }
    let large = functions.invoke(ARN, &json!({"do": "large", "bytes": 6_291_556})).await;
    assert_eq!(
        message(large),
        "Response payload size exceeded maximum allowed payload size (6291556 bytes)."
    );
    functions.shutdown().await;
}

#[tokio::test]
async fn a_crash_is_a_function_error_and_the_next_call_gets_a_new_process() {
    let functions = function(python(&[]), AMPLE);
    let first = pid(&functions).await;
    for (what, reason) in [("crash", "exit status 129"), ("signal", "signal: killed")] {
        let said = message(functions.invoke(ARN, &json!({"do": what})).await);
        let (id, rest) = said.strip_prefix("RequestId: ").unwrap().split_once(' ').unwrap();
        assert_eq!(id.len(), 36);
        assert_eq!(rest, format!("Error: Runtime exited with error: {reason}"));
    }
    assert_ne!(pid(&functions).await, first);
    functions.shutdown().await;
}

#[tokio::test]
async fn a_process_that_ends_between_invocations_is_replaced() {
    let functions = function(python(&["once"]), AMPLE);
    let mut pids = Vec::new();
    for _ in 0..3 {
        pids.push(pid(&functions).await);
    }
    pids.dedup();
    assert_eq!(pids.len(), 3);
    functions.shutdown().await;
}

#[tokio::test]
async fn a_time_out_ends_the_process_and_the_call_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("pids");
    let pids = || -> Vec<u64> {
        fs::read_to_string(&log).unwrap().lines().map(|pid| pid.parse().unwrap()).collect()
    };

    let functions = function(python(&[]), SHORT);
    let answer = functions.invoke(ARN, &json!({"do": "hang", "log": log, "times": 1})).await.unwrap();
    assert_eq!(pids().len(), 2);
    assert_eq!(answer["pid"], pids()[1]);
    gone(pids()[0]).await;

    fs::remove_file(&log).unwrap();
    let answer = functions.invoke(ARN, &json!({"do": "hang", "log": log, "times": 9})).await;
    assert_eq!(answer, Err(InvokeError::Timeout));
    assert_eq!(pids().len(), 3, "three attempts in all");
    for pid in pids() {
        gone(pid).await;
    }
    functions.shutdown().await;
}

#[tokio::test]
async fn a_slow_start_does_not_count() {
    let functions = function(python(&["slow"]), SHORT);
    let start = Instant::now();
    pid(&functions).await;
    assert!(start.elapsed() > SHORT);
    functions.shutdown().await;
}

#[tokio::test]
async fn invocations_run_side_by_side_in_processes_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let functions = function(python(&[]), AMPLE);
    let (one, other) = (
        json!({"do": "meet", "mine": path("a"), "other": path("b")}),
        json!({"do": "meet", "mine": path("b"), "other": path("a")}),
    );
    let (one, other) = tokio::join!(functions.invoke(ARN, &one), functions.invoke(ARN, &other));
    assert_ne!(one.unwrap()["pid"], other.unwrap()["pid"]);
    functions.shutdown().await;
}

#[tokio::test]
async fn more_callers_than_processes_wait_for_their_turn() {
    let functions = function(python(&[]), AMPLE);
    let event = json!({});
    let calls = (0..40).map(|_| functions.invoke(ARN, &event));
    let mut pids: Vec<u64> = Vec::new();
    for answer in join_all(calls).await {
        pids.push(answer.unwrap()["pid"].as_u64().unwrap());
    }
    pids.sort_unstable();
    pids.dedup();
    let bound = 2 * std::thread::available_parallelism().unwrap().get();
    assert!(pids.len() <= bound, "{} processes, at most {bound}", pids.len());
    functions.shutdown().await;
}

#[tokio::test]
async fn a_failed_start_is_the_function_s_error() {
    let functions = function(python(&["init-error"]), AMPLE);
    for _ in 0..3 {
        assert_eq!(message(functions.invoke(ARN, &json!({})).await), "no module named app");
    }

    let functions = function(python(&["exit"]), AMPLE);
    let said = message(functions.invoke(ARN, &json!({})).await);
    assert!(said.ends_with(" Error: Runtime exited with error: exit status 3"), "{said}");

    let missing = Target::Command { argv: vec!["./no-such-program".to_owned()], cwd: None };
    let said = message(function(missing, AMPLE).invoke(ARN, &json!({})).await);
    assert!(said.ends_with(" Error: fork/exec ./no-such-program: no such file or directory"), "{said}");
}

#[tokio::test]
async fn what_a_function_started_ends_with_it() {
    let functions = function(python(&[]), AMPLE);
    let answer = functions.invoke(ARN, &json!({"do": "spawn"})).await.unwrap();
    let (parent, child) = (answer["pid"].as_u64().unwrap(), answer["child"].as_u64().unwrap());
    assert!(runs(parent) && runs(child));
    functions.shutdown().await;
    gone(parent).await;
    gone(child).await;

    let functions = function(python(&[]), AMPLE);
    let answer = functions.invoke(ARN, &json!({"do": "spawn"})).await.unwrap();
    drop(functions);
    gone(answer["pid"].as_u64().unwrap()).await;
    gone(answer["child"].as_u64().unwrap()).await;
}

#[tokio::test]
async fn the_runtime_api_refuses_what_it_must() {
    let functions = function(python(&[]), AMPLE);
    let statuses = functions.invoke(ARN, &json!({"do": "probe"})).await.unwrap();
    assert_eq!(statuses, json!([400, 403, 403, 404, 404, 403]));
    // The answer repeated for a finished invocation was refused, else the script would have failed.
    pid(&functions).await;
    functions.shutdown().await;
}

#[tokio::test]
async fn an_invocation_survives_its_caller() {
    let folder = tempfile::tempdir().unwrap();
    let [reached, released, done] = ["reached", "released", "done"].map(|name| folder.path().join(name));
    let functions = function(python(&[]), AMPLE);
    let first = pid(&functions).await;
    let event = json!({"do": "meet", "mine": reached, "other": released, "done": done});
    let given_up = tokio::select! {
        _ = functions.invoke(ARN, &event) => false,
        () = exists(&reached) => true,
    };
    assert!(given_up);
    fs::write(released, "").unwrap();
    // Its answer is taken as if somebody waited, and the process stays.
    exists(&done).await;
    assert!(runs(first));
    functions.shutdown().await;
}

async fn exists(path: &Path) {
    while !path.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_node_function_runs_as_well() {
    let Some(target) = node() else { return };
    let functions = function(target, AMPLE);
    let first = functions.invoke(ARN, &json!({"a": 1})).await.unwrap();
    assert_eq!(first["event"], json!({"a": 1}));
    assert_eq!(message(functions.invoke(ARN, &json!({"do": "raise"})).await), "Boom!");
    assert_eq!(functions.invoke(ARN, &json!({})).await.unwrap()["pid"], first["pid"]);
    functions.shutdown().await;
}

#[tokio::test]
async fn an_arn_finds_its_own_entry_then_the_function_s_then_the_default() {
    let other = "arn:aws:lambda:us-east-1:000000000000:function:other";
    let aliased = format!("{ARN}:v2");
    let settings = |mode: &[&str]| FunctionSettings::new(python(mode)).with_timeout(AMPLE);
    let by_arn =
        BTreeMap::from([(ARN.to_owned(), settings(&["own"])), (aliased.clone(), settings(&["alias"]))]);
    let with_default = functions(by_arn.clone(), Some(settings(&["default"])));
    for (arn, handler, name) in [
        (ARN.to_owned(), "own", "greet"),
        (format!("{ARN}:v1"), "own", "greet"),
        (aliased, "alias", "greet"),
        (other.to_owned(), "default", "other"),
    ] {
        let answer = with_default.invoke(&arn, &json!({})).await.unwrap();
        assert_eq!(
            (&answer["env"]["_HANDLER"], &answer["env"]["AWS_LAMBDA_FUNCTION_NAME"]),
            (&json!(handler), &json!(name))
        );
    }
    with_default.shutdown().await;

    let without_default = functions(by_arn, None);
    assert_eq!(
        without_default.invoke(other, &json!({})).await,
        Err(InvokeError::Unreachable { code: "ResourceNotFoundException".to_owned() })
    );
}
