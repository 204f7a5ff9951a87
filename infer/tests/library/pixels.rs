//! Pixels as numbers: normalised as published, and none of them padding.

use crate::common::config;
use burn::tensor::{Device, Tensor};
use transformer_ls_burn::attention::LongShortAttentionConfig;
use transformer_ls_burn::{EmbeddingConfig, Input, Pooling, Positions, presets};
use transformer_ls_datasets::{Sample, TokenIds};
use transformer_ls_infer::batch::Batcher;

fn images(side: usize) -> Vec<Sample> {
    let pixel = |image: usize, at: usize| ((at * (7 + image) + image) % 4 * 85) as u16;
    (0..3)
        .map(|image| Sample {
            documents: TokenIds::One((0..side * side).map(|at| pixel(image, at)).collect()),
            label: 1,
        })
        .collect()
}

/// S4's mean and deviation for grey CIFAR-10, and Mega's for Pathfinder.
#[test]
fn strong_presets_normalise_as_published() {
    for (task, [mean, deviation]) in [
        ("image", [122.6 / 255.0, 61.0 / 255.0]),
        ("pathfinder32", [0.5, 0.5]),
        ("pathfinder64", [0.5, 0.5]),
        ("path-x", [0.5, 0.5]),
        ("pathfinder256", [0.5, 0.5]),
    ] {
        let preset = presets::find(&format!("{task}-strong")).expect(task);
        assert_eq!((preset.task, preset.published_accuracy), (task, None));
        let model = preset.model.encoder;
        let embedding = model.embedding;
        assert_eq!(embedding.input, Input::Floats);
        assert!((embedding.input_mean - mean).abs() < 1e-7);
        assert!((embedding.input_deviation - deviation).abs() < 1e-7);
        // A window sees its own segment and half of one on either side: rows of the image.
        let side = (embedding.max_length as f64).sqrt() as usize;
        let window = model.block.attention.window();
        assert!(window.is_some_and(|window| window >= 2 * side), "{task}");
    }
}

/// Black pixels are tokens like any other: batches are packed, and the model reads them.
#[test]
fn black_pixels_are_real() {
    let device = Device::flex();
    for pooling in [Pooling::MeanAll, Pooling::MeanReal, Pooling::ClassLast] {
        let attention = LongShortAttentionConfig::new(16, 2).with_rank(4);
        let mut config = config().model;
        config.encoder.embedding = EmbeddingConfig {
            vocab_size: 256,
            max_length: 36,
            positions: Positions::None,
            input: Input::Floats,
            ..config.encoder.embedding
        };
        config.encoder.block.attention = attention.with_window(4).with_rotary(true).into();
        config.encoder.pooling = pooling;
        device.seed(3);
        let model = config.init(&device).expect("valid");
        let logits = |samples: &[Sample], packed| {
            let batcher = Batcher::for_model(&config, packed);
            let batch = batcher.batch(samples, &device, None);
            assert_eq!(batch.real_tokens, samples.len() * 36);
            batch.logits(&model)
        };
        let difference = |a: Tensor<2>, b: Tensor<2>| (a - b).abs().max().into_scalar::<f32>();
        let samples = images(6);
        let whole = logits(&samples, true);
        assert!(difference(whole.clone(), logits(&samples, false)) < 1e-5);
        // Another shade of black is another image.
        let mut grey = samples.clone();
        for sample in &mut grey {
            if let TokenIds::One(pixels) = &mut sample.documents {
                pixels
                    .iter_mut()
                    .for_each(|pixel| *pixel = (*pixel).max(40));
            }
        }
        assert!(difference(whole, logits(&grey, true)) > 1e-3, "{pooling:?}");
    }
}

/// Where nothing was hidden, a token is all the same, and no padding in front of it.
#[test]
fn an_empty_mask_hides_the_first_token() {
    let sample = Sample {
        documents: TokenIds::One(vec![0, 0, 9, 0, 5]),
        label: 0,
    };
    let mut model = config().model;
    model.encoder.embedding.max_length = 16;
    let batcher = Batcher::for_model(&model, false);
    let batch = batcher
        .masked_on_host(&[sample], &|_, _| false)
        .to_device(&Device::flex(), None);
    let targets = batch.tokens[0].targets().into_data();
    assert_eq!(targets.iter::<i64>().collect::<Vec<_>>(), [9]);
}

#[test]
fn masks_hide_what_they_are_asked_to_and_no_padding() {
    let device = Device::flex();
    let mut samples = images(4);
    if let TokenIds::One(pixels) = &mut samples[1].documents {
        pixels.truncate(5);
    }
    let hides = |document: usize, place: usize| (document + place).is_multiple_of(3);
    for input in [Input::Ids, Input::Floats] {
        let mut model = config().model;
        model.encoder.embedding.max_length = 16;
        model.encoder.embedding.input = input;
        for packed in [false, true] {
            let batch = Batcher::for_model(&model, packed)
                .masked_on_host(&samples, &hides)
                .to_device(&device, None);
            let mut wanted: Vec<i64> = Vec::new();
            for (index, sample) in samples.iter().enumerate() {
                let pixels = sample.documents.iter().next().expect("one document");
                let hidden = pixels
                    .iter()
                    .enumerate()
                    // A sample's documents count apart.
                    .filter(|(place, _)| hides(2 * index, *place))
                    .filter(|(_, id)| input == Input::Floats || **id != 0);
                wanted.extend(hidden.map(|(_, &id)| i64::from(id)));
            }
            assert!(wanted.len() > 8);
            assert_eq!((batch.masked, batch.real_tokens), (wanted.len(), 37));
            let targets = batch.tokens[0].targets().into_data();
            assert_eq!(targets.iter::<i64>().collect::<Vec<_>>(), wanted);
        }
    }
}
