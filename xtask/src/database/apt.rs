//! Fetching packages by apt, with folders and settings of our own: the system's lists, locks and packages are
//! not touched. Signatures are checked as ever, by the keys that the machine trusts.
//!
//! Where MySQL comes from: `IAM_MYSQL_ARCHIVE` ("URL SUITE") if set; on Ubuntu the suite of 26.04, which has
//! 8.4; on Debian its suite sid, as its releases have none. MariaDB comes from the machine's own suites.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Kind, set};
use crate::process;
use crate::progress::Download;
use crate::trouble::{Result, Trouble, Trying as _};

const ARCHIVE: &str = "IAM_MYSQL_ARCHIVE";
const DEBIAN_KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const UBUNTU_KEYS: &str = "/usr/share/keyrings/ubuntu-archive-keyring.gpg";

/// Perl is the greater part of what MySQL asks for, and only for scripts that nobody here runs.
const NOT_NEEDED: &str = "perl";

/// A line of a list of sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Archive {
    urls: String,
    suites: Vec<String>,
    components: String,
    /// Files of keys; empty where apt's own are meant.
    keys: String,
}

/// Which distribution this is.
#[derive(Debug, Default, PartialEq, Eq)]
struct Distribution {
    id: String,
    codename: String,
}

/// Fetches the server's packages and all that they need into a folder, or says why that cannot be done here.
pub(super) fn download(kind: Kind, folder: &Path) -> Result<std::result::Result<Vec<PathBuf>, String>> {
    let tools = ["apt-get", "apt-config", "dpkg", "dpkg-deb"];
    if let Some(tool) = tools.into_iter().find(|tool| process::on_path(tool).is_none()) {
        return Ok(Err(format!("Without {tool} its packages cannot be fetched.")));
    }
    let distribution = Distribution::of(&fs::read_to_string("/etc/os-release").unwrap_or_default());
    let here = archives_of_the_machine()?;
    let private = Private::make(folder)?;
    let chosen = match (kind, set(ARCHIVE)) {
        (Kind::MySql, Some(named)) => {
            let mut named = Archive::named(&named)?;
            named.keys = private.all_keys(&distribution, &here)?;
            Ok(vec![named])
        }
        (Kind::MySql, None) => distribution.for_mysql(&here),
        (Kind::MariaDb, _) => distribution.for_mariadb(&here),
    };
    let archives = match chosen {
        Ok(archives) => archives,
        Err(why) => return Ok(Err(why)),
    };
    private.use_archives(&archives)?;
    let package = format!("{}-server-core", kind.word());
    private.fetch(kind.name(), &package)?;
    private.packages().map(Ok)
}

impl Distribution {
    fn of(release: &str) -> Self {
        let value = |name: &str| {
            let line = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.unwrap_or_default().trim().trim_matches('"').to_owned()
        };
        Self { id: value("ID"), codename: value("VERSION_CODENAME") }
    }

    fn for_mysql(&self, here: &[Archive]) -> std::result::Result<Vec<Archive>, String> {
        let suite = match self.id.as_str() {
            "debian" => "sid",
            "ubuntu" => "resolute",
            _ => {
                return Err(format!(
                    "Its packages are fetched on Debian and Ubuntu only; {ARCHIVE} can name others."
                ));
            }
        };
        Ok(vec![Archive { suites: vec![suite.to_owned()], ..self.main(here)? }])
    }

    fn for_mariadb(&self, here: &[Archive]) -> std::result::Result<Vec<Archive>, String> {
        self.main(here)?;
        Ok(here.iter().filter_map(|archive| archive.only(|suite| self.owns(suite))).collect())
    }

    /// Where the distribution itself comes from.
    fn main(&self, here: &[Archive]) -> std::result::Result<Archive, String> {
        here.iter()
            .filter(|archive| archive.components.split_whitespace().any(|component| component == "main"))
            .find_map(|archive| archive.only(|suite| suite == self.codename))
            .ok_or_else(|| {
                "The machine's lists of sources do not say where its packages come from.".to_owned()
            })
    }

    /// Whether it is a suite of this release, and not of a vendor's own archive.
    fn owns(&self, suite: &str) -> bool {
        let end = suite.strip_prefix(self.codename.as_str());
        !self.codename.is_empty() && matches!(end, Some("" | "-security" | "-updates"))
    }
}

