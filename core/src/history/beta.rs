//! How flaky something is, as a Beta distribution: what is believed of the probability that a run of it fails though
//! nothing is wrong with what it tests.

use super::trials::Trials;

/// What is believed of an atom that never ran: it fails in one of 200 runs, but that is worth no more than 100 runs. So
/// one failure alone marks nothing: it may have been the machine.
const PRIOR: Beta = Beta { a: 0.5, b: 99.5 };

/// What fails without cause in more than one of 500 runs, as sure as 19 of 20, is flaky.
const FLAKY_ABOVE: f64 = 0.002;

/// How sure: what is outside of the interval on each of its sides.
const SURE: f64 = 0.05;

/// A Beta distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beta {
    a: f64,
    b: f64,
}

/// What trials say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No trial was a flake.
    Stable,
    /// Some were, but that may have been chance or a machine.
    Suspicious,
    /// It is flaky, with the probability that [`Beta::interval`] is about.
    Flaky,
}

impl Beta {
    /// What is believed after trials.
    #[must_use]
    pub fn after(trials: &Trials) -> Self {
        let (flakes, passes) = (trials.flakes(), trials.all() - trials.flakes());
        Self {
            a: PRIOR.a + f64::from(flakes),
            b: PRIOR.b + f64::from(passes),
        }
    }

    /// The expected probability.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.a / (self.a + self.b)
    }

    /// The interval that has the probability in nine of ten cases: below it and above it is one in twenty each.
    #[must_use]
    pub fn interval(&self) -> (f64, f64) {
        (self.quantile(SURE), self.quantile(1.0 - SURE))
    }

    /// What is to be said of what these trials are of.
    #[must_use]
    pub fn verdict(trials: &Trials) -> Verdict {
        match trials.flakes() {
            0 => Verdict::Stable,
            // The same as whether the lower end of the interval is above it, without a search for that end.
            _ if Self::after(trials).below(FLAKY_ABOVE) < SURE => Verdict::Flaky,
            _ => Verdict::Suspicious,
        }
    }

    /// The value below which the probability lies with this probability. By halving: the distribution has no jumps.
    fn quantile(&self, probability: f64) -> f64 {
        let (mut low, mut high) = (0.0, 1.0);
        // The twentieth of 52 bits of a number are more than anybody is shown.
        for _ in 0..40 {
            let middle = f64::midpoint(low, high);
            match self.below(middle) < probability {
                true => low = middle,
                false => high = middle,
            }
        }
        f64::midpoint(low, high)
    }

    /// How probable a value below `x` is: the regularised incomplete beta function, by its continued fraction
    /// (Abramowitz and Stegun, 26.5.8), on the side where the fraction converges fast.
    fn below(&self, x: f64) -> f64 {
        let Self { a, b } = *self;
        if x <= 0.0 || x >= 1.0 {
            return if x <= 0.0 { 0.0 } else { 1.0 };
        }
        if x > (a + 1.0) / (a + b + 2.0) {
            let mirrored = Self { a: b, b: a };
            return 1.0 - mirrored.below_by_fraction(1.0 - x);
        }
        self.below_by_fraction(x)
    }

    fn below_by_fraction(&self, x: f64) -> f64 {
        let Self { a, b } = *self;
        let front = a * x.ln() + b * (1.0 - x).ln() + ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b);
        // From the inside to the outside; so many terms are far more than a and b up to some hundreds need.
        let mut fraction = 1.0;
        for term in (1..=200_u32).rev() {
            let m = f64::from(term / 2);
            let coefficient = match term % 2 {
                0 => m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)),
                _ => -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0)),
            };
            fraction = 1.0 + coefficient / fraction;
        }
        front.exp() / (a * fraction)
    }
}

/// The logarithm of the gamma function of a positive number: Stirling's series, far enough out.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut product) = (x, 1.0);
    while x < 10.0 {
        product *= x;
        x += 1.0;
    }
    let square = x * x;
    let series = (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / (1260.0 * square)) / square) / x;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - product.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trials(passes: u16, flakes: u16) -> Trials {
        let mut trials = Trials::default();
        (0..flakes).for_each(|_| trials.add(true));
        (0..passes).for_each(|_| trials.add(false));
        trials
    }

    #[track_caller]
    fn assert_near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    }

    #[test]
    fn the_gamma_function_has_its_known_values() {
        assert_near(ln_gamma(1.0), 0.0);
        assert_near(ln_gamma(5.0), 24.0_f64.ln());
        assert_near(ln_gamma(0.5), std::f64::consts::PI.sqrt().ln());
        // The sum of the logarithms of 1 to 299.
        let expected = (1..300).map(|n| f64::from(n).ln()).sum::<f64>();
        assert_near(ln_gamma(300.0), expected);
    }

    #[test]
    fn the_distribution_has_its_known_values() {
        let line = Beta { a: 1.0, b: 1.0 };
        assert_near(line.below(0.3), 0.3);
        assert_near(line.quantile(0.05), 0.05);
        // 1 - (1 - x)^b and x^a.
        let falling = Beta { a: 1.0, b: 300.0 };
        assert_near(falling.below(0.01), 1.0 - 0.99_f64.powi(300));
        let rising = Beta { a: 300.0, b: 1.0 };
        assert_near(rising.below(0.99), 0.99_f64.powi(300));
        // Of whole numbers a and b it is a sum of binomials: 3 or more of 7 heads at 0.4.
        let heads = [35.0, 35.0, 21.0, 7.0, 1.0];
        let heads = (3..8).zip(heads);
        let expected: f64 = heads
            .map(|(n, ways)| ways * 0.4_f64.powi(n) * 0.6_f64.powi(7 - n))
            .sum();
        assert_near(Beta { a: 3.0, b: 5.0 }.below(0.4), expected);
        let sine = Beta { a: 0.5, b: 0.5 };
        assert_near(sine.below(0.5), 0.5);
    }

    #[test]
    fn one_flake_marks_nothing_and_two_do_unless_very_many_runs_passed() {
        for (passes, flakes, expected) in [
            (0, 0, Verdict::Stable),
            (250, 0, Verdict::Stable),
            (0, 1, Verdict::Suspicious),
            (50, 1, Verdict::Suspicious),
            (0, 2, Verdict::Flaky),
            (150, 2, Verdict::Flaky),
            (240, 2, Verdict::Suspicious),
            (240, 3, Verdict::Flaky),
        ] {
            let found = Beta::verdict(&trials(passes, flakes));
            assert_eq!(found, expected, "{passes} passes, {flakes} flakes");
        }
    }

    #[test]
    fn an_interval_is_around_the_mean_and_narrows_with_trials() {
        let few = Beta::after(&trials(19, 1));
        let many = Beta::after(&trials(190, 10));
        for beta in [few, many] {
            let (low, high) = beta.interval();
            assert!(low < beta.mean() && beta.mean() < high);
            assert_near(beta.below(low), 0.05);
        }
        assert!(many.interval().0 > few.interval().0);
        assert_near(many.mean(), 10.5 / 300.0);
    }
}
