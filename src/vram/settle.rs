//! When memory that was told to come free has done so: seen, not slept for.

use std::time::Duration;

/// MB that come and go by themselves: the system memory of a CPU server is never quite still.
pub const STILL: u64 = 16;
/// Being told only sets a flag, or ends a process: what is free before this says nothing.
const AT_LEAST: Duration = Duration::from_secs(1);
/// And nothing waits longer than this.
const AT_MOST: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// Watches free memory until it has stopped rising: at least 1 s, at most 10 s. It is a function
/// of what it is shown; the waiting is its caller's.
#[derive(Debug, Default)]
pub struct Settling {
    /// Whether there was a look that counts.
    looked: bool,
    /// What was free then, if that was known.
    before: Option<u64>,
}

impl Settling {
    /// Takes a look, so long after memory was told to come free: the MB that are free then, if
    /// that is known. Gives the time until the next look; `None`: it has settled, or time is up.
    /// One look without a figure says nothing, since a busy server does not answer; two in a row
    /// say that there is nothing to see.
    pub fn observe(&mut self, since: Duration, free: Option<u64>) -> Option<Duration> {
        if since < AT_LEAST {
            return Some(AT_LEAST.saturating_sub(since));
        }
        let still = match (self.before, free) {
            (Some(before), Some(now)) => now <= before.saturating_add(STILL),
            (None, None) => true,
            _ => false,
        };
        let settled = std::mem::replace(&mut self.looked, true) && still;
        self.before = free;
        let left = AT_MOST.saturating_sub(since);
        if settled || left.is_zero() { None } else { Some(left.min(LOOK_AGAIN)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many looks it takes and when the last one is, in ms, with these figures and then the
    /// last of them for ever.
    fn looks(figures: &[Option<u64>]) -> (usize, u128) {
        let (mut settling, mut since) = (Settling::default(), Duration::ZERO);
        for count in 0.. {
            let figure = figures.get(count).or(figures.last()).copied().flatten();
            let Some(time) = settling.observe(since, figure) else {
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
        let mut settling = Settling::default();
        assert_eq!(
            settling.observe(Duration::from_millis(9900), Some(1)),
            Some(Duration::from_millis(100))
        );
        assert_eq!(settling.observe(Duration::from_secs(15), Some(100)), None);
    }

    #[test]
    fn a_look_without_a_figure_is_no_stillness() {
        assert_eq!(looks(&[None]), (3, 1300));
        assert_eq!(looks(&[Some(1), Some(100), None, Some(9000), Some(9000)]), (5, 1900));
        assert_eq!(looks(&[Some(1), None, Some(100), Some(100)]), (4, 1600));
    }
}
