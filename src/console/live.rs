//! The row below the lines, which is drawn over and over while something is going on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{CYAN, Kind, RESET, Terminal};
use crate::layout::{ellipsized, padded, width};
use crate::report::text::{TIME_WIDTH, minutes};
use crate::sanitize::sanitize_line;
use crate::screen;

/// Between two draws.
const REDRAW: Duration = Duration::from_millis(200);
/// What is over sooner has no row, and no line on a terminal that cannot draw.
const SHOWN_AFTER: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(1)];
/// One turn of the spinner.
const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
/// The same for a terminal without those characters.
const PLAIN_SPINNER: [char; 4] = ['|', '/', '-', '\\'];
const TURN: Duration = Duration::from_millis(100);
/// With less room a detail is left out.
const LEAST_DETAIL: usize = 12;

/// What is going on.
#[derive(Clone, Debug)]
pub struct LiveRow {
    /// When it began.
    pub since: Instant,
    /// What it is.
    pub what: Activity,
}

/// What a live row tells.
#[derive(Clone, Debug)]
pub enum Activity {
    /// Something is waited for: what, and beside its time a detail.
    Waiting(String, String),
    /// `monitor` samples, for a time that may be given.
    Sampling(Option<Duration>),
    /// A scene is run.
    Scene(SceneProgress),
}

/// A scene that is run.
#[derive(Clone, Debug)]
pub struct SceneProgress {
    /// Its id.
    pub name: String,
    /// The columns of the names of all scenes.
    pub names: usize,
    /// Which of how many scenes it is.
    pub number: (usize, usize),
    /// What is done, where no node is known to run: `queued, 2 before it`.
    pub doing: String,
    /// Since when the server executes it, where that is known.
    pub running_since: Option<Instant>,
    /// How long scenes like it took to execute.
    pub expected: Option<Duration>,
}

/// The figures of a draw.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// The device's memory in use, and its peak, in MB.
    pub memory: Option<(u64, u64)>,
    /// The node that runs.
    pub node: Option<RunningNode>,
}

/// The node that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningNode {
    /// `node 3 KSampler`.
    pub name: String,
    /// Since when.
    pub since: Instant,
    /// Its steps that are done, and all of them.
    pub steps: Option<(u64, u64)>,
}

impl LiveRow {
    /// The row's text at a moment, in at most so many columns.
    fn text(&self, now: Instant, figures: &Figures, spinner: &[char], columns: usize) -> String {
        let time = now.saturating_duration_since(self.since);
        let turn = (time.as_millis() / TURN.as_millis()) as usize;
        let spinner = spinner[turn % spinner.len()];
        match &self.what {
            Activity::Waiting(what, detail) => {
                let time = clock(time);
                let what = ellipsized(what, columns.saturating_sub(3 + width(&time)));
                let text = format!("{spinner} {what} {time}");
                let room = columns.saturating_sub(width(&text) + 2);
                if detail.is_empty() || room < LEAST_DETAIL {
                    return ellipsized(&text, columns);
                }
                format!("{text}  {}", ellipsized(detail, room))
            }
            Activity::Sampling(limit) => {
                let time = clock(time);
                let limit = limit.map(|limit| format!(" of {}", clock(limit)));
                let (limit, memory) = (limit.unwrap_or_default(), figures.memory);
                let full = memory.map(|(mb, peak)| format!("  {mb} MB, peak {peak} MB"));
                let (full, mb) = (full.unwrap_or_default(), memory.map(|(mb, _)| mb));
                let short = mb.map(|mb| format!(" {mb} MB")).unwrap_or_default();
                let forms = [
                    format!("{spinner} monitor {time}{limit}{full}"),
                    format!("{spinner} {time}{full}"),
                    format!("{spinner} {time}{short}"),
                ];
                let fits = forms.into_iter().find(|form| width(form) <= columns);
                fits.unwrap_or_else(|| ellipsized(&time, columns))
            }
            Activity::Scene(scene) => scene.text(spinner, now, time, figures, columns),
        }
    }
}

