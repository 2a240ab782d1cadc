//! QEMU's control socket, as far as the tests need it: one command, its answer (QEMU's
//! `docs/interop/qmp-spec.rst`).

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

/// How long QEMU may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection that is ready for commands.
pub struct Control {
    stream: BufReader<UnixStream>,
}

/// A line from QEMU; one with neither field is an event.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "return")]
    value: Option<Value>,
    error: Option<Value>,
}

/// The arguments with which QEMU offers the socket.
pub fn arguments(socket: &Path) -> [String; 2] {
    let place = socket.display().to_string().replace(',', ",,");
    ["-qmp".into(), format!("unix:{place},server=on,wait=off")]
}

impl Control {
    /// Connects, and leaves the negotiation behind.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut control = Self {
            stream: BufReader::new(stream),
        };
        control.read_line()?;
        control.execute("qmp_capabilities")?;
        Ok(control)
    }

    /// Has a command without arguments done.
    pub fn execute(&mut self, command: &str) -> Result<()> {
        let line = format!("{{\"execute\":\"{command}\"}}\n");
        self.stream.get_mut().write_all(line.as_bytes())?;
        loop {
            let line: Line = serde_json::from_str(&self.read_line()?)
                .context("QEMU's answer has an unknown form")?;
            if let Some(error) = line.error {
                bail!("QEMU refused {command}: {error}");
            }
            if line.value.is_some() {
                return Ok(());
            }
        }
    }

    fn read_line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            bail!("QEMU closed its control socket");
        }
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{os::unix::net::UnixListener, thread};

    /// Says these lines to whoever connects, one for each line that comes.
    fn serve(lines: &'static [&'static str]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut input = BufReader::new(stream);
            for line in lines {
                input.get_mut().write_all(line.as_bytes()).unwrap();
                input.read_line(&mut String::new()).unwrap();
            }
        });
        (folder, path)
    }

    #[test]
    fn events_are_passed_over_and_errors_told() {
        let (_folder, path) = serve(&[
            "{\"QMP\": {}}\n",
            "{\"return\": {}}\n",
            "{\"event\": \"X\"}\n{\"return\": {}}\n",
            "{\"error\": {\"desc\": \"no such\"}}\n",
        ]);
        let mut control = Control::connect(&path).unwrap();
        control.execute("inject-nmi").unwrap();
        let error = control.execute("fly").unwrap_err().to_string();
        assert!(error.contains("no such"), "{error}");
        assert!(control.execute("inject-nmi").is_err());
    }
}
