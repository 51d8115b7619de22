//! The thread that takes a reading at every moment of a fixed grid.
//!
//! It knows neither who gives the readings nor where they go. Where the computer slept, the grid
//! begins anew. It ends when its handle is dropped: within 10 ms between readings, within the
//! reader's own timeout during one.

use std::convert::Infallible;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::reading::{Answer, Measurement, MissReason, Reading, Source};
use crate::clock::Clock;
use crate::sleep;

/// What sampling sends to the main thread.
#[derive(Clone, Debug)]
pub enum SamplerEvent {
    /// One moment of the grid, with or without a reading.
    Measured(Measurement),
    /// One line for the user.
    Warning(String),
    /// The thread panicked; there will be no more readings.
    Died,
}

/// The running thread. Dropping it ends the thread and waits for that.
pub struct Sampler {
    stop: Option<Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    /// Starts sampling every `pace`; the first reading is now. `read` blocks for a bounded time;
    /// `send` gets the measurements in the order of their stamps. A moment that passes while `read`
    /// is still out is [`MissReason::Late`]. For a missed one `fallback` is asked for a reading of
    /// its moment; it must not block.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        pace: Duration,
        clock: Clock,
        mut read: impl FnMut() -> Answer + Send + 'static,
        mut fallback: impl FnMut(Instant) -> Option<(Reading, Source)> + Send + 'static,
        send: impl FnMut(SamplerEvent) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<Infallible>();
        let thread = thread::Builder::new().name("vram sampler".into()).spawn(move || {
            let mut events = PanicGuard(send);
            let (mut due, mut slept) = (Instant::now(), sleep::since(0).len());
            loop {
                let began = Instant::now();
                let wait = due.saturating_duration_since(began);
                match stopped.recv_timeout(wait) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                sleep::after_wait(began, wait);
                let taken = Measurement::take(clock, Some(due), &mut read, &mut fallback);
                // Before the request or while it was out: of which moment it tells is not known.
                if let [first, ..] = *sleep::since(slept) {
                    slept = sleep::since(0).len();
                    let asleep = Err(MissReason::Asleep).into();
                    let asleep = Measurement::of(clock.at(first.from), due, asleep, |_| None);
                    events.0(SamplerEvent::Measured(asleep));
                    due = Instant::now();
                    continue;
                }
                let (at, moment) = (taken.at, taken.moment);
                events.0(SamplerEvent::Measured(taken));
                let now = Instant::now();
                due += pace;
                while due <= now {
                    let at = at + due.saturating_duration_since(moment);
                    let late = Err(MissReason::Late).into();
                    let late = Measurement::of(at, due, late, &mut fallback);
                    events.0(SamplerEvent::Measured(late));
                    due += pace;
                }
            }
        })?;
        Ok(Sampler { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // The guard has reported a panic already.
            let _ = thread.join();
        }
    }
}

/// Sends [`SamplerEvent::Died`] when the thread unwinds: the run goes on without it.
struct PanicGuard<T: FnMut(SamplerEvent)>(T);

