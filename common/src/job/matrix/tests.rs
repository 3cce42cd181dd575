//! Which combinations there are, as at GitHub, and which of them are chosen.

use super::*;
use proptest::prelude::*;

fn combination(text: &str) -> Combination {
    let variables = text.split(' ').filter(|one| !one.is_empty());
    let pair = |one: &str| {
        let (name, value) = one.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    };
    variables.map(pair).collect()
}

fn matrix(lists: &[(&str, &str)], exclude: &[&str], include: &[&str]) -> Matrix {
    let all = |texts: &[&str]| texts.iter().map(|text| combination(text)).collect();
    let values = |text: &str| text.split(' ').map(str::to_owned).collect();
    let lists = lists.iter();
    Matrix {
        variables: lists
            .map(|(name, text)| ((*name).to_owned(), values(text)))
            .collect(),
        exclude: all(exclude),
        include: all(include),
    }
}

fn shown(matrix: &Matrix) -> Vec<String> {
    let combinations = matrix.combinations().unwrap();
    combinations.iter().map(ToString::to_string).collect()
}

#[test]
fn the_last_variable_changes_fastest() {
    let two = matrix(&[("PY", "3.11 3.12"), ("OS", "a b")], &[], &[]);
    assert_eq!(
        shown(&two),
        [
            "PY=3.11 OS=a",
            "PY=3.11 OS=b",
            "PY=3.12 OS=a",
            "PY=3.12 OS=b"
        ]
    );
}

#[test]
fn an_exclusion_needs_only_a_part_and_comes_before_inclusions() {
    let lists = [("PY", "1 2"), ("OS", "a b")];
    assert_eq!(
        shown(&matrix(&lists, &["PY=1"], &[])),
        ["PY=2 OS=a", "PY=2 OS=b"]
    );
    let again = matrix(&lists, &["PY=1", "OS=b"], &["PY=1 OS=b"]);
    assert_eq!(shown(&again), ["PY=2 OS=a", "PY=1 OS=b"]);
    let typo = matrix(&lists, &["PY=1", "PY=3"], &[]).combinations();
    assert_eq!(
        typo,
        Err(MatrixError::ExcludesNothing(1, combination("PY=3")))
    );
    // One that others have left nothing of is no mistake.
    assert_eq!(shown(&matrix(&lists, &["PY=1", "PY=1 OS=a"], &[])).len(), 2);
    let all = matrix(&lists, &["OS=a", "OS=b"], &[]).combinations();
    assert_eq!(all, Err(MatrixError::NoneLeft));
}

/// The example of GitHub's documentation.
#[test]
fn inclusions_are_added_as_at_github() {
    let fruits = matrix(
        &[("fruit", "apple pear"), ("animal", "cat dog")],
        &[],
        &[
            "color=green",
            "color=pink animal=cat",
            "fruit=apple shape=circle",
            "fruit=banana",
            "fruit=banana animal=cat",
        ],
    );
    assert_eq!(
        shown(&fruits),
        [
            "fruit=apple animal=cat color=pink shape=circle",
            "fruit=apple animal=dog color=green shape=circle",
            "fruit=pear animal=cat color=pink",
            "fruit=pear animal=dog color=green",
            "fruit=banana",
            "fruit=banana animal=cat",
        ]
    );
    assert_eq!(
        shown(&matrix(&[], &[], &["A=1", "A=2 B=3"])),
        ["A=1", "A=2 B=3"]
    );
}

#[test]
fn what_is_there_twice_or_too_often_is_told() {
    let twice = matrix(&[("A", "1")], &[], &["A=2", "A=2"]).combinations();
    assert_eq!(twice, Err(MatrixError::Twice(combination("A=2"))));
    let many: Vec<String> = (0..MOST_COMBINATIONS).map(|n| n.to_string()).collect();
    let mut large = matrix(&[("A", &many.join(" "))], &[], &[]);
    assert_eq!(large.combinations().unwrap().len(), MOST_COMBINATIONS);
    large.include.push(combination("A=one"));
    let number = MOST_COMBINATIONS as u128 + 1;
    assert_eq!(
        large.combinations(),
        Err(MatrixError::TooMany(number, MOST_COMBINATIONS))
    );
    let lists: Vec<String> = (0..40).map(|n| format!("V{n}")).collect();
    let lists: Vec<(&str, &str)> = lists
        .iter()
        .map(|name| (name.as_str(), "1 2 3 4"))
        .collect();
    let huge = matrix(&lists, &[], &[]).combinations();
    assert!(
        matches!(huge, Err(MatrixError::TooMany(..))),
        "ends quickly"
    );
}

