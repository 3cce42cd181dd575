//! The page in a real browser: headless Chromium, driven through its WebDriver, on farms of the real programs.

mod apps;
mod browser;
mod history;
mod hostile;
mod looks;
mod matrix;
mod modules;
mod pictures;
mod projects;
mod signed_in;
mod stories;
mod tests_view;
