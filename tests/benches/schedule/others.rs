//! Other ways to hand out, as simple as they are.

use super::suites::{Slave, Suite};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// The original's grouping with `max_executors` at the number of executors, without which it does not
/// group; whoever is free takes the next group.
pub(crate) fn original(suite: &Suite) -> u64 {
    let Some(most) = suite.known.iter().copied().flatten().max() else {
        return in_turn(
            suite,
            (0..suite.atoms.len()).map(|atom| vec![atom]).collect(),
        );
    };
    let times: Vec<f64> = suite
        .known
        .iter()
        .map(|known| float(known.unwrap_or(most)))
        .collect();
    in_turn(suite, groups(&times, f64::from(suite.num_executors())))
}

/// First-come-first-served.
fn in_turn(suite: &Suite, groups: VecDeque<Vec<usize>>) -> u64 {
    let executors = executors(suite);
    let starts = executors.iter().enumerate();
    let mut free: BinaryHeap<_> = starts
        .map(|(index, slave)| Reverse((slave.joins + suite.setup, index)))
        .collect();
    let mut last = 0;
    for group in groups {
        let Some(Reverse((at, index))) = free.pop() else {
            break;
        };
        let atoms = group.iter();
        let takes: u64 = atoms.map(|atom| suite.takes(*atom, executors[index])).sum();
        last = last.max(at + takes);
        free.push(Reverse((at + takes, index)));
    }
    last
}

/// Every executor that is there at the beginning gets its share then, the longest atoms first and each
/// to whoever has least.
pub(crate) fn static_split(suite: &Suite) -> u64 {
    let expected = match suite.expected() {
        nothing if nothing.is_empty() => vec![1; suite.atoms.len()],
        expected => expected,
    };
    let mut order: Vec<usize> = (0..suite.atoms.len()).collect();
    order.sort_by_key(|atom| Reverse(expected[*atom]));
    let executors: Vec<&Slave> = executors(suite)
        .into_iter()
        .filter(|slave| slave.joins == 0)
        .collect();
    let mut least: BinaryHeap<_> = (0..executors.len()).map(|n| Reverse((0, n))).collect();
    let mut ends = vec![suite.setup; executors.len()];
    for atom in order {
        let Some(Reverse((sum, index))) = least.pop() else {
            break;
        };
        ends[index] += suite.takes(atom, executors[index]);
        least.push(Reverse((sum + expected[atom], index)));
    }
    ends.into_iter().max().unwrap_or(0)
}

fn executors(suite: &Suite) -> Vec<&Slave> {
    let of = |slave: &Slave| slave.executors as usize;
    let slaves = suite.slaves.iter();
    slaves
        .flat_map(|slave| std::iter::repeat_n(slave, of(slave)))
        .collect()
}

/// The original's big groups, then its small ones.
fn groups(times: &[f64], executors: f64) -> VecDeque<Vec<usize>> {
    let total: f64 = times.iter().sum();
    let mut left: Vec<usize> = (0..times.len()).collect();
    left.sort_by(|a, b| times[*b].total_cmp(&times[*a]));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small whole number"
    )]
    let limit = executors as usize;
    let mut all = phase(&mut left, times, total * 0.8 / executors, limit);
    let small = total * (1.0 - 0.8) / (2.0 * executors);
    all.extend(phase(&mut left, times, small, usize::MAX));
    all.into()
}

fn phase(left: &mut Vec<usize>, times: &[f64], target: f64, limit: usize) -> Vec<Vec<usize>> {
    let mut groups = Vec::new();
    while groups.len() < limit && !left.is_empty() {
        let (mut group, mut sum) = (Vec::new(), 0.0);
        let mut index = 0;
        while index < left.len() {
            let time = times[left[index]];
            if !group.is_empty() && sum + time > target {
                index += 1;
                continue;
            }
            group.push(left.remove(index));
            sum += time;
            if limit < usize::MAX && groups.len() + left.len() < limit {
                groups.push(group);
                groups.extend(left.drain(..).map(|atom| vec![atom]));
                return groups;
            }
        }
        groups.push(group);
    }
    groups
}

fn float(milliseconds: u64) -> f64 {
    milliseconds as f64
}
