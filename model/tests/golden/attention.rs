//! `lra_attention`: one attention module, with inputs' and parameters' gradients.

use burn::module::Param;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};
use libtest_mimic::Failed;
use transformer_ls_burn::Layout;
use transformer_ls_burn::attention::{
    AttentionInput, AttentionLayer, AttentionOutput, LongShortAttention, LongShortAttentionConfig,
};

use crate::file::{GRADIENT, Golden, OUTPUT, PROJECTION_BIAS_NOISE, Worst};

type FindLinear = fn(&LongShortAttention) -> Option<&Linear>;
type FindNorm = fn(&LongShortAttention) -> &LayerNorm;

/// Parameters of the release and where they are here.
const LINEARS: [(&str, FindLinear); 4] = [
    ("W_q", |module| Some(&module.query)),
    ("W_k", |module| Some(&module.key)),
    ("W_v", |module| Some(&module.value)),
    ("dconv_fc", |module| module.projection.as_ref()),
];
const NORMS: [(&str, FindNorm); 2] = [
    ("dual_ln_l", |module| &module.window_norm),
    ("dual_ln_s", |module| &module.landmark_norm),
];

pub fn check(golden: &Golden, device: &Device) -> Result<Worst, Failed> {
    let device = device.clone().autodiff();
    let mut worst = Worst::default();
    check_layout(golden, &device, None, &mut worst)?;
    if let Some(packed) = golden.packed("mask")? {
        check_layout(golden, &device, Some(packed), &mut worst)?;
    }
    Ok(worst)
}

/// The attention, and its output layer.
fn build(golden: &Golden, device: &Device) -> Result<(LongShortAttention, Linear), Failed> {
    let mut module = LongShortAttentionConfig::new(golden.size("dim")?, golden.size("num_head")?)
        .with_window(golden.size("window")?)
        .with_rank(golden.size("rank")?)
        .with_conv_kernel(golden.conv_kernel()?)
        .init(device);
    let linear = |name: &str| -> Result<Linear, Failed> {
        let weight: Tensor<2> = golden.float(&format!("param.{name}.weight"), device)?;
        let bias = golden.float(&format!("param.{name}.bias"), device)?;
        Ok(Linear {
            weight: Param::from_tensor(weight.transpose()),
            bias: Some(Param::from_tensor(bias)),
        })
    };
    module.query = linear("W_q")?;
    module.key = linear("W_k")?;
    module.value = linear("W_v")?;
    let output = linear("W_o")?;
    if module.projection.is_some() {
        module.projection = Some(linear("dconv_fc")?);
    }
    for (name, norm) in [
        ("dual_ln_l", &mut module.window_norm),
        ("dual_ln_s", &mut module.landmark_norm),
    ] {
        norm.gamma = Param::from_tensor(golden.float(&format!("param.{name}.weight"), device)?);
        norm.beta = Some(Param::from_tensor(
            golden.float(&format!("param.{name}.bias"), device)?,
        ));
    }
    if module.conv.is_some() {
        module.conv = Some(Param::from_tensor(
            golden.float("param.conv.weight", device)?,
        ));
    }
    Ok((module, output))
}

