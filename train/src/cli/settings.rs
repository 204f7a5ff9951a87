//! From a task's protocol and the command line to a run's configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::bail;
use jiff::Timestamp;
use serde_json::Value;
use transformer_ls_burn::presets;
use transformer_ls_datasets::listops::Tokenizer;
use transformer_ls_datasets::pathfinder::Difficulty;
use transformer_ls_datasets::{Missing, Task};
use transformer_ls_infer::run::{DataConfig, InitConfig, Packing, RunConfig, RunFolder};

use super::args::{Choices, TrainArgs};
use super::goal::Goal;
use crate::tasks::Protocol;

/// The configuration of a new run: the preset or the file, then the options, then each `--set`.
pub(super) fn new_run(
    protocol: &Protocol,
    args: &TrainArgs,
    choices: &Choices,
    goal: Goal,
) -> anyhow::Result<RunConfig> {
    let mut config = match &args.config {
        Some(path) => from_file(protocol, path, goal)?,
        None => {
            let preset = args.preset.clone().or_else(|| preset_of(protocol, args));
            from_preset(protocol, preset.as_deref(), goal)?
        }
    };
    choose(&mut config, args, choices);
    if let Some(steps) = args.steps {
        // The peak keeps its place in the schedule, unless --set warmup=… moves it below.
        let share = config.training.warmup as f64 / config.training.steps.max(1) as f64;
        config.training.warmup = ((share * steps as f64).round() as usize).max(1);
        config.training.steps = steps;
    }
    let every = config.training.evaluate_every;
    let follows = config.training.checkpoint_every == every;
    let (init, preset) = (config.init.clone(), config.preset.clone());
    config.set_all(&args.set)?;
    refuse_contradictions(&config, args)?;
    if config.init != init || Goal::of(&config) != goal {
        bail!(
            "where a run starts and what it learns is not for --set: use --init RUN, and `ls-train \
             pretrain {task}` or `ls-train {task}`",
            task = protocol.task
        );
    }
    let evaluate_every = config.training.evaluate_every;
    if let Some(every) = args.checkpoint_every {
        config.training.checkpoint_every = every;
    } else if follows && config.training.checkpoint_every == every {
        config.training.checkpoint_every = evaluate_every;
    }
    if config.preset != preset {
        bail!("a preset is not for --set: use --preset {}", config.preset);
    }
    if config.task != protocol.task.name {
        bail!(
            "`--set task={}` cannot turn one task into another: run `ls-train {}` instead",
            config.task,
            config.task
        );
    }
    let is_own = args.config.is_none() && protocol.own(&config.preset).is_some();
    if is_own && config.training.inner_values && config.data.tokenizer == Some(Tokenizer::Legacy) {
        bail!(
            "`legacy` tokens have no operations inside, whose values {} learns: add `--preset {}`, whose \
             published protocol they are",
            config.preset,
            protocol.task
        );
    }
    if let Some(tokenizer) = config.data.tokenizer {
        let needed = tokenizer.vocab_size();
        let known = config.model.encoder.embedding.vocab_size;
        if known < needed {
            bail!(
                "the model knows {known} token ids and the `{tokenizer}` tokens need {needed}: use \
                 --set vocab_size={needed}"
            );
        }
    }
    config.validate()?;
    Ok(config)
}

/// The preset of the run to start from, if it is one of the task's.
fn preset_of(protocol: &Protocol, args: &TrainArgs) -> Option<String> {
    // What can't be read is refused where it is started from.
    let config = RunFolder::open(args.init.as_ref()?).ok()?;
    let name = &config.config().preset;
    let is_ours = presets::find(name)?.task == protocol.task.name;
    is_ours.then(|| name.clone())
}

