//! A row of the page, and the runs that rows are made of.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{PAGE, cells};
use crate::stand_in::{Fault, StandIn, graphs};
use crate::support::{Folder, Ran, Running, SOON, keyframe_story};

pub const STATS: &str = "GET /system_stats";
pub const HISTORY: &str = "GET /history/";
pub const QUEUE: &str = "GET /queue";
pub const PROMPT: &str = "POST /prompt";
pub const UPLOAD: &str = "POST /upload/image";
pub const VIEW: &str = "GET /view";
pub const ALWAYS: usize = usize::MAX;
/// A single attempt, given up after a second.
pub const ONE_SECOND: [&str; 4] = ["-MaxWaitSeconds", "1", "-SceneRetryBudget", "0"];

/// The limit for a run that meets one fault, wherever many are played at once.
const LONGEST: Duration = Duration::from_secs(40);

pub struct Played {
    pub server: StandIn,
    pub folder: Folder,
    pub ran: Ran,
}

/// How the program describes a fault, and its reason in the log.
pub type Texts = (&'static str, &'static str);

/// A row of the page, and how it is played.
pub struct Row {
    pub name: String,
    /// The first cell of the row; none where any outcome will do.
    pub on_page: Option<&'static str>,
    /// Replace `<what came back>` and `<reason>` of the page's text.
    texts: Texts,
    /// Printed besides what the page says, as is each reason in the metadata.
    also: Vec<String>,
    /// How many prompts are accepted at most.
    posts: usize,
    /// The prompt may stay on a server that cannot be reached to cancel it.
    stays: bool,
    /// Takes longer than most, so it is started first.
    pub slow: bool,
    play: Box<dyn Fn() -> Played + Send + Sync>,
}

pub fn row(name: &'static str, play: impl Fn() -> Played + Send + Sync + 'static) -> Row {
    Row { on_page: Some(name), ..Row::any(name.to_owned(), play) }
}

impl Row {
    /// A row whose scene may end in any way that has a name.
    pub fn any(name: String, play: impl Fn() -> Played + Send + Sync + 'static) -> Self {
        let (on_page, texts, also) = (None, ("", ""), Vec::new());
        let play = Box::new(play);
        Row { name, on_page, texts, also, posts: 1, stays: false, slow: false, play }
    }

    /// One of the rows that share a line of the page and differ in what came back.
    pub fn one_of(
        line: &'static str,
        name: &str,
        texts: Texts,
        play: impl Fn() -> Played + Send + Sync + 'static,
    ) -> Self {
        Row { on_page: Some(line), texts, ..Row::any(format!("{line}: {name}"), play) }
    }

    pub fn also(mut self, also: impl Into<String>) -> Self {
        self.also.push(also.into());
        self
    }

    pub fn posts(self, posts: usize) -> Self {
        Row { posts, ..self }
    }

    pub fn stays(self) -> Self {
        Row { stays: true, ..self }
    }

    pub fn slow(self) -> Self {
        Row { slow: true, ..self }
    }

    /// Plays it. Panics where it is not as the page says.
    pub fn check(&self) {
        let begun = Instant::now();
        let played = (self.play)();
        let Played { server, ran, .. } = &played;
        let longest = LONGEST * if self.slow { 2 } else { 1 };
        assert!(begun.elapsed() < longest, "{:?}\n{ran}", begun.elapsed());
        match self.on_page {
            Some(line) => self.is_as_told(line, &played),
            None => has_the_code_of_its_outcome(&played),
        }
        assert!(!ran.stderr.contains("panicked"), "{ran}");
        let control = |c: char| c.is_control() && c != '\n';
        assert!(!ran.stdout.contains(control), "{:?}", ran.stdout);
        let posted = server.posted();
        assert!(posted <= self.posts, "generated {posted} times\n{ran}");
        let told = self.on_page.is_none() && ran.stdout.contains("cancelled, but ");
        assert!(self.stays || told || server.queue_is_empty(), "something is left\n{ran}");
    }

