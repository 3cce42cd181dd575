//! Whether a container really runs on this machine. Many machines have a runtime that can run none, and no image can be
//! taken for granted: so the smallest one that there can be is made and run.

use super::client::{self, Call, SHORT};
use super::{ContainerError, ContainerRun, ContainerRuntime, Role};
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::settings::ContainerSettings;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

/// The program of the trial's image.
const PROGRAM: &str = "/true";

/// How many bytes a program's headers have: that of the file and that of its one segment.
const HEADERS: u64 = 64 + 56;

/// Where the program is in memory.
const ADDRESS: u64 = 0x40_0000;

/// Remembers the last trial, followed by the name of the runtime.
const REMEMBERED: &str = "container_runtime_";

/// Begins, in what is remembered, why no container runs.
const FAILED: &str = "failed: ";

/// How long it is remembered that none runs: what a runtime needs may not have been up yet, as the daemon of docker when the
/// machine starts.
const FAILURE_COUNTS_FOR: Duration = Duration::from_secs(600);

/// What is known of the containers of this machine. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Availability(watch::Receiver<Found>);

/// How far the search for a runtime is.
#[derive(Clone, Debug)]
enum Found {
    Searching,
    Works(Arc<ContainerRuntime>),
    /// Why there is none.
    None(Arc<str>),
}

/// Of a slave that runs no containers.
impl Default for Availability {
    fn default() -> Self {
        let none = Found::None("this slave runs no containers".into());
        Self(watch::channel(none).1)
    }
}

impl Availability {
    /// Looks for a runtime in the background, and removes the containers of builds that an earlier life of the slave
    /// with this data directory left. To be called in a runtime of tasks.
    ///
    /// # Errors
    /// When the settings name a runtime that is not there.
    pub(crate) fn search(
        settings: &ContainerSettings,
        data: &Path,
    ) -> Result<Self, ContainerError> {
        let installed = ContainerRuntime::installed(settings, data)?;
        if installed.is_empty() {
            return Ok(Self::default());
        }
        let (tell, found) = watch::channel(Found::Searching);
        let data = data.to_owned();
        drop(spawn_blocking(move || {
            tell.send_replace(first_working(installed, &data));
        }));
        Ok(Self(found))
    }

    /// The runtime, once it is known whether there is one.
    ///
    /// # Errors
    /// Why there is none, for users.
    pub(crate) async fn runtime(&self) -> Result<Arc<ContainerRuntime>, Arc<str>> {
        let mut found = self.0.clone();
        let found = found
            .wait_for(|found| !matches!(found, Found::Searching))
            .await;
        match found.as_deref() {
            Ok(Found::Works(runtime)) => Ok(Arc::clone(runtime)),
            Ok(Found::None(why)) => Err(Arc::clone(why)),
            Ok(Found::Searching) | Err(_) => {
                Err("the search for a container runtime broke off".into())
            }
        }
    }

    /// The runtime, if it is known that there is one.
    pub(crate) fn known(&self) -> Option<Arc<ContainerRuntime>> {
        match &*self.0.borrow() {
            Found::Works(runtime) => Some(Arc::clone(runtime)),
            Found::Searching | Found::None(_) => None,
        }
    }
}

fn first_working(installed: Vec<ContainerRuntime>, data: &Path) -> Found {
    let mut whys = Vec::new();
    for runtime in installed {
        let name = runtime.name();
        match works(&runtime, &data.join(format!("{REMEMBERED}{name}"))) {
            Ok(()) => {
                if let Err(error) = runtime.remove_left_by_builds() {
                    tracing::warn!(%error, "could not remove the containers that an earlier life of this slave left");
                }
                tracing::info!("containers run with {name}");
                return Found::Works(Arc::new(runtime));
            }
            Err(error) => {
                // Most slaves need none. A build that does is told why.
                tracing::info!(%error, "{name} is installed, but no container runs with it; the settings container_* may help");
                whys.push(format!("no container runs with {name}: {error}"));
            }
        }
    }
    Found::None(whys.join("; ").into())
}

/// Tries it out, unless the same one has run a container since the machine started, or failed to a moment ago. Otherwise the
/// text says why none runs.
fn works(runtime: &ContainerRuntime, remembered: &Path) -> Result<(), String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let program = std::fs::metadata(&runtime.program).and_then(|program| program.modified());
    let current = format!("{}\n{program:?}\n{boot}", runtime.to_text());
    let known = std::fs::read_to_string(remembered).unwrap_or_default();
    if known == current {
        return Ok(());
    }
    let failed = format!("{current}{FAILED}");
    if let Some(why) = known.strip_prefix(&failed)
        && is_new(remembered)
    {
        let again = format!(
            "{why} (of an earlier start; one in {} min tries again, and the next one without the file {})",
            FAILURE_COUNTS_FOR.as_secs() / 60,
            remembered.display()
        );
        return Err(again);
    }
    let tried = runtime.try_out();
    let text = match &tried {
        Ok(()) => Some(current),
        Err(error @ ContainerError::Failed { .. }) => Some(format!("{failed}{error}")),
        // What a busy machine may be the cause of is tried again.
        Err(_) => None,
    };
    let written = match text {
        Some(text) => {
            regular_file::create(remembered).and_then(|mut file| file.write_all(text.as_bytes()))
        }
        None => Ok(()),
    };
    if let Err(error) = written {
        tracing::debug!(%error, "the container runtime is tried out again at the next start");
    }
    tried.map_err(|error| error.to_string())
}

