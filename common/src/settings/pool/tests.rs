use super::*;
use crate::settings::{Overrides, load_master};
use std::time::Duration;

/// What the master reads of a file with these lines in a section.
fn pools(text: &str) -> Result<Vec<PoolSettings>, String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("clusterrunner.conf");
    std::fs::write(&file, text).unwrap();
    let at_home = |variable: &str| (variable == "HOME").then(|| "/home/nobody".to_owned());
    let read = load_master(Some(&file), at_home, &Overrides::new());
    read.map(|settings| settings.pools)
        .map_err(|error| error.to_string())
}

fn complaint(lines: &str) -> String {
    pools(&format!("[general]\n[pool big]\n{lines}\n")).unwrap_err()
}

#[test]
fn a_pool_of_commands() {
    let text = "[pool big]\nprovider = command\nmax_slaves = 4\nexecutors = 8\nlabels = gpu, big\n\
                start_command = ./start\nstop_command = ./stop\nlist_command = \"./list, all\"\n\
                master_url = farm:43000\n";
    let all = pools(text).unwrap();
    let [pool] = all.as_slice() else {
        panic!("{all:?}")
    };
    let terms = &pool.terms;
    assert_eq!(
        (terms.min_slaves, terms.max_slaves, terms.executors),
        (0, 4, 8)
    );
    assert_eq!(terms.labels.iter().collect::<Vec<_>>(), ["big", "gpu"]);
    assert_eq!(terms.idle_timeout, Duration::from_secs(300));
    assert_eq!(pool.master_url, Some(("farm".to_owned(), 43000)));
    let PoolProvider::Command(command) = &pool.provider else {
        panic!("{pool:?}")
    };
    assert_eq!(command.list_command, "./list, all");
}

#[test]
fn pools_of_slurm_with_options() {
    let text = "[pool a]\nprovider = slurm\nmax_slaves = 4\npartition = long\ntime_limit = 1-12:00\n\
                options = --mem=8G, \"--gres=gpu:1,shard:2\", --output=/tmp/%x.log\n[pool b]\nprovider = slurm\nmax_slaves = 0\n";
    let all = pools(text).unwrap();
    assert_eq!(all.len(), 2);
    let PoolProvider::Slurm(slurm) = &all[0].provider else {
        panic!("{all:?}")
    };
    let options = ["--mem=8G", "--gres=gpu:1,shard:2", "--output=/tmp/%x.log"];
    assert_eq!(slurm.options, options);
    assert_eq!(slurm.slave_command, "clusterrunner slave");
    assert_eq!(slurm.time_limit.as_deref(), Some("1-12:00"));
}

#[test]
fn mistakes_are_told_with_their_line_and_the_cure() {
    let whole = "provider = slurm\nmax_slaves = 2";
    for (lines, expected) in [
        (
            "max_slaves = 2".to_owned(),
            "section [pool big]: expected the setting \"provider\"",
        ),
        (
            "provider = slurm".to_owned(),
            "expected the setting \"max_slaves\"",
        ),
        (
            "provider = ec2\nmax_slaves = 2".to_owned(),
            "expected command, slurm or kubernetes, found \"ec2\"",
        ),
        (
            format!("{whole}\nmin_slaves = 3"),
            "min_slaves = 3 is more than max_slaves = 2",
        ),
        (
            format!("{whole}\nmax_slave = 3"),
            "unknown setting \"max_slave\"; did you mean \"max_slaves\"?",
        ),
        (format!("{whole}\nmax_slaves = 3"), "already set in line 4"),
        (
            format!("{whole}\nstart_command = x"),
            "it has a meaning with provider = command alone",
        ),
        (
            format!("{whole}\ntime_limit = 1h"),
            "expected a time limit of Slurm",
        ),
        (
            format!("{whole}\noptions = --job-name=x"),
            "the master itself sets --job-name",
        ),
        (
            format!("{whole}\noptions = --array=1-4"),
            "a pool starts one slave for each job; remove --array",
        ),
        (
            format!("{whole}\noptions = -a1-4"),
            "a pool starts one slave for each job; remove -a1-4",
        ),
        (
            format!("{whole}\noptions = --job=x"),
            "the master itself sets --job-name; remove --job",
        ),
        (
            format!("{whole}\ndrain_before = 65536"),
            "expected at most 65535",
        ),
        (
            format!("{whole}\ntime_limit = 2"),
            "drain_before = 120 is not less than time_limit, which is 120 s",
        ),
        (
            format!("{whole}\ndrain_before = 90000\ntime_limit = 1-0"),
            "expected at most 65535",
        ),
        (
            format!("{whole}\ndrain_before = 3661\ntime_limit = 1:01:01"),
            "time_limit, which is 3661 s",
        ),
        (
            format!("{whole}\noptions = mem"),
            "expected a list of options of sbatch",
        ),
        (format!("{whole}\nexecutors = 0"), "expected a whole number"),
        (
            format!("{whole}\nmaster_url = http://x"),
            "expected HOST:PORT",
        ),
        (
            "provider = command\nmax_slaves = 1\nstart_command = a\nstop_command = b".to_owned(),
            "expected the setting \"list_command\"",
        ),
    ] {
        let said = complaint(&lines);
        assert!(said.contains(expected), "{lines}: {said}");
        assert!(said.contains("clusterrunner.conf"), "{said}");
    }
}

