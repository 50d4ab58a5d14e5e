//! How long calls are in a call centre: most take a few minutes, a few take half an hour.

use std::f64::consts::TAU;

/// The call in the middle, in seconds. With the spread below the mean is four and a half minutes.
const MEDIAN: f64 = 180.0;

/// The standard deviation of the logarithm.
const SPREAD: f64 = 0.9;

const SHORTEST: f64 = 30.0;
const LONGEST: f64 = 1800.0;

/// A-law in mono, 8 kHz.
const BYTES_PER_SECOND: f64 = 8000.0;

/// Bytes of a recording by its number: always the same.
pub fn bytes(number: usize) -> u64 {
    // Two numbers that fill the square evenly however few are drawn (steps by the powers of the
    // plastic number), and a normally distributed one from them (Box and Muller).
    let even = |step: f64| ((number as f64 + 0.5) * step).fract();
    let (first, second) = (even(0.754_877_666_246_692_7), even(0.569_840_290_998_053_2));
    let normal = (-2.0 * (1.0 - first).ln()).sqrt() * (TAU * second).cos();
    let seconds = (MEDIAN * (SPREAD * normal).exp()).clamp(SHORTEST, LONGEST);
    (seconds * BYTES_PER_SECOND) as u64
}
