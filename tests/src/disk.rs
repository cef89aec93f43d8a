//! The example programs on disks that are full, broken or read-only, and files that are copied and put back.

use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Resource, Rlimit, prlimit};
use tempfile::TempDir;

use crate::program::Running;
use crate::{Answer, Backend, Browser, PASSWORD, Program};

/// More sign-ins than fit onto what is left of a disk.
const MANY: usize = 200;

/// Enough people that none of them signs in too often.
const PEOPLE: [&str; 4] = ["amy", "ben", "cleo", "dan"];

/// A small file system of a test's own, unmounted with it.
#[derive(Debug)]
struct Disk {
    place: TempDir,
    by: Vec<&'static str>,
}

impl Disk {
    /// One that is mounted by root, or by `sudo` without a password. `cargo xtask test` says where neither works; with
    /// `IAM_TEST_REQUIRE_DATABASES` (as `--all` sets it) that is a failure.
    fn mount() -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let mode = "size=3m,mode=0777";
        for by in [vec!["mount"], vec!["sudo", "-n", "mount"]] {
            if run(&by, &["-t", "tmpfs", "-o", mode, "tmpfs"], place.path()) {
                return Some(Self { place, by });
            }
        }
        let required = env::var_os("IAM_TEST_REQUIRE_DATABASES").is_some_and(|value| !value.is_empty());
        assert!(!required, "no file system can be mounted");
        None
    }

    fn database(&self) -> String {
        format!("sqlite://{}", self.place.path().join("iam.db").display())
    }

    /// To the last byte.
    fn fill(&self) {
        let mut ballast = File::create(self.place.path().join("ballast")).unwrap();
        for size in [4096, 1] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.place.path().join("ballast")).unwrap();
    }

    fn make_read_only(&self) {
        assert!(run(&self.by, &["-o", "remount,ro"], self.place.path()));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let mut by = self.by.clone();
        by.pop();
        by.push("umount");
        assert!(run(&by, &["-l"], self.place.path()) || std::thread::panicking());
    }
}

fn run(by: &[&str], arguments: &[&str], place: &Path) -> bool {
    let mut command = Command::new(by[0]);
    command.args(&by[1..]).args(arguments).arg(place);
    command.output().is_ok_and(|done| done.status.success())
}

async fn amys(program: &'static str) -> Program {
    Program::new(program, Backend::Sqlite, PEOPLE.into_iter().map(str::to_owned)).await
}

async fn readiness(running: &Running) -> (u16, String) {
    let answer = running.browser().get("/readyz").await;
    (answer.status, answer.body)
}

async fn sign_in(running: &Running) -> Answer {
    running.browser().api_sign_in("amy", PASSWORD).await
}

/// Signs in until that is refused, since what there was room for is used up.
async fn refused(running: &Running) -> u16 {
    for person in PEOPLE.into_iter().cycle().take(MANY) {
        let answer = running.browser().api_sign_in(person, PASSWORD).await;
        if answer.status != 200 {
            return answer.status;
        }
    }
    panic!("the disk took everything")
}

const NOT_WRITABLE: &str = "the database can't be written";

/// The state of a service without room: nothing can be written, readiness says so, and sessions can go on reading.
async fn serves_reads_only(running: &Running, amy: &mut Browser) {
    assert_eq!(refused(running).await, 503);
    assert_eq!(readiness(running).await, (503, NOT_WRITABLE.to_owned()));
    assert_eq!(amy.get("/reports").await.status, 200, "reads go on");
    assert_eq!(readiness(running).await, (503, NOT_WRITABLE.to_owned()));
}

