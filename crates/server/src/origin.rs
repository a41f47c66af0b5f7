//! Which web pages count as the machine's own.
//!
//! Any page that a developer visits can send requests to a server on their machine. Where nobody has to prove
//! who they are, `Origin`, which browsers set and pages cannot, tells such a request from one of a program.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::header::ORIGIN;
use http::{HeaderMap, Uri};

/// Whether the request is of a web page from elsewhere: neither of this machine nor of the host of `public_url`.
///
/// `Host` says nothing here: a page whose name was made to point to this machine sends that name.
pub(crate) fn is_foreign(headers: &HeaderMap, public_url: &str) -> bool {
    headers.get_all(ORIGIN).iter().any(|origin| {
        let origin = origin.to_str().ok().and_then(|text| text.parse::<Uri>().ok());
        // A file and a sandboxed page are `null`, which is a host that nobody has.
        let host = origin.as_ref().filter(|origin| origin.scheme().is_some()).and_then(Uri::host);
        !host.is_some_and(|host| is_local(host) || is_host_of(public_url, host))
    })
}

fn is_host_of(url: &str, host: &str) -> bool {
    url.parse::<Uri>().ok().and_then(|url| Some(url.host()?.eq_ignore_ascii_case(host))).unwrap_or(false)
}

/// Source: RFC 6761 §6.3: names under `localhost` are the machine itself, and browsers ask no name server.
fn is_local(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback())
        || v6.is_some_and(|host| host.parse().is_ok_and(|address: Ipv6Addr| address.is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(origins: &[&str]) -> bool {
        let headers = origins.iter().map(|origin| (ORIGIN, origin.parse().unwrap())).collect();
        is_foreign(&headers, "https://id.example.com:8443/base")
    }

    #[test]
    fn programs_and_local_pages_are_no_strangers() {
        assert!(!of(&[]));
        for origin in [
            "http://localhost",
            "http://localhost:3000",
            "https://LOCALHOST:3000",
            "http://app.localhost:3000",
            "http://127.0.0.1:5173",
            "http://127.8.9.10",
            "http://[::1]:3000",
            "tauri://localhost",
            "https://id.example.com",
            "http://id.example.com:3000",
        ] {
            assert!(!of(&[origin]), "{origin}");
        }
    }

    #[test]
    fn other_pages_are_strangers() {
        for origin in [
            "https://example.com",
            "https://evil.id.example.com",
            "http://localhost.example.com",
            "http://notlocalhost:3000",
            "http://127.0.0.1.example.com",
            "http://192.168.1.5:3000",
            "http://[2001:db8::1]",
            "chrome-extension://abcdefgh",
            "null",
            "localhost:3000",
            "",
        ] {
            assert!(of(&[origin]), "{origin}");
        }
        assert!(of(&["http://localhost:3000", "https://example.com"]));
    }
}
