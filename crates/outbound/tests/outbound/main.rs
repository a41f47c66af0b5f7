//! Functions and mail against real processes and servers on loopback.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod command;
mod http;
mod runtime;
mod smtp;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lido_domain::{Clock, Millis};
use lido_outbound::{AwsSettings, FunctionSettings, Functions, Target};

const ARN: &str = "arn:aws:lambda:eu-west-1:000000000000:function:greet";

#[derive(Debug)]
struct RealTime;

impl Clock for RealTime {
    #[expect(clippy::disallowed_methods, reason = "this is the clock of these tests")]
    fn now(&self) -> Millis {
        let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Millis(i64::try_from(elapsed.as_millis()).unwrap())
    }
}

/// One function, [`ARN`], and no default.
fn function(target: Target, limit: Duration) -> Functions {
    let settings = FunctionSettings::new(target).with_timeout(limit);
    functions(BTreeMap::from([(ARN.to_owned(), settings)]), None)
}

fn functions(by_arn: BTreeMap<String, FunctionSettings>, default: Option<FunctionSettings>) -> Functions {
    Functions::new(by_arn, default, AwsSettings::default(), Arc::new(RealTime))
}
