//! Plans as people write them: those that ship, and those that are wrong.
#![cfg(feature = "toml")]

use std::{collections::BTreeSet, fs, path::Path};

use proptest::prelude::*;
use spillway_plan::{
    Backend, Case, Cases, DecodeError, Device, Level, MAGIC, Method, Plan, Topology, VERSION,
    Workload, source,
};

fn plan(text: &str) -> Plan {
    source::parse("test", &format!("about = \"a test\"\n{text}")).unwrap()
}

fn cases(text: &str) -> Vec<Case> {
    match plan(text).workload {
        Workload::Levels { cases, .. } => cases.into_iter().map(|(case, _)| case).collect(),
        Workload::Program { .. } => panic!("no cases"),
    }
}

/// The sentence by which a plan is refused.
fn refusal(text: &str) -> String {
    match source::parse("test", &format!("about = \"a test\"\n{text}")) {
        Ok(_) => "accepted".into(),
        Err(invalid) => invalid.0,
    }
}

fn sweep_refusal(keys: &str) -> String {
    refusal(&format!("[[sweep]]\n{keys}"))
}

#[test]
fn the_plans_that_ship_are_possible() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plans");
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_string();
        let plan = source::parse(&name, &fs::read_to_string(&path).unwrap());
        let plan = plan.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(plan.boots().iter().all(|boot| {
            boot.cases
                .as_ref()
                .is_none_or(|cases| cases.encode().is_ok())
        }));
        names.insert(name);
    }
    for name in [
        "quick", "full", "kernel", "ipc", "nvme", "latency", "ablation",
    ] {
        assert!(names.contains(name), "{name}");
    }
}

#[test]
fn a_sweep_is_every_combination() {
    let found = cases(
        "[[sweep]]\nlevel = [\"async\", \"shared\"]\nqueue_depth = [1, 32]\nmethod = \"counted\"\nblock_size = [\"4 KiB\", 512]\n",
    );
    assert_eq!(found.len(), 8);
    let ids: Vec<_> = found.iter().map(|case| case.id).collect();
    assert_eq!(ids, (0..8).collect::<Vec<_>>());
    assert_eq!(
        cases("[[sweep]]\nlevel = \"async\"").len(),
        2,
        "counted and timed"
    );
}

#[test]
fn depth_is_threads_at_level_sync_and_batches_follow_the_depth() {
    let found = cases(
        "[[sweep]]\nlevel = [\"sync\", \"async\"]\nqueue_depth = [1, 32]\nbatch = [8, 64]\nmethod = \"counted\"",
    );
    let shape = |case: &Case| (case.level, case.queue_depth, case.threads, case.batch);
    let shapes: Vec<_> = found.iter().map(shape).collect();
    assert_eq!(
        shapes,
        [
            (Level::Sync, 1, 1, 1),
            (Level::Sync, 32, 32, 1),
            (Level::Async, 1, 1, 1),
            (Level::Async, 32, 1, 8),
            (Level::Async, 32, 1, 32),
        ]
    );
}

