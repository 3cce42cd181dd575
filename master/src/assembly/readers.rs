//! The parts that follow the journal: each hears of every fact once the fact is on disk.

use super::Launched;
use super::ServeError;
use super::deis_api::own_names;
use crate::coordinator::Coordinator;
use crate::effects::{history, learning};
use crate::http::clusterrunner::BuildPage;
use crate::journal::Run;
use crate::notify::Watcher;
use crate::read::app_story;
use crate::read::event_log;
use crate::read::feed::{self, Feed};
use crate::read::private::PrivateProjects;
use crate::read::published::Published;
use crate::read::slave_keys::SlaveKeys;
use crate::router::{Hosts, Routes};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::logs::event_log::EventLog;
use clusterrunner_common::settings::MasterSettings;
use tokio::sync::mpsc;

/// What is told of each fact once it is on disk.
pub(super) struct Readers {
    pub(super) published: Published<BuildPage>,
    pub(super) private: PrivateProjects,
    pub(super) slave_keys: SlaveKeys,
    pub(super) events: EventLog,
    pub(super) feed: Feed,
    pub(super) routes: Routes,
    /// How long atoms took.
    pub(super) heard: mpsc::Receiver<Run>,
    /// Builds that were archived.
    pub(super) archived: mpsc::UnboundedReceiver<BuildId>,
}

impl Readers {
    /// Has the coordinator tell the readers.
    pub(super) fn told_by(
        ((coordinator, mut watcher), slave_keys): ((Coordinator, Watcher), SlaveKeys),
        settings: &MasterSettings,
        launched: &Launched,
    ) -> Result<(Coordinator, Self), ServeError> {
        let general = &settings.general;
        let events = EventLog::open(&general.event_log, general.max_log_file_size)?;
        let published = Published::new(BuildPage::of);
        let source = feed::Source::after(coordinator.position());
        let feed = source.feed();
        let (mut to_learning, heard) = learning::listener();
        let (mut to_history, archived) = history::listener();
        let private = PrivateProjects::default();
        let (to_published, to_event_log) = (published.clone(), events.clone());
        let to_private = private.clone();
        let to_slave_keys = slave_keys.clone();
        let own = own_names(settings);
        let hosts = Hosts::new(settings.apps.domain.as_deref(), &own);
        let routes = Routes::new(hosts, Timestamp::now());
        let to_routes = routes.clone();
        let to_app_logs = launched.app_logs.clone();
        let coordinator = coordinator.telling(move |cluster, events| {
            to_private.take_in(cluster, events);
            to_slave_keys.take_in(cluster, events);
            to_routes.take_in(cluster, events);
            to_published.take_in(cluster, events);
            app_story::record(&to_app_logs, cluster, events);
            event_log::record(&to_event_log, cluster, &source.take_in(cluster, events));
            to_learning(cluster, events);
            to_history(events);
            watcher.take_in(cluster, events);
        });
        let readers = Self {
            published,
            private,
            slave_keys,
            events,
            feed,
            routes,
            heard,
            archived,
        };
        Ok((coordinator, readers))
    }
}
