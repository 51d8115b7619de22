//! The event loop: the one place where the main thread blocks, besides its short HTTP calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::following::Following;
use super::recorder::Recorder;
use crate::comfyui::Told;
use crate::console::Console;
use crate::interrupt::{self, Interrupted};
use crate::vram::sampler::SamplerEvent;

/// What other threads send to the main thread.
pub enum Event {
    /// From the sampler.
    Sampler(SamplerEvent),
    /// From the listener of a client id, at that moment.
    Listener(String, Instant, Told),
    /// From the signal's thread: end the run.
    Interrupt,
}

/// What listeners may have sent before it is taken; beyond that they are not heard.
const MOST_TOLD: usize = 4096;
/// Between two draws of the live row.
const REDRAW: Duration = Duration::from_millis(500);

/// The receiving end of the channel. Readings go to the recorder, an interrupt is remembered.
pub struct EventLoop {
    events: Receiver<Event>,
    /// Held so that the channel has a sender as long as it has this receiver.
    sender: Sender<Event>,
    /// Whether an interrupt has arrived.
    pub interrupted: bool,
    /// How much of the listeners waits in the channel.
    told: Arc<AtomicUsize>,
    /// The prompt that an attempt follows.
    pub following: Option<Following>,
    /// Where readings go.
    pub recorder: Recorder,
    /// Where lines go.
    pub console: Console,
}

impl EventLoop {
    /// An event loop with a channel of its own.
    pub fn new(recorder: Recorder, console: Console) -> Self {
        let (sender, events) = mpsc::channel();
        let (told, following) = (Arc::default(), None);
        EventLoop { events, sender, interrupted: false, told, following, recorder, console }
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

    /// Same as [`EventLoop::wait`], but no longer than until the prompt that is followed is told to
    /// be over, once.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn wait_for_prompt(&mut self, time: Duration) -> Result<(), Interrupted> {
        let has_ended = |this: &Self| this.following.as_ref().is_some_and(|it| it.has_ended);
        self.receive(Instant::now() + time, |this| this.interrupted || has_ended(this));
        if let Some(following) = &mut self.following {
            following.has_ended = false;
        }
        self.check()
    }

    /// Waits until the listener is connected, or has said that it is not, that long at most.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn wait_for_listener(&mut self, at_most: Duration) -> Result<(), Interrupted> {
        let has_spoken =
            |this: &Self| this.following.as_ref().is_none_or(|it| it.connected.is_some());
        self.receive(Instant::now() + at_most, |this| this.interrupted || has_spoken(this));
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

    /// What the listener of a client id calls with what it is told.
    pub fn listener_events(&self, client: &str) -> impl Fn(Instant, Told) + Send + use<> {
        let (sender, told, client) = (self.sender.clone(), self.told.clone(), client.to_owned());
        move |at, what| {
            if told.fetch_add(1, Ordering::Relaxed) < MOST_TOLD {
                // Nobody receives when the program is about to end.
                drop(sender.send(Event::Listener(client.clone(), at, what)));
            } else {
                told.fetch_sub(1, Ordering::Relaxed);
            }
        }
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
            Event::Listener(client, at, told) => {
                self.told.fetch_sub(1, Ordering::Relaxed);
                let following = self.following.as_mut();
                if let Some((scene, node)) = following.and_then(|it| it.take(&client, at, told)) {
                    self.recorder.set_running(at, scene, node);
                }
            }
            Event::Sampler(event) => {
                if let Some(problem) = self.recorder.record(event) {
                    self.console.warn(&problem);
                }
            }
        }
    }
}
