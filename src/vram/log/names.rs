//! What the logs of a run are called.

/// The log of the run's own device.
pub const MAIN: &str = "vram-usage.log";

/// The log of another device, by its place in the server's list.
pub fn of_device(device: usize) -> String {
    format!("vram-usage.gpu{device}.log")
}

/// The device that the log of that name is of; none for the run's own.
pub fn device_of(name: &str) -> Option<usize> {
    let device = name.strip_prefix("vram-usage.gpu")?.strip_suffix(".log")?.parse().ok()?;
    (of_device(device) == name).then_some(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_log_says_whose_it_is() {
        assert_eq!(device_of(&of_device(12)), Some(12));
        for name in [MAIN, "vram-usage.gpu.log", "vram-usage.gpu01.log", "vram-usage.gpu+1.log"] {
            assert_eq!(device_of(name), None, "{name}");
        }
    }
}
