//! What the compilers of GPUs that are not there make of the shaders: registers, spills, time.
//!
//! Mesa's RADV compiles for a GPU named by `RADV_FORCE_FAMILY` on a null device, and tells what came
//! of it (`VK_KHR_pipeline_executable_properties`). Each GPU is a process of its own, which this
//! program starts of itself. A register that is spilled lies in memory, and a kernel that spills is
//! several times as slow.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use transformer_ls_kernels_wgsl::kernel::Kernel;
use transformer_ls_kernels_wgsl::shader::{Element, Layout, Pattern, Shader};
use transformer_ls_kernels_wgsl::tiles::{Cooperative, Limits};

#[path = "common/radv.rs"]
mod radv;
#[path = "common/shaders.rs"]
mod shaders;

use shaders::{ROOMY, for_kernels};

/// Set for a process that compiles.
const CHILD: &str = "LS_ISA_CHILD";

/// How long a compiler may take for a shader; a minute is given to see what it comes to.
const LIMIT: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(60);

/// A GPU, and how many registers may be spilled at heads of `d` channels, with all terms of a score or
/// without; none = anything goes.
struct Gpu {
    name: &'static str,
    /// As newer drivers call it.
    alias: &'static str,
    allowed: fn(d: usize, terms: bool) -> Option<u64>,
}

/// GCN 5 and RDNA 2 have 256 registers an invocation; Mesa 22.3 gives RDNA 3 132.
const GPUS: [Gpu; 3] = [
    Gpu {
        name: "vega10",
        alias: "vega10",
        allowed: |_, _| Some(0),
    },
    Gpu {
        name: "navi21",
        alias: "navi21",
        allowed: |_, _| Some(0),
    },
    Gpu {
        name: "gfx1100",
        alias: "navi31",
        allowed: |d, terms| (d <= 64).then_some(if terms { 44 } else { 40 }),
    },
];

/// A shader and what tells it from the others.
struct Named {
    name: String,
    shader: Shader,
}

/// What a graphics card launches at heads of several widths: full documents, packed ones of few landmarks,
/// and with all that there is in a score, of window keys and of landmarks (a language model's).
fn gpu_shaders() -> Vec<Named> {
    let mut all: Vec<Named> = Vec::new();
    let mut texts = HashSet::new();
    let mut add = |shader: Shader, what: &str| {
        // Bytes and words are moved by many, with a handful of registers each.
        let moves = matches!(
            shader.kernel,
            Kernel::PackLandmarks | Kernel::PackBias | Kernel::PackRelativeKeys | Kernel::PackWords
        );
        if !moves && texts.insert(shader.render()) {
            let name = format!("{:?} d {} {what}", shader.kernel, shader.width);
            all.push(Named { name, shader });
        }
    };
    let store = |shader: &mut Shader, element| {
        shader.element = element;
        for rows in &mut shader.rows {
            rows.element = element;
        }
    };
    let all_terms = |shader: &mut Shader| {
        (shader.bias, shader.relative_keys, shader.dropout) = (true, true, true);
    };
    let cooperative = Limits {
        cooperative: Some(Cooperative {
            size: 16,
            subgroup: 32,
        }),
        ..ROOMY
    };
    for width in [32, 64, 128] {
        for (what, limits, element, terms) in [
            ("f32", ROOMY, Element::F32, false),
            ("f16", ROOMY, Element::F16, false),
            ("f16, cooperative", cooperative, Element::F16, false),
            ("f32, padded, all terms", ROOMY, Element::F32, true),
        ] {
            for window in [16, 128] {
                for_kernels(
                    &limits,
                    [width, 32, window],
                    Pattern::Segments,
                    |mut shader| {
                        store(&mut shader, element);
                        if terms {
                            shader.layout = Layout::Padded;
                            all_terms(&mut shader);
                        }
                        add(shader, &format!("w {} {what}", window / 2));
                    },
                );
            }
        }
        for landmarks in [8, 16] {
            for_kernels(
                &ROOMY,
                [width, landmarks, 16],
                Pattern::Segments,
                |mut shader| {
                    shader.layout = Layout::Packed;
                    add(shader, &format!("w 8 f32, packed, r {landmarks}"));
                },
            );
        }
        for (what, limits, element) in [
            ("f32", ROOMY, Element::F32),
            ("f16", ROOMY, Element::F16),
            ("f16, cooperative", cooperative, Element::F16),
        ] {
            for_kernels(&limits, [width, 64, 512], Pattern::Causal, |mut shader| {
                store(&mut shader, element);
                all_terms(&mut shader);
                shader.chunks = true;
                (shader.landmark_bias, shader.landmark_offsets) = (true, true);
                add(shader, &format!("w 512 {what}, causal, all terms"));
            });
        }
    }
    for_kernels(&ROOMY, [64, 32, 25], Pattern::Grid, |mut shader| {
        all_terms(&mut shader);
        add(shader, "5 × 5 f32, grid, all terms");
    });
    all
}

