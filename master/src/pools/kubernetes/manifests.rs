//! What is made for a slave: a job of one pod, and the secret with its join token.

use super::kinds::Selector;
use super::merging::merged;
use crate::pools::provider::Order;
use clusterrunner_common::settings::KubernetesPool;
use serde_json::{Map, Value, json};

/// The container in which the slave runs.
pub(super) const CONTAINER: &str = "slave";

/// The label by which what a pool has started is found, and that says which pod is of which job.
const POOL_LABEL: &str = "clusterrunner/pool";
pub(super) const NAME_LABEL: &str = "clusterrunner/name";

/// For how many seconds a job that is over stays, with what it printed.
const KEPT_SECS: u32 = 600;

/// How many seconds a slave has that is told to end, for what it runs.
const GRACE_SECS: u32 = 120;

/// Where a slave keeps its files.
const HOME: &str = "/var/lib/clusterrunner";

/// The variable that a pod gets its join token in. It is gone before a slave starts.
const TOKEN_VARIABLE: &str = "JOIN_TOKEN";

/// The key of the secret.
const TOKEN_KEY: &str = "join_token";

/// What selects the things of the pool whose names begin with this.
#[must_use]
pub(super) fn selector(prefix: &str) -> Selector {
    Selector::Label(format!("{POOL_LABEL}={}", prefix.trim_end_matches('-')))
}

/// A template of pods, or what is wrong with it. A whole Pod is taken, too.
pub(super) fn template(read: Value) -> Result<Value, &'static str> {
    let Value::Object(mut template) = read else {
        return Err("expected a mapping with metadata and spec, as the template of a Job has");
    };
    template.remove("apiVersion");
    match template.remove("kind") {
        None => {}
        Some(kind) if kind == "Pod" => {}
        Some(_) => return Err("expected the template of a pod, or a Pod; this is of another kind"),
    }
    if template
        .keys()
        .any(|key| key != "metadata" && key != "spec")
    {
        return Err("expected metadata and spec, and nothing beside them");
    }
    let containers = template.get("spec").map(|spec| &spec["containers"]);
    match containers {
        None | Some(Value::Null) => {}
        Some(Value::Array(all)) if all.iter().all(|one| one["name"].is_string()) => {}
        Some(_) => return Err("expected a list under spec.containers, each with a name"),
    }
    Ok(Value::Object(template))
}

/// The job of a slave. Without a template, which is null then, its pod is the usual one.
#[must_use]
pub(super) fn job(settings: &KubernetesPool, template: &Value, order: &Order) -> Value {
    let labels = labels(order);
    let usual = usual_pod(order);
    let pod = match template {
        Value::Null => usual,
        template => merged(usual, template.clone()),
    };
    let pod = merged(pod, own_pod(settings, order, &labels));
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": { "name": order.name, "labels": labels },
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "ttlSecondsAfterFinished": KEPT_SECS,
            "template": pod,
        },
    })
}

/// The secret with what a slave joins with, owned by its job.
#[must_use]
pub(super) fn secret(order: &Order, job_uid: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "immutable": true,
        "metadata": {
            "name": order.name,
            "labels": labels(order),
            "ownerReferences": [{
                "apiVersion": "batch/v1",
                "kind": "Job",
                "name": order.name,
                "uid": job_uid,
            }],
        },
        "stringData": { TOKEN_KEY: order.join_token },
    })
}

fn labels(order: &Order) -> Value {
    let mut labels = Map::new();
    for (name, value) in [
        ("app.kubernetes.io/name", "clusterrunner"),
        ("app.kubernetes.io/component", "slave"),
        ("app.kubernetes.io/managed-by", "clusterrunner"),
        (
            POOL_LABEL,
            format!("cr-{}-{}", order.farm, order.pool).as_str(),
        ),
        (NAME_LABEL, order.name.as_str()),
    ] {
        labels.insert(name.to_owned(), Value::from(value));
    }
    Value::Object(labels)
}

