//! Finding the order from labelled samples: the one in which the model is least surprised by them.

use std::ops::ControlFlow;

use burn::tensor::Device;
use burn_dataset::{Dataset, InMemDataset};
use transformer_ls_burn::Classifier;
use transformer_ls_datasets::draws::{Draws, PcgDraws};
use transformer_ls_datasets::{Sample, TokenIds};

use super::Vocabulary;
use crate::batch::{Batcher, longest_document};
use crate::evaluate::{EvaluateError, Evaluation, Score, evaluate, read, score};
use crate::run::RunConfig;

/// Samples that are searched on at most, and as many again that the result is judged on.
const SEARCHED: usize = 1024;
/// Samples without which there is no telling, half of them to judge on.
const LEAST: usize = 200;
/// Orders that the search starts from: this crate's own, and others drawn at random.
const STARTS: usize = 12;
/// Deviations of chance that the accuracy found must lie above the largest class's share.
const DEVIATIONS: f64 = 4.0;
/// Tokens in a batch: enough for the device to be busy.
const BATCH_TOKENS: usize = 1 << 14;

/// The rounds of the search, in each of which the best orders so far are improved on more and longer
/// samples: orders, samples, and the tokens after which documents are cut. Much of an expression's
/// value is decided at its beginning.
const ROUNDS: [(usize, usize, usize); 4] = [
    (STARTS, 64, 32),
    (4, 256, 32),
    (2, 1024, 64),
    (1, 512, usize::MAX),
];

/// Why no order was found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The model is for another task.
    #[error(
        "only ListOps has a vocabulary to find, and the model is for the task {0}: leave it out"
    )]
    Task(String),
    /// There are too few samples.
    #[error(
        "{0} samples are too few to find the vocabulary from: give a split of at least {LEAST}"
    )]
    TooFew(usize),
    /// No order makes the model better than chance.
    #[error(
        "no order of the words is clearly better than chance: the best finds {:.1} % of the classes \
         (loss {:.3}), where the most frequent one is {:.1} % (loss {entropy:.3}); are the weights \
         trained, on this tokenizer? If so, list the words in their order",
        100.0 * accuracy, loss, 100.0 * majority
    )]
    Chance {
        /// The accuracy in the best order.
        accuracy: f64,
        /// The loss in the best order.
        loss: f64,
        /// The share of the most frequent class.
        majority: f64,
        /// The loss of an answer that knows how frequent the classes are, and nothing else.
        entropy: f64,
    },
    /// The model cannot be evaluated.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
}

/// How far a search has come.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Search {
    /// The round, counted from 1.
    pub round: usize,
    /// How many rounds there are.
    pub rounds: usize,
    /// The order that is being improved, counted from 1.
    pub order: usize,
    /// How many orders are improved in this round.
    pub orders: usize,
    /// Orders that were tried in all.
    pub tried: usize,
    /// The loss of this order, on the samples of this round.
    pub loss: f64,
}

/// The exchange of two words that would cost least.
#[derive(Clone, Debug, PartialEq)]
pub struct Margin {
    /// The two words.
    pub words: [String; 2],
    /// By how much the mean loss would rise. Near 0 the model does not tell them apart.
    pub loss: f64,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The order.
    pub vocabulary: Vocabulary,
    /// How well the model does in this crate's own order, on samples that were not searched on.
    pub before: Evaluation,
    /// How well it does in the order found, on the same samples.
    pub after: Evaluation,
    /// The share of the most frequent class among them.
    pub majority: f64,
    /// How close the next order is, on the samples that were searched on last.
    pub margin: Margin,
}

