//! Other people's order of ListOps' words: read, applied, and found from labelled samples.

use std::ops::ControlFlow;
use std::path::Path;

use burn::tensor::Device;
use burn_dataset::InMemDataset;
use transformer_ls_burn::weights::{self, StateDict};
use transformer_ls_burn::{Classifier, ClassifierConfig};
use transformer_ls_datasets::draws::PcgDraws;
use transformer_ls_datasets::listops::{Tokenizer, Tree};
use transformer_ls_datasets::{Sample, TokenIds};
use transformer_ls_infer::batch::Batcher;
use transformer_ls_infer::evaluate::evaluate;
use transformer_ls_infer::run::RunConfig;
use transformer_ls_infer::vocabulary::{FindError, Vocabulary, find};
use transformer_ls_infer::weights_file;

const THEIRS: &str = "SM,3,0,MED,9,1,MIN,8,2,4,MAX,5,7,6";
const EMBEDDING: &str = "model.embeddings.word_embeddings.weight";

/// A model of the published protocol (docs/results.md, "ListOps, published protocol").
fn trained() -> (RunConfig, Classifier) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let config = RunConfig::from_file(&folder.join("legacy.json")).unwrap();
    let weights = folder.join("legacy.safetensors");
    let model = weights_file::load(&weights, &config.model, &Device::flex());
    (config, model.unwrap())
}

fn legacy(text: &str) -> Vocabulary {
    Vocabulary::parse(Tokenizer::Legacy, text).unwrap()
}

#[test]
fn lists_are_read_as_programs_and_people_write_them() {
    for text in [
        THEIRS,
        "SM 3 0 MED 9 1 MIN 8 2 4 MAX 5 7 6",
        "<pad>\nSM\n3\n0\nMED\n9\n1\nMIN\n8\n2\n4\nMAX\n5\n7\n6\n",
        "['SM', '3', '0', 'MED', '9', '1', 'MIN', '8', '2', '4', 'MAX', '5', '7', '6']",
        "sm, 3, 0, med, 9, 1, min, 8, 2, 4, max, 5, 7, 6",
    ] {
        assert_eq!(legacy(text).to_string(), THEIRS, "{text}");
    }
    let operator_first = "MIN,3,0,MED,9,1,SM,8,2,4,MAX,5,7,6";
    for text in ["[MIN, ", "[ MIN, ", "[\n  MIN,\n "] {
        let text = format!("{text}3, 0, MED, 9, 1, SM, 8, 2, 4, MAX, 5, 7, 6 ]");
        assert_eq!(legacy(&text).to_string(), operator_first, "{text}");
    }
    let brackets = "] 0 1 2 3 4 5 6 7 8 9 [SM [MED [MAX [MIN";
    let read = Vocabulary::parse(Tokenizer::Brackets, brackets).unwrap();
    assert_eq!(read.words().join(" "), brackets);
}

#[test]
fn what_is_no_vocabulary_is_refused_in_words() {
    let refused = |text: &str| {
        let error = Vocabulary::parse(Tokenizer::Legacy, text).unwrap_err();
        error.to_string()
    };
    let lacks = refused("SM,3,0,MED,9,1,MIN,8,2,4,MAX,5");
    assert!(
        lacks.starts_with("the vocabulary lacks 6 7: list all 14 words"),
        "{lacks}"
    );
    let twice = refused(&format!("{THEIRS},3"));
    assert!(twice.contains("has 3 twice, as words 2 and 15"), "{twice}");
    let unknown = refused(&THEIRS.replace("MED", "AVG"));
    assert!(
        unknown.contains("\"AVG\", word 4 of the vocabulary"),
        "{unknown}"
    );
}

