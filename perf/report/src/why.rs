//! A sentence or two for a case that says why it costs what it costs. Everything in it is read off
//! the rows: what was not measured is not mentioned, and zero is said only where zero was counted.

use spillway_wire::{Method, Quantity};

use crate::{
    case::{Case, Group, What},
    number::{number, short},
};

/// What is said of one level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The level, as in the plots.
    pub series: String,
    /// The requests in flight of the case that it is about.
    pub depth: u32,
    /// The sentences.
    pub text: String,
}

/// One for each level of a group: about its cheapest counted case, or about its fastest if nothing
/// was counted.
pub fn reasons(group: &Group) -> Vec<Reason> {
    let series = group.series();
    let chosen: Vec<_> = series
        .iter()
        .filter_map(|(name, cases)| Some((name, choose(cases)?)))
        .collect();
    let cost = |case: &Case| case.counted(Quantity::Instructions);
    let least = chosen
        .iter()
        .filter_map(|(_, case)| Some((*case, cost(case)?)));
    let least = least.min_by(|a, b| a.1.total_cmp(&b.1));
    chosen
        .iter()
        .map(|(name, case)| Reason {
            series: (*name).clone(),
            depth: case.depth(),
            text: sentences(
                case,
                least.map(|(case, cost)| (case.series(), case.depth(), cost)),
            ),
        })
        .filter(|reason| !reason.text.is_empty())
        .collect()
}

/// The cheapest case; of some that cost the same to within 2 %, the one with the least in flight.
/// Without costs, the fastest.
fn choose<'c, 'a>(cases: &[&'c Case<'a>]) -> Option<&'c Case<'a>> {
    let cost = |case: &Case| case.counted(Quantity::Instructions);
    let costs = cases.iter().filter_map(|case| cost(case));
    let least = costs.min_by(f64::total_cmp);
    let is_cheap = |case: &&&Case| {
        least
            .zip(cost(case))
            .is_some_and(|(least, cost)| cost <= 1.02 * least)
    };
    let cheap = cases
        .iter()
        .filter(is_cheap)
        .min_by_key(|case| case.depth());
    let throughput = |case: &Case| Some(case.row(Method::Timed, What::Throughput)?.value);
    let fastest = || {
        let timed = cases
            .iter()
            .filter_map(|case| Some((case, throughput(case)?)));
        timed
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(case, _)| case)
    };
    cheap.or_else(fastest).copied()
}

/// Everything that can be said of a case; `least` is the cheapest of the comparison.
fn sentences(case: &Case, least: Option<(String, u32, f64)>) -> String {
    let all = [
        cost(case, least),
        places(case),
        events(case),
        copies(case),
        speed(case),
    ];
    all.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn cost(case: &Case, least: Option<(String, u32, f64)>) -> Option<String> {
    let cost = case.counted(Quantity::Instructions)?;
    let article = match case.operation() {
        "operation" => "An",
        _ => "A",
    };
    let mut text = format!(
        "{article} {} costs {} instructions of work",
        case.operation(),
        number(cost)
    );
    if let Some((series, depth, least)) = least
        && (series != case.series() || depth != case.depth())
        && least > 0.0
        && cost > least
    {
        text += &format!(
            ", {} times those of {series} at depth {depth}",
            short(cost / least)
        );
    }
    Some(text + ".")
}

/// The place that has most of it.
fn places(case: &Case) -> Option<String> {
    let places = [
        (Quantity::Application, "the application"),
        (Quantity::Driver, "the driver process"),
        (Quantity::Kernel, "the kernel"),
    ];
    let known: Vec<_> = places
        .iter()
        .filter_map(|(quantity, place)| Some((*place, case.counted(*quantity)?)))
        .collect();
    let sum: f64 = known.iter().map(|(_, cost)| cost).sum();
    if known.len() < 2 || sum <= 0.0 {
        return None;
    }
    let (most, cost) = known.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let share = 100.0 * cost / sum;
    let none: Vec<_> = known
        .iter()
        .filter(|(_, cost)| *cost == 0.0)
        .map(|(place, _)| *place)
        .collect();
    let rest = match none.len() {
        0 => String::new(),
        _ => format!(", and none in {}", none.join(" nor in ")),
    };
    Some(match none.len() + 1 == known.len() {
        true => format!("All of them are spent in {most}{rest}."),
        false => format!("{share:.0}\u{a0}% of them are spent in {most}{rest}."),
    })
}

/// What interrupts the straight way, and how often: of a batch if it is a whole number of that.
fn events(case: &Case) -> Option<String> {
    let kinds = [
        (Quantity::SystemCalls, "system call"),
        (Quantity::AddressSpaceSwitches, "address-space switch"),
        (Quantity::Interrupts, "interrupt"),
        (Quantity::WakeUps, "wake-up"),
        (Quantity::MmioWrites, "register write"),
        (Quantity::IotlbFlushes, "IOTLB flush"),
    ];
    let known = kinds
        .iter()
        .filter_map(|(quantity, name)| Some((*name, case.per_operation(*quantity)?)));
    let (some, none): (Vec<_>, Vec<_>) = known.partition(|(_, count)| *count > 0.0);
    let batch: f64 = case.label("batch").parse().unwrap_or(1.0);
    let is_whole = |(_, count): &(&str, f64)| {
        let of_batch = count * batch;
        of_batch >= 0.99 && (of_batch - of_batch.round()).abs() < 0.01 * of_batch
    };
    let of_batch = batch > 1.0 && some.iter().all(is_whole);
    let times = |(name, count): &(&str, f64)| {
        let count = if of_batch {
            (count * batch).round()
        } else {
            *count
        };
        match number(count).as_str() {
            "1" => format!("1 {name}"),
            count => format!("{count} {}", plural(name)),
        }
    };
    let some: Vec<_> = some.iter().map(times).collect();
    let none: Vec<_> = none.iter().map(|(name, _)| format!("no {name}")).collect();
    let subject = match of_batch && !some.is_empty() {
        true => format!("A batch of {}", number(batch)),
        false => "It".into(),
    };
    let all = list(&[some, none].concat(), "and")?;
    Some(format!("{subject} takes {all}."))
}

fn copies(case: &Case) -> Option<String> {
    let bytes = case.per_operation(Quantity::BytesCopied)?;
    Some(match bytes {
        0.0 => "No byte is copied.".into(),
        bytes => format!("{} bytes are copied.", number(bytes)),
    })
}

fn speed(case: &Case) -> Option<String> {
    let throughput = case.row(Method::Timed, What::Throughput)?;
    let depth = case.depth();
    Some(format!(
        "With {depth} in flight, {} were done in a second.",
        short(throughput.value)
    ))
}

fn plural(name: &str) -> String {
    match name.ends_with("ch") || name.ends_with("sh") {
        true => format!("{name}es"),
        false => format!("{name}s"),
    }
}

/// `a, b and c`.
fn list(words: &[String], and: &str) -> Option<String> {
    let (last, rest) = words.split_last()?;
    Some(match rest.is_empty() {
        true => last.clone(),
        false => format!("{} {and} {last}", rest.join(", ")),
    })
}
