//! The one place where the main thread blocks, besides its short HTTP calls.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::recorder::Recorder;
use crate::console::Console;
use crate::vram::reading::Reading;
use crate::vram::sampler::SamplerEvent;

/// What other threads send to the main thread.
pub enum Event {
    /// From the sampler.
    SamplerEvent(SamplerEvent),
    /// From the sampler's thread too: what a person should know, said once.
    Warning(String),
    /// From the sampler's thread, before the tick: what the answer said of every device.
    AllDevices(Vec<Option<Reading>>),
    /// From the signal's thread: end the run.
    Interrupt,
}

/// Somebody asked for the end of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

/// The receiving end of the channel, and what becomes of what arrives: readings go to the log,
/// an interrupt is remembered.
pub struct EventLoop {
    events: Receiver<Event>,
    /// Held so that the channel has a sender as long as it has this receiver.
    sender: Sender<Event>,
    interrupted: bool,
    /// Where readings go.
    pub recorder: Recorder,
    /// Where lines go.
    pub journal: Console,
}

/// How often the live line is drawn anew.
const REDRAW: Duration = Duration::from_millis(500);

impl EventLoop {
    pub(crate) fn new(
        (sender, events): (Sender<Event>, Receiver<Event>),
        recorder: Recorder,
        journal: Console,
    ) -> Self {
        EventLoop { events, sender, interrupted: false, recorder, journal }
    }

    /// Waits that long, readings reaching the log meanwhile.
    ///
    /// # Errors
    /// [`Interrupted`] as soon as somebody asks for the end, or has.
    pub fn pause(&mut self, time: Duration) -> Result<(), Interrupted> {
        self.receive(Instant::now() + time, |wait| wait.interrupted);
        self.check()
    }

    /// Waits for the sampler's first tick, that long at most.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn first_tick(&mut self, at_most: Duration) -> Result<(), Interrupted> {
        let done = |wait: &Self| wait.interrupted || wait.recorder.ticks() > 0;
        self.receive(Instant::now() + at_most, done);
        self.check()
    }

    /// Waits that long whoever asks for the end: for what has to be seen through after it.
    pub fn wait_ignoring_interrupt(&mut self, time: Duration) {
        self.receive(Instant::now() + time, |_| false);
    }

    /// The same, and says then whether somebody has asked for the end: for what has to be ended
    /// itself, which takes its time.
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
    /// [`Interrupted`] if somebody has asked for the end.
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

    /// For a thread that has something to tell.
    pub fn sender(&self) -> Sender<Event> {
        self.sender.clone()
    }

    /// Whether somebody has asked for the end.
    pub fn interrupted(&self) -> bool {
        self.interrupted
    }

    /// The only blocking receive of the program.
    fn receive(&mut self, until: Instant, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            self.journal.draw(&self.recorder);
            let now = Instant::now();
            let left = until.saturating_duration_since(now);
            let slice = if self.journal.is_live() { left.min(REDRAW) } else { left };
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
            Event::AllDevices(readings) => self.recorder.all_devices(&readings),
            Event::Warning(text) => self.journal.say(&format!("WARNING: {text}")),
            Event::SamplerEvent(sampled) => {
                if let Some(problem) = self.recorder.record(&sampled) {
                    self.journal.say(&format!("WARNING: {problem}"));
                }
            }
        }
    }
}
