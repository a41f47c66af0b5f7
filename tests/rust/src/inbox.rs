//! The development server's inbox.

use http::Method;
use serde_json::Value;

use crate::Lido;

/// Seconds that a test waits for a message.
const PATIENCE: &str = "20";

/// Messages of one pool, or of all.
#[derive(Clone, Debug)]
pub struct Inbox {
    lido: Lido,
    pool: String,
}

impl Inbox {
    pub(crate) fn new(lido: Lido, pool: String) -> Self {
        Self { lido, pool }
    }

    /// The messages that match, newest first.
    pub async fn messages(&self, filter: &[(&str, &str)]) -> Vec<Value> {
        let mut query = vec![("userPoolId", self.pool.as_str())];
        query.extend(filter);
        let query: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let path = format!("/_lido/messages?{}", query.join("&"));
        let answer = self.lido.get(&path).await;
        answer["messages"].as_array().expect("messages are a list").clone()
    }

    /// The newest message to a destination; waits for it if there is none.
    pub async fn newest_for(&self, destination: &str) -> Value {
        // Every id comes after "0".
        let found = self.messages(&[("destination", destination), ("after", "0"), ("wait", PATIENCE)]).await;
        found.into_iter().next().unwrap_or_else(|| panic!("no message to {destination}"))
    }

    /// The code or temporary password in the newest message to a destination.
    pub async fn code_for(&self, destination: &str) -> String {
        self.newest_for(destination).await["code"].as_str().expect("the message has a code").to_owned()
    }

    pub async fn clear(&self) {
        let answer =
            self.lido.request(Method::DELETE, "/_lido/messages").send().await.expect("the server answers");
        assert_eq!(answer.status(), 200);
    }
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}