impl<T: FnMut(SamplerEvent)> Drop for PanicGuard<T> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0(SamplerEvent::Died);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vram::reading::ReadingResult;

    fn sampler(
        interval: Duration,
        mut read: impl FnMut() -> ReadingResult + Send + 'static,
        fallback: impl FnMut(Instant) -> Option<(Reading, Source)> + Send + 'static,
    ) -> (Sampler, mpsc::Receiver<SamplerEvent>) {
        let (tx, rx) = mpsc::channel();
        let tell = move |sampled| drop(tx.send(sampled));
        let read = move || read().into();
        (Sampler::start(interval, Clock::start(), read, fallback, tell).unwrap(), rx)
    }

    fn used(used: u64) -> Reading {
        Reading { used, ..Reading::default() }
    }

    fn ticks(rx: &mpsc::Receiver<SamplerEvent>, count: usize) -> Vec<Measurement> {
        let tick =
            |sampled| if let SamplerEvent::Measured(tick) = sampled { Some(tick) } else { None };
        rx.iter().filter_map(tick).take(count).collect()
    }

    #[test]
    fn ticks_that_pass_during_a_request_are_late_and_the_grid_stays() {
        const TICK: Duration = Duration::from_millis(200);
        let mut first = true;
        let read = move || {
            if std::mem::take(&mut first) {
                thread::sleep(TICK * 5 / 2);
            }
            Ok((used(1), Source::ComfyUi))
        };
        let (sampler, rx) = sampler(TICK, read, |_| None);
        let mut ticks = rx.iter().filter_map(|sampled| match sampled {
            SamplerEvent::Measured(tick) => Some(tick),
            _ => None,
        });
        let slow = ticks.next().unwrap();
        let late: Vec<Measurement> =
            ticks.by_ref().take_while(|tick| tick.result == Err(MissReason::Late)).collect();
        drop(ticks);
        drop(sampler);
        assert!(slow.result.is_ok() && slow.answered - slow.moment >= TICK * 5 / 2, "{slow:?}");
        // Two at least; more where the machine was busy. Each stands where it was due.
        assert!(late.len() >= 2, "{late:?}");
        for (n, tick) in (1..).zip(&late) {
            let off = (tick.at - slow.at) - TICK * n;
            assert!(off.abs() < TICK / 2, "{n}: {off}");
        }
    }

    #[test]
    fn of_a_missed_tick_another_reading_of_its_moment_is_taken() {
        const TICK: Duration = Duration::from_millis(200);
        let mut answers = vec![Ok((used(9), Source::ComfyUi)), Err(MissReason::Timeout)];
        let read = move || {
            let answer = answers.pop().unwrap_or(Err(MissReason::Refused));
            if answer == Err(MissReason::Timeout) {
                thread::sleep(TICK * 2 + TICK / 2);
            }
            answer
        };
        let begun = Instant::now();
        let fallback = move |at: Instant| {
            let ms = u64::try_from(at.duration_since(begun).as_millis()).unwrap();
            (ms < 5000).then_some((used(ms), Source::NvidiaSmi))
        };
        let (sampler, rx) = sampler(TICK, read, fallback);
        let ticks = ticks(&rx, 4);
        drop(sampler);
        let missed: Vec<_> = ticks.iter().map(|tick| tick.missed).collect();
        assert_eq!(
            missed,
            [Some(MissReason::Timeout), Some(MissReason::Late), Some(MissReason::Late), None]
        );
        let read: Vec<_> = ticks.iter().map(|tick| tick.result.unwrap()).collect();
        for n in 0..3 {
            let ms = u64::try_from(ticks[n].moment.duration_since(begun).as_millis()).unwrap();
            assert_eq!(read[n], (used(ms), Source::NvidiaSmi), "{n}");
        }
        assert_eq!([ticks[1].due - ticks[0].due, ticks[2].due - ticks[1].due], [TICK; 2]);
        assert_eq!(read[3], (used(9), Source::ComfyUi));
    }

    #[test]
    fn it_stops_at_once_between_ticks() {
        let (sampler, rx) =
            sampler(Duration::from_secs(3600), || Err(MissReason::Refused), |_| None);
        assert!(matches!(
            rx.recv(),
            Ok(SamplerEvent::Measured(Measurement { result: Err(MissReason::Refused), .. }))
        ));
        let begun = Instant::now();
        drop(sampler);
        // Ten times the promise, which a benchmark measures: this only tells it from a tick.
        assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
    }

    #[test]
    fn a_dead_sampler_says_so() {
        let (_sampler, rx) = sampler(Duration::from_secs(3600), || panic!("on purpose"), |_| None);
        assert!(matches!(rx.recv(), Ok(SamplerEvent::Died)));
    }
}
