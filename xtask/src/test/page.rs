//! The page of the results in a real browser: it renders, its plots hold the data, nothing covers or
//! cuts a text, and it can be read in light and dark, on a wide and a narrow screen.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use spillway_report::{Document, page};

use super::{
    browser::{Browser, View},
    tally::Tally,
};
use crate::workspace::Workspace;

/// Made-up results, and what their plots are.
const RESULTS: [(&str, &[&str]); 2] = [
    (
        "quick",
        &[
            "throughput",
            "latency",
            "latency",
            "latency",
            "cost",
            "cost",
        ],
    ),
    ("ablation", &["waterfall"]),
];
/// What looks at a page.
const PROBE: &str = include_str!("page.js");
/// What the page allows, and what it must allow to be looked at.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";
const LOOSER: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";
const WIDE: View = View {
    width: 1100,
    dark: false,
};
const NARROW: View = View {
    width: 500,
    dark: true,
};
/// The least contrast of a text and of a mark (WCAG 2.1, 1.4.11).
const CONTRAST: f64 = 3.0;
/// Bytes of a picture with something on it; an empty one of this size has far fewer.
const PICTURE: u64 = 60_000;

#[derive(Deserialize)]
struct Found {
    plots: Vec<Plot>,
    least_contrast: f64,
    width: f64,
    window: f64,
    paper: String,
    requests: u32,
}

#[derive(Deserialize)]
struct Plot {
    kind: String,
    #[serde(rename = "box")]
    place: Place,
    texts: Vec<Text>,
    marks: Vec<Mark>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    #[serde(rename = "box")]
    place: Place,
    contrast: f64,
}

#[derive(Clone, Deserialize)]
struct Mark {
    row: usize,
    value: f64,
    kind: String,
    group: String,
    #[serde(rename = "box")]
    place: Place,
    contrast: f64,
}

/// Left, right, top, bottom, in pixels.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Place(f64, f64, f64, f64);

impl Place {
    fn width(self) -> f64 {
        self.1 - self.0
    }

    fn middle(self) -> (f64, f64) {
        ((self.0 + self.1) / 2.0, (self.2 + self.3) / 2.0)
    }

    /// Whether the two share more than an edge.
    fn covers(self, other: Self) -> bool {
        let slack = 1.0;
        self.0 + slack < other.1
            && other.0 + slack < self.1
            && self.2 + slack < other.3
            && other.2 + slack < self.3
    }

    fn lies_in(self, outer: Self) -> bool {
        let slack = 1.5;
        self.0 >= outer.0 - slack
            && self.1 <= outer.1 + slack
            && self.2 >= outer.2 - slack
            && self.3 <= outer.3 + slack
    }
}

/// What a test is called, of which view it is, and what it looks at.
type Check = fn(&Found, &Document, &[&str]) -> Result<()>;
const CHECKS: [(&str, View, Check); 5] = [
    ("every_plot_is_drawn", WIDE, every_plot),
    ("the_plots_hold_the_data", WIDE, plots_hold_data),
    ("no_text_is_cut_or_covered", WIDE, texts_are_free),
    (
        "it_can_be_read_in_light_on_a_wide_screen",
        WIDE,
        readable_light,
    ),
    (
        "it_can_be_read_in_dark_on_a_narrow_screen",
        NARROW,
        readable_dark,
    ),
];

/// Runs everything that the filter wants.
pub fn run(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    let names = |result: &str| CHECKS.map(|(name, ..)| format!("page::{result}::{name}"));
    let Some(browser) = Browser::find() else {
        for name in RESULTS.iter().flat_map(|(result, _)| names(result)) {
            tally.skip(
                &name,
                "no Chromium is installed (`apt-get install chromium`)",
            );
        }
        return Ok(());
    };
    for (result, kinds) in RESULTS {
        if !names(result).iter().any(|name| tally.wants(name)) {
            continue;
        }
        let path = format!("perf/report/tests/data/{result}.json");
        let text = fs::read_to_string(workspace.root.join(&path))
            .with_context(|| format!("{path} cannot be read"))?;
        let document = Document::parse(&text)?;
        let views = [WIDE, NARROW].map(|view| look(&browser, &document, view));
        for (name, wanted, check) in CHECKS {
            let verdict = match &views[usize::from(wanted.dark)] {
                Ok(found) => check(found, &document, kinds).map_err(|error| format!("{error:#}")),
                Err(error) => Err(format!("{error:#}")),
            };
            tally.note(&format!("page::{result}::{name}"), verdict);
        }
    }
    Ok(())
}

