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
pub(super) const ASSETS: &[(&str, File)] = &[asset!("page.css", STYLE), asset!("page.js", SCRIPT)];
