//! What can't be held, said before anybody waits for it.

use sysinfo::{MemoryRefreshKind, RefreshKind, System};
use transformer_ls_burn::ClassifierConfig;
use transformer_ls_infer::device::{ChosenDevice, DeviceClass};

use super::cost::Shape;
use super::job::{Job, Pass, Path, Subject};
use super::step;

/// More bytes than any device has.
const NO_DEVICE_HOLDS: f64 = (1u64 << 46) as f64;

/// Why a measurement can't be made on that device, if it can't: half a sentence.
pub fn refusal(job: &Job, chosen: &ChosenDevice) -> Option<String> {
    let needed = match &job.subject {
        Subject::Attention(sizes) => least_bytes(job.path, job.pass, &job.shape(sizes)),
        Subject::Step { preset, .. } => {
            least_step_bytes(job.pass, &step::model(preset, job.n).ok()?, job.b)
        }
    };
    too_large(needed, chosen, free_bytes())
}

/// The bytes that attention holds at once at the least.
fn least_bytes(path: Path, pass: Pass, shape: &Shape) -> f64 {
    let (d, r, n) = (shape.d as f64, shape.r as f64, shape.n as f64);
    let floats = match (path, pass) {
        // Inputs and outputs.
        (Path::Fused | Path::Plain, Pass::Forward) => 4.0 * d + r,
        (Path::Fused | Path::Plain, _) => 8.0 * d + 2.0 * r,
        // The scores and what the softmax makes of them; backward, the gradients of both.
        (Path::Dense, Pass::Forward) => 4.0 * d + 2.0 * n,
        (Path::Dense, _) => 8.0 * d + 4.0 * n,
    };
    size_of::<f32>() as f64 * shape.rows() * floats
}

/// Bytes of main memory that are free for a new process. `None` where the system does not tell.
fn free_bytes() -> Option<u64> {
    let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(memory);
    let limited = system.cgroup_limits().map(|limits| limits.free_memory);
    let available = Some(system.available_memory()).filter(|&bytes| bytes > 0);
    match (available, limited.filter(|&bytes| bytes > 0)) {
        (Some(available), Some(limited)) => Some(available.min(limited)),
        (available, limited) => available.or(limited),
    }
}

/// The bytes that a step of `model` on `b` samples of full length holds at once at the least.
fn least_step_bytes(pass: Pass, model: &ClassifierConfig, b: usize) -> f64 {
    let documents = if model.pair { 2.0 } else { 1.0 };
    let encoder = &model.encoder;
    let tokens = documents * b as f64 * encoder.embedding.max_length as f64;
    let (width, inner) = (encoder.d_model() as f64, encoder.block.d_ff as f64);
    let floats = match pass {
        // Input, queries, keys, values; what the feed-forward layer holds comes after them.
        Pass::Forward => f64::max(4.0 * width, width + inner),
        // What each layer keeps for its backward pass: besides those, the output of attention, of
        // both LayerNorms of the block, and the inner layer before and after its activation.
        Pass::TrainStep | Pass::ForwardBackward => {
            encoder.layers as f64 * (7.0 * width + 2.0 * inner)
        }
    };
    size_of::<f32>() as f64 * tokens * floats
}

/// Why so many bytes can't be had, if they can't.
///
/// Where tensors lie in main memory, the system would end some process, and not necessarily the
/// one that asked for too much. A GPU with memory of its own refuses by itself.
fn too_large(needed: f64, chosen: &ChosenDevice, free: Option<u64>) -> Option<String> {
    let of_the_machine = matches!(
        chosen.class,
        DeviceClass::Cpu | DeviceClass::SoftwareGpu | DeviceClass::IntegratedGpu
    );
    match free.filter(|_| of_the_machine) {
        Some(free) if needed > free as f64 => Some(format!(
            "it needs {} at least, and {} are free",
            bytes(needed),
            bytes(free as f64)
        )),
        _ if needed > NO_DEVICE_HOLDS => Some(format!("it needs {} at least", bytes(needed))),
        _ => None,
    }
}

/// A number of bytes with three figures: `101 MB`, `2.15 GB`.
pub fn bytes(number: f64) -> String {
    let (scaled, unit) = match number {
        n if n >= 1e12 => (n / 1e12, "TB"),
        n if n >= 1e9 => (n / 1e9, "GB"),
        n if n >= 1e6 => (n / 1e6, "MB"),
        n => (n / 1e3, "kB"),
    };
    match scaled {
        s if s >= 99.95 => format!("{s:.0} {unit}"),
        s if s >= 9.995 => format!("{s:.1} {unit}"),
        s => format!("{s:.2} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_attention_grows_with_the_square() {
        let shape = |n| Shape {
            b: 1,
            n,
            h: 2,
            d: 32,
            r: 32,
            w: 8,
        };
        // Two matrices of 2 · 65536² floats.
        let dense = least_bytes(Path::Dense, Pass::Forward, &shape(65_536));
        assert!((dense / 1e9 - 68.8).abs() < 0.1, "{dense}");
        let ratio = |path| {
            let needed = |n| least_bytes(path, Pass::ForwardBackward, &shape(n));
            needed(65_536) / needed(16_384)
        };
        assert_eq!(ratio(Path::Fused), 4.0);
        assert!(ratio(Path::Dense) > 15.9);
    }

    #[test]
    fn a_step_keeps_what_its_backward_pass_reads() {
        let mut model = ClassifierConfig::default();
        model.encoder.embedding.max_length = 2048;
        let step = |b| least_step_bytes(Pass::TrainStep, &model, b);
        // 65536 tokens, two layers of 7 · 64 + 2 · 128 floats.
        assert_eq!(step(32), 65_536.0 * 2.0 * 704.0 * 4.0);
        assert!(least_step_bytes(Pass::Forward, &model, 32) < step(32));
        let pair = ClassifierConfig {
            pair: true,
            ..model.clone()
        };
        assert_eq!(least_step_bytes(Pass::TrainStep, &pair, 16), step(32));
    }

    #[test]
    fn bytes_read_well() {
        assert_eq!(bytes(100_700_000.0), "101 MB");
        assert_eq!(bytes(99_940_000.0), "99.9 MB");
        assert_eq!(bytes(2_147_000_000.0), "2.15 GB");
        assert_eq!(bytes(68_719_476_736.0), "68.7 GB");
        assert_eq!(bytes(512.0), "0.51 kB");
        assert_eq!(bytes(1.5e13), "15.0 TB");
    }

    #[test]
    fn the_system_tells_what_is_free() {
        if cfg!(target_os = "linux") {
            assert!(free_bytes().is_some_and(|bytes| bytes > 1 << 20));
        }
    }
}
