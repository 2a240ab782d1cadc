//! Which system this is, and how QEMU is installed on it.

use std::fs;

/// What `/etc/os-release` says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct System {
    /// Its own name and those of the systems that it resembles, most similar first.
    names: Vec<String>,
    /// "bookworm", "noble", …
    pub codename: Option<String>,
}

/// The system that xtask runs on.
pub fn current() -> System {
    if cfg!(target_os = "macos") {
        return System {
            names: vec!["macos".into()],
            codename: None,
        };
    }
    parse(&fs::read_to_string("/etc/os-release").unwrap_or_default())
}

fn parse(text: &str) -> System {
    let value = |key: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim().trim_matches(['"', '\'']).to_lowercase())
    };
    let mut names = Vec::new();
    for key in ["ID", "ID_LIKE"] {
        names.extend(
            value(key)
                .unwrap_or_default()
                .split_whitespace()
                .map(String::from),
        );
    }
    System {
        names,
        codename: value("VERSION_CODENAME").filter(|name| !name.is_empty()),
    }
}

impl System {
    /// Whether this is Debian itself, which has backports of QEMU.
    pub fn is_debian(&self) -> bool {
        self.names.first().is_some_and(|name| name == "debian")
    }

    /// Whether packages are installed with apt.
    pub fn has_apt(&self) -> bool {
        self.names
            .iter()
            .any(|name| name == "debian" || name == "ubuntu")
    }

    /// The one command that installs QEMU.
    pub fn command(&self) -> &'static str {
        const COMMANDS: [(&str, &str); 9] = [
            ("fedora", "sudo dnf install qemu-system-x86"),
            ("rhel", "sudo dnf install qemu-kvm"),
            ("arch", "sudo pacman -S qemu-system-x86"),
            ("suse", "sudo zypper install qemu-x86"),
            ("opensuse", "sudo zypper install qemu-x86"),
            ("alpine", "sudo apk add qemu-system-x86_64"),
            ("gentoo", "sudo emerge app-emulation/qemu"),
            ("nixos", "nix-env -iA nixos.qemu"),
            ("macos", "brew install qemu"),
        ];
        let known = |name: &String| COMMANDS.iter().find(|(system, _)| system == name);
        match self.names.iter().find_map(known) {
            Some((_, command)) => command,
            None if self.has_apt() => "sudo apt-get install qemu-system-x86",
            None => "your system's package manager (the package is called qemu-system-x86 or qemu)",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_are_told_apart() {
        let debian =
            parse("PRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_CODENAME=bookworm\nID=debian\n");
        assert!(debian.is_debian() && debian.has_apt());
        assert_eq!(debian.codename.as_deref(), Some("bookworm"));
        let ubuntu = parse("ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n");
        assert!(!ubuntu.is_debian() && ubuntu.has_apt());
        let mint = parse("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n");
        assert!(!mint.is_debian() && mint.has_apt());
    }

    #[test]
    fn each_other_system_has_its_command() {
        let command = |text: &str| parse(text).command();
        assert!(command("ID=fedora").contains("dnf"));
        assert!(command("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"").contains("qemu-kvm"));
        assert!(command("ID=manjaro\nID_LIKE=arch").contains("pacman"));
        assert!(command("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"").contains("zypper"));
        assert!(command("ID=alpine").contains("apk"));
        assert!(command("").contains("package manager"));
        assert!(!parse("").has_apt());
    }
}
