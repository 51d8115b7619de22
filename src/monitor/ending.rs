//! What becomes of a command after an interrupt, and when.

use std::time::{Duration, Instant};

/// How long the command has to end by itself, and once more after each step.
pub const GRACE: Duration = Duration::from_secs(5);

/// What is to be done to the command now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask it to end.
    Ask,
    /// End it and what it started.
    End,
}

/// A command that is let go in steps. The terminal's Ctrl-C has reached it by itself, so first it
/// is only waited for.
#[derive(Debug)]
pub struct Ending {
    grace: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    Running,
    Waited(Instant),
    Asked(Instant),
    Ended,
}

impl Ending {
    /// With that long between the steps.
    pub fn new(grace: Duration) -> Self {
        Ending { grace, state: State::Running }
    }

    /// The step that is due, each once.
    pub fn observe(&mut self, now: Instant, interrupted: bool) -> Option<Step> {
        let (state, step) = match self.state {
            State::Running if interrupted => (State::Waited(now), None),
            State::Waited(since) if now - since >= self.grace => {
                (State::Asked(now), Some(Step::Ask))
            }
            State::Asked(since) if now - since >= self.grace => (State::Ended, Some(Step::End)),
            _ => return None,
        };
        self.state = state;
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_waited_for_then_asked_then_ended_each_once() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut ending = Ending::new(Duration::from_secs(5));
        let steps = [
            (0, false, None),
            (100, false, None),
            (101, true, None),
            (105, true, None),
            (106, true, Some(Step::Ask)),
            (107, true, None),
            (110, true, None),
            (111, true, Some(Step::End)),
            (112, true, None),
            (999, true, None),
        ];
        for (second, interrupted, step) in steps {
            assert_eq!(ending.observe(at(second), interrupted), step, "{second} s");
        }
    }

    #[test]
    fn each_grace_counts_from_the_step_before_although_nobody_looked() {
        let begun = Instant::now();
        let mut ending = Ending::new(Duration::from_secs(5));
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(ending.observe(at(0), true), None);
        assert_eq!(ending.observe(at(60), true), Some(Step::Ask));
        assert_eq!(ending.observe(at(64), true), None);
        assert_eq!(ending.observe(at(65), true), Some(Step::End));
    }
}
