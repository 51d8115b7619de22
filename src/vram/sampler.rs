//! The thread that takes a reading on every tick of a fixed grid.
//!
//! It knows neither who gives the readings nor where they go. It ends when its handle is
//! dropped: within 10 ms between ticks, within the reader's own timeout during one.

use std::convert::Infallible;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::reading::{Answer, MissReason, Reading, Source, Tick};
use crate::clock::Clock;

/// What sampling sends to the main thread.
#[derive(Clone, Debug)]
pub enum SamplerEvent {
    /// One tick, with or without a reading.
    Tick(Tick),
    /// One line for the user.
    Warning(String),
    /// The thread panicked; there will be no more ticks.
    Died,
}

/// The running thread. Dropping it ends the thread and waits for that.
pub struct Sampler {
    stop: Option<Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    /// Starts sampling; the first tick is now. `read` blocks for a bounded time; `send` gets the
    /// ticks in the order of their stamps. A tick that passes while `read` is still out is
    /// [`MissReason::Late`]. For a missed tick `fallback` is asked for a reading of its moment; it
    /// must not block.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        interval: Duration,
        clock: Clock,
        mut read: impl FnMut() -> Answer + Send + 'static,
        mut fallback: impl FnMut(Instant) -> Option<(Reading, Source)> + Send + 'static,
        send: impl FnMut(SamplerEvent) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<Infallible>();
        let thread = thread::Builder::new().name("vram sampler".into()).spawn(move || {
            let mut events = PanicGuard(send);
            let mut due = Instant::now();
            loop {
                match stopped.recv_timeout(due.saturating_duration_since(Instant::now())) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                let tick = Tick::take(clock, interval, &mut read, &mut fallback);
                let (at, moment) = (tick.at, tick.moment);
                events.0(SamplerEvent::Tick(tick));
                let now = Instant::now();
                due += interval;
                while due <= now {
                    let at = at + due.saturating_duration_since(moment);
                    let late = Err(MissReason::Late).into();
                    events.0(SamplerEvent::Tick(Tick::of(at, due, late, &mut fallback)));
                    due += interval;
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

    fn ticks(rx: &mpsc::Receiver<SamplerEvent>, count: usize) -> Vec<Tick> {
        let tick = |sampled| if let SamplerEvent::Tick(tick) = sampled { Some(tick) } else { None };
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
            SamplerEvent::Tick(tick) => Some(tick),
            _ => None,
        });
        let slow = ticks.next().unwrap();
        let late: Vec<Tick> =
            ticks.by_ref().take_while(|tick| tick.result == Err(MissReason::Late)).collect();
        drop(ticks);
        drop(sampler);
        assert!(slow.result.is_ok() && slow.took_ms >= Some(500), "{slow:?}");
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
        // The other's reading did not take as long as the answer that never came.
        assert!(ticks[..3].iter().all(|tick| tick.took_ms.is_none()), "{ticks:?}");
        let read: Vec<_> = ticks.iter().map(|tick| tick.result.unwrap()).collect();
        let of_moment = |n: usize| (read[n].0.used - read[0].0.used, read[n].1);
        assert_eq!(of_moment(1), (200, Source::NvidiaSmi));
        assert_eq!(of_moment(2), (400, Source::NvidiaSmi));
        assert_eq!(read[3], (used(9), Source::ComfyUi));
    }

    #[test]
    fn it_stops_at_once_between_ticks() {
        let (sampler, rx) =
            sampler(Duration::from_secs(3600), || Err(MissReason::Refused), |_| None);
        assert!(matches!(
            rx.recv(),
            Ok(SamplerEvent::Tick(Tick { result: Err(MissReason::Refused), .. }))
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
