//! What happens to a world, written down: made from a seed, made smaller when it fails, and printed
//! as the Rust that `kept.rs` has.

use super::DEADLY;
use super::apps::AppWish;
use super::machine::Sickness;
use super::random::Random;
use super::users::Wish;
use super::world::CALM_AT;
use crate::builds::status::Status;

/// How many walks the search for a smaller plan may take.
const MAX_TRIES: usize = 600;

/// How many executors a machine has at most.
pub(super) const MOST_EXECUTORS: usize = 3;

/// Everything about a walk that is not the program's own doing. The same plan walks the same way.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// What the chance of the network, of the machines and of the adapters begins with.
    pub(super) seed: u64,
    /// How many executors each machine has.
    pub(super) executors: Vec<u32>,
    /// How often a set-up fails, in 1000.
    pub(super) setup_failures: u64,
    /// How often a message is lost, in 1000.
    pub(super) loss: u64,
    /// How often it comes once more, in 1000.
    pub(super) repetition: u64,
    /// How often it is so late that others overtake it, in 1000.
    pub(super) lateness: u64,
    /// What is wrong with the machines, in their order.
    pub(super) sicknesses: Vec<Sickness>,
    /// How many instances each machine runs at a time.
    pub(super) slots: u32,
    /// What happens, and when.
    pub(super) faults: Vec<(u64, Fault)>,
}

/// What users do, and what goes wrong. Machines are named by index, times are durations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    /// It dies and is started again.
    MachineCrashes(usize),
    /// It ends as it was asked to, and is started again.
    MachineEnds(usize),
    /// It dies for ever.
    MachineIsGone(usize),
    /// Its process is stopped for a while: what comes meanwhile waits.
    MachineHangs(usize, u64),
    /// Nothing goes to it or comes from it.
    CutOff(usize, u64),
    /// What it sends is lost, what is sent to it is not.
    Mute(usize, u64),
    /// What is sent to it is lost, what it sends is not.
    Deaf(usize, u64),
    /// No machine and the master reach each other.
    Partition(u64),
    /// It dies after so many turns, none of which is answered; all of them are on disk.
    MasterCrashes(u64),
    /// Its disk fails: it ends after so many turns, none of which is answered or on disk.
    MasterDiskFails(u64),
    /// Its process is stopped for a while.
    MasterHangs(u64),
    /// No place for results, archives and checkouts; the journal has its reserve.
    MasterDiskIsFull(u64),
    /// The master's wall clock jumps by so many milliseconds.
    ClockJumps(i64),
    /// Its data directory is another one when it starts again, and of the journal only so many events of
    /// 1000 are left, where any are.
    MasterDiskIsWrong(WrongDisk, u64),
    /// A build of one of three projects is wanted.
    UserQueues(u64),
    /// A build that leaves a template is wanted, of one of three projects; whether it is forced.
    UserQueuesProduct(u64, bool),
    /// An instance of the template of a project is wanted, under the key of this number.
    UserLaunches(u64, u64),
    /// This instance is not wanted any more.
    UserStops(u64),
    /// The template of a project is to be fetched by all slaves.
    UserPreloads(u64),
    /// A user of an app has a wish.
    UserOfApp(AppWish),
    /// A user has another wish.
    User(Wish),
    /// This build is not wanted any more.
    UserCancels(u64),
    /// A user says where this build stands.
    UserPosts(u64, Status),
    /// This slave is to end, or all are.
    UserShutsDown(Option<u64>),
    /// This slave is to take no new work.
    UserDrains(u64),
    /// This slave may take work again.
    UserUndrains(u64),
    /// The key of this machine is revoked; it joins with another when it connects again.
    UserRevokes(usize),
    /// Every machine is mended, and whoever was kept from work is let to it again; and so on from
    /// then on.
    Mended,
}

/// What is wrong with the master's data directory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum WrongDisk {
    /// A backup of all of it was brought back.
    Older,
    /// A backup of the journal was, and the results stayed.
    OlderJournal,
    /// The journal was damaged, and repaired without its end.
    Repaired,
    /// The journal is gone, and the results stayed.
    NoJournal,
    /// There is nothing.
    Empty,
    /// The results are gone, and the journal stayed.
    NoResults,
}

