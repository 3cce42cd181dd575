//! The command line of a slave.

/// Options of a slave.
#[derive(Debug, clap::Args)]
pub struct SlaveOptions {}

/// Runs a slave until it is told to end.
///
/// # Errors
/// When it can not start.
#[expect(clippy::unused_async, reason = "not written yet")]
pub async fn run(_options: SlaveOptions) -> anyhow::Result<()> {
    anyhow::bail!("not yet")
}
