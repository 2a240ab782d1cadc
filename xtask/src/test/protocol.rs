//! What guest test programs say, and what follows from it.
//!
//! ```text
//! tests 3
//! test frames_are_zeroed ... ok
//! test smap_stops_the_kernel ... FAILED: it read the byte
//! tests done
//! ```
//!
//! The number comes first, so that a test that never reports is missed.

use crate::log;

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// So many tests will report.
    Planned(usize),
    /// A test has run; with the reason if it failed.
    Result(String, Result<(), String>),
    /// There are no more.
    Done,
}

/// Reads a line of the guest's log.
pub fn parse(line: &str) -> Option<Event> {
    let text = log::parse(line)?.text.trim_end();
    if text == "tests done" {
        return Some(Event::Done);
    }
    if let Some(count) = text.strip_prefix("tests ") {
        return count.parse().ok().map(Event::Planned);
    }
    let (name, verdict) = text.strip_prefix("test ")?.split_once(" ... ")?;
    if name.is_empty() || name.contains(char::is_whitespace) {
        return None;
    }
    let result = match verdict {
        "ok" => Ok(()),
        _ => Err(verdict.strip_prefix("FAILED: ")?.to_string()),
    };
    Some(Event::Result(name.into(), result))
}

/// The results of one boot.
#[derive(Debug, Default)]
pub struct Suite {
    planned: usize,
    done: usize,
    programs: usize,
    pub results: Vec<(String, Result<(), String>)>,
}

impl Suite {
    /// Takes in what a line said. Several programs can each have their own tests.
    pub fn note(&mut self, event: Event) {
        match event {
            Event::Planned(count) => {
                self.programs += 1;
                self.planned = self.planned.saturating_add(count);
            }
            Event::Result(name, result) => self.results.push((name, result)),
            Event::Done => self.done += 1,
        }
    }

    /// Whether tests have begun, and more than the last few are still to report.
    pub fn is_in_full_swing(&self) -> bool {
        const LAST: usize = 3;
        let left = self.planned.saturating_sub(self.results.len());
        left > LAST || (left > 0 && self.results.is_empty())
    }

    /// What is wrong with the suite as a whole, once the machine has ended.
    pub fn fault(&self) -> Option<String> {
        let (reported, planned) = (self.results.len(), self.planned);
        let last = match self.results.last() {
            Some((name, _)) => format!("the last was {name}"),
            None => "none at all".into(),
        };
        if self.programs == 0 {
            Some("no program said how many tests it has".into())
        } else if reported != planned {
            Some(format!("{reported} of {planned} tests reported, {last}"))
        } else if self.done != self.programs {
            Some(format!("the tests did not come to their end, {last}"))
        } else {
            self.repeated()
                .map(|name| format!("test {name} reported twice"))
        }
    }

    fn repeated(&self) -> Option<&str> {
        let mut names: Vec<_> = self.results.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
            .windows(2)
            .find(|pair| pair[0] == pair[1])
            .map(|pair| pair[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(text: &str) -> String {
        format!("[    0.100000 c1 guest-tests ] {text}")
    }

    fn suite(texts: &[&str]) -> Suite {
        let mut suite = Suite::default();
        for event in texts.iter().filter_map(|text| parse(&line(text))) {
            suite.note(event);
        }
        suite
    }

    #[test]
    fn every_kind_of_line_is_understood() {
        assert_eq!(parse(&line("tests 12")), Some(Event::Planned(12)));
        assert_eq!(parse(&line("tests done")), Some(Event::Done));
        assert_eq!(
            parse(&line("test a::b ... ok ")),
            Some(Event::Result("a::b".into(), Ok(())))
        );
        assert_eq!(
            parse(&line("test a ... FAILED: 1 ... 2")),
            Some(Event::Result("a".into(), Err("1 ... 2".into())))
        );
    }

    #[test]
    fn cut_lines_and_lines_without_a_prefix_say_nothing() {
        for text in [
            "test a",
            "test a ...",
            "test a ... o",
            "test a ... FAILED",
            "tests",
            "tests x",
        ] {
            assert_eq!(parse(&line(text)), None, "{text}");
        }
        assert_eq!(parse(&line("test two words ... ok")), None);
        assert_eq!(parse("test a ... ok"), None);
        assert_eq!(parse("[    0.1000\u{fffd} c1 x ] test a ... ok"), None);
    }

    #[test]
    fn a_whole_suite_has_no_fault() {
        let suite = suite(&[
            "tests 2",
            "test a ... ok",
            "noise",
            "test b ... FAILED: x",
            "tests done",
        ]);
        assert_eq!(suite.fault(), None);
        assert_eq!(suite.results.len(), 2);
    }

    #[test]
    fn what_is_missing_or_repeated_is_a_fault() {
        let fault = |texts: &[&str]| suite(texts).fault().unwrap();
        assert!(fault(&[]).contains("no program"));
        assert!(fault(&["tests 2", "test a ... ok", "tests done"]).contains("1 of 2"));
        assert!(fault(&["tests 1"]).contains("none at all"));
        assert!(fault(&["tests 1", "test a ... ok"]).contains("their end"));
        let twice = ["tests 2", "test a ... ok", "test a ... ok", "tests done"];
        assert!(fault(&twice).contains("twice"));
    }

    #[test]
    fn full_swing_is_between_the_beginning_and_the_last_few() {
        let swing = |texts: &[&str]| suite(texts).is_in_full_swing();
        assert!(!swing(&[]));
        assert!(swing(&["tests 5"]));
        assert!(swing(&["tests 5", "test a ... ok"]));
        assert!(!swing(&["tests 5", "test a ... ok", "test b ... ok"]));
        assert!(swing(&["tests 1"]));
        assert!(!swing(&["tests 1", "test a ... ok"]));
        assert!(!swing(&["tests 0"]));
    }

    proptest! {
        #[test]
        fn any_line_is_survived(text in ".{0,100}") {
            parse(&text);
            parse(&line(&text));
        }
    }
}
