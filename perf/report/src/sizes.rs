//! What the same small program takes at each level: rows `size/<level>_text`, `_data` and `_memory`.

use spillway_plan::Level;

use crate::Measurement;

/// The figures of one level.
#[derive(Clone, Debug, PartialEq)]
pub struct Sizes {
    /// The level.
    pub level: Level,
    /// Bytes of code.
    pub text: Option<f64>,
    /// Bytes of constants and data.
    pub data: Option<f64>,
    /// Bytes that it has when it runs.
    pub memory: Option<f64>,
    /// On what it ran, the same file each time.
    pub devices: Vec<String>,
}

/// Whether a row is one of these.
pub fn is_size(row: &Measurement) -> bool {
    row.name.starts_with("size/") && row.label("level").is_some()
}

/// The levels that have any.
pub fn of(results: &[Measurement]) -> Vec<Sizes> {
    let sizes = |level: &Level| {
        let rows = results
            .iter()
            .filter(|row| is_size(row) && row.label("level") == Some(level.name()));
        let rows: Vec<_> = rows.collect();
        let value = |what: &str| {
            let name = format!("size/{}_{what}", level.name());
            rows.iter()
                .find(|row| row.name == name)
                .map(|row| row.value)
        };
        let mut devices: Vec<String> = rows
            .iter()
            .filter_map(|row| Some(row.label("device")?.to_string()))
            .collect();
        devices.sort();
        devices.dedup();
        let sizes = Sizes {
            level: *level,
            text: value("text"),
            data: value("data"),
            memory: value("memory"),
            devices,
        };
        (!rows.is_empty()).then_some(sizes)
    };
    Level::ALL.iter().filter_map(sizes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_gathered_over_what_and_device() {
        let row = |name: &str, device: &str, value: u32| {
            let level = if name.contains("sync") {
                "sync"
            } else {
                "shared"
            };
            let json = format!(
                r#"{{"name":"size/{name}","unit":"bytes","method":"counted","better":"lower","samples":[{value}],"labels":{{"level":"{level}","device":"{device}"}}}}"#
            );
            Measurement::parse(&json).unwrap()
        };
        let rows = [
            row("sync_text", "ramdisk", 5),
            row("sync_memory", "nvme", 7),
            row("shared_data", "nvme", 1),
        ];
        let sizes = of(&rows);
        assert_eq!(sizes.len(), 2);
        assert_eq!(sizes[0].devices, ["nvme", "ramdisk"]);
        assert_eq!(
            (sizes[0].text, sizes[0].data, sizes[0].memory),
            (Some(5.0), None, Some(7.0))
        );
        assert_eq!(sizes[1].level, Level::Shared);
    }
}
