//! Events as they are sent, and who may be told of them.

use bytes::Bytes;
use clusterrunner_core::access::{Access, Caller, Subject, access};
use clusterrunner_core::accounts::projects::Project;
use clusterrunner_core::instances::instance::Instance;
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;

/// Who may be told of something.
#[derive(Clone, Debug)]
pub(super) enum Audience {
    /// Everyone who may read.
    Everyone,
    /// Callers who may read this private project.
    Project(Arc<Project>),
    /// Callers who are somebody, as those must be who see apps.
    Known,
    /// Callers who may see this instance.
    Instance(Arc<Instance>),
    /// Callers who may see the app of this project.
    App(Arc<Project>),
}

impl Audience {
    /// Those who may be told of the builds of a project, where a build has one.
    pub(super) fn of_project(project: Option<&Project>) -> Self {
        let private = project.filter(|project| !project.is_public());
        private.map_or(Self::Everyone, |project| {
            Self::Project(Arc::new(project.clone()))
        })
    }

    /// Whether a caller is among them who may read what is public.
    pub(super) fn has(&self, caller: Caller) -> bool {
        let is_known = matches!(caller, Caller::Secret(_) | Caller::User(_));
        match self {
            Self::Everyone => true,
            Self::Known => is_known,
            Self::Project(project) => may_read(caller, Subject::Project(project)),
            // As the lists of instances and apps.
            Self::Instance(instance) => is_known && may_read(caller, Subject::Instance(instance)),
            Self::App(project) => is_known && may_read(caller, Subject::App(project)),
        }
    }
}

fn may_read(caller: Caller, subject: Subject<'_>) -> bool {
    access(caller, subject, true) >= Access::Read
}

/// An event, without its number. Readers share the text.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) audience: Audience,
    text: Bytes,
}

impl Frame {
    /// An event with this name and data.
    ///
    /// # Errors
    /// The data is no JSON.
    pub(super) fn new(
        audience: Audience,
        name: &str,
        data: &impl Serialize,
    ) -> Result<Self, serde_json::Error> {
        let mut text = format!("event: {name}\ndata: ").into_bytes();
        // JSON has no line feed in it.
        serde_json::to_writer(&mut text, data)?;
        text.extend_from_slice(b"\n\n");
        Ok(Self {
            audience,
            text: text.into(),
        })
    }

    /// An event that says nothing but its name.
    pub(super) fn bare(name: &str) -> Self {
        Self {
            audience: Audience::Everyone,
            text: format!("event: {name}\ndata: {{}}\n\n").into(),
        }
    }

    /// An event about something that only has its number yet.
    pub(super) fn gone(name: &str, id: u64) -> Self {
        Self {
            audience: Audience::Everyone,
            text: format!("event: {name}\ndata: {}\n\n", json!({"id": id})).into(),
        }
    }

    /// The same event for fewer.
    pub(super) fn only_for(self, audience: Audience) -> Self {
        Self { audience, ..self }
    }

    /// How many bytes it has.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// What says the same: the reader is to read anew what it shows.
    pub(super) fn reload() -> Self {
        Self::bare("reload")
    }
}

/// Events that are sent together.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    /// The number of the last fact that the events tell of, together with those before.
    pub(super) id: u64,
    /// The number with which a reader begins anew that has only some of the events.
    pub(super) before: u64,
    pub(super) frames: Vec<Frame>,
}

impl Batch {
    /// What a caller gets of it: two pieces for each event. Only the last event has the number of the whole.
    pub(super) fn pieces(&self, caller: Caller) -> Vec<Bytes> {
        let frames = self.frames.iter();
        let mut frames = frames.filter(|frame| frame.audience.has(caller)).peekable();
        let mut pieces = Vec::new();
        while let Some(frame) = frames.next() {
            let id = match frames.peek() {
                Some(_) => self.before,
                None => self.id,
            };
            pieces.push(format!("id: {id}\n").into());
            pieces.push(frame.text.clone());
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::clock::Timestamp;
    use clusterrunner_common::ids::{ProjectId, UserId};
    use clusterrunner_core::access::{SecretProof, UserCaller};
    use clusterrunner_core::accounts::owner::Owner;
    use clusterrunner_core::accounts::projects::NewProject;
    use clusterrunner_core::accounts::users::Role;

    fn text(batch: &Batch, caller: Caller) -> String {
        let pieces = batch.pieces(caller).concat();
        String::from_utf8(pieces).unwrap()
    }

    #[test]
    fn the_last_event_that_a_caller_gets_has_the_number_of_all() {
        let new = NewProject {
            name: "hill".to_owned(),
            description: None,
            tags: None,
            is_public: false,
            git_url: None,
        };
        let project = Project::made(ProjectId(1), Owner::User(UserId(1)), new, Timestamp(0));
        let audience = Audience::of_project(Some(&project));
        let batch = Batch {
            id: 7,
            before: 5,
            frames: vec![
                Frame::new(Audience::Everyone, "a", &json!({"x": "two\nlines"})).unwrap(),
                Frame::gone("b", 3),
                Frame::new(audience, "c", &json!(1)).unwrap(),
            ],
        };
        let a = "id: 5\nevent: a\ndata: {\"x\":\"two\\nlines\"}\n\n";
        assert_eq!(
            text(&batch, Caller::Nobody),
            format!("{a}id: 7\nevent: b\ndata: {{\"id\":3}}\n\n")
        );
        let user = |id| {
            Caller::User(UserCaller {
                id: UserId(id),
                is_superuser: false,
                role: Role::Read,
            })
        };
        let all = format!("{a}id: 5\nevent: b\ndata: {{\"id\":3}}\n\nid: 7\nevent: c\ndata: 1\n\n");
        assert_eq!(text(&batch, user(1)), all);
        assert_eq!(
            text(&batch, Caller::Secret(SecretProof::BoundSignature)),
            all
        );
        assert!(!text(&batch, user(2)).contains("event: c"));
    }
}
