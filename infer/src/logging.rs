//! Where the libraries' warnings go.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::sync::Mutex;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

use crate::device;

/// Prints warnings of the libraries on standard error, and that kernels are being tried out; with
/// `file`, warnings go there instead. `RUST_LOG` chooses what is logged.
pub fn start(file: Option<File>) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        EnvFilter::new("warn,wgpu_core=error,wgpu_hal=off,naga=error,cubecl_runtime=error")
    });
    // It would say so on the standard error, which may be what is gone.
    let lines = fmt::layer().log_internal_errors(false);
    // A subscriber that is set already (library users) stays.
    let _ = match file {
        Some(file) => {
            let lines = lines.with_ansi(false).with_writer(Mutex::new(file));
            registry().with(lines.with_filter(filter)).try_init()
        }
        None => {
            let lines = lines.with_ansi(io::stderr().is_terminal());
            let lines = lines.with_writer(io::stderr).with_filter(filter);
            registry()
                .with(lines)
                .with(device::announcements())
                .try_init()
        }
    };
}
