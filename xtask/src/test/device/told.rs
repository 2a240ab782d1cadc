//! What the log was told of requests that the IOMMU blocked: function, address and owner of each, but
//! of no more than some in a second, and how many there were besides.

use crate::log;

/// Test of the guest during which there is a storm of such requests.
pub const STORM: &str = "blocked_requests_come_in_a_storm";
/// How the kernel's lines begin.
const FAULT: &str = "blocked by the IOMMU: ";
const BESIDES: &str = "blocked by the IOMMU in the last second: ";
/// The most lines in a window of a second, which any second touches two of.
const MOST: usize = 10;

/// The lines so far.
#[derive(Default)]
pub struct Told {
    /// When, in seconds.
    times: Vec<f64>,
    /// One that does not say all.
    incomplete: Option<String>,
    /// Whether one was of a function that somebody has.
    is_owned: bool,
    besides: usize,
}

impl Told {
    /// Takes in a line of the log.
    pub fn note(&mut self, line: &str) {
        let Some(log::Line { seconds, text, .. }) = log::parse(line) else {
            return;
        };
        self.besides += usize::from(text.starts_with(BESIDES));
        if let Some(fault) = text.strip_prefix(FAULT) {
            self.times.push(seconds);
            self.is_owned |= fault.contains("; process ");
            if !is_complete(fault) {
                self.incomplete = Some(text.into());
            }
        }
    }

    /// Whether that is as it should be.
    pub fn verdict(&self) -> Result<(), String> {
        let in_a_second = |(index, start): (usize, &f64)| {
            let later = self.times[index..].iter();
            later.take_while(|&&time| time < start + 1.0).count()
        };
        let most = self.times.iter().enumerate().map(in_a_second).max();
        match (&self.incomplete, most) {
            (Some(line), _) => Err(format!("the log was told only: {line}")),
            (None, None) => Err("the log was told of nothing".into()),
            (None, Some(most)) if most > 2 * MOST => {
                Err(format!("the log was told of {most} in a second"))
            }
            (None, Some(most)) if most < MOST => {
                Err(format!("there was no storm: at most {most} in a second"))
            }
            _ if !self.is_owned => Err("the log was not told whose they were".into()),
            _ if self.besides == 0 => Err("the log was not told that there were more".into()),
            _ => Ok(()),
        }
    }
}

/// Whether it has a function, what that tried, why it may not, and whose the function is.
fn is_complete(fault: &str) -> bool {
    let parts = || {
        let (what, owner) = fault.split_once("; ")?;
        let (what, why) = what.split_once(": ")?;
        let (function, what) = what.split_once(" may not ")?;
        let owned = owner == "nobody's" || owner.strip_prefix("process ")?.parse::<u64>().is_ok();
        let is_function = function.split([':', '.']).count() == 4;
        let (verb, object) = what.split_once(' ')?;
        let named = match verb {
            "read" | "write" => object.starts_with("0x"),
            _ => object.starts_with("by entry "),
        };
        Some(owned && is_function && named && why.ends_with(')'))
    };
    parts().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(times: impl IntoIterator<Item = f64>, besides: bool) -> Told {
        let mut told = Told::default();
        for time in times {
            told.note(&format!(
                "[{time:12.6} c0 WARN ] blocked by the IOMMU: 0000:00:03.0 may not write 0x7000: \
                 nothing is pinned there for writing (0x5); process 7"
            ));
        }
        if besides {
            told.note("[    9.000000 c0 WARN ] blocked by the IOMMU in the last second: 3 or more besides");
        }
        told
    }

    #[test]
    fn a_storm_is_told_slowly() {
        let burst = |count| (0..count).map(|index| f64::from(index) * 0.001);
        assert_eq!(told(burst(10), true).verdict(), Ok(()));
        assert_eq!(told(burst(20), true).verdict(), Ok(()));
        for (wrong, word) in [
            (told(burst(21), true), "21 in a second"),
            (told(burst(9), true), "no storm"),
            (told(burst(10), false), "more"),
            (told([], true), "nothing"),
        ] {
            let verdict = wrong.verdict().unwrap_err();
            assert!(verdict.contains(word), "{verdict}");
        }
    }

    #[test]
    fn a_line_says_all() {
        let fault = "0000:00:03.0 may not read 0x7000: why (0x6); nobody's";
        assert!(is_complete(fault));
        assert!(is_complete(
            "0000:ff:1f.7 may not interrupt by entry 9: why (0x22); nobody's"
        ));
        for wrong in [
            "0000:00:03.0 may not read 0x7000: why (0x6)",
            "0000:00:03.0 may not read: why (0x6); process 7",
            "03.0 may not read 0x7000: why (0x6); process 7",
            "0000:00:03.0 may not read 0x7000: why (0x6); process x",
        ] {
            assert!(!is_complete(wrong), "{wrong}");
        }
    }
}