#[test]
fn headers_are_checked() {
    for (header, expected) in [
        ("[pool]", "expected a name"),
        ("[pool a-b]", "expected a name"),
        ("[pol x]", "did you mean \"[pool x]\"?"),
    ] {
        let said = pools(&format!("[general]\n{header}\nprovider = slurm\n")).unwrap_err();
        assert!(said.contains(expected), "{header}: {said}");
    }
    let twice = "[pool a]\nprovider = slurm\nmax_slaves = 1\n[pool a]\n";
    let said = pools(twice).unwrap_err();
    assert!(said.contains("[pool a] begins in line 1 already"), "{said}");
}

#[test]
fn pools_of_kubernetes() {
    let text = "[pool a]\nprovider = kubernetes\nmax_slaves = 4\nimage = registry/clusterrunner:1\n\
                resources = cpu=2, memory=4Gi, nvidia.com/gpu=1\nnode_selector = disk=ssd\n\
                tolerations = dedicated=ci:NoSchedule, spot\nservice_account = builds\n\
                [pool b]\nprovider = kubernetes\nmax_slaves = 1\npod_template = /etc/pod.yaml\nkubectl = /usr/bin/kubectl\n\
                [pool c]\nprovider = kubernetes\nmax_slaves = 1\nimage = a\napi_server = https://10.0.0.1:6443\n\
                token_file = /t\nca_file = /c\nnamespace = ci\nslave_command = cr slave\n";
    let all = pools(text).unwrap();
    let read = |index: usize| match &all[index].provider {
        PoolProvider::Kubernetes(pool) => pool.clone(),
        other => panic!("{other:?}"),
    };
    let a = read(0);
    assert_eq!(a.access, KubernetesAccess::OwnPod);
    assert_eq!(a.resources["nvidia.com/gpu"], "1");
    assert_eq!(a.node_selector["disk"], "ssd");
    let toleration = |key: &str, value: Option<&str>, effect: Option<&str>| Toleration {
        key: key.to_owned(),
        value: value.map(str::to_owned),
        effect: effect.map(str::to_owned),
    };
    let expected = [
        toleration("dedicated", Some("ci"), Some("NoSchedule")),
        toleration("spot", None, None),
    ];
    assert_eq!(a.tolerations, expected);
    assert_eq!(
        (a.service_account.as_deref(), a.namespace),
        (Some("builds"), None)
    );
    assert_eq!(
        read(1).access,
        KubernetesAccess::Kubectl("/usr/bin/kubectl".into())
    );
    let c = read(2);
    assert!(matches!(
        c.access,
        KubernetesAccess::Server {
            token_file: Some(_),
            ca_file: Some(_),
            ..
        }
    ));
    assert_eq!(c.slave_command, "cr slave");
}

#[test]
fn mistakes_in_pools_of_kubernetes_are_told_with_the_cure() {
    let whole = "provider = kubernetes\nmax_slaves = 2\nimage = a";
    for (lines, expected) in [
        (
            "provider = kubernetes\nmax_slaves = 2".to_owned(),
            "expected the setting \"image\", or \"pod_template\"",
        ),
        (
            format!("{whole}\napi_server = http://10.0.0.1"),
            "expected https://HOST:PORT, or http:// of this machine",
        ),
        (
            format!("{whole}\napi_server = https://a\ntoken_file = /t"),
            "expected the setting \"namespace\"",
        ),
        (
            format!("{whole}\napi_server = https://a\nnamespace = n"),
            "expected the setting \"token_file\"",
        ),
        (
            format!("{whole}\ntoken_file = /t"),
            "it has a meaning with api_server alone",
        ),
        (
            format!("{whole}\nkubectl = /k\nca_file = /t"),
            "kubectl is set, too; remove one of them",
        ),
        (
            format!("{whole}\nkubectl = kubectl"),
            "expected a path that begins with a slash",
        ),
        (
            format!("{whole}\nresources = cpu"),
            "expected a list of NAME=VALUE",
        ),
        (
            format!("{whole}\nresources = cpu=1, cpu=2"),
            "\"cpu\" is there twice; remove one",
        ),
        (
            format!("{whole}\ntolerations = a:Never"),
            "expected a list of KEY[=VALUE][:EFFECT]",
        ),
        (
            format!("{whole}\nnamespace = Big"),
            "expected a name of lower-case letters",
        ),
        (
            format!("{whole}\npartition = x"),
            "it has a meaning with provider = slurm alone",
        ),
        (
            "provider = slurm\nmax_slaves = 2\nimage = a".to_owned(),
            "it has a meaning with provider = kubernetes alone",
        ),
        (
            "provider = command\nmax_slaves = 2\nslave_command = a".to_owned(),
            "start_command does that",
        ),
    ] {
        let said = complaint(&lines);
        assert!(said.contains(expected), "{lines}: {said}");
    }
    let said = pools(&format!("[pool a_b]\n{whole}\n")).unwrap_err();
    assert!(said.contains("lower-case letters and digits"), "{said}");
}