/// What a template may change.
fn usual_pod(order: &Order) -> Value {
    json!({
        "spec": {
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": GRACE_SECS,
            "securityContext": {
                "runAsNonRoot": true,
                "fsGroup": 10001,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "volumes": [
                { "name": "home", "emptyDir": {} },
                { "name": "temporary", "emptyDir": {} },
            ],
            "containers": [{
                "name": CONTAINER,
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": { "drop": ["ALL"] },
                },
                "resources": { "requests": { "cpu": order.executors.to_string() } },
                "env": [{ "name": "HOME", "value": HOME }],
                "volumeMounts": [
                    { "name": "home", "mountPath": HOME },
                    { "name": "temporary", "mountPath": "/tmp", "subPath": "tmp" },
                    { "name": "temporary", "mountPath": "/var/tmp", "subPath": "var-tmp" },
                ],
            }],
        },
    })
}

/// What the settings say, and what a slave does not start without.
fn own_pod(settings: &KubernetesPool, order: &Order, labels: &Value) -> Value {
    let mut container = json!({
        "name": CONTAINER,
        "command": ["/bin/sh", "-c", script(&settings.slave_command)],
        "args": null,
        "env": environment(order),
    });
    if let Some(image) = &settings.image {
        container["image"] = json!(image);
    }
    if !settings.resources.is_empty() {
        // A limit of processor time makes builds slower on machines that are idle.
        let mut limits = settings.resources.clone();
        limits.remove("cpu");
        container["resources"] = json!({ "requests": settings.resources, "limits": limits });
    }
    let mut spec = json!({ "restartPolicy": "Never", "containers": [container] });
    if let Some(account) = &settings.service_account {
        spec["serviceAccountName"] = json!(account);
    }
    if !settings.node_selector.is_empty() {
        spec["nodeSelector"] = json!(settings.node_selector);
    }
    if !settings.tolerations.is_empty() {
        let tolerations = settings.tolerations.iter().map(|toleration| {
            let mut read = json!({
                "key": toleration.key,
                "operator": if toleration.value.is_some() { "Equal" } else { "Exists" },
            });
            if let Some(value) = &toleration.value {
                read["value"] = json!(value);
            }
            if let Some(effect) = &toleration.effect {
                read["effect"] = json!(effect);
            }
            read
        });
        spec["tolerations"] = tolerations.collect();
    }
    json!({ "metadata": { "labels": labels }, "spec": spec })
}

/// Other pods know no names of pods, so the slave is called by its address. It finishes what it runs when its pod is to go.
fn environment(order: &Order) -> Value {
    let set = order.environment.iter();
    let mut all: Vec<Value> = set
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    let base = format!("{HOME}/slave");
    all.extend([
        json!({ "name": "CLUSTERRUNNER_BASE_DIRECTORY", "value": base }),
        json!({ "name": "CLUSTERRUNNER_JOIN_TOKEN_FILE", "value": format!("{base}/join_token") }),
        json!({ "name": "CLUSTERRUNNER_DRAIN_ON_STOP", "value": "True" }),
        json!({ "name": "CLUSTERRUNNER_HOSTNAME", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } }),
        json!({ "name": TOKEN_VARIABLE, "valueFrom": { "secretKeyRef": { "name": order.name, "key": TOKEN_KEY } } }),
    ]);
    Value::Array(all)
}

