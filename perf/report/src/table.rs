//! The results as tables for a terminal of 100 columns.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use spillway_wire::{Method, Quantity};

use crate::{
    Measurement,
    case::{self, Case, Group, What},
    limits,
    number::{duration, number, short},
    sizes::{self, Sizes},
};

/// Columns of the narrowest terminal that is thought of.
const WIDTH: u16 = 100;

/// Everything: the comparison of levels, if there is one, then every other row by method.
pub fn render(results: &[Measurement]) -> String {
    let cases = case::cases(results);
    let groups = case::groups(&cases);
    let compared: Vec<_> = groups.iter().filter(|group| is_comparison(group)).collect();
    let mut text = String::new();
    for group in &compared {
        if !group.title.is_empty() {
            text += &format!("{}\n", group.heading());
        }
        text += &levels(group);
        text.push('\n');
    }
    if !compared.is_empty() {
        text += LEGEND;
        text.push('\n');
    }
    let steps = case::steps(&cases);
    if !steps.is_empty() {
        text += &ablation(&steps);
        text.push('\n');
    }
    for sentence in case::checks(&cases) {
        text += &format!("{sentence}\n\n");
    }
    let sizes = sizes::of(results);
    if !sizes.is_empty() {
        text += &small_programs(&sizes);
        text.push('\n');
    }
    for method in Method::ALL {
        let is_shown = |row: &&Measurement| {
            // Rows of a plan of cases have all the labels of a case, and stand above.
            let is_compared = What::of(row).is_some() && row.label("device").is_some();
            row.method == method && !is_compared && !sizes::is_size(row)
        };
        let rows: Vec<_> = results.iter().filter(is_shown).collect();
        if !rows.is_empty() {
            text += &plain(method, &rows);
            text.push('\n');
        }
    }
    text
}

/// Whether a group has more than one level, or comes from a plan of levels.
fn is_comparison(group: &Group) -> bool {
    let is_level = |case: &Case| !case.label("device").is_empty();
    group.series().len() > 1 || group.cases.iter().any(is_level)
}

fn new(head: &[&str], words: &[usize], gap: u16) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_width(WIDTH);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(head.to_vec());
    for index in 0..head.len() {
        if let Some(column) = table.column_mut(index) {
            let is_last = index + 1 == head.len();
            column.set_padding((0, if is_last { 0 } else { gap }));
            if !words.contains(&index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table
}

fn text(table: &Table) -> String {
    let lines = table.lines();
    let lines: Vec<_> = lines
        .map(|line| line.trim_end().to_string() + "\n")
        .collect();
    lines.concat()
}

/// Costs and speeds of a group, one line a case. Other systems have a table of their own.
fn levels(group: &Group) -> String {
    let (ours, others): (Vec<_>, Vec<_>) = group
        .series()
        .into_iter()
        .partition(|(_, cases)| cases[0].system().is_none());
    let mut text = String::new();
    for series in [ours, others] {
        if !series.is_empty() {
            text += &costs(&series);
        }
    }
    text
}

/// What the columns mean.
const LEGEND: &str = "\
for one operation: instructions of work, and where; system calls, address-space switches,
interrupts, register writes, bytes copied; a dash was not measured
";

/// What was not measured.
const NONE: &str = "–";

/// A table of series. Columns in which nothing was measured are left out.
fn costs(series: &[(String, Vec<&Case>)]) -> String {
    let head = [
        "level", "qd", "wait", "instr", "app", "driver", "kernel", "calls", "switch", "irqs",
        "mmio", "copied", "ops/s", "p50", "p99",
    ];
    let lines = series.iter().flat_map(|(name, cases)| {
        cases.iter().map(|case| {
            let cost = |quantity| case.per_operation(quantity).map_or(NONE.into(), number);
            let timed = |what, show: fn(f64) -> String| {
                let row = case.row(Method::Timed, what);
                row.map_or(NONE.into(), |row| show(row.value))
            };
            [
                name.clone(),
                case.depth().to_string(),
                wait(case).into(),
                cost(Quantity::Instructions),
                cost(Quantity::Application),
                cost(Quantity::Driver),
                cost(Quantity::Kernel),
                cost(Quantity::SystemCalls),
                cost(Quantity::AddressSpaceSwitches),
                cost(Quantity::Interrupts),
                cost(Quantity::MmioWrites),
                cost(Quantity::BytesCopied),
                timed(What::Throughput, short),
                timed(What::Percentile(0), duration),
                timed(What::Percentile(2), duration),
            ]
        })
    });
    let lines: Vec<_> = lines.collect();
    let is_known = |column: &usize| lines.iter().any(|line| line[*column] != NONE);
    let columns: Vec<usize> = (0..head.len()).filter(is_known).collect();
    let head: Vec<_> = columns.iter().map(|column| head[*column]).collect();
    let is_word = |index: &usize| matches!(head[*index], "level" | "wait");
    let words: Vec<_> = (0..head.len()).filter(is_word).collect();
    let mut table = new(&head, &words, 1);
    for line in &lines {
        table.add_row(columns.iter().map(|column| line[*column].clone()));
    }
    text(&table)
}

/// How completions were waited for, in a word that fits.
fn wait<'a>(case: &Case<'a>) -> &'a str {
    match case.label("wait") {
        "interrupt" => "irq",
        "adaptive" => "both",
        wait => wait,
    }
}

