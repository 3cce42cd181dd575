//! The log of a build: what its set-up and its atoms print, as lines, from the first one on. The atoms come in their
//! order, however they run.
//!
//! No line comes twice and none is missing, with one exception that is told: where an atom is run again after lines of
//! it were given, because its slave was lost, a line says so and the subjob is given from its beginning.

use super::seen::{OnSlave, Seen, Settled, Then};
use super::stored_lines::StoredLines;
use super::{ConsoleFailure, Consoles, Lines, SlaveAddress, SlaveStep};
use clusterrunner_common::api::ConsoleBody;
use clusterrunner_common::ids::{AtomId, Attempt, BuildId, SubjobId};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// How many lines of a running atom are asked for at a time.
const LINES: usize = 1000;

/// How long a running atom is left alone that has nothing new: what it prints then is seen this much later.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a slave is left alone that does not answer.
const LONG_PAUSE: Duration = Duration::from_millis(500);

/// A slave reads a console from its beginning to count the lines, so it is left alone so many times as long as it took.
const REST: u32 = 10;

/// How long to wait for what a slave still has of a build that is over: it is on its way to the master.
const ON_ITS_WAY: Duration = Duration::from_secs(5);

/// Follows the log of a build.
#[derive(Debug)]
pub(crate) struct Follower {
    consoles: Consoles,
    build: BuildId,
    /// Whether what is not there yet is left out.
    only_so_far: bool,
    /// The set-up, until all that is known of it was given.
    setup: Option<Setup>,
    subjob: SubjobId,
    atom: AtomId,
    /// The hand-out that the lines of the subjob are of.
    given_of: Option<Attempt>,
    /// How many lines of the atom were given.
    line: u64,
    /// The rest of an atom that has ended.
    reading: Option<StoredLines>,
    /// The next subjobs, as far as nothing about them will change.
    settled: VecDeque<Settled>,
    /// What is behind them, until something has happened.
    then: Option<Then>,
    /// When the build is waited for no more, since it is over.
    gives_up: Option<Instant>,
}

/// The next part of a log.
#[derive(Debug)]
pub(crate) enum Step {
    /// The next lines, without their ends.
    Lines(Vec<String>),
    /// More may come: when something happens to the build, and after this time where it is given.
    Later(Option<Duration>),
    /// That was all.
    End,
}

#[derive(Debug, Default)]
struct Setup {
    slave: Option<SlaveAddress>,
    line: u64,
}

impl Follower {
    /// From the beginning of a build to its end.
    pub(crate) fn new(consoles: Consoles, build: BuildId) -> Self {
        Self {
            consoles,
            build,
            only_so_far: false,
            setup: Some(Setup::default()),
            subjob: SubjobId(0),
            atom: AtomId(0),
            given_of: None,
            line: 0,
            reading: None,
            settled: VecDeque::new(),
            then: None,
            gives_up: None,
        }
    }

    /// What there is by now. It is never [`Step::Later`].
    pub(crate) fn so_far(consoles: Consoles, build: BuildId) -> Self {
        Self {
            only_so_far: true,
            ..Self::new(consoles, build)
        }
    }

    /// Something has happened to the build.
    pub(crate) fn look_again(&mut self) {
        self.then = None;
    }

    /// The next part.
    pub(crate) async fn next(&mut self) -> Result<Step, ConsoleFailure> {
        loop {
            let step = match self.reading.take() {
                Some(reading) => self.read_on(reading).await,
                None => self.look().await?,
            };
            if let Some(step) = step {
                return Ok(step);
            }
        }
    }

    /// The next lines of an atom that has ended; none at its end.
    async fn read_on(&mut self, reading: StoredLines) -> Option<Step> {
        match reading.next(&self.consoles.turns).await {
            Ok((reading, lines)) if !lines.is_empty() => {
                self.reading = Some(reading);
                return Some(Step::Lines(lines));
            }
            Ok(_) => {}
            Err(error) => {
                let told = self.unreadable(&error);
                self.end_atom();
                return Some(told);
            }
        }
        self.end_atom();
        None
    }

    async fn look(&mut self) -> Result<Option<Step>, ConsoleFailure> {
        if self.settled.is_empty() && self.then.is_none() {
            let Seen {
                settled,
                then,
                has_setup,
            } = self.consoles.see(self.build, self.subjob).await?;
            self.settled = settled.into();
            self.then = Some(then);
            self.setup.take_if(|_| !has_setup);
        }
        if let Some(lines) = self.setup_lines().await {
            return Ok(Some(lines));
        }
        if let Some(settled) = self.settled.front().copied() {
            self.setup = None;
            return Ok(self.settled_subjob(settled).await);
        }
        let step = match self.then.clone() {
            None | Some(Then::More) => {
                self.then = None;
                return Ok(None);
            }
            Some(Then::End) => return Ok(Some(Step::End)),
            Some(Then::NotKnown) if self.only_so_far => return Ok(Some(Step::End)),
            Some(Then::NotKnown | Then::Waits) => {
                let has_more = self
                    .setup
                    .as_ref()
                    .is_some_and(|setup| setup.slave.is_some());
                Step::Later(has_more.then_some(PAUSE))
            }
            Some(Then::OnSlave(found)) => {
                self.setup = None;
                match self.begin(found.attempt) {
                    Some(told) => told,
                    None => match self.live_lines(&found).await {
                        Some(step) => step,
                        None => return Ok(None),
                    },
                }
            }
        };
        if self.only_so_far && matches!(step, Step::Later(_)) {
            self.end_subjob();
            return Ok(None);
        }
        Ok(Some(step))
    }