fn main() -> ExitCode {
    if std::env::var_os(CHILD).is_some() {
        compile_all();
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::from_args();
    let trials = GPUS
        .map(|gpu| Trial::test(format!("no_spills_on_{}", gpu.name), move || check(&gpu)))
        .into();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Compiles every shader, with a line before each and one with what came of it.
fn compile_all() {
    let device = radv::Device::open();
    for named in gpu_shaders() {
        println!("? {}", named.name);
        if named.shader.tile.cooperative.is_some() && !device.cooperates {
            println!("-");
            continue;
        }
        let words = radv::spirv(&named.shader);
        let start = Instant::now();
        let made = device.compile(&words, named.shader.kernel.storage_buffers());
        println!(
            "= {} {} {} {} {} {}",
            made.registers,
            made.spilled,
            made.scratch,
            made.waves,
            made.instructions,
            start.elapsed().as_millis()
        );
    }
}

fn check(gpu: &Gpu) -> Result<(), Failed> {
    let Some(driver) = radv::driver() else {
        let message = "NO RADV HERE: REGISTERS ARE NOT CHECKED (Debian: mesa-vulkan-drivers)";
        if std::env::var_os("LS_REQUIRE_WGPU").is_some() {
            return Err(message.into());
        }
        eprintln!("\n{message}\n");
        return Ok(());
    };
    match compiled(gpu, gpu.name, &driver)? {
        Some(wrong) => wrong,
        None => compiled(gpu, gpu.alias, &driver)?.ok_or("the driver knows no such GPU")?,
    }
    .map_err(Failed::from)
}

/// What is wrong with what the driver compiles for the GPU of that name; none if it knows no such name.
fn compiled(gpu: &Gpu, family: &str, driver: &Path) -> Result<Option<Result<(), String>>, Failed> {
    let mut child = Command::new(std::env::current_exe()?)
        .envs([(CHILD, "1"), ("RADV_FORCE_FAMILY", family)])
        .envs([("RADV_DEBUG", "nocache"), ("VK_LOADER_LAYERS_DISABLE", "*")])
        .env("VK_ICD_FILENAMES", driver)
        .env("VK_DRIVER_FILES", driver)
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });

    // Printed as a whole: the GPUs' tables would mix.
    let mut table = format!(
        "\n{}\n{:<58} {:>9} {:>7} {:>7} {:>5} {:>12} {:>6}\n",
        gpu.name, "shader", "registers", "spilled", "scratch", "waves", "instructions", "ms"
    );
    let (mut wrong, mut left_out, mut any) = (Vec::new(), 0, false);
    for Named { name, shader } in gpu_shaders() {
        let next = || receive.recv_timeout(PATIENCE);
        let Ok(question) = next() else {
            child.kill()?;
            child.wait()?;
            if !any {
                return Ok(None);
            }
            wrong.push(format!("{name}: its compiler ends"));
            break;
        };
        any = true;
        assert!(question.starts_with('?'), "{question}");
        let Ok(answer) = next() else {
            child.kill()?;
            wrong.push(format!("{name}: its compiler ends, or takes a minute"));
            break;
        };
        if answer == "-" {
            left_out += 1;
            continue;
        }
        let numbers: Vec<u64> = answer
            .split_whitespace()
            .skip(1)
            .map(|word| word.parse().expect("a number"))
            .collect();
        let [registers, spilled, scratch, waves, instructions, ms] = numbers[..] else {
            return Err(format!("{name}: {answer}").into());
        };
        table += &format!(
            "{name:<58} {registers:>9} {spilled:>7} {scratch:>7} {waves:>5} {instructions:>12} {ms:>6}\n"
        );
        if let Some(allowed) = (gpu.allowed)(shader.width, shader.relative_keys)
            && (spilled > allowed || (allowed == 0 && scratch > 0))
        {
            wrong.push(format!(
                "{name}: {spilled} registers spilled, {scratch} bytes of scratch"
            ));
        }
        if u128::from(ms) > LIMIT.as_millis() {
            wrong.push(format!("{name}: {ms} ms to compile"));
        }
    }
    child.wait()?;
    if left_out > 0 {
        table += &format!("no cooperative matrices here: {left_out} shaders left out\n");
    }
    print!("{table}");
    Ok(Some(match wrong.is_empty() {
        true => Ok(()),
        false => Err(wrong.join("\n")),
    }))
}
