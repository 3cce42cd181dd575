//! How long a build takes is known after the first build of its job, to the API and to the command.

use crate::farm::Farm;
use crate::job::job;
use crate::repository::Repository;
use crate::wait::wait_for;

#[tokio::test]
async fn a_second_build_is_planned_by_the_first() {
    let repository = Repository::empty();
    repository.commit_job(&job("sleep 0.1"));
    let farm = Farm::start(&[1, 1]).await;
    let first = farm.run(&repository.request()).await.passes();
    let client = farm.client();
    let plan = wait_for(
        "the first build tells how long its atoms take",
        async || {
            let plan = client.plan(first.id, Some(3), None).await.unwrap();
            (!plan.choices.is_empty()).then_some(plan)
        },
    )
    .await;
    assert!(plan.is_anew);
    assert_eq!(
        (plan.num_slaves, plan.num_atoms),
        (2, first.num_atoms.unwrap())
    );
    let slaves: Vec<u64> = plan
        .choices
        .iter()
        .map(|choice| choice.num_slaves)
        .collect();
    assert!(
        [2, 3, 4].iter().all(|number| slaves.contains(number)),
        "{slaves:?}"
    );
    for choice in &plan.choices {
        let finish = choice.finish;
        assert!(
            0.0 < finish.low && finish.low <= finish.median,
            "{choice:?}"
        );
        assert!(finish.median <= finish.high, "{choice:?}");
    }
    // Nothing has changed, so whoever asks again is told the same.
    assert_eq!(client.plan(first.id, Some(3), None).await.unwrap(), plan);
    farm.run(&repository.request()).await.passes();
}
