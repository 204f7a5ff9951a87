//! Dense attention as a module against softmax attention in float64, written independently with
//! loops, on every backend: values in every layout, and gradients against finite differences.

mod common;
#[path = "brute_force/dense.rs"]
#[allow(dead_code, reason = "the random numbers are used")]
mod dense;

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Bool, Device, Tensor, TensorData};
use dense::Random;
use transformer_ls_burn::Boundaries;
use transformer_ls_burn::attention::{
    Attention, AttentionInput, AttentionLayer, AttentionLayerConfig, DenseAttentionConfig,
};

const WIDTH: usize = 8;
const HEADS: usize = 2;
const HEAD: usize = WIDTH / HEADS;
const LENGTHS: [usize; 4] = [5, 0, 1, 4];
const ROWS: usize = 5;

/// A linear layer `[in, out]`, row by row, and its bias.
#[derive(Clone)]
struct Layer {
    weight: Vec<f64>,
    bias: Vec<f64>,
}

impl Layer {
    fn random(random: &mut Random) -> Self {
        Self {
            weight: random.many(WIDTH * WIDTH, 1.0),
            bias: random.many(WIDTH, 0.5),
        }
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        let column = |out: usize| {
            (0..WIDTH)
                .map(|i| x[i] * self.weight[i * WIDTH + out])
                .sum::<f64>()
        };
        (0..WIDTH).map(|out| column(out) + self.bias[out]).collect()
    }

    fn module(&self, device: &Device) -> Linear {
        let tensor = |values: &[f64]| values.iter().map(|&x| x as f32).collect::<Vec<_>>();
        let weight = TensorData::new(tensor(&self.weight), [WIDTH, WIDTH]);
        let bias = TensorData::new(tensor(&self.bias), [WIDTH]);
        Linear {
            weight: Param::from_tensor(Tensor::from_data(weight, device)),
            bias: Some(Param::from_tensor(Tensor::from_data(bias, device))),
        }
    }
}

/// One module and one batch. `[W_q, W_k, W_v, W_o]`; rows `[documents, ROWS, WIDTH]`, class rows
/// `[documents, WIDTH]`.
#[derive(Clone)]
struct Problem {
    layers: [Layer; 4],
    rows: Vec<f64>,
    class_rows: Option<Vec<f64>>,
    rotary: bool,
    /// By document and place.
    real: fn(usize, usize) -> bool,
}

fn at_start(document: usize, place: usize) -> bool {
    place < LENGTHS[document]
}

fn with_holes(document: usize, place: usize) -> bool {
    match document {
        0 => place != 2,
        1 => false,
        2 => place == 3,
        _ => place.is_multiple_of(2),
    }
}

fn everywhere(_: usize, _: usize) -> bool {
    true
}

impl Problem {
    fn new(seed: u64, class_row: bool, rotary: bool, real: fn(usize, usize) -> bool) -> Self {
        let mut random = Random::new(seed);
        let documents = LENGTHS.len();
        Self {
            layers: [(); 4].map(|()| Layer::random(&mut random)),
            rows: random.many(documents * ROWS * WIDTH, 1.0),
            class_rows: class_row.then(|| random.many(documents * WIDTH, 1.0)),
            rotary,
            real,
        }
    }

    /// One head of a projected row, turned by the angles of its place.
    fn head(&self, row: &[f64], head: usize, place: Option<usize>) -> Vec<f64> {
        let mut x = row[head * HEAD..][..HEAD].to_vec();
        if let Some(place) = place.filter(|_| self.rotary) {
            let half = HEAD / 2;
            for pair in 0..half {
                let angle = place as f64 * 10_000_f64.powf(-(pair as f64) / half as f64);
                let (a, b) = (x[pair], x[pair + half]);
                x[pair] = a * angle.cos() - b * angle.sin();
                x[pair + half] = b * angle.cos() + a * angle.sin();
            }
        }
        x
    }