/// Whether a failure was remembered a moment ago. One of the future, by a clock that was put back, was not.
fn is_new(remembered: &Path) -> bool {
    let written = std::fs::metadata(remembered).and_then(|file| file.modified());
    let age = written.ok().and_then(|written| written.elapsed().ok());
    age.is_some_and(|age| age < FAILURE_COUNTS_FOR)
}

impl ContainerRuntime {
    /// Runs a container.
    ///
    /// # Errors
    /// Why it does not run.
    pub(crate) fn try_out(&self) -> Result<(), ContainerError> {
        let Some(program) = program() else {
            // Of other machines only this can be said.
            let mut version = self.command(&["version"]);
            return client::output(&mut version, SHORT).map(drop);
        };
        let name = format!(
            "clusterrunner-trial-{:016x}",
            u64::from_be_bytes(random_bytes())
        );
        let image = format!("localhost/{name}:latest");
        self.import(&program, &image)?;
        let run = ContainerRun {
            name: &name,
            role: Role::Trial,
            image: &image,
            command: &[PROGRAM.to_owned()],
            port: None,
            max_memory_bytes: None,
            cpu_shares: None,
            entry: None,
            mounts: &[],
            mark: "",
            has_network: true,
        };
        let tried = self.run_command(&run, []).and_then(|mut command| {
            let mut call = Call::start(command.stdout(Stdio::null()))?;
            call.finish(SHORT)
        });
        if tried.is_err() {
            // It may not even be there.
            self.remove(&name).ok();
        }
        let removed = self.remove_image(&image);
        tried.and(removed)
    }

    /// Makes an image of one program.
    fn import(&self, program: &[u8], image: &str) -> Result<(), ContainerError> {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(program.len() as u64);
        header.set_mode(0o755);
        let path = PROGRAM.trim_start_matches('/');
        let packed = archive.append_data(&mut header, path, program);
        let packed = packed.and_then(|()| archive.into_inner());
        let packed = packed.map_err(ContainerError::io("pack the image of a trial"))?;
        let mut command = self.command(&["import", "-", image]);
        let mut call = Call::start(command.stdin(Stdio::piped()).stdout(Stdio::null()))?;
        let (input, _) = call.pipes();
        // What the runtime says is the cause, if it does not read.
        let written = input.map(|mut input| input.write_all(&packed));
        call.finish(SHORT)?;
        let written = written.unwrap_or(Ok(()));
        written.map_err(ContainerError::io(
            "give the container runtime the image of a trial",
        ))
    }
}

/// A program that does nothing, for this machine: two headers and three instructions.
fn program() -> Option<Vec<u8>> {
    /// `exit(0)`, and the machine's number in `elf.h`.
    const CODE: Option<(&[u8], u16)> = if cfg!(target_arch = "x86_64") {
        // mov eax, 60; xor edi, edi; syscall
        Some((&[0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05], 62))
    } else if cfg!(target_arch = "aarch64") {
        // mov x0, 0; mov x8, 93; svc 0
        let code = &[0, 0, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 1, 0, 0, 0xd4];
        Some((code, 183))
    } else {
        None
    };
    let (code, machine) = CODE?;
    let size = HEADERS + code.len() as u64;
    // 64 bits, little endian, version 1, for any system.
    let mut program = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let mut push = |bytes: &[u8]| program.extend_from_slice(bytes);
    // An executable for this machine, version 1, which begins behind the headers; the segment's header follows at once.
    push(&2_u16.to_le_bytes());
    push(&machine.to_le_bytes());
    push(&1_u32.to_le_bytes());
    push(&(ADDRESS + HEADERS).to_le_bytes());
    push(&64_u64.to_le_bytes());
    // No sections, no flags; sizes and numbers of headers.
    push(&0_u64.to_le_bytes());
    push(&0_u32.to_le_bytes());
    for number in [64_u16, 56, 1, 64, 0, 0] {
        push(&number.to_le_bytes());
    }
    // The segment: loaded, readable and executable, all of the file.
    push(&1_u32.to_le_bytes());
    push(&5_u32.to_le_bytes());
    for number in [0, ADDRESS, ADDRESS, size, size, 0x1000] {
        push(&number.to_le_bytes());
    }
    push(code);
    Some(program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::settings::RuntimeChoice;

    #[test]
    fn a_runtime_that_runs_nothing_is_not_tried_at_each_start() {
        let data = tempfile::tempdir().unwrap();
        let settings = ContainerSettings {
            runtime: RuntimeChoice::Named("/bin/false".to_owned()),
            flags: Vec::new(),
            build_flags: Vec::new(),
            run_flags: Vec::new(),
            network: None,
        };
        let mut installed = ContainerRuntime::installed(&settings, data.path()).unwrap();
        let runtime = installed.remove(0);
        let remembered = data.path().join("remembered");
        let first = works(&runtime, &remembered).unwrap_err();
        let known = std::fs::read_to_string(&remembered).unwrap();
        assert!(known.ends_with(&format!("{FAILED}{first}")), "{known}");
        // Only the file can know this one.
        let other = known.replace(&first, "another reason");
        std::fs::write(&remembered, &other).unwrap();
        let second = works(&runtime, &remembered).unwrap_err();
        assert!(second.starts_with("another reason (of an"), "{second}");
        // After a while it is tried once more.
        let old = std::time::SystemTime::UNIX_EPOCH;
        let file = std::fs::File::options().write(true).open(&remembered);
        file.unwrap().set_modified(old).unwrap();
        assert_eq!(works(&runtime, &remembered).unwrap_err(), first);
        // Of another runtime, or of the time before the machine was started again.
        std::fs::write(&remembered, format!("old {other}")).unwrap();
        assert_eq!(works(&runtime, &remembered).unwrap_err(), first);
    }
}
