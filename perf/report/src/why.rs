//! A sentence or two for a case that says why it costs what it costs. Everything in it is read off
//! the rows: what was not measured is not mentioned, and zero is said only where zero was counted.

use spillway_wire::{Method, Quantity};

use crate::{
    case::{Case, Group, What},
    number::{duration, number, short},
};

/// What is said of one level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The level, as in the plots.
    pub series: String,
    /// The requests in flight of the case that it is about.
    pub depth: u32,
    /// What is to be said.
    pub sentences: Vec<String>,
}

impl Reason {
    /// The sentences in one.
    pub fn text(&self) -> String {
        self.sentences.join(" ")
    }
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
    // The cheapest of ours, if there is one; others are compared with that as well.
    let least = chosen
        .iter()
        .filter_map(|(_, case)| Some((*case, cost(case)?)));
    let least = least.min_by(|a, b| {
        let key = |(case, cost): &(&Case, f64)| (case.system().is_some(), *cost);
        let (a, b) = (key(a), key(b));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    chosen
        .iter()
        .enumerate()
        .map(|(index, (name, case))| Reason {
            series: (*name).clone(),
            depth: case.depth(),
            sentences: sentences(
                case,
                least.map(|(case, cost)| (case.series(), case.depth(), cost)),
                chosen.get(index + 1).map(|(_, next)| *next),
            ),
        })
        .filter(|reason| !reason.sentences.is_empty())
        .collect()
}

/// The cheapest case of one thread, or else of any; of some that cost the same to within 2 %, the one with
/// the least in flight. Without costs, the fastest.
fn choose<'c, 'a>(cases: &[&'c Case<'a>]) -> Option<&'c Case<'a>> {
    let is_alone = |case: &&&'c Case<'a>| matches!(case.label("threads"), "" | "1");
    let alone: Vec<_> = cases.iter().filter(is_alone).copied().collect();
    let cases = if alone.is_empty() { cases } else { &alone };
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

/// Everything that can be said of a case; `least` is the cheapest of the comparison, `next` the one that is
/// compared with it.
fn sentences(case: &Case, least: Option<(String, u32, f64)>, next: Option<&Case>) -> Vec<String> {
    let all = [
        cost(case, least),
        places(case),
        events(case),
        copies(case),
        next.and_then(|next| saved(case, next)),
        speed(case),
    ];
    all.into_iter().flatten().collect()
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
        && cost != least
    {
        text += &format!(
            ", {} times those of {series} at depth {depth}",
            short(cost / least)
        );
    }
    Some(text + ".")
}

/// The places of instructions.
const PLACES: [(Quantity, &str); 3] = [
    (Quantity::Application, "the application"),
    (Quantity::Driver, "the driver process"),
    (Quantity::Kernel, "the kernel"),
];

/// What the next level of ours does without, and where.
fn saved(case: &Case, next: &Case) -> Option<String> {
    let (Some(level), Some(next_level)) = (case.level(), next.level()) else {
        return None;
    };
    let cost = |case: &Case| case.counted(Quantity::Instructions);
    let saved = cost(case)? - cost(next)?;
    if level >= next_level || saved < 1.0 {
        return None;
    }
    let place = |(quantity, place): &(Quantity, &str)| {
        let saved = case.counted(*quantity)? - next.counted(*quantity)?;
        Some((saved, (*place).to_string()))
    };
    let mut places: Vec<_> = PLACES.iter().map(place).collect::<Option<_>>()?;
    places.retain(|(difference, _)| difference.abs() >= 0.01 * saved);
    places.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (less, more): (Vec<_>, Vec<_>) = places.iter().partition(|(saved, _)| *saved > 0.0);
    let words = |places: &[&(f64, String)], what: &str| {
        let part = |(saved, place): &&(f64, String)| {
            format!("{}{what} in {place}", number(saved.abs().round()))
        };
        list(&places.iter().map(part).collect::<Vec<_>>(), "and")
    };
    let less = match (&less[..], more.len()) {
        ([(_, place)], 0) => format!(", in {place}"),
        _ => format!(": {}", words(&less, "")?),
    };
    let more = words(&more, " more").map_or(String::new(), |more| format!(", but {more}"));
    Some(format!(
        "{} at depth {} saves {} of them{less}{more}.",
        capital(&next.series()),
        next.depth(),
        number(saved.round()),
    ))
}

/// With a capital letter.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// The place that has most of it.
fn places(case: &Case) -> Option<String> {
    let known: Vec<_> = PLACES
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

/// What happens less often than this is no part of an operation: a timer that ticked, or a thread that
/// began.
const SELDOM: f64 = 0.01;

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
    let known = known.filter(|(_, count)| *count == 0.0 || *count >= SELDOM);
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
        bytes if bytes < 1.0 => return None,
        bytes => format!("{} bytes are copied.", number(bytes)),
    })
}

fn speed(case: &Case) -> Option<String> {
    if !case.label("rate").is_empty() {
        let percentile = |index| {
            Some(duration(
                case.row(Method::Timed, What::Percentile(index))?.value,
            ))
        };
        return Some(format!(
            "At a rate of {} a second, half of them took no longer than {}, 99 in a hundred no longer than {}.",
            case.label("rate"),
            percentile(0)?,
            percentile(2)?
        ));
    }
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
