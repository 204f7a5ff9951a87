//! The published splits of data that come without any, rebuilt exactly.

use md5::{Digest, Md5};

/// PyTorch's `torch.randperm(n)` after seeding with `seed`: how S4 and Mega split Pathfinder and
/// CIFAR-10.
///
/// The generator is MT19937 (Matsumoto and Nishimura 1998), started by its `init_genrand`; the
/// shuffle exchanges place `i` with `i + next mod (n - i)`.
///
/// ```
/// use transformer_ls_datasets::splits::torch_permutation;
/// assert_eq!(torch_permutation(10, 42), [2, 6, 1, 8, 4, 5, 0, 9, 3, 7]);
/// ```
pub fn torch_permutation(n: usize, seed: u32) -> Vec<u32> {
    let mut twister = MersenneTwister::new(seed);
    let mut order: Vec<u32> = (0..n as u32).collect();
    for i in 0..n.saturating_sub(1) {
        let other = i + twister.next() as usize % (n - i);
        order.swap(i, other);
    }
    order
}

/// The order in which TensorFlow Datasets keeps `n` training samples, of which the Long Range
/// Arena takes the first nine tenths of CIFAR-10 to train on: sorted by the MD5 hash of `train`
/// and the sample's number.
pub fn tfds_order(n: usize) -> Vec<u32> {
    let mut keys: Vec<([u8; 16], u32)> = (0..n as u32)
        .map(|i| (Md5::digest(format!("train{i}")).into(), i))
        .collect();
    keys.sort_unstable();
    keys.into_iter().map(|(_, i)| i).collect()
}

const WORDS: usize = 624;

struct MersenneTwister {
    state: [u32; WORDS],
    next: usize,
}

impl MersenneTwister {
    fn new(seed: u32) -> Self {
        let mut state = [seed; WORDS];
        for i in 1..WORDS {
            let before = state[i - 1];
            state[i] = (before ^ before >> 30)
                .wrapping_mul(1_812_433_253)
                .wrapping_add(i as u32);
        }
        Self { state, next: WORDS }
    }

    fn next(&mut self) -> u32 {
        if self.next == WORDS {
            self.twist();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= y << 7 & 0x9d2c_5680;
        y ^= y << 15 & 0xefc6_0000;
        y ^ y >> 18
    }

    fn twist(&mut self) {
        for i in 0..WORDS {
            let joined = self.state[i] & 0x8000_0000 | self.state[(i + 1) % WORDS] & 0x7fff_ffff;
            let odd = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + 397) % WORDS] ^ joined >> 1 ^ odd;
        }
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permutations_are_pytorchs() {
        assert_eq!(torch_permutation(10, 42), [2, 6, 1, 8, 4, 5, 0, 9, 3, 7]);
        let order = torch_permutation(50_000, 42);
        assert_eq!(order[..4], [37542, 44491, 216, 43688]);
        let order = torch_permutation(200_000, 42);
        assert_eq!(order[..4], [37542, 143_173, 127_710, 58234]);
        assert_eq!(torch_permutation(0, 42), [] as [u32; 0]);
        assert_eq!(torch_permutation(1, 42), [0]);
    }

    #[test]
    fn the_order_is_tensorflow_datasets() {
        let order = tfds_order(50_000);
        let start = [16399, 1680, 47917, 17307, 27051, 48736, 26263, 1456];
        assert_eq!(order[..8], start);
    }
}
