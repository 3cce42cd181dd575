//! The disk: files and directories whose paths others control, free space, what is kept for how long.

pub mod beneath;
pub mod kept_entries;
pub mod kept_projects;
pub mod regular_file;
pub mod retention;
pub mod space;
pub mod whole_file;
