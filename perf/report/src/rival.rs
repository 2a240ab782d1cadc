//! What a measuring program says on another system: the same records, but with names and labels of
//! its own, because no plan knows its interfaces.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use spillway_wire::{
    Histogram, Method,
    frame::Kind,
    message::{Begin, Latencies},
    reader::Reader,
};

use crate::{Better, Measurement, case::PERCENTILES, schema};

/// The end of the name of a row that is followed by its histogram.
const LATENCY: &str = "_latency";

/// Another system, over all its boots.
#[derive(Debug)]
pub struct Rival {
    /// The label that its rows must have.
    system: String,
    /// The latencies of each row that has some, of all boots together.
    latencies: BTreeMap<String, Histogram>,
}

/// What one boot says.
#[derive(Debug)]
pub struct Log<'a> {
    rival: &'a mut Rival,
    results: &'a mut Vec<Measurement>,
    method: Method,
    reader: Reader,
    /// The last row, to which a histogram belongs.
    last: Option<Measurement>,
}

impl Rival {
    /// A system that has said nothing yet.
    pub fn new(system: &str) -> Self {
        Self {
            system: system.into(),
            latencies: BTreeMap::new(),
        }
    }

    /// For the log of one boot, whose rows are added to others.
    pub fn boot<'a>(&'a mut self, method: Method, results: &'a mut Vec<Measurement>) -> Log<'a> {
        Log {
            rival: self,
            results,
            method,
            reader: Reader::default(),
            last: None,
        }
    }
}

impl Log<'_> {
    /// Takes a line of the log. Returns what came to be known, in a word.
    ///
    /// # Errors
    ///
    /// If a record is damaged, missing, or says what cannot be.
    pub fn line(&mut self, text: &str) -> Result<Option<String>> {
        let Some(record) = self.reader.line(text)? else {
            return Ok(None);
        };
        let told = match record.kind {
            Kind::Begin => self.begin(&serde_json::from_str(&record.text)?),
            Kind::Result => Measurement::parse(&record.text).and_then(|row| self.result(row)),
            Kind::Histogram => self.histogram(&serde_json::from_str(&record.text)?),
            Kind::Case => bail!("another system has no cases of the plan"),
            Kind::End => Ok(()),
        };
        told?;
        Ok(self.last.as_ref().map(|row| row.name.clone()))
    }

    fn begin(&self, begin: &Begin) -> Result<()> {
        ensure!(
            begin.method == self.method,
            "it begins a {} run, but this is a {} one",
            begin.method.name(),
            self.method.name()
        );
        Ok(())
    }

    fn result(&mut self, row: Measurement) -> Result<()> {
        let (name, method) = (&row.name, row.method.name());
        let wanted = self.method.name();
        ensure!(
            row.method == self.method,
            "{name} is {method}, but this is a {wanted} run"
        );
        let system = row.label("system").unwrap_or_default();
        ensure!(
            system == self.rival.system,
            "{name} is of the system `{system}`, not of {}",
            self.rival.system
        );
        schema::add(self.results, row.clone())?;
        self.last = Some(row);
        Ok(())
    }

    fn histogram(&mut self, told: &Latencies) -> Result<()> {
        let row = self.last.as_ref();
        let row = row.filter(|row| row.name.ends_with(LATENCY));
        let row = row.context("a histogram must follow the row of its mean")?;
        let histogram = told.histogram().with_context(|| {
            format!(
                "{} comes with latencies that contradict themselves",
                row.name
            )
        })?;
        let all = self.rival.latencies.entry(row.name.clone()).or_default();
        all.merge(&histogram);
        let of_mean = self.results.iter_mut();
        if let Some(mean) = of_mean.rev().find(|result| result.is_same_quantity(row)) {
            mean.histogram = schema::buckets(all);
        }
        for (suffix, part) in PERCENTILES {
            let of = |histogram: &Histogram| histogram.quantile(part).unwrap_or(0) as f64;
            let name = format!("{}_{suffix}", row.name);
            let kind = (self.method, Better::Lower);
            let sample = vec![of(&histogram)];
            let new = Measurement::new(name, row.labels.clone(), &row.unit, kind, sample)?;
            // The percentile of everything is not the median of the percentiles.
            schema::add(self.results, new)?.set_value(of(all));
        }
        Ok(())
    }

    /// What is missing when the log ends.
    ///
    /// # Errors
    ///
    /// If the program did not say that it is done, or has reported no result.
    pub fn finish(self) -> Result<()> {
        self.reader.finish()?;
        ensure!(self.last.is_some(), "it reported no result");
        Ok(())
    }
}
