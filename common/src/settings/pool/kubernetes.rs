//! How a Kubernetes cluster is asked for slaves. No file that is named here is read before it is needed, so what changes in
//! it counts at once.

use super::super::error::SettingsError;
use super::super::section::NamedSection;
use super::super::values::{Found, Value};
use super::values::{slave_command, value};
use crate::text::host_name::is_host;
use reqwest::Url;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What has a meaning for this provider alone.
pub(super) const OWN_KEYS: [&str; 11] = [
    "image",
    "namespace",
    "service_account",
    "resources",
    "node_selector",
    "tolerations",
    "pod_template",
    "api_server",
    "token_file",
    "ca_file",
    "kubectl",
];

/// How a Kubernetes cluster is asked for slaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesPool {
    /// How the cluster is reached.
    pub access: KubernetesAccess,
    /// Where the jobs are; none for that of the master's own pod, or `kubectl`'s.
    pub namespace: Option<String>,
    /// The image of the pods; none where the template names it.
    pub image: Option<String>,
    /// The service account of the pods; none for the template's, or the namespace's default.
    pub service_account: Option<String>,
    /// What a pod asks for, by the names of Kubernetes: `cpu`, `memory`.
    pub resources: BTreeMap<String, String>,
    /// The labels that a node must have.
    pub node_selector: BTreeMap<String, String>,
    /// The taints that a node may have.
    pub tolerations: Vec<Toleration>,
    /// A file with what else the pods have.
    pub pod_template: Option<PathBuf>,
    /// What runs a slave in its pod.
    pub slave_command: String,
    /// How long a request, or a run of `kubectl`, may take.
    pub timeout: Duration,
}

/// How a Kubernetes cluster is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubernetesAccess {
    /// By what Kubernetes gives to the master's own pod.
    OwnPod,
    /// By its API server.
    Server {
        /// The beginning of its addresses.
        url: Url,
        /// A file with what opens it; none where something in between does that.
        token_file: Option<PathBuf>,
        /// Who vouches for its certificate; none for the system's authorities.
        ca_file: Option<PathBuf>,
    },
    /// By this program.
    Kubectl(PathBuf),
}

/// A taint that a node may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toleration {
    /// Its key.
    pub key: String,
    /// Its value; none for any.
    pub value: Option<String>,
    /// Its effect; none for any.
    pub effect: Option<String>,
}

/// The pool of a section, as far as it is Kubernetes'.
pub(super) fn read(
    section: &NamedSection,
    timeout: Duration,
) -> Result<KubernetesPool, SettingsError> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !section.name.chars().all(is_plain) {
        return Err(section.wrong(
            "with provider = kubernetes expected a name of lower-case letters and digits alone: it becomes a part of the \
             names of jobs",
        ));
    }
    let pod_template = path(section, "pod_template")?;
    let image = value::<Image>(section, "image")?.map(|image| image.0);
    if image.is_none() && pod_template.is_none() {
        return Err(section.wrong(
            "expected the setting \"image\", or \"pod_template\" with a container \"slave\" that has an image",
        ));
    }
    let access = access(section)?;
    let namespace = value::<DnsName>(section, "namespace")?.map(|name| name.0);
    if namespace.is_none() && matches!(access, KubernetesAccess::Server { .. }) {
        return Err(section.wrong("expected the setting \"namespace\", since api_server is set"));
    }
    let pairs = |key| -> Result<BTreeMap<String, String>, SettingsError> {
        Ok(value::<Pairs>(section, key)?.map_or_else(BTreeMap::new, |pairs| pairs.0))
    };
    Ok(KubernetesPool {
        access,
        namespace,
        image,
        service_account: value::<DnsName>(section, "service_account")?.map(|name| name.0),
        resources: pairs("resources")?,
        node_selector: pairs("node_selector")?,
        tolerations: value::<Tolerations>(section, "tolerations")?
            .map_or_else(Vec::new, |tolerations| tolerations.0),
        pod_template,
        slave_command: slave_command(section)?,
        timeout,
    })
}

fn path(section: &NamedSection, key: &str) -> Result<Option<PathBuf>, SettingsError> {
    Ok(value::<AbsolutePath>(section, key)?.map(|path| path.0))
}

fn access(section: &NamedSection) -> Result<KubernetesAccess, SettingsError> {
    let server = value::<ApiServer>(section, "api_server")?;
    let (token_file, ca_file) = (path(section, "token_file")?, path(section, "ca_file")?);
    if let Some(program) = path(section, "kubectl")? {
        let unused = ["api_server", "token_file", "ca_file"];
        return match unused.iter().find_map(|key| section.find(key)) {
            Some(found) => Err(found.wrong("kubectl is set, too; remove one of them")),
            None => Ok(KubernetesAccess::Kubectl(program)),
        };
    }
    let Some(ApiServer(url)) = server else {
        let unused = ["token_file", "ca_file"];
        return match unused.iter().find_map(|key| section.find(key)) {
            Some(found) => Err(found.wrong("it has a meaning with api_server alone")),
            None => Ok(KubernetesAccess::OwnPod),
        };
    };
    if token_file.is_none() && url.scheme() == "https" {
        return Err(section.wrong("expected the setting \"token_file\", since api_server is set"));
    }
    Ok(KubernetesAccess::Server {
        url,
        token_file,
        ca_file,
    })
}

