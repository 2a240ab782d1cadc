//! The lines of the guest's log: `[    0.001234 c0 hello ] text`.

/// A line that has the form of the log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line<'a> {
    /// When: seconds since the kernel began.
    pub seconds: f64,
    /// Who wrote it: a program, or the kernel with a level.
    pub source: &'a str,
    pub text: &'a str,
}

/// Takes a line apart; `None` if it has another form, as what firmware prints.
pub fn parse(line: &str) -> Option<Line<'_>> {
    let (head, text) = line.strip_prefix('[')?.split_once(']')?;
    let mut words = head.split_whitespace();
    let (seconds, core, source) = (words.next()?, words.next()?, words.next()?);
    let seconds = seconds.parse().ok()?;
    core.strip_prefix('c')?.parse::<u32>().ok()?;
    if words.next().is_some() {
        return None;
    }
    let text = text.strip_prefix(' ').unwrap_or(text);
    Some(Line {
        seconds,
        source,
        text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn kernel_and_program_lines_are_taken_apart() {
        let line = parse("[    0.001234 c0 INFO ] 2 cores are up").unwrap();
        assert_eq!((line.source, line.text), ("INFO", "2 cores are up"));
        assert_eq!(line.seconds, 0.001234);
        let line = parse("[  123.456789 c63 hello  ] a [b] c").unwrap();
        assert_eq!((line.source, line.text), ("hello", "a [b] c"));
        assert_eq!(parse("[0.1 c0 x]").unwrap().text, "");
    }

    #[test]
    fn other_lines_are_not_mistaken() {
        for line in [
            "",
            "[",
            "SeaBIOS (version 1.16)",
            "[    0.001234 c0 INFO",
            "[    0.001234 INFO ] x",
            "[    0.0012x4 c0 INFO ] x",
            "[    0.001234 c0 ] x",
            "[ 0.1 c0 a b ] x",
            "[ 0.1 cx a ] x",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_survived(line in ".{0,100}") {
            parse(&line);
        }
    }
}
