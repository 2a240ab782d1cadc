//! Writes a made-up result of a plan to the standard output: what the tests of the page and the
//! tables are fed with. No figure in it was measured.
//!
//! ```text
//! cargo run -p spillway-report --example sample perf/plans/quick.toml > perf/report/tests/data/quick.json
//! ```

use std::{collections::BTreeMap, env, fs};

use anyhow::{Context, Result};
use spillway_plan::{Buffers, Case, Cases, Level, Method, Plan, Wait, source};
use spillway_report::{
    Better, Document, Environment, Measurement,
    collect::Collector,
    schema::{self, OtherSystem, PlanFile},
};
use spillway_wire::{
    Histogram, Quantity,
    frame::{self, Kind},
    message::{Begin, Latencies, Sample},
};

/// Numbers that look random and are always the same.
struct Random(u64);

impl Random {
    /// Between 0 and 1.
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// About 1, up to so much off.
    fn about(&mut self, spread: f64) -> f64 {
        1.0 + spread * (2.0 * self.next() - 1.0)
    }
}

fn main() -> Result<()> {
    let path = env::args()
        .nth(1)
        .context("name a plan, such as perf/plans/quick.toml")?;
    let text = fs::read_to_string(&path)?;
    let name = path
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .trim_end_matches(".toml");
    let plan = source::parse(name, &text)?;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut collector = Collector::new(&plan);
    for round in 0..plan.repetitions {
        for boot in plan.boots() {
            if boot.method == Method::Counted && round > 0 {
                continue;
            }
            let mut log = collector.boot(&boot)?;
            for line in lines(
                boot.cases.as_ref().context("a plan of cases")?,
                boot.method,
                &mut random,
            )? {
                log.line("bench-io", &line)?;
            }
            log.finish()?;
        }
    }
    let mut results = collector.results;
    if name == "quick" {
        results.extend(linux(&mut random)?);
        results.extend(sizes()?);
    }
    let document = Document {
        schema: schema::SCHEMA,
        environment: environment(&plan),
        results,
    };
    print!("{}", document.to_json()?);
    Ok(())
}

/// What the program would have said.
fn lines(cases: &Cases, method: Method, random: &mut Random) -> Result<Vec<String>> {
    let begin = Begin {
        program: "bench-io".into(),
        method,
        cpu: "QEMU TCG CPU version 2.5+".into(),
        plan: Some(Cases::checksum(&cases.encode()?)?),
    };
    let mut records = vec![(Kind::Begin, begin.to_string())];
    for case in &cases.cases {
        for _ in 0..case.samples {
            records.extend(region(case, random));
        }
    }
    records.push((Kind::End, "{}".into()));
    let lines = records
        .iter()
        .enumerate()
        .flat_map(|(number, (kind, text))| {
            frame::lines(*kind, number as u32, text).map(|line| line.to_string())
        });
    Ok(lines.collect())
}

/// Instructions in the application, the driver process and the kernel for an operation.
fn cost(case: &Case) -> [f64; 3] {
    let batch = f64::from(case.batch);
    let copied = if case.buffers == Buffers::Copied {
        640.0
    } else {
        0.0
    };
    let asleep = if case.wait == Wait::Interrupt {
        460.0 / batch
    } else {
        0.0
    };
    match case.level {
        Level::Sync => [88.0, 312.0, 1080.0 + copied + asleep],
        Level::Async => [
            52.0 + 40.0 / batch,
            92.0 + 160.0 / batch,
            138.0 + 1100.0 / batch + copied + asleep,
        ],
        Level::Shared => [
            46.0 + 60.0 / batch,
            71.0 + 110.0 / batch,
            520.0 / batch + asleep,
        ],
        Level::Integrated => [57.0 + 130.0 / batch, 0.0, asleep],
    }
}

