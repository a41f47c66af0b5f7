//! Destinations as they are shown to whoever asked for a code.

use lido_domain::Medium;

/// `ana@example.com` becomes `a***@e***`, `+15550001234` becomes `+*******1234`.
/// Source: measured forms of CodeDeliveryDetails.
pub fn destination(medium: Medium, value: &str) -> String {
    match medium {
        Medium::Email => {
            let (local, domain) = value.split_once('@').unwrap_or((value, ""));
            let first = |part: &str| part.chars().next().map(String::from).unwrap_or_default();
            format!("{}***@{}***", first(local), first(domain))
        }
        Medium::Sms => {
            let digits: Vec<char> = value.trim_start_matches('+').chars().collect();
            let shown = digits.len().min(4);
            let hidden = digits.len() - shown;
            format!("+{}{}", "*".repeat(hidden), digits[hidden..].iter().collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_show_two_characters() {
        assert_eq!(destination(Medium::Email, "ana@example.com"), "a***@e***");
        assert_eq!(destination(Medium::Email, "ö@ü.example"), "ö***@ü***");
    }

    #[test]
    fn numbers_show_four_digits() {
        assert_eq!(destination(Medium::Sms, "+12065558920"), "+*******8920");
        assert_eq!(destination(Medium::Sms, "+123"), "+123");
    }
}
