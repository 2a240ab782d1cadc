//! The QEMU command line.

use std::path::{Path, PathBuf};

use crate::{
    accel::Accelerator,
    cli::{MachineOptions, Switch},
    ui,
};

/// A disk: an NVMe one, if nothing else is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    medium: Medium,
    /// Bytes of a block, if not QEMU's usual 512.
    block_size: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Medium {
    /// A file, byte for byte.
    File(PathBuf),
    /// Nothing: so many zeros, after so many nanoseconds.
    Null(u64, u64),
}

impl Disk {
    /// One whose content is a file's.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self {
            medium: Medium::File(path.into()),
            block_size: None,
        }
    }

    /// One without a medium, of so many bytes.
    pub fn null(bytes: u64) -> Self {
        Self {
            medium: Medium::Null(bytes, 0),
            block_size: None,
        }
    }

    /// One without a medium that takes so many nanoseconds of the host's time for each request.
    pub fn late(bytes: u64, nanoseconds: u64) -> Self {
        Self {
            medium: Medium::Null(bytes, nanoseconds),
            ..Self::null(bytes)
        }
    }

    /// The same with blocks of so many bytes.
    pub fn with_blocks(mut self, bytes: u32) -> Self {
        self.block_size = Some(bytes);
        self
    }

    /// What its content is: "file" or "null".
    pub fn backend(&self) -> &'static str {
        match self.medium {
            Medium::File(_) => "file",
            Medium::Null(..) => "null",
        }
    }

    fn arguments(&self) -> [String; 4] {
        let drive = match &self.medium {
            // A comma in a value is written twice.
            Medium::File(path) => {
                let file = path.display().to_string().replace(',', ",,");
                format!("if=none,id=disk0,format=raw,file={file}")
            }
            Medium::Null(bytes, latency) => format!(
                "if=none,id=disk0,driver=null-co,size={bytes},latency-ns={latency},read-zeroes=on"
            ),
        };
        let mut device = "nvme,drive=disk0,serial=spillway0".to_string();
        if let Some(bytes) = self.block_size {
            device += &format!(",logical_block_size={bytes},physical_block_size={bytes}");
        }
        ["-drive".into(), drive, "-device".into(), device]
    }
}

/// A machine for QEMU, and what it boots.
#[derive(Clone)]
pub struct Machine {
    pub qemu: PathBuf,
    pub accelerator: Accelerator,
    pub cores: u32,
    /// Bytes, whole mebibytes.
    pub memory: u64,
    pub iommu: bool,
    pub disk: Option<Disk>,
    pub loader: PathBuf,
    pub image: Option<PathBuf>,
    /// A CD to boot from by the firmware, instead of QEMU's own start of the loader.
    pub cd: Option<PathBuf>,
    /// The kernel's command line.
    pub append: Vec<String>,
    pub extra: Vec<String>,
    /// Where the log goes: a chardev without its identifier.
    pub serial: String,
}

impl Machine {
    /// A machine as the flags describe it.
    pub fn new(qemu: &Path, accelerator: Accelerator, options: &MachineOptions) -> Self {
        Self {
            qemu: qemu.into(),
            accelerator,
            cores: 1,
            memory: options.memory,
            iommu: options.iommu == Switch::On,
            disk: options.disk.as_deref().map(Disk::file),
            loader: PathBuf::new(),
            image: None,
            cd: None,
            append: [vec!["exit=debug".into()], options.kernel_arg.clone()].concat(),
            extra: options.qemu_arg.clone(),
            serial: "stdio,signal=off".into(),
        }
    }

    /// The arguments for QEMU.
    pub fn arguments(&self) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        let mut add = |text: &str| words.extend(text.split(' ').map(String::from));
        add("-nodefaults -no-user-config -display none -no-reboot");
        // Interrupt remapping needs the I/O APIC in user space.
        add(match self.iommu {
            true => "-machine q35,kernel-irqchip=split",
            false => "-machine q35",
        });
        add(match self.accelerator {
            Accelerator::Tcg => "-accel tcg -cpu max",
            Accelerator::Kvm => "-accel kvm -cpu host",
        });
        add(&format!("-smp {} -m {}M", self.cores, self.memory >> 20));
        words.push("-chardev".into());
        words.push(format!("{},id=serial", self.serial));
        let mut add = |text: &str| words.extend(text.split(' ').map(String::from));
        add("-serial chardev:serial");
        add("-device isa-debug-exit,iobase=0xf4,iosize=0x04");
        if self.iommu {
            add("-device intel-iommu,intremap=on");
        }
        if let Some(disk) = &self.disk {
            words.extend(disk.arguments());
        }
        match &self.cd {
            Some(cd) => words.extend(["-cdrom".into(), cd.display().to_string()]),
            None => words.extend(self.direct_boot()),
        }
        words.extend(self.extra.iter().cloned());
        words
    }

    /// The arguments by which QEMU starts the loader itself.
    fn direct_boot(&self) -> Vec<String> {
        let mut words = vec!["-kernel".into(), self.loader.display().to_string()];
        if let Some(image) = &self.image {
            words.extend(["-initrd".into(), image.display().to_string()]);
        }
        words.extend(["-append".into(), self.append.join(" ")]);
        words
    }

    /// The same machine with another processor: of the same option the last one counts.
    pub fn with_cpu(mut self, cpu: &str) -> Self {
        self.extra.extend(["-cpu".into(), cpu.into()]);
        self
    }

    /// The whole command as a shell would take it.
    pub fn shell_line(&self) -> String {
        let mut words = vec![self.qemu.display().to_string()];
        words.extend(self.arguments());
        ui::shell_line(&words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            qemu: "qemu".into(),
            accelerator: Accelerator::Tcg,
            cores: 2,
            memory: 512 << 20,
            iommu: false,
            disk: None,
            loader: "loader".into(),
            image: Some("image".into()),
            cd: None,
            append: vec!["exit=debug".into(), "idle=poll".into()],
            extra: vec!["-s".into()],
            serial: "stdio".into(),
        }
    }

    #[test]
    fn the_plain_machine() {
        let line = machine().shell_line();
        for part in [
            "-machine q35 -accel tcg -cpu max",
            "-smp 2 -m 512M",
            "-device isa-debug-exit,iobase=0xf4,iosize=0x04",
            "-kernel loader -initrd image -append 'exit=debug idle=poll' -s",
        ] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
        assert!(!line.contains("iommu") && !line.contains("nvme"));
    }

    #[test]
    fn an_iommu_and_a_disk_with_a_comma_in_its_name() {
        let line = Machine {
            iommu: true,
            disk: Some(Disk::file("a,b.img")),
            ..machine()
        }
        .shell_line();
        for part in [
            "-machine q35,kernel-irqchip=split",
            "-device intel-iommu,intremap=on",
            "if=none,id=disk0,format=raw,file=a,,b.img -device nvme,drive=disk0",
        ] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
    }

    #[test]
    fn a_disk_without_a_medium_and_one_with_large_blocks() {
        let line = |disk| {
            let disk = Some(disk);
            Machine { disk, ..machine() }.shell_line()
        };
        let null = line(Disk::null(4096));
        assert!(null.contains("driver=null-co,size=4096"), "{null}");
        assert_eq!(Disk::null(4096).backend(), "null");
        assert_eq!(Disk::file("a").backend(), "file");
        let large = line(Disk::file("a").with_blocks(4096));
        assert!(large.contains("logical_block_size=4096"), "{large}");
    }
}
