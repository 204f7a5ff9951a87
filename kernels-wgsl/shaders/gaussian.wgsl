// The normal distribution of a whole vector: (Φ(x), φ(x) √(2π)).
//
// Φ(x) = ½ erfc(−x/√2), and for z ≥ 0 erfc z = t · q(2t − 1) · exp(−z²) with t = 1/(1 + 0.4 z) and a
// polynomial q that interpolates at Chebyshev nodes (relative error 9e-9; kernels-cpu/src/gelu.rs).
struct Normal {
  share: vec4<f32>,
  power: vec4<f32>,
}

fn normal(x: vec4<f32>) -> Normal {
  let z = abs(x) * 0.70710678;
  let t = 1.0 / (1.0 + 0.4 * z);
  let u = 2.0 * t - 1.0;
  var q = vec4<f32>(-2.9168583e-5);
  q = q * u - 1.07462365e-5;
  q = q * u + 0.00026648832;
  q = q * u + 0.00016544152;
  q = q * u - 0.001921382;
  q = q * u - 0.0033531552;
  q = q * u + 0.011343547;
  q = q * u + 0.068499766;
  q = q * u + 0.1815657;
  q = q * u + 0.32186076;
  q = q * u + 0.42161274;
  let power = exp(-0.5 * x * x);
  let tail = 0.5 * t * q * power;
  return Normal(select(1.0 - tail, tail, x < vec4<f32>(0.0)), power);
}
