//! Downloads, with a line that says how far they are.
//!
//! What fetches is another program (apt-get, npm). How far it is, is seen by what lies in the folder that it fills.

use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::process;
use crate::trouble::{Result, Trouble, Trying as _};

const MB: u64 = 1_000_000;

/// Something that another program fetches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Download<'a> {
    pub(crate) what: &'a str,
    /// How many bytes it will be, if anybody knows.
    pub(crate) bytes: Option<u64>,
    /// Where it arrives.
    pub(crate) folder: &'a Path,
}

impl Download<'_> {
    /// Runs the program that fetches it. What that says is shown only if it fails.
    pub(crate) fn run(&self, command: &mut Command) -> Result<()> {
        let terminal = std::io::stdout().is_terminal();
        let pause = if terminal { Duration::from_millis(500) } else { Duration::from_secs(10) };
        let line = process::line(command);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .trying(|| format!("start `{line}`"))?;
        let start = Instant::now();
        println!(
            "Fetching {}{}.",
            self.what,
            self.bytes.map(|bytes| format!(", {}", size(bytes))).unwrap_or_default()
        );
        let (send, ended) = mpsc::channel();
        thread::spawn(move || send.send(child.wait_with_output()));
        let output = loop {
            match ended.recv_timeout(pause) {
                Ok(output) => break output.trying(|| format!("wait for `{line}`"))?,
                Err(RecvTimeoutError::Timeout) => self.show(terminal, start),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Trouble::new(format!("Waiting for `{line}` panicked.")));
                }
            }
        };
        self.show(terminal, start);
        if terminal {
            println!();
        }
        process::judged(&line, &output).map(drop)
    }

    /// On a terminal the line is written over and over; in a log each is one of its own.
    fn show(&self, terminal: bool, start: Instant) {
        let seconds = start.elapsed().as_secs();
        let far = far(self.what, filled(self.folder), self.bytes, seconds);
        if terminal {
            print!("\r  {far}   ");
            // It is for show.
            let _ = std::io::stdout().flush();
        } else {
            println!("  {far}");
        }
    }
}

/// How far a download is, in words.
fn far(what: &str, there: u64, bytes: Option<u64>, seconds: u64) -> String {
    match bytes {
        Some(bytes) => format!("{what}: {} of {}, {seconds} s", size(there.min(bytes)), size(bytes)),
        None => format!("{what}: {}, {seconds} s", size(there)),
    }
}

/// As people say it.
pub(crate) fn size(bytes: u64) -> String {
    if bytes >= MB { format!("{} MB", (bytes + MB / 2) / MB) } else { format!("{} kB", bytes.div_ceil(1000)) }
}

/// How many bytes lie in a folder. What goes away meanwhile does not count.
fn filled(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let mut bytes = 0;
    for entry in entries.flatten() {
        match entry.metadata() {
            Ok(met) if met.is_dir() => bytes += filled(&entry.path()),
            Ok(met) if met.is_file() => bytes += met.len(),
            _ => {}
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        assert_eq!(far("MySQL", 12_300_000, Some(58_000_000), 7), "MySQL: 12 MB of 58 MB, 7 s");
        assert_eq!(far("MySQL", 60_000_000, Some(58_000_000), 9), "MySQL: 58 MB of 58 MB, 9 s");
        assert_eq!(far("lists", 1_200, None, 0), "lists: 2 kB, 0 s");
    }

    #[test]
    fn what_lies_in_a_folder_is_counted() {
        let folder = std::env::temp_dir().join(format!("iam-filled-{}", std::process::id()));
        fs::create_dir_all(folder.join("inner")).unwrap();
        fs::write(folder.join("a"), [0; 100]).unwrap();
        fs::write(folder.join("inner").join("b"), [0; 23]).unwrap();
        assert_eq!(filled(&folder), 123);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(filled(&folder), 0);
    }

    #[test]
    fn what_fails_says_what_the_program_said() {
        let download = Download { what: "nothing", bytes: None, folder: Path::new("/no/such") };
        let trouble =
            download.run(Command::new("sh").args(["-c", "echo no network >&2; exit 3"])).unwrap_err();
        assert!(trouble.to_string().contains("no network"), "{trouble}");
        download.run(Command::new("sh").args(["-c", "exit 0"])).unwrap();
    }
}
