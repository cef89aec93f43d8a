//! What the tests need beyond Rust, and what follows from what of it is there: what is fetched, what the tests are told, what is
//! skipped, and what helps. Nothing here looks at the machine; the table of the tests below is the whole of it.

use crate::database::Kind;

/// Something that tests need and that can be fetched into the cache folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thing {
    Server(Kind),
    /// The npm packages of the browser tests, with a Chromium where there is none.
    Browser,
}

/// What is known of one kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// A person named one that runs. Whether others can be started beside it was tried out.
    Named { others: bool },
    /// One was started for the tests, and so others can be.
    Started,
    /// There is none that starts.
    Missing,
}

/// What is there.
#[expect(clippy::struct_excessive_bools, reason = "each is so or not, whatever the others are")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) mysql: Server,
    pub(crate) mariadb: Server,
    /// Node.js, new enough.
    pub(crate) node: bool,
    pub(crate) npm: bool,
    /// The npm packages that the lock file names.
    pub(crate) packages: bool,
    /// A browser that was started once.
    pub(crate) chromium: bool,
}

/// What a person asked for.
#[expect(clippy::struct_excessive_bools, reason = "each is so or not, whatever the others are")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// Nothing is fetched.
    pub(crate) offline: bool,
    /// What is missing is a failure.
    pub(crate) all: bool,
    /// Tests that use servers are among those asked for.
    pub(crate) servers: bool,
    /// Those in the browser are.
    pub(crate) browser: bool,
}

/// The value of a variable that tests are told by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Where the server of this kind is.
    Url(Kind),
    /// This program, which starts servers.
    ThisProgram,
    Text(String),
    /// It must not be set, whatever the environment says.
    None,
    /// As the environment has it.
    Inherited,
}

/// Names the program that a test calls for a server of its own: this one.
const OWN_SERVER: &str = "IAM_TEST_OWN_SERVER";
/// Of which kinds that program can start servers: `mysql`, `mariadb` or both, with a space.
const OWN_KINDS: &str = "IAM_TEST_OWN_SERVER_KINDS";
/// Has any value when a test that finds no server must fail instead of being skipped.
const REQUIRED: &str = "IAM_TEST_REQUIRE_DATABASES";

impl Machine {
    pub(crate) fn server(&self, kind: Kind) -> Server {
        match kind {
            Kind::MySql => self.mysql,
            Kind::MariaDb => self.mariadb,
        }
    }

    /// Whether the browser tests can be run.
    pub(crate) fn browser_is_ready(&self) -> bool {
        self.node && self.packages && self.chromium
    }

    /// The kinds that are there, but of which no test can have a server of its own.
    pub(crate) fn without_own(&self) -> Vec<Kind> {
        let named = |kind: &Kind| self.server(*kind) == Server::Named { others: false };
        Kind::ALL.into_iter().filter(named).collect()
    }

    /// Kinds of which a test can have servers of its own, to be killed, frozen and fenced.
    pub(crate) fn own(&self) -> impl Iterator<Item = Kind> {
        let can =
            |kind: &Kind| matches!(self.server(*kind), Server::Started | Server::Named { others: true });
        Kind::ALL.into_iter().filter(can)
    }
}

/// What is to be fetched before the tests.
pub(crate) fn to_fetch(machine: &Machine, wishes: Wishes) -> Vec<Thing> {
    let mut things = Vec::new();
    if wishes.offline {
        return things;
    }
    if wishes.servers {
        let missing = |kind: &Kind| machine.server(*kind) == Server::Missing;
        things.extend(Kind::ALL.into_iter().filter(missing).map(Thing::Server));
    }
    // npm fetches the packages, and node unpacks the browser.
    if wishes.browser && machine.node && machine.npm && !machine.browser_is_ready() {
        things.push(Thing::Browser);
    }
    things
}

