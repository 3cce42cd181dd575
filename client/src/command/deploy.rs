//! `clusterrunner deploy`: bring this program and its settings to machines and start a farm there.

mod certificates;
mod host;
mod joining;
mod plan;
mod remote;
mod settings_text;

pub(crate) use host::Host;

use crate::farm::client_of;
use crate::farm::unbracketed;
use crate::options::{CommonOptions, DeployOptions};
use crate::output::table::{Cell, Table};
use crate::output::text::count;
use crate::output::{self, BAD, GOOD};
use crate::settings::Settings;
use crate::trouble::Trouble;
use certificates::{CERTIFICATES, Certificates};
use clusterrunner_client::Client;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::ids::SessionId;
use joining::{Mark, check_without, slave_settings};
use plan::{Machine, Plan};
use remote::{Remote, Step, StepError};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Pause between two looks whether a daemon is there.
const LOOK: Duration = Duration::from_millis(200);

/// How long one look may take.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// Why a machine is not what it should be.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Step(#[from] StepError),
    #[error("the master did not answer at {address} within {seconds} s: {error}")]
    NoMaster {
        address: String,
        seconds: u64,
        error: String,
    },
    #[error(
        "its slave did not register with the master within {seconds} s; {directory}/log says why"
    )]
    NotRegistered { seconds: u64, directory: String },
    #[error("the master made no join token for its slave: {0}")]
    NoToken(String),
    #[error("its slave was not started, because the master does not run")]
    WithoutMaster,
}

/// What is brought to each machine, and how.
struct Load {
    remote: Remote,
    directory: String,
    program: Vec<u8>,
    /// The two settings files.
    settings: [String; 2],
    /// Those for machines that run a slave alone, if they get others.
    for_slaves: Option<[String; 2]>,
    mark: Mark,
    /// Where the farm speaks HTTPS with an authority that lies here.
    certificates: Option<Certificates>,
}

/// A deployment under way.
struct Deployment {
    load: Arc<Load>,
    plan: Plan,
    client: Client,
    deadline: Duration,
    /// For each machine of the plan.
    failures: Vec<Option<Failure>>,
}

/// Deploys.
pub(crate) async fn run(
    options: DeployOptions,
    common: CommonOptions,
) -> Result<ExitCode, Trouble> {
    let settings = Settings::load(&common)?;
    let parse = |text: &String| {
        let host = text.parse::<Host>();
        host.map_err(|error| Trouble::usage(format!("'{text}' is no machine: {error}")))
    };
    let master = parse(options.master.as_ref().unwrap_or(&settings.master_hostname))?;
    let slaves = options.slaves.as_ref().unwrap_or(&settings.slaves);
    let slaves = slaves.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let is_named = options.master.is_some() || options.slaves.is_some();
    if !is_named && master.is_local() && slaves.iter().all(Host::is_local) {
        return Err(Trouble::usage(
            "neither the command nor the settings name another machine than this one",
        )
        .hint(
            "`clusterrunner deploy --master HOST --slaves HOST HOST` names them; `deploy --slaves localhost` replaces the \
             farm of this machine",
        ));
    }
    let slave_port = match options.slave_port {
        Some(port) => port,
        None => Settings::slave_port(&common)?,
    };
    let plan = Plan::new(
        &master,
        &slaves,
        (options.master_port.unwrap_or(settings.port), slave_port),
        options.num_executors,
        unbracketed(&settings.hostname),
    );
    let https = Settings::https_to_deploy(&common)?;
    let certificates = Certificates::make(&https, &plan)?;
    let adapted = |text: String, is_first| match &certificates {
        Some(_) => certificates::settings(&text, &options.remote_directory, &https, is_first),
        None => text,
    };
    let all = [
        adapted(Settings::to_deploy(&common)?, true),
        adapted(Settings::second_to_deploy(&common)?, false),
    ];
    let directory = options.remote_directory.as_str();
    let [first, second] = &all;
    let without_secret = [
        slave_settings(first, directory, true),
        slave_settings(second, directory, false),
    ];
    if let (false, Some(secret)) = (options.secret_to_slaves, &settings.secret) {
        check_without([&without_secret[0], &without_secret[1]], secret)?;
    }
    let load = Load {
        for_slaves: (!options.secret_to_slaves).then_some(without_secret),
        mark: Mark::beside(&settings.file),
        settings: all,
        remote: Remote {
            ssh_options: options.ssh_options,
        },
        directory: options.remote_directory,
        program: own_program()?,
        certificates,
    };
    let client = client_of(&plan.master, Duration::ZERO, &settings)?;
    let mut deployment = Deployment {
        failures: plan.machines.iter().map(|_| None).collect(),
        load: Arc::new(load),
        plan,
        client,
        deadline: Duration::from_secs(options.deadline),
    };
    deployment.carry_out().await;
    deployment.report()
}

