//! Quotients as the figures show them.

/// `numerator / denominator`, rounded half to even; 0 for a denominator of 0.
pub(crate) fn quotient(numerator: u128, denominator: u128) -> u64 {
    let (Some(whole), Some(rest)) =
        (numerator.checked_div(denominator), numerator.checked_rem(denominator))
    else {
        return 0;
    };
    let up = match rest.cmp(&(denominator - rest)) {
        std::cmp::Ordering::Less => 0,
        std::cmp::Ordering::Equal => whole % 2,
        std::cmp::Ordering::Greater => 1,
    };
    u64::try_from(whole + up).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::quotient;

    #[test]
    fn halves_go_to_the_even_neighbour() {
        let rounded = [(1, 2), (3, 2), (5, 2), (7, 3), (8, 3), (7, 0)].map(|(n, d)| quotient(n, d));
        assert_eq!(rounded, [0, 2, 2, 2, 3, 0]);
    }
}
