use burn::tensor::{Device, DeviceKind, Distribution, Tensor};
use std::time::Instant;
use transformer_ls_burn::Layout;
use transformer_ls_burn::ops::{self, AttentionDropout, Window};
fn main() {
    let a: Vec<usize> = std::env::args()
        .skip(1)
        .map(|x| x.parse().unwrap())
        .collect();
    let (b, n) = (a[0], a[1]);
    let (h, d, r, w) = (2, 32, 32, 8);
    let device = Device::wgpu_options()
        .device_kind(DeviceKind::DefaultDevice)
        .init()
        .unwrap()
        .autodiff();
    let rnd = |s: [usize; 4]| {
        Tensor::<4>::random(s, Distribution::Normal(0.0, 1.0), &device).require_grad()
    };
    let (q, k, v, s) = (
        rnd([b, n, h, d]),
        rnd([b, n, h, d]),
        rnd([b, n, h, d]),
        rnd([b, n, h, r]),
    );
    let go = rnd([b, h, n, d]);
    let _ = go.clone().sum().into_scalar::<f32>();
    for it in 0..4 {
        let t = Instant::now();
        let (q1, k1, v1, s1) = (
            q.clone().swap_dims(1, 2),
            k.clone().swap_dims(1, 2),
            v.clone().swap_dims(1, 2),
            s.clone().swap_dims(1, 2).swap_dims(2, 3),
        );
        let p = ops::project(s1, k1.clone(), v1.clone(), Layout::Full);
        let x = p.key.clone().sum().into_scalar::<f32>();
        let tp = t.elapsed();
        let o = ops::attend(
            q1,
            k1,
            v1,
            Some((p.key, p.value)),
            None,
            Layout::Full,
            Window::segments(w),
            0.17,
            AttentionDropout::OFF,
        )
        .output;
        let y = o.clone().sum().into_scalar::<f32>();
        let tf = t.elapsed();
        let g = (o * go.clone()).sum().backward();
        let z = q.grad(&g).unwrap().sum().into_scalar::<f32>()
            + k.grad(&g).unwrap().sum().into_scalar::<f32>()
            + v.grad(&g).unwrap().sum().into_scalar::<f32>()
            + s.grad(&g).unwrap().sum().into_scalar::<f32>();
        let tb = t.elapsed();
        let mem = device.clone().inner().memory_pool_usage();
        println!("{it}: project {tp:?} fwd {tf:?} fwd+bwd {tb:?} {x} {y} {z} {mem:?}");
    }
}
