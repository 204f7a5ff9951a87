//! Text for language models, as a file and as a published archive.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transformer_ls_datasets::Split;
use transformer_ls_datasets::corpus::{Corpus, Position, Published, Scoring, Shares, Streams};

fuzz_target!(|bytes: &[u8]| {
    let Ok(dir) = tempfile::tempdir() else { return };
    let path = dir.path().join("text8.zip");
    if std::fs::write(&path, bytes).is_err() {
        return;
    }
    let _ = Corpus::published(Published::Text8, dir.path());
    let Ok(corpus) = Corpus::file(&path, Shares::default()) else {
        return;
    };
    let Ok(part) = corpus.part(Split::Train, corpus.vocabulary()) else {
        panic!("a text's own bytes are unknown");
    };
    if let Ok(streams) = Streams::new(part.clone(), 2, 8) {
        assert_eq!(streams.at(Position::default(), 8).ids.len(), 18);
    }
    if let Ok(scoring) = Scoring::new(part, 2, 8) {
        let scored: usize = scoring.iter().flat_map(|segment| segment.targets).sum();
        assert_eq!(scored, scoring.scored());
    }
});
