//! Prints docs/operations.md: every operation of the service model, and whether Lido has it.
//!
//! `cargo run -p lido-idp --example operations > docs/operations.md`

use std::io::{self, Write};

use lido_idp::{Class, Route, ops};

fn main() -> io::Result<()> {
    io::stdout().lock().write_all(document(ops::routes()).as_bytes())
}

fn document(routes: &[Route]) -> String {
    let built = routes.iter().filter(|route| route.is_built()).count();
    let mut text = format!(
        "# Operations\n\n\
         Generated from the table of operations: `cargo run -p lido-idp --example operations > docs/operations.md`.\n\n\
         Lido has {built} of the {} operations of the service model. One that it has not answers\n\
         `NotImplementedException` with status 501, after its signature was checked where it needs one.\n\n\
         | Operation | Built | Proof of the caller |\n\
         |---|---|---|\n",
        routes.len()
    );
    for route in routes {
        let built = if route.is_built() { "yes" } else { "not yet" };
        text += &format!("| {} | {built} | {} |\n", route.facts.name, proof(route));
    }
    text
}

/// What the caller must show. Of an operation without behaviour only the model's word is known.
fn proof(route: &Route) -> &'static str {
    match route.class {
        Class::Iam => "AWS signature (SigV4)",
        Class::SignedIn => "access token",
        Class::AppClient => "app client, and its secret hash",
        Class::Session => "app client, and the session of the sign-in",
        Class::TokenOrSession => "access token, or the session of the sign-in",
        Class::RefreshToken => "refresh token, and the app client's secret",
        Class::ClientSecret => "app client, and its secret",
        Class::NotBuilt if route.facts.unsigned => "none by AWS signature",
        Class::NotBuilt => "AWS signature (SigV4)",
    }
}
