//! The layers around attention as each device computes them (CPUs in one pass each, WGPU with
//! shaders and Fusion), against the modules' own composition of them in float64: outputs, and
//! gradients of every parameter.

use burn::backend::Dispatch;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Bool, DType, Device, Gradients, Int, Tensor, TensorData};
use transformer_ls_burn::attention::{AttentionInput, LongShortAttentionConfig};
use transformer_ls_burn::ops::OptionalTensor;
use transformer_ls_burn::ops::layers::LayersBackend;
use transformer_ls_burn::{
    Block, BlockConfig, Boundaries, ClassifierConfig, HiddenStates, Input, Layout, Pooling,
    Positions, Tokens,
};
use transformer_ls_kernels::dropout;

mod common;

const LENGTHS: [usize; 4] = [50, 0, 70, 20];
const ROWS: usize = 70;
const WIDTH: usize = 12;
const HIDDEN: usize = 20;

/// Numbers in [−½, ½) from a linear congruential generator.
fn numbers(len: usize, seed: u32) -> Vec<f32> {
    let mut x = seed.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    (0..len)
        .map(|_| {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (x >> 8) as f32 / 16_777_216.0 - 0.5
        })
        .collect()
}

fn tensor<const D: usize>(
    shape: [usize; D],
    seed: u32,
    (device, dtype): (&Device, DType),
) -> Tensor<D> {
    let values = TensorData::new(numbers(shape.iter().product(), seed), shape);
    Tensor::from_data(values.convert_dtype(dtype), (device, dtype))
}

fn host<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    let values = x.into_data().convert::<f64>().try_into_vec();
    values.expect("float64")
}

/// Gives every parameter numbers of its own, zeros at the start too, in a type.
struct Numbers<'a> {
    place: (&'a Device, DType),
    seed: u32,
}

impl ModuleMapper for Numbers<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.seed += 1;
        let value = tensor(param.dims(), self.seed, self.place).require_grad();
        Param::initialized(param.id, value)
    }
}

/// The gradient of every parameter.
struct Differentiated<'a>(&'a Gradients, Vec<Vec<f64>>);

impl ModuleVisitor for Differentiated<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad(self.0);
        self.1.push(gradient.map_or(Vec::new(), host));
    }
}

/// Differences as a share of the largest number of a tensor, or of a hundredth of the largest of all
/// where a gradient vanishes.
fn assert_near(what: &str, found: &[Vec<f64>], exact: &[Vec<f64>]) {
    assert_eq!(found.len(), exact.len(), "{what}");
    let largest = |x: &[f64]| x.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
    let floor = 0.01 * exact.iter().fold(0.0, |max: f64, x| max.max(largest(x)));
    for (which, (found, exact)) in found.iter().zip(exact).enumerate() {
        assert_eq!(found.len(), exact.len(), "{what}: {which}");
        let scale = largest(exact).max(floor);
        for (a, b) in found.iter().zip(exact) {
            let close = (a - b).abs() <= 1e-5 * scale;
            assert!(close, "{what}: {which} has {a}, not {b} (largest {scale})");
        }
    }
}

/// A batch's ids and how its documents lie: full rows, padded with holes, or packed.
fn batch(layout: usize, device: &Device) -> Tokens {
    let id = |i: usize| ((i * i + i) % 7) as i32;
    let shape = match layout {
        2 => [1, LENGTHS.iter().sum()],
        _ => [LENGTHS.len(), ROWS],
    };
    let ids = (0..shape[0] * shape[1]).map(id).collect::<Vec<_>>();
    let tokens = Tokens::new(Tensor::<2, Int>::from_data(
        TensorData::new(ids, shape),
        device,
    ));
    match layout {
        0 => tokens,
        1 => {
            let real =
                (0..LENGTHS.len() * ROWS).map(|i| i % ROWS < LENGTHS[i / ROWS] && i % 3 != 1);
            let real = TensorData::new(real.collect::<Vec<_>>(), shape);
            tokens.layout(Layout::Padded(Tensor::<2, Bool>::from_data(real, device)))
        }
        _ => tokens.layout(Layout::Packed(Boundaries::from_lengths(&LENGTHS))),
    }
}

fn attention() -> LongShortAttentionConfig {
    LongShortAttentionConfig::new(WIDTH, 2)
        .with_window(4)
        .with_rank(5)
}

#[test]
fn models_are_those_of_composed_layers() {
    for pooling in [Pooling::ClassEvery, Pooling::ClassLast, Pooling::MeanReal] {
        for layout in 0..3 {
            let mut config = ClassifierConfig::default();
            config.encoder.embedding.vocab_size = 9;
            config.encoder.embedding.max_length = 81;
            config.encoder.embedding.input = Input::Ids;
            if layout == 0 {
                config.encoder.embedding.positions = Positions::Axial;
            }
            config.encoder.block.attention = attention().into();
            config.encoder.block.d_ff = HIDDEN;
            config.encoder.layers = 2;
            config.encoder.pooling = pooling;
            let run = |device: Device, dtype: DType| {
                let device = device.autodiff();
                let place = (&device, dtype);
                let model = config.init(&device).expect("a valid configuration");
                let model = model.map(&mut Numbers { place, seed: 0 });
                let logits = model.forward(batch(layout, &device));
                let weights = tensor(logits.dims(), 90, place);
                let gradients = (logits.clone() * weights).sum().backward();
                let mut found = Differentiated(&gradients, Vec::new());
                model.visit(&mut found);
                (vec![host(logits)], found.1)
            };
            let (exact, exact_gradients) = run(Device::flex(), DType::F64);
            for (name, device) in common::devices() {
                let name = format!("{name}, {pooling:?}, layout {layout}");
                let (found, gradients) = run(device, DType::F32);
                assert_near(&format!("{name}, logits"), &found, &exact);
                assert_near(&format!("{name}, gradients"), &gradients, &exact_gradients);
            }
        }
    }
}

