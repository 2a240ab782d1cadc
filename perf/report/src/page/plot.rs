//! What plots have in common: scales, marks, and how they say which row they show.

use maud::{Markup, html};
use spillway_plan::Level;

use super::Context;
use crate::{Measurement, number::with_unit};

/// A coordinate, to a tenth of a pixel.
pub fn at(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), String::from)
}

/// From values to pixels.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    from: (f64, f64),
    to: (f64, f64),
    logarithmic: bool,
}

impl Scale {
    /// Even steps.
    pub fn linear(from: (f64, f64), to: (f64, f64)) -> Self {
        Self {
            from,
            to,
            logarithmic: false,
        }
    }

    /// Even factors; the values are above 0.
    pub fn logarithmic(from: (f64, f64), to: (f64, f64)) -> Self {
        Self {
            from: (from.0.log10(), from.1.log10()),
            to,
            logarithmic: true,
        }
    }

    /// Where a value lies.
    pub fn place(&self, value: f64) -> f64 {
        let value = match self.logarithmic {
            true => value.max(f64::MIN_POSITIVE).log10(),
            false => value,
        };
        let width = self.from.1 - self.from.0;
        let part = if width == 0.0 {
            0.5
        } else {
            (value - self.from.0) / width
        };
        self.to.0 + part * (self.to.1 - self.to.0)
    }
}

/// Round numbers from 0 to at least the largest, about so many.
pub fn ticks(largest: f64, about: u32) -> Vec<f64> {
    if largest <= 0.0 || !largest.is_finite() {
        return vec![0.0, 1.0];
    }
    let rough = largest / f64::from(about);
    let unit = 10_f64.powf(rough.log10().floor());
    let factors = [1.0, 2.0, 2.5, 5.0, 10.0];
    let fits = |factor: &&f64| **factor * unit >= rough * 0.999;
    let step = factors.iter().find(fits).unwrap_or(&10.0) * unit;
    let count = (largest / step).ceil() as u32;
    (0..=count).map(|index| f64::from(index) * step).collect()
}

/// Powers of ten, from at most the least to at least the largest.
pub fn decades(least: f64, largest: f64) -> Vec<f64> {
    let first = least.max(1e-9).log10().floor() as i32;
    let last = (largest.max(1e-9).log10().ceil() as i32).max(first + 1);
    (first..=last).map(|power| 10_f64.powi(power)).collect()
}

/// Colours for series that are none of our levels.
const OTHERS: usize = 6;

/// The variable with the colour of a level.
pub fn colour(level: Option<Level>) -> String {
    match level {
        Some(level) => format!("--series: var(--{})", level.name()),
        None => other(0),
    }
}

fn other(index: usize) -> String {
    format!("--series: var(--other{})", index % OTHERS)
}

/// What an interface of another system is called if nobody waits for an interrupt: it takes its
/// colour from the one without this ending.
const POLLED: &str = "_polled";

/// A series without how it waits.
fn family(name: &str) -> &str {
    let name = name.split([',', '(']).next().unwrap_or_default().trim();
    name.strip_suffix(POLLED).unwrap_or(name)
}

/// A shape for each series, so that colour is not all that tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Circle,
    Square,
    Triangle,
    Diamond,
}

/// How a series is drawn.
#[derive(Clone, Debug)]
pub struct Look {
    pub name: String,
    /// A style attribute.
    pub colour: String,
    pub shape: Shape,
    /// Whether it is of another system.
    pub dashed: bool,
}

/// The looks of some series.
pub fn looks<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<Look> {
    const SHAPES: [Shape; 4] = [
        Shape::Circle,
        Shape::Square,
        Shape::Triangle,
        Shape::Diamond,
    ];
    let mut others: Vec<&str> = Vec::new();
    let names = names.into_iter().enumerate();
    names
        .map(|(index, name)| {
            let level = Level::from_name(name.split([' ', ',']).next().unwrap_or_default());
            let family = family(name);
            if level.is_none() && !others.contains(&family) {
                others.push(family);
            }
            let place = others.iter().position(|other| *other == family);
            Look {
                name: name.into(),
                colour: place.map_or_else(|| colour(level), other),
                shape: SHAPES[index % SHAPES.len()],
                dashed: level.is_none(),
            }
        })
        .collect()
}

/// Pixels that names take in a plot at most.
pub fn room<'a>(names: impl IntoIterator<Item = &'a str>) -> f64 {
    /// Of a letter at 13 pixels in bold.
    const LETTER: f64 = 7.7;
    let longest = names.into_iter().map(|name| name.chars().count()).max();
    longest.unwrap_or(0) as f64 * LETTER
}