fn own_program() -> Result<Vec<u8>, Trouble> {
    let failed = |error| Trouble::new(format!("could not read this program: {error}"));
    // This name is the running file even where a newer one has its path now.
    std::fs::read("/proc/self/exe").map_err(failed)
}

impl Load {
    async fn bring(&self, machine: &Machine) -> Result<(), StepError> {
        let (directory, host) = (self.directory.as_str(), &machine.host);
        let bring = async |step, bytes: &[u8]| {
            let length = bytes.len().to_string();
            self.remote
                .run(host, step, &[directory, &length], bytes)
                .await
        };
        bring(Step::CopyProgram, &self.program).await?;
        let [first, second] = match (&self.for_slaves, self.gives_secret(machine).await?) {
            (Some(for_slaves), false) => for_slaves,
            (_, true) | (None, false) => &self.settings,
        };
        bring(Step::WriteSettings, first.as_bytes()).await?;
        bring(Step::WriteSecondSettings, second.as_bytes()).await?;
        let files = self
            .certificates
            .as_ref()
            .map(|certificates| certificates.of(&machine.name));
        for (file, text) in files.into_iter().flatten() {
            let length = text.len().to_string();
            let arguments = [directory, &length, CERTIFICATES, file];
            let step = Step::WriteCertificate;
            self.remote
                .run(host, step, &arguments, text.as_bytes())
                .await?;
        }
        self.remote.run(host, Step::Stop, &[directory], &[]).await
    }

    async fn start(&self, machine: &Machine, daemon: &[String]) -> Result<(), StepError> {
        let mut arguments = vec![self.directory.as_str(), &machine.name];
        arguments.extend(daemon.iter().map(String::as_str));
        let remote = &self.remote;
        remote
            .run(&machine.host, Step::Start, &arguments, &[])
            .await
    }
}

impl Deployment {
    async fn carry_out(&mut self) {
        let number = self.plan.machines.len();
        output::note(format!(
            "Copying to {}, and stopping the daemons there.",
            machines(number)
        ));
        let load = Arc::clone(&self.load);
        let all = self.plan.machines.iter().map(|_| true).collect();
        self.on_each(all, move |machine| {
            let load = Arc::clone(&load);
            async move { Ok(load.bring(&machine).await?) }
        })
        .await;
        if let Err(failure) = self.start_master().await {
            self.failures[0].get_or_insert(failure);
        }
        if self.failures[0].is_some() {
            for index in 1..number {
                self.failures[index].get_or_insert(Failure::WithoutMaster);
            }
            return;
        }
        self.start_slaves().await;
    }