#[test]
fn boots_have_what_a_machine_can_have_once() {
    let plan = plan(
        "[[sweep]]\nlevel = [\"sync\", \"integrated\"]\nqueue_depth = [1, 32]\n[[sweep]]\nlevel = \"shared\"\nmethod = \"timed\"\ntopology = \"split-core\"\nbackend = \"file\"\nverify = true",
    );
    let boots = plan.boots();
    let shape: Vec<_> = boots
        .iter()
        .map(|boot| {
            (
                boot.method,
                boot.manifest.as_str(),
                boot.cores,
                boot.cases.as_ref().unwrap().cases.len(),
            )
        })
        .collect();
    assert_eq!(
        shape,
        [
            (
                Method::Counted,
                "manifests/bench-io-served-same-core.toml",
                Some(1),
                2
            ),
            (
                Method::Counted,
                "manifests/bench-io-integrated-same-core.toml",
                Some(1),
                2
            ),
            (
                Method::Timed,
                "manifests/bench-io-served-same-core.toml",
                Some(1),
                2
            ),
            (
                Method::Timed,
                "manifests/bench-io-served-split-core.toml",
                Some(2),
                1
            ),
            (
                Method::Timed,
                "manifests/bench-io-integrated-same-core.toml",
                Some(1),
                2
            ),
        ]
    );
    assert_eq!(boots[3].backend, Some(Backend::File));
    for word in [
        ("{wait}", "poll"),
        ("{process}", "served"),
        ("{disk}", "device=disk"),
    ] {
        assert!(boots[3].words.contains(&word), "{word:?}");
    }
    let (case, labels) = plan
        .case(boots[3].cases.as_ref().unwrap().cases[0].id)
        .unwrap();
    assert_eq!(case.topology, Topology::SplitCore);
    assert_eq!(
        (
            labels["level"].as_str(),
            labels["cores"].as_str(),
            labels["verify"].as_str()
        ),
        ("shared", "2", "on")
    );
    assert_eq!(plan.case(1000), None);
    let verifying: Vec<_> = boots.iter().map(|boot| boot.only_verifies()).collect();
    assert_eq!(verifying, [false, false, false, true, false]);
}

#[test]
fn a_plan_of_cases_may_boot_programs_besides() {
    let mut plan = plan(
        "[[sweep]]\nlevel = \"sync\"\nmethod = \"counted\"\n[[boot]]\nmethod = \"counted\"\nprogram = \"small\"\nmanifest = \"m.toml\"\nbackend = \"null\"",
    );
    let boots = plan.boots();
    let names: Vec<_> = boots.iter().map(|boot| boot.program.as_str()).collect();
    assert_eq!(names, ["small", "bench-io"]);
    assert_eq!(boots[0].manifest, "m.toml");
    assert!(boots[0].cases.is_none() && !boots[0].only_verifies());
    // Whoever wants one level only wants nothing besides.
    plan.retain(&[Level::Sync], &[]).unwrap();
    assert_eq!(plan.boots().len(), 1);
}

#[test]
fn levels_and_devices_can_be_chosen() {
    let mut plan = plan("[[sweep]]\nlevel = [\"sync\", \"shared\"]");
    let error = plan.clone().retain(&[Level::Async], &[]).unwrap_err();
    assert_eq!(
        error.0,
        "plan `test` has no case at level async; it has \"sync\" or \"shared\""
    );
    let error = plan.clone().retain(&[], &[Device::RamDisk]).unwrap_err();
    assert!(error.0.contains("it has \"nvme\""), "{error}");
    plan.retain(&[Level::Shared], &[Device::Nvme]).unwrap();
    assert_eq!(plan.boots().len(), 2);
    let mut program =
        self::plan("kind = \"program\"\nprogram = \"p\"\n[[boot]]\nmethod = \"timed\"");
    assert!(program.retain(&[], &[]).is_ok());
    assert!(
        program
            .retain(&[Level::Sync], &[])
            .unwrap_err()
            .0
            .contains("leave them out")
    );
}

#[test]
fn a_program_brings_its_own_workload() {
    let plan = plan(
        "kind = \"program\"\nprogram = \"bench-x\"\n[[boot]]\nmethod = \"counted\"\niommu = false\nbackend = \"null\"",
    );
    let boot = &plan.boots()[0];
    assert_eq!(boot.manifest, "manifests/bench-x.toml");
    assert_eq!(
        (boot.iommu, boot.backend, boot.cases.is_none()),
        (Some(false), Some(Backend::Null), true)
    );
}