impl SceneProgress {
    /// As many of the figures as there is room for, and as much of the name.
    fn text(
        &self,
        spinner: char,
        now: Instant,
        time: Duration,
        figures: &Figures,
        columns: usize,
    ) -> String {
        let time = clock(time);
        let memory = figures.memory.map(|(mb, _)| format!("{mb:>5} MB")).unwrap_or_default();
        let node = figures.node.as_ref();
        let steps = node.and_then(|node| node.steps);
        let steps = steps.map(|(done, all)| format!("{done}/{all}"));
        let doing = match (node, &steps) {
            (Some(node), Some(steps)) => format!("{} {steps}", node.name),
            (Some(node), None) => node.name.clone(),
            (None, _) => self.doing.clone(),
        };
        let left = self.time_left(now, node).map(|left| format!(", about {} left", clock(left)));
        let left = left.unwrap_or_default();
        let (number, all) = self.number;
        let wide = |rest: String| format!("  {time:>TIME_WIDTH$}  {memory}  {rest}");
        let short = |parts: &[&str]| {
            let parts = parts.iter().filter(|part| !part.is_empty());
            parts.fold(String::new(), |text, part| text + " " + part)
        };
        let first_word = self.doing.split([',', ' ']).next().unwrap_or_default();
        let short_doing = steps.as_deref().unwrap_or(first_word);
        let memory_now = memory.trim_start();
        // From all there is to tell down to the time; the least of a name that is worth its room.
        let forms = [
            (wide(format!("{doing}{left}   {number} of {all}")), true, 24),
            (wide(format!("{doing}{left}")), true, 12),
            (wide(doing.clone()), true, 8),
            (short(&[&time, short_doing, memory_now]), false, 6),
            (short(&[&time, memory_now]), false, 3),
            (short(&[&time]), false, 1),
        ];
        let full = width(&self.name);
        let room = |rest: &str| columns.saturating_sub(2 + width(rest));
        let fits = |(rest, _, least): &&(String, bool, usize)| room(rest) >= full.min(*least);
        let (rest, is_wide, _) = forms.iter().find(fits).unwrap_or(&forms[5]);
        let name = if *is_wide {
            padded(&self.name, self.names.min(room(rest)))
        } else {
            ellipsized(&self.name, room(rest))
        };
        let text = format!("{spinner} {name}{rest}");
        ellipsized(text.trim_end(), columns)
    }

    /// The time left: what the node's steps still take at their pace, or what scenes like this one
    /// took less what it has had, whichever is more.
    fn time_left(&self, now: Instant, node: Option<&RunningNode>) -> Option<Duration> {
        let of_steps = node.and_then(|node| {
            let (done, all) = node.steps.filter(|(done, all)| 0 < *done && done <= all)?;
            let (done, left) = (u32::try_from(done).ok()?, u32::try_from(all - done).ok()?);
            Some(now.saturating_duration_since(node.since).checked_mul(left)? / done)
        });
        let of_scenes = self.expected.zip(self.running_since).and_then(|(expected, since)| {
            expected.checked_sub(now.saturating_duration_since(since))
        });
        of_steps.max(of_scenes)
    }
}

/// `3:08`, `1:02:15`.
fn clock(time: Duration) -> String {
    minutes(time.as_secs_f64())
}

/// The live row of a console, shared with the main thread's HTTP calls, which draw it while they
/// wait.
#[derive(Clone)]
pub struct Live(Arc<Mutex<State>>);

struct State {
    terminal: Terminal,
    row: Option<LiveRow>,
    drawn: Option<Instant>,
    /// On a terminal that cannot draw: the row has had its line.
    is_told: bool,
}

