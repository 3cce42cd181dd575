//! From a specification to the way in which the template of its build is made.

use super::Specification;
use clusterrunner_common::settings::ImagePolicy;
use clusterrunner_common::templates::Recipe;

/// The recipe. Its steps run in the workspace, or, where a container runtime is there, in an image.
pub(in crate::http::polyaxon) fn recipe(
    specification: &Specification,
    policy: ImagePolicy,
) -> Recipe {
    let variables = specification.variables();
    let names = variables.iter().map(|(name, _)| name.to_owned());
    Recipe {
        image: specification.image.clone(),
        dockerfile: specification.dockerfile.clone(),
        context: specification.context.clone(),
        steps: Some(specification.build_steps.clone()),
        variables: names.collect(),
        has_no_cache: specification.has_no_cache,
        needs_image: policy == ImagePolicy::Require,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_are_in_the_recipe() {
        let specification = Specification {
            image: Some("busybox:1".to_owned()),
            context: Some("sub".to_owned()),
            build_steps: vec!["make".to_owned()],
            env_vars: vec![("A".to_owned(), "b".to_owned())],
            lang_env: Some("C.UTF-8".to_owned()),
            has_no_cache: true,
            ..Specification::default()
        };
        let expected = Recipe {
            image: Some("busybox:1".to_owned()),
            dockerfile: None,
            context: Some("sub".to_owned()),
            steps: Some(vec!["make".to_owned()]),
            variables: ["A", "LANG", "LANGUAGE", "LC_ALL"]
                .map(str::to_owned)
                .into(),
            has_no_cache: true,
            needs_image: true,
        };
        assert_eq!(recipe(&specification, ImagePolicy::Require), expected);
        assert!(!recipe(&specification, ImagePolicy::Use).needs_image);
    }
}
