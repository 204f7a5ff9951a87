//! The order in which a model's first weights are drawn.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

use crate::classifier::Classifier;

/// Draws the weights of a new model from its device's generator.
///
/// A weight is drawn when it is first read. This reads all of them in an order that does not depend
/// on where modules keep them, so that a seed gives the weights that it always gave: layer after
/// layer, in each of them queries, keys and values, then `W_o`, then all else.
pub fn draw(model: &Classifier) {
    let last = 3 * model.encoder.blocks.len() + 1;
    for stage in 0..=last {
        model.visit(&mut Stage {
            stage,
            last,
            path: Vec::new(),
        });
    }
}

/// Reads the weights of one stage.
struct Stage {
    stage: usize,
    last: usize,
    path: Vec<String>,
}

impl Stage {
    /// When the weight at the present path is drawn.
    fn of_path(&self) -> usize {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        match path[..] {
            ["encoder", "embedding", ..] => 0,
            ["encoder", "blocks", layer, ref inside @ ..] => {
                let layer: usize = layer.parse().expect("blocks are numbered");
                let place = match inside {
                    ["attention_norm", ..] => 0,
                    ["attention", _, "query" | "key" | "value", ..] => 0,
                    ["output", ..] => 1,
                    _ => 2,
                };
                1 + 3 * layer + place
            }
            _ => self.last,
        }
    }
}

impl ModuleVisitor for Stage {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.of_path() == self.stage {
            param.val();
        }
    }
}