/// A mark's outline around a point.
fn outline(shape: Shape, x: f64, y: f64) -> String {
    let points = |offsets: &[(f64, f64)]| {
        let points: Vec<_> = offsets
            .iter()
            .map(|(dx, dy)| format!("{} {}", at(x + dx), at(y + dy)))
            .collect();
        format!("M{}Z", points.join("L"))
    };
    match shape {
        Shape::Circle => format!("M{} {}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0Z", at(x - 5.0), at(y)),
        Shape::Square => points(&[(-4.5, -4.5), (4.5, -4.5), (4.5, 4.5), (-4.5, 4.5)]),
        Shape::Triangle => points(&[(0.0, -5.8), (5.6, 4.4), (-5.6, 4.4)]),
        Shape::Diamond => points(&[(0.0, -6.2), (6.2, 0.0), (0.0, 6.2), (-6.2, 0.0)]),
    }
}

/// A mark at a point that shows a row.
pub fn mark(context: &Context, row: &Measurement, look: &Look, (x, y): (f64, f64)) -> Markup {
    html! {
        path.mark d=(outline(look.shape, x, y)) data-row=(context.index(row)) data-value=(row.value) {
            title { (hint(&look.name, row)) }
        }
    }
}

/// What a pointer shows that rests on a mark.
pub fn hint(name: &str, row: &Measurement) -> String {
    let value = |value| with_unit(value, &row.unit);
    let depth = row
        .label("qd")
        .map_or(String::new(), |depth| format!(" at depth {depth}"));
    let range = match row.samples.len() {
        1 => String::new(),
        count => format!(
            " ({} to {}, {count} samples)",
            value(row.min),
            value(row.max)
        ),
    };
    format!("{name}{depth}: {}{range}", value(row.value))
}

/// A legend for series.
pub fn legend(looks: &[Look]) -> Markup {
    html! {
        ul.legend {
            @for look in looks {
                li style=(look.colour) {
                    svg viewBox="0 0 22 14" aria-hidden="true" {
                        line.line.dashed[look.dashed] x1="1" y1="7" x2="21" y2="7" {}
                        path.mark d=(outline(look.shape, 11.0, 7.0)) {}
                    }
                    (look.name)
                }
            }
        }
    }
}

/// A text in a plot.
pub fn text(class: &str, (x, y): (f64, f64), anchor: &str, content: &str) -> Markup {
    html! {
        text class=(class) x=(at(x)) y=(at(y)) text-anchor=(anchor) { (content) }
    }
}

/// A straight line.
pub fn line(class: &str, from: (f64, f64), to: (f64, f64)) -> Markup {
    html! {
        line class=(class) x1=(at(from.0)) y1=(at(from.1)) x2=(at(to.0)) y2=(at(to.1)) {}
    }
}

/// A line through points.
pub fn through(look: &Look, points: &[(f64, f64)]) -> Markup {
    let points: Vec<_> = points
        .iter()
        .map(|(x, y)| format!("{},{}", at(*x), at(*y)))
        .collect();
    html! {
        polyline.line.dashed[look.dashed] points=(points.join(" ")) {}
    }
}

/// Moves labels apart that would lie on each other: their wished heights, and the least distance.
/// Keeps their order and stays below `bottom`.
pub fn spread(wishes: &[f64], distance: f64, bottom: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wishes.len()).collect();
    order.sort_by(|a, b| wishes[*a].total_cmp(&wishes[*b]));
    let mut places = wishes.to_vec();
    for pair in 1..order.len() {
        let least = places[order[pair - 1]] + distance;
        let place = &mut places[order[pair]];
        *place = place.max(least);
    }
    let mut most = bottom;
    for index in order.into_iter().rev() {
        places[index] = places[index].min(most);
        most = places[index] - distance;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_map_ends_to_ends() {
        let scale = Scale::linear((0.0, 10.0), (100.0, 0.0));
        assert_eq!(
            [0.0, 5.0, 10.0].map(|value| scale.place(value)),
            [100.0, 50.0, 0.0]
        );
        let scale = Scale::logarithmic((10.0, 1000.0), (0.0, 100.0));
        assert_eq!(scale.place(100.0), 50.0);
        assert!(scale.place(0.0).is_finite());
        assert_eq!(Scale::linear((3.0, 3.0), (0.0, 10.0)).place(3.0), 5.0);
    }

    #[test]
    fn ticks_are_round_and_reach_the_largest() {
        assert_eq!(ticks(9.0, 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(250_000.0, 5).last(), Some(&250_000.0));
        assert_eq!(ticks(0.0, 5), [0.0, 1.0]);
        assert_eq!(ticks(f64::NAN, 5), [0.0, 1.0]);
        assert_eq!(decades(35.0, 4200.0), [10.0, 100.0, 1000.0, 10_000.0]);
        assert_eq!(decades(10.0, 10.0), [10.0, 100.0]);
    }

    #[test]
    fn labels_keep_their_distance_and_their_order() {
        assert_eq!(spread(&[10.0, 12.0, 50.0], 15.0, 100.0), [10.0, 25.0, 50.0]);
        assert_eq!(spread(&[98.0, 99.0], 15.0, 100.0), [85.0, 100.0]);
        assert!(spread(&[], 15.0, 100.0).is_empty());
    }
}
