//! Which measurements do not fit into memory, told before they start.

use sysinfo::{MemoryRefreshKind, RefreshKind, System};
use transformer_ls_burn::ClassifierConfig;
use transformer_ls_infer::device::{ChosenDevice, DeviceClass};
use transformer_ls_infer::run::Precision;

use super::job::{Job, Pass, Path, Sizes, Subject};
use super::step;
use crate::trainer::progress::bytes;

/// Why a measurement can't be made on that device, if it can't: half a sentence.
///
/// Where tensors lie in main memory, the system would end some process, and not necessarily the
/// one that asked for too much. A GPU with memory of its own refuses by itself.
pub fn refusal(job: &Job, chosen: &ChosenDevice) -> Option<String> {
    let (DeviceClass::Cpu | DeviceClass::SoftwareGpu | DeviceClass::IntegratedGpu) = chosen.class
    else {
        return None;
    };
    let floats = match &job.subject {
        Subject::Attention(sizes) => attention_floats(job, sizes),
        // Tokens, queries, keys, values and the output, and the gradient of each.
        Subject::Module { module } => {
            let tensors = if job.pass == Pass::Forward { 5 } else { 10 };
            (job.b * job.n * module.d_model() * tensors) as f64
        }
        Subject::Step { preset, .. } => {
            step_floats(job.pass, &step::model(preset, job.n).ok()?, job.b)
        }
    };
    // Weights and their gradients are float32 in any case.
    let bytes_a_float = match (&job.subject, job.precision) {
        (Subject::Attention(_), Precision::F16) => 2.0,
        _ => 4.0,
    };
    let (needed, free) = (floats * bytes_a_float, free_bytes()? as f64);
    (needed > free).then(|| {
        let (needed, free) = (bytes(needed), bytes(free));
        format!("it needs {needed} at least, and {free} are free")
    })
}

/// The numbers that attention holds at once at the least.
fn attention_floats(job: &Job, sizes: &Sizes) -> f64 {
    let (n, d, r) = (job.n as f64, sizes.d as f64, sizes.r as f64);
    let of_a_query = match (job.path, job.pass) {
        // Inputs and outputs.
        (Path::Fused | Path::Plain, Pass::Forward) => 4.0 * d + r,
        (Path::Fused | Path::Plain, _) => 8.0 * d + 2.0 * r,
        // The scores and what the softmax makes of them; backward, the gradients of both.
        (Path::Dense, Pass::Forward) => 4.0 * d + 2.0 * n,
        (Path::Dense, _) => 8.0 * d + 4.0 * n,
    };
    job.b as f64 * sizes.h as f64 * n * of_a_query
}

/// The numbers that a step of `model` on `b` samples of full length holds at once at the least.
fn step_floats(pass: Pass, model: &ClassifierConfig, b: usize) -> f64 {
    let documents = if model.pair { 2.0 } else { 1.0 };
    let encoder = &model.encoder;
    let tokens = documents * b as f64 * encoder.embedding.max_length as f64;
    let (width, inner) = (encoder.d_model() as f64, encoder.block.d_ff as f64);
    let of_a_token = match pass {
        // Input, queries, keys, values; what the feed-forward layer holds comes after them.
        Pass::Forward => f64::max(4.0 * width, width + inner),
        // What each layer keeps for its backward pass: besides those, the output of attention, of
        // both LayerNorms of the block, and the inner layer before and after its activation.
        Pass::TrainStep | Pass::ForwardBackward => {
            encoder.layers as f64 * (7.0 * width + 2.0 * inner)
        }
    };
    tokens * of_a_token
}

/// Bytes of main memory that are free for a new process. `None` where the system does not tell.
fn free_bytes() -> Option<u64> {
    let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(memory);
    let limited = system.cgroup_limits().map(|limits| limits.free_memory);
    let found = [Some(system.available_memory()), limited];
    found.into_iter().flatten().filter(|&bytes| bytes > 0).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_keeps_what_its_backward_pass_reads() {
        let mut model = ClassifierConfig::default();
        model.encoder.embedding.max_length = 2048;
        let step = |b| step_floats(Pass::TrainStep, &model, b);
        // 65536 tokens, two layers of 7 · 64 + 2 · 128 floats.
        assert_eq!(step(32), 65_536.0 * 2.0 * 704.0);
        assert!(step_floats(Pass::Forward, &model, 32) < step(32));
        let pair = ClassifierConfig {
            pair: true,
            ..model.clone()
        };
        assert_eq!(step_floats(Pass::TrainStep, &pair, 16), step(32));
        if cfg!(target_os = "linux") {
            assert!(free_bytes().is_some_and(|bytes| bytes > 1 << 20));
        }
    }
}
