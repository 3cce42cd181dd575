//! A pool of Kubernetes, by a double of its API server that runs the pods.

use super::api_double::ApiDouble;
use super::{
    QUICK, Swept, number_of, pool, repository, settings_of_slaves, wait_for_nothing, wait_for_pool,
};
use crate::farm::Farm;
use crate::kubernetes_files::unknown_fields;
use crate::processes;
use crate::program::clusterrunner;
use crate::wait::{wait_for, wait_for_at_most};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

/// A farm with a pool of the cluster, which is reached as it says.
fn farm_by(access: impl FnOnce(&ApiDouble, &Farm) -> String, more: &str) -> (ApiDouble, Farm) {
    let farm = Farm::new();
    let cluster = ApiDouble::start(farm.address());
    let access = access(&cluster, &farm);
    farm.add_settings(&format!(
        "[pool pods]\nprovider = kubernetes\nimage = clusterrunner:test\n{access}{QUICK}\
         slave_command = \"{} slave -c {}\"\n{more}\n",
        clusterrunner().display(),
        settings_of_slaves(&farm).display()
    ));
    (cluster, farm)
}

fn farm(more: &str) -> (ApiDouble, Farm) {
    farm_by(|cluster, _| cluster.settings(), more)
}

/// No job is left that is not over, and no process of a slave.
async fn wait_until_gone(farm: &Farm, cluster: &ApiDouble) {
    wait_for_nothing(farm).await;
    wait_for("no job is left", async || {
        cluster.jobs().await.is_empty().then_some(())
    })
    .await;
    let slaves = processes::with_text(&farm.path("slaves.conf").display().to_string());
    assert!(slaves.is_empty(), "{slaves:?}");
}

#[tokio::test]
async fn pods_come_for_a_build_and_go_though_the_master_is_killed() {
    let (cluster, mut farm) = farm("max_slaves = 2\nexecutors = 2\nlabels = pods");
    let _swept = Swept::of(&farm);
    // Lists come in parts, one of which is not gone on with.
    cluster.fault("part", 1).await;
    cluster.fault("expired", 1).await;
    cluster.fault("conflicts", 1).await;
    farm.start_master().await;
    let repository = repository(60, "0.5");
    let build = farm.submit(&repository.request()).await;
    wait_for_pool(&farm, "both slaves work", |pool| pool.busy == 2).await;
    let jobs = cluster.jobs().await;
    assert_eq!(jobs.len(), 2, "{jobs:?}");
    assert_eq!(cluster.secrets().await, jobs);
    farm.kill_master();
    cluster.change_token();
    farm.start_master().await;
    wait_for_pool(&farm, "both are adopted", |pool| pool.slaves.len() == 2).await;
    assert_eq!(cluster.jobs().await, jobs, "no job is made twice");
    let view = farm.end_of(build).await.passes();
    assert_eq!(view.num_atoms_completed, 60);
    wait_until_gone(&farm, &cluster).await;
    assert_eq!(cluster.started().await, 2);
    assert_eq!(number_of("POOL_SLAVE_STARTED", &farm), 2);
    assert_eq!(number_of("POOL_SLAVE_FAILED", &farm), 0);
}

#[tokio::test]
async fn work_of_pods_that_are_evicted_runs_again_and_it_is_said_why() {
    let (cluster, mut farm) = farm("max_slaves = 1");
    let _swept = Swept::of(&farm);
    farm.start_master().await;
    let repository = repository(20, "0.5");
    let build = farm.submit(&repository.request()).await;
    wait_for_pool(&farm, "the slave works", |pool| pool.busy == 1).await;
    let first = cluster.jobs().await;
    cluster.evict().await;
    wait_for("another job is there", async || {
        let jobs = cluster.jobs().await;
        (jobs.len() == 1 && jobs != first).then_some(())
    })
    .await;
    let told = pool(&farm).await.last_failure.unwrap().message;
    let why = "Evicted: The node was low on resource: memory.";
    assert!(told.contains(&first[0]) && told.contains(why), "{told}");
    let view = farm.end_of(build).await.passes();
    assert_eq!((view.num_atoms_completed, view.num_atoms_failed), (20, 0));
    wait_until_gone(&farm, &cluster).await;
}

