//! Signals that end a run: the first one finishes the step and saves.
//!
//! Ctrl-C, `kill`, a scheduler's time limit and a closed terminal all mean the same. A second Ctrl-C, or
//! another `kill` a second later, ends the process at once.

use std::process::{Child, ExitStatus};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use burn::train::Interrupter;
use crossterm::cursor::Show;
use crossterm::event::DisableMouseCapture;
use crossterm::terminal::{LeaveAlternateScreen, disable_raw_mode};

use super::lock;
use super::progress::say_aside;

/// What a signal's number is added to, to give the exit status of a program that it ended.
const SIGNALLED: i32 = 128;
const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;
/// `timeout` and other programs send their signal twice.
const SAME: Duration = Duration::from_secs(1);

/// The first signal; 0 before.
static FIRST: AtomicI32 = AtomicI32::new(0);
static DASHBOARD: AtomicBool = AtomicBool::new(false);
static ASKED: AtomicBool = AtomicBool::new(false);
static INTERRUPTER: Mutex<Option<Interrupter>> = Mutex::new(None);

/// Listens for SIGINT (Ctrl-C), SIGTERM and SIGHUP from now on, once a process; for SIGINT also where it
/// was started with the signal ignored (a script's `&`), for SIGHUP not (`nohup`).
///
/// Without a [`register`]ed loop, and unless code has announced with [`asked`] that it checks, a signal ends the process at once, with
/// status 128 and the signal's number.
pub fn listen() {
    let mut received: Option<(i32, Instant)> = None;
    platform::listen(move |signal| {
        let earlier = received;
        received = Some((signal, Instant::now()));
        let Some((before, at)) = earlier else {
            return first(signal);
        };
        let insists = match signal {
            SIGINT => true,
            SIGTERM => at.elapsed() > SAME,
            _ => false,
        };
        if insists && before == signal {
            leave(signal);
        }
    });
}

fn first(signal: i32) {
    FIRST.store(signal, Ordering::SeqCst);
    let registered = lock(&INTERRUPTER).clone();
    match registered {
        Some(interrupter) => {
            interrupter.stop(Some("a signal"));
            if !DASHBOARD.load(Ordering::SeqCst) {
                let what = match signal {
                    SIGINT => {
                        "interrupted: finishing this step and saving (Ctrl-C again leaves at once)"
                    }
                    _ => "asked to end: finishing this step and saving",
                };
                say_aside(what);
            }
        }
        None if ASKED.load(Ordering::SeqCst) => {}
        None => leave(signal),
    }
}

fn leave(signal: i32) -> ! {
    if DASHBOARD.load(Ordering::SeqCst) {
        restore_terminal();
    }
    std::process::exit(SIGNALLED + signal);
}

/// The exit status of a process that was asked to end: 128 and the signal's number.
pub fn status() -> u8 {
    let signal = match FIRST.load(Ordering::SeqCst) {
        // A key did it.
        0 => SIGINT,
        signal => signal,
    };
    (SIGNALLED + signal) as u8
}

/// Whether a process that ended with this status was asked to.
pub fn is_status(status: i32) -> bool {
    [SIGHUP, SIGINT, SIGTERM].contains(&(status - SIGNALLED))
}

/// From now on the first signal stops `interrupter` and no more.
pub fn register(interrupter: &Interrupter) {
    *lock(&INTERRUPTER) = Some(interrupter.clone());
}

/// Tells whether code calls [`requested`] regularly, so that the first signal need not end
/// the process.
pub fn asked(regularly: bool) {
    ASKED.store(regularly, Ordering::SeqCst);
}

/// Whether a signal has come.
pub fn requested() -> bool {
    FIRST.load(Ordering::SeqCst) != 0
}

/// Waits for a child that listens as this process does, and asks it to end when this one is.
///
/// # Errors
///
/// The system does not tell.
pub fn wait_with(child: &mut Child) -> std::io::Result<ExitStatus> {
    const GLANCE: Duration = Duration::from_millis(20);
    asked(true);
    let mut told = false;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if requested() && !told {
            told = true;
            platform::ask_to_end(child.id());
        }
        std::thread::sleep(GLANCE);
    };
    asked(false);
    Ok(status)
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
    let _ = std::process::Command::new("stty")
        .arg("isig")
        .stdin(std::process::Stdio::inherit())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status();
}

/// Leaves the dashboard's screen and raw mode, for an exit that runs no destructor.
fn restore_terminal() {
    let _ = crossterm::execute!(
        std::io::stdout(),
        DisableMouseCapture,
        LeaveAlternateScreen,
        Show
    );
    let _ = disable_raw_mode();
}

#[cfg(unix)]
mod platform {
    use signal_hook::iterator::Signals;

    use super::{SIGHUP, SIGINT, SIGTERM};

    /// Calls `act` with the number of every signal, on a thread of its own.
    pub fn listen(mut act: impl FnMut(i32) + Send + 'static) {
        let mut wanted = vec![SIGINT, SIGTERM];
        if !is_ignored(SIGHUP) {
            wanted.push(SIGHUP);
        }
        let Ok(mut signals) = Signals::new(wanted) else {
            // Signals then end the process, as they do without us.
            return;
        };
        let listener = std::thread::Builder::new().name("signals".into());
        let _ = listener.spawn(move || signals.forever().for_each(&mut act));
    }

    /// Asks another process to end. One that a terminal's Ctrl-C has told already takes no notice.
    pub fn ask_to_end(process: u32) {
        // SAFETY: the call reads no memory of this process.
        let _ = unsafe { libc::kill(process as libc::pid_t, SIGTERM) };
    }

    /// Whether the process was started with a signal ignored.
    fn is_ignored(signal: i32) -> bool {
        // SAFETY: without a new action the call only writes the old one, to memory of its type, for
        // which all zeros are a value.
        unsafe {
            let mut old: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &mut old) == 0
                && old.sa_sigaction == libc::SIG_IGN
        }
    }
}

#[cfg(not(unix))]
mod platform {
    /// Calls `act` for every Ctrl-C.
    pub fn listen(mut act: impl FnMut(i32) + Send + 'static) {
        let _ = ctrlc::set_handler(move || act(super::SIGINT));
    }

    /// The console has told it.
    pub fn ask_to_end(_process: u32) {}
}