#[test]
fn some_combinations_may_be_chosen() {
    let all = matrix(&[("PY", "1 2"), ("OS", "a b")], &[], &[])
        .combinations()
        .unwrap();
    let choose = |choices: &[(&str, Option<&str>)]| {
        let choices: Vec<Chosen> = choices
            .iter()
            .map(|(variables, atom)| Chosen {
                variables: combination(variables),
                atoms: atom.map(|atom| vec![atom.to_owned()]),
                is_exact: false,
            })
            .collect();
        let built = chosen(&all, &choices)?;
        let shown = built
            .iter()
            .map(|(one, atoms)| (one.to_string(), atoms.map(<[String]>::len)));
        Ok(shown.collect::<Vec<_>>())
    };
    let text = |text: &str, atoms| (text.to_owned(), atoms);
    assert_eq!(choose(&[]).map(|all| all.len()), Ok(4));
    assert_eq!(
        choose(&[("OS=b", None), ("PY=2", None)]),
        Ok(vec![
            text("PY=1 OS=b", None),
            text("PY=2 OS=a", None),
            text("PY=2 OS=b", None)
        ])
    );
    assert_eq!(
        choose(&[("OS=a PY=2", Some("x"))]),
        Ok(vec![text("PY=2 OS=a", Some(1))])
    );
    assert_eq!(choose(&[("OS=a", None), ("PY=3", None)]), Err(1));
    assert_eq!(choose(&[("COLOR=a", None)]), Err(0));
}

#[test]
fn a_folder_has_no_odd_character() {
    assert_eq!(combination("PY=3.11 OS=linux").folder(), "PY=3.11,OS=linux");
    let odd: Combination = [("A".to_owned(), "../x y\n\"é".to_owned())]
        .into_iter()
        .collect();
    assert_eq!(odd.folder(), "A=.._x,y___");
    let long: Combination = [("A".to_owned(), "x".repeat(1000))].into_iter().collect();
    assert_eq!(long.folder().len(), 100);
}

proptest! {
    /// Whatever is written: each combination is there once, has a value of each list unless it was included alone,
    /// and none that was excluded is left of the lists.
    #[test]
    fn combinations_keep_their_rules(
        lists in prop::collection::vec(1..4usize, 1..4),
        exclude in prop::collection::vec((0..4usize, 0..4usize), 0..3),
        include in prop::collection::vec((0..6usize, 0..4usize, 0..4usize), 0..4),
    ) {
        let name = |n: usize| format!("V{n}");
        let one = |pairs: &[(usize, usize)]| -> Combination {
            pairs.iter().map(|(n, value)| (name(*n), value.to_string())).collect()
        };
        let matrix = Matrix {
            variables: lists.iter().enumerate().map(|(n, length)| {
                (name(n), (0..*length).map(|value| value.to_string()).collect())
            }).collect(),
            exclude: exclude.iter().map(|pair| one(&[*pair])).collect(),
            include: include.iter().map(|(n, value, more)| one(&[(*n, *value), (5, *more)])).collect(),
        };
        let Ok(found) = matrix.combinations() else {
            return Ok(());
        };
        for (index, combination) in found.iter().enumerate() {
            prop_assert!(!found[..index].iter().any(|other| other.is_same(combination)));
            let is_of_lists = matrix.variables.iter().all(|(name, values)| {
                combination.get(name).is_some_and(|value| values.iter().any(|one| one == value))
            });
            let is_included = matrix.include.iter().any(|one| one.is_same(combination));
            prop_assert!(is_of_lists || is_included, "{combination}");
            let excluded = matrix.exclude.iter().any(|one| combination.has_all(one));
            prop_assert!(!excluded || is_included, "{combination}");
        }
        let alone = found.iter().filter(|one| matrix.include.iter().any(|other| other.is_same(one)));
        let product: usize = lists.iter().product();
        prop_assert!(found.len() <= product + alone.count());
    }
}

/// Of two combinations one may have all that the other has: what failed of each runs again there.
#[test]
fn an_exact_choice_means_one_combination() {
    let all = [
        combination("fruit=banana"),
        combination("fruit=banana animal=cat"),
    ];
    let choose = |variables: &str, atom: &str| Chosen {
        variables: combination(variables),
        atoms: Some(vec![atom.to_owned()]),
        is_exact: true,
    };
    let both = [
        choose("fruit=banana", "a"),
        choose("animal=cat fruit=banana", "b"),
    ];
    let built = chosen(&all, &both).unwrap();
    let atoms: Vec<_> = built.iter().map(|(_, atoms)| atoms.unwrap()).collect();
    assert_eq!(atoms, [["a"], ["b"]]);
    let one = chosen(&all, &both[..1]).unwrap();
    assert_eq!(one.len(), 1);
    assert_eq!(*one[0].0, all[0]);
    assert_eq!(chosen(&all, &[choose("animal=cat", "c")]), Err(0));
}
