//! Effects as short texts, for comparisons.

use crate::effect::{Effect, SlaveCall};

pub(super) fn effect_text(effect: &Effect) -> String {
    match effect {
        Effect::Prepare { build, .. } => format!("prepare {build}"),
        Effect::Abandon { build } => format!("abandon {build}"),
        Effect::Archive {
            build,
            results,
            failures,
            ..
        } => {
            let results: Vec<String> = results.iter().map(|(s, a)| format!("{s}@{a}")).collect();
            format!("archive {build}: {results:?}, failed {failures:?}").replace('"', "")
        }
        Effect::MakeResult { build, made } => {
            format!(
                "make {build}.{}@{}: {} atoms",
                made.subjob,
                made.attempt,
                made.atoms.len()
            )
        }
        Effect::ClearResults { build } => format!("clear {build}"),
        Effect::RemoveBuild { build } => format!("remove {build}"),
        Effect::OpenSlave {
            slave,
            url,
            session,
            incarnation: _,
            is_legacy: _,
        } => format!("open slave {slave}: {url}, {session}"),
        Effect::CloseSlave { slave } => format!("close slave {slave}"),
        Effect::EndSlave { slave } => format!("slave {slave}: end"),
        Effect::OrderInstances {
            slave,
            instances,
            preloads,
        } => {
            let wanted = instances.iter();
            let wanted: Vec<_> = wanted
                .map(|i| format!("{}@{}", i.id, i.generation))
                .collect();
            let preloads = match preloads.len() {
                0 => String::new(),
                number => format!(", {number} preloads"),
            };
            format!("slave {slave}: run [{}]{preloads}", wanted.join(", "))
        }
        Effect::RemoveSnapshot { digest } => format!("remove snapshot {digest}"),
        Effect::RemoveInstanceLog { instance } => format!("remove the log of {instance}"),
        Effect::Call { slave, build, call } => match call {
            SlaveCall::SetUp(set_up) => format!(
                "slave {slave}: set up {build} from index {}",
                set_up.start_index
            ),
            SlaveCall::Start {
                subjob, attempt, ..
            } => {
                format!("slave {slave}: start {build}.{subjob}, attempt {attempt}")
            }
            SlaveCall::KeepConsoles(held) => {
                let held: Vec<_> = held.iter().map(|held| held.subjob.to_string()).collect();
                format!("slave {slave}: keep consoles of {build}.{}", held.join(","))
            }
            SlaveCall::TearDown => format!("slave {slave}: tear down {build}"),
        },
    }
}