/// The trained model as it would be if its words were numbered in `order`: row `i` of its embedding is
/// that of the `i`-th word.
fn numbered(order: &str) -> (StateDict, StateDict) {
    let (_, model) = trained();
    let ours = weights::state_dict(&model).unwrap();
    let table = &ours.tensors[EMBEDDING];
    let [rows, width] = table.shape().to_vec()[..] else {
        panic!("a table");
    };
    let numbers: Vec<f32> = table.iter::<f32>().collect();
    let mut moved = numbers.clone();
    let own = Tokenizer::Legacy.vocabulary();
    for (index, word) in order.split(',').enumerate() {
        let from = own.iter().position(|own| own == word).unwrap();
        moved[(index + 1) * width..][..width].copy_from_slice(&numbers[from * width..][..width]);
    }
    let mut theirs = ours.clone();
    let table = burn::tensor::TensorData::new(moved, [rows, width]);
    theirs.tensors.insert(EMBEDDING.to_owned(), table);
    (ours, theirs)
}

#[test]
fn rows_go_where_this_crates_words_are() {
    let (ours, theirs) = numbered(THEIRS);
    assert_ne!(ours.tensors[EMBEDDING], theirs.tensors[EMBEDDING]);
    let back = legacy(THEIRS).apply(theirs).unwrap();
    assert_eq!(ours.tensors[EMBEDDING], back.tensors[EMBEDDING]);
    let error = legacy(THEIRS).apply(StateDict::default()).unwrap_err();
    assert!(error.to_string().contains("and have none"), "{error}");
}

/// Expressions as the generator draws them, cut off after some tokens: most of a value is decided at
/// the beginning.
fn samples(count: usize) -> InMemDataset<Sample> {
    const TOKENS: usize = 32;
    let sample = |tree: Tree| {
        let mut ids = Tokenizer::Legacy.encode(&tree.to_string()).unwrap();
        ids.truncate(TOKENS);
        Sample {
            documents: TokenIds::One(ids),
            label: tree.value(),
        }
    };
    let trees = (0..).filter_map(|candidate| Tree::draw(&mut PcgDraws::new(7, candidate)));
    InMemDataset::new(trees.take(count).map(sample).collect())
}

fn model(config: &ClassifierConfig, state: StateDict) -> Classifier {
    weights::load(config.init(&Device::flex()).unwrap(), state).unwrap()
}

#[test]
fn the_order_is_found_from_labelled_samples() {
    let (config, _) = trained();
    let (ours, theirs) = numbered(THEIRS);
    let device = Device::flex();
    let samples = samples(600);
    let nobody = &mut |_: &_| {};
    let found = find(
        &config,
        &model(&config.model, theirs.clone()),
        &samples,
        &device,
        nobody,
    );
    let found = found.unwrap();
    // The other half is what it was judged on.
    let held_out: Vec<Sample> = (300..600)
        .map(|index| burn_dataset::Dataset::get(&samples, index).unwrap())
        .collect();
    let held_out = InMemDataset::new(held_out);
    let accuracy = |state: StateDict| {
        let batcher = Batcher::for_model(&config.model, true);
        let go_on = &mut |_: &_| ControlFlow::Continue(());
        let model = model(&config.model, state);
        evaluate(&model, &held_out, &batcher, 32, &device, go_on)
            .unwrap()
            .accuracy
    };
    let (right, wrong) = (accuracy(ours), accuracy(theirs.clone()));
    assert_eq!(found.before.accuracy, wrong);
    assert_eq!(
        found.after.accuracy,
        accuracy(found.vocabulary.apply(theirs).unwrap())
    );
    assert!(found.after.accuracy > right - 0.02, "{found:?}, {right}");
    assert!(wrong < right - 0.05, "{wrong}, {right}");
}

#[test]
fn nothing_is_guessed_of_an_untrained_model() {
    let (config, _) = trained();
    let device = Device::flex();
    device.seed(3);
    let model = config.model.init(&device).unwrap();
    let nobody = &mut |_: &_| {};
    let error = find(&config, &model, &samples(200), &device, nobody).unwrap_err();
    assert!(matches!(error, FindError::Chance { .. }), "{error}");
    let error = find(&config, &model, &samples(100), &device, nobody).unwrap_err();
    assert!(matches!(error, FindError::TooFew(100)), "{error}");
}