impl Archive {
    /// "URL SUITE"
    fn named(text: &str) -> Result<Self> {
        match text.split_whitespace().collect::<Vec<_>>().as_slice() {
            [url, suite] if url.contains("://") => Ok(Self {
                urls: (*url).to_owned(),
                suites: vec![(*suite).to_owned()],
                components: "main".to_owned(),
                keys: String::new(),
            }),
            _ => Err(Trouble::new(format!("{ARCHIVE} must be \"URL SUITE\"."))),
        }
    }

    /// The same with some of its suites.
    fn only(&self, wanted: impl Fn(&str) -> bool) -> Option<Self> {
        let suites: Vec<String> = self.suites.iter().filter(|suite| wanted(suite)).cloned().collect();
        (!suites.is_empty()).then(|| Self { suites, ..self.clone() })
    }

    /// A stanza of a `.sources` file.
    fn stanza(&self) -> String {
        let keys = if self.keys.is_empty() { String::new() } else { format!("Signed-By: {}\n", self.keys) };
        let suites = self.suites.join(" ");
        format!(
            "Types: deb\nURIs: {}\nSuites: {suites}\nComponents: {}\n{keys}\n",
            self.urls, self.components
        )
    }

    /// `deb [signed-by=/k.gpg] URL SUITE COMPONENTS...`
    fn from_line(line: &str) -> Option<Self> {
        let rest =
            line.split('#').next()?.trim().strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", rest),
        };
        let keys = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
        let mut words = rest.split_whitespace().map(str::to_owned);
        let (urls, suites) = (words.next()?, vec![words.next()?]);
        let components = words.collect::<Vec<_>>().join(" ");
        Some(Self { urls, suites, components, keys: keys.unwrap_or_default().to_owned() })
    }

    /// A stanza of a `.sources` file, back again.
    fn from_stanza(stanza: &str) -> Option<Self> {
        let field = |name: &str| {
            let lines = stanza.lines().filter(|line| !line.starts_with('#'));
            let mut values = lines.filter_map(|line| line.split_once(':'));
            values
                .find(|(field, _)| field.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim().to_owned())
        };
        let off = field("Enabled").is_some_and(|enabled| enabled.eq_ignore_ascii_case("no"));
        if off || !field("Types")?.split_whitespace().any(|kind| kind == "deb") {
            return None;
        }
        let suites = field("Suites")?.split_whitespace().map(str::to_owned).collect();
        let components = field("Components").unwrap_or_default();
        Some(Self { urls: field("URIs")?, suites, components, keys: field("Signed-By").unwrap_or_default() })
    }

    /// All of a file.
    fn all(text: &str, stanzas: bool) -> Vec<Self> {
        if !stanzas {
            return text.lines().filter_map(Self::from_line).collect();
        }
        // Stanzas end with an empty line; a comment in between does not.
        let lines: Vec<&str> =
            text.lines().map(|line| if line.trim().is_empty() { "" } else { line }).collect();
        lines.join("\n").split("\n\n").filter_map(Self::from_stanza).collect()
    }
}

/// What the machine's apt takes packages from.
fn archives_of_the_machine() -> Result<Vec<Archive>> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.sort();
    let mut archives = Vec::new();
    for file in files.iter().filter(|file| file.is_file()) {
        let stanzas = match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => false,
            Some("sources") => true,
            _ => continue,
        };
        let text = fs::read_to_string(file).trying(|| format!("read {}", file.display()))?;
        archives.extend(Archive::all(&text, stanzas));
    }
    Ok(archives)
}

/// An apt of our own.
#[derive(Debug)]
struct Private {
    folder: PathBuf,
}

impl Private {
    fn make(folder: &Path) -> Result<Self> {
        for inner in ["state", "lists/partial", "cache/archives/partial", "log", "sources", "none"] {
            let inner = folder.join(inner);
            fs::create_dir_all(&inner).trying(|| format!("make the folder {}", inner.display()))?;
        }
        let architecture = process::read(Command::new("dpkg").arg("--print-architecture"))?;
        let stands_in = format!(
            "Package: {NOT_NEEDED}\nStatus: install ok installed\nMaintainer: nobody\nArchitecture: {}\n\
             Multi-Arch: allowed\nVersion: 9999\nDescription: not needed\n",
            architecture.trim()
        );
        let private = Self { folder: folder.to_path_buf() };
        private.write("status", &stands_in)?;
        let settings = private.settings(&process::read(Command::new("apt-config").arg("dump"))?);
        private.write("apt.conf", &settings)?;
        Ok(private)
    }

