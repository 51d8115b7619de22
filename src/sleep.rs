//! Sleep of the computer, noticed afterwards: a wait of ours took far longer than it was to take, or
//! the system's clocks have moved apart. The wall clock tells nothing of it, since it can be set.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// By so much a wait may oversleep on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

static SLEEPS: Mutex<Sleeps> = Mutex::new(Sleeps { watch: SleepWatch::new(), all: Vec::new() });

struct Sleeps {
    watch: SleepWatch,
    all: Vec<Slept>,
}

/// A sleep, by the wall clock: when it was noticed, and its length before that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slept {
    pub from: SystemTime,
    pub to: SystemTime,
}

/// To be called after every wait: it was to take `asked`, and began at that moment.
pub fn after_wait(began: Instant, asked: Duration) {
    let (now, to) = (Instant::now(), SystemTime::now());
    let mut sleeps = sleeps();
    if let Some(length) = sleeps.watch.observe(began, asked, now, suspended()) {
        let from = to.checked_sub(length).unwrap_or(to);
        sleeps.all.push(Slept { from, to });
    }
}

/// Now, without the time that the computer slept: for deadlines and silences.
pub fn now() -> Instant {
    let now = Instant::now();
    now.checked_sub(sleeps().watch.counted).unwrap_or(now)
}

/// How long it is until a moment of [`now`].
pub fn left(moment: Instant) -> Duration {
    moment.saturating_duration_since(now())
}

/// The sleeps so far, but for the first ones.
pub fn since(first: usize) -> Vec<Slept> {
    sleeps().all.get(first..).unwrap_or_default().to_vec()
}

fn sleeps() -> MutexGuard<'static, Sleeps> {
    SLEEPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long the system was suspended since it started, where the clock of [`Instant`] stands still
/// meanwhile.
#[cfg(target_os = "linux")]
fn suspended() -> Duration {
    use nix::time::{ClockId, clock_gettime};
    let counted = clock_gettime(ClockId::CLOCK_MONOTONIC);
    match (counted, clock_gettime(ClockId::CLOCK_BOOTTIME)) {
        (Ok(counted), Ok(all)) => Duration::from(all).saturating_sub(counted.into()),
        _ => Duration::ZERO,
    }
}

#[cfg(not(target_os = "linux"))]
fn suspended() -> Duration {
    Duration::ZERO
}

/// Tells sleeps from waits, each once, whichever thread's wait shows it first.
struct SleepWatch {
    /// When the latest sleep was noticed. A wait that had begun before shows the same one.
    noticed: Option<Instant>,
    /// How long the system was suspended by the latest wait.
    suspended: Option<Duration>,
    /// How much of all sleeps the clock of [`Instant`] has counted.
    counted: Duration,
}

impl SleepWatch {
    const fn new() -> Self {
        SleepWatch { noticed: None, suspended: None, counted: Duration::ZERO }
    }

    /// Takes a wait that is over now, and how long the system was suspended so far. Returns how long
    /// the computer slept, if that shows a sleep.
    fn observe(
        &mut self,
        began: Instant,
        asked: Duration,
        now: Instant,
        suspended: Duration,
    ) -> Option<Duration> {
        let long = |time: &Duration| *time > LIMIT;
        let is_new = self.noticed.is_none_or(|noticed| began >= noticed);
        let overslept = now.saturating_duration_since(began).saturating_sub(asked);
        let counted = Some(overslept).filter(long).filter(|_| is_new);
        let before = self.suspended.unwrap_or(suspended);
        self.suspended = Some(before.max(suspended));
        let uncounted = Some(suspended.saturating_sub(before)).filter(long);
        if counted.is_none() && uncounted.is_none() {
            return None;
        }
        self.noticed = Some(now);
        self.counted += counted.unwrap_or_default();
        Some(counted.unwrap_or_default() + uncounted.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What waits of 2 s show, each given by the seconds at which it began and ended and those that
    /// the system was suspended by then; and how much was counted of it.
    fn slept<const N: usize>(waits: [(u64, u64, u64); N]) -> ([Option<u64>; N], u64) {
        let (start, seconds) = (Instant::now(), Duration::from_secs);
        let mut watch = SleepWatch::new();
        let slept = waits.map(|(began, ended, suspended)| {
            let [began, ended] = [began, ended].map(|at| start + seconds(at));
            let slept = watch.observe(began, seconds(2), ended, seconds(suspended));
            slept.map(|slept| slept.as_secs())
        });
        (slept, watch.counted.as_secs())
    }

    #[test]
    fn a_wait_that_overslept_by_more_than_half_a_minute_was_a_sleep() {
        assert_eq!(slept([(0, 2, 0), (2, 34, 0), (34, 36, 0)]), ([None; 3], 0));
        let (waits, counted) = slept([(0, 35, 0), (35, 37, 0), (37, 139, 0)]);
        assert_eq!((waits, counted), ([Some(33), None, Some(100)], 133));
    }

    #[test]
    fn a_sleep_that_two_threads_see_is_one() {
        assert_eq!(slept([(0, 60, 0), (1, 61, 0), (61, 62, 0)]), ([Some(58), None, None], 58));
        assert_eq!(slept([(0, 1, 0), (0, 2, 40), (1, 2, 40)]), ([None, Some(40), None], 0));
        // It had looked before the sleep, and tells so after it.
        assert_eq!(slept([(0, 1, 0), (0, 2, 40), (0, 2, 0), (2, 3, 40)]).0[2..], [None; 2]);
    }

    #[test]
    fn a_sleep_in_which_the_clock_stands_still_takes_nothing_off_a_deadline() {
        // Suspended before we started, then for four hours, then shortly.
        let (waits, counted) = slept([(0, 2, 900), (2, 4, 15_300), (4, 6, 15_330)]);
        assert_eq!((waits, counted), ([None, Some(14_400), None], 0));
    }

    #[test]
    fn a_clock_that_counts_a_part_takes_that_part_off() {
        assert_eq!(slept([(0, 2, 0), (2, 104, 50)]), ([None, Some(150)], 100));
    }

    #[test]
    fn the_system_s_clocks_are_read() {
        let (before, now) = (suspended(), now());
        after_wait(Instant::now(), Duration::ZERO);
        assert!(suspended().abs_diff(before) < LIMIT && now <= Instant::now());
        assert_eq!(since(0), []);
    }
}
