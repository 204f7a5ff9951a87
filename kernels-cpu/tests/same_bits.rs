//! What must give the same bits: any number of threads, and packed documents as padded ones.

mod common;

use common::{Batch, Memory, MemoryLayout, Tensor};
use transformer_ls_kernels::{Dropout, Window};
use transformer_ls_kernels_cpu::{
    Attend, AttendGradients, Project, ProjectGradients, attend, attend_backward, project,
    project_backward,
};

const H: usize = 2;
const D: usize = 16;
const R: usize = 33;

struct Case {
    batch: Batch,
    /// `[b, h, n, d]`: queries, keys, values, gradients of the output.
    tokens: [Tensor; 4],
    /// `[b, h, r, n]`
    scores: Tensor,
    /// `[documents, h, r, d]`
    landmarks: [Tensor; 2],
    /// `[documents, h, r, 2d + 1]`
    d_landmarks: Tensor,
    window: usize,
}

impl Case {
    /// Random rows of padded length `n`.
    fn padded(lengths: &[usize], n: usize, window: usize) -> Self {
        let b = lengths.len();
        let tokens = [1, 2, 3, 4].map(|seed| Tensor::random([b, H, n, D], 1.0, seed));
        let landmarks = [5, 6].map(|seed| Tensor::random([b, H, R, D], 1.0, seed));
        Self {
            batch: Batch::of_lengths(lengths, n),
            tokens,
            scores: Tensor::random([b, H, R, n], 4.0, 7),
            landmarks,
            d_landmarks: Tensor::random([b, H, R, 2 * D + 1], 1.0, 8),
            window,
        }
    }

    /// The same documents without the padding.
    fn packed(&self, lengths: &[usize]) -> Self {
        Self {
            batch: Batch::packed(lengths),
            tokens: self.tokens.each_ref().map(|x| pack(x, lengths)),
            scores: turn(&pack(&turn(&self.scores), lengths)),
            landmarks: self.landmarks.clone(),
            d_landmarks: self.d_landmarks.clone(),
            window: self.window,
        }
    }

    /// Results per token `[b, h, n, ..]`, and results per landmark `[documents, h, r, ..]`.
    fn run(&self) -> (Vec<Tensor>, Vec<Tensor>) {
        let layout = MemoryLayout::HEADS_SIDE_BY_SIDE;
        let [query, key, value, d_output] =
            self.tokens.each_ref().map(|x| Memory::<f32>::of(x, layout));
        let scores = Memory::<f32>::of(&self.scores, MemoryLayout::LANDMARKS_SIDE_BY_SIDE);
        let landmarks = self
            .landmarks
            .each_ref()
            .map(|x| Memory::<f32>::of(x, layout));
        let d_landmarks = Memory::<f32>::of(&self.d_landmarks, MemoryLayout::ROW_MAJOR);
        let unwritten = |like: &Tensor| Memory::<f32>::unwritten(like.shape, layout);

        let inputs = Project {
            scores: scores.view(),
            key: key.view(),
            value: value.view(),
            documents: self.batch.documents(),
        };
        let mut projected = unwritten(&self.d_landmarks);
        project(&inputs, &mut projected.view_mut());
        let mut d_scores = unwritten(&self.scores);
        let (mut d_key, mut d_value) = (unwritten(&self.tokens[1]), unwritten(&self.tokens[2]));
        let mut gradients = ProjectGradients {
            scores: d_scores.view_mut(),
            key: d_key.view_mut(),
            value: d_value.view_mut(),
        };
        project_backward(
            &inputs,
            projected.view(),
            d_landmarks.view(),
            &mut gradients,
        );
        let mut of_tokens = vec![turn(&d_scores.tensor()), d_key.tensor(), d_value.tensor()];
        let mut of_landmarks = vec![projected.tensor()];

        let inputs = Attend {
            query: query.view(),
            key: key.view(),
            value: value.view(),
            landmark_key: landmarks[0].view(),
            landmark_value: landmarks[1].view(),
            bias: None,
            landmark_bias: None,
            relative_keys: None,
            documents: self.batch.documents(),
            visibility: Window::segments(self.window).into(),
            scale: 0.25,
            dropout: Dropout {
                probability: 0.2,
                seed: 9,
            },
        };
        let mut output = unwritten(&self.tokens[0]);
        let [b, h, n, _] = self.tokens[0].shape;
        let mut log_sum_exp = vec![f32::NAN; b * h * n];
        attend(&inputs, &mut output.view_mut(), &mut log_sum_exp);
        let mut d_tokens = self.tokens.each_ref().map(unwritten);
        let mut d_landmarks = self.landmarks.each_ref().map(unwritten);
        let [d_query, d_key, d_value, _] = &mut d_tokens;
        let [d_landmark_key, d_landmark_value] = &mut d_landmarks;
        let mut gradients = AttendGradients {
            query: d_query.view_mut(),
            key: d_key.view_mut(),
            value: d_value.view_mut(),
            landmark_key: d_landmark_key.view_mut(),
            landmark_value: d_landmark_value.view_mut(),
            bias: None,
            landmark_bias: None,
            relative_keys: None,
        };
        attend_backward(&inputs, d_output.view(), &log_sum_exp, &mut gradients);
        of_tokens.push(output.tensor());
        of_tokens.extend(d_tokens[..3].iter().map(Memory::tensor));
        of_tokens.push(Tensor {
            shape: [b, h, n, 1],
            data: log_sum_exp.iter().map(|&x| f64::from(x)).collect(),
        });
        of_landmarks.extend(d_landmarks.iter().map(Memory::tensor));
        (of_tokens, of_landmarks)
    }
}

/// `[b, h, r, n]` to `[b, h, n, r]`.
fn turn(tensor: &Tensor) -> Tensor {
    let [b, h, r, n] = tensor.shape;
    let mut turned = Tensor::zeros([b, h, n, r]);
    for [b, h, j, t] in tensor.indices() {
        *turned.at_mut([b, h, t, j]) = tensor.at([b, h, j, t]);
    }
    turned
}

/// The first `lengths[b]` tokens of each row, end to end.
fn pack(tensor: &Tensor, lengths: &[usize]) -> Tensor {
    let [_, h, _, d] = tensor.shape;
    let mut packed = Tensor::zeros([1, h, lengths.iter().sum(), d]);
    let mut start = 0;
    for (b, &length) in lengths.iter().enumerate() {
        for (head, i) in (0..h).flat_map(|head| (0..length).map(move |i| (head, i))) {
            packed.add_to_row([0, head, start + i], 1.0, tensor.row([b, head, i]));
        }
        start += length;
    }
    packed
}

#[test]
fn threads_do_not_change_a_bit() {
    let case = Case::padded(&[3000, 1100, 77], 3000, 8);
    let with_threads = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| case.run())
    };
    let one = with_threads(1);
    assert!(one == with_threads(2));
    assert!(one == with_threads(3));
    assert!(one == with_threads(3));
}

#[test]
fn packed_documents_are_the_padded_ones() {
    for window in [0, 3, 8, 16] {
        let lengths = [300, 0, 1, 129, 512];
        let padded = Case::padded(&lengths, 600, window);
        let packed = padded.packed(&lengths);
        let (of_tokens, of_landmarks) = padded.run();
        let (packed_tokens, packed_landmarks) = packed.run();
        assert!(of_landmarks == packed_landmarks, "window {window}");
        for (number, (padded, packed)) in of_tokens.iter().zip(&packed_tokens).enumerate() {
            assert!(
                pack(padded, &lengths) == *packed,
                "window {window}: result {number}"
            );
        }
    }
}
