//! What the polls of one prompt mean. Time is a value passed in, so nothing here waits.

use std::time::{Duration, Instant};

use crate::comfyui::{ErrorKind, HistoryEntry, HttpError, QueuePosition};

/// The first pause between polls.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// What one poll showed.
#[derive(Debug)]
pub enum Observation {
    /// The history has an entry for it.
    Ended(Box<HistoryEntry>),
    /// Its place in the queue; `Absent`: the history, asked again after the queue, has none either.
    At(QueuePosition),
    /// It has left the queue, and its history could not be read.
    Unread(HttpError),
    /// Neither history nor queue could be read.
    Failed(HttpError),
}

/// What to do about it.
#[derive(Debug)]
pub enum Decision {
    /// Poll again after [`Poller::pause`].
    Continue,
    /// It has ended.
    Ended(Box<HistoryEntry>),
    /// Neither in the queue nor in the history, on two polls in a row.
    Lost,
    /// The history could not be read as often as was allowed.
    Unreadable(HttpError),
    /// Connections have been refused for too long.
    Unreachable(HttpError),
}

/// The polls of one prompt so far.
#[derive(Debug, Default)]
pub struct Poller {
    longest_pause: Duration,
    pause: Duration,
    absent: u32,
    unread: u32,
    most_unread: u32,
    outage: Outage,
    /// Polls so far.
    pub polls: u32,
    /// A poll has shown its place in the queue.
    pub was_queued: bool,
    /// A poll was refused: the server may have restarted.
    pub was_refused: bool,
}

impl Poller {
    /// `longest_pause` between polls; `most_unread` failed asks for the history of a prompt that
    /// has left the queue, 0 is unbounded; `gone_after`: the server is gone that has refused
    /// connections for so long.
    pub fn new(longest_pause: Duration, most_unread: u32, gone_after: Duration) -> Self {
        Poller {
            longest_pause,
            pause: FIRST_PAUSE.min(longest_pause),
            most_unread,
            outage: Outage::new(gone_after),
            ..Poller::default()
        }
    }

    /// Takes one poll, at that moment of [`crate::sleep::now`], and says what to do next.
    pub fn observe(&mut self, now: Instant, observation: Observation) -> Decision {
        self.polls += 1;
        if let Observation::Failed(error) | Observation::Unread(error) = &observation {
            self.was_refused |= is_refused(error);
            if self.outage.lasts(now, error) {
                return Decision::Unreachable(error.clone());
            }
        } else {
            self.outage.end();
        }
        match observation {
            Observation::Ended(entry) => return Decision::Ended(entry),
            Observation::At(QueuePosition::Absent) => {
                self.absent += 1;
                if self.absent >= 2 {
                    return Decision::Lost;
                }
            }
            Observation::At(_) => {
                self.absent = 0;
                self.was_queued = true;
            }
            Observation::Unread(error) => {
                self.unread += 1;
                if self.most_unread > 0 && self.unread >= self.most_unread {
                    return Decision::Unreadable(error);
                }
            }
            Observation::Failed(_) => {}
        }
        Decision::Continue
    }

    /// The pause before the next poll: from 0.1 s, half as much again each time, up to the
    /// longest.
    pub fn pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 3 / 2).min(self.longest_pause);
        pause
    }
}

/// Whether nobody listens: a proxy that answered for `ComfyUI` before says so by a status.
pub fn is_refused(error: &HttpError) -> bool {
    matches!(error.kind, ErrorKind::Refused | ErrorKind::Status(502..=504))
}

/// A stretch of refused connections. Any other fault, and any answer, ends it.
#[derive(Debug, Default)]
pub struct Outage {
    limit: Duration,
    since: Option<Instant>,
}

impl Outage {
    /// One that has lasted too long after `limit`.
    pub fn new(limit: Duration) -> Self {
        Outage { limit, since: None }
    }

    /// Whether connections have been refused for too long on end.
    pub fn lasts(&mut self, now: Instant, error: &HttpError) -> bool {
        if !is_refused(error) {
            self.end();
            return false;
        }
        let since = *self.since.get_or_insert(now);
        now.saturating_duration_since(since) >= self.limit
    }

    /// There was an answer.
    pub fn end(&mut self) {
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn error(fault: ErrorKind) -> HttpError {
        HttpError::example(fault)
    }

    fn refused() -> Observation {
        Observation::Failed(error(ErrorKind::Refused))
    }

    #[test]
    fn lost_is_absent_on_two_polls_in_a_row() {
        let now = Instant::now();
        let mut poller = Poller::new(Duration::from_secs(2), 0, MINUTE);
        for observation in [
            Observation::At(QueuePosition::Pending(1)),
            Observation::At(QueuePosition::Absent),
            Observation::At(QueuePosition::Running),
            Observation::At(QueuePosition::Absent),
            Observation::Failed(error(ErrorKind::Timeout)),
        ] {
            assert!(matches!(poller.observe(now, observation), Decision::Continue));
        }
        assert!(matches!(
            poller.observe(now, Observation::At(QueuePosition::Absent)),
            Decision::Lost
        ));
    }

    #[test]
    fn only_a_minute_of_refusals_on_end_is_the_end() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut poller = Poller::new(Duration::from_secs(2), 0, MINUTE);
        for (seconds, observation) in [
            (0, refused()),
            (59, refused()),
            (61, Observation::Failed(error(ErrorKind::Timeout))),
            (62, refused()),
            (121, refused()),
        ] {
            assert!(
                matches!(poller.observe(at(seconds), observation), Decision::Continue),
                "{seconds}"
            );
        }
        assert!(matches!(poller.observe(at(122), refused()), Decision::Unreachable(_)));
        assert!(poller.was_refused);
    }

    #[test]
    fn asks_for_the_history_are_counted_only_after_the_queue() {
        let now = Instant::now();
        let mut poller = Poller::new(Duration::from_secs(2), 2, MINUTE);
        for _ in 0..5 {
            assert!(matches!(
                poller.observe(now, Observation::At(QueuePosition::Running)),
                Decision::Continue
            ));
            let failed = Observation::Failed(error(ErrorKind::BadJson));
            assert!(matches!(poller.observe(now, failed), Decision::Continue));
        }
        let unread = || Observation::Unread(error(ErrorKind::BadJson));
        assert!(matches!(poller.observe(now, unread()), Decision::Continue));
        assert!(matches!(poller.observe(now, unread()), Decision::Unreadable(_)));
    }

    #[test]
    fn pauses_grow_to_the_poll_interval() {
        let mut poller = Poller::new(Duration::from_secs(1), 0, MINUTE);
        let pauses: Vec<_> = (0..8).map(|_| poller.pause().as_millis()).collect();
        assert_eq!(pauses, [100, 150, 225, 337, 506, 759, 1000, 1000]);
        assert_eq!(Poller::new(Duration::from_millis(50), 0, MINUTE).pause().as_millis(), 50);
    }
}
