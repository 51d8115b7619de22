//! The server of a run and its memory: who it is, what is sampled, and the reading that ends it.

use std::sync::Arc;

use super::Run;
use super::banner;
use super::events::Event;
use super::stop::Stop;
use crate::comfyui::{Client, SystemStats, Target};
use crate::report::devices::OtherDevice;
use crate::vram::log::names;
use crate::vram::sampler::{Sampler, SamplerEvent};
use crate::vram::source::{self, ReadingSource};

/// The server while its memory is sampled; with it the sampling ends.
pub(super) struct Measured {
    /// The server.
    pub(super) client: Client,
    /// Who gives the readings.
    pub(super) gauge: Arc<ReadingSource>,
    sampler: Option<Sampler>,
}

impl Run<'_> {
    /// Says what will be done and with what, and starts sampling: the first reading is there when
    /// it returns, from before anything is sent.
    pub(super) fn measure(
        &mut self,
        target: Target,
        stats: &SystemStats,
        scenes: usize,
    ) -> Result<Measured, Stop> {
        let client = Client::new(target.clone(), self.options.post_execution_timeout);
        self.meet(&client, stats, scenes);
        let (sampling, local) = (&self.options.sampling, self.options.server.url.is_loopback());
        let sender = self.events.sender();
        let send = move |event| drop(sender.send(Event::Sampler(event)));
        let gauge = Arc::new(ReadingSource::new(sampling, local, Some(stats), send));
        gauge.wait_for_nvidia_smi(&mut |time| self.events.wait(time))?;
        let sampler = gauge
            .sampler(self.clock, [Client::with_timeout(target, source::TIMEOUT)].into())
            .inspect_err(|error| {
                let why = format!("WARNING: no VRAM is recorded: no thread: {error}");
                self.events.console.log(&why);
            })
            .ok();
        self.events.wait_for_first_tick(source::TIMEOUT * 2)?;
        if let Some(first) = self.events.recorder.first() {
            self.events.console.log(&banner::initial(&first));
        }
        Ok(Measured { client, gauge, sampler })
    }

    /// Notes who the server is.
    fn meet(&mut self, client: &Client, stats: &SystemStats, scenes: usize) {
        let device = stats.devices.get(self.options.sampling.gpu);
        let server = &mut self.record.server;
        server.comfyui.clone_from(&stats.comfyui);
        server.pytorch.clone_from(&stats.pytorch);
        server.python.clone_from(&stats.python);
        server.device = device.map(|device| device.name.clone());
        server.device_kind = device.map(|device| device.kind.clone());
        server.device_index = device.and_then(|device| device.index);
        let queue = client.queue().ok().map(|queue| queue.len());
        let line = banner::plan(self.options, stats, queue, scenes);
        self.events.console.log(&line);
        // Where the device that was asked for is not there, nothing is recorded.
        if device.is_some() {
            self.record_others(stats);
        }
    }

    fn record_others(&mut self, stats: &SystemStats) {
        let sampling = &self.options.sampling;
        let known = stats.devices.iter().enumerate().filter(|(_, device)| device.memory.is_some());
        for (gpu, device) in known.filter(|(gpu, _)| *gpu != sampling.gpu) {
            let path = self.folder.join(names::of_device(gpu));
            match self.events.recorder.also(gpu, &path, sampling.interval) {
                Ok(()) => self.others.push((gpu, device.name.clone())),
                Err(why) => self.events.console.warn(&why),
            }
        }
    }

    /// The devices beside the run's own, from their logs.
    pub(super) fn other_devices(&mut self) -> Vec<OtherDevice> {
        let Run { folder, others, events, .. } = self;
        let mut told = |why: &String| events.console.warn(why);
        let load = |(gpu, name): &(usize, String)| {
            OtherDevice::load(folder, *gpu, name).inspect_err(&mut told).ok()
        };
        others.iter().filter_map(load).collect()
    }

    /// Ends the sampling with the sample after the last scene's outputs are home.
    pub(super) fn last_reading(&mut self, measured: Measured) {
        let Measured { client, gauge, sampler } = measured;
        drop(sampler);
        self.events.drain();
        let tick = gauge.tick(self.clock, std::slice::from_ref(&client));
        let after = tick.result.ok().map(|(reading, _)| reading);
        // A warning of nvidia-smi comes before what it is about.
        self.events.drain();
        if let Some(problem) = self.events.recorder.record(SamplerEvent::Tick(tick)) {
            self.events.console.warn(&problem);
        }
        let before = self.events.recorder.first();
        let both = before.zip(after).and_then(|both| match (both.0.driver, both.1.driver) {
            (Some(before), Some(after)) => Some((before, after)),
            (None, None) => Some((both.0.used, both.1.used)),
            // The one's driver figure and the other's used would be compared.
            _ => None,
        });
        self.record.aftermath.used_before_mb = both.map(|(before, _)| before);
        self.record.aftermath.used_after_mb = both.map(|(_, after)| after);
        self.record.aftermath.queue = client.queue().ok().map(|queue| queue.len() as u64);
    }
}
