//! A bit a pixel, to find the places where a paddle fits 64 at a time.

/// A square of bits, row by row, each row from its own word on.
#[derive(Clone, Debug)]
pub(super) struct Bits {
    side: usize,
    words: usize,
    rows: Vec<u64>,
}

impl Bits {
    pub fn new(side: usize) -> Self {
        let words = side.div_ceil(64);
        Self {
            side,
            words,
            rows: vec![0; side * words],
        }
    }

    /// The pixels of a square for which something holds.
    pub fn of<T>(side: usize, pixels: &[T], holds: impl Fn(&T) -> bool) -> Self {
        let mut bits = Self::new(side);
        let lines = pixels.chunks_exact(side);
        for (line, row) in lines.zip(bits.rows.chunks_exact_mut(bits.words)) {
            for (pixels, word) in line.chunks(64).zip(row) {
                for (at, pixel) in pixels.iter().enumerate() {
                    *word |= u64::from(holds(pixel)) << at;
                }
            }
        }
        bits
    }

    /// Sets a border of some width.
    pub fn set_border(&mut self, width: usize) {
        let side = self.side;
        for y in 0..side {
            for x in 0..side {
                let edge = y.min(x).min(side - 1 - y).min(side - 1 - x);
                if edge < width {
                    self.rows[y * self.words + x / 64] |= 1 << (x % 64);
                }
            }
        }
    }

    /// The pixels `p` for which no bit at `p + offset` is set; bits outside the square are unset.
    pub fn free(&self, offsets: &[(i32, i32)]) -> Bits {
        let mut blocked = Bits::new(self.side);
        let side = self.side as i32;
        for &(dy, dx) in offsets {
            for y in (-dy).max(0)..(side - dy).min(side) {
                let from = &self.rows[(y + dy) as usize * self.words..][..self.words];
                let to = &mut blocked.rows[y as usize * self.words..][..self.words];
                or_shifted(from, dx, to);
            }
        }
        let last = self.side % 64;
        let last_mask = if last == 0 { !0 } else { (1 << last) - 1 };
        for row in blocked.rows.chunks_exact_mut(self.words) {
            for word in row.iter_mut() {
                *word = !*word;
            }
            row[self.words - 1] &= last_mask;
        }
        blocked
    }

    pub fn count(&self) -> u32 {
        self.rows.iter().map(|word| word.count_ones()).sum()
    }

    /// The `n`-th set bit in row-major order, as `(y, x)`; `n` counts from 0.
    pub fn nth(&self, mut n: u32) -> Option<(i32, i32)> {
        for (at, &word) in self.rows.iter().enumerate() {
            let ones = word.count_ones();
            if n < ones {
                let mut word = word;
                for _ in 0..n {
                    word &= word - 1;
                }
                let x = (at % self.words) * 64 + word.trailing_zeros() as usize;
                return Some(((at / self.words) as i32, x as i32));
            }
            n -= ones;
        }
        None
    }
}

/// `to[x] |= from[x + by]`, bit by bit; `by` is less than 64 either way.
#[inline]
fn or_shifted(from: &[u64], by: i32, to: &mut [u64]) {
    let distance = by.unsigned_abs();
    match by {
        0 => {
            for (to, from) in to.iter_mut().zip(from) {
                *to |= from;
            }
        }
        1.. => {
            for (at, to) in to.iter_mut().enumerate() {
                let above = from.get(at + 1).map_or(0, |word| word << (64 - distance));
                *to |= from[at] >> distance | above;
            }
        }
        _ => {
            for (at, to) in to.iter_mut().enumerate() {
                let below = match at {
                    0 => 0,
                    _ => from[at - 1] >> (64 - distance),
                };
                *to |= from[at] << distance | below;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_places_are_those_of_a_slow_search() {
        for side in [20usize, 64, 100, 130] {
            let pixels: Vec<bool> = (0..side * side)
                .map(|i| (i * i + 7 * i) % 23 == 0 || i % 41 == 3)
                .collect();
            let bits = Bits::of(side, &pixels, |&set| set);
            let offsets = [(0, 0), (-3, 2), (5, -7), (1, 11), (0, -1)];
            let free = bits.free(&offsets);
            let inside = 0..side as i32;
            let mut expected = Vec::new();
            for (y, x) in (0..side as i32).flat_map(|y| (0..side as i32).map(move |x| (y, x))) {
                let blocked = offsets.iter().any(|(dy, dx)| {
                    let (y, x) = (y + dy, x + dx);
                    inside.contains(&y)
                        && inside.contains(&x)
                        && pixels[y as usize * side + x as usize]
                });
                expected.extend((!blocked).then_some((y, x)));
            }
            assert_eq!(free.count() as usize, expected.len());
            let found: Vec<_> = (0..free.count()).map(|n| free.nth(n).unwrap()).collect();
            assert_eq!(found, expected);
            assert_eq!(free.nth(free.count()), None);
        }
    }
}
