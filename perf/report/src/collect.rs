//! From the log of a machine to rows: the records of every program on it, put together, checked
//! against the plan, and given names and labels.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use spillway_plan::{Boot, Cases, Level, Method, Plan};
use spillway_wire::{
    Histogram, Quantity,
    frame::Kind,
    message::{Begin, Latencies, Sample},
    reader::{Reader, Record},
};

use crate::{
    Measurement,
    case::{PERCENTILES, What},
    places::Places,
    schema,
};

/// The rows of a whole plan, over all its boots.
pub struct Collector<'a> {
    plan: &'a Plan,
    /// What was found so far.
    pub results: Vec<Measurement>,
    /// The processor, as the machine itself named it.
    pub cpu: Option<String>,
    /// The latencies of a case, of all repetitions together.
    latencies: BTreeMap<u32, Histogram>,
}

/// What one boot says.
pub struct Log<'a, 'b> {
    collector: &'b mut Collector<'a>,
    method: Method,
    /// What the program must have been given.
    checksum: Option<u32>,
    /// The cases that have not reported yet.
    awaited: BTreeSet<u32>,
    expected: BTreeSet<u32>,
    programs: BTreeMap<String, Reader>,
    figures: usize,
    /// Regions of which somebody else may know more.
    regions: Vec<Region>,
}

/// A measured region with a number.
struct Region {
    number: u64,
    case: u32,
    operations: u64,
    /// Instructions in vain: of looks, and of idling.
    empty: u64,
    idle: u64,
}

impl<'a> Collector<'a> {
    /// Without rows yet.
    pub fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            results: Vec::new(),
            cpu: None,
            latencies: BTreeMap::new(),
        }
    }

    /// For the log of one boot of the plan.
    pub fn boot<'b>(&'b mut self, boot: &Boot) -> Result<Log<'a, 'b>> {
        let checksum = match &boot.cases {
            Some(cases) => Some(Cases::checksum(&cases.encode()?)?),
            None => None,
        };
        let cases = boot.cases.iter().flat_map(|cases| &cases.cases);
        let expected: BTreeSet<u32> = cases.map(|case| case.id).collect();
        Ok(Log {
            collector: self,
            method: boot.method,
            checksum,
            awaited: expected.clone(),
            expected,
            programs: BTreeMap::new(),
            figures: 0,
            regions: Vec::new(),
        })
    }

    fn sample(&mut self, id: u32, sample: &Sample) -> Result<()> {
        ensure!(
            sample.operations > 0,
            "case {id} reports a region without operations"
        );
        ensure!(
            !sample.totals.is_empty(),
            "case {id} reports a region without totals"
        );
        for (name, total) in &sample.totals {
            let quantity = Quantity::from_name(name).with_context(|| {
                format!("case {id} reports `{name}`, which is no quantity of spillway-wire")
            })?;
            let (total, operations) = (*total as f64, sample.operations as f64);
            match quantity {
                Quantity::Nanoseconds => {
                    ensure!(total > 0.0, "case {id} reports a region that took no time");
                    self.add(id, What::Throughput, operations * 1e9 / total)?
                }
                _ => self.add(id, What::PerOperation(quantity), total / operations)?,
            };
        }
        Ok(())
    }

    fn latencies(&mut self, id: u32, told: &Latencies) -> Result<()> {
        let histogram = told
            .histogram()
            .with_context(|| format!("case {id} reports latencies that contradict themselves"))?;
        let all = self.latencies.entry(id).or_default();
        all.merge(&histogram);
        let all = all.clone();
        let mean = told.sum as f64 / histogram.len() as f64;
        self.add(id, What::Latency, mean)?.histogram = schema::buckets(&all);
        for (index, (_, part)) in PERCENTILES.into_iter().enumerate() {
            let of = |histogram: &Histogram| histogram.quantile(part).unwrap_or(0) as f64;
            // The percentile of everything is not the median of the percentiles.
            let row = self.add(id, What::Percentile(index), of(&histogram))?;
            row.set_value(of(&all));
        }
        Ok(())
    }

    fn add(&mut self, id: u32, what: What, sample: f64) -> Result<&mut Measurement> {
        let (case, labels) = self
            .plan
            .case(id)
            .with_context(|| format!("the plan has no case {id}"))?;
        let name = format!(
            "levels/{}_qd{}{}",
            case.level.name(),
            case.queue_depth,
            what.suffix()
        );
        let kind = (case.method, what.better());
        let row = Measurement::new(name, labels, what.unit(), kind, vec![sample])?;
        schema::add(&mut self.results, row)
    }
}

