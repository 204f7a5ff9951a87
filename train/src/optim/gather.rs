//! The updates of a step at once, where a kernel takes several parameters.
//!
//! Burn's [`ModuleOptimizer`] asks for one parameter after the other. Within [`update`], an
//! [`AdamW`](super::AdamW) on a device with such a kernel gathers what it is asked for and leaves every
//! parameter as it is; then the kernel runs, and the parameters are put into the module.

use std::cell::RefCell;
use std::collections::HashMap;

use burn::backend::Dispatch;
use burn::backend::tensor::FloatTensor;
use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;
use transformer_ls_burn::ops::adamw::{AdamWParameter, AdamWUpdate, adamw};

/// An update that is still to be made.
pub(super) struct Gathered {
    pub parameter: AdamWParameter<Dispatch>,
    pub update: AdamWUpdate,
    /// Takes the new running means.
    pub settle: Box<dyn FnOnce([FloatTensor<Dispatch>; 2])>,
}

thread_local! {
    /// What a step asks for, in order: none for a parameter that was updated at once. None outside of
    /// [`update`].
    static ASKED: RefCell<Option<Vec<Option<Gathered>>>> = const { RefCell::new(None) };
}

/// While it lives, updates are gathered: also a step that panics leaves none behind.
struct Gathering;

impl Gathering {
    fn begin() -> Self {
        ASKED.set(Some(Vec::new()));
        Self
    }

    fn end(self) -> Vec<Option<Gathered>> {
        ASKED.take().unwrap_or_default()
    }
}

impl Drop for Gathering {
    fn drop(&mut self) {
        ASKED.set(None);
    }
}

/// Whether updates are gathered now.
pub(super) fn gathers() -> bool {
    ASKED.with_borrow(Option::is_some)
}

/// Notes what an update came to: none if it was made at once.
pub(super) fn note(gathered: Option<Gathered>) {
    ASKED.with_borrow_mut(|asked| {
        if let Some(asked) = asked {
            asked.push(gathered);
        }
    });
}

/// [`ModuleOptimizer::step`], with the updates of several parameters in one kernel where there is one.
pub fn update<M: Module>(
    optimizer: &mut ModuleOptimizer,
    rate: impl Into<ModuleLearningRate>,
    module: M,
    gradients: GradientsParams,
) -> M {
    let mut ids = Ids {
        gradients: &gradients,
        ids: Vec::new(),
    };
    module.visit(&mut ids);
    let ids = ids.ids;
    let gathering = Gathering::begin();
    let module = optimizer.step(rate, module, gradients);
    let asked = gathering.end();
    assert_eq!(asked.len(), ids.len(), "an update for each gradient");
    let (ids, gathered): (Vec<_>, Vec<_>) = (ids.into_iter().zip(asked))
        .filter_map(|(id, asked)| Some((id, asked?)))
        .unzip();
    if gathered.is_empty() {
        return module;
    }
    let parameters = settle(gathered);
    module.map(&mut Put(ids.into_iter().zip(parameters).collect()))
}

/// Makes the updates, those with the same numbers together. Returns the parameters, in order.
fn settle(gathered: Vec<Gathered>) -> Vec<FloatTensor<Dispatch>> {
    let mut updated = Vec::with_capacity(gathered.len());
    let mut gathered = gathered.into_iter().peekable();
    while let Some(first) = gathered.next() {
        let update = first.update;
        let (mut parameters, mut settles) = (vec![first.parameter], vec![first.settle]);
        while let Some(next) = gathered.next_if(|next| next.update == update) {
            parameters.push(next.parameter);
            settles.push(next.settle);
        }
        let made = adamw(parameters, &update);
        for ([parameter, first, second], settle) in made.into_iter().zip(settles) {
            settle([first, second]);
            updated.push(parameter);
        }
    }
    updated
}

/// The parameters with a gradient, in the order in which an optimizer takes them.
struct Ids<'a> {
    gradients: &'a GradientsParams,
    ids: Vec<ParamId>,
}

impl ModuleVisitor for Ids<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.gradients.get::<D>(param.id).is_some() {
            self.ids.push(param.id);
        }
    }
}

/// Puts parameters in the place of those with the same ids.
struct Put(HashMap<ParamId, FloatTensor<Dispatch>>);

impl ModuleMapper for Put {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(parameter) = self.0.remove(&param.id) else {
            return param;
        };
        param.map(|before| {
            let after = Tensor::<D>::from_inner(Tensor::from_dispatch(parameter));
            after.set_require_grad(before.is_require_grad())
        })
    }
}
