//! `compared_attention`: the heads of an attention of any kind, with inputs' and parameters'
//! gradients, by `fixtures/attentions/make.py`.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};
use libtest_mimic::Failed;
use serde::Deserialize;
use transformer_ls_burn::Layout;
use transformer_ls_burn::attention::{Attention, AttentionConfig, AttentionInput};

use crate::file::{GRADIENT, Golden, OUTPUT, Worst};

/// A gradient that is 0 in exact arithmetic, as of a bias that softmax is blind to, is noise.
const NOISE: f64 = 5e-5;

pub fn check(golden: &Golden, device: &Device) -> Result<Worst, Failed> {
    let device = device.clone().autodiff();
    let config = AttentionConfig::deserialize(golden.json("config")?)?;
    let mut load = Load {
        golden,
        device: &device,
        path: Vec::new(),
        problem: None,
    };
    let module = config.init(&device).map(&mut load);
    if let Some(problem) = load.problem {
        return Err(problem);
    }
    let mut worst = Worst::default();
    check_layout(golden, &module, &device, false, &mut worst)?;
    if golden.has("mask") && golden.packed("mask")?.is_some() {
        check_layout(golden, &module, &device, true, &mut worst)?;
    }
    Ok(worst)
}

fn check_layout(
    golden: &Golden,
    module: &Attention,
    device: &Device,
    packed: bool,
    worst: &mut Worst,
) -> Result<(), Failed> {
    let rows: Tensor<3> = golden.float("tokens", device)?.require_grad();
    let [b, n, d_model] = rows.dims();
    let class_row: Option<Tensor<3>> = match golden.has("class_row") {
        true => Some(golden.float("class_row", device)?.require_grad()),
        false => None,
    };
    let real = match packed {
        true => golden.packed("mask")?,
        false => None,
    };
    let real = real.map(|(real, boundaries)| {
        let real = TensorData::new(real.clone(), [real.len()]);
        (Tensor::<1, Int>::from_data(real, device), boundaries)
    });
    // The real rows of [b, n, D], end to end.
    let pack = |x: Tensor<3>, real: &Tensor<1, Int>| {
        x.reshape([1, b * n, d_model]).select(1, real.clone())
    };
    let mut input = match &real {
        Some((real, boundaries)) => {
            AttentionInput::new(pack(rows.clone(), real)).layout(Layout::Packed(boundaries.clone()))
        }
        None => AttentionInput::new(rows.clone()),
    };
    if !packed && golden.has("mask") {
        input = input.mask(golden.mask("mask", device)?);
    }
    if let Some(row) = &class_row {
        input = input.class_row(row.clone());
    }
    let contexts = module.contexts(input);
    let fit = |name: &str| -> Result<Tensor<3>, Failed> {
        let x: Tensor<3> = golden.float(name, device)?;
        Ok(match &real {
            Some((real, _)) => pack(x, real),
            None => x,
        })
    };
    let wanted = fit("out_tokens")?.into_data();
    let wanted: Vec<f64> = wanted.iter::<f64>().collect();
    worst.compare("tokens", contexts.tokens.to_data(), &wanted, OUTPUT)?;
    let mut loss = (contexts.tokens * fit("d_tokens")?).sum();
    if let Some(row) = contexts.class_row {
        let wanted = golden.values("out_class_row")?;
        worst.compare("class row", row.to_data(), wanted, OUTPUT)?;
        loss = loss + (row * golden.float("d_class_row", device)?).sum();
    }
    let gradients = loss.backward();
    let mut compare = Compare {
        golden,
        gradients: &gradients,
        path: Vec::new(),
        compared: 0,
        result: Ok(()),
        worst,
    };
    compare.tensor("grad.tokens", &rows);
    if let Some(row) = &class_row {
        compare.tensor("grad.class_row", row);
    }
    module.visit(&mut compare);
    let compared = compare.compared;
    compare.result?;
    let wanted = golden.names().filter(|name| name.starts_with("grad."));
    match wanted.count() {
        wanted if wanted == compared => Ok(()),
        wanted => Err(format!("compared {compared} of the file's {wanted} gradients").into()),
    }
}

/// Puts a file's parameters in the places of a module's.
struct Load<'a> {
    golden: &'a Golden,
    device: &'a Device,
    path: Vec<String>,
    problem: Option<Failed>,
}

impl ModuleMapper for Load<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = name(self.golden, &self.path);
        match self.golden.float::<D>(&name, self.device) {
            Ok(tensor) if tensor.shape() == param.shape() => {
                let trained = param.is_require_grad();
                let device = self.device;
                param.map(|_| tensor.to_device(device).set_require_grad(trained))
            }
            Ok(tensor) => {
                let (ours, theirs) = (param.shape(), tensor.shape());
                self.problem = Some(format!("{name} is {theirs}, not {ours}").into());
                param
            }
            Err(problem) => {
                self.problem = Some(problem);
                param
            }
        }
    }
}

/// A file's name for the parameter at a path, which may begin with the kind.
fn name(golden: &Golden, path: &[String]) -> String {
    let names = (0..path.len()).map(|first| format!("param.{}", path[first..].join(".")));
    let mut known = names.filter(|name| golden.has(name));
    known.next().unwrap_or_else(|| path.join("."))
}

/// Compares the gradients of a module's parameters with a file's.
struct Compare<'a> {
    golden: &'a Golden,
    gradients: &'a Gradients,
    path: Vec<String>,
    compared: usize,
    result: Result<(), Failed>,
    worst: &'a mut Worst,
}

impl Compare<'_> {
    fn tensor<const D: usize>(&mut self, name: &str, tensor: &Tensor<D>) {
        if self.result.is_err() {
            return;
        }
        let ours = match tensor.grad(self.gradients) {
            Some(gradient) => gradient.into_data(),
            None => tensor.clone().inner().zeros_like().into_data(),
        };
        self.compared += 1;
        self.result = self.golden.values(name).and_then(|wanted| {
            match wanted.iter().all(|x| x.abs() < 1e-9) {
                true => self.worst.vanishes(name, ours, NOISE),
                false => self.worst.compare(name, ours, wanted, GRADIENT),
            }
        });
    }
}

impl ModuleVisitor for Compare<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = format!("grad.{}", name(self.golden, &self.path));
        if self.golden.has(&name) {
            self.tensor(&name, &param.val());
        } else if param.is_require_grad() {
            self.result = Err(format!("the file has no {name}").into());
        }
    }
}