fn region(case: &Case, random: &mut Random) -> Vec<(Kind, String)> {
    use Quantity as Q;
    let operations = u64::from(case.operations);
    let total = |each: f64| (each * operations as f64) as u64;
    let batch = f64::from(case.batch);
    let (calls, switches) = match case.level {
        Level::Sync => (3.0, 2.0),
        Level::Async => (3.0 / batch, 2.0 / batch),
        Level::Shared => (2.0 / batch, 2.0 / batch),
        Level::Integrated => (0.0, 0.0),
    };
    let [app, driver, kernel] = cost(case);
    let mut totals = vec![
        (Q::SystemCalls, total(calls)),
        (Q::AddressSpaceSwitches, total(switches)),
        (Q::WakeUps, total(switches)),
        (
            Q::BytesCopied,
            total(if case.buffers == Buffers::Copied {
                4096.0
            } else {
                0.0
            }),
        ),
        (Q::IotlbFlushes, 0),
    ];
    let interrupts = if case.wait == Wait::Interrupt {
        1.0 / batch
    } else {
        0.0
    };
    totals.push((Q::Interrupts, total(interrupts)));
    let mut records = Vec::new();
    if case.method == Method::Counted {
        totals.extend([
            (
                Q::Instructions,
                total((app + driver + kernel) * random.about(0.002)),
            ),
            (Q::Application, total(1.02 * app)),
            (Q::Driver, total(1.02 * driver)),
            (Q::Kernel, total(1.06 * kernel)),
            (Q::MmioWrites, total(2.0 / batch)),
            (Q::EmptyPolls, total(0.4 * random.next())),
        ]);
    } else {
        let depth = f64::from(case.queue_depth);
        let each = 1900.0 + 10.5 * (app + driver + kernel) + 33_000.0 / depth.powf(0.85);
        let each = each * random.about(0.06);
        totals.push((Q::Nanoseconds, total(each)));
        let mut histogram = Histogram::new();
        for _ in 0..operations {
            let tail = if random.next() < 0.004 {
                1.0 + 40.0 * random.next()
            } else {
                1.0
            };
            let latency = each * depth * 0.97 * random.about(0.12) * tail;
            histogram.record(latency as u64);
        }
        let latencies = Latencies::new(case.id, &histogram).map(|told| told.to_string());
        records.extend(latencies.map(|text| (Kind::Histogram, text)));
    }
    records.push((
        Kind::Case,
        Sample::new(case.id, operations, &totals, None).to_string(),
    ));
    records
}

/// Rows of another system, as `--vs linux` adds them.
fn linux(random: &mut Random) -> Result<Vec<Measurement>> {
    // How it waits, instructions at depth 1 and 32, operations in a second at depth 1, 4 and 32.
    let interfaces = [
        (
            "pread",
            "interrupt",
            [4830.0, 5030.0],
            [8_600, 12_000, 14_900],
        ),
        (
            "libaio",
            "interrupt",
            [6890.0, 5190.0],
            [8_700, 19_000, 38_300],
        ),
        (
            "io_uring",
            "interrupt",
            [6600.0, 4530.0],
            [8_900, 21_000, 42_300],
        ),
        (
            "io_uring_polled",
            "poll",
            [6140.0, 4090.0],
            [9_900, 23_500, 47_000],
        ),
        (
            "passthrough",
            "interrupt",
            [5140.0, 2840.0],
            [9_500, 27_000, 66_000],
        ),
        (
            "passthrough_polled",
            "poll",
            [5550.0, 2600.0],
            [11_000, 32_000, 82_000],
        ),
        (
            "user_driver",
            "poll",
            [119.0, 40.5],
            [24_000, 92_000, 259_000],
        ),
    ];
    let mut rows = Vec::new();
    for (interface, wait, instructions, iops) in interfaces {
        let counted = [1, 32].into_iter().zip(instructions);
        for (depth, each) in counted {
            let calls = if interface == "user_driver" {
                0.0
            } else {
                1.0 / f64::from(depth)
            };
            let mut row = |suffix: &str, unit: &str, value: f64| {
                let kind = (Method::Counted, Better::Lower);
                let samples = (0..5).map(|_| value * random.about(0.002)).collect();
                rows.push(linux_row(
                    (interface, wait, depth),
                    suffix,
                    unit,
                    kind,
                    samples,
                )?);
                anyhow::Ok(())
            };
            row("", "instructions", each)?;
            row("_system_calls", "calls", calls)?;
        }
        for (depth, each) in [1, 4, 32].into_iter().zip(iops.map(f64::from)) {
            let mut row = |suffix: &str, unit: &str, better, value: f64| {
                let kind = (Method::Timed, better);
                let samples = (0..5).map(|_| value * random.about(0.04)).collect();
                rows.push(linux_row(
                    (interface, wait, depth),
                    suffix,
                    unit,
                    kind,
                    samples,
                )?);
                anyhow::Ok(())
            };
            row("_iops", "iops", Better::Higher, each)?;
            let latency = 1e9 * f64::from(depth) / each;
            for (suffix, factor) in [("p50", 0.96), ("p90", 1.1), ("p99", 1.9), ("p99.9", 12.0)] {
                let suffix = format!("_latency_{suffix}");
                row(&suffix, "nanoseconds", Better::Lower, factor * latency)?;
            }
        }
    }
    Ok(rows)
}

