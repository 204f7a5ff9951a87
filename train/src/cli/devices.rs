//! `ls-train devices`

use clap::Args;
use serde_json::json;
use transformer_ls_burn::ops::attention_path;
use transformer_ls_infer::device;

use super::table::{Side, table};
use super::{Done, print};

/// What the column `attention` says.
const PATHS: &str = "
attention is how a device computes it:
  wgsl   this project's compute shaders
  cpu    this project's CPU kernels
  plain  Burn's own tensor operations, right everywhere, slower
";

#[derive(Debug, Args)]
pub(super) struct DevicesArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DevicesArgs) -> anyhow::Result<Done> {
    let auto = device::resolve("auto").map(|chosen| chosen.name).ok();
    let devices = device::list();
    if args.json {
        let list: Vec<_> = devices
            .iter()
            .map(|info| {
                let path = attention_path(&info.device);
                json!({
                    "name": info.name,
                    "adapter": info.adapter,
                    "kind": info.class.to_string(),
                    "auto": auto.as_deref() == Some(&info.name),
                    "attention_path": path.kind.to_string(),
                    "reason": path.reason,
                })
            })
            .collect();
        return print(&(serde_json::to_string_pretty(&list)? + "\n"));
    }
    let columns = [
        ("device", Side::Left),
        ("kind", Side::Left),
        ("adapter", Side::Left),
        ("attention", Side::Left),
        ("why", Side::Left),
    ];
    let rows: Vec<Vec<String>> = devices
        .iter()
        .map(|info| {
            let path = attention_path(&info.device);
            vec![
                info.name.clone(),
                info.class.to_string(),
                info.adapter.clone(),
                path.kind.to_string(),
                path.reason.to_string(),
            ]
        })
        .collect();
    let mut text = table(&columns, &rows) + PATHS;
    if let Some(auto) = auto {
        text += &format!("\n--device auto takes {auto}\n");
    }
    print(&text)
}