async fn serves_everything(running: &Running, amy: &mut Browser) {
    assert_eq!(readiness(running).await, (200, "ready".to_owned()));
    assert_eq!(amy.get("/reports").await.status, 200);
    for _ in 0..3 {
        let answer = sign_in(running).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

/// After a disk was full and has room again all is as before, without a restart, whether a write or readiness comes first.
pub async fn a_full_disk_stops_nothing_for_good(program: &'static str) {
    let Some(disk) = Disk::mount() else { return };
    let running = amys(program).await.with("IAM_DATABASE_URL", disk.database()).start();
    let mut amy = running.browser();
    assert_eq!(amy.api_sign_in("amy", PASSWORD).await.status, 200);
    serves_everything(&running, &mut amy).await;
    for is_asked_first in [true, false] {
        disk.fill();
        serves_reads_only(&running, &mut amy).await;
        disk.free();
        if is_asked_first {
            assert_eq!(sign_in(&running).await.status, 200, "a write, before readiness looks");
        }
        serves_everything(&running, &mut amy).await;
    }
    let said = running.said();
    assert!(said.contains("the database can't be written: is the disk full"), "{said}");
}

/// The same when writes fail with an I/O error: a file system that turned read-only under an open file, a disk that broke.
pub async fn a_disk_that_refuses_writes_stops_nothing_for_good(program: &'static str) {
    let program = amys(program).await.shielded();
    let running = program.start();
    let mut amy = running.browser();
    assert_eq!(amy.api_sign_in("amy", PASSWORD).await.status, 200);
    for _ in 0..2 {
        let before = prlimit(Some(running.id()), Resource::Fsize, Rlimit { current: Some(0), maximum: None });
        serves_reads_only(&running, &mut amy).await;
        prlimit(Some(running.id()), Resource::Fsize, before.unwrap()).unwrap();
        serves_everything(&running, &mut amy).await;
    }
}

/// What can't be written is refused at the start, by the name of the setting.
pub async fn a_read_only_disk_is_refused_at_the_start(program: &'static str) {
    let Some(disk) = Disk::mount() else { return };
    let program = amys(program).await.with("IAM_DATABASE_URL", disk.database());
    let running = program.start();
    assert_eq!(readiness(&running).await.0, 200);
    assert!(running.stop());
    disk.make_read_only();
    let (_, said, code) = program.run(&[]);
    assert!(code == Some(1) && said.contains("IAM_DATABASE_URL"), "{code:?} {said}");
}

fn file_of(program: &Program) -> PathBuf {
    PathBuf::from(program.database.url().strip_prefix("sqlite://").unwrap())
}

/// A service that was stopped leaves one file, and an old copy of that revives nothing once `restored` was run.
pub async fn an_old_file_put_back_revives_nothing(program: &'static str) {
    let program = amys(program).await;
    let file = file_of(&program);
    let backup = file.with_extension("backup");
    let running = program.start();
    let mut amy = running.browser();
    assert_eq!(amy.api_sign_in("amy", PASSWORD).await.status, 200);
    let cookies = amy.cookies.clone();
    assert!(running.stop());
    for part in ["-wal", "-shm"] {
        let beside = PathBuf::from(format!("{}{part}", file.display()));
        assert!(!beside.exists(), "a clean stop leaves one file: {}", beside.display());
    }
    fs::copy(&file, &backup).unwrap();

    let with_cookies = |running: &Running| {
        let mut browser = running.browser();
        browser.cookies.clone_from(&cookies);
        browser
    };
    let running = program.start();
    let mut amy = with_cookies(&running);
    assert_eq!(amy.get("/reports").await.status, 200);
    assert_eq!(amy.post_json("/api/v1/auth/logout", &serde_json::json!({})).await.status, 204);
    assert_eq!(with_cookies(&running).get("/reports").await.status, 401);
    assert!(running.stop());

    fs::copy(&backup, &file).unwrap();
    let running = program.start();
    assert_eq!(with_cookies(&running).get("/reports").await.status, 200, "what it is about");
    assert!(running.stop());

    fs::copy(&backup, &file).unwrap();
    for sessions in [1, 0] {
        let (_, said, code) = program.run(&["restored"]);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(&format!("{sessions:>8} sessions were ended")), "{said}");
    }
    let running = program.start();
    assert_eq!(with_cookies(&running).get("/reports").await.status, 401);
    assert_eq!(sign_in(&running).await.status, 200);
    assert!(running.stop());
}