/// Refuses options that a `--set` has taken back.
fn refuse_contradictions(config: &RunConfig, args: &TrainArgs) -> anyhow::Result<()> {
    let steps = args.steps.filter(|&it| it != config.training.steps);
    let seed = args.seed.filter(|&it| it != config.seed);
    let device = args.device.as_ref().filter(|&it| *it != config.device);
    let data = args.data.as_ref().filter(|&it| *it != config.data.dir);
    let contradicted = [
        steps.map(|it| format!("--steps {it}")),
        seed.map(|it| format!("--seed {it}")),
        device.map(|it| format!("--device {it}")),
        data.map(|it| format!("--data {}", it.display())),
    ];
    if let Some(option) = contradicted.into_iter().flatten().next() {
        bail!("`{option}` and a --set ask for different things: leave one of them out");
    }
    Ok(())
}

/// Enters the options that a new run and a resumed one take alike.
fn choose(config: &mut RunConfig, args: &TrainArgs, choices: &Choices) {
    config.seed = args.seed.unwrap_or(config.seed);
    if let Some(device) = &args.device {
        config.device.clone_from(device);
    }
    if let Some(dir) = &args.data {
        config.data.dir.clone_from(dir);
    }
    config.data.tokenizer = choices.tokenizer.or(config.data.tokenizer);
    config.data.difficulty = choices.difficulty.or(config.data.difficulty);
}

fn from_file(protocol: &Protocol, path: &Path, goal: Goal) -> anyhow::Result<RunConfig> {
    let config = RunConfig::from_file(path)?;
    let of = Goal::of(&config);
    if config.task != protocol.task.name || of != goal {
        bail!(
            "{} is the configuration of a {prefix}{task} run: use `ls-train {prefix}{task}`, or \
             another file",
            path.display(),
            prefix = of.prefix(),
            task = config.task,
        );
    }
    Ok(config)
}

fn from_preset(protocol: &Protocol, name: Option<&str>, goal: Goal) -> anyhow::Result<RunConfig> {
    let name = name.unwrap_or(match goal {
        Goal::Classify => protocol.preset(),
        Goal::FillIn => protocol.task.name,
    });
    let fitting = || {
        let names: Vec<_> = presets::all()
            .into_iter()
            .filter(|preset| preset.task == protocol.task.name)
            .map(|preset| preset.name)
            .collect();
        names.join(", ")
    };
    let Some(preset) = presets::find(name) else {
        bail!(
            "there is no preset `{name}`: those for {} are {}",
            protocol.task,
            fitting()
        );
    };
    if preset.task != protocol.task.name {
        bail!(
            "the preset `{name}` is for {}: those for {} are {}",
            preset.task,
            protocol.task,
            fitting()
        );
    }
    let training = match goal {
        Goal::Classify => protocol.training(&preset).clone(),
        Goal::FillIn => protocol.pretraining(&preset),
    };
    let task = protocol.task;
    Ok(RunConfig {
        task: task.to_string(),
        preset: name.to_owned(),
        seed: protocol.seed,
        device: "auto".to_owned(),
        model: preset.model,
        data: DataConfig {
            dir: protocol.folder(name),
            tokenizer: match protocol.own(name) {
                Some(own) => Some(own.tokenizer),
                None => task.has_tokenizer().then(Tokenizer::default),
            },
            difficulty: task.has_difficulty.then(Difficulty::default),
            splits: None,
            cache: None,
            missing: Missing::default(),
            packed: Packing::Auto,
        },
        training,
        pretraining: match goal {
            Goal::Classify => None,
            Goal::FillIn => Some(protocol.strong.pretraining.clone()),
        },
        init: None,
    })
}

/// Every name that `--set` takes, for the help.
pub(super) fn fields_help(protocol: &Protocol, goal: Goal) -> String {
    let config = from_preset(protocol, None, goal);
    let mut keys = config.map_or_else(|_| Vec::new(), |config| config.keys());
    // Options of their own.
    keys.retain(|key| key != "init" && key != "pretraining");
    format!(
        "Fields for --set (the part after the dot is enough where only one field has it):\n{}",
        keys.join(", ")
    )
}

