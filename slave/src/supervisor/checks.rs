//! Orders that no program could be started with.

use clusterrunner_common::api::instances::InstanceOrder;
use clusterrunner_common::process::variables::is_too_long;

/// The longest reference of an image.
const LONGEST_REFERENCE: usize = 512;

/// What no program could be started with. The text is for the user.
pub(super) fn check(order: &InstanceOrder) -> Result<(), String> {
    let is_key = order.key.len() == 32
        && order
            .key
            .bytes()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    if !is_key {
        return Err("its key is not 32 hexadecimal digits".to_owned());
    }
    let description = order.description();
    let of_template = description.map(|description| &description.environment);
    let variables = order
        .environment
        .iter()
        .chain(of_template.into_iter().flatten());
    for (name, value) in variables {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err("a variable of its environment has '=' or a NUL character".to_owned());
        }
        if is_too_long(name, value) {
            return Err("a variable of its environment has more than 127 KiB".to_owned());
        }
    }
    let of_template = description.map(|description| &description.command);
    let mut words = order
        .command
        .iter()
        .chain(of_template.into_iter().flatten());
    if words.any(|word| word.contains('\0')) {
        return Err("its command has a NUL character".to_owned());
    }
    match &order.image {
        Some(image) if !is_reference(image) => Err("its image is no reference".to_owned()),
        Some(_) | None => Ok(()),
    }
}

/// Whether a runtime takes it for the name of an image, and not for an option or another kind of place.
fn is_reference(image: &str) -> bool {
    let is_in_name =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@');
    image.len() <= LONGEST_REFERENCE
        && image.starts_with(|c: char| c.is_ascii_alphanumeric())
        && image.chars().all(is_in_name)
        && !image.contains("//")
}
