//! Numbers side by side, with bars and ratios.
//!
//! ```text
//!   TCP throughput   Clearway      18.4 Gbit/s   17.9 - 19.1  ██████████████  1.12x
//!                    Linux bridge  16.4 Gbit/s   15.8 - 17.0  ████████████
//! ```

use super::{Paint, Style, line};
use crate::finding::{Measure, Number, Path};

/// All numbers, measure by measure.
pub(super) fn bars(numbers: &[Number], style: Style) -> String {
    let mut text = String::new();
    for measure in Measure::ALL {
        let of_measure = || numbers.iter().filter(|number| number.name == measure);
        let longest = of_measure().map(|number| number.median).fold(0.0, f64::max);
        for (index, number) in of_measure().enumerate() {
            let label = if index == 0 { measure.label() } else { "" };
            row(
                &mut text,
                label,
                number,
                longest,
                ratio(numbers, number),
                style,
            );
        }
    }
    if let Some(rounds) = numbers.iter().map(|number| number.samples).max() {
        line(
            &mut text,
            &style.paint(Paint::Dim, &footnote(rounds, numbers)),
        );
    }
    text
}

fn row(
    text: &mut String,
    label: &str,
    number: &Number,
    longest: f64,
    ratio: Option<f64>,
    style: Style,
) {
    let median = format!("{} {}", three_digits(number.median), number.unit.label());
    let range = format!(
        "{} - {}",
        three_digits(number.min),
        three_digits(number.max)
    );
    let ratio = ratio.map_or(String::new(), |ratio| format!("{ratio:.2}x"));
    let paint = match number.path {
        Path::Clearway => Paint::Green,
        Path::LinuxBridge | Path::Docker0 => Paint::Dim,
    };
    let width = usize::from(BAR);
    line(
        text,
        &format!(
            "  {}  {:<12}  {}  {}  {}  {}",
            style.paint(Paint::Dim, &format!("{label:<15}")),
            number.path.label(),
            style.paint(Paint::Bold, &format!("{median:>11}")),
            style.paint(Paint::Dim, &format!("{range:>11}")),
            style.paint(
                paint,
                &format!("{:<width$}", bar(number.median, longest, style))
            ),
            style.paint(Paint::Bold, &ratio)
        ),
    );
}

/// Clearway's number over the other's, on Clearway's row.
fn ratio(numbers: &[Number], number: &Number) -> Option<f64> {
    let other = numbers
        .iter()
        .find(|other| other.name == number.name && other.path != Path::Clearway)?;
    (number.path == Path::Clearway && other.median > 0.0).then(|| number.median / other.median)
}

fn footnote(rounds: usize, numbers: &[Number]) -> String {
    let is_beside = |number: &Number| number.path != Path::Clearway;
    if numbers.iter().any(is_beside) {
        format!(
            "  Medians and ranges of {rounds} rounds in turns, and Clearway's over the other's:\n  \
             more is better for throughput (TCP with cubic), less for round trips."
        )
    } else {
        format!("  Medians and ranges of {rounds} rounds.")
    }
}

/// A length between one cell and [`BAR`].
fn bar(value: f64, longest: f64, style: Style) -> String {
    let share = if longest > 0.0 {
        (value / longest).clamp(0.0, 1.0)
    } else {
        0.0
    };
    // A cell is full when the value reaches its middle.
    let full = (0..BAR)
        .filter(|cell| share * f64::from(BAR) > f64::from(*cell) + 0.5)
        .count();
    (if style.unicode { "█" } else { "#" }).repeat(full.max(1))
}

/// Three digits that mean something, and no more.
pub(super) fn three_digits(value: f64) -> String {
    let decimals = match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

/// Cells of the longest bar.
const BAR: u8 = 13;
