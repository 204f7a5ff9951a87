//! Launcher of `adamw.wgsl`.

use burn_backend::{DType, TensorMetadata};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use crate::info::Info;
use crate::kernel::{Kernel, MAX_PARAMETERS};
use crate::launch::{empty, launch};
use crate::layer_norm::FlatRows;
use crate::tiles::{Limits, Tile};

/// A parameter with what its update reads, all of one shape and float32.
#[derive(Clone, Copy, Debug)]
pub struct Parameter<'a> {
    /// The parameter.
    pub parameter: &'a CubeTensor,
    /// Its gradient.
    pub gradient: &'a CubeTensor,
    /// The running mean of its gradients.
    pub first: &'a CubeTensor,
    /// The running mean of their squares.
    pub second: &'a CubeTensor,
}

/// The numbers of an update of AdamW, the same for all parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// What a parameter is multiplied by: `1 - lr λ`.
    pub decay: f32,
    /// `1 - β₁`
    pub added_first: f32,
    /// `β₂`
    pub kept_second: f32,
    /// `1 - β₂`
    pub added_second: f32,
    /// `lr / (1 - β₁ᵗ)`
    pub step_size: f32,
    /// `√(1 - β₂ᵗ)`
    pub root_correction: f32,
    /// ε
    pub epsilon: f32,
}

/// Results begin at multiples of so many entries: 256 bytes, where every device can bind a buffer.
const ALIGNMENT: usize = 64;

/// Updates parameters, as many in a launch as the device binds buffers for.
///
/// Returns of each the parameter and its two running means: parts of one piece of memory a launch.
pub fn adamw(parameters: &[Parameter], update: &Update) -> Vec<[CubeTensor; 3]> {
    let Some(first) = parameters.first() else {
        return Vec::new();
    };
    let limits = Limits::of(first.parameter);
    let most = (limits.storage_buffers.saturating_sub(1) / 4).clamp(1, MAX_PARAMETERS);
    let launches = parameters.chunks(most);
    launches
        .flat_map(|parameters| updated(parameters, update, &limits))
        .collect()
}

fn updated(parameters: &[Parameter], update: &Update, limits: &Limits) -> Vec<[CubeTensor; 3]> {
    let like = parameters[0].parameter;
    let tile = Tile::of_entries(limits);
    let (mut count, mut end) = (0, 0);
    let places: Vec<[usize; 4]> = (parameters.iter())
        .map(|of| {
            let entries = of.parameter.shape().num_elements();
            let apart = entries.next_multiple_of(ALIGNMENT);
            let place = [count, count + entries, end, apart];
            count += entries;
            end += 3 * apart;
            place
        })
        .collect();
    let updated = empty(like, [end], DType::F32);
    let kernel = Kernel::AdamW {
        parameters: parameters.len() as u8,
    };
    let inputs: Vec<CubeTensor> = (parameters.iter())
        .flat_map(|of| [of.parameter, of.gradient, of.first, of.second])
        .map(|tensor| into_contiguous(tensor.clone()))
        .collect();
    let tensors = std::iter::once(&updated).chain(&inputs);
    let names = kernel.names();
    let mut info = Info {
        context: [
            update.decay,
            update.added_first,
            update.kept_second,
            update.added_second,
        ]
        .map(f32::to_bits),
        dropout: [
            update.step_size,
            update.root_correction,
            update.epsilon,
            0.0,
        ]
        .map(f32::to_bits),
        ..Info::default().count(count)
    };
    for (strides, place) in info.strides.iter_mut().zip(&places) {
        *strides = place.map(|entry| entry as u32);
    }
    launch(
        FlatRows { rows: 1, width: 1 }.shader(kernel, tile),
        count.div_ceil(tile.invocations),
        info,
        &names.zip(tensors).collect::<Vec<_>>(),
    );
    let part = |of: &CubeTensor, from: usize| {
        let entries = of.shape().num_elements();
        let bytes = |entries: usize| (entries * size_of::<f32>()) as u64;
        let handle = (updated.handle.clone())
            .offset_start(bytes(from))
            .offset_end(bytes(end - from - entries));
        let (client, device) = (updated.client.clone(), updated.device.clone());
        CubeTensor::new_contiguous(client, device, of.shape(), handle, DType::F32)
    };
    (parameters.iter().zip(&places))
        .map(|(of, &[_, _, to, apart])| {
            [to, to + apart, to + 2 * apart].map(|from| part(of.parameter, from))
        })
        .collect()
}