/// What the programs that run tests are told.
pub(crate) fn variables(machine: &Machine, wishes: Wishes) -> [(&'static str, Value); 5] {
    let url = |kind| match machine.server(kind) {
        // What is in the environment is not what was found to be usable.
        Server::Missing => Value::None,
        Server::Named { .. } | Server::Started => Value::Url(kind),
    };
    let own: Vec<&str> = machine.own().map(Kind::word).collect();
    let (program, kinds) = match own.as_slice() {
        [] => (Value::None, Value::None),
        own => (Value::ThisProgram, Value::Text(own.join(" "))),
    };
    [
        (Kind::MySql.variable(), url(Kind::MySql)),
        (Kind::MariaDb.variable(), url(Kind::MariaDb)),
        (OWN_SERVER, program),
        (OWN_KINDS, kinds),
        (REQUIRED, if wishes.all { Value::Text("1".to_owned()) } else { Value::Inherited }),
    ]
}

/// What helps where something is still missing after all that could be fetched was fetched; none where nothing is.
pub(crate) fn remedy(thing: Thing, machine: &Machine, wishes: Wishes) -> Option<String> {
    let fetch = if wishes.offline {
        "Run it without --offline, which fetches it,"
    } else {
        "Run it again with a network,"
    };
    match thing {
        Thing::Server(kind) if machine.server(kind) == Server::Missing => {
            let (name, oldest, variable) = (kind.name(), kind.oldest(), kind.variable());
            Some(format!("{fetch} install {name} {oldest} or newer, or name a server in {variable}."))
        }
        Thing::Server(_) => None,
        Thing::Browser if machine.browser_is_ready() => None,
        Thing::Browser if !machine.node => {
            Some("Install Node.js 20 or newer, with npm (see nodejs.org).".to_owned())
        }
        Thing::Browser if !machine.npm => {
            Some("Install npm, which some systems have in a package of its own (`apt install npm`).".to_owned())
        }
        Thing::Browser if wishes.offline => Some("Run it without --offline, which fetches them.".to_owned()),
        Thing::Browser if !machine.packages => {
            Some("Run it again where npm reaches its registry (`npm ping`).".to_owned())
        }
        Thing::Browser => Some(
            "Install Chromium (`apt install chromium`, `dnf install chromium`, `brew install --cask chromium`), or name a \
             browser in IAM_TEST_CHROMIUM."
                .to_owned(),
        ),
    }
}

/// How many minutes everything takes, about. Measured on two cores: a third of it is waiting, which no core shortens.
pub(crate) fn about_minutes(cores: usize, built: bool) -> usize {
    let cores = cores.clamp(1, 16);
    let tests = 8 + 32 / cores;
    if built { tests } else { tests + 30 / cores }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Machine = Machine {
        mysql: Server::Missing,
        mariadb: Server::Missing,
        node: false,
        npm: false,
        packages: false,
        chromium: false,
    };
    const EVERYTHING: Machine = Machine {
        mysql: Server::Started,
        mariadb: Server::Started,
        node: true,
        npm: true,
        packages: true,
        chromium: true,
    };
    const PLAIN: Wishes = Wishes { offline: false, all: false, servers: true, browser: true };
    const OFFLINE: Wishes = Wishes { offline: true, ..PLAIN };
    const MYSQL: Thing = Thing::Server(Kind::MySql);
    const MARIADB: Thing = Thing::Server(Kind::MariaDb);

    #[test]
    fn what_is_missing_is_fetched_if_it_is_wanted_and_can_be() {
        let debian = Machine { mariadb: Server::Started, ..NOTHING };
        let named = Server::Named { others: false };
        for (case, machine, wishes, fetched) in [
            (
                "a fresh machine with Node.js",
                Machine { node: true, npm: true, ..NOTHING },
                PLAIN,
                vec![MYSQL, MARIADB, Thing::Browser],
            ),
            ("a common Debian: MariaDB alone", debian, PLAIN, vec![MYSQL]),
            ("MySQL alone", Machine { mysql: Server::Started, ..NOTHING }, PLAIN, vec![MARIADB]),
            ("no Node.js", NOTHING, PLAIN, vec![MYSQL, MARIADB]),
            ("Node.js without npm", Machine { npm: false, packages: false, ..EVERYTHING }, PLAIN, vec![]),
            ("no npm, and nothing to fetch by it", Machine { npm: false, ..EVERYTHING }, PLAIN, vec![]),
            ("no packages", Machine { packages: false, ..EVERYTHING }, PLAIN, vec![Thing::Browser]),
            ("no Chromium", Machine { chromium: false, ..EVERYTHING }, PLAIN, vec![Thing::Browser]),
            ("everything", EVERYTHING, PLAIN, vec![]),
            (
                "servers that somebody named",
                Machine { mysql: named, mariadb: named, ..EVERYTHING },
                PLAIN,
                vec![],
            ),
            ("nothing, offline", Machine { node: true, npm: true, ..NOTHING }, OFFLINE, vec![]),
            ("--all fetches as much", debian, Wishes { all: true, ..PLAIN }, vec![MYSQL]),
            (
                "by a name: no browser",
                Machine { chromium: false, ..debian },
                Wishes { browser: false, ..PLAIN },
                vec![MYSQL],
            ),
            (
                "the browser alone",
                Machine { node: true, npm: true, ..NOTHING },
                Wishes { servers: false, ..PLAIN },
                vec![Thing::Browser],
            ),
        ] {
            assert_eq!(to_fetch(&machine, wishes), fetched, "{case}");
        }
    }

    #[test]
    fn tests_are_told_of_what_there_is_and_of_nothing_else() {
        let (mysql, mariadb) = (Value::Url(Kind::MySql), Value::Url(Kind::MariaDb));
        let own = |kinds: &str| [Value::ThisProgram, Value::Text(kinds.to_owned())];
        let none = || [Value::None, Value::None];
        let named = |others| Server::Named { others };
        for (case, servers, urls, own) in [
            ("both", [Server::Started; 2], [mysql.clone(), mariadb.clone()], own("mysql mariadb")),
            ("neither", [Server::Missing; 2], none(), none()),
            ("MariaDB", [Server::Missing, Server::Started], [Value::None, mariadb.clone()], own("mariadb")),
            ("MySQL", [Server::Started, Server::Missing], [mysql.clone(), Value::None], own("mysql")),
            ("both named", [named(false); 2], [mysql.clone(), mariadb.clone()], none()),
            ("named, and there", [named(true); 2], [mysql.clone(), mariadb.clone()], own("mysql mariadb")),
            ("one named", [named(false), Server::Started], [mysql, mariadb], own("mariadb")),
        ] {
            let machine = Machine { mysql: servers[0], mariadb: servers[1], ..NOTHING };
            for (all, required) in [(false, Value::Inherited), (true, Value::Text("1".to_owned()))] {
                let told = variables(&machine, Wishes { all, ..PLAIN }).map(|(_, value)| value);
                let expected = [urls.as_slice(), own.as_slice(), &[required]].concat();
                assert_eq!(told.as_slice(), expected, "{case}, all: {all}");
            }
        }
        assert_eq!(
            variables(&NOTHING, PLAIN).map(|(name, _)| name),
            ["IAM_TEST_MYSQL_URL", "IAM_TEST_MARIADB_URL", OWN_SERVER, OWN_KINDS, REQUIRED]
        );
    }

    #[test]
    fn what_is_still_missing_has_a_remedy_and_what_is_there_has_none() {
        let with = |machine, wishes, thing| remedy(thing, &machine, wishes).unwrap_or_default();
        for (case, machine, wishes, thing, begins) in [
            (
                "a server",
                NOTHING,
                PLAIN,
                MYSQL,
                "Run it again with a network, install MySQL 8.4 or newer, or name",
            ),
            (
                "offline",
                NOTHING,
                OFFLINE,
                MARIADB,
                "Run it without --offline, which fetches it, install MariaDB",
            ),
            ("no node", NOTHING, PLAIN, Thing::Browser, "Install Node.js 20"),
            (
                "no npm",
                Machine { npm: false, packages: false, ..EVERYTHING },
                PLAIN,
                Thing::Browser,
                "Install npm",
            ),
            (
                "no packages",
                Machine { packages: false, ..EVERYTHING },
                PLAIN,
                Thing::Browser,
                "Run it again where npm",
            ),
            (
                "offline",
                Machine { packages: false, ..EVERYTHING },
                OFFLINE,
                Thing::Browser,
                "Run it without --offline",
            ),
            (
                "no Chromium",
                Machine { chromium: false, ..EVERYTHING },
                PLAIN,
                Thing::Browser,
                "Install Chromium",
            ),
        ] {
            let said = with(machine, wishes, thing);
            assert!(said.starts_with(begins), "{case}: {said}");
        }
        for thing in [MYSQL, MARIADB, Thing::Browser] {
            assert_eq!(remedy(thing, &EVERYTHING, OFFLINE), None);
            assert_eq!(
                remedy(thing, &Machine { npm: false, ..EVERYTHING }, PLAIN),
                None,
                "nothing is to be fetched"
            );
        }
    }

    #[test]
    fn a_named_server_beside_which_none_starts_is_said() {
        let named = Machine { mysql: Server::Named { others: false }, ..EVERYTHING };
        assert_eq!(named.without_own(), [Kind::MySql]);
        // What is missing is said already.
        assert_eq!(Machine { mariadb: Server::Missing, ..EVERYTHING }.without_own(), []);
        assert_eq!(Machine { mysql: Server::Named { others: true }, ..EVERYTHING }.without_own(), []);
    }

    #[test]
    fn more_cores_take_less_and_a_first_build_takes_more() {
        assert_eq!([1, 2, 8, 64].map(|cores| about_minutes(cores, true)), [40, 24, 12, 10]);
        assert_eq!(about_minutes(2, false), 39);
    }
}