#[tokio::test]
async fn an_image_that_is_not_there_is_said_at_once() {
    let (cluster, mut farm) = farm("max_slaves = 2");
    let _swept = Swept::of(&farm);
    cluster.fault("missing_image", "clusterrunner:test").await;
    farm.start_master().await;
    let work = repository(2, "0");
    let build = farm.submit(&work.request()).await;
    let hindered = wait_for_pool(&farm, "it is said", |pool| pool.reason == "hindered").await;
    let why = "ImagePullBackOff: Back-off pulling image \"clusterrunner:test\"";
    assert!(hindered.why.contains(why), "{}", hindered.why);
    let open = format!("http://{}/v2/pools", farm.master_address());
    let open = reqwest::get(open).await.unwrap().text().await.unwrap();
    assert!(
        open.contains("\"hindered\"") && !open.contains("clusterrunner:test"),
        "{open}"
    );
    cluster.fault("missing_image", "").await;
    farm.end_of(build).await.passes();
    wait_until_gone(&farm, &cluster).await;
}

#[tokio::test]
async fn pods_that_no_node_takes_are_said_so_and_not_more_are_made() {
    let (cluster, mut farm) = farm("max_slaves = 3");
    let _swept = Swept::of(&farm);
    let settings = fs::read_to_string(farm.path("base/clusterrunner.conf")).unwrap();
    let settings = settings.replace("start_timeout = 60", "start_timeout = 4");
    fs::write(farm.path("base/clusterrunner.conf"), settings).unwrap();
    let why = "0/3 nodes are available: 3 Insufficient cpu.";
    cluster.fault("unschedulable", why).await;
    farm.start_master().await;
    let work = repository(100, "1");
    let build = farm.submit(&work.request()).await;
    let stands = wait_for_pool(&farm, "it is said", |pool| pool.reason == "queue_stands").await;
    assert!(stands.why.contains(why), "{}", stands.why);
    assert_eq!((stands.queued, stands.failed), (3, 0), "{stands:?}");
    assert_eq!(cluster.jobs().await.len(), 3);
    farm.client().cancel(build).await.unwrap();
    wait_until_gone(&farm, &cluster).await;
    assert!(
        cluster.secrets().await.is_empty(),
        "secrets go with their jobs"
    );
}

#[tokio::test]
async fn an_api_server_that_is_away_costs_nothing_that_runs() {
    let (cluster, mut farm) = farm("max_slaves = 2\ncommand_timeout = 5");
    let _swept = Swept::of(&farm);
    farm.start_master().await;
    let work = repository(30, "0.5");
    let build = farm.submit(&work.request()).await;
    wait_for_pool(&farm, "both slaves work", |pool| pool.busy == 2).await;
    cluster.fault("away", true).await;
    let away = wait_for_pool(&farm, "it is noticed", |pool| pool.reason == "paused").await;
    assert!(away.why.contains("does not answer"), "{}", away.why);
    // What runs goes on and is idle and ended, all without the server.
    farm.end_of(build).await.passes();
    wait_for("the slaves are ended", async || {
        let slaves = farm.client().slaves().await.unwrap();
        slaves.iter().all(|slave| !slave.is_alive).then_some(())
    })
    .await;
    cluster.fault("away", false).await;
    // The next answers are no answers, and then one is late.
    cluster.fault("errors", 1).await;
    cluster.fault("slow", 1).await;
    // The pauses of a provider that fails have grown meanwhile.
    wait_for_at_most(Duration::from_secs(180), "all is over", async || {
        let pool = pool(&farm).await;
        (pool.slaves.is_empty() && pool.reason == "nothing").then_some(())
    })
    .await;
    let small = repository(1, "0");
    let last = farm.submit(&small.request()).await;
    farm.end_of(last).await.passes();
    wait_until_gone(&farm, &cluster).await;
}

