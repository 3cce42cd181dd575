//! The text format of Prometheus, version 0.0.4.

use clusterrunner_core::histogram::Histogram;
use std::fmt::Write as _;

pub(crate) fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String can not fail.
    writeln!(text, "{arguments}").ok();
}

pub(crate) fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    line(text, format_args!("# HELP {name} {help}"));
    line(text, format_args!("# TYPE {name} {kind}"));
}

/// Writes a histogram; `labels` is empty or ends with a comma.
pub(crate) fn write_histogram(text: &mut String, name: &str, labels: &str, histogram: &Histogram) {
    for (within, bound) in histogram.within.iter().zip(histogram.bounds) {
        line(
            text,
            format_args!("{name}_bucket{{{labels}le=\"{bound:?}\"}} {within}"),
        );
    }
    line(
        text,
        format_args!("{name}_bucket{{{labels}le=\"+Inf\"}} {}", histogram.count),
    );
    let labels = labels.trim_end_matches(',');
    let labels = if labels.is_empty() {
        String::new()
    } else {
        format!("{{{labels}}}")
    };
    line(
        text,
        format_args!("{name}_count{labels} {}", histogram.count),
    );
    line(text, format_args!("{name}_sum{labels} {}", histogram.sum));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buckets_of_a_histogram_count_upwards() {
        let mut histogram = Histogram::new(&[0.005, 1.0]);
        for value in [0.001, 0.2, 100.0] {
            histogram.observe(value);
        }
        let mut text = String::new();
        write_histogram(&mut text, "x", "state=\"A\",", &histogram);
        assert_eq!(
            text,
            "x_bucket{state=\"A\",le=\"0.005\"} 1\nx_bucket{state=\"A\",le=\"1.0\"} 2\n\
             x_bucket{state=\"A\",le=\"+Inf\"} 3\nx_count{state=\"A\"} 3\nx_sum{state=\"A\"} 100.201\n"
        );
    }
}
