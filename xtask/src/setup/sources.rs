//! The package sources of apt, as text: read in both formats, and the one for backports derived.
//!
//! The derived source has the address and the key of the machine's own, so it leads to the same
//! mirror and names no host that the machine does not know.

/// A stanza of the deb822 format: fields in order, continuation lines kept in the value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source(Vec<(String, String)>);

impl Source {
    fn field(&self, name: &str) -> Option<&str> {
        let found = self
            .0
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    fn has(&self, name: &str, word: &str) -> bool {
        self.field(name)
            .is_some_and(|value| value.split_whitespace().any(|other| other == word))
    }

    /// Whether apt takes binary packages of this suite from here.
    pub fn serves(&self, suite: &str) -> bool {
        let off = ["no", "false", "0", "off", "disable", "without"];
        let enabled = self
            .field("Enabled")
            .is_none_or(|value| !off.contains(&value.trim()));
        enabled && self.has("Types", "deb") && self.has("Suites", suite)
    }
}

/// Reads a `.sources` file.
pub fn parse_deb822(text: &str) -> Vec<Source> {
    let mut sources = vec![Source::default()];
    for line in text.lines() {
        if line.trim().is_empty() {
            sources.push(Source::default());
        } else if line.starts_with('#') {
            continue;
        } else if let Some(Source(fields)) = sources.last_mut() {
            if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = fields.last_mut() {
                    value.push('\n');
                    value.push_str(line);
                }
            } else if let Some((name, value)) = line.split_once(':') {
                fields.push((name.trim().into(), value.trim().into()));
            }
        }
    }
    sources.retain(|Source(fields)| !fields.is_empty());
    sources
}

/// Reads a `.list` file, with lines such as `deb [signed-by=/key] http://mirror/ suite main`.
pub fn parse_list(text: &str) -> Vec<Source> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let (kind, rest) = line.split_once(char::is_whitespace)?;
    let (options, rest) = match rest.trim_start().strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let mut fields = vec![
        ("Types".to_string(), kind.to_string()),
        ("URIs".into(), words.next()?.into()),
        ("Suites".into(), words.next()?.into()),
    ];
    fields.push(("Components".into(), words.collect::<Vec<_>>().join(" ")));
    for option in options.split_whitespace() {
        let (name, value) = option.split_once('=')?;
        fields.push((
            field_name(name.trim_end_matches('+')),
            value.replace(',', " "),
        ));
    }
    Some(Source(fields))
}

/// The deb822 name of an option of the one-line format.
fn field_name(option: &str) -> String {
    match option {
        "arch" => "Architectures".into(),
        "lang" => "Languages".into(),
        "target" => "Targets".into(),
        "pdiffs" => "PDiffs".into(),
        other => {
            let capital = |word: &str| match word.split_at_checked(1) {
                Some((first, rest)) => first.to_uppercase() + rest,
                None => word.to_string(),
            };
            other.split('-').map(capital).collect::<Vec<_>>().join("-")
        }
    }
}

/// The text of a `.sources` file for the backports of a release, from the source that serves the
/// release itself. `None` if no source does.
pub fn backports(sources: &[Source], codename: &str) -> Option<String> {
    let main = |source: &&Source| source.serves(codename) && source.has("Components", "main");
    let Source(fields) = sources.iter().find(main)?;
    let mut text = format!("Types: deb\nSuites: {codename}-backports\nComponents: main\n");
    for (name, value) in fields {
        let replaced = ["types", "suites", "components", "enabled"];
        if !replaced.contains(&name.to_lowercase().as_str()) {
            text.push_str(&format!("{name}: {value}\n"));
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DEB822: &str = "\
# A comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/archive.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
";

    const LIST: &str = "\
# deb http://commented.example/ bookworm main
deb-src http://mirror.example/debian bookworm main
deb [ arch=amd64,i386 signed-by=/keys/archive.gpg ] http://mirror.example/debian bookworm main # here
deb http://other.example/ubuntu noble universe
broken
deb [unclosed http://x y z
";

    #[test]
    fn deb822_yields_its_address_and_key_with_another_suite() {
        assert_eq!(
            backports(&parse_deb822(DEB822), "bookworm").unwrap(),
            "Types: deb\nSuites: bookworm-backports\nComponents: main\n\
             URIs: http://mirror.example/debian\nSigned-By: /usr/share/keyrings/archive.gpg\n"
        );
    }

    #[test]
    fn one_line_sources_yield_the_same() {
        assert_eq!(
            backports(&parse_list(LIST), "bookworm").unwrap(),
            "Types: deb\nSuites: bookworm-backports\nComponents: main\n\
             URIs: http://mirror.example/debian\nArchitectures: amd64 i386\n\
             Signed-By: /keys/archive.gpg\n"
        );
    }

    #[test]
    fn what_was_derived_serves_the_backports() {
        let text = backports(&parse_deb822(DEB822), "bookworm").unwrap();
        let derived = parse_deb822(&text);
        assert_eq!(derived.len(), 1);
        assert!(derived[0].serves("bookworm-backports") && !derived[0].serves("bookworm"));
    }

    #[test]
    fn a_key_in_the_file_itself_keeps_its_lines() {
        let text =
            "Types: deb\nURIs: u\nSuites: s\nComponents: main\nSigned-By:\n -----BEGIN\n .\n abc\n";
        assert!(
            backports(&parse_deb822(text), "s")
                .unwrap()
                .contains("Signed-By: \n -----BEGIN\n .\n abc\n")
        );
    }

    #[test]
    fn disabled_foreign_and_source_only_entries_do_not_count() {
        let disabled = DEB822.replace("Types: deb deb-src", "Enabled: no\nTypes: deb");
        assert_eq!(backports(&parse_deb822(&disabled), "bookworm"), None);
        assert_eq!(backports(&parse_deb822(DEB822), "trixie"), None);
        assert_eq!(
            backports(&parse_list("deb-src http://x/ s main"), "s"),
            None
        );
        assert_eq!(backports(&parse_list("deb http://x/ s contrib"), "s"), None);
        assert_eq!(parse_list(LIST).len(), 3);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(?s).{0,200}") {
            backports(&parse_deb822(&text), "s");
            backports(&parse_list(&text), "s");
        }
    }
}
