//! Latency percentiles, a panel for each queue depth and a line for each level.

use std::collections::BTreeSet;

use maud::{Markup, html};
use spillway_wire::Method;

use super::{
    Context,
    plot::{Look, Scale, decades, legend, line, looks, mark, text, through},
};
use crate::{
    Measurement,
    case::{Group, PERCENTILES, What},
    number::duration,
};

const WIDTH: f64 = 430.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 46.0;
/// Panels that are shown at most.
const PANELS: usize = 4;

/// The percentiles of a series that are known: the position, and the row.
type Points<'a> = Vec<(usize, &'a Measurement)>;

/// The panels; nothing without latencies.
pub fn figure(context: &Context, group: &Group) -> Markup {
    let series = group.series();
    let looks = looks(series.iter().map(|(name, _)| name.as_str()));
    let panels: Vec<(u32, Vec<(&Look, Points)>)> = depths(group)
        .into_iter()
        .map(|depth| {
            let lines = series.iter().zip(&looks).filter_map(|((_, cases), look)| {
                let case = cases.iter().find(|case| case.depth() == depth)?;
                let rows = (0..PERCENTILES.len()).filter_map(|index| {
                    Some((index, case.row(Method::Timed, What::Percentile(index))?))
                });
                let rows: Points = rows.collect();
                (!rows.is_empty()).then_some((look, rows))
            });
            (depth, lines.collect())
        })
        .collect();
    if panels.is_empty() {
        return html! {};
    }
    let shown: Vec<Look> = looks
        .iter()
        .filter(|look| {
            panels
                .iter()
                .any(|(_, lines)| lines.iter().any(|(other, _)| other.name == look.name))
        })
        .cloned()
        .collect();
    let values = || {
        let rows = panels
            .iter()
            .flat_map(|(_, lines)| lines)
            .flat_map(|(_, rows)| rows);
        rows.map(|(_, row)| row.value)
    };
    let least = values().fold(f64::INFINITY, f64::min);
    let ticks = decades(least, values().fold(0.0, f64::max));
    let rows = panels
        .iter()
        .flat_map(|(_, lines)| lines)
        .flat_map(|(_, rows)| rows);
    let known: BTreeSet<usize> = rows.map(|(index, _)| *index).collect();
    let known: Vec<usize> = known.into_iter().collect();
    html! {
        h3 { "Latency" }
        p.caption { "How long one operation takes. Half of them are not slower than p50, 99 in a hundred not slower than p99. Lower is better." }
        figure {
            (legend(&shown))
            div.panels {
                @for (depth, lines) in &panels { (panel(context, *depth, lines, &ticks, &known)) }
            }
            figcaption {
                "Timed. The scale is logarithmic: each line is ten times the one below."
            }
        }
    }
}

/// The depths that have latencies; of many, the first, the last and those evenly between.
fn depths(group: &Group) -> Vec<u32> {
    let has = |case: &&crate::case::Case| {
        (0..PERCENTILES.len())
            .any(|index| case.row(Method::Timed, What::Percentile(index)).is_some())
    };
    let depths: BTreeSet<u32> = group
        .cases
        .iter()
        .filter(has)
        .map(|case| case.depth())
        .collect();
    let depths: Vec<u32> = depths.into_iter().collect();
    if depths.len() <= PANELS {
        return depths;
    }
    let last = depths.len() - 1;
    (0..PANELS)
        .map(|panel| depths[panel * last / (PANELS - 1)])
        .collect()
}

fn panel(
    context: &Context,
    depth: u32,
    lines: &[(&Look, Points)],
    ticks: &[f64],
    known: &[usize],
) -> Markup {
    let places = known.len().saturating_sub(1);
    let x = Scale::linear((0.0, places as f64), (LEFT + 22.0, WIDTH - RIGHT - 22.0));
    let x = |index: &usize| x.place(known.partition_point(|other| other < index) as f64);
    let ends = (ticks[0], ticks[ticks.len() - 1]);
    let y = Scale::logarithmic(ends, (HEIGHT - BOTTOM, TOP));
    let place = |(index, row): &(usize, &Measurement)| (x(index), y.place(row.value));
    html! {
        svg.latency viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(format!("Latency percentiles at depth {depth}")) {
            @for tick in ticks {
                (line("grid", (LEFT, y.place(*tick)), (WIDTH - RIGHT, y.place(*tick))))
                (text("", (LEFT - 8.0, y.place(*tick) + 4.5), "end", &duration(*tick)))
            }
            (line("axis", (LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, HEIGHT - BOTTOM)))
            @for index in known {
                (text("", (x(index), HEIGHT - BOTTOM + 20.0), "middle", PERCENTILES[*index].0))
            }
            (text("strong", (4.0, 16.0), "start", &format!("depth {depth}")))
            (text("title", (WIDTH - RIGHT, 16.0), "end", "time for one operation"))
            (text("title", ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 6.0), "middle", "percentile"))
            // The first, which are ours, on top.
            @for (look, rows) in lines.iter().rev() {
                g style=(look.colour) data-series=(look.name) {
                    (through(look, &rows.iter().map(place).collect::<Vec<_>>()))
                    @for row in rows { (mark(context, row.1, look, place(row))) }
                }
            }
        }
    }
}
