//! What the manifest says: which driver for which device.
//!
//! | argument | meaning | if absent |
//! |---|---|---|
//! | `NAME=DEVICE PROGRAM ARGUMENT…` | the program that drives a device, and its arguments; what it serves is reached through the manager's service NAME, which is in `provides` | – |
//! | `memory=MEBIBYTES` | what each driver may have | 48 |
//! | `restarts=NUMBER` | how often a driver that died is started again within a minute | 5 |
//!
//! A DEVICE is named as in `devices` of a manifest: `class:010802`, `id:1234:11e8`,
//! `pci:0000:00:03.0`; or it is `none`, for a server that has no device. The program is a module of
//! the boot image, in `modules`.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

/// A device and its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// What the service is called, here and for the driver, and the device for the driver.
    pub name: String,
    /// The device in the table of devices, if there is to be one.
    pub device: Option<String>,
    /// The program, as a module.
    pub program: String,
    /// What the program is told.
    pub arguments: Vec<String>,
}

/// Everything that the arguments say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// One for each driver.
    pub matches: Vec<Match>,
    /// Bytes that each driver may have.
    pub memory: u64,
    /// How often each is started again within a minute.
    pub restarts: u32,
}

impl Settings {
    /// Reads the arguments; a sentence about the first that is wrong.
    ///
    /// # Errors
    ///
    /// That sentence.
    pub fn parse<'a>(arguments: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut settings = Self {
            matches: Vec::new(),
            memory: 48 << 20,
            restarts: 5,
        };
        for argument in arguments {
            let (key, value) = argument
                .split_once('=')
                .ok_or_else(|| format!("`{argument}`: write NAME=DEVICE PROGRAM ARGUMENT…"))?;
            let number = || {
                let number = value.parse::<u32>();
                number.map_err(|_| format!("`{argument}`: `{value}` is no number"))
            };
            match key {
                "memory" => settings.memory = u64::from(number()?) << 20,
                "restarts" => settings.restarts = number()?,
                name => settings.add(name, value)?,
            }
        }
        if settings.matches.is_empty() {
            return Err("no driver is named: write NAME=DEVICE PROGRAM ARGUMENT…".into());
        }
        Ok(settings)
    }

    fn add(&mut self, name: &str, value: &str) -> Result<(), String> {
        if self.matches.iter().any(|other| other.name == name) {
            return Err(format!(
                "`{name}` is named twice; one service has one driver"
            ));
        }
        let mut words = value.split_whitespace().map(ToString::to_string);
        let (Some(device), Some(program)) = (words.next(), words.next()) else {
            return Err(format!(
                "`{name}={value}`: write NAME=DEVICE PROGRAM ARGUMENT…"
            ));
        };
        self.matches.push(Match {
            name: name.into(),
            device: Some(device).filter(|device| device != "none"),
            program,
            arguments: words.collect(),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn parse(arguments: &[&str]) -> Result<Settings, String> {
        Settings::parse(arguments.iter().copied())
    }

    #[test]
    fn matches_and_numbers_are_read_in_any_order() {
        let disk = "disk=class:010802 blk-server wait=poll  range=0:1:0:0:rw";
        let edu = "calculator=id:1234:11e8 edu";
        let settings = parse(&["restarts=9", disk, "memory=2", edu]).unwrap();
        assert_eq!((settings.memory, settings.restarts), (2 << 20, 9));
        let expected = Match {
            name: "disk".into(),
            device: Some("class:010802".into()),
            program: "blk-server".into(),
            arguments: vec!["wait=poll".into(), "range=0:1:0:0:rw".into()],
        };
        assert_eq!(settings.matches[0], expected);
        assert_eq!(settings.matches[1].arguments, Vec::<String>::new());
        assert_eq!(
            parse(&["ram=none ramdisk"]).unwrap().matches[0].device,
            None
        );
        let settings = parse(&[disk]).unwrap();
        assert_eq!((settings.memory, settings.restarts), (48 << 20, 5));
    }

    #[test]
    fn refusals_say_what_would_be_right() {
        let disk = "disk=class:010802 blk-server";
        for (arguments, says) in [
            (&[][..], "no driver"),
            (&["restarts=3"], "no driver"),
            (&["disk"], "NAME=DEVICE"),
            (&["disk=class:010802"], "NAME=DEVICE"),
            (&[disk, disk], "twice"),
            (&[disk, "memory=much"], "no number"),
            (&[disk, "restarts=-1"], "no number"),
        ] {
            let refused = parse(arguments).unwrap_err();
            assert!(refused.contains(says), "{arguments:?}: {refused}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(arguments in prop::collection::vec(".{0,40}", 0..5)) {
            let _ = Settings::parse(arguments.iter().map(String::as_str));
        }
    }
}