fn linux_row(
    (interface, wait, depth): (&str, &str, u32),
    suffix: &str,
    unit: &str,
    kind: (Method, Better),
    samples: Vec<f64>,
) -> Result<Measurement> {
    let labels: BTreeMap<String, String> = [
        ("system", "linux"),
        ("level", interface),
        ("qd", &format!("{depth}")),
        ("device", "nvme"),
        ("backend", "null"),
        ("block_size", "4096"),
        ("reads", "100"),
        ("pattern", "random"),
        ("wait", wait),
        ("cores", "1"),
        ("iommu", "off"),
        ("buffers", "pinned"),
        ("kernel", "0.0"),
    ]
    .map(|(name, value)| (name.to_string(), value.to_string()))
    .into();
    let name = format!("linux/{interface}_qd{depth}{suffix}");
    Measurement::new(name, labels, unit, kind, samples)
}

/// The same small program at each level.
fn sizes() -> Result<Vec<Measurement>> {
    let mut rows = Vec::new();
    for (level, text, data, memory) in [
        ("sync", 41_000.0, 1_200.0, 196_608.0),
        ("async", 47_500.0, 1_900.0, 262_144.0),
        ("shared", 52_300.0, 2_400.0, 327_680.0),
        ("integrated", 88_100.0, 3_800.0, 458_752.0),
    ] {
        let labels: BTreeMap<_, _> = [("level".to_string(), level.to_string())].into();
        for (what, value) in [("text", text), ("data", data), ("memory", memory)] {
            let name = format!("size/{level}_{what}");
            let kind = (Method::Counted, Better::Lower);
            rows.push(Measurement::new(
                name,
                labels.clone(),
                "bytes",
                kind,
                vec![value],
            )?);
        }
    }
    Ok(rows)
}

fn environment(plan: &Plan) -> Environment {
    let line = |more: &str| {
        format!(
            "qemu-system-x86_64 -nodefaults -machine q35,kernel-irqchip=split -accel tcg -cpu max -smp 1 -m 512M -device nvme,drive=disk0{more}"
        )
    };
    let both = |counted: &str, timed: &str| {
        [
            (Method::Counted, counted.to_string()),
            (Method::Timed, timed.to_string()),
        ]
        .into()
    };
    Environment {
        profile: "release".into(),
        commit: "0000000000000000000000000000000000000000".into(),
        dirty: false,
        qemu_version: "10.0.2".into(),
        qemu_command_line: both(&line(" -icount shift=0,sleep=off"), &line("")),
        cpu: "a made-up processor".into(),
        accelerator: "tcg".into(),
        mitigations: "default".into(),
        seed: Some(plan.seed),
        image_hash: both("00", "01"),
        plan: Some(PlanFile {
            name: plan.name.clone(),
            text: plan.text.clone(),
        }),
        flags: vec![
            plan.name.clone(),
            "--cores=1".into(),
            "--memory=512M".into(),
        ],
        others: match plan.name.as_str() {
            "quick" => [(
                "linux".into(),
                OtherSystem {
                    notes: vec!["kernel: 0.0, a made-up one".into()],
                    qemu_command_line: both(&line(" -kernel vmlinuz"), &line(" -kernel vmlinuz")),
                },
            )]
            .into(),
            _ => BTreeMap::new(),
        },
    }
}
