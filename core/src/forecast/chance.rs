//! Chance that repeats exactly: a number that follows from what it is drawn for, not from what was drawn before. So a
//! forecast changes only where the farm does, and farms of different sizes are compared by the same draws.

/// A number between 0 and 1, without both, for something that these numbers name.
pub(super) fn fraction(named: &[u64]) -> f64 {
    let bits = named.iter().fold(0x9e37_79b9_7f4a_7c15, |bits, name| {
        mix(bits ^ mix(name.wrapping_add(0x9e37_79b9_7f4a_7c15)))
    });
    // The upper 53 bits, which a float holds exactly; half a step away from both ends.
    ((bits >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// The mix of `SplitMix64`.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A number of the standard normal distribution for something that these numbers name.
pub(super) fn normal(named: &[u64]) -> f64 {
    normal_quantile(fraction(named))
}

/// The number below which the standard normal distribution lies with a probability between 0 and 1: by the formula
/// 26.2.23 of Abramowitz and Stegun, within 0.00045.
pub(super) fn normal_quantile(probability: f64) -> f64 {
    let tail = probability.min(1.0 - probability);
    let t = (-2.0 * tail.ln()).sqrt();
    let numerator = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let denominator = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    let from_middle = t - numerator / denominator;
    if probability < 0.5 {
        -from_middle
    } else {
        from_middle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_even_and_repeat() {
        let drawn: Vec<f64> = (0..10_000).map(|n| fraction(&[7, n])).collect();
        let mean = drawn.iter().sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        let low = drawn.iter().filter(|drawn| **drawn < 0.1).count();
        assert!((900..1100).contains(&low), "{low}");
        assert!((fraction(&[7, 3]) - drawn[3]).abs() < f64::EPSILON);
    }

    #[test]
    fn normal_quantiles_are_those_of_the_tables() {
        for (probability, expected) in [(0.5, 0.0), (0.95, 1.6449), (0.025, -1.96), (0.999, 3.0902)]
        {
            let found = normal_quantile(probability);
            assert!((found - expected).abs() < 0.001, "{probability}: {found}");
        }
    }
}