/// Has a browser draw the page, and asks what it sees.
fn look(browser: &Browser, document: &Document, view: View) -> Result<Found> {
    let folder = tempfile::tempdir()?;
    let page = page::render(document, None);
    ensure!(page.contains(POLICY), "the page has another policy");
    let plain = folder.path().join("page.html");
    fs::write(&plain, &page)?;
    picture(browser, &plain, view)?;
    let page = page.replace(POLICY, LOOSER);
    let page = page.replace("</body>", &format!("<script>{PROBE}</script></body>"));
    let probed = folder.path().join("probed.html");
    fs::write(&probed, page)?;
    let document = browser.document(&probed, view)?;
    let found = document.split_once("<pre id=\"found\">");
    let found = found.and_then(|(_, rest)| rest.split_once("</pre>"));
    let (json, _) = found.context("the browser did not look at the page")?;
    let json = json
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    serde_json::from_str(&json).context("what the browser saw has an unknown form")
}

/// The page as it is, without what looks at it, is a picture with something on it.
fn picture(browser: &Browser, page: &Path, view: View) -> Result<()> {
    let file = page.with_extension("png");
    browser.picture(page, view, &file)?;
    let length = fs::metadata(&file)
        .context("the browser drew no picture")?
        .len();
    ensure!(
        length > PICTURE,
        "the picture has {length} bytes: nothing is on it"
    );
    Ok(())
}

fn every_plot(found: &Found, _: &Document, kinds: &[&str]) -> Result<()> {
    let drawn: Vec<_> = found.plots.iter().map(|plot| plot.kind.as_str()).collect();
    ensure!(drawn == kinds, "the plots are {drawn:?}, not {kinds:?}");
    ensure!(found.requests == 0, "the page loads something");
    for plot in &found.plots {
        let area = plot.place.width() * (plot.place.3 - plot.place.2);
        ensure!(area > 50_000.0, "{} has no room", plot.kind);
        ensure!(
            !plot.marks.is_empty() && !plot.texts.is_empty(),
            "{} is empty",
            plot.kind
        );
    }
    Ok(())
}

/// Every mark has the value of its row, and is where that value belongs.
fn plots_hold_data(found: &Found, document: &Document, _: &[&str]) -> Result<()> {
    for plot in &found.plots {
        for mark in &plot.marks {
            let row = document
                .results
                .get(mark.row)
                .context("a mark shows no row")?;
            ensure!(
                row.value == mark.value,
                "{} is drawn as {}, but is {}",
                row.name,
                mark.value,
                row.value
            );
            let lies = mark.place.lies_in(plot.place);
            ensure!(lies, "{} is drawn outside of its plot", row.name);
        }
        match plot.kind.as_str() {
            "throughput" => proportional(plot, |mark| mark.value, |mark| -mark.place.middle().1)?,
            "latency" => proportional(
                plot,
                |mark| mark.value.log10(),
                |mark| -mark.place.middle().1,
            )?,
            "cost" => bars(plot)?,
            _ => steps(plot)?,
        }
    }
    Ok(())
}

