//! Waiting for memory that the server, or another program, was told to free.

use std::time::Duration;

/// MB by which free memory varies by itself: system memory of a CPU server is never quite still.
pub const NOISE_MB: u64 = 16;
/// `/free` only sets a flag, and a killed process needs a moment: checks before this do not count.
const AT_LEAST: Duration = Duration::from_secs(1);
const AT_MOST: Duration = Duration::from_secs(10);
const CHECK_INTERVAL: Duration = Duration::from_millis(300);

/// Waits until free memory has stopped rising: at least 1 s, at most 10 s. It only computes from
/// what it is given; the caller takes the readings and sleeps.
#[derive(Debug, Default)]
pub struct FreedMemoryWait {
    /// Whether there was a check that counts.
    checked: bool,
    /// The free memory at that check, if it was known.
    before: Option<u64>,
}

impl FreedMemoryWait {
    /// The time until the next check; `None`: free memory is still, or time is up. `elapsed`
    /// counts from when the memory was told to be freed; `free` is what is free now, in MB.
    /// One check without a figure does not count, since a busy server may not answer; two in a row
    /// end the wait.
    pub fn next_check(&mut self, elapsed: Duration, free: Option<u64>) -> Option<Duration> {
        if elapsed < AT_LEAST {
            return Some(AT_LEAST.saturating_sub(elapsed));
        }
        let still = match (self.before, free) {
            (Some(before), Some(now)) => now <= before.saturating_add(NOISE_MB),
            (None, None) => true,
            _ => false,
        };
        let done = std::mem::replace(&mut self.checked, true) && still;
        self.before = free;
        let left = AT_MOST.saturating_sub(elapsed);
        if done || left.is_zero() { None } else { Some(left.min(CHECK_INTERVAL)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many looks it takes and when the last one is, in ms, with these figures and then the
    /// last of them for ever.
    fn looks(figures: &[Option<u64>]) -> (usize, u128) {
        let (mut wait, mut since) = (FreedMemoryWait::default(), Duration::ZERO);
        for count in 0.. {
            let figure = figures.get(count).or(figures.last()).copied().flatten();
            let Some(time) = wait.next_check(since, figure) else {
                return (count + 1, since.as_millis());
            };
            since += time;
        }
        unreachable!("it ends after 10 s")
    }

    #[test]
    fn it_ends_when_memory_has_stopped_rising() {
        // The first look is before it counts, and one alone tells no rise.
        assert_eq!(looks(&[Some(5000)]), (3, 1300));
        assert_eq!(looks(&[Some(1), Some(100), Some(900), Some(9000), Some(9016)]), (5, 1900));
        assert_eq!(looks(&[Some(1), Some(9000), Some(100)]), (3, 1300));
    }

    #[test]
    fn it_ends_after_ten_seconds() {
        let rising: Vec<_> = (0..100).map(|look| Some(look * 17)).collect();
        assert_eq!(looks(&rising), (32, 10_000));
        let mut wait = FreedMemoryWait::default();
        assert_eq!(
            wait.next_check(Duration::from_millis(9900), Some(1)),
            Some(Duration::from_millis(100))
        );
        assert_eq!(wait.next_check(Duration::from_secs(15), Some(100)), None);
    }

    #[test]
    fn a_look_without_a_figure_is_no_stillness() {
        assert_eq!(looks(&[None]), (3, 1300));
        assert_eq!(looks(&[Some(1), Some(100), None, Some(9000), Some(9000)]), (5, 1900));
        assert_eq!(looks(&[Some(1), None, Some(100), Some(100)]), (4, 1600));
    }
}
