//! What a master bears: `cargo bench -p clusterrunner-tests --bench master -- [PART ...]`, all parts if
//! none is named. Figures are printed as they come.
#![expect(clippy::print_stdout, reason = "it is what this program is for")]
#![expect(clippy::unwrap_used, reason = "made of the parts of tests")]

#[path = "../../cluster/daemon.rs"]
mod daemon;
#[path = "../../cluster/farm.rs"]
#[expect(dead_code, reason = "made for tests, which use more of it")]
mod farm;
#[path = "../../cluster/processes.rs"]
mod processes;
#[path = "../../cluster/program.rs"]
mod program;
#[path = "../farm/usage.rs"]
mod usage;
#[path = "../../cluster/wait.rs"]
#[expect(dead_code, reason = "made for tests, which use more of it")]
mod wait;

mod http_load;
mod polls;
mod submits;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(body) = polls::bare_body(&arguments) {
        return polls::serve_bare(body);
    }
    let is_wanted = |part: &str| {
        let mut parts = arguments.iter().filter(|argument| *argument != "--bench");
        parts.clone().next().is_none() || parts.any(|wanted| wanted == part)
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    if is_wanted("polls") {
        runtime.block_on(polls::measure());
    }
    if is_wanted("submits") {
        runtime.block_on(submits::measure());
    }
}
