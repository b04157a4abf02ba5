//! How likely a count is, where counts vary more than those of independent events do: the negative binomial
//! distribution. With mean `m` and dispersion `a` the variance is `m + a·m²`; without dispersion it is Poisson's.

/// The dispersion below which a distribution is taken for this one: nothing is as regular as Poisson's.
const DISPERSION_MIN: f64 = 1e-6;
/// Steps of the continued fraction; it converges in about the square root of its larger parameter.
const STEPS_MAX: usize = 100_000;
const TINY: f64 = 1e-300;

/// The probability of at most `count` events where `mean` are expected.
pub fn at_most(count: i64, mean: f64, dispersion: f64) -> f64 {
    if count < 0 {
        return 0.0;
    }
    if mean <= 0.0 {
        return 1.0;
    }
    let size = 1.0 / dispersion.max(DISPERSION_MIN);
    beta(size / (size + mean), size, count as f64 + 1.0)
}

/// The probability of at least `count` events where `mean` are expected.
pub fn at_least(count: i64, mean: f64, dispersion: f64) -> f64 {
    if count <= 0 {
        return 1.0;
    }
    if mean <= 0.0 {
        return 0.0;
    }
    let size = 1.0 / dispersion.max(DISPERSION_MIN);
    beta(mean / (size + mean), count as f64, size)
}

/// The smallest count that at most this share of counts stays below, by halving.
pub fn quantile(share: f64, mean: f64, dispersion: f64) -> i64 {
    let (mut low, mut high) = (-1, 1);
    while at_most(high, mean, dispersion) < share && high < i64::MAX / 4 {
        low = high;
        high *= 2;
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match at_most(middle, mean, dispersion) < share {
            true => low = middle,
            false => high = middle,
        }
    }
    high
}

/// The regularised incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22).
fn beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp();
    let value = match x < (a + 1.0) / (a + b + 2.0) {
        true => front * fraction(x, a, b) / a,
        false => 1.0 - front * fraction(1.0 - x, b, a) / b,
    };
    value.clamp(0.0, 1.0)
}

/// The continued fraction of [`beta`], by Lentz's method.
fn fraction(x: f64, a: f64, b: f64) -> f64 {
    let away = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let mut result = d;
    for step in 1..STEPS_MAX {
        let m = step as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away(1.0 + even * d);
        c = away(1.0 + even / c);
        result *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away(1.0 + odd * d);
        c = away(1.0 + odd / c);
        let change = d * c;
        result *= change;
        if (change - 1.0).abs() < 1e-12 {
            break;
        }
    }
    result
}

/// The logarithm of the gamma function for what is positive (Lanczos, g = 7, nine terms).
fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let mut sum = TERMS[0];
    for (at, term) in (1..).zip(&TERMS[1..]) {
        sum += term / (x + f64::from(at));
    }
    let t = x + 7.5;
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same by adding up the probabilities of every count.
    fn added_up(count: i64, mean: f64, dispersion: f64) -> f64 {
        let size = 1.0 / dispersion;
        let mut one = (size * (size / (size + mean)).ln()).exp();
        let mut sum = one;
        for at in 1..=count {
            one *= (size + at as f64 - 1.0) / at as f64 * (mean / (size + mean));
            sum += one;
        }
        sum
    }

    proptest! {
        #[test]
        fn the_probability_is_the_sum_of_those_of_every_count(
            count in 0_i64..300, mean in 0.01_f64..200.0, dispersion in 0.01_f64..4.0,
        ) {
            let (is, should) = (at_most(count, mean, dispersion), added_up(count, mean, dispersion));
            prop_assert!((is - should).abs() < 1e-8, "{is} {should}");
        }

        #[test]
        fn both_sides_add_up_to_one(
            count in 1_i64..1_000_000, mean in 0.01_f64..1_000_000.0, dispersion in 0.0_f64..4.0,
        ) {
            let sum = at_most(count - 1, mean, dispersion) + at_least(count, mean, dispersion);
            prop_assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        }

        #[test]
        fn more_expected_makes_few_less_likely_and_more_dispersion_makes_nothing_likelier(
            mean in 1.0_f64..10_000.0, more in 1.0_f64..3.0, dispersion in 0.01_f64..2.0,
        ) {
            prop_assert!(at_most(0, mean * more, dispersion) <= at_most(0, mean, dispersion) + 1e-12);
            prop_assert!(at_most(0, mean, dispersion * more) >= at_most(0, mean, dispersion) - 1e-12);
        }

        #[test]
        fn a_quantile_is_the_first_count_that_reaches_the_share(
            mean in 0.01_f64..100_000.0, dispersion in 0.01_f64..2.0, share in 0.001_f64..0.999,
        ) {
            let count = quantile(share, mean, dispersion);
            prop_assert!(at_most(count, mean, dispersion) >= share);
            prop_assert!(count == 0 || at_most(count - 1, mean, dispersion) < share);
        }
    }

    #[test]
    fn of_nothing_expected_nothing_comes() {
        assert_eq!(at_most(0, 0.0, 0.1), 1.0);
        assert_eq!(at_least(1, 0.0, 0.1), 0.0);
        assert_eq!((at_most(-1, 5.0, 0.1), at_least(0, 5.0, 0.1)), (0.0, 1.0));
        // Poisson's, nearly: e^-10.
        assert!((at_most(0, 10.0, 0.0) / (-10.0_f64).exp() - 1.0).abs() < 1e-3);
    }
}