/// The configuration of a run that is resumed: its own, with the device and the folders that are
/// given, since data may have been moved and a device may be gone. Another learning rate is returned
/// beside it, for a run that has diverged. Other changes are refused.
///
/// An option that repeats what `config.json` says is harmless.
pub(super) fn resumed(
    config: &RunConfig,
    args: &TrainArgs,
    choices: &Choices,
) -> anyhow::Result<(RunConfig, Option<f64>)> {
    let mut changed = config.clone();
    let training = &mut changed.training;
    let present = training.present_rate();
    training.learning_rate = present;
    if let Some(steps) = args.steps {
        training.steps = steps;
    }
    if let Some(every) = args.checkpoint_every {
        training.checkpoint_every = every;
    }
    choose(&mut changed, args, choices);
    if let Some(run) = &args.init {
        let sha256 = config.init.as_ref().map(|init| init.sha256.clone());
        changed.init = Some(InitConfig {
            run: run.clone(),
            sha256: sha256.unwrap_or_default(),
        });
    }
    if let Some(preset) = &args.preset {
        changed.preset.clone_from(preset);
    }
    changed.set_all(&args.set)?;
    refuse_contradictions(&changed, args)?;
    if let Some(path) = &args.config
        && RunConfig::from_file(path)? != *config
    {
        bail!(
            "--resume continues the run with its own config.json, which differs from {}: leave \
             --config out, or start a new run with another --out",
            path.display()
        );
    }
    let asked = std::mem::replace(
        &mut changed.training.learning_rate,
        config.training.learning_rate,
    );
    let mut here = config.clone();
    here.device.clone_from(&changed.device);
    here.data.dir.clone_from(&changed.data.dir);
    here.data.cache.clone_from(&changed.data.cache);
    let differing = differences(here.fields(), changed.fields());
    if !differing.is_empty() {
        bail!(
            "--resume continues the run with its own config.json: {}. Leave these options out, or \
             start a new run with another --out",
            differing.join(", ")
        );
    }
    let mut follows = here.clone();
    follows.training.learning_rate = asked;
    follows.validate()?;
    Ok((here, (asked != present).then_some(asked)))
}

/// The options that make the places of one configuration those of another.
pub(super) fn places(there: &RunConfig, here: &RunConfig) -> Vec<String> {
    let mut options = Vec::new();
    if here.device != there.device {
        options.push(format!("--device {}", here.device));
    }
    if here.data.dir != there.data.dir {
        options.push(format!("--data {}", here.data.dir.display()));
    }
    if here.data.cache != there.data.cache {
        let cache = here.data.cache.as_ref();
        let cache = cache.map_or("null".into(), |cache| cache.display().to_string());
        options.push(format!("--set cache={cache}"));
    }
    options
}

/// `field is A there and B here`, for every field that differs; one that is not everywhere is null
/// elsewhere.
pub(super) fn differences(there: Vec<(String, Value)>, here: Vec<(String, Value)>) -> Vec<String> {
    let (there, here) = (BTreeMap::from_iter(there), BTreeMap::from_iter(here));
    let names: BTreeSet<&String> = there.keys().chain(here.keys()).collect();
    names
        .into_iter()
        .map(|name| {
            let of = |fields: &BTreeMap<String, Value>| fields.get(name).cloned();
            (
                name,
                of(&there).unwrap_or_default(),
                of(&here).unwrap_or_default(),
            )
        })
        // A hash follows from the path beside it.
        .filter(|(name, there, here)| there != here && !name.ends_with(".sha256"))
        .map(|(name, there, here)| format!("{name} is {there} there and {here} here"))
        .collect()
}

/// What the names of such runs begin with.
pub(super) fn run_prefix(task: Task, goal: Goal) -> String {
    format!("{}{task}-", goal.prefix().replace(' ', "-"))
}

/// Where a run goes that was given no place: `runs/<task>-<time>` or `runs/pretrain-<task>-<time>`.
pub(super) fn default_out(task: Task, goal: Goal) -> PathBuf {
    out_now(&run_prefix(task, goal))
}

/// A run folder whose name begins so and ends with the time, in UTC.
pub(super) fn out_now(prefix: &str) -> PathBuf {
    let time = Timestamp::now().strftime("%Y%m%d-%H%M%S");
    Path::new("runs").join(format!("{prefix}{time}"))
}