/// SplitMix64's finaliser.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// On CPUs a block drops what the hash says, forward and backward, and the same of both passes.
#[test]
fn dropout_of_blocks_follows_the_hash() {
    const SEED: u64 = 5;
    const PROBABILITY: f64 = 0.3;
    let config = |dropout| BlockConfig {
        attention: attention().into(),
        d_ff: HIDDEN,
        dropout,
    };
    let build = |dropout, place: (&Device, DType)| -> Block {
        let block = config(dropout).init(place.0);
        block.map(&mut Numbers { place, seed: 0 })
    };
    let rows = |place: (&Device, DType)| tensor([2, ROWS, WIDTH], 80, place).require_grad();
    let gradients = |block: &Block, x: Tensor<3>, y: Tensor<3>, place: (&Device, DType)| {
        let gradients = (y * tensor([2, ROWS, WIDTH], 90, place)).sum().backward();
        let mut found = Differentiated(&gradients, Vec::new());
        block.visit(&mut found);
        found.1.push(host(x.grad(&gradients).expect("a gradient")));
        found.1
    };

    let device = Device::flex().autodiff();
    let place = (&device, DType::F64);
    let block = build(0.0, place);
    let hash_seed = mix(mix(SEED ^ 1)) as u32;
    let drop = |x: Tensor<3>, site: u32| {
        let [b, n, width] = x.dims();
        let kept = |i: usize| {
            let (row, column) = ((i / width) as u32, (i % width) as u32);
            dropout::hash(hash_seed, site, 0, row, column) >= dropout::threshold(PROBABILITY)
        };
        let factors: Vec<f64> = (0..b * n * width)
            .map(|i| f64::from(kept(i)) / (1.0 - PROBABILITY))
            .collect();
        x * Tensor::from_data(TensorData::new(factors, [b, n, width]), place)
    };
    let x = rows(place);
    let input = AttentionInput::new(x.clone()).norm(&block.attention_norm);
    let context = block.attention.contexts(input).tokens;
    let attended = drop(block.output.forward(context), 0) + x.clone();
    let hidden = block.ff_in.forward(block.ff_norm.forward(attended.clone()));
    let hidden = drop(burn::tensor::activation::gelu(hidden), 1);
    let y = attended + drop(block.ff_out.forward(hidden), 2);
    let exact = [host(y.clone())];
    let exact_gradients = gradients(&block, x, y, place);

    for (name, device) in common::devices() {
        if !["flex", "ndarray"].contains(&name) {
            continue;
        }
        let device = device.autodiff();
        let place = (&device, DType::F32);
        let block = build(PROBABILITY, place);
        let x = rows(place);
        let input = HiddenStates {
            tokens: x.clone(),
            class_row: None,
        };
        let y = block
            .forward(input, &Layout::Full.into(), Some(SEED))
            .tokens;
        assert_near(name, &[host(y.clone())], &exact);
        assert_near(name, &gradients(&block, x, y, place), &exact_gradients);
    }
}

/// Around the number of rows up to which CPUs have a kernel for them, against loops on the host; rows and
/// weights that lie in memory as they are, and turned.
#[test]
fn linear_layers_of_few_rows() {
    let (inputs, outputs) = (19, 21);
    for (name, device) in common::devices() {
        for (rows, turned) in [1, 8, 9].into_iter().flat_map(|n| [(n, false), (n, true)]) {
            let matrix = |height: usize, width: usize, seed: u32| {
                let x = tensor([height, width], seed, (&device, DType::F32));
                match turned {
                    true => (x.transpose() + 0.0).transpose(),
                    false => x,
                }
            };
            let x = matrix(rows, inputs, 1);
            let weight = matrix(inputs, outputs, 2);
            let added = matrix(rows, outputs, 3);
            let bias = tensor([outputs], 4, (&device, DType::F32));
            let wanted = |with_bias: bool, with_added: bool| {
                let (x, weight) = (host(x.clone()), host(weight.clone()));
                let (added, bias) = (host(added.clone()), host(bias.clone()));
                let entry = |at: usize| {
                    let (row, column) = (at / outputs, at % outputs);
                    let terms = 0..inputs;
                    let product: f64 = terms
                        .map(|k| x[row * inputs + k] * weight[k * outputs + column])
                        .sum();
                    let bias = if with_bias { bias[column] } else { 0.0 };
                    let added = if with_added { added[at] } else { 0.0 };
                    product + bias + added
                };
                (0..rows * outputs).map(entry).collect::<Vec<f64>>()
            };
            for (with_bias, with_added) in
                [(false, false), (true, false), (false, true), (true, true)]
            {
                let if_wanted = |wanted: bool, x| match wanted {
                    true => OptionalTensor::Some(x),
                    false => OptionalTensor::None,
                };
                let found = Tensor::<2>::from_dispatch(Dispatch::linear_layer(
                    x.clone().into_dispatch(),
                    weight.clone().into_dispatch(),
                    if_wanted(with_bias, bias.clone().into_dispatch()),
                    if_wanted(with_added, added.clone().into_dispatch()),
                ));
                for (found, wanted) in host(found).iter().zip(wanted(with_bias, with_added)) {
                    assert!(
                        (found - wanted).abs() < 1e-6,
                        "{rows} rows on {name}, turned: {turned}: {found}, not {wanted}"
                    );
                }
            }
        }
    }
}
