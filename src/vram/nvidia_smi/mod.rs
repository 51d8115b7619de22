//! The driver's own figures, from one long-lived `nvidia-smi` on this machine.
//!
//! It starts with the run and is read by a thread of its own, which keeps what each card had
//! lately. Whoever asks gets an answer at once: a program that is slow to start, hangs or dies
//! gives no reading and holds up nobody.

mod cards;
mod child;
mod line;
mod matching;
#[cfg(any(test, fuzzing))]
#[path = "../../../fuzz/oracles/nvidia_smi.rs"]
pub(crate) mod properties;
mod watch;

use std::io::ErrorKind;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cards::Cards;
use child::ChildSupervisor;
use line::Line;

pub use matching::{CardId, Wanted};
pub use watch::{CardReader, NoReading};

/// nvidia-smi is not asked more often, since it may need as long for eight cards, nor less often,
/// since a reading is to be of the moment.
const OFTEN: Duration = Duration::from_millis(100);
const SELDOM: Duration = Duration::from_secs(1);

/// The running program. Dropping it ends the program and waits for that, a second at most.
pub struct NvidiaSmi {
    shared: Arc<Shared>,
    /// How far a reading may be from the moment that it is used for: three of its intervals.
    within: Duration,
    _keeper: Option<ChildSupervisor>,
}

#[derive(Debug)]
struct Shared {
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    cards: Cards,
    /// A card came a second time: all of them have been listed.
    complete: bool,
    /// When a line came last; before the first one, when the program was to start.
    heard: Instant,
    /// Why it did not start.
    trouble: Option<String>,
}

impl Shared {
    fn new(now: Instant) -> Self {
        let known = Known { cards: Cards::default(), complete: false, heard: now, trouble: None };
        Shared { known: Mutex::new(known) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, at: Instant, line: &Line) {
        let mut known = self.known();
        known.complete |= known.cards.take(at, line);
        known.heard = at;
        known.trouble = None;
    }

    fn trouble(&self, why: String) {
        self.known().trouble = Some(why);
    }
}

impl NvidiaSmi {
    /// Starts it for a sampler of that interval. Returns at once, whatever becomes of it.
    pub fn start(interval: Duration) -> Self {
        let interval = interval.clamp(OFTEN, SELDOM);
        let shared = Arc::new(Shared::new(Instant::now()));
        let (lines, errors) = (Arc::clone(&shared), Arc::clone(&shared));
        let keeper = ChildSupervisor::start(
            move || command(interval),
            move |text| {
                if let Some(line) = Line::parse(text) {
                    lines.take(Instant::now(), &line);
                }
            },
            move |error| {
                errors.trouble(match error.kind() {
                    ErrorKind::NotFound => "nvidia-smi is not on the PATH".to_owned(),
                    _ => format!("nvidia-smi does not start ({error})"),
                });
            },
        );
        let keeper = keeper
            .inspect_err(|error| shared.trouble(format!("nvidia-smi has no thread ({error})")))
            .ok();
        NvidiaSmi { shared, within: interval * 3, _keeper: keeper }
    }
}

fn command(interval: Duration) -> Command {
    let mut command = Command::new("nvidia-smi");
    command
        .arg("--query-gpu=index,uuid,name,memory.total,memory.used,memory.free")
        .arg("--format=csv,noheader,nounits")
        .args(["-lms", &interval.as_millis().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    #[cfg(windows)]
    {
        use std::os::windows::process::CommandExt;
        const CREATE_NO_WINDOW: u32 = 0x0800_0000;
        command.creation_flags(CREATE_NO_WINDOW);
    }
    command
}
