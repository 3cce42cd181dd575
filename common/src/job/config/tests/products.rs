//! Products of atomizers: which are read, and which mistakes are told.

use super::super::*;
use super::parse;
use serde_json::json;

/// A product is one group, and stands beside others. The word with a command behind it is a variable, as it always was.
#[test]
fn atomizers_may_have_a_product() {
    let config = parse(
        "A:\n  commands: [a]\n  atomizers:\n    - product:\n        PY: echo 3\n        T: ls\n      N: seq 2\n    - \
         product: ls\n    - product: {X: x}\n",
    );
    let problems: Vec<_> = config.problems().map(ToString::to_string).collect();
    assert_eq!(problems, [""; 0]);
    let job = config.job(None).unwrap().1;
    let names = |group: &[Atomizer]| group.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
    let groups: Vec<Vec<String>> = job.products().map(names).collect();
    assert_eq!(
        groups,
        [vec!["PY", "T"], vec!["N"], vec!["product"], vec!["X"]]
    );
    let json = serde_json::to_value(job).unwrap();
    assert_eq!(
        json["atomizers"][1],
        json!({"name": "T", "command": "ls", "multiplies": true})
    );
    assert_eq!(serde_json::from_value::<Job>(json).unwrap(), *job);
}

#[test]
fn mistakes_in_a_product_are_told() {
    let check = |product: &str, expected: &str| {
        let text = format!("A:\n  commands: [a]\n  atomizers: [{{product: {product}}}]\n");
        let config = parse(&text);
        let problems: Vec<_> = config.problems().map(ToString::to_string).collect();
        assert!(
            problems.join("\n").contains(expected),
            "{product}: {problems:?}"
        );
    };
    check(
        "{}",
        "contains an empty product in config section \"atomizers\"",
    );
    check(
        "{A: a, A: b}",
        "the atomizer \"A\" twice in one mapping. (clusterrunner.yaml:3:32: rename",
    );
    check("{A: a, 1x: b}", "an invalid atomizer name \"1x\"");
    check("{A: a, B: [b]}", "found <class 'list'>");
    check("{A: a, B: 5}", "put it in quotes: \"5\"");
    check(
        "{A: a, product: {B: b}}",
        "as the command of \"product\" but found <class 'dict'>",
    );
    check(
        "[A, B]",
        "as the command of \"product\" but found <class 'list'>",
    );
}
