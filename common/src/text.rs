//! Texts: what strangers may put into them, and how they are shown.

pub mod byte_size;
pub mod host_name;
pub mod json;
pub mod labels;
pub mod last_lines;
pub mod masking;
pub mod nearest;
pub mod path_pattern;
pub mod printable;
pub mod shell;
pub mod slave_address;
pub mod yaml;
