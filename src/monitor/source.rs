//! Who gives the readings.

use std::sync::Arc;

use crate::cli::{MonitorOptions, VramSource};
use crate::comfyui::{Client, Target};
use crate::run::connect;
use crate::run::events::{Event, EventLoop};
use crate::vram::reading::MissReason;
use crate::vram::source::{ReadingSource, TIMEOUT};

/// `ComfyUI`, and nvidia-smi in its place.
pub struct Readings {
    /// Who is asked.
    pub source: Arc<ReadingSource>,
    /// How the server is reached: by IPv4 alone first, where that is to be tried.
    pub clients: Arc<[Client]>,
}

impl Readings {
    /// Asks the server once who it is. One that is not there yet is asked again at every tick:
    /// the command may be what starts it.
    pub fn new(options: &MonitorOptions, events: &EventLoop) -> Self {
        let target = connect::target(&options.server);
        let any = target.ipv4_only.then(|| Target { ipv4_only: false, ..target.clone() });
        let clients: Arc<[Client]> = [Some(target), any]
            .into_iter()
            .flatten()
            .map(|target| Client::with_timeout(target, TIMEOUT))
            .collect();
        let stats = clients.iter().find_map(|client| client.system_stats().ok());
        let local = options.server.url.is_loopback();
        let sender = events.sender();
        let send = move |event| drop(sender.send(Event::Sampler(event)));
        let source = ReadingSource::new(&options.sampling, local, stats.as_ref(), send);
        Readings { source: Arc::new(source), clients }
    }

    /// The line for a first tick without a reading; none where its reason was told already.
    pub fn nothing(&self, options: &MonitorOptions, miss: MissReason) -> Option<String> {
        let base = options.server.url.base();
        let (gpu, why, awaited) =
            (options.sampling.gpu, miss.name(), self.source.awaits_nvidia_smi());
        let line = match (options.sampling.source, miss) {
            (VramSource::NvidiaSmi, _) if !awaited => return None,
            (VramSource::NvidiaSmi, _) => {
                "nvidia-smi gives no reading yet: nothing is sampled unless it does later".into()
            }
            (_, MissReason::NoDevice) => {
                format!("ComfyUI at {base} tells no memory of a device {gpu}: nothing is sampled")
            }
            _ => {
                let other = if awaited { " or nvidia-smi" } else { "" };
                format!(
                    "no ComfyUI at {base} ({why}): nothing is sampled unless it{other} answers later"
                )
            }
        };
        Some(line)
    }
}
