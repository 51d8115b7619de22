//! The event loop: the one place where the main thread blocks, besides its short HTTP calls.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::recorder::Recorder;
use crate::console::Console;
use crate::interrupt::{self, Interrupted};
use crate::vram::sampler::SamplerEvent;

/// What other threads send to the main thread.
pub enum Event {
    /// From the sampler.
    Sampler(SamplerEvent),
    /// From the signal's thread: end the run.
    Interrupt,
}

/// Between two draws of the live row.
const REDRAW: Duration = Duration::from_millis(500);

/// The receiving end of the channel. Readings go to the recorder, an interrupt is remembered.
pub struct EventLoop {
    events: Receiver<Event>,
    /// Held so that the channel has a sender as long as it has this receiver.
    sender: Sender<Event>,
    /// Whether an interrupt has arrived.
    pub interrupted: bool,
    /// Where readings go.
    pub recorder: Recorder,
    /// Where lines go.
    pub console: Console,
}

impl EventLoop {
    /// An event loop with a channel of its own.
    pub fn new(recorder: Recorder, console: Console) -> Self {
        let (sender, events) = mpsc::channel();
        EventLoop { events, sender, interrupted: false, recorder, console }
    }

    /// From now on the first signal arrives as an event, and the second one ends the process.
    ///
    /// # Errors
    /// The system refuses the handler.
    pub fn listen_for_interrupt(&self) -> Result<(), ctrlc::Error> {
        let sender = self.sender.clone();
        // Nobody receives when the program is about to end.
        interrupt::listen(move || drop(sender.send(Event::Interrupt)))
    }

    /// Waits that long; readings reach the log meanwhile.
    ///
    /// # Errors
    /// [`Interrupted`] as soon as an interrupt arrives, or has arrived.
    pub fn wait(&mut self, time: Duration) -> Result<(), Interrupted> {
        self.receive(Instant::now() + time, |this| this.interrupted);
        self.check()
    }

    /// Waits for the sampler's first measurement, that long at most.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn wait_for_first_reading(&mut self, at_most: Duration) -> Result<(), Interrupted> {
        let done = |this: &Self| this.interrupted || this.recorder.has_measured;
        self.receive(Instant::now() + at_most, done);
        self.check()
    }

    /// Waits that long whether or not an interrupt arrives: for what has to be done after one.
    pub fn wait_ignoring_interrupt(&mut self, time: Duration) {
        self.receive(Instant::now() + time, |_| false);
    }

    /// Waits that long, and reports an interrupt only then: for children, which need the time to
    /// be ended.
    ///
    /// # Errors
    /// [`Interrupted`], after the time.
    pub fn wait_then_check(&mut self, time: Duration) -> Result<(), Interrupted> {
        self.wait_ignoring_interrupt(time);
        self.check()
    }

    /// Takes what has arrived, without waiting: between calls, and between chunks of a transfer.
    ///
    /// # Errors
    /// [`Interrupted`] if an interrupt has arrived.
    pub fn check(&mut self) -> Result<(), Interrupted> {
        self.drain();
        if self.interrupted { Err(Interrupted) } else { Ok(()) }
    }

    /// Takes what has arrived, without waiting.
    pub fn drain(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.take(event);
        }
    }

    /// What a sampler's thread calls with its events.
    pub fn sampler_events(&self) -> impl Fn(SamplerEvent) + Send + Sync + use<> {
        let sender = self.sender.clone();
        // Nobody receives when the program is about to end.
        move |event| drop(sender.send(Event::Sampler(event)))
    }

    /// The only blocking receive of the program.
    fn receive(&mut self, until: Instant, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            self.console.draw(self.recorder.latest_and_peak());
            let left = until.saturating_duration_since(Instant::now());
            let slice = if self.console.is_live() { left.min(REDRAW) } else { left };
            match self.events.recv_timeout(slice) {
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {}
                // Not while we hold a sender ourselves.
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if Instant::now() >= until {
                return;
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Interrupt => self.interrupted = true,
            Event::Sampler(event) => {
                if let Some(problem) = self.recorder.record(event) {
                    self.console.warn(&problem);
                }
            }
        }
    }
}
