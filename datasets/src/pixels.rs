//! Pixels as numbers: what models that embed brightness linearly are fed.

/// How the brightness of a pixel, an id from 0 to 255, becomes a number:
/// `(id / 255 - mean) / deviation`.
///
/// The published token protocol (Long Range Arena, Transformer-LS, Nyströmformer) looks ids up in
/// an embedding instead, and takes black pixels, id 0, for padding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalization {
    /// The brightness that becomes 0, of 1.
    pub mean: f32,
    /// The brightness that becomes 1, above the mean.
    pub deviation: f32,
}

impl Normalization {
    /// Plain brightness from 0 to 1: S4's for Pathfinder.
    pub const UNIT: Self = Self {
        mean: 0.0,
        deviation: 1.0,
    };
    /// S4's for grey CIFAR-10.
    pub const S4_IMAGE: Self = Self {
        mean: 122.6 / 255.0,
        deviation: 61.0 / 255.0,
    };
    /// Mega's for grey CIFAR-10.
    pub const MEGA_IMAGE: Self = Self {
        mean: 0.48,
        deviation: 0.24,
    };
    /// Mega's for Pathfinder: from -1 to 1.
    pub const MEGA_PATHFINDER: Self = Self {
        mean: 0.5,
        deviation: 0.5,
    };

    /// The numbers of a document's pixels.
    pub fn floats(self, ids: &[u16]) -> Vec<f32> {
        let number = |&id: &u16| (f32::from(id) / 255.0 - self.mean) / self.deviation;
        ids.iter().map(number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_numbers() {
        let near = |found: Vec<f32>, expected: [f32; 3]| {
            let pairs = found.iter().zip(expected);
            assert!(found.len() == 3 && pairs.clone().all(|(a, b)| (a - b).abs() < 1e-5));
        };
        let ids = [0, 51, 255];
        near(Normalization::UNIT.floats(&ids), [0.0, 0.2, 1.0]);
        near(
            Normalization::MEGA_PATHFINDER.floats(&ids),
            [-1.0, -0.6, 1.0],
        );
        near(
            Normalization::MEGA_IMAGE.floats(&ids),
            [-2.0, -7.0 / 6.0, 13.0 / 6.0],
        );
        let s4 = [-122.6 / 61.0, -71.6 / 61.0, 132.4 / 61.0];
        near(Normalization::S4_IMAGE.floats(&ids), s4);
    }
}