impl Plan {
    /// The plan that a seed stands for.
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut plan = Self {
            seed: random.number(),
            loss: [0, 30, 200][random.index(3)],
            repetition: [0, 50, 300][random.index(3)],
            lateness: [0, 20, 150][random.index(3)],
            setup_failures: [0, 0, 50, 300][random.index(4)],
            ..Self::default()
        };
        for _ in 0..random.between(1, 4) {
            let executors = random.between(1, MOST_EXECUTORS as u64);
            let executors = u32::try_from(executors).unwrap();
            plan.executors.push(executors);
        }
        // The first is always well: without others that do better nobody is sick.
        plan.sicknesses = vec![Sickness::Well];
        for _ in 1..plan.executors.len() {
            plan.sicknesses.push(match random.below(8) {
                0 => Sickness::SetsNothingUp,
                1 => Sickness::FailsEverything,
                2 => Sickness::TearsResults,
                _ => Sickness::Well,
            });
        }
        for _ in 0..random.between(1, 6) {
            plan.add(Fault::UserQueues(random.below(3)), &mut random);
        }
        for _ in 0..random.below(3) {
            plan.add(Fault::UserCancels(random.between(1, 6)), &mut random);
        }
        for _ in 0..[0, 0, 1, 3][random.index(4)] {
            let slave = random.between(1, 6);
            let slave = (random.below(3) > 0).then_some(slave);
            plan.add(Fault::UserShutsDown(slave), &mut random);
        }
        for _ in 0..[0, 0, 2, 4][random.index(4)] {
            let slave = random.between(1, 6);
            plan.add(Fault::UserDrains(slave), &mut random);
            plan.add(Fault::UserUndrains(slave), &mut random);
        }
        for _ in 0..[0, 3, 8, 16][random.index(4)] {
            let fault = plan.trouble(&mut random);
            plan.add(fault, &mut random);
        }
        for _ in 0..[0, 0, 0, 1, 2][random.index(5)] {
            plan.add(Fault::UserQueues(DEADLY), &mut random);
        }
        for _ in 0..[0, 0, 0, 1, 2][random.index(5)] {
            let wrong = match random.below(7) {
                0 | 1 => WrongDisk::Older,
                2 => WrongDisk::OlderJournal,
                3 => WrongDisk::Repaired,
                4 => WrongDisk::NoJournal,
                5 => WrongDisk::Empty,
                _ => WrongDisk::NoResults,
            };
            let left = random.between(200, 1000);
            plan.add(Fault::MasterDiskIsWrong(wrong, left), &mut random);
        }
        for _ in 0..[0, 0, 3, 6, 12][random.index(5)] {
            let wish = Self::wish(&mut random);
            plan.add(Fault::User(wish), &mut random);
        }
        for _ in 0..[0, 0, 1, 3][random.index(4)] {
            let fault = Self::post(&mut random);
            plan.add(fault, &mut random);
        }
        plan.add_instances(&mut random);
        plan.add_apps(&mut random);
        for _ in 0..[0, 0, 1, 3][random.index(4)] {
            let machine = random.index(plan.executors.len());
            plan.add(Fault::UserRevokes(machine), &mut random);
        }
        plan.faults.sort_by_key(|(at, _)| *at);
        plan
    }

    /// In every other walk there are templates and instances.
    fn add_instances(&mut self, random: &mut Random) {
        if random.below(2) == 0 {
            return;
        }
        self.slots = u32::try_from(random.between(1, 3)).unwrap();
        for _ in 0..random.between(2, 6) {
            let fault = Fault::UserQueuesProduct(random.below(2), random.below(4) == 0);
            // Most of them early, so that there is something to launch.
            let latest = [100, 100, CALM_AT][random.index(3)];
            self.faults.push((random.below(latest), fault));
        }
        for number in 0..random.between(2, 10) {
            self.add(Fault::UserLaunches(random.below(2), number), random);
        }
        // Slaves that come back late show whether their copies still count.
        for _ in 0..random.below(6) {
            let machine = random.index(self.executors.len());
            let time = random.between(100, 400);
            let fault = match random.below(3) {
                0 => Fault::MachineCrashes(machine),
                1 => Fault::CutOff(machine, time),
                _ => Fault::MachineHangs(machine, time),
            };
            self.add(fault, random);
        }
        for _ in 0..random.below(3) {
            self.add(Fault::UserStops(random.between(1, 6)), random);
        }
        for _ in 0..random.below(2) {
            self.add(Fault::UserPreloads(random.below(2)), random);
        }
    }

    /// In every other walk with instances there are apps.
    fn add_apps(&mut self, random: &mut Random) {
        if self.slots == 0 || random.below(2) == 0 {
            return;
        }
        // A deploy takes twice the room for a while.
        self.slots += 2;
        for app in 0..random.between(1, 2) {
            let created = Fault::UserOfApp(AppWish::Create(app));
            self.faults.push((random.below(100), created));
            let built = Fault::UserOfApp(AppWish::Build(app, random.below(2)));
            // Most of them when there is a template.
            self.faults.push((400 + random.below(400), built));
        }
        for number in 0..random.between(3, 16) {
            let app = random.below(2);
            let wish = match random.below(16) {
                0..=2 => AppWish::Build(app, random.below(2)),
                3..=7 => AppWish::Configure(app, number, random.below(4) == 0),
                8 => AppWish::Rollback(app, None),
                9 => AppWish::Rollback(app, Some(random.between(1, 4))),
                10..=12 => AppWish::Scale(app, u32::try_from(random.below(4)).unwrap()),
                13 | 14 => AppWish::Run(app, number),
                _ => match random.below(4) {
                    0 => AppWish::Destroy(app),
                    1 => AppWish::Create(app),
                    _ => AppWish::AddDomain(app),
                },
            };
            self.add(Fault::UserOfApp(wish), random);
        }
        for number in 0..random.below(4) {
            let run = AppWish::Run(random.below(2), 100 + number);
            let at = random.between(900, CALM_AT);
            self.faults.push((at, Fault::UserOfApp(run)));
        }
        // What a config is merged into shows after a rollback.
        for app in 0..random.below(3) {
            let begin = random.between(600, CALM_AT - 300);
            let mut configure = |number| AppWish::Configure(app, number, random.below(8) == 0);
            let wishes = [
                configure(0),
                configure(1),
                AppWish::Rollback(app, None),
                configure(2),
            ];
            for (wish, at) in wishes.into_iter().zip((begin..).step_by(60)) {
                self.faults.push((at, Fault::UserOfApp(wish)));
            }
        }
    }

    fn add(&mut self, fault: Fault, random: &mut Random) {
        self.faults.push((random.below(CALM_AT), fault));
    }

    fn post(random: &mut Random) -> Fault {
        let build = random.between(1, 6);
        let status = match random.below(8) {
            0 => Status::Scheduled,
            1 => Status::Building,
            2 | 3 => Status::Running,
            4 => Status::Unknown,
            5 => Status::Succeeded,
            6 => Status::Failed,
            _ => Status::Stopped,
        };
        Fault::UserPosts(build, status)
    }

    fn wish(random: &mut Random) -> Wish {
        let (user, build) = (random.between(1, 2), random.between(1, 6));
        let project = random.between(1, 4);
        match random.below(12) {
            0 if random.below(2) == 0 => Wish::CreateToken(user),
            1 if random.below(3) == 0 => Wish::RevokeToken(user),
            0 | 1 => Wish::CreateUser(user),
            2 => Wish::MakeProject(user, project),
            3 if random.below(2) == 0 => Wish::CommitCode(project),
            3 => Wish::ChangeProject(project),
            4 if random.below(3) == 0 => Wish::DeleteUser(user),
            4 => Wish::DeleteProject(project),
            5 => Wish::Share(project, user),
            6 => Wish::QueueBuildOf(project),
            7 => Wish::DescribeBuild(build),
            8 => Wish::DeleteBuild(build),
            9 | 10 => Wish::Mark(user, build),
            _ => Wish::TakeBack(user, build),
        }
    }

    fn trouble(&self, random: &mut Random) -> Fault {
        let machine = random.index(self.executors.len());
        let time = random.between(10, 400);
        match random.below(17) {
            0 | 1 => Fault::MachineCrashes(machine),
            2 => Fault::MachineEnds(machine),
            // The first stays: without any machine no build would end.
            3 if machine > 0 => Fault::MachineIsGone(machine),
            3 | 4 => Fault::MachineHangs(machine, time),
            5 => Fault::CutOff(machine, time),
            6 => Fault::Mute(machine, time),
            7 => Fault::Deaf(machine, time),
            8 => Fault::Partition(time),
            9 | 10 => Fault::MasterCrashes(random.below(4)),
            11 | 12 => Fault::MasterDiskFails(random.below(4)),
            13 => Fault::MasterHangs(time),
            14 => Fault::MasterDiskIsFull(time),
            _ => {
                const TEN_MINUTES: u64 = 600_000;
                let size = random.below(2 * TEN_MINUTES).cast_signed();
                Fault::ClockJumps(size - TEN_MINUTES.cast_signed())
            }
        }
    }

    /// A plan with as little in it as could be found that fails as well, and how it fails.
    pub(super) fn smallest(
        self,
        failure: String,
        fails: impl Fn(&Self) -> Option<String>,
    ) -> (Self, String) {
        let mut found = (self, failure);
        let mut tries = 0;
        loop {
            let mut is_smaller = false;
            for candidate in found.0.smaller() {
                tries += 1;
                if tries > MAX_TRIES {
                    return found;
                }
                if let Some(failure) = fails(&candidate) {
                    found = (candidate, failure);
                    is_smaller = true;
                    break;
                }
            }
            if !is_smaller {
                return found;
            }
        }
    }

    /// The same with something taken away, the most first.
    fn smaller(&self) -> Vec<Self> {
        let mut smaller = Vec::new();
        let mut size = self.faults.len() / 2;
        while size > 0 {
            for start in (0..self.faults.len()).step_by(size) {
                let mut plan = self.clone();
                let end = (start + size).min(plan.faults.len());
                plan.faults.drain(start..end);
                smaller.push(plan);
            }
            size /= 2;
        }
        let quieter: [fn(&mut Self); 7] = [
            |plan| plan.sicknesses.clear(),
            |plan| plan.loss = 0,
            |plan| plan.repetition = 0,
            |plan| plan.lateness = 0,
            |plan| plan.setup_failures = 0,
            |plan| plan.executors.fill(1),
            |plan| plan.executors.truncate(1),
        ];
        for change in quieter {
            let mut plan = self.clone();
            change(&mut plan);
            smaller.push(plan);
        }
        smaller.retain(|plan| plan != self);
        smaller
    }

    /// As Rust, for `kept.rs`.
    pub(super) fn as_rust(&self) -> String {
        format!("{self:?}").replace(": [", ": vec![")
    }
}