/// A path from the root.
pub(super) struct AbsolutePath(PathBuf);

impl Value for AbsolutePath {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        let path = PathBuf::from(String::read(found)?);
        match path.is_absolute() {
            true => Ok(Self(path)),
            false => Err(found.wrong(format!(
                "expected a path that begins with a slash, found \"{}\"",
                path.display()
            ))),
        }
    }
}

/// The reference of an image.
pub(super) struct Image(String);

impl Value for Image {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        let text = String::read(found)?;
        match text.chars().all(|c| c.is_ascii_graphic()) {
            true => Ok(Self(text)),
            false => Err(found.wrong(format!(
                "expected an image, such as registry.example.com/clusterrunner:1, found \"{text}\""
            ))),
        }
    }
}

/// A name of something in a cluster.
pub(super) struct DnsName(String);

impl Value for DnsName {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        let text = String::read(found)?;
        let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let is_right = text.len() <= 63
            && text.chars().all(is_inner)
            && !text.starts_with('-')
            && !text.ends_with('-');
        match is_right {
            true => Ok(Self(text)),
            false => Err(found.wrong(format!(
                "expected a name of lower-case letters, digits and hyphens, at most 63, found \"{text}\""
            ))),
        }
    }
}

/// `NAME=VALUE`, any number of them.
pub(super) struct Pairs(BTreeMap<String, String>);

impl Value for Pairs {
    const IS_TEXT: bool = true;

    fn read(found: &Found) -> Result<Self, SettingsError> {
        let mut pairs = BTreeMap::new();
        for element in Vec::<String>::read(found)? {
            let pair = element.split_once('=');
            let pair =
                pair.filter(|(name, value)| is_word(name) && (value.is_empty() || is_word(value)));
            let Some((name, value)) = pair else {
                return Err(found.wrong(format!(
                    "expected a list of NAME=VALUE, such as cpu=2, memory=4Gi, found \"{element}\""
                )));
            };
            if pairs.insert(name.to_owned(), value.to_owned()).is_some() {
                return Err(found.wrong(format!("\"{name}\" is there twice; remove one")));
            }
        }
        Ok(Self(pairs))
    }
}

/// What names, values and quantities consist of.
fn is_word(text: &str) -> bool {
    let is_right = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    !text.is_empty() && text.chars().all(is_right)
}

/// `KEY[=VALUE][:EFFECT]`, any number of them, as `kubectl taint` takes them.
pub(super) struct Tolerations(Vec<Toleration>);

/// What a taint does.
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

impl Value for Tolerations {
    const IS_TEXT: bool = true;

    fn read(found: &Found) -> Result<Self, SettingsError> {
        let elements = Vec::<String>::read(found)?;
        let read = elements.iter().map(|element| {
            let (taint, effect) = match element.split_once(':') {
                Some((taint, effect)) => (taint, Some(effect)),
                None => (element.as_str(), None),
            };
            let (key, value) = match taint.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (taint, None),
            };
            let is_right = is_word(key)
                && value.is_none_or(is_word)
                && effect.is_none_or(|effect| EFFECTS.contains(&effect));
            is_right.then(|| Toleration {
                key: key.to_owned(),
                value: value.map(str::to_owned),
                effect: effect.map(str::to_owned),
            })
        });
        let tolerations: Option<Vec<Toleration>> = read.collect();
        tolerations.map(Self).ok_or_else(|| {
            found.wrong(format!(
                "expected a list of KEY[=VALUE][:EFFECT], such as dedicated=ci:NoSchedule, with an effect of {}, found \"{}\"",
                EFFECTS.join(", "),
                elements.join(", ")
            ))
        })
    }
}

/// The beginning of an API server's addresses. A token does not go over an open line.
pub(super) struct ApiServer(Url);

impl Value for ApiServer {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        let text = String::read(found)?;
        let url = Url::parse(&text).ok().filter(|url| {
            let host = url.host_str().unwrap_or_default();
            let is_here = ["localhost", "127.0.0.1", "[::1]"].contains(&host);
            let is_bare = url.query().is_none() && url.fragment().is_none();
            let is_open = url.username().is_empty() && url.password().is_none();
            is_host(host)
                && is_bare
                && is_open
                && (url.scheme() == "https" || url.scheme() == "http" && is_here)
        });
        url.map(Self).ok_or_else(|| {
            found.wrong(format!(
                "expected https://HOST:PORT, or http:// of this machine (`kubectl proxy`), found \"{text}\""
            ))
        })
    }
}
