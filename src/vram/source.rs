//! Who gives the readings of a run: `ComfyUI`, nvidia-smi where that misses one, or nvidia-smi
//! alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use crate::cli::{SamplingOptions, VramSource};
use crate::clock::Clock;
use crate::comfyui::{Client, SystemStats, Target};
use crate::interrupt::Interrupted;
use crate::run::events::{Event, EventLoop};
use crate::vram::nvidia_smi::{CardReader, NoReading, NvidiaSmi, Wanted};
use crate::vram::reading::{MissReason, Reading, Source};
use crate::vram::sampler::{Answer, Sampler};

/// The sampler's own bound on a request.
pub const TIMEOUT: Duration = Duration::from_secs(2);
/// Between two looks at whether nvidia-smi has begun to answer.
const LOOK: Duration = Duration::from_millis(20);

/// The sources of one device's readings. With it the nvidia-smi ends that it started.
pub struct ReadingSource {
    gpu: usize,
    watch: Option<CardReader>,
    /// `ComfyUI` is not asked.
    alone: bool,
    /// There was no server to say who it is.
    no_server: bool,
    /// Why nvidia-smi gives nothing was found; that it may be starting is no reason.
    found: AtomicBool,
    events: Sender<Event>,
}

impl ReadingSource {
    /// Starts nvidia-smi where it may be needed, without waiting for it. `local`: the server is on
    /// this machine, so that nvidia-smi's cards may be its. `stats` is what the server said of
    /// itself; without it nvidia-smi is to give what readings there are, and that
    /// it is not there is no news.
    pub fn new(
        sampling: &SamplingOptions,
        local: bool,
        stats: Option<&SystemStats>,
        events: Sender<Event>,
    ) -> Self {
        let watch = |wanted| CardReader::new(Arc::new(NvidiaSmi::start(sampling.interval)), wanted);
        let alone = sampling.source == VramSource::NvidiaSmi;
        ReadingSource {
            gpu: sampling.gpu,
            watch: wanted(sampling, local, stats).map(watch),
            alone,
            no_server: stats.is_none(),
            found: AtomicBool::new(false),
            events,
        }
    }

    /// Starts sampling; every tick is sent to the main thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn sampler(
        self: &Arc<Self>,
        interval: Duration,
        clock: Clock,
        target: Target,
    ) -> std::io::Result<Sampler> {
        let client = Client::with_timeout(target, TIMEOUT);
        let events = self.events.clone();
        let tell = move |sampled| drop(events.send(Event::SamplerEvent(sampled)));
        let (gauge, other) = (Arc::clone(self), Arc::clone(self));
        let read = move || gauge.read(&client);
        Sampler::start(interval, clock, read, move |at| other.instead(at), tell)
    }

    /// Where nvidia-smi is alone, its first reading is waited for, 2 s at most: it is the one from
    /// before anything is posted, or a command is started.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn settle(&self, events: &mut EventLoop) -> Result<(), Interrupted> {
        let until = Instant::now() + TIMEOUT;
        if let Some(watch) = self.watch.as_ref().filter(|_| self.alone || self.no_server) {
            while !watch.is_settled() && Instant::now() < until {
                events.wait(LOOK)?;
            }
        }
        Ok(())
    }

    /// Whether nvidia-smi may still come to give readings.
    pub fn awaits_nvidia_smi(&self) -> bool {
        self.watch.is_some() && !self.found.load(Ordering::Relaxed)
    }

    /// A reading for a tick of this moment. What the answer said of every device is sent too.
    ///
    /// # Errors
    /// Why there is none.
    pub fn read(&self, client: &Client) -> Answer {
        self.ask(client, |all| {
            // The run is over where nobody receives.
            let _ = self.events.send(Event::AllDevices(all));
        })
    }

    /// A reading of this moment that belongs to no tick.
    ///
    /// # Errors
    /// Why there is none.
    pub fn look(&self, client: &Client) -> Answer {
        self.ask(client, drop)
    }

    fn ask(&self, client: &Client, all_devices: impl FnOnce(Vec<Option<Reading>>)) -> Answer {
        let now = Instant::now();
        if let Some(watch) = self.watch.as_ref().filter(|_| self.alone) {
            return match self.of_card(watch, now) {
                Ok(reading) => Ok((reading, Source::NvidiaSmi)),
                Err(NoReading::NotYet | NoReading::Silent) => Err(MissReason::Timeout),
                Err(NoReading::NotStarted(_) | NoReading::NoCard(_) | NoReading::Several(_)) => {
                    Err(MissReason::NoDevice)
                }
            };
        }
        let stats = client.system_stats().map_err(|error| error.fault.miss())?;
        if stats.devices.len() > 1 {
            all_devices(stats.devices.iter().map(|device| device.memory).collect());
        }
        let device = stats.devices.get(self.gpu);
        let reading = device.and_then(|device| device.memory).ok_or(MissReason::NoDevice)?;
        if let (Some(watch), Some(driver)) = (&self.watch, reading.driver) {
            watch.observe(now, driver);
        }
        Ok((reading, Source::ComfyUi))
    }

    /// What nvidia-smi said at that moment, in place of a reading that was missed.
    pub fn instead(&self, at: Instant) -> Option<(Reading, Source)> {
        let reading = self.of_card(self.watch.as_ref()?, at).ok()?;
        Some((reading, Source::NvidiaSmi))
    }

    fn of_card(&self, watch: &CardReader, at: Instant) -> Result<Reading, NoReading> {
        watch.reading(at).inspect_err(|absent| {
            if *absent == NoReading::NotYet || self.found.swap(true, Ordering::Relaxed) {
                return;
            }
            let so = match absent {
                _ if self.alone => "no VRAM is recorded",
                // It was only tried.
                NoReading::NotStarted(_) | NoReading::Silent if self.no_server => return,
                _ => "what ComfyUI misses stays without a reading",
            };
            let _ = self.events.send(Event::Warning(format!("{absent}: {so}")));
        })
    }
}

/// The card to be watched, if nvidia-smi is to be asked at all.
fn wanted(sampling: &SamplingOptions, local: bool, stats: Option<&SystemStats>) -> Option<Wanted> {
    let device = stats.and_then(|stats| stats.devices.get(sampling.gpu));
    let cuda = device.filter(|device| device.kind == "cuda");
    let no_cuda = stats.is_some() && cuda.is_none();
    match sampling.source {
        VramSource::ComfyUi => return None,
        VramSource::Auto if !local || no_cuda => return None,
        VramSource::Auto | VramSource::NvidiaSmi => {}
    }
    if let Some(id) = &sampling.card {
        return Some(Wanted::Named(id.clone()));
    }
    Some(cuda.map_or(Wanted::Only, |device| Wanted::Device {
        name: device.name.clone(),
        total: device.memory.and_then(|memory| memory.total),
    }))
}