/// All marks lie where one linear scale puts them.
fn proportional(plot: &Plot, value: fn(&Mark) -> f64, place: fn(&Mark) -> f64) -> Result<()> {
    let order = |a: &&Mark, b: &&Mark| value(a).total_cmp(&value(b));
    let least = plot.marks.iter().min_by(order).context("no mark")?;
    let most = plot.marks.iter().max_by(order).context("no mark")?;
    let scale = (place(most) - place(least)) / (value(most) - value(least));
    ensure!(scale > 0.0, "the scale of {} is upside down", plot.kind);
    for mark in &plot.marks {
        let wanted = place(least) + scale * (value(mark) - value(least));
        let off = (place(mark) - wanted).abs();
        ensure!(off < 2.0, "a mark of {} is {off:.1} pixels off", plot.kind);
    }
    Ok(())
}

/// Bars are as long as their values, and the parts of one stand behind each other.
fn bars(plot: &Plot) -> Result<()> {
    let bars: Vec<&Mark> = plot
        .marks
        .iter()
        .filter(|mark| mark.kind == "rect")
        .collect();
    let longest = bars
        .iter()
        .max_by(|a, b| a.value.total_cmp(&b.value))
        .context("no bar")?;
    let scale = longest.place.width() / longest.value;
    for bar in &bars {
        let off = (bar.place.width() - scale * bar.value).abs();
        ensure!(
            off < 1.0,
            "a bar of {} is {off:.1} pixels too long or short",
            bar.group
        );
    }
    for pair in bars
        .windows(2)
        .filter(|pair| pair[0].group == pair[1].group)
    {
        let gap = (pair[1].place.0 - pair[0].place.1).abs();
        ensure!(
            gap < 1.0,
            "the parts of {} are {gap:.1} pixels apart",
            pair[0].group
        );
    }
    Ok(())
}

/// A bar goes from the value of the step before to its own.
fn steps(plot: &Plot) -> Result<()> {
    let first = plot.marks.first().context("no step")?;
    let (origin, scale) = (first.place.0, first.place.width() / first.value);
    for pair in plot.marks.windows(2) {
        let [before, now] = [pair[0].value, pair[1].value];
        let wanted = [before.min(now), before.max(now)].map(|value| origin + scale * value);
        let off = (pair[1].place.0 - wanted[0])
            .abs()
            .max((pair[1].place.1 - wanted[1]).abs());
        ensure!(off < 2.5, "step {} is {off:.1} pixels off", pair[1].group);
    }
    Ok(())
}

fn texts_are_free(found: &Found, _: &Document, _: &[&str]) -> Result<()> {
    for plot in &found.plots {
        for (index, text) in plot.texts.iter().enumerate() {
            let (kind, word) = (&plot.kind, &text.text);
            ensure!(text.place.width() > 0.0, "`{word}` of {kind} is not drawn");
            ensure!(
                text.place.lies_in(plot.place),
                "`{word}` of {kind} is cut off"
            );
            let covered = plot.texts[..index]
                .iter()
                .find(|other| text.place.covers(other.place));
            if let Some(other) = covered {
                let other = &other.text;
                anyhow::bail!("`{word}` and `{other}` of {kind} cover each other");
            }
        }
    }
    Ok(())
}

fn readable_light(found: &Found, _: &Document, _: &[&str]) -> Result<()> {
    readable(found, false)
}

fn readable_dark(found: &Found, _: &Document, _: &[&str]) -> Result<()> {
    readable(found, true)
}

fn readable(found: &Found, dark: bool) -> Result<()> {
    let first = found
        .paper
        .split(['(', ','])
        .nth(1)
        .and_then(|word| word.parse::<f64>().ok());
    let is_dark = first.context("the paper has no colour")? < 128.0;
    ensure!(is_dark == dark, "the paper is {}", found.paper);
    ensure!(
        found.width <= found.window,
        "the page is {} pixels wide in a window of {}",
        found.width,
        found.window
    );
    let (texts, marks) = (
        found
            .plots
            .iter()
            .flat_map(|plot| &plot.texts)
            .map(|text| text.contrast),
        found
            .plots
            .iter()
            .flat_map(|plot| &plot.marks)
            .map(|mark| mark.contrast),
    );
    let least = texts.chain(marks).fold(found.least_contrast, f64::min);
    ensure!(least >= CONTRAST, "the least contrast is {least:.2}");
    Ok(())
}
