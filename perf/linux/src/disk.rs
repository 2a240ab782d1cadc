//! The disk as Linux shows it.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::places::Geometry;

/// The first namespace of the first controller.
const BLOCK: &str = "nvme0n1";
/// The same for commands that pass through.
const CHARACTER: &str = "ng0n1";
/// How long the kernel may take to find it.
const PATIENCE: Duration = Duration::from_secs(30);
/// How the block layer is set up: no scheduler, no merges, no statistics, no throttling of writes,
/// the times of I/O not used as a source of randomness. All of it is what people do who want the
/// most of it.
const SETTINGS: [(&str, &str); 5] = [
    ("scheduler", "none"),
    ("nomerges", "2"),
    ("iostats", "0"),
    ("wbt_lat_usec", "0"),
    ("add_random", "0"),
];

/// The disk.
#[derive(Debug)]
pub struct Disk {
    /// For places to read from.
    pub geometry: Geometry,
    /// The name of its PCI function, "0000:00:03.0".
    pub function: String,
}

impl Disk {
    /// Waits for the disk, and sets it up.
    pub fn find() -> Result<Self> {
        let start = Instant::now();
        let folder = Path::new("/sys/block").join(BLOCK);
        // They appear one after the other.
        let device = |name| Path::new("/dev").join(name);
        let last = [folder.join("queue"), device(BLOCK), device(CHARACTER)];
        while !last.iter().all(|path| path.exists()) {
            ensure!(start.elapsed() < PATIENCE, "there is no disk {BLOCK}");
            thread::sleep(Duration::from_millis(1));
        }
        for (name, value) in SETTINGS {
            let path = folder.join("queue").join(name);
            fs::write(&path, value).with_context(|| format!("{}: {value}", path.display()))?;
        }
        // The kernel counts sectors of 512 bytes, whatever the block size.
        let block_size = number(&folder.join("queue/logical_block_size"))?;
        let capacity = number(&folder.join("size"))? * 512 / block_size;
        let function = fs::read_link(folder.join("device/device")).context("PCI function")?;
        let function = function.file_name().unwrap_or_default().to_string_lossy();
        Ok(Self {
            geometry: Geometry {
                capacity,
                block_size: u32::try_from(block_size)?,
            },
            function: function.into_owned(),
        })
    }

    /// Opens it for reads past the page cache.
    pub fn open(&self) -> Result<File> {
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .custom_flags(libc::O_DIRECT)
            .open(Path::new("/dev").join(BLOCK));
        file.context(BLOCK)
    }

    /// Opens it for commands that pass through.
    pub fn open_raw(&self) -> Result<File> {
        File::open(Path::new("/dev").join(CHARACTER)).context(CHARACTER)
    }

    /// Takes it from the kernel's driver and returns the folder of its PCI function.
    pub fn detach(&self) -> Result<PathBuf> {
        let folder = Path::new("/sys/bus/pci/devices").join(&self.function);
        fs::write(folder.join("driver/unbind"), &self.function).context("unbind")?;
        fs::write(folder.join("enable"), "1").context("enable")?;
        Ok(folder)
    }

    /// Gives it back to the kernel's driver.
    pub fn attach(&self) -> Result<()> {
        fs::write("/sys/bus/pci/drivers/nvme/bind", &self.function).context("bind")
    }
}

fn number(path: &Path) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let number = text.trim().parse();
    number.with_context(|| format!("{} says `{}`", path.display(), text.trim()))
}