    /// Outputs of all rows and of the class rows, zeros in the rows that are no token.
    fn outputs(&self) -> (Vec<f64>, Vec<f64>) {
        let [q, k, v, o] = &self.layers;
        let mut outputs = vec![0.0; self.rows.len()];
        let mut class_outputs = Vec::new();
        for document in 0..LENGTHS.len() {
            let row = |place: usize| &self.rows[(document * ROWS + place) * WIDTH..][..WIDTH];
            let own = self.class_rows.as_ref();
            let own = own.map(|rows| &rows[document * WIDTH..][..WIDTH]);
            let places: Vec<usize> = (0..ROWS).filter(|&it| (self.real)(document, it)).collect();
            let tokens = places.iter().map(|&place| (row(place), Some(place)));
            let class = own.filter(|_| !places.is_empty());
            let seen: Vec<(&[f64], Option<usize>)> = class
                .map(|row| (row, None))
                .into_iter()
                .chain(tokens)
                .collect();
            let read = |query: &[f64], place: Option<usize>| -> Vec<f64> {
                let mut context = vec![0.0; WIDTH];
                for head in 0..HEADS {
                    let query = self.head(&q.apply(query), head, place);
                    let scores: Vec<f64> = seen
                        .iter()
                        .map(|&(key, place)| {
                            let key = self.head(&k.apply(key), head, place);
                            (dot(&query, &key) / (HEAD as f64).sqrt()).exp()
                        })
                        .collect();
                    let sum: f64 = scores.iter().sum();
                    for (&(value, _), score) in seen.iter().zip(scores) {
                        let value = v.apply(value);
                        for i in head * HEAD..(head + 1) * HEAD {
                            context[i] += score / sum * value[i];
                        }
                    }
                }
                o.apply(&context)
            };
            for &place in &places {
                let output = read(row(place), Some(place));
                outputs[(document * ROWS + place) * WIDTH..][..WIDTH].copy_from_slice(&output);
            }
            if let Some(own) = own {
                class_outputs.extend(match places.is_empty() {
                    true => o.bias.clone(),
                    false => read(own, None),
                });
            }
        }
        (outputs, class_outputs)
    }

    fn module(&self, device: &Device) -> AttentionLayer {
        let config = DenseAttentionConfig::new(WIDTH, HEADS).with_rotary(self.rotary);
        let layer = AttentionLayerConfig::new(config.into()).init(device);
        let Attention::Dense(mut attention) = layer.attention else {
            panic!("dense attention was asked for");
        };
        let [query, key, value, output] = &self.layers;
        attention.query = query.module(device);
        attention.key = key.module(device);
        attention.value = value.module(device);
        AttentionLayer {
            attention: attention.into(),
            output: output.module(device),
        }
    }

    fn rows(&self, device: &Device) -> Tensor<3> {
        tensor(&self.rows, [LENGTHS.len(), ROWS, WIDTH], device)
    }

    fn class_rows(&self, device: &Device) -> Option<Tensor<3>> {
        let rows = self.class_rows.as_ref()?;
        Some(tensor(rows, [LENGTHS.len(), 1, WIDTH], device))
    }

    fn mask(&self, device: &Device) -> Tensor<2, Bool> {
        let places = (0..LENGTHS.len()).flat_map(|document| (0..ROWS).map(move |i| (document, i)));
        let mask: Vec<bool> = places
            .map(|(document, i)| (self.real)(document, i))
            .collect();
        Tensor::from_data(TensorData::new(mask, [LENGTHS.len(), ROWS]), device)
    }
}

fn tensor(values: &[f64], shape: [usize; 3], device: &Device) -> Tensor<3> {
    let values: Vec<f32> = values.iter().map(|&x| x as f32).collect();
    let tensor = Tensor::from_data(TensorData::new(values, shape), device);
    match device.is_autodiff() {
        true => tensor.require_grad(),
        false => tensor,
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn host<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data()
        .convert::<f32>()
        .try_into_vec()
        .expect("float32")
}

fn assert_close(name: &str, ours: &[f32], exact: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), exact.len(), "{name}");
    let scale = exact.iter().fold(1.0_f64, |max, x| max.max(x.abs()));
    for (&a, b) in ours.iter().zip(exact) {
        let off = (f64::from(a) - b).abs() / scale;
        assert!(
            a.is_finite() && off < tolerance,
            "{name}: {a} where {b} is right"
        );
    }
}

/// The module's outputs with the mask; what is no token is W_o's bias, and zeros here.
fn check(
    name: &str,
    problem: &Problem,
    device: &Device,
    layout: fn(&Problem, &Device) -> AttentionInput,
) {
    let layer = problem.module(device);
    let mut input = layout(problem, device);
    if let Some(rows) = problem.class_rows(device) {
        input = input.class_row(rows);
    }
    let output = layer.forward(input);
    let (tokens, class_rows) = problem.outputs();
    let ours = host(output.tokens);
    let bias = &problem.layers[3].bias;
    let exact: Vec<f64> = (0..LENGTHS.len() * ROWS)
        .flat_map(|row| match (problem.real)(row / ROWS, row % ROWS) {
            true => tokens[row * WIDTH..][..WIDTH].to_vec(),
            false => bias.clone(),
        })
        .collect();
    assert_close(name, &ours, &exact, 1e-5);
    let ours = output.class_row.map_or(Vec::new(), host);
    assert_close(name, &ours, &class_rows, 1e-5);
}