impl Live {
    /// No row so far.
    pub fn new(terminal: Terminal) -> Self {
        Live(Arc::new(Mutex::new(State { terminal, row: None, drawn: None, is_told: false })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the row; `None` takes it off the screen.
    pub fn set(&self, row: Option<LiveRow>) {
        let mut state = self.state();
        let was_scene =
            matches!(&state.row, Some(LiveRow { what: Activity::Scene(_), .. })) && row.is_some();
        if row.is_none() {
            screen::erase_live();
        }
        (state.row, state.is_told) = (row, false);
        if !was_scene {
            state.drawn = None;
        }
    }

    /// Sets the row of something that is waited for; its time goes on where it is that already.
    pub fn wait_for(&self, what: &str, detail: &str) {
        let mut state = self.state();
        let (what, detail) = (sanitize_line(what), sanitize_line(detail));
        match &mut state.row {
            Some(LiveRow { what: Activity::Waiting(known, told), .. }) if *known == what => {
                *told = detail;
            }
            _ => {
                let since = Instant::now();
                state.row = Some(LiveRow { since, what: Activity::Waiting(what, detail) });
                (state.drawn, state.is_told) = (None, false);
            }
        }
    }

    /// Draws the row where it is time to; not while the terminal is behind.
    pub fn draw(&self, figures: impl FnOnce() -> Figures) {
        let (mut state, now) = (self.state(), Instant::now());
        let Some(row) = &state.row else { return };
        let is_drawn = screen::is_live() && state.drawn.is_some_and(|at| now - at < REDRAW);
        if !state.terminal.is_terminal() || is_drawn || !screen::is_idle() {
            return;
        }
        let (terminal, time) = (state.terminal, now - row.since);
        let is_waiting = matches!(row.what, Activity::Waiting(..));
        let [drawn_after, told_after] = SHOWN_AFTER;
        if terminal.kind != Kind::Escapes {
            if let Activity::Waiting(what, detail) = &row.what
                && time >= told_after
                && !state.is_told
            {
                let line = format!("{what}  {detail}").trim_end().to_owned();
                terminal.print_lines(&[line]);
                state.is_told = true;
            }
            return;
        }
        if is_waiting && time < drawn_after {
            return;
        }
        let spinner = if terminal.has_blocks { &SPINNER[..] } else { &PLAIN_SPINNER };
        let text = sanitize_line(&row.text(now, &figures(), spinner, terminal.columns()));
        let mut rest = text.chars();
        let text = match rest.next() {
            Some(spinner) if terminal.has_colours => {
                format!("{CYAN}{spinner}{RESET}{}", rest.as_str())
            }
            _ => text,
        };
        screen::draw_live(terminal.stream(), &text);
        state.drawn = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(what: Activity, seconds: u64, figures: &Figures, columns: usize) -> String {
        let since = Instant::now();
        let now = since + Duration::from_secs(seconds) + Duration::from_millis(200);
        LiveRow { since, what }.text(now, figures, &SPINNER, columns)
    }

    fn forest(name: &str, doing: &str) -> Activity {
        Activity::Scene(SceneProgress {
            name: name.to_owned(),
            names: 6,
            number: (3, 3),
            doing: doing.to_owned(),
            running_since: None,
            expected: None,
        })
    }

    #[test]
    fn a_scene_tells_as_much_as_there_is_room_for() {
        let since = Instant::now();
        let figures = Figures { memory: Some((18_100, 19_310)), node: None };
        let with_node = |name: &str, steps, columns| {
            let Activity::Scene(scene) = forest(name, "running") else { unreachable!() };
            let (now, time) = (since + Duration::from_secs(72), Duration::from_secs(72));
            let node = RunningNode { name: "node 3 KSampler".to_owned(), since, steps };
            let figures = Figures { node: Some(node), ..figures.clone() };
            scene.text('⠹', now, time, &figures, columns)
        };
        for (columns, wanted) in [
            (79, "⠹ forest     1:12  18100 MB  node 3 KSampler 12/20, about 0:48 left   3 of 3"),
            (75, "⠹ forest     1:12  18100 MB  node 3 KSampler 12/20, about 0:48 left"),
            (60, "⠹ forest     1:12  18100 MB  node 3 KSampler 12/20"),
            (39, "⠹ forest 1:12 12/20 18100 MB"),
            (19, "⠹ fo… 1:12 18100 MB"),
            (9, "⠹ f… 1:12"),
        ] {
            assert_eq!(with_node("forest", Some((12, 20)), columns), wanted);
        }
        assert_eq!(
            with_node("forest", None, 60),
            "⠹ forest     1:12  18100 MB  node 3 KSampler   3 of 3"
        );
        for columns in 1..120 {
            let text = with_node("森のなかのとてもながい場面🌲🌲", Some((12, 20)), columns);
            assert!(width(&text) <= columns, "{columns}: {text}");
        }
        let queued = shown(forest("forest", "queued, 2 before it"), 5, &figures, 79);
        assert_eq!(queued, "⠹ forest     0:05  18100 MB  queued, 2 before it   3 of 3");
        let queued = shown(forest("forest", "queued, 2 before it"), 5, &figures, 39);
        assert_eq!(queued, "⠹ forest 0:05 queued 18100 MB");
    }

    #[test]
    fn what_is_waited_for_has_its_time_and_its_last_line() {
        let row = |columns| {
            let (what, detail) = ("starting ComfyUI", "Import times for custom nodes:");
            let waiting = Activity::Waiting(what.to_owned(), detail.to_owned());
            shown(waiting, 14, &Figures::default(), columns)
        };
        assert_eq!(row(79), "⠹ starting ComfyUI 0:14  Import times for custom nodes:");
        assert_eq!(row(40), "⠹ starting ComfyUI 0:14  Import times f…");
        assert_eq!(row(30), "⠹ starting ComfyUI 0:14");
        assert_eq!(row(19), "⠹ starting Co… 0:14");
        let memory = Figures { memory: Some((2140, 19_310)), node: None };
        let limit = Some(Duration::from_secs(600));
        assert_eq!(
            shown(Activity::Sampling(limit), 65, &memory, 79),
            "⠹ monitor 1:05 of 10:00  2140 MB, peak 19310 MB"
        );
        for (columns, wanted) in
            [(39, "⠹ 1:05  2140 MB, peak 19310 MB"), (19, "⠹ 1:05 2140 MB"), (5, "1:05")]
        {
            assert_eq!(shown(Activity::Sampling(limit), 65, &memory, columns), wanted);
        }
        assert_eq!(shown(Activity::Sampling(None), 65, &Figures::default(), 79), "⠹ monitor 1:05");
    }

    #[test]
    fn the_time_left_is_that_of_the_steps_or_of_scenes_before() {
        let since = Instant::now();
        let now = since + Duration::from_secs(60);
        let left = |steps, expected: Option<u64>| {
            let Activity::Scene(scene) = forest("forest", "") else { unreachable!() };
            let expected = expected.map(Duration::from_secs);
            let scene = SceneProgress { running_since: Some(since), expected, ..scene };
            let node = RunningNode { name: String::new(), since, steps };
            scene.time_left(now, Some(&node)).map(|left| left.as_secs())
        };
        assert_eq!(left(None, None), None);
        assert_eq!(left(Some((0, 20)), None), None);
        assert_eq!(left(Some((15, 20)), None), Some(20));
        assert_eq!(left(Some((15, 20)), Some(100)), Some(40));
        assert_eq!(left(Some((15, 20)), Some(70)), Some(20));
        assert_eq!(left(None, Some(50)), None);
    }
}
