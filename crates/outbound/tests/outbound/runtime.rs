//! The runtime clients of these tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use lido_outbound::Target;

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outbound")
}

/// `runtime.py`, started in its own folder.
pub(crate) fn python(mode: &[&str]) -> Target {
    let mut argv = vec!["python3".to_owned(), "runtime.py".to_owned()];
    argv.extend(mode.iter().map(|&argument| argument.to_owned()));
    Target::Command { argv, cwd: Some(here()) }
}

/// `runtime.mjs`, where there is a Node.
pub(crate) fn node() -> Option<Target> {
    Command::new("node").arg("--version").output().ok()?;
    Some(Target::Command { argv: vec!["node".to_owned(), "runtime.mjs".to_owned()], cwd: Some(here()) })
}
