//! What commands of a build find in their environment.

use crate::farm::Farm;
use crate::job::job;
use crate::repository::Repository;
use serde_json::json;

/// Prints the variables that begin with these letters, without what differs from run to run.
fn printing(letters: &str) -> String {
    format!("env | grep -E '^({letters})' | grep -v PROCESS_MARK | sort")
}

#[tokio::test]
async fn all_commands_know_their_build() {
    let job = job(printing("CI=|CLUSTERRUNNER_|GREETING"))
        .setup("test \"$CI $CLUSTERRUNNER_JOB $GREETING\" = 'true Job hello world'")
        .teardown("test \"$CLUSTERRUNNER_BUILD_ID\" = 1 || exit 3")
        .atomizer("echo $CLUSTERRUNNER_BUILD_ID $GREETING")
        .with("env", json!({"GREETING": "hello world"}));
    let repository = Repository::of(&job);
    let commit = repository.git(&["rev-parse", "HEAD"]);
    let farm = Farm::start(&[1]).await;
    let request = repository.request_with(json!({"branch": "master"}));
    let build = farm.run(&request).await.passes();
    let expected = format!(
        "CI=true\nCLUSTERRUNNER_ATTEMPT=1\nCLUSTERRUNNER_BRANCH=master\nCLUSTERRUNNER_BUILD_ID=1\n\
         CLUSTERRUNNER_COMMIT={}\nCLUSTERRUNNER_JOB=Job\nGREETING=hello world\n",
        commit.trim()
    );
    assert_eq!(farm.consoles(build.id).await, [expected]);
    let atom = farm.atoms(build.id).await.remove(0);
    assert_eq!(atom.value.as_deref(), Some("1 hello world"));
    farm.wait_for_rest().await;
    let after = farm.client().build(build.id).await.unwrap();
    assert_eq!(after.warnings, Vec::<String>::new());
}
