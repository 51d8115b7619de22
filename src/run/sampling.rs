//! Sampling the server's memory: who the server is, the first reading, and the last one.

use std::sync::Arc;

use super::banner;
use super::connect::{connect, no_server};
use super::context::{RunContext, RunError, Sampling};
use crate::comfyui::{Client, ErrorKind, SystemStats};
use crate::report::saved_run::OtherDevice;
use crate::vram::log::names;
use crate::vram::reading::Reading;
use crate::vram::source::{self, ReadingSource};

impl RunContext<'_> {
    /// Reaches the server, and finishes what an earlier run has left undone, with or without it.
    pub(super) fn connect_and_recover(&mut self) -> Result<SystemStats, RunError> {
        self.take_over();
        let is_coming = self.is_server_coming();
        let connected = match connect(self.options, &mut self.events, is_coming) {
            Ok(Ok((target, stats))) => {
                let on_wait = self.events.on_wait();
                self.client = Client::new(target, self.options.post_execution_timeout, on_wait);
                Ok(stats)
            }
            Ok(Err(error)) if error.kind == ErrorKind::Refused && is_coming => {
                self.start_at_first()
            }
            Ok(Err(error)) => Err(no_server(self.options, &error)),
            Err(interrupted) => Err(interrupted.into()),
        };
        if let Ok(stats) = &connected {
            self.note_device(stats);
        }
        self.recover(connected.is_ok());
        connected
    }

    /// Logs what will be done and with what, and starts sampling: the first reading is there when
    /// it returns, from before anything is sent.
    pub(super) fn start_sampling(
        &mut self,
        stats: &SystemStats,
        scenes: usize,
    ) -> Result<(), RunError> {
        self.events.console.wait_for("the first reading, and ComfyUI's queue", "");
        self.note_server(stats, scenes);
        let (options, local) = (&self.options.sampling, self.options.server.url.is_loopback());
        let send = self.events.sampler_events();
        let source = Arc::new(ReadingSource::new(options, local, Some(stats), send));
        source.wait_for_nvidia_smi(&mut |time| self.events.wait(time))?;
        let clients = [Client::with_timeout(self.client.target(), source::TIMEOUT)].into();
        let sampler = source.sampler(self.clock, clients).inspect_err(|error| {
            self.events.console.warn(&format!("no VRAM is recorded: no thread: {error}"));
        });
        self.events.wait_for_first_reading(source::TIMEOUT * 2)?;
        let first = self.events.intake().recorder.first;
        if let Some(first) = first {
            self.events.console.log(&banner::initial(&first));
        }
        self.sampling = Some(Sampling { source, sampler: sampler.ok() });
        self.events.console.set_live(None);
        Ok(())
    }

    fn note_server(&mut self, stats: &SystemStats, scenes: usize) {
        let sampling = &self.options.sampling;
        let device = stats.devices.get(sampling.gpu);
        let server = &mut self.record.server;
        server.comfyui.clone_from(&stats.comfyui);
        server.pytorch.clone_from(&stats.pytorch);
        server.python.clone_from(&stats.python);
        server.device = device.map(|device| device.name.clone());
        server.device_kind = device.map(|device| device.kind.clone());
        server.device_index = device.and_then(|device| device.index);
        server.dynamic_vram = device.map(|device| device.dynamic_vram).unwrap_or_default();
        self.events.intake().recorder.set_dynamic_vram(server.dynamic_vram);
        let queue = self.client.queue().ok().map(|queue| queue.count());
        self.events.console.log(&banner::plan(self.options, stats, queue, scenes));
        let options = self.options;
        let opening = |columns| banner::opening(options, stats, queue, scenes, columns);
        self.events.console.show_lines(opening);
        // Where the device that was asked for is not there, nothing is recorded.
        if device.is_none() {
            return;
        }
        let others = stats.devices.iter().enumerate().filter(|(gpu, _)| *gpu != sampling.gpu);
        for (gpu, device) in others.filter(|(_, device)| device.memory.is_some()) {
            let path = self.folder.join(names::of_device(gpu));
            let also = self.events.intake().recorder.also(
                gpu,
                &path,
                sampling.interval,
                device.dynamic_vram,
            );
            match also {
                Ok(()) => self.other_devices.push((gpu, device.name.clone())),
                Err(why) => self.events.console.warn(&why),
            }
        }
    }

    /// The devices beside the run's own, from their logs.
    pub(super) fn load_other_devices(&mut self) -> Vec<OtherDevice> {
        let load = |(gpu, name): &(usize, String)| {
            let loaded = OtherDevice::load(&self.folder, *gpu, name);
            loaded.inspect_err(|why| self.events.console.warn(why)).ok()
        };
        self.other_devices.iter().filter_map(load).collect()
    }

    /// Ends the sampling with a reading of this moment: the last scene's outputs are home.
    pub(super) fn end_sampling(&mut self) {
        let Some(Sampling { source, sampler }) = self.sampling.take() else { return };
        self.events.console.wait_for("the last reading, and ComfyUI's queue", "");
        drop(sampler);
        self.events.drain();
        let taken = source.measure(self.clock, std::slice::from_ref(&self.client));
        // A warning of nvidia-smi comes before what it is about.
        self.events.drain();
        let last = taken.result.ok().map(|(reading, _)| reading);
        let problem = self.events.intake().recorder.record_last(&taken);
        if let Some(problem) = problem {
            self.events.console.warn(&problem);
        }
        let both = self.events.intake().recorder.first.zip(last).and_then(same_figure);
        self.record.aftermath.used_before_mb = both.map(|(before, _)| before);
        self.record.aftermath.used_after_mb = both.map(|(_, after)| after);
        self.record.aftermath.queue = self.client.queue().ok().map(|queue| queue.count() as u64);
    }
}

/// One figure of two readings: the driver's, or the used one where neither has the driver's.
fn same_figure((before, after): (Reading, Reading)) -> Option<(u64, u64)> {
    match (before.driver, after.driver) {
        (Some(before), Some(after)) => Some((before, after)),
        (None, None) => Some((before.used, after.used)),
        _ => None,
    }
}
