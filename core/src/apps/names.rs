//! Which ids and domains apps may have.

use super::command::{DomainFault, IdFault};

/// The most characters of an app's id.
const LONGEST_ID: usize = 64;

/// The most characters of a host name, and of one of its labels.
const LONGEST_DOMAIN: usize = 253;
const LONGEST_LABEL: usize = 63;

pub(super) fn check_id(id: &str) -> Result<(), IdFault> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if id.is_empty() || !id.bytes().all(fits) {
        return Err(IdFault::Characters);
    }
    match id {
        "deis" => Err(IdFault::Reserved),
        id if id.len() > LONGEST_ID => Err(IdFault::Length),
        _ => Ok(()),
    }
}

pub(super) fn check_domain(domain: &str) -> Result<(), DomainFault> {
    if domain.contains('*') {
        return Err(DomainFault::Wildcard);
    }
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label =
        |label: &str| (1..=LONGEST_LABEL).contains(&label.len()) && label.bytes().all(fits);
    let last = domain.rsplit_once('.').map(|(_, last)| last);
    let is_host_name = last.is_some_and(|last| last.len() >= 2)
        && domain.len() <= LONGEST_DOMAIN
        && domain.split('.').all(is_label);
    match is_host_name {
        true => Ok(()),
        false => Err(DomainFault::NoHostName),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_lower_case_labels() {
        for id in ["a", "example-go", "7", &"x".repeat(64)] {
            assert_eq!(check_id(id), Ok(()), "{id}");
        }
        for (id, fault) in [
            ("", IdFault::Characters),
            ("CamelCase", IdFault::Characters),
            ("a_b", IdFault::Characters),
            ("a.b", IdFault::Characters),
            ("ä", IdFault::Characters),
            ("a\n", IdFault::Characters),
            ("deis", IdFault::Reserved),
            (&"x".repeat(65), IdFault::Length),
        ] {
            assert_eq!(check_id(id), Err(fault), "{id}");
        }
    }

    #[test]
    fn domains_are_whole_host_names_in_lower_case() {
        let label = "x".repeat(63);
        let long = format!("{label}.{label}.{label}.example.com");
        for domain in ["example.com", "a.b.c.example.io", "1-2.example.x1", &long] {
            assert_eq!(check_domain(domain), Ok(()), "{domain}");
        }
        let too_long = format!("{label}.{long}");
        for domain in [
            "",
            "nodots",
            "bad_domain",
            "bad_domain.com",
            "Example.com",
            "example.c",
            ".example.com",
            "example.com.",
            "a..com",
            "example.com:80",
            &format!("x{label}.com"),
            &too_long,
        ] {
            assert_eq!(
                check_domain(domain),
                Err(DomainFault::NoHostName),
                "{domain}"
            );
        }
        for domain in ["*.x.example.com", "*"] {
            assert_eq!(check_domain(domain), Err(DomainFault::Wildcard), "{domain}");
        }
    }
}
