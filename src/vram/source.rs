//! Who gives the readings of a run: `ComfyUI`, nvidia-smi where `ComfyUI` misses one, or
//! nvidia-smi alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::nvidia_smi::{CardReader, NoReading, Wanted};
use super::reading::{Answer, Measurement, MissReason, Reading, Source, pace};
use super::sampler::{Sampler, SamplerEvent};
use crate::cli::{SamplingOptions, VramSource};
use crate::clock::Clock;
use crate::comfyui::{Client, Device, SystemStats};
use crate::http::ErrorKind;
use crate::interrupt::Interrupted;
use crate::sleep;

/// The timeout of the sampler's requests.
pub const TIMEOUT: Duration = Duration::from_secs(2);
/// Between two checks whether nvidia-smi has begun to answer.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// The source of one device's readings. Dropping it ends the nvidia-smi that it started.
pub struct ReadingSource {
    gpu: usize,
    pace: Duration,
    card: Option<CardReader>,
    nvidia_smi_only: bool,
    /// The server did not answer at the start, so that its device is not known.
    no_server: bool,
    /// The server that was there refuses connections.
    is_away: AtomicBool,
    /// nvidia-smi was found to give nothing; that it may be starting does not count.
    card_failed: AtomicBool,
    send: Box<dyn Fn(SamplerEvent) + Send + Sync>,
}

impl ReadingSource {
    /// Starts nvidia-smi where it may be needed, without waiting for it. `local`: the server runs
    /// on this machine, so that nvidia-smi's cards may be its. `stats` is the server's answer;
    /// without one nvidia-smi gives the readings if it can, and no warning says that it cannot.
    /// `send` gets the events of [`ReadingSource::sampler`], and warnings from any thread.
    pub fn new(
        sampling: &SamplingOptions,
        local: bool,
        stats: Option<&SystemStats>,
        send: impl Fn(SamplerEvent) + Send + Sync + 'static,
    ) -> Self {
        let wanted = wanted_card(sampling, local, stats);
        ReadingSource {
            gpu: sampling.gpu,
            pace: pace(sampling.interval),
            card: wanted.map(|wanted| CardReader::start(pace(sampling.interval), wanted)),
            nvidia_smi_only: sampling.source == VramSource::NvidiaSmi,
            no_server: stats.is_none(),
            is_away: AtomicBool::new(false),
            card_failed: AtomicBool::new(false),
            send: Box::new(send),
        }
    }

    /// Starts sampling with these clients, see [`ReadingSource::read`].
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn sampler(
        self: &Arc<Self>,
        clock: Clock,
        clients: Arc<[Client]>,
    ) -> std::io::Result<Sampler> {
        let [reader, fallback, sender] = [(); 3].map(|()| Arc::clone(self));
        let read = move || reader.read(&clients);
        let fallback = move |at| fallback.fallback(at);
        Sampler::start(self.pace, clock, read, fallback, move |event| (sender.send)(event))
    }

    /// Measures at this moment, outside the sampler's thread.
    pub fn measure(&self, clock: Clock, clients: &[Client]) -> Measurement {
        Measurement::take(clock, None, || self.read(clients), |at| self.fallback(at))
    }

    /// Where nvidia-smi is the only source, waits for its first reading, 2 s at most: that one is
    /// to be from before anything is posted, or a command is started.
    ///
    /// # Errors
    /// That of `wait`.
    pub fn wait_for_nvidia_smi(
        &self,
        wait: &mut dyn FnMut(Duration) -> Result<(), Interrupted>,
    ) -> Result<(), Interrupted> {
        let until = sleep::now() + TIMEOUT;
        if let Some(card) = self.card.as_ref().filter(|_| self.nvidia_smi_only || self.no_server) {
            while !card.has_started() && sleep::now() < until {
                wait(CHECK_INTERVAL)?;
            }
        }
        Ok(())
    }

    /// Whether nvidia-smi may still come to give readings.
    pub fn awaits_nvidia_smi(&self) -> bool {
        self.card.is_some() && !self.card_failed.load(Ordering::Relaxed)
    }

    /// Whether the server is asked: not where nvidia-smi is the only source.
    pub fn asks_server(&self) -> bool {
        !self.nvidia_smi_only
    }

