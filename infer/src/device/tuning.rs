//! What Burn finds out by trying kernels on a device stays on disk, and is said while it is found
//! out.
//!
//! Burn times several kernels for each product of matrices, and the device's speed, before it
//! settles on one. CubeCL's `persistence` keeps the answers in a small database, which several
//! processes may share, and goes on without it where it cannot be read or written.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use burn_cubecl::cubecl::config::cache::CacheConfig;
use burn_cubecl::cubecl::environment;
use cubecl_environment::persistence::{Access, Database, Insertion, Origin};
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
    // Twice: another process may be making it.
    if damage(&database).is_some() {
        thread::sleep(Duration::from_millis(200));
        if let Some(problem) = damage(&database) {
            remove(&database, &problem);
        }
    }
}

/// Why nothing can be kept in a database that is there and that this user may write; none where something
/// can, or where another process keeps it locked.
fn damage(database: &Path) -> Option<String> {
    let mut writable = OpenOptions::new();
    writable.read(true).write(true).open(database).ok()?;
    // CubeCL goes on with a database that it can only read, and so with some that are damaged.
    let problem = match Database::open_at(database, Access::ReadWrite) {
        Ok(opened) => match opened.replace("transformer-ls", b"opened", b"", Origin::Local) {
            Insertion::Failed(problem) => problem,
            _ => return None,
        },
        Err(problem) => problem,
    };
    let lower = problem.to_lowercase();
    // What a whole database may come to; a wrong guess costs no more than trying kernels out again.
    let others = [
        "busy",
        "locked",
        "snapshot",
        "i/o error",
        "permission",
        "too many open",
        "full",
        "space",
    ];
    (!others.iter().any(|word| lower.contains(word))).then_some(problem)
}

/// Removes a database that cannot be read, and what lies beside it, so that the next answers are kept
/// again. CubeCL goes on without one that it cannot open, at every start anew.
fn remove(database: &Path, problem: &str) {
    let removed = fs::remove_file(database);
    // Its log and its index would be taken for the next one's.
    for suffix in ["-wal", "-shm", "-tshm"] {
        let mut path = database.as_os_str().to_owned();
        path.push(suffix);
        let _ = fs::remove_file(path);
    }
    let database = database.display();
    let line = match removed {
        Ok(()) => {
            format!(
                "removed {database}, which was damaged ({problem}): kernels are tried out again"
            )
        }
        Err(error) => format!(
            "{database} is damaged ({problem}), so that kernels are tried out at every start: remove it ({error})"
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
