//! `ls-train completions SHELL`

use clap::Args;
use clap_complete::Shell;

use super::{Done, describe, print};

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell to complete for
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs) -> anyhow::Result<Done> {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut describe::command(),
        "ls-train",
        &mut script,
    );
    print(&String::from_utf8_lossy(&script))
}