    /// A reading of this moment, without the fallback. The clients are asked in turn until one is
    /// not refused.
    pub fn read(&self, clients: &[Client]) -> Answer {
        let now = Instant::now();
        let clients = if self.asks_server() { clients } else { &[] };
        let mut answers = clients.iter().map(|client| client.system_stats().map_err(|e| e.kind));
        let answer = answers.find(|answer| !matches!(answer, Err(ErrorKind::Refused)));
        self.reading_of(now, answer.as_ref().unwrap_or(&Err(ErrorKind::Refused)).as_ref())
    }

    /// The reading of a moment at which the server was asked and gave this answer.
    pub fn reading_of(&self, now: Instant, answer: Result<&SystemStats, &ErrorKind>) -> Answer {
        if let Some(card) = self.card.as_ref().filter(|_| self.nvidia_smi_only) {
            let miss = |why| match why {
                NoReading::NotYet | NoReading::Silent => MissReason::Timeout,
                _ => MissReason::NoDevice,
            };
            return self.of_card(card, now).map_err(miss).into();
        }
        let is_refused = matches!(answer, Err(ErrorKind::Refused));
        self.is_away.store(is_refused && !self.no_server, Ordering::Relaxed);
        let devices: Vec<_> = match answer {
            Ok(stats) => stats.devices.iter().map(|device| device.memory).collect(),
            Err(kind) => return Err(miss_reason(kind)).into(),
        };
        let reading = devices.get(self.gpu).copied().flatten().ok_or(MissReason::NoDevice);
        if let (Some(card), Ok(Reading { driver: Some(driver), .. })) = (&self.card, reading) {
            card.observe(now, driver);
        }
        Answer { result: reading.map(|reading| (reading, Source::ComfyUi)), devices }
    }

    /// nvidia-smi's reading of that moment, in place of a missed one; none while a server is away that
    /// was there: what the card holds then is not the run's.
    fn fallback(&self, at: Instant) -> Option<(Reading, Source)> {
        if self.is_away.load(Ordering::Relaxed) {
            return None;
        }
        self.of_card(self.card.as_ref()?, at).ok()
    }

    /// Warns once if nvidia-smi gives nothing.
    fn of_card(&self, card: &CardReader, at: Instant) -> Result<(Reading, Source), NoReading> {
        let reading = card.reading(at).map(|reading| (reading, Source::NvidiaSmi));
        reading.inspect_err(|why| {
            if *why == NoReading::NotYet || self.card_failed.swap(true, Ordering::Relaxed) {
                return;
            }
            let consequence = match why {
                _ if self.nvidia_smi_only => "no VRAM is recorded",
                NoReading::Failed(_) | NoReading::Silent if self.no_server => return,
                _ => "what ComfyUI misses stays without a reading",
            };
            (self.send)(SamplerEvent::Warning(format!("{why}: {consequence}")));
        })
    }
}

fn miss_reason(kind: &ErrorKind) -> MissReason {
    match kind {
        ErrorKind::Refused => MissReason::Refused,
        ErrorKind::Timeout => MissReason::Timeout,
        ErrorKind::Reset => MissReason::Reset,
        ErrorKind::Status(_) => MissReason::Status,
        ErrorKind::BadJson => MissReason::BadJson,
    }
}

/// The card to be read, if nvidia-smi is to be asked at all.
fn wanted_card(
    sampling: &SamplingOptions,
    local: bool,
    stats: Option<&SystemStats>,
) -> Option<Wanted> {
    let device = stats.and_then(|stats| stats.devices.get(sampling.gpu));
    let cuda = device.filter(|device| device.kind == "cuda");
    // A card of AMD's is a cuda device too.
    let is_rocm =
        stats.and_then(|stats| stats.pytorch.as_ref()).is_some_and(|it| it.contains("rocm"));
    let no_cuda = stats.is_some() && cuda.is_none() || is_rocm;
    let is_asked = match sampling.source {
        VramSource::ComfyUi => false,
        VramSource::Auto => local && !no_cuda,
        VramSource::NvidiaSmi => true,
    };
    is_asked.then(|| match (&sampling.card, cuda) {
        (Some(id), _) => Wanted::Named(id.clone()),
        (None, Some(Device { name, memory, .. })) => {
            Wanted::Device { name: name.clone(), total: memory.and_then(|memory| memory.total) }
        }
        (None, None) => Wanted::Only,
    })
}
