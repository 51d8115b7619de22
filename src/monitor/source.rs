//! Who gives the readings.

use crate::comfyui::{Client, Target};
use crate::options::MonitorOptions;
use crate::run::{SAMPLE_TIMEOUT, reach};
use crate::vram::reading::{Miss, Source};
use crate::vram::sampler::Answer;

/// What takes one reading, within a bounded time. A server that is not there yet is asked again
/// each time: the command may be the one that starts it.
pub fn comfyui(options: &MonitorOptions) -> impl FnMut() -> Answer + Send + 'static {
    let target = reach::target(&options.server);
    let any = target.ipv4_only.then(|| Target { ipv4_only: false, ..target.clone() });
    let clients: Vec<Client> = [Some(target), any]
        .into_iter()
        .flatten()
        .map(|target| Client::with_timeout(target, SAMPLE_TIMEOUT))
        .collect();
    let gpu = options.gpu;
    move || {
        let mut answers = clients.iter().map(|client| reading(client, gpu));
        answers.find(|answer| *answer != Err(Miss::Refused)).unwrap_or(Err(Miss::Refused))
    }
}

fn reading(client: &Client, gpu: usize) -> Answer {
    let stats = client.system_stats().map_err(|error| error.fault.miss())?;
    let reading = stats.devices.get(gpu).and_then(|device| device.memory).ok_or(Miss::NoDevice)?;
    Ok((reading, Source::ComfyUi))
}

/// The line for a first tick without a reading.
pub fn nothing(options: &MonitorOptions, miss: Miss) -> String {
    let base = options.server.url.base();
    let (gpu, why) = (options.gpu, miss.name());
    match miss {
        Miss::NoDevice => {
            format!("ComfyUI at {base} tells no memory of a device {gpu}: nothing is sampled")
        }
        _ => format!("no ComfyUI at {base} ({why}): nothing is sampled unless it answers later"),
    }
}