#[test]
fn values_are_those_of_softmax_attention() {
    let padded: fn(&Problem, &Device) -> AttentionInput =
        |problem, device| AttentionInput::new(problem.rows(device)).mask(problem.mask(device));
    for (name, device) in common::devices() {
        for class_row in [false, true] {
            for rotary in [false, true] {
                let name = format!("{name}, class row {class_row}, rotary {rotary}");
                let problem = |real| Problem::new(11, class_row, rotary, real);
                check(&name, &problem(at_start), &device, padded);
                check(&name, &problem(with_holes), &device, padded);
                check(&name, &problem(everywhere), &device, |problem, device| {
                    AttentionInput::new(problem.rows(device))
                });
            }
        }
    }
}

/// Documents end to end see nothing of each other.
#[test]
fn packed_documents_give_the_padded_ones_numbers() {
    for (name, device) in common::devices() {
        for class_row in [false, true] {
            for rotary in [false, true] {
                let name = format!("{name}, class row {class_row}, rotary {rotary}");
                let problem = Problem::new(12, class_row, rotary, at_start);
                let real = |x: &[f64]| -> Vec<f64> {
                    let rows =
                        (0..LENGTHS.len() * ROWS).filter(|row| at_start(row / ROWS, row % ROWS));
                    rows.flat_map(|row| x[row * WIDTH..][..WIDTH].to_vec())
                        .collect()
                };
                let packed = real(&problem.rows);
                let tokens = tensor(&packed, [1, packed.len() / WIDTH, WIDTH], &device);
                let mut input =
                    AttentionInput::new(tokens).packed(Boundaries::from_lengths(&LENGTHS));
                if let Some(rows) = problem.class_rows(&device) {
                    input = input.class_row(rows);
                }
                let output = problem.module(&device).forward(input);
                let (tokens, class_rows) = problem.outputs();
                assert_close(&name, &host(output.tokens), &real(&tokens), 1e-5);
                let ours = output.class_row.map_or(Vec::new(), host);
                assert_close(&name, &ours, &class_rows, 1e-5);
            }
        }
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let problem = Problem::new(13, true, true, with_holes);
    let mut random = Random::new(14);
    let (tokens, class_rows) = problem.outputs();
    let d_tokens = random.many(tokens.len(), 1.0);
    let d_class_rows = random.many(class_rows.len(), 1.0);
    let loss = |problem: &Problem| {
        let (tokens, class_rows) = problem.outputs();
        dot(&tokens, &d_tokens) + dot(&class_rows, &d_class_rows)
    };
    let difference = |change: &dyn Fn(&mut Problem, f64)| {
        let moved = |by: f64| {
            let mut moved = problem.clone();
            change(&mut moved, by);
            loss(&moved)
        };
        (moved(1e-5) - moved(-1e-5)) / 2e-5
    };
    let of_rows: Vec<f64> = (0..problem.rows.len())
        .map(|at| difference(&|problem, by| problem.rows[at] += by))
        .collect();
    let of_class_rows: Vec<f64> = (0..class_rows.len())
        .map(|at| {
            difference(&|problem, by| {
                problem.class_rows.as_mut().expect("class rows")[at] += by;
            })
        })
        .collect();
    let of_layers = [0, 1, 2, 3].map(|which| -> Vec<f64> {
        (0..WIDTH * WIDTH)
            .map(|at| difference(&|problem, by| problem.layers[which].weight[at] += by))
            .collect()
    });
    for (name, device) in common::devices() {
        let device = device.autodiff();
        let layer = problem.module(&device);
        let rows = problem.rows(&device);
        let class_row = problem.class_rows(&device).expect("class rows");
        let input = AttentionInput::new(rows.clone())
            .mask(problem.mask(&device))
            .class_row(class_row.clone());
        let output = layer.forward(input);
        // Rows that are no token are W_o's bias, and have no part in the loss.
        let real = problem
            .mask(&device)
            .float()
            .reshape([LENGTHS.len(), ROWS, 1]);
        let weights = tensor(&d_tokens, [LENGTHS.len(), ROWS, WIDTH], &device) * real;
        let class_weights = tensor(&d_class_rows, [LENGTHS.len(), 1, WIDTH], &device);
        let class_output = output.class_row.expect("a class row");
        let loss = (output.tokens * weights).sum() + (class_output * class_weights).sum();
        let gradients = loss.backward();
        let gradient = |x: Tensor<3>| host(x.grad(&gradients).expect("a gradient"));
        assert_close(name, &gradient(rows), &of_rows, 2e-5);
        assert_close(name, &gradient(class_row), &of_class_rows, 2e-5);
        let Attention::Dense(attention) = &layer.attention else {
            panic!("dense attention was asked for");
        };
        let modules = [
            &attention.query,
            &attention.key,
            &attention.value,
            &layer.output,
        ];
        for (module, exact) in modules.into_iter().zip(&of_layers) {
            let weight = module.weight.val();
            let gradient = host(weight.grad(&gradients).expect("a gradient"));
            assert_close(name, &gradient, exact, 2e-5);
        }
    }
}