#[tokio::test]
async fn quotas_are_told_in_the_words_of_the_cluster() {
    let (cluster, mut farm) = farm("max_slaves = 1");
    let _swept = Swept::of(&farm);
    let why = "exceeded quota: jobs, requested: count/jobs.batch=1, used: 5, limited: 5";
    cluster.fault("quota", why).await;
    farm.start_master().await;
    let work = repository(1, "0");
    let build = farm.submit(&work.request()).await;
    let paused = wait_for_pool(&farm, "it is said", |pool| pool.reason == "paused").await;
    assert!(
        paused.why.contains("could not create a job") && paused.why.contains(why),
        "{}",
        paused.why
    );
    assert!(cluster.secrets().await.is_empty());
    // The job may be made, and its pod not.
    let of_pods = "exceeded quota: pods, requested: pods=1, used: 9, limited: 9";
    cluster.fault("pod_quota", of_pods).await;
    cluster.fault("quota", "").await;
    wait_for("a job is made", async || {
        (cluster.jobs().await.len() == 1).then_some(())
    })
    .await;
    wait_for("events were asked for", async || {
        let asked = cluster.asked().await;
        asked.contains(&"list events".to_owned()).then_some(())
    })
    .await;
    cluster.fault("pod_quota", "").await;
    farm.end_of(build).await.passes();
    wait_until_gone(&farm, &cluster).await;
    // conf/kubernetes allows that and nothing more.
    let used = [
        "create jobs",
        "create secrets",
        "list events",
        "list jobs",
        "list pods",
    ];
    assert_eq!(cluster.asked().await, used);
    for body in cluster.bodies().await {
        let unknown = unknown_fields(&body);
        assert!(unknown.is_empty(), "{unknown:#?}");
    }
}

/// What `kubectl` is asked for, told to the server of the double.
const KUBECTL: &str = r#"
import json, ssl, sys, urllib.parse, urllib.request
server, token = SERVER, open(TOKEN).read().strip()
arguments = sys.argv[1:]
assert arguments.pop(0) == "--namespace=farm"
verb, *rest = arguments
roots = {"jobs": "apis/batch/v1", "pods": "api/v1", "secrets": "api/v1", "events": "api/v1"}
def ask(method, kind, name="", body=None, query=None):
    url = f"{server}/{roots[kind]}/namespaces/farm/{kind}{name}?{urllib.parse.urlencode(query or {})}"
    data = body and json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"authorization": "Bearer " + token}, method=method)
    return urllib.request.urlopen(request, context=ssl._create_unverified_context()).read().decode()
if verb == "get":
    kind, output, selector = rest
    assert output == "--output=json"
    name, selected = selector.split("=", 1)
    query = {"--selector": "labelSelector", "--field-selector": "fieldSelector"}[name]
    print(ask("GET", kind, query={query: selected}))
elif verb == "create":
    assert rest == ["--filename=-", "--output=json", "--validate=false"], rest
    body = json.load(sys.stdin)
    print(ask("POST", body["kind"].lower() + "s", body=body))
else:
    assert verb == "delete" and rest[0] == "job" and rest[2:] == ["--ignore-not-found", "--wait=false", "--cascade=background"]
    ask("DELETE", "jobs", "/" + rest[1], {"propagationPolicy": "Background"})
"#;

fn kubectl(cluster: &ApiDouble, farm: &Farm) -> String {
    let program = farm.path("kubectl");
    let (server, token) = cluster.api();
    let text = KUBECTL.replace("SERVER", &format!("{server:?}"));
    let text = text.replace("TOKEN", &format!("{token:?}"));
    fs::write(&program, format!("#!/usr/bin/env python3\n{text}")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    format!("kubectl = {}\nnamespace = farm\n", program.display())
}

#[tokio::test]
async fn kubectl_does_it_too() {
    let (cluster, mut farm) = farm_by(kubectl, "max_slaves = 1");
    let _swept = Swept::of(&farm);
    farm.start_master().await;
    let work = repository(2, "0");
    let build = farm.submit(&work.request()).await;
    farm.end_of(build).await.passes();
    wait_until_gone(&farm, &cluster).await;
    // One that nobody needs any more is taken back.
    cluster.fault("unschedulable", "no node").await;
    let build = farm.submit(&work.request()).await;
    wait_for_pool(&farm, "it is queued", |pool| pool.queued == 1).await;
    farm.client().cancel(build).await.unwrap();
    wait_until_gone(&farm, &cluster).await;
    assert!(cluster.asked().await.contains(&"delete jobs".to_owned()));
}