/// A mounted secret can not be closed to others of the pod, as a join token must be.
fn script(slave_command: &str) -> String {
    format!(
        "umask 077\n\
         mkdir -p \"$CLUSTERRUNNER_BASE_DIRECTORY\" || exit 1\n\
         printf '%s\\n' \"${TOKEN_VARIABLE}\" >\"$CLUSTERRUNNER_JOIN_TOKEN_FILE\" || exit 1\n\
         unset {TOKEN_VARIABLE}\n\
         exec {slave_command}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::settings::{KubernetesAccess, Toleration};
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn settings() -> KubernetesPool {
        KubernetesPool {
            access: KubernetesAccess::OwnPod,
            namespace: None,
            image: Some("registry/clusterrunner:1".to_owned()),
            service_account: Some("builds".to_owned()),
            resources: BTreeMap::new(),
            node_selector: BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]),
            tolerations: vec![Toleration {
                key: "spot".to_owned(),
                value: None,
                effect: Some("NoSchedule".to_owned()),
            }],
            pod_template: None,
            slave_command: "clusterrunner slave".to_owned(),
            timeout: Duration::from_secs(60),
        }
    }

    fn order() -> Order {
        Order {
            name: "cr-f-a-1".to_owned(),
            pool: "a".to_owned(),
            farm: "f".to_owned(),
            master_url: "m:1".to_owned(),
            executors: 4,
            labels: Vec::new(),
            join_token: "7-abc".to_owned(),
            environment: BTreeMap::from([("CLUSTERRUNNER_LABELS", "x".to_owned())]),
        }
    }

    #[test]
    fn a_job_has_one_pod_that_is_never_started_again_and_no_token() {
        let job = job(&settings(), &Value::Null, &order());
        assert!(!job.to_string().contains("7-abc"), "{job}");
        assert_eq!(job["spec"]["backoffLimit"], 0);
        assert_eq!(job["metadata"]["labels"]["clusterrunner/pool"], "cr-f-a");
        let Selector::Label(selected) = selector("cr-f-a-") else {
            panic!("it is a label")
        };
        assert_eq!(selected, "clusterrunner/pool=cr-f-a");
        let pod = &job["spec"]["template"]["spec"];
        assert_eq!(pod["restartPolicy"], "Never");
        assert_eq!(pod["serviceAccountName"], "builds");
        assert_eq!(pod["nodeSelector"]["disk"], "ssd");
        assert_eq!(
            pod["tolerations"],
            json!([{ "key": "spot", "operator": "Exists", "effect": "NoSchedule" }])
        );
        let slave = &pod["containers"][0];
        assert_eq!(slave["image"], "registry/clusterrunner:1");
        assert_eq!(slave["resources"], json!({ "requests": { "cpu": "4" } }));
        let variables = slave["env"].as_array().unwrap();
        let token = variables.iter().find(|one| one["name"] == "JOIN_TOKEN");
        let from = &token.unwrap()["valueFrom"]["secretKeyRef"];
        assert_eq!(from, &json!({ "name": "cr-f-a-1", "key": "join_token" }));
        let secret = secret(&order(), "u-1");
        assert_eq!(secret["stringData"]["join_token"], "7-abc");
        assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], "u-1");
    }

    #[test]
    fn a_template_changes_what_is_usual_and_not_what_a_slave_needs() {
        let template = template(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "labels": { "team": "ci", "clusterrunner/pool": "other" } },
            "spec": {
                "restartPolicy": "Always",
                "securityContext": { "runAsNonRoot": false },
                "volumes": [{ "name": "home", "emptyDir": null, "ephemeral": {} }, { "name": "cache", "emptyDir": {} }],
                "containers": [
                    { "name": "slave", "image": "mine", "args": ["x"], "env": [{ "name": "A", "value": "1" }] },
                    { "name": "beside", "image": "other" },
                ],
            },
        }))
        .unwrap();
        let mut settings = settings();
        settings.image = None;
        settings.resources = BTreeMap::from([
            ("cpu".to_owned(), "2".to_owned()),
            ("memory".to_owned(), "4Gi".to_owned()),
        ]);
        let job = job(&settings, &template, &order());
        let pod = &job["spec"]["template"];
        assert_eq!(pod["metadata"]["labels"]["team"], "ci");
        assert_eq!(pod["metadata"]["labels"]["clusterrunner/pool"], "cr-f-a");
        let spec = &pod["spec"];
        assert_eq!(spec["restartPolicy"], "Never");
        assert_eq!(spec["securityContext"]["runAsNonRoot"], false);
        let volumes = json!([
            { "name": "home", "ephemeral": {} }, { "name": "temporary", "emptyDir": {} },
            { "name": "cache", "emptyDir": {} },
        ]);
        assert_eq!(spec["volumes"], volumes);
        let slave = &spec["containers"][0];
        assert_eq!(
            (&slave["image"], &slave["args"]),
            (&json!("mine"), &Value::Null)
        );
        assert_eq!(slave["resources"]["limits"], json!({ "memory": "4Gi" }));
        assert_eq!(slave["resources"]["requests"]["cpu"], "2");
        let names = slave["env"].as_array().unwrap().iter();
        assert_eq!(names.filter(|one| one["name"] == "A").count(), 1);
        assert_eq!(spec["containers"][1]["name"], "beside");
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for (wrong, expected) in [
            (json!([]), "expected a mapping"),
            (json!({ "kind": "Job", "spec": {} }), "another kind"),
            (json!({ "containers": [] }), "nothing beside them"),
            (
                json!({ "spec": { "containers": [{}] } }),
                "each with a name",
            ),
        ] {
            let said = template(wrong).unwrap_err();
            assert!(said.contains(expected), "{said}");
        }
    }
}