#[test]
fn what_is_wrong_is_refused_by_a_sentence_that_says_what_is_right() {
    for (keys, says) in [
        (
            "level = \"asynk\"",
            "`level` is \"asynk\"; write \"sync\", \"async\", \"shared\" or \"integrated\"",
        ),
        ("level = []", "`level` is an empty list"),
        ("queue_depth = 1", "names no `level`"),
        ("level = \"sync\"\ndepth = 1", "unknown field `depth`"),
        (
            "level = \"async\"\nqueue_depth = 0",
            "`queue_depth` is 0; write 1 to 1024",
        ),
        ("level = \"async\"\nqueue_depth = 1025", "write 1 to 1024"),
        (
            "level = \"async\"\nqueue_depth = \"deep\"",
            "a whole number such as 32",
        ),
        (
            "level = \"async\"\nqueue_depth = -1",
            "a whole number such as 32",
        ),
        (
            "level = \"async\"\nblock_size = \"1 KB\"",
            "a size such as \"4 KiB\"",
        ),
        ("level = \"async\"\nblock_size = 1000", "a multiple of them"),
        (
            "level = \"async\"\nblock_size = \"2 MiB\"",
            "write 512 to 1048576",
        ),
        ("level = \"async\"\nreads = 101", "write 0 to 100"),
        ("level = \"async\"\nbatch = 0", "`batch` is 0"),
        (
            "level = \"async\"\nrate = 0\nmethod = \"timed\"",
            "`rate` is 0",
        ),
        ("level = \"async\"\niommu = \"on\"", "write true or false"),
        ("level = \"async\"\noperations = 0", "`operations` is 0"),
        ("level = \"async\"\nsamples = 0", "`samples` is 0"),
        ("level = \"sync\"\nthreads = 2", "leave `threads` out"),
        (
            "level = \"async\"\nqueue_depth = 5\nthreads = 2",
            "a multiple of the threads",
        ),
        (
            "level = \"async\"\nthreads = 129\nqueue_depth = 129",
            "`threads` is 129",
        ),
        (
            "level = \"integrated\"\nbuffers = \"copied\"",
            "level integrated copies no data",
        ),
        (
            "level = \"shared\"\nbuffers = \"copied\"",
            "level shared copies no data",
        ),
        (
            "level = \"integrated\"\ndevice = \"ramdisk\"",
            "belongs to the driver process",
        ),
        (
            "level = \"sync\"\ndevice = \"ramdisk\"\nmethod = \"timed\"\nbackend = \"file\"",
            "a ramdisk has no medium",
        ),
        (
            "level = \"integrated\"\ntopology = \"split-core\"\nmethod = \"timed\"",
            "one process",
        ),
        (
            "level = \"shared\"\ntopology = \"split-core\"",
            "a counted run has one core",
        ),
        ("level = \"shared\"\nbackend = \"file\"", "without a medium"),
        ("level = \"shared\"\nrate = 5", "a counted run has not"),
        (
            "level = \"shared\"\nmethod = \"timed\"\nverify = true",
            "write `backend = \"file\"`",
        ),
        (
            "level = \"shared\"\nmethod = \"modelled\"",
            "\"counted\" or \"timed\"",
        ),
        (
            "level = \"shared\"\nstep = \"1 x\"\nqueue_depth = [1, 2]",
            "several cases of one method",
        ),
    ] {
        let found = sweep_refusal(keys);
        assert!(found.contains(says), "{keys}\n{found}");
    }
    for (text, says) in [
        ("", "the plan has 0 cases"),
        ("repetitions = 0", "`repetitions` is 0; write 1 to 1000"),
        ("repetitions = 1001", "write 1 to 1000"),
        ("colour = 1", "unknown field `colour`"),
        ("kind = \"both\"", "unknown variant `both`"),
        ("[[boot]]\nmethod = \"timed\"", "the plan has 0 cases"),
        (
            "[[sweep]]\nlevel = \"sync\"\n[[boot]]\nmethod = \"timed\"",
            "names no program",
        ),
        ("kind = \"program\"\nprogram = \"p\"", "boots nothing"),
        (
            "kind = \"program\"\n[[boot]]\nmethod = \"timed\"",
            "names no program",
        ),
        (
            "kind = \"program\"\nprogram = \"p\"\n[[sweep]]\nlevel = \"sync\"",
            "has no [[sweep]]",
        ),
        (
            "kind = \"program\"\nprogram = \"p\"\n[[boot]]\nmethod = \"slow\"",
            "\"counted\" or \"timed\"",
        ),
        (
            "kind = \"program\"\nprogram = \"p\"\n[[boot]]\nmethod = [\"counted\", \"timed\"]",
            "one method",
        ),
        (
            "kind = \"program\"\nprogram = \"p\"\n[[boot]]\nmethod = \"timed\"\nbackend = \"file\"",
            "--disk",
        ),
    ] {
        let found = refusal(text);
        assert!(found.contains(says), "{text}\n{found}");
    }
    assert!(
        source::parse("test", "")
            .unwrap_err()
            .0
            .contains("missing field `about`")
    );
}

