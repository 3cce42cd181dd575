//! The files that the page is made of. A new one in `assets/` needs a line here.

/// A file, as it is sent.
#[derive(Debug)]
pub(super) struct File {
    /// Its media type.
    pub(super) kind: &'static str,
    pub(super) bytes: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The page itself, at each of its addresses.
pub(super) const INDEX: File = File {
    kind: HTML,
    bytes: include_bytes!("assets/index.html"),
};

macro_rules! asset {
    ($name:literal, $kind:expr) => {
        (
            $name,
            File {
                kind: $kind,
                bytes: include_bytes!(concat!("assets/", $name)),
            },
        )
    };
}

/// The others, by their names below `/ui/assets/`.
pub(super) const ASSETS: &[(&str, File)] = &[
    asset!("api.js", SCRIPT),
    asset!("app/changing.js", SCRIPT),
    asset!("app/scale.js", SCRIPT),
    asset!("app/variables.js", SCRIPT),
    asset!("apps.js", SCRIPT),
    asset!("build.css", STYLE),
    asset!("build/about.js", SCRIPT),
    asset!("build/artifacts.js", SCRIPT),
    asset!("build/atoms.js", SCRIPT),
    asset!("build/atoms_source.js", SCRIPT),
    asset!("build/children.js", SCRIPT),
    asset!("build/doing.js", SCRIPT),
    asset!("build/failed.js", SCRIPT),
    asset!("build/layout.js", SCRIPT),
    asset!("build/steps.js", SCRIPT),
    asset!("build/table.js", SCRIPT),
    asset!("build/waterfall.js", SCRIPT),
    asset!("build/waterfall_picture.js", SCRIPT),
    asset!("build/why.js", SCRIPT),
    asset!("console.css", STYLE),
    asset!("console/ansi.js", SCRIPT),
    asset!("console/heights.js", SCRIPT),
    asset!("console/line_link.js", SCRIPT),
    asset!("console/paint.js", SCRIPT),
    asset!("console/search.js", SCRIPT),
    asset!("console/source.js", SCRIPT),
    asset!("console/viewer.js", SCRIPT),
    asset!("dialogs.js", SCRIPT),
    asset!("dom.js", SCRIPT),
    asset!("format.js", SCRIPT),
    asset!("instances.js", SCRIPT),
    asset!("live.js", SCRIPT),
    asset!("load_chart.js", SCRIPT),
    asset!("main.js", SCRIPT),
    asset!("notify.js", SCRIPT),
    asset!("progress.js", SCRIPT),
    asset!("projects.js", SCRIPT),
    asset!("router.js", SCRIPT),
    asset!("style.css", STYLE),
    asset!("submit_request.js", SCRIPT),
    asset!("text.js", SCRIPT),
    asset!("views/app.js", SCRIPT),
    asset!("views/apps.js", SCRIPT),
    asset!("views/build.js", SCRIPT),
    asset!("views/builds.js", SCRIPT),
    asset!("views/console.js", SCRIPT),
    asset!("views/history.js", SCRIPT),
    asset!("views/instance.js", SCRIPT),
    asset!("views/instances.js", SCRIPT),
    asset!("views/project.js", SCRIPT),
    asset!("views/projects.js", SCRIPT),
    asset!("views/sign_in.js", SCRIPT),
    asset!("views/slaves.js", SCRIPT),
    asset!("views/submit.js", SCRIPT),
    asset!("views/templates.js", SCRIPT),
    asset!("views/tests.js", SCRIPT),
    asset!("views/users.js", SCRIPT),
    asset!("window_table.js", SCRIPT),
];
