//! What Burn finds out by trying kernels on a device stays on disk, and is said while it is found
//! out.
//!
//! Burn times several kernels for each product of matrices, and the device's speed, before it
//! settles on one. CubeCL's `persistence` keeps the answers in a small database, which several
//! processes may share, and goes on without it where it cannot be read or written.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use burn_cubecl::cubecl::config::cache::CacheConfig;
use burn_cubecl::cubecl::environment;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::TRYING_OUT;

/// How often a count is printed.
const OFTEN_ENOUGH: Duration = Duration::from_secs(5);

/// Keeps what is found out from now on in the user's cache folder (`cubecl/` in it).
///
/// One file for each kind of hardware: the answers themselves are not told apart by it. In a
/// process that uses several at once, the last one's is taken.
pub(super) fn keep(device: &Device) {
    let identity = device.identity().unwrap_or_default();
    environment::set_root(CacheConfig::Global.root());
    environment::activate(format!("{} {}", identity.name, identity.fingerprint));
    let database = environment::path();
    if damaged(&database) {
        remove(&database);
    }
}

/// Whether a file is there that is no SQLite database, by its first bytes
/// (<https://www.sqlite.org/fileformat.html>, "The Database Header").
fn damaged(database: &Path) -> bool {
    let mut header = [0; 16];
    let read = File::open(database).and_then(|mut file| file.read_exact(&mut header));
    read.is_ok() && header != *b"SQLite format 3\0"
}

/// Removes a database, and what lies beside it, so that the next answers are kept again. CubeCL goes
/// on without one that it cannot open, at every start anew.
fn remove(database: &Path) {
    let removed = fs::remove_file(database);
    // Its log and its index would be taken for the next one's.
    for suffix in ["-wal", "-shm", "-tshm"] {
        let mut path = database.as_os_str().to_owned();
        path.push(suffix);
        let _ = fs::remove_file(path);
    }
    let database = database.display();
    let line = match removed {
        Ok(()) => format!("removed {database}: it was no database; kernels are tried out again"),
        Err(error) => format!(
            "{database} is no database, so that kernels are tried out at every start: remove it ({error})"
        ),
    };
    let _ = writeln!(io::stderr(), "{line}");
}

/// What prints, on standard error, that kernels are being tried out: at the first, and then how
/// many so far, every few seconds.
pub(super) fn announcements<S>() -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    // One event for each thing to be found out, as CubeCL logs it.
    let tunings = Targets::new().with_target("cubecl_runtime::tune::tuner", LevelFilter::INFO);
    Announcements::default().with_filter(tunings)
}

#[derive(Default)]
struct Announcements(Mutex<Said>);

#[derive(Default)]
struct Said {
    events: usize,
    last: Option<Instant>,
}

impl<S: Subscriber> Layer<S> for Announcements {
    fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.events += 1;
        let line = match said.last {
            None => format!(
                "{TRYING_OUT}, once: the answers are kept in {}",
                environment::root().display()
            ),
            Some(last) if last.elapsed() >= OFTEN_ENOUGH => {
                format!("{TRYING_OUT}: {} so far", said.events)
            }
            Some(_) => return,
        };
        said.last = Some(Instant::now());
        // The terminal may be gone.
        let _ = writeln!(io::stderr(), "{line}");
    }
}
