//! What long steps show: a line that moves on a terminal, plain lines elsewhere.

use std::{cell::Cell, io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

/// A long step. The display ends with the value.
pub struct Step {
    bar: Option<ProgressBar>,
}

impl Step {
    /// Begins to show a step, with a clause such as "booting with 2 cores".
    pub fn new(clause: impl Into<String>) -> Self {
        let clause = clause.into();
        if !std::io::stderr().is_terminal() {
            eprintln!("{clause}");
            return Self { bar: None };
        }
        let bar = ProgressBar::new_spinner().with_message(clause);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar: Some(bar) }
    }

    /// Says how far the step has come; only shown where lines can move.
    pub fn update(&self, clause: impl Into<String>) {
        if let Some(bar) = &self.bar {
            bar.set_message(clause.into());
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Several steps of which the number is known.
pub struct Course {
    bar: Option<ProgressBar>,
    steps: usize,
    begun: Cell<usize>,
}

impl Course {
    /// Begins to show so many steps.
    pub fn new(steps: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(steps as u64);
            let template = "{spinner} {bar:20} {pos}/{len} {prefix} {wide_msg:.dim} {elapsed}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self {
            bar,
            steps,
            begun: Cell::new(0),
        }
    }

    /// Begins the next step, with a clause.
    pub fn begin(&self, clause: String) {
        let step = self.begun.get() + 1;
        self.begun.set(step);
        match &self.bar {
            Some(bar) => {
                bar.set_position(step as u64 - 1);
                bar.set_prefix(clause);
                bar.set_message("");
            }
            None => eprintln!("[{step}/{}] {clause}", self.steps),
        }
    }

    /// Says how far the step has come; only shown where lines can move.
    pub fn update(&self, clause: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(clause.to_string());
        }
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A command as a shell would take it, for people to read and copy.
pub fn shell_line<T: AsRef<str>>(words: &[T]) -> String {
    let quote = |word: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=,:+@%".contains(&byte);
        if !word.is_empty() && word.bytes().all(plain) {
            word.to_string()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    let words: Vec<_> = words.iter().map(|word| quote(word.as_ref())).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::shell_line;

    #[test]
    fn words_that_a_shell_would_split_are_quoted() {
        assert_eq!(
            shell_line(&["a", "b c", "it's", ""]),
            r"a 'b c' 'it'\''s' ''"
        );
        assert_eq!(
            shell_line(&["-m", "512M", "file=x,if=none"]),
            "-m 512M file=x,if=none"
        );
    }
}