/// Finds the order in which a model numbers the words from labelled samples, which have this
/// crate's ids.
///
/// It looks for the least mean cross-entropy: from several orders, words are exchanged two by two
/// as long as that helps, on few and short samples first, and the better orders on more and longer
/// ones. The first half of the samples is searched on (1024 at most), and what is found is judged
/// on the next. The same samples give the same answer on the same device.
///
/// It is an order in which the model answers about as well as in its own, seldom just that: words that
/// the model hardly tells apart stay exchanged. What is short is samples, not the search. For a shuffled
/// copy of a model of the published protocol, 256 samples of 64 tokens gave an order of lower loss on
/// them than the right one (1.700 to 1.709), with 7 of 14 rows in other places; 1024 whole samples gave one of equal
/// loss (1.680 to 1.679) with all operators right and 5 digits exchanged. [`Found::margin`] says how
/// close the closest two words are.
///
/// # Errors
///
/// Another task, too few samples, an order that is not clearly better than chance
/// ([`FindError::Chance`]), and as [`evaluate`].
pub fn find(
    config: &RunConfig,
    model: &Classifier,
    dataset: &dyn Dataset<Sample>,
    device: &Device,
    progress: &mut dyn FnMut(&Search),
) -> Result<Found, FindError> {
    let tokenizer = config
        .tokenizer()
        .ok_or_else(|| FindError::Task(config.task.clone()))?;
    let found = dataset.len();
    if found < LEAST {
        return Err(FindError::TooFew(found));
    }
    let half = (found / 2).min(SEARCHED);
    let searched = read(dataset, 0..half)?;
    let held_out = read(dataset, half..2 * half)?;

    let mut finder = Finder {
        model,
        batcher: config.batcher(device),
        device,
        progress,
        state: Search {
            rounds: ROUNDS.len(),
            ..Search::default()
        },
    };
    let own = Vocabulary::own(tokenizer);
    let (vocabulary, margin) = finder.search(&own, &searched)?;
    let before = finder.evaluate(&own, &held_out)?;
    let after = finder.evaluate(&vocabulary, &held_out)?;
    let (majority, entropy) = majority_and_entropy(&held_out);
    let deviation = (majority * (1.0 - majority) / held_out.len() as f64).sqrt();
    if after.accuracy <= majority + DEVIATIONS * deviation || after.loss >= entropy {
        return Err(FindError::Chance {
            accuracy: after.accuracy,
            loss: after.loss,
            majority,
            entropy,
        });
    }
    Ok(Found {
        vocabulary,
        before,
        after,
        majority,
        margin,
    })
}

/// Tries orders.
struct Finder<'a> {
    model: &'a Classifier,
    batcher: Batcher,
    device: &'a Device,
    progress: &'a mut dyn FnMut(&Search),
    state: Search,
}

/// An order with its loss, and the exchange that would raise it least.
struct Climbed {
    loss: f64,
    order: Vocabulary,
    least_rise: ((usize, usize), f64),
}

