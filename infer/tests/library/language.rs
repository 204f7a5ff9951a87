//! What a language model writes, and what a text costs it.

use burn::tensor::Device;
use transformer_ls_datasets::Split;
use transformer_ls_datasets::corpus::{Corpus, Scoring, Shares, Vocabulary};
use transformer_ls_infer::device;
use transformer_ls_infer::language::{
    GenerateError, LanguageRun, Sampling, Writing, costs, generate, score,
};

use crate::common::language_run;

const TEXT: &[u8] = b"a bad head\nhid a big cafe. a jig";

fn opened(device: &Device) -> LanguageRun {
    let dir = tempfile::tempdir().unwrap();
    language_run(&dir.path().join("run"), Vocabulary::of(TEXT));
    LanguageRun::open(&dir.path().join("run"), device).unwrap()
}

fn written(run: &LanguageRun, writing: &Writing, first: u64, prompts: &[&[u8]]) -> Vec<Vec<u8>> {
    let ids: Vec<Vec<u16>> = prompts
        .iter()
        .map(|prompt| run.vocabulary.encode(prompt).unwrap())
        .collect();
    let mut texts = vec![Vec::new(); prompts.len()];
    generate(run, writing, first, &ids, |index, id| {
        texts[index].push(run.vocabulary.byte(id).unwrap());
        Ok::<(), GenerateError>(())
    })
    .unwrap();
    texts
}

fn writing(sampling: Sampling) -> Writing {
    Writing {
        sampling,
        seed: 11,
        length: 50,
    }
}

#[test]
fn texts_beside_it_change_no_text() {
    let run = opened(&Device::flex());
    let long = TEXT.repeat(3);
    let prompts = [&b"a"[..], &long, b"hid", b"a"];
    let writing = writing(Sampling {
        repetition_penalty: 1.1,
        top_p: 0.95,
        ..Sampling::default()
    });
    let together = written(&run, &writing, 3, &prompts);
    for (number, (prompt, text)) in (3..).zip(prompts.iter().zip(&together)) {
        assert_eq!(text.len(), 50);
        assert_eq!(written(&run, &writing, number, &[prompt])[0], *text);
    }
    // The same prompt with another number is another text.
    assert_ne!(together[0], together[3]);
}

#[test]
fn nothing_is_written_of_nothing() {
    let run = opened(&Device::flex());
    let mut writing = writing(Sampling::greedy());
    assert!(written(&run, &writing, 0, &[]).is_empty());
    writing.length = 0;
    assert_eq!(written(&run, &writing, 0, &[b"a"]), [b""]);
}

#[test]
fn a_seed_writes_the_same_on_another_backend() {
    let [here, there] = ["flex", "ndarray"].map(|name| {
        let run = opened(&device::resolve(name).unwrap().device);
        written(&run, &writing(Sampling::default()), 0, &[b"a bad", b"a"])
    });
    assert_eq!(here, there);
}

#[test]
fn costs_add_up_to_the_score() {
    let run = opened(&Device::flex());
    let text = TEXT.repeat(3);
    let ids = run.vocabulary.encode(&text).unwrap();
    let (mut bits, mut scored) = (0.0, Vec::new());
    costs(&run, &ids, |costs| {
        bits += costs.iter().map(|cost| cost.bits).sum::<f64>();
        scored.extend(costs.iter().map(|cost| cost.id));
        anyhow::Ok(())
    })
    .unwrap();
    assert_eq!(scored, ids[1..]);
    let corpus = Corpus::from_bytes(text, Shares::new(0, 0, 1).unwrap()).unwrap();
    let part = corpus.part(Split::Test, &run.vocabulary).unwrap();
    let scoring = Scoring::new(part, 1, run.segment).unwrap();
    let whole = score(&run.model, &scoring, run.memory, &mut |_| {
        std::ops::ControlFlow::Continue(())
    });
    let wanted = whole.unwrap().nats / std::f64::consts::LN_2;
    assert!((bits - wanted).abs() < 1e-3, "{bits} {wanted}");
}
