//! What stays behind, scene after scene.

/// The least-squares slope of a series, rounded half to even; of at least 3 values.
pub(super) fn slope(values: &[u64]) -> Option<i64> {
    let n = i128::try_from(values.len()).ok().filter(|n| *n >= 3)?;
    let (mut sum, mut weighted) = (0_i128, 0_i128);
    for (index, value) in (0_i128..).zip(values) {
        sum += i128::from(*value);
        weighted += index * i128::from(*value);
    }
    // With x = 0 … n-1: slope = (12 Σxy - 6 (n-1) Σy) / (n (n² - 1)).
    let over = 12 * weighted - 6 * (n - 1) * sum;
    let under = n * (n * n - 1);
    let (whole, rest) = (over.div_euclid(under), over.rem_euclid(under));
    let up = 2 * rest > under || (2 * rest == under && whole % 2 != 0);
    i64::try_from(whole + i128::from(up)).ok()
}

#[cfg(test)]
mod tests {
    use super::slope;

    #[test]
    fn a_slope_needs_three_values() {
        assert_eq!(slope(&[1, 2]), None);
        assert_eq!(slope(&[100, 104, 108, 112]), Some(4));
        assert_eq!(slope(&[10, 7, 4]), Some(-3));
        assert_eq!(slope(&[0, 0, 1]), Some(0)); // 0.5
        assert_eq!(slope(&[0, 0, 3]), Some(2)); // 1.5
        assert_eq!(slope(&[5, 5, 5]), Some(0));
    }
}