    /// Does something on each of the chosen machines that has not failed, on all at the same time.
    async fn on_each<F>(&mut self, chosen: Vec<bool>, work: impl Fn(Machine) -> F)
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        for (index, machine) in self.plan.machines.iter().enumerate() {
            if chosen[index] && self.failures[index].is_none() {
                let work = work(machine.clone());
                tasks.spawn(async move { (index, work.await) });
            }
        }
        for (index, outcome) in tasks.join_all().await {
            if let Err(error) = outcome {
                let host = &self.plan.machines[index].host;
                output::note(format!("{host}: {error}"));
                self.failures[index] = Some(error);
            }
        }
    }

    async fn start_master(&self) -> Result<(), Failure> {
        if self.failures[0].is_some() {
            return Ok(());
        }
        let machine = &self.plan.machines[0];
        output::note(format!("Starting the master on {}.", machine.host));
        let arguments = self.plan.master_arguments();
        let load = &self.load;
        load.start(machine, &arguments).await?;
        let began = Instant::now();
        loop {
            let look = tokio::time::timeout(LOOK_LIMIT, self.client.master_view());
            let error = match look.await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            if began.elapsed() > self.deadline {
                return Err(Failure::NoMaster {
                    address: self.plan.master.clone(),
                    seconds: self.deadline.as_secs(),
                    error,
                });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn start_slaves(&mut self) {
        // The master may still count on slaves that have been stopped.
        let before: BTreeSet<Option<SessionId>> = match self.client.slaves().await {
            Ok(slaves) => slaves.into_iter().map(|slave| slave.session_id).collect(),
            Err(_) => BTreeSet::new(),
        };
        let slaves: Vec<bool> = self.plan.machines.iter().map(|m| m.is_slave).collect();
        output::note("Starting the slaves.");
        let (load, client) = (Arc::clone(&self.load), self.client.clone());
        let (arguments, slave_port) = (self.plan.slave_arguments(), self.plan.slave_port);
        let deadline = self.deadline.as_secs();
        self.on_each(slaves, move |machine| {
            let (load, client) = (Arc::clone(&load), client.clone());
            let arguments = arguments.clone();
            async move {
                let bounds = (slave_port, deadline);
                load.bring_token(&machine, &client, bounds).await?;
                Ok(load.start(&machine, &arguments).await?)
            }
        })
        .await;
        self.wait_for_slaves(&before).await;
    }

    async fn wait_for_slaves(&mut self, before: &BTreeSet<Option<SessionId>>) {
        let began = Instant::now();
        let machines = self.plan.machines.iter().zip(&self.failures);
        let expected = machines
            .filter(|(m, failure)| m.is_slave && failure.is_none())
            .count();
        let mut told = None;
        loop {
            let look = tokio::time::timeout(LOOK_LIMIT, self.client.slaves());
            let registered = look.await.ok().and_then(Result::ok).unwrap_or_default();
            let is_missing = |(machine, failure): &(&Machine, &Option<Failure>)| {
                machine.is_slave
                    && failure.is_none()
                    && !self.plan.has_registered(machine, &registered, before)
            };
            let machines = self.plan.machines.iter().zip(&self.failures).enumerate();
            let missing: Vec<usize> = machines
                .filter(|(_, entry)| is_missing(entry))
                .map(|(index, _)| index)
                .collect();
            let number = expected - missing.len();
            if told != Some(number) {
                told = Some(number);
                output::note(format!("{number} of {expected} slave(s) have registered."));
            }
            if missing.is_empty() {
                return;
            }
            if began.elapsed() > self.deadline {
                for index in missing {
                    self.failures[index] = Some(Failure::NotRegistered {
                        seconds: self.deadline.as_secs(),
                        directory: self.load.directory.clone(),
                    });
                }
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn report(self) -> Result<ExitCode, Trouble> {
        let mut table = Table::new(&["Machine", "Runs", "Address", "State"]);
        let mut reasons = Vec::new();
        for (machine, failure) in self.plan.machines.iter().zip(&self.failures) {
            let (style, state) = match failure {
                None => (GOOD, "running"),
                Some(_) => (BAD, "failed"),
            };
            let (runs, port) = match (machine.is_master, machine.is_slave) {
                (true, true) => ("master, slave", self.plan.master_port),
                (true, false) => ("master", self.plan.master_port),
                (false, _) => ("slave", self.plan.slave_port),
            };
            table.add([
                machine.host.to_string().into(),
                runs.into(),
                host::address(&machine.name, port).into(),
                Cell::styled(style, state),
            ]);
            if let Some(failure) = failure {
                reasons.push(format!("  {}: {failure}", machine.host));
            }
        }
        table.print();
        output::note(format!(
            "this stops the farm, on each of its machines: cd {} && CLUSTERRUNNER_BASE_DIRECTORY=$(pwd -P) \
             bin/clusterrunner stop",
            self.load.directory
        ));
        if reasons.is_empty() {
            return Ok(ExitCode::Success);
        }
        let (failed, all) = (reasons.len(), self.plan.machines.len());
        Err(Trouble::new(format!(
            "{failed} of {} failed:\n{}",
            machines(all),
            reasons.join("\n")
        )))
    }
}

fn machines(number: usize) -> String {
    count(u64::try_from(number).unwrap_or(u64::MAX), "machine")
}
