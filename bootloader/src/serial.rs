//! Messages on the first serial port. The loader is silent but for one line, so the port is set
//! up anew for each.

use core::fmt::{self, Write};
use uart_16550::{BaudRate, Config, Uart16550, backend::PioBackend};

/// COM1.
const PORT: u16 = 0x3f8;

struct Serial(Uart16550<PioBackend>);

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.send_bytes_exact(text.as_bytes());
        Ok(())
    }
}

/// Writes `loader: `, the message and a line end. Nothing happens where there is no port.
pub fn line(message: fmt::Arguments) {
    // SAFETY: COM1 is at these ports on every PC, and only the loader runs.
    let Ok(mut port) = (unsafe { Uart16550::new_port(PORT) }) else {
        return;
    };
    let config = Config {
        baud_rate: BaudRate::Baud115200,
        ..Config::default()
    };
    if port.init(config).is_ok() {
        // Writing to the port cannot fail.
        let _ = write!(Serial(port), "loader: {message}\r\n");
    }
}
