//! A browser without a window: what it makes of a page.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// How a browser may be called.
const NAMES: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
];
/// How long a page may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A browser that was found.
pub struct Browser(PathBuf);

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Pixels.
    pub width: u32,
    pub dark: bool,
}

impl Browser {
    /// One that answers, if there is one.
    pub fn find() -> Option<Self> {
        let answers = |name: &&&str| {
            let mut command = Command::new(name);
            command.arg("--version").stdin(Stdio::null());
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        NAMES.iter().find(answers).map(|name| Self(name.into()))
    }

    /// The document as it is when its scripts have run.
    pub fn document(&self, page: &Path, view: View) -> Result<String> {
        let output = self.run(page, view, "--dump-dom")?;
        String::from_utf8(output).context("the browser's document is not UTF-8")
    }

    /// Draws the page into a PNG file.
    pub fn picture(&self, page: &Path, view: View, file: &Path) -> Result<()> {
        self.run(page, view, &format!("--screenshot={}", file.display()))?;
        Ok(())
    }

    fn run(&self, page: &Path, view: View, action: &str) -> Result<Vec<u8>> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(&self.0);
        // Without the sandbox it also starts as root; without the network it need not look for any.
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ]);
        if view.dark {
            command.args([
                "--force-dark-mode",
                "--blink-settings=preferredColorScheme=0",
            ]);
        }
        command
            .arg(format!("--user-data-dir={}", folder.path().display()))
            .arg(format!("--window-size={},4000", view.width))
            .arg(action)
            .arg(format!("file://{}", page.display()));
        // A file, not a pipe, takes any amount without somebody who reads.
        let out = folder.path().join("out");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&out)?)
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{} cannot be started", self.0.display()))?;
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if start.elapsed() > LIMIT {
                let _ = child.kill();
                let _ = child.wait();
                bail!("the browser did not end within {} seconds", LIMIT.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        if !status.success() {
            bail!("the browser ended with {status}");
        }
        Ok(std::fs::read(out)?)
    }
}