/// What the same program takes at each level.
fn small_programs(sizes: &[Sizes]) -> String {
    let head = [
        "the same program",
        "text",
        "data",
        "memory",
        "runs unchanged on",
    ];
    let mut table = new(&head, &[0, 4], 2);
    for size in sizes {
        let bytes = |bytes: Option<f64>| bytes.map_or("–".into(), number);
        table.add_row([
            size.level.name().to_string(),
            bytes(size.text),
            bytes(size.data),
            bytes(size.memory),
            size.devices.join(", "),
        ]);
    }
    text(&table) + "bytes\n"
}

/// The steps of an ablation and what each saves.
fn ablation(steps: &[(&str, Case)]) -> String {
    let mut table = new(&["step", "level", "instr", "change", "ops/s"], &[0, 1], 2);
    let mut before = None;
    for (step, case) in steps {
        let cost = case.counted(Quantity::Instructions);
        let change = cost.zip(before).map(|(now, before)| now - before);
        let throughput = case.row(Method::Timed, What::Throughput);
        table.add_row([
            (*step).into(),
            case.series(),
            cost.map_or("–".into(), number),
            change.map_or(String::new(), |change| {
                let sign = if change > 0.0 { "+" } else { "" };
                format!("{sign}{}", number(change))
            }),
            throughput.map_or("–".into(), |row| short(row.value)),
        ]);
        before = cost.or(before);
    }
    text(&table)
}

/// Rows with their extremes, and limits where there are any.
fn plain(method: Method, rows: &[&Measurement]) -> String {
    let is_limited = rows.iter().any(|row| limits::of(row).is_some());
    let head = [
        method.name(),
        "median",
        "min",
        "max",
        "unit",
        "limit",
        "aim",
    ];
    let mut table = new(if is_limited { &head } else { &head[..5] }, &[0, 4], 2);
    for row in rows {
        let mut cells = vec![
            name(row, rows),
            number(row.value),
            number(row.min),
            number(row.max),
            unit(&row.unit).into(),
        ];
        if is_limited {
            let limit = limits::of(row);
            let shown = |value: Option<f64>| value.map_or(String::new(), bound);
            cells.push(shown(limit.map(|limit| limit.most)));
            cells.push(shown(limit.and_then(|limit| limit.aim)));
        }
        table.add_row(cells.into_iter().map(Cell::new));
    }
    text(&table)
}

/// Labels are left out where the name is enough.
fn name(row: &Measurement, rows: &[&Measurement]) -> String {
    let same = rows.iter().filter(|other| other.name == row.name);
    let same: Vec<_> = same.collect();
    let telling = row.labels.iter().filter(|(label, value)| {
        let differs = |other: &&&Measurement| other.label(label) != Some(value);
        same.iter().any(differs)
    });
    let telling: Vec<_> = telling
        .map(|(label, value)| format!(" {label}={value}"))
        .collect();
    format!("{}{}", row.name, telling.concat())
}

/// Large bounds are round.
fn bound(value: f64) -> String {
    if value < 10_000.0 {
        number(value)
    } else {
        short(value)
    }
}

fn unit(unit: &str) -> &str {
    match unit {
        "instructions" => "instr",
        "nanoseconds" => "ns",
        unit => unit,
    }
}