#[test]
fn the_most_of_everything_is_accepted() {
    let found = cases(
        "repetitions = 1000\n[[sweep]]\nlevel = \"async\"\nmethod = \"timed\"\nqueue_depth = 1024\nthreads = 128\nblock_size = \"1 MiB\"\nrate = 100_000_000\noperations = 100_000_000\nsamples = 1000",
    );
    assert_eq!(found[0].batch, 8);
}

#[test]
fn too_many_cases_are_refused() {
    let list = |count: u32| {
        let numbers: Vec<_> = (1..=count).map(|number| number.to_string()).collect();
        format!(
            "[[sweep]]\nlevel = \"async\"\nmethod = [\"counted\", \"timed\"]\nreads = [0, 1]\nqueue_depth = [{}]",
            numbers.join(",")
        )
    };
    assert_eq!(cases(&list(1024)).len(), 4096);
    let more = list(1024) + "\n[[sweep]]\nlevel = \"shared\"\nmethod = \"timed\"";
    assert!(refusal(&more).contains("4097 cases; write 1 to 4096"));
}

fn list() -> Cases {
    let text = "[[sweep]]\nlevel = [\"sync\", \"integrated\"]\nqueue_depth = [1, 32]\n[[sweep]]\nlevel = \"async\"\nrate = 7\nmethod = \"timed\"";
    Cases {
        seed: 7,
        cases: cases(text),
    }
}

#[test]
fn the_guest_reads_what_the_host_wrote() {
    let mut bytes = list().encode().unwrap();
    let sum = Cases::checksum(&bytes).unwrap();
    assert_eq!(Cases::decode(&bytes), Ok(list()));
    // A module is filled up to a page.
    bytes.resize(bytes.len() + 100, 0);
    assert_eq!(Cases::decode(&bytes), Ok(list()));
    assert_eq!(Cases::checksum(&bytes), Ok(sum));
}

#[test]
fn a_damaged_list_is_refused() {
    let good = list().encode().unwrap();
    let changed = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        Cases::decode(&bytes)
    };
    assert_eq!(changed(0, 0), Err(DecodeError::Magic));
    assert_eq!(changed(4, 9), Err(DecodeError::Version(9)));
    assert_eq!(changed(11, 0xff), Err(DecodeError::Length));
    assert_eq!(changed(13, 0xff), Err(DecodeError::Malformed));
    assert_eq!(
        Cases::decode(&good[..good.len() - 1]),
        Err(DecodeError::Length)
    );
    assert_eq!(Cases::decode(&[]), Err(DecodeError::Magic));
    let mut bytes: Vec<u8> = [MAGIC, VERSION, 2]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect();
    bytes.extend([0, 0]);
    assert!(matches!(
        Cases::decode(&bytes),
        Err(DecodeError::Invalid(_))
    ));
}

proptest! {
    #[test]
    fn any_bytes_are_survived(at in 0..300usize, value: u8, length in 0..400usize) {
        let mut bytes = list().encode().unwrap();
        let at = at % bytes.len();
        bytes[at] = value;
        bytes.truncate(length);
        let _ = Cases::decode(&bytes);
    }

    #[test]
    fn any_text_is_survived(text in ".{0,200}") {
        let _ = source::parse("test", &text);
    }
}