/// Forward and backward with the golden mask, or packed, and the comparison of both.
fn check_layout(
    golden: &Golden,
    device: &Device,
    packed: Option<(Vec<i32>, transformer_ls_burn::Boundaries)>,
    worst: &mut Worst,
) -> Result<(), Failed> {
    let (module, output) = build(golden, device)?;
    let layer = AttentionLayer {
        attention: module.clone().into(),
        output: output.clone(),
    };
    let x: Tensor<3> = golden.float("x", device)?.require_grad();
    let [b, n, d_model] = x.dims();
    let mask = golden.mask("mask", device)?;
    let class_row: Option<Tensor<3>> = match golden.has("cls") {
        true => Some(golden.float("cls", device)?.require_grad()),
        false => None,
    };
    let first_token = class_row.is_some() as usize;
    let rows = packed.as_ref().map(|(rows, _)| {
        Tensor::<1, Int>::from_data(TensorData::new(rows.clone(), [rows.len()]), device)
    });
    let mut input = match (&rows, &packed) {
        (Some(rows), Some((_, boundaries))) => {
            let tokens = x
                .clone()
                .reshape([1, b * n, d_model])
                .select(1, rows.clone());
            AttentionInput::new(tokens).layout(Layout::Packed(boundaries.clone()))
        }
        _ => AttentionInput::new(x.clone()).mask(mask.clone()),
    };
    if let Some(row) = &class_row {
        input = input.class_row(row.clone());
    }
    let AttentionOutput {
        tokens,
        class_row: class_output,
    } = layer.forward(input);

    // Golden tensors are zero in padded rows, and so is what a packed batch leaves out.
    let tokens = match &rows {
        Some(rows) => {
            let zeros = Tensor::<3>::zeros([1, b * n, d_model], device);
            let scattered =
                zeros.select_assign(1, rows.clone(), tokens, burn::tensor::IndexingUpdateOp::Add);
            scattered.reshape([b, n, d_model])
        }
        None => tokens.mask_fill(
            mask.bool_not().reshape([b, n, 1]).expand([b, n, d_model]),
            0.0,
        ),
    };
    let whole = match class_output {
        Some(row) => Tensor::cat(vec![row, tokens], 1),
        None => tokens,
    };
    assert_eq!(whole.dims(), [b, n + first_token, d_model]);
    worst.compare(
        "output",
        whole.clone().into_data(),
        golden.values("output")?,
        OUTPUT,
    )?;

    let d_output: Tensor<3> = golden.float("grad_output", device)?;
    let gradients = (whole * d_output).sum().backward();
    let modules = (&module, &output);
    compare_gradients(golden, modules, &x, class_row.as_ref(), &gradients, worst)
}

fn compare_gradients(
    golden: &Golden,
    (module, output): (&LongShortAttention, &Linear),
    x: &Tensor<3>,
    class_row: Option<&Tensor<3>>,
    gradients: &Gradients,
    worst: &mut Worst,
) -> Result<(), Failed> {
    fn of<const D: usize>(tensor: &Tensor<D>, gradients: &Gradients) -> Tensor<D> {
        match tensor.grad(gradients) {
            Some(gradient) => gradient,
            None => tensor.clone().inner().zeros_like(),
        }
    }
    let mut compared = 0;
    let mut compare = |name: &str, ours: TensorData| -> Result<(), Failed> {
        let name = format!("grad.{name}");
        if !golden.has(&name) {
            return Ok(());
        }
        compared += 1;
        match name.as_str() {
            "grad.param.dconv_fc.bias" => worst.vanishes(&name, ours, PROJECTION_BIAS_NOISE),
            _ => worst.compare(&name, ours, golden.values(&name)?, GRADIENT),
        }
    };
    compare("x", of(x, gradients).into_data())?;
    if let Some(row) = class_row {
        compare("cls", of(row, gradients).into_data())?;
    }
    let linears = LINEARS.map(|(name, find)| (name, find(module)));
    for (name, linear) in linears.into_iter().chain([("W_o", Some(output))]) {
        if let Some(linear) = linear {
            let weight = of(&linear.weight.val(), gradients).transpose();
            compare(&format!("param.{name}.weight"), weight.into_data())?;
            if let Some(bias) = &linear.bias {
                let bias = of(&bias.val(), gradients);
                compare(&format!("param.{name}.bias"), bias.into_data())?;
            }
        }
    }
    for (name, norm) in NORMS {
        let norm = norm(module);
        let weight = of(&norm.gamma.val(), gradients);
        compare(&format!("param.{name}.weight"), weight.into_data())?;
        if let Some(bias) = &norm.beta {
            let bias = of(&bias.val(), gradients);
            compare(&format!("param.{name}.bias"), bias.into_data())?;
        }
    }
    if let Some(kernel) = &module.conv {
        compare(
            "param.conv.weight",
            of(&kernel.val(), gradients).into_data(),
        )?;
    }
    let wanted = golden
        .names()
        .filter(|name| name.starts_with("grad."))
        .count();
    match compared == wanted {
        true => Ok(()),
        false => Err(format!("compared {compared} of the file's {wanted} gradients").into()),
    }
}
