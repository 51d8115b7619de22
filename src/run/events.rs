//! The event loop: the one place where the main thread blocks, besides its short HTTP calls.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::following::Following;
use super::recorder::Recorder;
use crate::clock::hms;
use crate::comfyui::{OnWait, Told};
use crate::console::{Console, Figures};
use crate::interrupt::{self, Interrupted};
use crate::keep_awake::KeepAwake;
use crate::sleep;
use crate::vram::sampler::SamplerEvent;

/// What other threads send to the main thread.
pub enum Event {
    /// From the sampler.
    Sampler(SamplerEvent),
    /// From the listener of a client id, at that moment.
    Listener(String, Instant, Told),
    /// From the signal's thread: end the run.
    Interrupt,
    /// A line for the user, from any thread.
    Note(String),
}

/// What listeners may have sent before it is taken; beyond that they are not heard.
const MOST_TOLD: usize = 4096;
/// Between two looks at whether the live row is to be drawn; the longest wait, after which a sleep of the
/// computer shows.
const REDRAW: Duration = Duration::from_millis(250);

/// The receiving end of the channel, and where its events go.
pub struct Intake {
    events: Receiver<Event>,
    /// How much of the listeners waits in the channel.
    told: Arc<AtomicUsize>,
    /// Whether an interrupt has arrived.
    pub interrupted: bool,
    /// The prompt that an attempt follows.
    pub following: Option<Following>,
    /// Where readings go.
    pub recorder: Recorder,
    /// What the recorder and the sampler's end have to say.
    problems: Vec<String>,
    /// What other threads have to say.
    notes: Vec<String>,
}

/// The event loop. Readings go to the recorder, an interrupt is remembered.
pub struct EventLoop {
    /// The main thread's alone, and shared with its HTTP calls, which take events while they wait.
    intake: Arc<Mutex<Intake>>,
    /// Held so that the channel has a sender as long as it has its receiver.
    sender: Sender<Event>,
    /// Where lines go.
    pub console: Console,
    /// The sleeps of the computer that were told of: from when to when.
    pub asleep: Vec<(OffsetDateTime, OffsetDateTime)>,
}

impl EventLoop {
    /// An event loop with a channel of its own.
    pub fn new(recorder: Recorder, console: Console) -> Self {
        let (sender, events) = mpsc::channel();
        let intake = Intake {
            events,
            told: Arc::default(),
            interrupted: false,
            following: None,
            recorder,
            problems: Vec::new(),
            notes: Vec::new(),
        };
        let (intake, asleep) = (Arc::new(Mutex::new(intake)), Vec::new());
        EventLoop { intake, sender, console, asleep }
    }

    /// What the channel has brought so far. Not to be held over an HTTP call, which then takes no
    /// events.
    pub fn intake(&self) -> MutexGuard<'_, Intake> {
        self.intake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For HTTP calls of the main thread: takes what has arrived. `false` where an interrupt came
    /// with it; calls after that one are made in peace.
    pub fn on_wait(&self) -> OnWait {
        let (intake, live) = (Arc::clone(&self.intake), self.console.live.clone());
        Arc::new(move || {
            let Ok(mut intake) = intake.try_lock() else { return true };
            let was_interrupted = intake.interrupted;
            intake.drain();
            live.draw(|| intake.figures());
            was_interrupted || !intake.interrupted
        })
    }

    /// For HTTP calls that are not cut off: draws the live row while they wait.
    pub fn drawing(&self) -> OnWait {
        let live = self.console.live.clone();
        Arc::new(move || {
            live.draw(Figures::default);
            true
        })
    }

    /// From now on the first signal arrives as an event, and a second one ends the process after
    /// `last`, as [`interrupt::listen`] has it.
    ///
    /// # Errors
    /// The system refuses the handler.
    pub fn listen_for_interrupt(&self, last: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let sender = self.sender.clone();
        // Nobody receives when the program is about to end.
        interrupt::listen(move || drop(sender.send(Event::Interrupt)), last)
    }

    /// Keeps the computer awake as long as the returned value lives; what cannot be held off is a line.
    pub fn keep_awake(&self) -> Option<KeepAwake> {
        let sender = self.sender.clone();
        // Nobody receives when the program is about to end.
        KeepAwake::start(move |line| drop(sender.send(Event::Note(line))))
    }

    /// Waits that long, sleeps of the computer not counted; readings reach the log meanwhile.
    ///
    /// # Errors
    /// [`Interrupted`] as soon as an interrupt arrives, or has arrived.
    pub fn wait(&mut self, time: Duration) -> Result<(), Interrupted> {
        self.receive(sleep::now() + time, |it| it.interrupted);
        self.check()
    }