impl Finder<'_> {
    /// All rounds: the best order, and its margin.
    fn search(
        &mut self,
        own: &Vocabulary,
        samples: &[Sample],
    ) -> Result<(Vocabulary, Margin), FindError> {
        let shuffled = (1..STARTS as u64).map(|stream| shuffled(own, stream));
        let mut orders: Vec<Vocabulary> = std::iter::once(own.clone()).chain(shuffled).collect();
        let mut margin = None;
        for (index, (best, count, tokens)) in ROUNDS.into_iter().enumerate() {
            orders.truncate(best);
            self.state.round = index + 1;
            self.state.orders = orders.len();
            let samples: Vec<Sample> = samples
                .iter()
                .take(count)
                .map(|sample| cut(sample, tokens))
                .collect();
            let mut climbed = Vec::with_capacity(orders.len());
            for (index, order) in orders.into_iter().enumerate() {
                self.state.order = index + 1;
                climbed.push(self.climb(order, &samples)?);
            }
            climbed.sort_by(|a, b| a.loss.total_cmp(&b.loss));
            // Starts that met are one.
            climbed.dedup_by(|a, b| a.order == b.order);
            margin = climbed.first().map(|best| best.least_rise);
            orders = climbed.into_iter().map(|climbed| climbed.order).collect();
        }
        let words = super::words(own.tokenizer());
        // Some order was climbed in every round.
        let ((first, second), loss) = margin.unwrap_or(((1, 1), 0.0));
        let margin = Margin {
            words: [first, second].map(|id| words[id - 1].clone()),
            loss,
        };
        Ok((orders.swap_remove(0), margin))
    }

    /// Exchanges two words as long as that lowers the loss.
    fn climb(&mut self, mut order: Vocabulary, samples: &[Sample]) -> Result<Climbed, FindError> {
        let mut pairs = pairs(order.theirs.len());
        // Not the same word time and again.
        shuffle(&mut pairs, &mut PcgDraws::new(SEED, 0));
        let mut loss = self.loss(&order, samples)?;
        self.state.loss = loss;
        let mut least_rise = (pairs[0], f64::INFINITY);
        let mut left = pairs.len();
        for &pair in pairs.iter().cycle() {
            if left == 0 {
                break;
            }
            left -= 1;
            order.theirs.swap(pair.0, pair.1);
            let other = self.loss(&order, samples)?;
            if other < loss {
                loss = other;
                self.state.loss = loss;
                least_rise.1 = f64::INFINITY;
                // This pair is at its better now.
                left = pairs.len() - 1;
                continue;
            }
            order.theirs.swap(pair.0, pair.1);
            if other - loss < least_rise.1 {
                least_rise = (pair, other - loss);
            }
        }
        Ok(Climbed {
            loss,
            order,
            least_rise,
        })
    }

    /// The mean loss of samples in an order.
    fn loss(&mut self, order: &Vocabulary, samples: &[Sample]) -> Result<f64, FindError> {
        let longest = samples.iter().map(longest_document).max().unwrap_or(0);
        let mut sum = Score::default();
        for samples in samples.chunks((BATCH_TOKENS / longest.max(1)).max(1)) {
            let labels: Vec<u8> = samples.iter().map(|sample| sample.label).collect();
            let samples: Vec<Sample> = samples.iter().map(|s| order.translate(s)).collect();
            let batch = self.batcher.fitting(&samples);
            let batch = batch.batch(&samples, self.device, None);
            sum += score(batch.logits(self.model), &labels)?;
        }
        self.state.tried += 1;
        (self.progress)(&self.state);
        Ok(sum.loss_sum / samples.len().max(1) as f64)
    }

    /// How well the model does in an order, on whole samples.
    fn evaluate(
        &self,
        order: &Vocabulary,
        samples: &[Sample],
    ) -> Result<Evaluation, EvaluateError> {
        let samples = samples.iter().map(|sample| order.translate(sample));
        let samples = InMemDataset::new(samples.collect());
        let on = &mut |_: &_| ControlFlow::Continue(());
        evaluate(self.model, &samples, &self.batcher, 32, self.device, on)
    }
}

/// The seed of every draw, so that a search can be repeated.
const SEED: u64 = 0;

fn shuffle<T>(items: &mut [T], draws: &mut impl Draws) {
    for end in (1..items.len()).rev() {
        items.swap(end, draws.below(end as u32 + 1) as usize);
    }
}

/// An order drawn at random.
fn shuffled(own: &Vocabulary, stream: u64) -> Vocabulary {
    let mut order = own.clone();
    shuffle(&mut order.theirs[1..], &mut PcgDraws::new(SEED, stream));
    order
}

/// All pairs of this crate's ids, without padding.
fn pairs(ids: usize) -> Vec<(usize, usize)> {
    (1..ids)
        .flat_map(|first| (first + 1..ids).map(move |second| (first, second)))
        .collect()
}

/// A sample's first tokens.
fn cut(sample: &Sample, tokens: usize) -> Sample {
    let mut sample = sample.clone();
    if let TokenIds::One(ids) = &mut sample.documents {
        ids.truncate(tokens);
    }
    sample
}

/// The share of the most frequent class, and the entropy of all shares in nats.
fn majority_and_entropy(samples: &[Sample]) -> (f64, f64) {
    let mut counts = [0usize; 256];
    for sample in samples {
        counts[usize::from(sample.label)] += 1;
    }
    let shares = counts.map(|count| count as f64 / samples.len().max(1) as f64);
    let shares = shares.iter().filter(|share| **share > 0.0);
    let majority = shares.clone().copied().fold(0.0, f64::max);
    (
        majority,
        -shares.map(|share| share * share.ln()).sum::<f64>(),
    )
}
