//! What `conf/kubernetes` has, without a cluster: the chart says what the manifests say, and both have only fields that
//! Kubernetes knows.
//!
//! `kubernetes_fields.txt` has the fields that are used, of manifests that `kubernetes-validate --strict` (PyPI) takes with
//! the schemas of Kubernetes 1.37. Whoever adds a field checks it in the same way and writes it down there.

use clusterrunner_common::text::yaml;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const FIELDS: &str = include_str!("kubernetes_fields.txt");

/// Where the chart says something else than the manifests: its values.
const OF_VALUES: [(&str, &str); 8] = [
    (
        "          image: clusterrunner\n",
        "          image: {{ .Values.image | quote }}\n",
    ),
    (
        "            storage: 50Gi",
        "            storage: {{ .Values.storage | quote }}",
    ),
    (
        "          resources:\n            requests:\n              cpu: 500m\n              memory: 512Mi\n            \
         limits:\n              memory: 2Gi\n",
        "          resources:\n            {{- toYaml .Values.resources | nindent 12 }}\n",
    ),
    (
        "        accessModes: [\"ReadWriteOnce\"]\n",
        "        accessModes: [\"ReadWriteOnce\"]\n        {{- with .Values.storageClass }}\n        \
         storageClassName: {{ . | quote }}\n        {{- end }}\n",
    ),
    (
        "                  name: clusterrunner-secret",
        "                  name: {{ .Values.secretName | quote }}",
    ),
    (
        "        app.kubernetes.io/component: master\n    spec:\n      serviceAccountName",
        "        app.kubernetes.io/component: master\n      annotations:\n        \
         # The master reads its settings when it starts.\n        \
         checksum/settings: {{ .Values.settings | sha256sum }}\n    spec:\n      serviceAccountName",
    ),
    (
        "# Slaves are called by their master and by each other.",
        "{{- if .Values.networkPolicy }}\n# Slaves are called by their master and by each other.",
    ),
    (
        "          port: 43000\n",
        "          port: 43000\n{{- end }}\n",
    ),
];

fn place(of: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf/kubernetes");
    root.join(of)
}

fn read(of: &str) -> String {
    fs::read_to_string(place(of)).unwrap()
}

fn documents(text: &str) -> Vec<Value> {
    let parts = text.split("\n---\n");
    parts.map(|part| yaml::from_str(part).unwrap()).collect()
}

#[test]
fn the_chart_says_what_the_manifests_say() {
    let mut replaced = BTreeSet::new();
    for file in ["account.yaml", "master.yaml", "network.yaml"] {
        let mut text = read(&format!("base/{file}"));
        let of_policies = OF_VALUES[6..].iter().filter(|_| file == "network.yaml");
        let of_others = OF_VALUES[..6].iter().filter(|_| file != "network.yaml");
        for (said, by_value) in of_policies.chain(of_others) {
            if text.contains(said) {
                text = text.replacen(said, by_value, 1);
                replaced.insert(*said);
            }
        }
        assert_eq!(text, read(&format!("chart/templates/{file}")), "{file}");
    }
    assert_eq!(replaced.len(), OF_VALUES.len(), "{replaced:?}");
    // And its values are what stands in the manifests.
    let values = yaml::from_str(&read("chart/values.yaml")).unwrap();
    let settings = &documents(&read("base/settings.yaml"))[0];
    assert_eq!(values["settings"], settings["data"]["clusterrunner.conf"]);
    let master = documents(&read("base/master.yaml"));
    let set = &master[1]["spec"];
    let container = &set["template"]["spec"]["containers"][0];
    assert_eq!(values["resources"], container["resources"]);
    let claim = &set["volumeClaimTemplates"][0]["spec"]["resources"]["requests"];
    assert_eq!(values["storage"], claim["storage"]);
    let variables = container["env"].as_array().unwrap();
    let secret = variables
        .iter()
        .find(|one| one["name"] == "CLUSTERRUNNER_SECRET");
    let secret = &secret.unwrap()["valueFrom"]["secretKeyRef"];
    assert_eq!(values["secretName"], secret["name"]);
    let rendered = read("chart/templates/settings.yaml");
    assert!(
        rendered.contains("{{- .Values.settings | nindent 4 }}"),
        "{rendered}"
    );
}

#[test]
fn manifests_have_fields_that_kubernetes_knows() {
    let mut unknown = Vec::new();
    for file in ["namespace", "account", "settings", "master", "network"] {
        for manifest in documents(&read(&format!("base/{file}.yaml"))) {
            unknown.extend(unknown_fields(&manifest));
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[test]
fn a_pool_of_the_manifests_is_read() {
    let settings = &documents(&read("base/settings.yaml"))[0];
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("clusterrunner.conf");
    let text = settings["data"]["clusterrunner.conf"].as_str().unwrap();
    fs::write(&file, text).unwrap();
    let at_home = |variable: &str| (variable == "HOME").then(|| "/home/nobody".to_owned());
    let flags = clusterrunner_common::settings::Overrides::new();
    let read = clusterrunner_common::settings::load_master(Some(&file), at_home, &flags).unwrap();
    assert_eq!(read.pools.len(), 1);
}

/// The fields of an object that are not recorded, each with its kind and the type of what it has.
pub(crate) fn unknown_fields(manifest: &Value) -> Vec<String> {
    let known: BTreeSet<&str> = FIELDS.lines().collect();
    let kind = manifest["kind"].as_str().unwrap();
    let mut found = BTreeSet::new();
    fields(manifest, kind, &mut found);
    let unknown = found.into_iter();
    unknown
        .filter(|field| !known.contains(field.as_str()))
        .collect()
}

/// Mappings whose names are anybody's.
const OPEN: [&str; 9] = [
    "labels",
    "annotations",
    "matchLabels",
    "selector",
    "data",
    "stringData",
    "requests",
    "limits",
    "nodeSelector",
];

fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    let name = path.rsplit('.').next().unwrap_or_default();
    let what = match value {
        Value::Object(map) if OPEN.contains(&name) && map.values().all(Value::is_string) => "texts",
        Value::Object(map) if map.is_empty() => "mapping",
        Value::Object(map) => {
            for (name, value) in map {
                fields(value, &format!("{path}.{name}"), found);
            }
            return;
        }
        Value::Array(all) => {
            for value in all {
                fields(value, &format!("{path}[]"), found);
            }
            return;
        }
        Value::String(_) => "text",
        Value::Number(_) => "number",
        Value::Bool(_) => "yes or no",
        Value::Null => "nothing",
    };
    found.insert(format!("{path} {what}"));
}