    fn is_as_told(&self, line: &str, Played { folder, ran, .. }: &Played) {
        let mut lines = PAGE.lines().filter_map(cells).filter(|[name, ..]| *name == line);
        let Some([_, sees, outcome, exit]) = lines.next() else { panic!("not on the page") };
        assert_eq!(ran.code.to_string(), exit, "{ran}");
        let says = |text: &str| ran.stdout.contains(text) || ran.stderr.contains(text);
        let text = |texts: Texts| {
            let sees = sees.trim_matches('`').replace("<reason>", texts.1);
            sees.replace("<what came back>", texts.0)
        };
        let said = says(&text(self.texts)) && self.also.iter().all(|also| says(also));
        assert!(said, "not seen: {} {:?}\n{ran}", text(self.texts), self.also);
        if outcome != "-" {
            let outcomes = folder.outcomes();
            assert!(outcomes.iter().all(|(_, why)| says(why)), "not said: {outcomes:?}\n{ran}");
            assert_eq!(folder.outcomes()[0].0, outcome, "{ran}");
            assert_eq!(folder.metadata()["ExitCode"].to_string(), exit, "{ran}");
            assert!(ran.stdout.contains("=== RUN COMPLETE ==="), "{ran}");
        }
    }
}

fn has_the_code_of_its_outcome(Played { folder, ran, .. }: &Played) {
    let [(outcome, _)] = &folder.outcomes()[..] else { panic!("no outcome\n{ran}") };
    let code = match outcome.as_str() {
        "succeeded" | "cached" => 0,
        "skipped" | "unreachable" => 3,
        "deadline" => 4,
        "outOfMemory" => 5,
        "lost" => 6,
        _ => 1,
    };
    assert!(!outcome.is_empty() && ran.code == code, "{outcome}\n{ran}");
}

pub fn video() -> Value {
    graphs::video("video/a", 0.1, 64, 1)
}

pub fn endless() -> Value {
    graphs::video("video/a", 600.0, 64, 1)
}

pub fn page() -> Fault {
    Fault::Body("<html><body>Bad Gateway</body></html>".to_owned())
}

pub fn start(server: &StandIn, folder: &Folder, graph: &Value, words: &[&str]) -> Running {
    folder.workflow("a.json", graph);
    let words =
        [&["--poll-interval-seconds", "0.2", "-Sample", "0.5", "a.json"][..], words].concat();
    folder.start_on(&server.url(), &words)
}

/// A run of one scene against a server that was told to fail before.
pub fn one(server: StandIn, graph: &Value, words: &[&str]) -> Played {
    let folder = Folder::new();
    let ran = start(&server, &folder, graph, words).wait();
    Played { server, folder, ran }
}

pub fn with(route: &str, times: usize, fault: Fault, words: &[&str]) -> Played {
    let server = StandIn::start();
    server.fail_next(route, times, fault);
    one(server, &graphs::polled("video/a"), words)
}

/// A run of a story of one scene with a keyframe, where its upload fails.
pub fn uploading(times: usize, fault: Fault, words: &[&str]) -> Played {
    let (server, folder) = (StandIn::start(), Folder::new());
    server.fail_next(UPLOAD, times, fault);
    let ran = folder.run_on(&server.url(), &[&keyframe_story(&folder)[..], words].concat());
    Played { server, folder, ran }
}

/// A run of one scene with something done while its prompt is on the server.
pub fn meanwhile(graph: &Value, words: &[&str], act: impl Fn(&StandIn, &Running)) -> Played {
    let (server, folder) = (StandIn::start(), Folder::new());
    let running = start(&server, &folder, graph, words);
    running.until_it_says("Wan2 prompt queued");
    assert!(server.wait_until_running(SOON));
    act(&server, &running);
    let ran = running.wait();
    Played { server, folder, ran }
}