    /// The machine's own way to the network is kept; its hooks, which may clean up its folders, are not.
    fn settings(&self, of_the_machine: &str) -> String {
        let network = ["Acquire::http", "Acquire::ftp", "Acquire::Retries"];
        let kept = of_the_machine.lines().filter(|line| network.iter().any(|name| line.starts_with(name)));
        let mut settings = kept.flat_map(|line| [line, "\n"]).collect::<String>();
        let folder = self.folder.display();
        let places = [
            ("Dir::State", "state"),
            ("Dir::State::lists", "lists"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", "cache"),
            ("Dir::Log", "log"),
            ("Dir::Etc::sourcelist", "none/sources.list"),
            ("Dir::Etc::sourceparts", "sources"),
            ("Dir::Etc::main", "none/apt.conf"),
            ("Dir::Etc::parts", "none"),
            ("Dir::Etc::preferences", "none/preferences"),
            ("Dir::Etc::preferencesparts", "none"),
        ];
        settings.extend(places.map(|(name, place)| format!("{name} \"{folder}/{place}\";\n")));
        settings.push_str(
            // A mirror may be a snapshot whose list has run out. Its signature counts all the same, and the
            // server is for tests.
            "Acquire::Check-Valid-Until \"false\";\n\
             Acquire::Languages \"none\";\n\
             APT::Update::Error-Mode \"any\";\n\
             // Where there is no network, that is to be known soon.\n\
             Acquire::http::Timeout \"20\";\nAcquire::https::Timeout \"20\";\n\
             // Another user, which apt would become, may not write into our folder.\n\
             APT::Sandbox::User \"root\";\n",
        );
        settings
    }

    /// The keys of both distributions. Debian has Ubuntu's in a package, which its own signature vouches for.
    fn all_keys(&self, distribution: &Distribution, here: &[Archive]) -> Result<String> {
        let there = |keys: &&str| Path::new(keys).is_file();
        let mut keys: Vec<String> =
            [DEBIAN_KEYS, UBUNTU_KEYS].iter().filter(|keys| there(keys)).map(ToString::to_string).collect();
        if distribution.id == "debian" && !there(&UBUNTU_KEYS) {
            self.use_archives(&distribution.for_mysql(here).map_err(Trouble::new)?)?;
            self.fetch("the keys of Ubuntu", "ubuntu-keyring")?;
            let unpacked = self.folder.join("keys");
            for package in self.packages()? {
                process::read(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&unpacked))?;
                fs::remove_file(&package).trying(|| format!("remove {}", package.display()))?;
            }
            keys.push(format!("{}{UBUNTU_KEYS}", unpacked.display()));
        }
        Ok(keys.join(","))
    }

    fn use_archives(&self, archives: &[Archive]) -> Result<()> {
        self.write("sources/ours.sources", &archives.iter().map(Archive::stanza).collect::<String>())?;
        let lists = self.folder.join("lists");
        let download = Download { what: "the lists of what there is", bytes: None, folder: &lists };
        download.run(self.apt_get().arg("update"))
    }

    /// A package and all that it needs. How much that is, apt knows before.
    fn fetch(&self, what: &str, package: &str) -> Result<()> {
        let install = ["install", "--yes", "--download-only", "--no-install-recommends", package];
        let bytes = bytes(&process::read(self.apt_get().arg("--print-uris").args(install))?);
        let arrives = self.folder.join("cache").join("archives");
        Download { what, bytes: Some(bytes), folder: &arrives }.run(self.apt_get().args(install))
    }