    /// Waits for the sampler's first measurement, that long at most.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn wait_for_first_reading(&mut self, at_most: Duration) -> Result<(), Interrupted> {
        let done = |it: &Intake| it.interrupted || it.recorder.has_measured;
        self.receive(sleep::now() + at_most, done);
        self.check()
    }

    /// Same as [`EventLoop::wait`], but no longer than until the prompt that is followed is told to
    /// be over, once.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn wait_for_prompt(&mut self, time: Duration) -> Result<(), Interrupted> {
        let has_ended = |it: &Intake| it.following.as_ref().is_some_and(|it| it.has_ended);
        self.receive(sleep::now() + time, |it| it.interrupted || has_ended(it));
        if let Some(following) = &mut self.intake().following {
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
            |it: &Intake| it.following.as_ref().is_none_or(|it| it.connected.is_some());
        self.receive(sleep::now() + at_most, |it| it.interrupted || has_spoken(it));
        self.check()
    }

    /// Waits that long whether or not an interrupt arrives: for what has to be done after one.
    pub fn wait_ignoring_interrupt(&mut self, time: Duration) {
        self.receive(sleep::now() + time, |_| false);
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
        if self.intake().interrupted { Err(Interrupted) } else { Ok(()) }
    }

    /// Takes what has arrived, without waiting.
    pub fn drain(&mut self) {
        let mut intake = self.intake.lock().unwrap_or_else(PoisonError::into_inner);
        intake.drain();
        tell(&mut intake, &mut self.console, &mut self.asleep);
    }

    /// What a sampler's thread calls with its events.
    pub fn sampler_events(&self) -> impl Fn(SamplerEvent) + Send + Sync + use<> {
        let sender = self.sender.clone();
        // Nobody receives when the program is about to end.
        move |event| drop(sender.send(Event::Sampler(event)))
    }

    /// What the listener of a client id calls with what it is told.
    pub fn listener_events(&self, client: &str) -> impl Fn(Instant, Told) + Send + use<> {
        let (sender, told, client) =
            (self.sender.clone(), self.intake().told.clone(), client.to_owned());
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
    fn receive(&mut self, until: Instant, done: impl Fn(&Intake) -> bool) {
        let mut intake = self.intake.lock().unwrap_or_else(PoisonError::into_inner);
        while !done(&intake) {
            tell(&mut intake, &mut self.console, &mut self.asleep);
            let slice = sleep::left(until).min(REDRAW);
            let began = Instant::now();
            let received = intake.events.recv_timeout(slice);
            sleep::after_wait(began, slice);
            match received {
                Ok(event) => intake.take(event),
                Err(RecvTimeoutError::Timeout) => {}
                // Not while we hold a sender ourselves.
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if sleep::now() >= until {
                return;
            }
        }
    }
}

/// Tells what other threads have to say, and that the computer slept; then draws the live row.
fn tell(
    intake: &mut Intake,
    console: &mut Console,
    asleep: &mut Vec<(OffsetDateTime, OffsetDateTime)>,
) {
    intake.problems.drain(..).for_each(|problem| console.warn(&problem));
    intake.notes.drain(..).for_each(|note| console.log(&note));
    for slept in sleep::since(asleep.len()) {
        let [from, to] = [slept.from, slept.to].map(|at| console.clock.at(at));
        console.log(&format!("the computer slept from {} to {}", hms(from), hms(to)));
        asleep.push((from, to));
    }
    console.live.draw(|| intake.figures());
}

impl Intake {
    /// What the live row shows.
    fn figures(&self) -> Figures {
        let node = self.following.as_ref().and_then(Following::node);
        Figures { memory: self.recorder.latest_and_peak(), node }
    }

    fn drain(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.take(event);
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Interrupt => self.interrupted = true,
            Event::Note(line) => self.notes.push(line),
            Event::Listener(client, at, told) => {
                self.told.fetch_sub(1, Ordering::Relaxed);
                let following = self.following.as_mut();
                if let Some((scene, node)) = following.and_then(|it| it.take(&client, at, told)) {
                    self.recorder.set_running(at, scene, node);
                }
            }
            Event::Sampler(SamplerEvent::Warning(text)) => {
                self.notes.push(format!("WARNING: {text}"));
            }
            Event::Sampler(SamplerEvent::Measured(taken)) => {
                self.problems.extend(self.recorder.record(&taken));
            }
            Event::Sampler(SamplerEvent::Died) => {
                self.problems.push("the VRAM sampler died: no further samples".to_owned());
            }
        }
    }
}
