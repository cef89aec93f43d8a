//! The log, written by a thread of its own: no request waits for it, and none ends with it.
//!
//! For a service to copy. `tracing_subscriber::fmt().init()` alone writes where something is said, in the middle of a request. What it
//! can't write (`app 2>&1 | reader` whose reader has gone, a full disk) it tells by `eprintln!`, which panics when that can't be written
//! either; and a reader that stands still makes everybody wait. Here a line that can't be written is lost and counted, and so is one
//! for which the queue has no room; how many were is said once the next line can be written. Panics are said in the log, too: the
//! standard library's own words would go to standard error, and wait there.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

/// How many lines may wait to be written: some seconds of a busy service, a few megabytes.
const WAITING: usize = 8_192;

/// How long the end of the program waits for the last of them.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The end of the log: dropped, it waits for what was said until then.
#[must_use]
pub(crate) struct Log(Lines);

/// What the log's thread is handed.
enum Said {
    Line(Vec<u8>),
    /// Tells when all before it was written.
    End(SyncSender<()>),
}

/// What `tracing-subscriber` writes to, in one piece for each line.
#[derive(Clone)]
struct Lines {
    queue: SyncSender<Said>,
    lost: Arc<AtomicU64>,
}

/// Begins to log to standard output, as `RUST_LOG` says.
pub(crate) fn start() -> io::Result<Log> {
    let (queue, said) = sync_channel(WAITING);
    let lines = Lines { queue, lost: Arc::default() };
    let lost = Arc::clone(&lines.lost);
    thread::Builder::new().name("log".to_owned()).spawn(move || write_down(&said, &lost, output()))?;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let writer = lines.clone();
    // It has nobody to tell of what it can't write.
    let log = tracing_subscriber::fmt().log_internal_errors(false).with_writer(move || writer.clone());
    log.with_env_filter(filter).init();
    panic::set_hook(Box::new(|panic| {
        let trace = Backtrace::capture();
        match trace.status() {
            BacktraceStatus::Captured => tracing::error!(%trace, "{panic}"),
            _ => tracing::error!("{panic}"),
        }
    }));
    Ok(Log(lines))
}

/// Standard output, past the standard library's lock, which the log's thread would hold as long as it waits.
fn output() -> Box<dyn Write> {
    #[cfg(unix)]
    if let Ok(output) = std::os::fd::AsFd::as_fd(&io::stdout()).try_clone_to_owned() {
        return Box::new(std::fs::File::from(output));
    }
    Box::new(io::stdout())
}

fn write_down(said: &Receiver<Said>, lost: &AtomicU64, mut output: impl Write) {
    let mut write = |line: &[u8]| output.write_all(line).and_then(|()| output.flush()).is_ok();
    for said in said {
        match said {
            Said::Line(line) => {
                let missing = lost.load(Ordering::Relaxed);
                // On a line of its own: the last one may be there in part.
                if missing > 0 && write(format!("\n{missing} lines of the log were lost here\n").as_bytes()) {
                    lost.fetch_sub(missing, Ordering::Relaxed);
                }
                if !write(&line) {
                    lost.fetch_add(1, Ordering::Relaxed);
                }
            }
            // Who asked may have gone.
            Said::End(written) => drop(written.try_send(())),
        }
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Said::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let (written, all_is) = sync_channel(1);
        // With a full queue nothing is written in any case.
        if self.0.queue.try_send(Said::End(written)).is_ok() {
            let _ = all_is.recv_timeout(LAST_WORDS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with room for some bytes, until there is more.
    struct Disk(Vec<u8>, usize);

    impl Write for &mut Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let fits = bytes.len().min(self.1 - self.0.len());
            self.0.extend_from_slice(&bytes[..fits]);
            if fits == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(fits) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_lost_is_counted_and_said_once() {
        let (queue, said) = sync_channel(3);
        let mut lines = Lines { queue, lost: Arc::default() };
        let lost = Arc::clone(&lines.lost);
        let mut disk = Disk(Vec::new(), 8);
        for line in ["one\n", "two\n", "three\n"] {
            // The third finds no room on the disk.
            lines.write_all(line.as_bytes()).unwrap();
        }
        let (queue, next) = sync_channel(2);
        write_down(&drained(lines, said), &lost, &mut disk);
        assert_eq!((disk.0.as_slice(), lost.load(Ordering::Relaxed)), (b"one\ntwo\n".as_slice(), 1));
        disk.1 = 1000;
        let mut lines = Lines { queue, lost: Arc::clone(&lost) };
        lines.write_all(b"five\n").unwrap();
        lines.write_all(b"six\n").unwrap();
        // And this none in the queue.
        lines.write_all(b"seven\n").unwrap();
        write_down(&drained(lines, next), &lost, &mut disk);
        let text = String::from_utf8(disk.0).unwrap();
        assert_eq!(text, "one\ntwo\n\n2 lines of the log were lost here\nfive\nsix\n");
        assert_eq!(lost.load(Ordering::Relaxed), 0);
    }

    /// A queue that ends with what is in it.
    fn drained(lines: Lines, said: Receiver<Said>) -> Receiver<Said> {
        drop(lines);
        said
    }
}