    /// What the set-up has printed since the last time.
    async fn setup_lines(&mut self) -> Option<Step> {
        let setup = self.setup.as_mut()?;
        if setup.slave.is_none() {
            let found = self.consoles.slave_of(self.build, None).await;
            setup.slave = found.ok().flatten();
        }
        let lines = Lines {
            max_lines: LINES,
            offset_line: Some(setup.line),
        };
        let slave = setup.slave.as_ref()?;
        let step = (self.build, SlaveStep::Setup);
        let piece = self.consoles.step_piece(slave, step, lines).await;
        let piece = piece.ok().filter(|piece| piece.num_lines > 0)?;
        setup.line = piece.offset_line + piece.num_lines;
        Some(Step::Lines(split(&piece)))
    }

    async fn settled_subjob(&mut self, settled: Settled) -> Option<Step> {
        let attempt = settled.attempt.filter(|_| self.atom.0 < settled.num_atoms);
        let Some(attempt) = attempt else {
            self.settled.pop_front();
            self.end_subjob();
            return None;
        };
        let told = self.begin(attempt);
        if told.is_some() {
            return told;
        }
        let atom = (self.build, self.subjob, self.atom);
        match self.consoles.stored(atom, attempt).await {
            Ok(console) => {
                self.reading = Some(StoredLines::after(console, self.line));
                None
            }
            Err(ConsoleFailure::Missing) => {
                self.end_atom();
                None
            }
            Err(error) => {
                let told = self.unreadable(&error);
                self.end_atom();
                Some(told)
            }
        }
    }

    /// The lines of the subjob that come now are of this hand-out. Says so where others were given before.
    fn begin(&mut self, attempt: Attempt) -> Option<Step> {
        let before = self.given_of.replace(attempt);
        if before.is_none_or(|before| before == attempt) {
            return None;
        }
        let is_begun = self.line > 0 || self.atom > AtomId(0);
        self.atom = AtomId(0);
        self.line = 0;
        let told = format!(
            "clusterrunner: subjob {} begins anew, since the slave that ran it was lost; its output follows from the \
             beginning",
            self.subjob
        );
        is_begun.then(|| Step::Lines(vec![told]))
    }

    /// What an atom that runs has printed since the last time; nothing where the next atom is to be looked at.
    async fn live_lines(&mut self, found: &OnSlave) -> Option<Step> {
        let begun = Instant::now();
        let mut piece = self.live_piece(found, self.atom, self.line, LINES).await;
        if piece.as_ref().is_ok_and(|piece| piece.num_lines == 0) {
            let next = AtomId(self.atom.0 + 1);
            let is_over =
                next.0 < found.num_atoms && self.live_piece(found, next, 0, 1).await.is_ok();
            if is_over {
                // The rest of it may have come between the two questions.
                piece = self.live_piece(found, self.atom, self.line, LINES).await;
                if piece.as_ref().is_ok_and(|piece| piece.num_lines == 0) {
                    self.end_atom();
                    return None;
                }
            }
        }
        let pause = match piece {
            Ok(piece) if piece.num_lines > 0 => {
                self.line = piece.offset_line + piece.num_lines;
                return Some(Step::Lines(split(&piece)));
            }
            Ok(_) => PAUSE.max(begun.elapsed() * REST),
            // It has not begun yet, or its result is on its way.
            Err(ConsoleFailure::Slave(error)) if error.status().is_some() => PAUSE,
            Err(error) => {
                tracing::debug!(%error, "a console is not to be had from its slave");
                self.then = None;
                LONG_PAUSE
            }
        };
        if found.is_over {
            let gives_up = *self
                .gives_up
                .get_or_insert_with(|| Instant::now() + ON_ITS_WAY);
            if Instant::now() >= gives_up {
                self.end_subjob();
                return None;
            }
        }
        Some(Step::Later(Some(pause)))
    }

    async fn live_piece(
        &self,
        found: &OnSlave,
        atom: AtomId,
        first: u64,
        max_lines: usize,
    ) -> Result<ConsoleBody, ConsoleFailure> {
        let lines = Lines {
            max_lines,
            offset_line: Some(first),
        };
        let atom = (self.build, self.subjob, atom);
        self.consoles.piece_on(&found.slave, atom, lines).await
    }

    /// In place of an output that the disk does not give.
    fn unreadable(&self, error: &ConsoleFailure) -> Step {
        tracing::error!(%error, build.id = %self.build, "a log has a gap");
        let told = format!(
            "clusterrunner: the output of subjob {}, atom {} can not be read; the log of the master says why",
            self.subjob, self.atom
        );
        Step::Lines(vec![told])
    }

    fn end_atom(&mut self) {
        self.atom.0 += 1;
        self.line = 0;
    }

    fn end_subjob(&mut self) {
        self.subjob.0 += 1;
        self.atom = AtomId(0);
        self.line = 0;
        self.given_of = None;
        if self.settled.is_empty() {
            self.then = None;
        }
    }
}

/// The lines of a piece.
fn split(piece: &ConsoleBody) -> Vec<String> {
    piece
        .content
        .split_terminator('\n')
        .map(str::to_owned)
        .collect()
}
