//! Shapes of attention's arguments, checked once for every body.

use crate::{Visibility, Window};

/// Shapes of what attention takes.
///
/// # Shapes
///
/// `b` batch rows, `h` heads, `n` queries and `m` keys a row, `r` landmarks a head, `d` head width.
#[derive(Clone, Copy, Debug)]
pub struct AttendShapes {
    /// `[b, h, n, d]`
    pub query: [usize; 4],
    /// `[b, h, m, d]`
    pub key: [usize; 4],
    /// `[b, h, m, d]`
    pub value: [usize; 4],
    /// Keys and values, both `[documents, h, r, d]`.
    pub landmarks: Option<[[usize; 4]; 2]>,
    /// `[documents, h, r]`
    pub landmark_bias: Option<[usize; 3]>,
    /// `[h, offsets]`, or `[h, offsets + r]`
    pub bias: Option<[usize; 2]>,
    /// `[h, offsets, d]`, or `[h, offsets + r, d]`
    pub relative_keys: Option<[usize; 3]>,
}

impl AttendShapes {
    /// Checks that they fit each other. `documents`: how many there are; `same`: whether there must be
    /// as many keys as queries, which is so wherever documents have a mask or are packed.
    ///
    /// # Panics
    ///
    /// Panics where they do not, if a size of the visibility is 0 that must not be, if the window is off
    /// and there are no landmarks, or if there is a table by offset without a window that bounds offsets.
    pub fn check(&self, visibility: &Visibility, documents: usize, same: bool) {
        visibility.assert_valid();
        let window = visibility.window;
        let [b, h, n, d] = self.query;
        let m = if same { n } else { self.key[2] };
        assert_eq!(self.key, [b, h, m, d], "the keys' shape");
        assert_eq!(self.value, [b, h, m, d], "the values' shape");
        if let Some([key, value]) = self.landmarks {
            let shape = [documents, h, key[2], d];
            assert_eq!(key, shape, "the landmark keys' shape");
            assert_eq!(value, shape, "the landmark values' shape");
        }
        assert!(
            self.landmarks.is_some() || window != Window::Off,
            "attention without window and without landmarks sees nothing"
        );
        let r = self.landmarks.map_or(0, |[key, _]| key[2]);
        if let Some(shape) = self.landmark_bias {
            assert_eq!(shape, [documents, h, r], "the landmarks' bias's shape");
        }
        let Some(entries) = self.entries() else {
            return;
        };
        let offsets = window.offsets();
        assert!(
            entries > 0,
            "a table by offset needs a window that bounds offsets, not {window:?}"
        );
        assert!(
            entries == offsets || entries == offsets + r,
            "a table by offset has {offsets} entries a head, or {r} more for landmarks, not {entries}"
        );
        if let Some(shape) = self.bias {
            assert_eq!(shape, [h, entries], "the bias's shape");
        }
        if let Some(shape) = self.relative_keys {
            assert_eq!(shape, [h, entries, d], "the relative keys' shape");
        }
    }

    /// Entries of a table by offset, if there is one: those of the window's offsets, and where it is
    /// longer, one for each number of landmarks that may come after one
    /// ([`Visibility::landmark_offset`]).
    pub fn entries(&self) -> Option<usize> {
        let bias = self.bias.map(|shape| shape[1]);
        bias.or(self.relative_keys.map(|shape| shape[1]))
    }
}

/// Shapes of what the projection takes.
#[derive(Clone, Copy, Debug)]
pub struct ProjectShapes {
    /// `[b, h, r, n]`
    pub scores: [usize; 4],
    /// `[b, h, n, d]`
    pub key: [usize; 4],
    /// `[b, h, n, d]`
    pub value: [usize; 4],
}

impl ProjectShapes {
    /// # Panics
    ///
    /// Panics if they do not fit each other.
    pub fn check(&self) {
        let [b, h, n, _] = self.key;
        assert_eq!(self.value, self.key, "the values' shape");
        let r = self.scores[2];
        assert_eq!(self.scores, [b, h, r, n], "the scores' shape");
    }
}
