//! Operations per second over queue depth, a line for each level.

use std::collections::BTreeSet;

use maud::{Markup, html};
use spillway_wire::Method;

use super::{
    Context,
    plot::{Look, Scale, legend, line, looks, mark, room, spread, text, through, ticks},
};
use crate::{
    Measurement,
    case::{Group, What},
    number::short,
};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 64.0;
/// Room for names at the least.
const RIGHT: f64 = 170.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 52.0;

/// The points of a series: depth and row.
type Points<'a> = Vec<(u32, &'a Measurement)>;

/// The plot; nothing without timed rows.
pub fn figure(context: &Context, group: &Group) -> Markup {
    let series: Vec<(String, Points)> = group
        .series()
        .into_iter()
        .map(|(name, cases)| {
            let points = cases.iter().filter_map(|case| {
                Some((case.depth(), case.row(Method::Timed, What::Throughput)?))
            });
            (name, points.collect::<Points>())
        })
        .filter(|(_, points)| !points.is_empty())
        .collect();
    if series.is_empty() {
        return html! {};
    }
    let looks = looks(series.iter().map(|(name, _)| name.as_str()));
    html! {
        h3 { "Throughput over queue depth" }
        p.caption { "How many operations are done in a second when so many are in flight. Higher is better." }
        figure {
            (legend(&looks))
            div.scroll { (plot(context, &series, &looks)) }
            figcaption {
                "Timed, medians of the repetitions; a whisker goes from the slowest to the fastest of them."
            }
        }
    }
}

fn plot(context: &Context, series: &[(String, Points)], looks: &[Look]) -> Markup {
    let rows = || series.iter().flat_map(|(_, points)| points);
    let depths: BTreeSet<u32> = rows().map(|(depth, _)| *depth).collect();
    let largest = rows().map(|(_, row)| row.max).fold(0.0, f64::max);
    let ticks = ticks(largest, 5);
    let (first, last) = (
        depths.first().copied().unwrap_or(1),
        depths.last().copied().unwrap_or(1),
    );
    let right = RIGHT.max(20.0 + room(series.iter().map(|(name, _)| name.as_str())));
    let ends = (LEFT + 20.0, WIDTH - right - 14.0);
    let x = Scale::logarithmic((f64::from(first.max(1)), f64::from(last.max(1))), ends);
    let top = ticks.last().copied().unwrap_or(1.0);
    let y = Scale::linear((0.0, top), (HEIGHT - BOTTOM, TOP));
    let place =
        |(depth, row): &(u32, &Measurement)| (x.place(f64::from(*depth)), y.place(row.value));
    // Names stand behind the last points: those at one depth on top of each other.
    let mut labels = vec![0.0; series.len()];
    for depth in &depths {
        let ends = series
            .iter()
            .enumerate()
            .filter_map(|(index, (_, points))| {
                let last = points.last().filter(|(last, _)| last == depth)?;
                Some((index, place(last).1))
            });
        let (ends, wishes): (Vec<usize>, Vec<f64>) = ends.unzip();
        let places = spread(&wishes, 17.0, HEIGHT - BOTTOM);
        for (index, place) in ends.iter().zip(places) {
            labels[*index] = place;
        }
    }
    html! {
        svg.wide.throughput viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label="Throughput over queue depth by level" {
            @for tick in &ticks {
                (line("grid", (LEFT, y.place(*tick)), (WIDTH - right, y.place(*tick))))
                (text("", (LEFT - 8.0, y.place(*tick) + 4.5), "end", &short(*tick)))
            }
            (line("axis", (LEFT, HEIGHT - BOTTOM), (WIDTH - right, HEIGHT - BOTTOM)))
            @for depth in &depths {
                (text("", (x.place(f64::from(*depth)), HEIGHT - BOTTOM + 20.0), "middle", &depth.to_string()))
            }
            (text("title", (4.0, 16.0), "start", "operations per second"))
            (text("title", ((LEFT + WIDTH - right) / 2.0, HEIGHT - 8.0), "middle", "queue depth: operations in flight, logarithmic"))
            // The first, which are ours, on top.
            @for (index, (name, points)) in series.iter().enumerate().rev() {
                g style=(looks[index].colour) data-series=(name) {
                    (through(&looks[index], &points.iter().map(place).collect::<Vec<_>>()))
                    @for point in points {
                        (line("whisker", (place(point).0, y.place(point.1.min)), (place(point).0, y.place(point.1.max))))
                    }
                    @for point in points { (mark(context, point.1, &looks[index], place(point))) }
                    @if let Some(last) = points.last() {
                        (text("name", (place(last).0 + 14.0, labels[index] + 4.5), "start", name))
                    }
                }
            }
        }
    }
}
