//! Ctrl-C: the first one finishes the step and saves, the second one leaves at once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use burn::train::Interrupter;

/// The exit status of a program that SIGINT ended (128 + 2).
pub const INTERRUPTED: u8 = 130;

static SIGNALS: AtomicUsize = AtomicUsize::new(0);
static DASHBOARD: AtomicBool = AtomicBool::new(false);
static ASKED: AtomicBool = AtomicBool::new(false);
static INTERRUPTER: Mutex<Option<Interrupter>> = Mutex::new(None);

/// Listens for Ctrl-C from now on, once a process, also where it was started with the signal
/// ignored (a script's `&`).
///
/// Without a [`register`]ed loop, or somebody who has [`asked`], a signal ends the process at once, with status 130.
pub fn listen() {
    // A second call (library users) leaves the first handler in place, which is the same.
    let _ = ctrlc::set_handler(|| {
        let earlier = SIGNALS.fetch_add(1, Ordering::SeqCst);
        let registered = lock().clone();
        match registered {
            Some(interrupter) if earlier == 0 => {
                interrupter.stop(Some("Ctrl-C"));
                if !DASHBOARD.load(Ordering::SeqCst) {
                    eprintln!(
                        "interrupted: finishing this step and saving (Ctrl-C again leaves at once)"
                    );
                }
            }
            None if earlier == 0 && ASKED.load(Ordering::SeqCst) => {}
            _ => {
                if DASHBOARD.load(Ordering::SeqCst) {
                    restore_terminal();
                }
                std::process::exit(i32::from(INTERRUPTED));
            }
        }
    });
}

/// From now on the first signal stops `interrupter` and no more.
pub fn register(interrupter: &Interrupter) {
    *lock() = Some(interrupter.clone());
}

fn lock() -> std::sync::MutexGuard<'static, Option<Interrupter>> {
    INTERRUPTER
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Tells whether somebody asks [`requested`] regularly, so that the first signal need not end
/// the process.
pub fn asked(regularly: bool) {
    ASKED.store(regularly, Ordering::SeqCst);
}

/// Whether a signal has come.
pub fn requested() -> bool {
    SIGNALS.load(Ordering::SeqCst) > 0
}

/// Tells whether a dashboard owns the terminal.
pub fn dashboard(active: bool) {
    DASHBOARD.store(active, Ordering::SeqCst);
}

/// Lets Ctrl-C through while the dashboard is on.
///
/// The dashboard's raw mode turns the terminal's signal keys off, and it knows no Ctrl-C
/// itself (only `q`), so they are turned on again.
pub fn allow_signal_keys() {
    #[cfg(unix)]
    stty(&["isig"]);
}

/// Leaves the dashboard's screen and raw mode, for an exit that runs no destructor.
fn restore_terminal() {
    use std::io::Write;
    // Mouse reports off, main screen, cursor on.
    let _ = std::io::stdout()
        .write_all(b"\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1049l\x1b[?25h");
    let _ = std::io::stdout().flush();
    #[cfg(unix)]
    stty(&["sane"]);
}

#[cfg(unix)]
fn stty(arguments: &[&str]) {
    let _ = std::process::Command::new("stty")
        .args(arguments)
        .stdin(std::process::Stdio::inherit())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status();
}