    fn apt_get(&self) -> Command {
        let mut command = Command::new("apt-get");
        command
            .arg("--quiet=2")
            .env("APT_CONFIG", self.folder.join("apt.conf"))
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    fn packages(&self) -> Result<Vec<PathBuf>> {
        let archives = self.folder.join("cache").join("archives");
        let entries = fs::read_dir(&archives).trying(|| format!("read the folder {}", archives.display()))?;
        let files = entries.flatten().map(|entry| entry.path());
        Ok(files.filter(|file| file.extension().is_some_and(|extension| extension == "deb")).collect())
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let file = self.folder.join(name);
        fs::write(&file, text).trying(|| format!("write {}", file.display()))
    }
}

/// The sum of what `--print-uris` lists: an address, a name, a size, a digest a line.
fn bytes(listed: &str) -> u64 {
    let size = |line: &str| line.strip_prefix('\'')?.split_whitespace().nth(2)?.parse::<u64>().ok();
    listed.lines().filter_map(size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_fetched_is_known_before() {
        let listed = "Reading package lists...\n\
            'http://mirror/a_1.deb' a_1.deb 1200 SHA256:00\n'http://mirror/b_2.deb' b_2.deb 34 SHA256:11\n";
        assert_eq!(bytes(listed), 1234);
        assert_eq!(bytes(""), 0);
    }

    const STANZAS: &str = "Types: deb\n# as of today\nURIs: http://mirror/debian\n\
        Suites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k.gpg\n\n\
        Types: deb\nURIs: http://mirror/security\nSuites: bookworm-security\nComponents: main contrib\n \n\
        Types: deb-src\nURIs: http://mirror/debian\nSuites: bookworm\nComponents: main\n\n\
        Enabled: no\nTypes: deb\nURIs: http://off\nSuites: bookworm\n";
    const LINES: &str = "# a comment\ndeb http://vendor/apt tools-bookworm main\n\
        deb [arch=amd64 signed-by=/k.gpg] http://mirror/debian bookworm main contrib # here\n\
        deb-src http://mirror/debian bookworm main\n";

    fn debian() -> Distribution {
        Distribution::of(
            "PRETTY_NAME=\"Debian 12\"\nVERSION_CODENAME=bookworm\nID=debian\nVERSION_ID=\"12\"\n",
        )
    }

    fn archive(urls: &str, suites: &[&str], components: &str, keys: &str) -> Archive {
        let suites = suites.iter().map(ToString::to_string).collect();
        Archive { urls: urls.into(), suites, components: components.into(), keys: keys.into() }
    }

    #[test]
    fn both_kinds_of_lists_are_read() {
        assert_eq!(
            Archive::all(STANZAS, true),
            [
                archive("http://mirror/debian", &["bookworm", "bookworm-updates"], "main", "/k.gpg"),
                archive("http://mirror/security", &["bookworm-security"], "main contrib", ""),
            ]
        );
        assert_eq!(
            Archive::all(LINES, false),
            [
                archive("http://vendor/apt", &["tools-bookworm"], "main", ""),
                archive("http://mirror/debian", &["bookworm"], "main contrib", "/k.gpg"),
            ]
        );
    }

    #[test]
    fn mysql_comes_from_another_suite_of_the_same_mirror() {
        let here = Archive::all(LINES, false);
        let mysql = [archive("http://mirror/debian", &["sid"], "main contrib", "/k.gpg")];
        assert_eq!(debian().for_mysql(&here).unwrap(), mysql);
        let other = Distribution { id: "fedora".into(), codename: String::new() };
        assert!(other.for_mysql(&here).is_err() && other.for_mariadb(&here).is_err());
    }

    #[test]
    fn mariadb_comes_from_the_suites_of_the_release_alone() {
        assert_eq!(debian().for_mariadb(&Archive::all(STANZAS, true)).unwrap().len(), 2);
        assert_eq!(debian().for_mariadb(&Archive::all(LINES, false)).unwrap().len(), 1);
        assert!(debian().for_mariadb(&[]).is_err());
    }

    #[test]
    fn what_is_written_is_what_was_read() {
        let archives = Archive::all(STANZAS, true);
        let written: String = archives.iter().map(Archive::stanza).collect();
        assert_eq!(Archive::all(&written, true), archives);
    }

    #[test]
    fn an_archive_of_ones_own_has_a_url_and_a_suite() {
        assert_eq!(
            Archive::named(" http://mirror/ubuntu  resolute ").unwrap(),
            archive("http://mirror/ubuntu", &["resolute"], "main", "")
        );
        for bad in ["", "http://mirror", "resolute main", "http://mirror a b"] {
            assert!(Archive::named(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_machines_proxy_is_kept_and_its_hooks_are_not() {
        let private = Private { folder: "/p".into() };
        let settings = private.settings(
            "APT::Update::Post-Invoke:: \"rm /x\";\nAcquire::http::Proxy \"http://p:1\";\nDir::Etc \"e\";\n",
        );
        assert!(
            settings.starts_with("Acquire::http::Proxy \"http://p:1\";\nDir::State \"/p/state\";\n"),
            "{settings}"
        );
        assert!(!settings.contains("Post-Invoke"), "{settings}");
    }
}