impl Log<'_, '_> {
    /// Takes a line of the log, by who wrote it and what. Returns what came to be known, in a word.
    pub fn line(&mut self, source: &str, text: &str) -> Result<Option<String>> {
        // A program that says nothing of this kind has no reader.
        if !text.starts_with('@') && !self.programs.contains_key(source) {
            return Ok(None);
        }
        let reader = self.programs.entry(source.into()).or_default();
        let record = reader
            .line(text)
            .with_context(|| format!("{source} cannot be understood: {text}"))?;
        let Some(record) = record else {
            return Ok(None);
        };
        let told = self.record(&record);
        told.with_context(|| format!("{source} reported nonsense: {text}"))
    }

    fn record(&mut self, record: &Record) -> Result<Option<String>> {
        match record.kind {
            Kind::Begin => self.begin(&serde_json::from_str(&record.text)?)?,
            Kind::End => {}
            Kind::Result => {
                let row = Measurement::parse(&record.text)?;
                ensure!(
                    row.method == self.method,
                    "it is {}, but this is a {} run",
                    row.method.name(),
                    self.method.name()
                );
                self.figures += 1;
                let name = row.name.clone();
                schema::add(&mut self.collector.results, row)?;
                return Ok(Some(name));
            }
            Kind::Case => {
                let sample: Sample = serde_json::from_str(&record.text)?;
                let name = self.case(sample.case)?;
                self.collector.sample(sample.case, &sample)?;
                self.note_region(&sample);
                self.awaited.remove(&sample.case);
                return Ok(Some(name));
            }
            Kind::Histogram => {
                let told: Latencies = serde_json::from_str(&record.text)?;
                let name = self.case(told.case)?;
                ensure!(
                    self.method == Method::Timed,
                    "a counted run has no latencies"
                );
                self.collector.latencies(told.case, &told)?;
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    fn note_region(&mut self, sample: &Sample) {
        let total = |quantity: Quantity| sample.totals.get(quantity.name()).copied().unwrap_or(0);
        if let Some(number) = sample.region {
            self.regions.push(Region {
                number,
                case: sample.case,
                operations: sample.operations,
                empty: total(Quantity::EmptyPollInstructions),
                idle: total(Quantity::IdleInstructions),
            });
        }
    }

    /// Takes in where the instructions of regions went. What was done in vain is left out where it was
    /// done: looks by whoever has the driver, idling by the kernel.
    pub fn places(&mut self, places: &Places) -> Result<()> {
        for region in core::mem::take(&mut self.regions) {
            let place = places
                .get(&region.number)
                .with_context(|| format!("nobody knows where region {} went", region.number))?;
            let plan = self.collector.plan;
            let (case, _) = plan
                .case(region.case)
                .context("the plan has no such case")?;
            let (mut app, mut driver) = (place.app, place.others);
            let looker = match case.level {
                Level::Integrated => &mut app,
                _ => &mut driver,
            };
            *looker = looker.saturating_sub(region.empty);
            let rows = [
                (Quantity::Application, app),
                (Quantity::Driver, driver),
                (Quantity::Kernel, place.kernel.saturating_sub(region.idle)),
                (Quantity::MmioWrites, place.mmio_writes),
                (Quantity::IotlbFlushes, place.iotlb_flushes),
            ];
            for (quantity, total) in rows {
                let sample = total as f64 / region.operations as f64;
                let what = What::PerOperation(quantity);
                self.collector.add(region.case, what, sample)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, begin: &Begin) -> Result<()> {
        ensure!(
            begin.method == self.method,
            "it begins a {} run, but this is a {} one",
            begin.method.name(),
            self.method.name()
        );
        if let (Some(wanted), Some(found)) = (self.checksum, begin.plan)
            && wanted != found
        {
            bail!("it was given another list of cases than this plan makes; make the image again");
        }
        if !begin.cpu.is_empty() {
            self.collector.cpu = Some(begin.cpu.clone());
        }
        Ok(())
    }

    /// Sees that a case belongs to this boot, and names it.
    fn case(&mut self, id: u32) -> Result<String> {
        let known = self.expected.contains(&id);
        ensure!(known, "this boot has no case {id}");
        self.figures += 1;
        let (case, _) = self
            .collector
            .plan
            .case(id)
            .context("the plan has no such case")?;
        Ok(format!(
            "{} at depth {}",
            case.level.name(),
            case.queue_depth
        ))
    }

    /// Whether every program that began to report has said that it is done, and there is one.
    pub fn has_ended(&self) -> bool {
        !self.programs.is_empty() && self.programs.values().all(Reader::has_ended)
    }

    /// What is missing when the log ends.
    pub fn finish(self) -> Result<()> {
        for (source, reader) in &self.programs {
            reader
                .finish()
                .with_context(|| format!("{source} did not report to the end"))?;
        }
        if let Some(id) = self.awaited.first()
            && let Some((case, _)) = self.collector.plan.case(*id)
        {
            bail!(
                "nobody reported case {id}, level {} at depth {}, nor {} others",
                case.level.name(),
                case.queue_depth,
                self.awaited.len() - 1
            );
        }
        ensure!(self.figures > 0, "nobody reported a result");
        Ok(())
    }
}
