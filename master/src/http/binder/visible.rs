//! What a caller may see: the names of templates whose project the caller may read, and of applications those that are
//! the caller's.

use clusterrunner_core::Cluster;
use clusterrunner_core::access::{Access, Caller, Subject, access};
use clusterrunner_core::accounts::owner::Owner;
use clusterrunner_core::instances::instance::Instance;
use clusterrunner_core::templates::template::Name;

/// Whether a caller may see what a name stands for. A project that is private hides its templates.
pub(super) fn may_see(cluster: &Cluster, caller: Caller, name: &Name) -> bool {
    let of_template = || cluster.project(cluster.template(name.template?)?.project);
    let project = cluster.project_of(name.build).or_else(of_template);
    // Who may not read without a proof is sent away before.
    project.is_some_and(|it| access(caller, Subject::Project(it), true) >= Access::Read)
}

/// Whether a list shows an application to a caller. Whoever knows its id can use it, so a user gets no ids of others.
pub(super) fn may_list(caller: Caller, instance: &Instance) -> bool {
    let is_own = match caller {
        Caller::User(user) => user.is_superuser || instance.owner == Owner::User(user.id),
        _ => true,
    };
    is_own && access(caller, Subject::Instance(instance), false) >= Access::Read
}
