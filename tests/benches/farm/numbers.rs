//! Several figures of one thing.

/// The middle one.
pub(crate) fn median(figures: &[f64]) -> f64 {
    part(figures, 50)
}

/// The one that so many of a hundred do not pass.
pub(crate) fn part(figures: &[f64], of_hundred: usize) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let at = (sorted.len() * of_hundred / 100).min(last);
    sorted.get(at).copied().unwrap_or_default()
}

/// The largest.
pub(crate) fn largest(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(0.0, f64::max)
}
